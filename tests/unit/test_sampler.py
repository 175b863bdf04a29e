"""What a user asks of a text beside temperature, top-p and seed: by the library and by the command line."""

import io
import json
import random
import re
import sys
from collections.abc import Callable
from math import exp, inf, log
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from support.commands import write_scripted
from support.models import write_model
from support.scripted import Counting, write_chains

CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64)
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG, seed=2)


@pytest.fixture
def ask(llama2: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run the command line in this process: exit code, standard output, and standard error without the description."""

    def ask(*argv: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(llama2, [str(word) for word in argv])
        out, err = capsys.readouterr()
        return code, out, "".join(line for line in err.splitlines(keepends=True) if " parameters, " not in line)

    return ask


# ------------------------------------------------------------------------------------------------------------- samplers

FILTERS = {"topk": (3, "--top-k", "--topk", "-k"), "minp": (0.4, "--min-p", "--minp")}
FILTERS |= {"repetition_penalty": (3.0, "--repetition-penalty", "--repeat-penalty"), "topp": (0.3, "--top-p", "--topp")}


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_is_the_sampler_s(llama2: ModuleType, ask: Ask, model: Path, name: str) -> None:
    value, *flags = FILTERS[name]
    expected = "".join(llama2.load(model).generate("ab", seed=1, **{name: value}))
    plain = "".join(llama2.load(model).generate("ab", seed=1))
    assert expected != plain
    for flag in flags:
        assert ask(model, "-i", "ab", "-s", 1, flag, value)[:2] == (0, expected + "\n")


def test_chats_have_the_same_filters(llama2: ModuleType, ask: Ask, model: Path) -> None:
    filters = {"topk": 4, "minp": 0.1, "repetition_penalty": 1.5}
    expected = "".join(llama2.load(model).chat([{"role": "user", "content": "a"}], seed=1, **filters))
    code, out, _ = ask("chat", model, "-i", "a", "-s", 1, "-k", 4, "--min-p", 0.1, "--repetition-penalty", 1.5)
    assert (code, out) == (0, f"Assistant: {expected}\nUser: \n")


def test_what_is_repeated_is_penalized_in_prompt_and_text(llama2: ModuleType, model: Path) -> None:
    """With the largest penalty a greedy text repeats nothing while there are tokens whose logits are positive."""
    loaded = llama2.load(model)
    stream = loaded.generate("ab", 40, temperature=0, repetition_penalty=1000)
    list(stream)
    assert len(set(stream.tokens)) == len(stream.tokens) > 20
    plain = loaded.generate("ab", 40, temperature=0)
    list(plain)
    assert len(set(plain.tokens)) < len(plain.tokens)


def test_a_parameter_that_does_not_exist(llama2: ModuleType, model: Path) -> None:
    with pytest.raises(TypeError, match="top_a"):
        llama2.load(model).generate(top_a=3)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--top-k", "-1"], "topk must be a whole number in 0..2^64-1; 0 is off (got -1)"),
        (["--top-k", "1.5"], "argument -k/--top-k/--topk: invalid int value: '1.5'"),
        (["--min-p", "1.5"], "minp must be in 0..1; 0 is off (got 1.5)"),
        (["--min-p", "nan"], "minp must be in 0..1; 0 is off (got nan)"),
        (["--repetition-penalty", "0"], "repetition_penalty must be in 0.001..1000; 1 is off (got 0.0)"),
        (["--logprobs", "-1"], "logprobs must be a whole number of tokens in 0..400 (got -1)"),
        (["--logprobs", "401"], "logprobs must be a whole number of tokens in 0..400 (got 401)"),
        (["--stop", ""], "a stop string must be a text that is not empty (got '')"),
    ],
    ids=str,
)
def test_flags_out_of_range(ask: Ask, model: Path, flags: list[str], says: str) -> None:
    code, out, err = ask(model, *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


# --------------------------------------------------------------------------------------------------------- stop strings


@pytest.mark.parametrize(
    ("stops", "text"),
    [
        (["bc"], "1+1a"),
        (["cd", "bc"], "1+1a"),
        (["e"], "1+1abcd"),  # held back for nothing
        (["dx"], "1+1abcd"),
        (["abcd"], "1+1"),
        (["+1"], "1+1abcd"),  # of the prompt
        (["1ab"], "1+1abcd"),  # begins in it
    ],
)
def test_a_text_ends_before_a_stop_string(
    llama2: ModuleType, ask: Ask, tmp_path: Path, stops: list[str], text: str
) -> None:
    path = write_scripted(tmp_path, [b"a", b"b", b"c", b"d"])
    assert "".join(llama2.load(path).generate("1+1", stop=stops)) == text
    code, out, _ = ask(path, "-i", "1+1", *(word for stop in stops for word in ("--stop", stop)))
    assert (code, out) == (0, text + "\n")


def test_a_stop_string_may_be_split_within_a_character(llama2: ModuleType, tmp_path: Path) -> None:
    emoji = "\U0001f600".encode()
    path = write_scripted(tmp_path, [b"=", emoji[:1], emoji[1:3], emoji[3:], b"!"])
    stream = llama2.load(path).generate("1", stop="\U0001f600!")
    assert "".join(stream) == "1="
    assert "".join(llama2.load(path).generate("1", stop="\U0001f600?")) == "1=\U0001f600!"


def test_nothing_is_generated_behind_a_stop_string(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"a", b"b", b"c"], loop=True)
    stream = llama2.load(path).generate("1", stop="ca")
    assert "".join(stream) == "1ab"
    assert stream.generated == 4


def test_every_answer_of_a_chat_ends_before_a_stop_string(ask: Ask, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"a", b"b", b"c"], seq_len=200)
    code, out, _ = ask("chat", path, "--stop", "bc", stdin=b"1\n2\n")
    assert (code, out) == (0, "User: Assistant: a\nUser: Assistant: a\nUser: \n")


# ------------------------------------------------------------------------------------------------------------- logprobs


def test_log_probabilities_are_those_of_the_model(llama2: ModuleType, model: Path) -> None:
    """Of the raw logits, whatever the sampler makes of them; read again in one pass."""
    loaded = llama2.load(model)
    stream = loaded.generate("ab", 30, 0.3, 0.5, 1, logprobs=3, topk=5, minp=0.1, repetition_penalty=1.5)
    list(stream)
    assert len(stream.logprobs) == stream.generated > 5
    transformer = llama2_ref.Transformer(*llama2_ref.read_checkpoint(model))
    logits = transformer.forward(stream.tokens[:-1], transformer.new_cache(), every=True)
    for t, found in enumerate(stream.logprobs, stream.prompt_length - 1):
        total = log(sum(exp(x) for x in logits[t]))
        assert found.token == stream.tokens[t + 1]
        assert found.logprob == pytest.approx(logits[t][found.token] - total, abs=1e-5)
        likely = sorted(range(400), key=lambda token: -logits[t][token])[:3]
        assert [token for token, _ in found.top] == likely
        assert [x for _, x in found.top] == pytest.approx([logits[t][token] - total for token in likely], abs=1e-5)


def test_nothing_is_told_that_is_not_asked_for(llama2: ModuleType, model: Path) -> None:
    stream, chosen = (llama2.load(model).generate("ab", 20, seed=1, logprobs=count) for count in (None, 0))
    assert list(stream) == list(chosen)
    assert stream.logprobs == []
    assert [(each.token, each.top) for each in chosen.logprobs] == [(token, ()) for token in chosen.tokens[3:]]


def test_log_probabilities_are_lines_of_json(llama2: ModuleType, ask: Ask, model: Path) -> None:
    loaded = llama2.load(model)
    stream = loaded.generate("ab", 20, seed=1, logprobs=2)
    list(stream)
    code, _, err = ask(model, "-i", "ab", "-n", 20, "-s", 1, "--logprobs", 2)
    *lines, rates = err.splitlines()
    assert (code, len(lines)) == (0, stream.generated)
    assert "tok/s" in rates
    for line, (token, logprob, top) in zip(lines, stream.logprobs, strict=True):
        told = json.loads(line)
        text = loaded.tokenizer.token_text(token)
        assert [told["token"], told["text"], told["logprob"]] == [token, text, logprob]
        assert [(each["token"], each["logprob"]) for each in told["top"]] == list(top)


def test_json_has_no_infinity(ask: Ask, llama2: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = [0.0, 1.0, *[-inf] * 398]
    logprob = llama2.Sampler.logprob
    monkeypatch.setattr(llama2.Sampler, "sample", lambda *_: 3)
    monkeypatch.setattr(llama2.Sampler, "logprob", lambda sampler, _, *what: logprob(sampler, logits, *what))
    code, _, err = ask(model, "-n", 2, "--logprobs", 3)
    told = json.loads(err.splitlines()[0], parse_constant=pytest.fail)
    assert (code, told["logprob"], [each["token"] for each in told["top"]]) == (0, None, [1, 0, 2])


def test_every_answer_of_a_chat_has_its_log_probabilities(ask: Ask, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"a", b"b"], seq_len=200)
    code, _, err = ask("chat", path, "--logprobs", 0, stdin=b"1\n2\n")
    assert code == 0
    assert [json.loads(line)["text"] if line[0] == "{" else "" for line in err.splitlines()] == ["a", "b", ""] * 2


# -------------------------------------------------------------------------------------------------------------- samples

ENGINES = [("llama2_ref", {}), ("llama2_fast", {"backend": "numpy"}), ("llama2_fast", {"backend": "simd"})]


@pytest.fixture(params=ENGINES, ids=["reference", "numpy", "simd"])
def load(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Load a model with one of the three engines."""
    name, knobs = request.param
    if knobs.get("backend") == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    package = {"llama2_ref": llama2_ref, "llama2_fast": llama2_fast}[name]
    return lambda path, **options: package.load(path, **options, **knobs)


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_samples_are_what_their_seeds_give_alone(load: Callable[..., Any], model: Path, quantize: str | None) -> None:
    """Bit for bit: text, tokens, and every logarithm. The numpy engine, too: it takes sequences one after another."""
    loaded = load(model, quantize=quantize)
    options = {"steps": 40, "temperature": 0.9, "logprobs": 2, "repetition_penalty": 1.1, "stop": ["zq", "e"]}
    streams = loaded.samples("a cab", 4, seed=7, **options)
    texts = ["".join(stream) for stream in streams]
    for i, stream in enumerate(streams):
        alone = loaded.generate("a cab", seed=7 + i, **options)
        assert "".join(alone) == texts[i]
        assert (alone.tokens, alone.logprobs) == (stream.tokens, stream.logprobs)
        assert stream.sampler.seed == 7 + i
    assert len(set(texts)) == 4


def test_samples_may_be_asked_in_any_order(load: Callable[..., Any], model: Path) -> None:
    loaded = load(model)
    one, other = loaded.samples("ab", 3, seed=1), loaded.samples("ab", 3, seed=1)
    texts = ["".join(stream) for stream in one]
    pieces: list[list[str]] = [[], [], []]
    for i in [2, 0, 2, 2, 1, 0, 1] * 10:
        pieces[i] += [next(other[i], "")]
    assert ["".join([*pieces[i], *other[i]]) for i in range(3)] == texts


def test_a_prompt_is_read_once_and_passes_are_shared(load: Callable[..., Any], model: Path) -> None:
    """And a sample that is over takes part in none."""
    loaded = load(model)
    loaded.transformer = transformer = Counting(loaded.transformer)
    streams = loaded.samples("abc", 3, 30, seed=3, stop="k")
    assert all(list(streams[i]) for i in (1, 0, 2))
    lengths = [stream.generated for stream in streams]
    assert len(set(lengths)) > 1
    prompt, *passes = transformer.passes
    assert prompt == [streams[0].prompt_length]
    batches = [len(each) for each in passes if set(each) == {1}]
    assert batches[0] == 3
    assert batches == sorted(batches, reverse=True)
    assert len(batches) == len(passes) == max(stream.passes for stream in streams)
    assert sum(batches) == sum(stream.passes for stream in streams)


def test_a_sample_that_has_stopped_is_not_read_on(load: Callable[..., Any], model: Path) -> None:
    """The first of two, which is asked first: it is known to be over before there is another pass."""
    loaded = load(model)
    one, other = ("".join(stream).removeprefix("abc") for stream in loaded.samples("abc", 2, 40, seed=3))
    stop = next(letter for letter in one[2:] if letter not in other)
    loaded.transformer = transformer = Counting(loaded.transformer)
    streams = loaded.samples("abc", 2, 40, seed=3, stop=stop)
    assert all(list(stream) for stream in streams)
    assert streams[0].passes < streams[1].passes
    assert transformer.tokens_read == streams[0].prompt_length + sum(stream.passes for stream in streams)


# At once; after one round, or three; by a stop string; never, but for its steps.
CHAINS = ["", "a", "bcd", "efghi", "xy*"]
HOW = {"steps": 12, "topp": 1.0, "stop": "gh", "logprobs": 2}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["whole texts", "the last first", "in turns", "any", "one alone"])
def test_samples_end_in_any_order_and_round(load: Callable[..., Any], tmp_path: Path, order: str) -> None:
    """Each as it would alone: three texts that end in most of 125 ways, whichever of them is asked next."""
    loaded = load(write_chains(tmp_path, CHAINS))
    alone: dict[int, Any] = {}
    for seed in range(400):
        alone[seed] = loaded.generate("1", seed=seed, **HOW)
        alone[seed].text = "".join(alone[seed])
    assert {text.text for text in alone.values()} == {"1", "1a", "1bcd", "1ef", "1xyxyxyxyxy"}
    groups = {tuple(alone[seed + i].text for i in range(3)): seed for seed in range(398)}
    assert len(groups) > 90
    for seed in groups.values():
        streams = loaded.samples("1", 3, seed=seed, **HOW)
        texts = ["", "", ""]
        for i in asked(order, seed):
            texts[i] += next(streams[i], "")
        for i, stream in enumerate(streams):
            if order == "one alone" and i != seed % 3:
                continue
            expected = alone[seed + i]
            assert texts[i] == expected.text
            assert (stream.tokens, stream.logprobs) == (expected.tokens, expected.logprobs)
            assert (stream.generated, stream.passes) == (expected.generated, expected.passes)
            assert next(stream, None) is None


def asked(order: str, seed: int) -> list[int]:
    """Which of three texts, of at most 20 pieces, are asked one after the other."""
    orders = {"whole texts": [0, 1, 2], "the last first": [2, 1, 0], "one alone": [seed % 3]}
    if order in orders:
        return [i for i in orders[order] for _ in range(20)]
    turns = [0, 1, 2] * 20
    if order == "any":
        random.Random(seed).shuffle(turns)
    return turns


@pytest.mark.parametrize("longer", [0, 1, 15, 40])
def test_a_copied_cache_is_independent(load: Callable[..., Any], model: Path, longer: int) -> None:
    """Whichever of the two goes on, the other one holds what it did, and goes on as if it were alone."""
    transformer, prompt = load(model).transformer, [1, 5, 9, 260, 261]
    cache, again = transformer.new_cache(), transformer.new_cache()
    for each in (cache, again):
        transformer.forward([*prompt, *range(2, 2 + longer)], each)
        each.length = len(prompt)  # what is behind does not go along
    copy = cache.copy()
    assert copy.length == len(prompt)
    held = rows_of(cache)
    assert rows_of(copy) == held
    expected = list(transformer.forward([7, 8], again))
    assert list(transformer.forward([7, 8], cache)) == expected
    assert rows_of(copy) == held
    transformer.forward([11], copy)  # where there is room, and then where there is none
    transformer.forward([11] * 20, copy)
    assert rows_of(cache) == rows_of(again)
    assert list(transformer.forward([3], cache)) == list(transformer.forward([3], again))


def rows_of(cache: Any) -> list[list[list[float]]]:
    """What a cache holds, up to its length."""
    return [[[float(x) for x in row] for row in layer[: cache.length]] for layer in (*cache.keys, *cache.values)]


def test_an_empty_cache_can_be_copied(load: Callable[..., Any], model: Path) -> None:
    transformer = load(model).transformer
    one, other = transformer.new_cache(), transformer.new_cache().copy()
    assert list(transformer.forward([1, 2], one)) == list(transformer.forward([1, 2], other))


def test_seeds_wrap(llama2: ModuleType, model: Path) -> None:
    streams = llama2.load(model).samples(count=3, seed=2**64 - 2)
    assert [stream.sampler.seed for stream in streams] == [2**64 - 2, 2**64 - 1, 0]
    one, other = llama2.load(model).samples(count=2)
    assert other.sampler.seed == (one.sampler.seed + 1) % 2**64


def test_samples_are_written_whole_and_in_order(llama2: ModuleType, ask: Ask, model: Path) -> None:
    texts = ["".join(llama2.load(model).generate("ab", 30, seed=seed)) for seed in (5, 6, 7)]
    code, out, err = ask(model, "-i", "ab", "-n", 30, "-s", 5, "--samples", 3)
    expected = "".join(f"--- sample {i} of 3, seed {4 + i} ---\n{text}\n" for i, text in enumerate(texts, 1))
    assert (code, out) == (0, expected)
    rates = r"prompt: 3 tokens, [\d.]+ tok/s; generated: \d+ tokens in 3 samples, [\d.]+ tok/s; seeds from 5 on\n"
    assert re.fullmatch(rates, err)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--samples", "0"], "samples must be a whole number from 1 up (got 0)"),
        (["--samples", "2", "-m", "chat", "-i", "a"], "--samples is for texts"),
        (["--samples", "x"], "argument --samples: invalid int value: 'x'"),
    ],
    ids=str,
)
def test_samples_that_can_not_be(ask: Ask, model: Path, flags: list[str], says: str) -> None:
    code, out, err = ask(model, *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
