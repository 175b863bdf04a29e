"""Every keyword of every way to make a text reaches what it is for: a loop of a few lines tells what it must do."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_ref
from llama2_ref.generation.params import SPELLINGS, GenerationOptions, GenerationParams
from support.models import write_model
from support.scripted import write_chains

CONFIG = llama2_ref.Config(dim=8, hidden_dim=16, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=300, seq_len=64)
USER = {"role": "user", "content": "ab"}
ENTRIES: dict[str, Callable[..., Any]] = {
    "generate": lambda model, **named: model.generate("ab", **named),
    "samples": lambda model, **named: model.samples("ab", 2, **named)[0],
    "chat": lambda model, **named: model.chat([USER], **named),
    "conversation": lambda model, **named: model.conversation(**named).say("ab"),
}
USUAL: dict[str, Any] = {"steps": 40, "temperature": 0.9, "topp": 0.9, "seed": 5}
OTHER = {  # for each keyword a value that makes another text
    "steps": 30, "temperature": 0.3, "topp": 0.2, "seed": 6, "topk": 2, "minp": 0.5, "repetition_penalty": 5.0,
    "top_p": 0.2, "top_k": 2, "min_p": 0.5,
}  # fmt: skip
OBSERVED = {*OTHER, "stop", "logprobs", "session"}
FIRST = ("prompt", "count", "messages", "self", "options")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("random"), CONFIG, seed=2)


@pytest.fixture
def model(llama2: ModuleType, path: Path) -> Any:
    return llama2.load(path)


def expected(
    llama2: ModuleType, model: Any, prompt: list[int], steps: int, temperature: float, topp: float, seed: int,
    **filters: Any,
) -> list[int]:  # fmt: skip
    """The tokens of a text: one forward pass after the other, on a cache of its own."""
    sampler, cache, tokens = llama2.Sampler(temperature, topp, seed, **filters), model.transformer.new_cache(), prompt
    new = prompt
    while len(tokens) <= (steps or CONFIG.seq_len):
        token = sampler.sample(model.transformer.forward(new, cache), tokens)
        if token in model.tokenizer.stop:
            break
        tokens, new = [*tokens, token], [token]
    return tokens


def test_every_keyword_is_observed(llama2: ModuleType) -> None:
    """A new one must be added to this file; all entries have the same."""
    for name in ENTRIES:
        found = {word for word in inspect.signature(getattr(llama2.Model, name)).parameters if word not in FIRST}
        assert found | set(GenerationOptions.__annotations__) == OBSERVED, name
    fields = set(GenerationParams.__dataclass_fields__)
    assert fields | set(SPELLINGS) | {"session"} == OBSERVED
    assert set(SPELLINGS.values()) <= fields


@pytest.mark.parametrize("keyword", ["none", *OTHER])
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_makes_a_text(llama2: ModuleType, model: Any, entry: str, keyword: str) -> None:
    stream = ENTRIES[entry](model, **changed(keyword))
    named: dict[str, Any] = {SPELLINGS.get(name, name): value for name, value in changed(keyword).items()}
    text = "".join(stream)
    prompt = stream.tokens[: stream.prompt_length]
    assert stream.tokens == expected(llama2, model, prompt, **named)
    assert text.removeprefix("ab") == model.tokenizer.decode([1, *stream.tokens[len(prompt) :]])
    if keyword != "none":
        assert stream.tokens != expected(llama2, model, prompt, **USUAL)


def changed(keyword: str) -> dict[str, Any]:
    """What is usual, but for one keyword, of which the other spelling is not said."""
    others = {name: value for name, value in USUAL.items() if name != SPELLINGS.get(keyword)}
    return others | ({} if keyword == "none" else {keyword: OTHER[keyword]})


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_parameter_is_given_in_one_spelling(llama2: ModuleType, model: Any, entry: str, spelling: str) -> None:
    """Both are refused, even where one of them is what is the default, or both are the same."""
    name = SPELLINGS[spelling]
    says = f"^{name} and {spelling} are the same parameter: give one of them"
    for value in (0.9 if name == "topp" else 0, OTHER[name]):
        with pytest.raises(llama2.SamplerError, match=says):
            ENTRIES[entry](model, **{name: value, spelling: OTHER[spelling]})


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_keyword_that_there_is_not(llama2: ModuleType, model: Any, entry: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'top_a'"):
        ENTRIES[entry](model, top_a=1)


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"steps": -1}, "PromptError"),
        ({"steps": 1.5}, "PromptError"),
        ({"steps": "9"}, "PromptError"),
        ({"temperature": -1}, "SamplerError"),
        ({"topp": float("nan")}, "SamplerError"),
        ({"topp": None}, "SamplerError"),
        ({"seed": 2**64}, "SamplerError"),
        ({"topk": 0.5}, "SamplerError"),
        ({"minp": 2}, "SamplerError"),
        ({"repetition_penalty": 0}, "SamplerError"),
        ({"stop": ["a", ""]}, "PromptError"),
        ({"stop": "\ud800"}, "PromptError"),
        ({"logprobs": -1}, "SamplerError"),
        ({"logprobs": "1"}, "SamplerError"),
    ],
    ids=str,
)
def test_parameters_are_checked_where_they_are_made(llama2: ModuleType, model: Any, named: Any, error: str) -> None:
    (name,) = named
    makers: list[Callable[..., Any]] = [GenerationParams, *(partial(entry, model) for entry in ENTRIES.values())]
    for make in makers:
        with pytest.raises(getattr(llama2, error), match=f"{name}|stop string"):
            make(**named)


def test_parameters_do_not_change() -> None:
    params = GenerationParams(stop="a")
    assert params.stop == ("a",)
    with pytest.raises(AttributeError):
        params.stop = ("b",)  # type: ignore[misc]


@pytest.mark.parametrize("entry", ENTRIES)
def test_parameters_by_their_places(llama2: ModuleType, model: Any, entry: str) -> None:
    """Steps, temperature, top-p, seed; filters only by name."""
    call = {
        "generate": lambda *how: model.generate("ab", *how),
        "samples": lambda *how: model.samples("ab", 1, *how)[0],
        "chat": lambda *how: model.chat([USER], *how),
        "conversation": lambda *how: model.conversation(*how).say("ab"),
    }[entry]
    stream = call(30, 0.8, 0.7, 9)
    list(stream)
    prompt = stream.tokens[: stream.prompt_length]
    assert stream.tokens == expected(llama2, model, prompt, 30, 0.8, 0.7, 9)
    with pytest.raises(TypeError, match="positional"):
        call(30, 0.8, 0.7, 9, "x")


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_comes_with_a_text(llama2: ModuleType, model: Any, entry: str, tmp_path: Path) -> None:
    """Log-probabilities, of as many tokens as are asked for; a session, which the second text finds."""
    session = llama2.Session(tmp_path / "s", model.transformer)
    for again in (False, True):
        stream = ENTRIES[entry](model, **USUAL, logprobs=3, session=session)
        list(stream)
        assert [each.token for each in stream.logprobs] == stream.tokens[stream.prompt_length :]
        assert {len(each.top) for each in stream.logprobs} == {3}
        assert stream.prompt_read == (1 if again else stream.prompt_length)
        session.save(stream.tokens)
    assert session.tokens[: stream.prompt_length] == stream.tokens[: stream.prompt_length]
    plain = ENTRIES[entry](model, **USUAL)
    list(plain)
    assert (plain.logprobs, plain.tokens, plain.prompt_read) == ([], stream.tokens, plain.prompt_length)


@pytest.mark.parametrize("stop", ["yz", ["q", "yz", "zz"]], ids=["one", "several"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_stop_strings(llama2: ModuleType, tmp_path: Path, entry: str, stop: Any) -> None:
    model = llama2.load(write_chains(tmp_path, ["xyzw"]))
    stream = ENTRIES[entry](model, steps=60, stop=stop)
    assert "".join(stream).removeprefix("ab") == "x"
    assert "".join(ENTRIES[entry](model, steps=60)).removeprefix("ab") == "xyzw"


@pytest.mark.parametrize(
    ("entry", "steps"), [("generate", 256), ("samples", 256), ("chat", 300), ("conversation", 300)]
)
def test_defaults(llama2: ModuleType, tmp_path: Path, entry: str, steps: int) -> None:
    """A text has 256 positions, a chat the whole context; each a seed of its own; the rest is the Sampler's."""
    model = llama2.load(write_chains(tmp_path, ["xy*"], 300))
    stream = ENTRIES[entry](model)
    list(stream)
    assert len(stream.tokens) == steps + 1
    assert stream.sampler.seed != ENTRIES[entry](model).sampler.seed
    default = llama2.Sampler()
    for name in ("temperature", "topp", "topk", "minp", "repetition_penalty"):
        assert getattr(stream.sampler, name) == getattr(default, name)


def test_all_turns_of_a_conversation_are_made_alike(llama2: ModuleType, model: Any) -> None:
    """The random numbers go on from turn to turn; everything else holds for each."""
    named: dict[str, Any] = USUAL | {"steps": 0, "topk": 3, "repetition_penalty": 1.3}
    talk = model.conversation(**named, stop="k", logprobs=1)
    sampler = llama2.Sampler(0.9, 0.9, 5, topk=3, repetition_penalty=1.3)
    for question in ("a", "b"):
        stream = talk.say(question)
        for _ in range(5):
            next(stream)
        tokens, cache = stream.tokens[: stream.prompt_length], model.transformer.new_cache()
        new = tokens
        for found in stream.tokens[stream.prompt_length :]:
            token = sampler.sample(model.transformer.forward(new, cache), tokens)
            assert token == found
            tokens, new = [*tokens, token], [token]
        assert [len(each.top) for each in stream.logprobs] == [1] * stream.generated
