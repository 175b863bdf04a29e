"""Perplexity beside an independent computation: the reference's logits, windows that are spelled out, and numpy."""

import io
import math
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from llama2_ref.generation import perplexity as ref
from support.models import random_twins, vocabulary, write_model

CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=24)
TWINS = random_twins(CONFIG, seed=4)
SLOW = llama2_ref.Transformer(CONFIG, TWINS.ref)
TEXT = "a cab abaca bad cafe zebra quick fox"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG, seed=4)


def expected(tokens: list[int], context: int, stride: int) -> np.ndarray:
    """The negative log-likelihood of each token but the first: of the first window that holds it behind another one."""
    found: dict[int, float] = {}
    for begin in range(0, len(tokens), stride):
        window = tokens[begin : begin + context]
        logits = np.array([[float(x) for x in row] for row in SLOW.forward(window, SLOW.new_cache(), every=True)])
        for place in range(1, len(window)):
            row = logits[place - 1] - logits[place - 1].max()
            found.setdefault(begin + place, np.log(np.exp(row).sum()) - row[window[place]])
        if begin + context >= len(tokens):
            break
    assert sorted(found) == list(range(1, len(tokens)))
    return np.array([found[place] for place in sorted(found)])


def fast_perplexity(transformer: Any, tokens: list[int], *windows: Any) -> ref.Perplexity:
    return llama2_fast.Model(llama2_fast.Tokenizer(*vocabulary(300)), transformer, llama2_fast.Sampler).perplexity(
        tokens, *windows
    )


def tokens_of(count: int) -> list[int]:
    return np.random.default_rng(count).integers(0, 400, count).tolist()


WINDOWS = [(2, 24, 12), (24, 24, 12), (25, 24, 12), (60, 24, 12), (60, 24, 23), (14, 8, 1), (20, 2, 1), (41, 7, 3)]


@pytest.mark.parametrize(("count", "context", "stride"), WINDOWS)
def test_it_is_what_the_definition_says(backend: str, count: int, context: int, stride: int) -> None:
    tokens = tokens_of(count)
    nlls = expected(tokens, context, stride)
    engine = llama2_fast.Transformer(CONFIG, TWINS.fast, backend=backend)
    for found in (ref.perplexity(SLOW, tokens, context, stride), fast_perplexity(engine, tokens, context, stride)):
        assert found.tokens == count - 1
        assert found.nll == pytest.approx(nlls.sum(), rel=1e-5)
        assert found.perplexity == pytest.approx(math.exp(nlls.mean()), rel=1e-4)
        error = nlls.std(ddof=1) / math.sqrt(len(nlls)) if len(nlls) > 1 else 0
        assert found.error == pytest.approx(error, rel=1e-4)
    assert ref.perplexity(SLOW, tokens, context, stride).nll == pytest.approx(nlls.sum(), rel=1e-13)


def test_defaults_are_the_whole_context_and_half_of_it(backend: str) -> None:
    tokens = tokens_of(50)
    engine = llama2_fast.Transformer(CONFIG, TWINS.fast, backend=backend)
    assert fast_perplexity(engine, tokens) == fast_perplexity(engine, tokens, 24, 12)
    assert fast_perplexity(engine, tokens, 7) == fast_perplexity(engine, tokens, 7, 3)


@given(st.integers(2, 400), st.integers(2, 60), st.data())
def test_windows_score_every_token_once(count: int, context: int, data: st.DataObject) -> None:
    """Behind at least one other, and, but for those of the first window, behind context - stride of them."""
    stride = data.draw(st.integers(1, context - 1))
    seen = []
    for begin, first, end in ref.windows(count, context, stride):
        assert end - begin <= context
        assert begin < first < end
        if begin:
            assert first - begin >= context - stride
        seen += range(first, end)
    assert seen == list(range(1, count))


def test_logits_are_not_all_held(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of some tokens; how long they are makes no difference to the compiled engine."""
    tokens = tokens_of(60)
    engine = llama2_fast.Transformer(CONFIG, TWINS.fast, backend=backend)
    whole = fast_perplexity(engine, tokens)
    shapes = []
    forward = engine.forward

    def recording(*args: Any, **options: Any) -> Any:
        logits = forward(*args, **options)
        shapes.append(logits.shape)
        return logits

    monkeypatch.setattr(engine, "forward", recording)
    monkeypatch.setattr(ref, "LOGITS", 5 * 400)
    in_parts = fast_perplexity(engine, tokens)
    assert max(shape[0] for shape in shapes if len(shape) == 2) == 5
    assert in_parts == whole if backend == "simd" else in_parts.nll == pytest.approx(whole.nll, rel=1e-5)


def test_progress_is_told() -> None:
    told: list[tuple[int, int, float]] = []
    tokens = tokens_of(50)
    found = ref.perplexity(SLOW, tokens, progress=lambda *facts: told.append(facts))
    done = [facts[0] for facts in told]
    assert done == sorted(done)
    assert told[-1] == (49, 49, found.perplexity)
    assert len(told) > 2


def test_a_perplexity_beyond_float64() -> None:
    assert ref.Perplexity(1, 1e4, 1e4, 0.0).perplexity == float("inf")
    assert ref.Perplexity(2, 4.0, 2.0, 0.0).perplexity == math.exp(2)


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_engines_agree_on_every_kind_of_weights(model: Path, quantize: str | None) -> None:
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    tokens = tokens_of(50)
    found = [ref.perplexity(llama2_ref.load(model, quantize=quantize).transformer, tokens)]
    for engine in ("numpy", "simd"):
        loaded = llama2_fast.load(model, quantize=quantize, backend=engine)
        found.append(fast_perplexity(loaded.transformer, tokens))
    assert [each.nll for each in found] == pytest.approx([found[0].nll] * 3, rel=1e-4 if quantize is None else 1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1],), "a text must have at least 2 tokens to be predicted (got 1)"),
        (([],), "a text must have at least 2 tokens to be predicted (got 0)"),
        (([1, 2], 1), "context must be in 2..24, which is the model's (got 1)"),
        (([1, 2], 25), "context must be in 2..24, which is the model's (got 25)"),
        (([1, 2], 24, 24), "stride must be in 1..23, below the context of 24 (got 24)"),
        (([1, 2], 8, 0), "stride must be in 1..7, below the context of 8 (got 0)"),
    ],
    ids=str,
)
def test_what_is_out_of_range(llama2: ModuleType, arguments: tuple[Any, ...], says: str) -> None:
    model = llama2.Model(llama2.Tokenizer(*vocabulary(300)), SLOW, llama2.Sampler)
    with pytest.raises(llama2.PromptError, match=re.escape(says)):
        model.perplexity(*arguments)


# ----------------------------------------------------------------------------------------------------- the command line


def ask(llama2: ModuleType, capsys: Capture, *argv: str | Path) -> tuple[int, str, list[str]]:
    code = main(llama2, ["perplexity", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, [line for line in err.splitlines() if " parameters, " not in line]


def test_one_line_tells_it(llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    loaded = llama2.load(model)
    found = ref.perplexity(loaded.transformer, loaded.tokenizer.encode(TEXT), 10, 4)
    code, out, err = ask(llama2, capsys, model, file, "--context", "10", "--stride", "4")
    expected = f"{found.tokens} tokens, nll {found.nll:.4f}, mean {found.mean:.5f} +- {found.error:.5f}"
    assert (code, out) == (0, f"{expected}, perplexity {found.perplexity:.4f}\n")
    assert len(err) == 1
    assert err[0].endswith("tok/s")


def test_a_text_may_come_from_standard_input(
    llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is: the line end behind it is part of it."""
    file = tmp_path / "text.txt"
    file.write_text(TEXT + "\n", newline="\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode() + b"\n")))
    assert ask(llama2, capsys, model, "-")[1] == ask(llama2, capsys, "--checkpoint", model, file)[1]


def test_integers_cost_something(llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    lines = {
        ask(llama2, capsys, model, file, *flags)[1] for flags in ([], ["--quantize", "int8"], ["--quantize", "int4"])
    }
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "a text must not be empty"),
        (b"ab\xffc", "a text must be valid UTF-8 (byte 2 is 0xFF)"),
        (b"a\0b", "a text must not contain NUL (character 1 is one)"),
        (None, "a text must be a readable file (No such file or directory)"),
    ],
)
def test_what_is_no_text(
    llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path, text: bytes | None, says: str
) -> None:
    file = tmp_path / "text.txt"
    if text is not None:
        file.write_bytes(text)
    code, out, err = ask(llama2, capsys, model, file)
    assert (code, out) == (2, "")
    assert err == [f"python -m {llama2.__name__}: {file}: {says}"]


@pytest.mark.skipif(os.name != "posix", reason="says so in other words elsewhere")
def test_a_folder_is_no_text(llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path) -> None:
    code, _, err = ask(llama2, capsys, model, tmp_path)
    assert (code, len(err)) == (2, 1)
    assert "a text must be a readable file (Is a directory)" in err[0]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--context", "25"], "context must be in 2..24"),
        (["--stride", "24"], "stride must be in 1..23"),
        (["--stride", "x"], "argument --stride: invalid int value"),
    ],
    ids=str,
)
def test_flags_out_of_range(
    llama2: ModuleType, capsys: Capture, model: Path, tmp_path: Path, flags: list[str], says: str
) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    code, out, err = ask(llama2, capsys, model, file, *flags)
    assert (code, out, len(err)) == (2, "", 1)
    assert says in err[0]
