"""Making text: from a library's point of view."""

import pytest

from llama2_ref.generation.params import GenerationParams
from llama2_ref.generation.request import Request
from llama2_ref.generation.scheduler import Scheduler
from llama2_ref.generation.stream import TextStream
from support.models import write_model

EOS, BOS = 2, 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from llama2_ref import Config

    folder = tmp_path_factory.mktemp("model")
    write_model(folder, Config(16, 24, 2, 4, 2, 300, 40), seed=1)
    return folder


@pytest.fixture
def model(llama2, folder):
    return llama2.load(folder / "model.bin")


class Scripted:
    """A sampler that says what it is told."""

    seed = 0

    def __init__(self, tokens):
        self.tokens = iter(tokens)

    def sample(self, logits, tokens=()):
        return next(self.tokens)


def stream_of(model, sampler, prompt):
    """A text of up to 40 positions, prompt included, from a sampler of one's own."""
    request, scheduler = Request(model.tokenizer, prompt, GenerationParams(), sampler, 40), Scheduler(model.transformer)
    scheduler.add([request])
    return TextStream(request, scheduler)


def test_the_same_seed_gives_the_same_text(model):
    texts = {"".join(model.generate("ab", 20, seed=7)) for _ in range(2)}
    assert len(texts) == 1


def test_both_packages_give_the_same_text(folder):
    import llama2_fast
    import llama2_ref

    texts = {
        "".join(p.load(folder / "model.bin").generate("a cab", 40, 0.8, 0.9, 3)) for p in (llama2_ref, llama2_fast)
    }
    assert len(texts) == 1


def test_without_a_seed_every_text_is_another_one(model):
    assert len({"".join(model.generate(steps=30)) for _ in range(3)}) > 1


def test_the_prompt_comes_first_and_before_the_model_works(model):
    stream = model.generate("cab", steps=0, temperature=0)
    calls = []
    model.transformer.forward, forward = lambda *args: calls.append(1) or forward(*args), model.transformer.forward
    text = ""
    while not text.startswith("cab"):
        text += next(stream)
    assert not calls
    assert "".join([text, *stream]).startswith("cab")
    assert calls


@pytest.mark.parametrize(("steps", "tokens"), [(1, 2), (5, 6), (39, 40), (40, 41), (41, 41), (10_000, 41), (0, 41)])
def test_steps_are_positions(llama2, model, steps, tokens):
    """As in llama2.c: `steps` passes of the model, the last of which yields one more token; 0 is the whole context."""
    stream = model.generate(steps=steps, temperature=0)

    def forward(tokens, cache):
        cache.length += len(tokens)
        return [0.0] * 299 + [1.0]

    model.transformer.forward = forward
    assert len(list(stream)) > 0
    assert len(stream.tokens) == tokens
    assert stream.generated == tokens - 1
    assert stream.passes == tokens - 2


@pytest.mark.parametrize("end", [BOS, EOS])
def test_bos_and_eos_end_a_text(llama2, model, end):
    stream = stream_of(model, Scripted([260, 261, end, 262]), [1])
    assert "".join(stream) == "ab"
    assert stream.tokens == [1, 260, 261]


def test_a_character_split_over_tokens_comes_whole(model):
    face = [3 + byte for byte in "\U0001f600".encode()]
    stream = stream_of(model, Scripted([*face, 260, face[0], EOS]), [1])
    pieces = [piece for piece in stream if piece]
    assert pieces == ["\U0001f600", "a", "\ufffd"]


def test_times_are_kept_apart(model, monkeypatch):
    """By a clock that only the model moves: 10 seconds for a prompt, 2 for a token, 1 for a sample."""
    clock = [0.0]
    monkeypatch.setattr("llama2_ref.generation.scheduler.perf_counter", lambda: clock[0])

    def forward(tokens, cache):
        clock[0] += 10 if len(tokens) > 1 else 2
        cache.length += len(tokens)
        return [0.0] * 300

    class Sampler(Scripted):
        def sample(self, logits, tokens=()):
            clock[0] += 1
            return next(self.tokens)

    model.transformer.forward = forward
    stream = stream_of(model, Sampler([260, 261, 262, EOS]), [1, 260, 261])
    for _ in stream:
        clock[0] += 100  # what is done with a piece is not the model's time
    assert (stream.prompt_seconds, stream.seconds) == (11, 9)
    assert (stream.generated, stream.passes) == (3, 3)


def test_a_prompt_that_can_not_fit_is_refused_before_it_is_cut(llama2, model):
    """The longest token has 6 bytes, the context 40 tokens: 240 bytes may fit, 246 can't."""
    model.tokenizer._encode = lambda text: [260] * 39
    model.generate("z" * 240)
    with pytest.raises(llama2.PromptError, match="at least 41"):
        model.generate("z" * 246)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"prompt": "a\0b"}, "NUL"),
        ({"prompt": "a\ud800"}, "surrogate"),
        ({"prompt": "z" * 100}, "context of 40"),
        ({"prompt": "abcabc", "steps": 2}, "steps must be at least"),
        ({"steps": -1}, "must not be negative"),
    ],
)
def test_prompts_that_can_not_be_used(llama2, model, arguments, error):
    with pytest.raises(llama2.PromptError, match=error):
        model.generate(**arguments)


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: value} for name in ("temperature", "topp") for value in (-0.1, nan, inf, -inf)),
        *({"seed": value} for value in (-1, 2**64, 1.5, "1")),
        *({"topk": value} for value in (-1, 2**64, 1.5, "1", None)),
        *({"minp": value} for value in (-0.1, 1.1, nan, inf, "x", None, 10**400)),
        *({"repetition_penalty": value} for value in (0, -1.1, 1e-4, 1001, nan, inf, "x", None, 10**400)),
        *({name: value} for name in ("temperature", "topp") for value in (10**400, "x", None)),
    ],
)
def test_samplers_refuse_what_has_no_meaning(llama2, arguments):
    with pytest.raises(llama2.SamplerError):
        llama2.Sampler(**arguments)


def test_numbers_of_other_kinds_are_numbers(llama2):
    import numpy as np

    one, other = llama2.Sampler(np.float32(0.5), np.float64(1), np.int64(7)), llama2.Sampler(0.5, 1.0, 7)
    logits = [0.1 * i for i in range(50)]
    assert [one.sample(logits) for _ in range(20)] == [other.sample(logits) for _ in range(20)]


def test_seed_0_is_a_seed(llama2):
    """xorshift would give 0 for ever, and llama2.c takes the clock."""
    draws = [llama2.Sampler(seed=0, topp=1.0).sample([0.0] * 50) for _ in range(2)]
    sampler = llama2.Sampler(seed=0, topp=1.0)
    assert draws[0] == draws[1]
    assert len({sampler.sample([0.0] * 50) for _ in range(30)}) > 5
    assert llama2.Sampler(seed=None).seed != llama2.Sampler(seed=None).seed


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bad_logits_are_named(llama2, temperature):
    sampler = llama2.Sampler(temperature)
    with pytest.raises(llama2.NumericsError, match="token 1 has nan"):
        sampler.sample([0.0, nan, 1.0])
    with pytest.raises(llama2.NumericsError, match="token 2 has inf"):
        sampler.sample([0.0, 1.0, inf])
    with pytest.raises(llama2.NumericsError, match="no token is left"):
        sampler.sample([-inf, -inf])
    with pytest.raises(llama2.NumericsError, match="no token is left"):
        sampler.sample([])
    assert sampler.sample([-inf, 0.0, -inf]) == 1


def test_greedy_takes_the_first_of_equals(llama2):
    assert llama2.Sampler(temperature=0).sample([1.0, 3.0, 3.0]) == 1
