"""What is in a cache when a text has ended, however it has: the next turn, or session, must find what it would anew."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref.tokenizer import SpecialTokens
from support.models import random_twins, transformers, vocabulary
from support.scripted import NEXT, ScriptedTransformer
from support.templates import CHATML

CONFIG = llama2_ref.Config(dim=8, hidden_dim=8, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=300)
A, B, C, D, EOS, END = 260, 261, 262, 263, 2, 298  # END ends texts where there is a template
ENGINES = {"reference": None, "numpy": "numpy", "simd": "simd"}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of one of the three engines."""
    if request.param == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    return str(request.param)


@pytest.fixture(params=["llama2", "template"])
def model(request: pytest.FixtureRequest, engine: str) -> Any:
    """A random model that says what its transformer's plan tells: with Llama-2's turns, or a template of its own."""
    if request.param == "template":
        pytest.importorskip("jinja2", reason="jinja2 is not installed (extra models)")
    return planned(engine, request.param == "template")


def planned(engine: str, template: bool = False) -> Any:
    twins, package = random_twins(CONFIG, 1), package_of(engine)
    inner = transformers(twins, ENGINES[engine])[package is llama2_fast]
    transformer = ScriptedTransformer(inner, {}, A)
    if not template:
        return package.Model(package.Tokenizer(*vocabulary(300)), transformer, package.Sampler)
    tokens, scores = vocabulary(297)
    tokens, scores = [*tokens, b"<|begin|>", b"<|end|>", b"<|turn|>"], [*scores, 0.0, 0.0, 0.0]
    special = frozenset({297, END, 299})
    special_tokens = SpecialTokens(
        bos=297, eos=END, stop=frozenset({END}), control=special, space_prefix=False, adds_bos=False
    )
    return package.Model(package.Tokenizer(tokens, scores, special_tokens), transformer, package.Sampler, CHATML)


def package_of(engine: str) -> ModuleType:
    return llama2_ref if engine == "reference" else llama2_fast


Reader = Callable[[Any, Any], None]  # of the text of a transformer


def read_all(transformer: ScriptedTransformer, stream: Any) -> None:
    list(stream)


def leave_after(count: int) -> Reader:
    """Ask until so many tokens have been made, and never again."""

    def read(transformer: ScriptedTransformer, stream: Any) -> None:
        while stream.generated < count:
            next(stream)

    return read


def close_after(count: int) -> Reader:
    def read(transformer: ScriptedTransformer, stream: Any) -> None:
        leave_after(count)(transformer, stream)
        stream.close()

    return read


def fail_at(place: int | None, error: type[BaseException]) -> Reader:
    """Token `place` of the text, counted from the prompt's end, can't be read; None: nothing can."""

    def read(transformer: ScriptedTransformer, stream: Any) -> None:
        transformer.failures[NEXT if place is None else stream.prompt_length + place] = error()
        with pytest.raises(error):
            list(stream)

    return read


# What the model says; the options of the text, with steps from the prompt's end on; its reader; how many tokens there
# are in the end.
ENDS: dict[str, tuple[Sequence[int], dict[str, Any], Reader, int]] = {
    "a stop string": ([A, B, C, D], {"stop": "bc"}, read_all, 3),
    "a stop string in one token": ([A, B, C, D], {"stop": "c"}, read_all, 3),
    "a stop string at once": ([A, B, C, D], {"stop": "a"}, read_all, 1),
    "the second stop string": ([A, B, C, D], {"stop": ["cx", "cd"]}, read_all, 4),
    "the end of a text": ([A, B, EOS], {}, read_all, 2),
    "the end of a text at once": ([EOS], {}, read_all, 0),
    "steps": ([A, B, C, D, A], {"steps": 3}, read_all, 4),
    "no step": ([A, B, C, D], {"steps": 0}, read_all, 1),
    "not begun": ([A, B], {}, leave_after(0), 0),
    "left after 1": ([A, B, C], {}, leave_after(1), 1),
    "left after 3": ([A, B, C], {}, leave_after(3), 3),
    "closed at once": ([A, B, C], {}, close_after(0), 0),
    "closed after 1": ([A, B, C], {}, close_after(1), 1),
    "closed after 3": ([A, B, C], {}, close_after(3), 3),
    "an error in the prompt": ([A, B, C], {}, fail_at(-3, ArithmeticError), 0),
    "an error at the first token": ([A, B, C], {}, fail_at(0, ArithmeticError), 1),
    "an error later": ([A, B, C, D], {}, fail_at(2, ArithmeticError), 3),
    "Ctrl-C before anything is read": ([A, B, C], {}, fail_at(None, KeyboardInterrupt), 0),
    "Ctrl-C in the prompt": ([A, B, C], {}, fail_at(-1, KeyboardInterrupt), 0),
    "Ctrl-C at the first token": ([A, B, C], {}, fail_at(0, KeyboardInterrupt), 1),
    "Ctrl-C later": ([A, B, C, D], {}, fail_at(2, KeyboardInterrupt), 3),
}


def plan(model: Any, prompt_length: int, says: Sequence[int]) -> None:
    """Let the model say something behind a prompt. What ends a text by its template is another token."""
    end = next(iter(model.tokenizer.stop - {1}))
    told = [end if token == EOS else token for token in says]
    model.transformer.plan = {prompt_length + i: token for i, token in enumerate(told)}


def agreeing(some: Sequence[int], others: Sequence[int]) -> int:
    count = 0
    while count < min(len(some), len(others)) and some[count] == others[count]:
        count += 1
    return count


def check_next(model: Any, stream: Any, held: Sequence[int]) -> None:
    """A text begins with the logits that a cache of its own gives; of what is held, nothing is read again."""
    transformer, prompt = model.transformer, stream.tokens[: stream.prompt_length]
    before = transformer.tokens_read
    leave_after(1)(transformer, stream)
    kept = agreeing(held, prompt[:-1])
    assert (stream.prompt_read, transformer.tokens_read - before) == (len(prompt) - kept,) * 2
    anew = [float(x) for x in transformer.inner.forward(prompt, transformer.inner.new_cache())]
    found = transformer.logits[len(prompt)]
    assert np.allclose(found, anew, 1e-4, 1e-5)
    if type(transformer.inner) is llama2_ref.Transformer:
        assert found == anew


def held_by(transformer: ScriptedTransformer) -> list[int]:
    """What the one cache holds that has been used."""
    (held,) = transformer.held.values() or [[]]
    return held[:]


@pytest.mark.parametrize("how", [how for how in ENDS if "steps" not in ENDS[how][1]])
def test_the_next_turn_finds_what_it_would_anew(model: Any, how: str) -> None:
    """Steps are positions of a whole conversation: no turn follows the one that they end."""
    says, options, read, count = ENDS[how]
    conversation = model.conversation(temperature=0, **options)
    first = conversation.say("ab")
    plan(model, first.prompt_length, says)
    read(model.transformer, first)
    assert first.generated == count
    for question in ("cab", "bad"):
        held = held_by(model.transformer)
        stream = conversation.say(question)
        plan(model, stream.prompt_length, [A, B, EOS])
        check_next(model, stream, held)
        list(stream)


@pytest.mark.parametrize("made", [0, 1, 3])
def test_the_same_turn_again(model: Any, made: int) -> None:
    """Of a prompt that the cache holds whole, the last token is read anew, for its logits."""
    conversation = model.conversation(temperature=0)
    first = conversation.say("ab")
    leave_after(made)(model.transformer, first)
    held = held_by(model.transformer)
    check_next(model, conversation.answer(first.tokens[: first.prompt_length]), held)


@pytest.mark.parametrize(("entry", "loaded"), [("generate", False), ("generate", True), ("chat", True)])
@pytest.mark.parametrize("how", ENDS)
def test_the_next_text_of_a_session_finds_what_it_would_anew(
    engine: str, tmp_path: Path, how: str, loaded: bool, entry: str
) -> None:
    """By the same object, and by one that has read what was saved, which is what the first text had read."""
    says, options, read, count = ENDS[how]
    model = planned(engine)
    transformer, package = model.transformer, package_of(engine)

    def text(content: str, session: Any, more: int | None = None, **options: Any) -> Any:
        make = (
            model.generate
            if entry == "generate"
            else lambda text, *how, **named: model.chat([{"role": "user", "content": text}], *how, **named)
        )
        length = make(content, 0).prompt_length
        return make(content, 0 if more is None else length + more, 0, session=session, **options)

    if loaded:
        first = model.transformer.inner
        session = package.Session(tmp_path / "s", first)
        tokens = text("abba", None).tokens[:-2]
        first.forward(tokens, session.begin(tokens))
        session.save(tokens)
    session = package.Session(tmp_path / "s", transformer)
    transformer.hold(session.cache, session.tokens)
    stream = text("ab cab", session, options.get("steps"), **{k: v for k, v in options.items() if k != "steps"})
    plan(model, stream.prompt_length, says)
    read(transformer, stream)
    assert stream.generated == count
    held = transformer.held[id(session.cache)]
    kept = stream.tokens[: session.cache.length]
    assert held[: len(kept)] == kept
    session.save(stream.tokens)
    again = package.Session(tmp_path / "s", transformer)
    transformer.hold(again.cache, again.tokens)
    assert again.tokens[: len(kept)] == kept
    anew = transformer.inner.new_cache()
    if again.tokens:
        transformer.inner.forward(again.tokens, anew)
        assert np.allclose(rows_of(again.cache), rows_of(anew), 1e-4, 1e-5)
    for each, known in ((session, kept), (again, again.tokens)):
        transformer.plan = {}
        check_next(model, text("abc", each), known)


def rows_of(cache: Any) -> Any:
    return np.array([[[float(x) for x in row] for row in layer] for layer in (*cache.keys, *cache.values)])
