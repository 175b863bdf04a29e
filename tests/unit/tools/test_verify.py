"""The verb `verify`: that it passes what is right, names what is wrong, and judges other programs' logits."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.logits import Findings, Position
from llama2_fast.engines.choose import installed
from llama2_fast.tools import verify_task
from llama2_ref.bounded import SLACK
from llama2_ref.cli import VERBS
from llama2_ref.cli.main import main
from support.commands import ENV, INTERRUPTIBLE, SECONDS, run, start
from support.models import random_twins, write_model
from support.peer import Peer

CONFIG = llama2_ref.Config(dim=32, hidden_dim=48, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=24)
BUFFERS = 9 * CONFIG.n_layers + 2
TEXT = "One Sunday, a young boy named Luke heard a small cry from somewhere beside the path. He stopped and looked."
ENGINES = ["numpy", "simd"] if installed() else ["numpy"]

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals, terminals and file descriptors of POSIX")
simd = pytest.mark.skipif(not installed(), reason="needs numba")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model, with its tokenizer."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Standard output of a call that must end with an exit code."""

    def ask(code: int, *argv: str | Path) -> str:
        assert main(llama2_fast, ["verify", *(str(word) for word in argv)]) == code
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return ask


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line about a call that must fail."""

    def refuse(*argv: str | Path) -> str:
        assert main(llama2_fast, ["verify", *(str(word) for word in argv)]) == 2
        captured = capsys.readouterr()
        assert not captured.out
        (line,) = captured.err.splitlines()
        return line.removeprefix("python -m llama2_fast: ")

    return refuse


Ask = Callable[..., str]
Refuse = Callable[..., str]


# ---------------------------------------------------------------------------------------------------------------- right


def test_everything_is_told(ask: Ask, model: Path, tmp_path: Path) -> None:
    """Every kernel of every layer: the largest error, the bound, their ratio, and where; JSON, picture, last line."""
    pytest.importorskip("matplotlib")
    out = ask(0, model, "-n", "20", "--json", tmp_path / "found.json", "--plot", tmp_path / "errors.png")
    report = json.loads((tmp_path / "found.json").read_text())
    assert report["right"] is True
    assert [engine["engine"] for engine in report["engines"]] == ENGINES
    for engine in report["engines"]:
        assert len(engine["rows"]) == BUFFERS
        assert [row["kernel"] for row in engine["rows"]][:5] == [
            "embedding, rmsnorm", "matmul, rope", "matmul, rope", "matmul", "attention",
        ]  # fmt: skip
        for row in engine["rows"]:
            assert 0 < row["ratio"] <= SLACK
            assert row["ratio"] == pytest.approx(row["distance"] / row["bound"])
            assert row["distance"] == abs(row["got"] - row["value"])
            assert 0 <= row["token"] < 20
            assert row["wrong"] == 0
        each = 5 * CONFIG.dim + 2 * CONFIG.dim + 2 * CONFIG.kv_dim + CONFIG.hidden_dim - CONFIG.dim
        total = CONFIG.n_layers * each + CONFIG.dim + CONFIG.vocab_size
        assert sum(row["numbers"] for row in engine["rows"]) == 20 * total
    lines = out.splitlines()
    assert lines[-1] == f"right: {' and '.join(ENGINES)}, on model.bin"
    assert sum(" index " in line for line in lines) == BUFFERS * len(ENGINES)
    assert not any("WRONG" in line for line in lines)
    assert (tmp_path / "errors.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.png", "found.json"]


def test_a_user_on_a_new_machine(tmp_path: Path) -> None:
    """Nothing but the verb: the bundled model, as int8 and as float32 numbers, by all engines."""
    done = run(llama2_fast, "verify", "-n", "10", "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads((tmp_path / "found.json").read_text())
    found = [(engine["engine"], engine["weights"]) for engine in report["engines"]]
    assert found == [(engine, weights) for weights in ("int8", "float32") for engine in ENGINES]
    assert {row["kernel"] for row in report["engines"][0]["rows"]} & {"matmul", "matmul_int8"} == {"matmul_int8"}
    assert {row["kernel"] for row in report["engines"][-1]["rows"]} & {"matmul", "matmul_int8"} == {"matmul"}


def test_stories260k_in_a_minute(data: Path) -> None:
    """The whole of it, as a user calls it."""
    begin = time.monotonic()
    done = run(llama2_fast, "verify", data / "stories260K.bin")
    assert done.returncode == 0, done.stdout.decode()
    assert time.monotonic() - begin < 60
    assert done.stdout.decode().splitlines()[-1] == f"right: {' and '.join(ENGINES)}, on stories260K.bin"


@simd
def test_the_same_bits(ask: Ask, model: Path) -> None:
    out = ask(0, model, "--backend", "simd", "-n", "20")
    kept = "with 1, 2, 3 or 5 threads; in parts of 1, 5 or 16 tokens; as sequence 1, 2 or 3 of a batch"
    assert f"simd: the same bits {kept}" in out.splitlines()


def test_nothing_is_promised_of_the_bits_of_numpy(ask: Ask, model: Path) -> None:
    out = ask(0, model, "--backend", "numpy", "-n", "5")
    assert "numpy: equal bits are not promised, since BLAS adds in an order of its own" in out.splitlines()


def test_loops_and_formulas_agree(ask: Ask, model: Path) -> None:
    """The right values are equal, and so the distances of each number; bounds are of one size."""
    loops, closed = (
        json.loads(ask(0, model, "--backend", "numpy", "-n", "4", "--json", "-", "--bounds", how))
        for how in ("loops", "closed")
    )
    assert (loops["settings"]["bounds"], closed["settings"]["bounds"]) == ("loops", "closed")
    for a, b in zip(loops["engines"][0]["rows"], closed["engines"][0]["rows"], strict=True):
        assert (a["layer"], a["buffer"], a["numbers"]) == (b["layer"], b["buffer"], b["numbers"])
        assert a["ratio"] < 4 * b["ratio"]
        assert b["ratio"] < 12 * a["ratio"]


def test_loops_are_for_little_work(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the output says which were used."""
    assert "bounds: the reference's own loops" in ask(0, model, "--backend", "numpy", "-n", "2")
    monkeypatch.setattr(verify_task, "LOOPS_WORK", 2 * 24960 - 1)
    assert "bounds: closed formulas" in ask(0, model, "--backend", "numpy", "-n", "2")


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_quantized_models(ask: Ask, model: Path, kind: str) -> None:
    report = json.loads(ask(0, model, "-n", "5", "--quantize", kind, "--json", "-"))
    assert [(e["engine"], e["weights"]) for e in report["engines"]] == [(engine, kind) for engine in ENGINES]
    assert report["engines"][0]["rows"][0]["kernel"] == "dequantize_int8, rmsnorm"


@pytest.mark.parametrize(("asked", "kernel"), [("none", "matmul_int8"), ("float32", "matmul")])
def test_version_2_files(ask: Ask, tmp_path: Path, asked: str, kernel: str) -> None:
    path = write_model(tmp_path, CONFIG, version=2)
    report = json.loads(ask(0, path, "-n", "5", "--quantize", asked, "--json", "-"))
    assert [engine["rows"][-1]["kernel"] for engine in report["engines"]] == [kernel] * len(ENGINES)


def test_large_models_get_fewer_tokens(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(json.loads(ask(0, model, "--backend", "numpy", "--json", "-"))["tokens"]["ids"]) == CONFIG.seq_len
    for work, count in ((24960 * 11, 11), (24960, verify_task.MIN_STEPS)):
        monkeypatch.setattr(verify_task, "CLOSED_WORK", work)
        assert len(json.loads(ask(0, model, "--backend", "numpy", "--json", "-"))["tokens"]["ids"]) == count


def test_many_layers_are_shown_by_the_worst(ask: Ask, tmp_path: Path) -> None:
    config = llama2_ref.Config(dim=8, hidden_dim=8, n_layers=13, n_heads=1, n_kv_heads=1, vocab_size=259, seq_len=8)
    argv = write_model(tmp_path, config), "--backend", "numpy", "-n", "2"
    few, every = ask(0, *argv, "--json", tmp_path / "found"), ask(0, *argv, "--all")
    assert few.count(" index ") == 9 + 2
    assert every.count(" index ") == 13 * 9 + 2
    (engine,) = json.loads((tmp_path / "found").read_text())["engines"]
    worst = max((row for row in engine["rows"] if row["buffer"] == "att"), key=lambda row: row["ratio"])
    (line,) = re.findall(r"^ *(\d+) +att +attention .* (0\.\d{3}) +token", few, re.MULTILINE)
    assert line == (str(worst["layer"]), f"{worst['ratio']:.3f}")


def test_tokens_are_those_given_and_then_random_ones(ask: Ask, model: Path, tmp_path: Path) -> None:
    ids, array = tmp_path / "ids.txt", tmp_path / "ids.npy"
    ids.write_text("[1, 268,\n 7]\n")
    np.save(array, np.array([[1, 268, 7]], np.uint16))
    for argv in (["--tokens", ids], ["--tokens", array]):
        report = json.loads(ask(0, model, "--backend", "numpy", "--json", "-", "-n", "9", *argv))
        assert report["tokens"]["ids"][:3] == [1, 268, 7]
        assert (len(report["tokens"]["ids"]), report["tokens"]["given"], report["tokens"]["prompt"]) == (9, 3, 7)
    report = json.loads(ask(0, model, "--backend", "numpy", "--json", "-", "-n", "4", "-i", "abc abc"))
    assert report["tokens"]["ids"] == llama2_fast.load(model).tokenizer.encode("abc abc")[:4]


# ---------------------------------------------------------------------------------------------------------------- wrong


def off(kernel: Callable[..., Any], index: int = -1, factor: float = 1.001) -> Callable[..., Any]:
    """A kernel one number of whose vectors is off by a thousandth."""

    def wrong(*args: Any) -> Any:
        out = kernel(*args).copy()
        out[..., index] *= np.float32(factor)
        return out

    return wrong


def only_classifier(matmul: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, x: (off(matmul) if len(w) == CONFIG.vocab_size else matmul)(w, x)


WRONG = {
    "rmsnorm": (off, "att_norm of layer 0 (embedding, rmsnorm)"),
    "matmul": (off, "q of layer 0 (matmul, rope)"),
    "rope": (off, "q of layer 0 (matmul, rope)"),
    "attention": (off, "att of layer 0 (attention)"),
    "add": (off, "x1 of layer 0 (matmul, add)"),
    "swiglu": (off, "gate of layer 0 (matmul, swiglu)"),
}


@pytest.mark.parametrize("bounds", ["loops", "closed"])
@pytest.mark.parametrize("kernel", WRONG)
def test_a_wrong_kernel_is_named(
    ask: Ask, model: Path, kernel: str, bounds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, place = WRONG[kernel]
    monkeypatch.setattr(llama2_fast.kernels, kernel, change(getattr(llama2_fast.kernels, kernel)))
    *_, summary = lines = ask(1, model, "--backend", "numpy", "-n", "3", "--bounds", bounds).splitlines()
    assert summary == f"WRONG: numpy breaks the bound of {place}"
    assert any(line.startswith(f"numpy: WRONG: {place} first: ") for line in lines)
    marked = [line for line in lines if line.endswith("<-- WRONG")]
    assert marked[0].split()[:2] == [place.split()[3], place.split()[0]]


def test_the_classifier_is_named(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama2_fast.kernels, "matmul", only_classifier(llama2_fast.kernels.matmul))
    lines = ask(1, model, "--backend", "numpy", "-n", "3").splitlines()
    assert lines[-1] == "WRONG: numpy breaks the bound of logits (matmul)"
    assert [line.split()[:2] for line in lines if line.endswith("<-- WRONG")] == [["-", "logits"]]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_no_number_is_wrong(ask: Ask, model: Path, number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forward pass ends with an error then: what was recorded up to there is judged."""
    swiglu = llama2_fast.kernels.swiglu
    monkeypatch.setattr(llama2_fast.kernels, "swiglu", off(swiglu, factor=number))
    for bounds in ("loops", "closed"):
        out = ask(1, model, "--backend", "numpy", "-n", "9", "--bounds", bounds)
        assert out.splitlines()[-1] == "WRONG: numpy breaks the bound of gate of layer 0 (matmul, swiglu)"
    report = json.loads(ask(1, model, "--backend", "numpy", "-n", "3", "--json", "-"))
    row = next(row for row in report["engines"][0]["rows"] if row["wrong"])
    assert (row["buffer"], row["got"], row["ratio"]) == ("gate", None, None)


def test_only_what_is_wrong_one_by_one(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix times vector is another routine of BLAS than matrix times matrix: both are looked at."""
    matmul = llama2_fast.kernels.matmul
    for wrong_count in (1, 7):
        with monkeypatch.context() as patch:
            patch.setattr(
                llama2_fast.kernels,
                "matmul",
                lambda w, x, n=wrong_count: (off(matmul) if len(x) == n else matmul)(w, x),
            )
            report = json.loads(ask(1, model, "--backend", "numpy", "-n", "8", "--json", "-"))
        tokens = {row["token"] for row in report["engines"][0]["rows"] if row["wrong"]}
        assert tokens == {7} if wrong_count == 1 else max(tokens) < 7


def test_a_cache_that_loses_a_row(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = llama2_fast.KVCache.store

    def lose(self: Any, layer: int, position: int, key: Any, value: Any) -> None:
        key = key.copy()
        key[3 - position : 4 - position] = 0
        store(self, layer, position, key, value)

    monkeypatch.setattr(llama2_fast.KVCache, "store", lose)
    out = ask(1, model, "--backend", "numpy", "-n", "9")
    assert out.splitlines()[-1] == "WRONG: numpy breaks the bound of att of layer 0 (attention)"


@simd
def test_the_compiled_engine_is_judged_as_well(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("llama2_fast.engines.simd.job")
    right = module._frequencies
    monkeypatch.setattr(module, "_frequencies", lambda size, theta: right(size, 2 * theta))
    out = ask(1, model, "-n", "5")
    assert out.splitlines()[-1] == "WRONG: simd breaks the bound of q of layer 0 (matmul, rope)"
    assert "numpy: every buffer keeps its bound" in out


@simd
@pytest.mark.parametrize("what", ["3 threads", "parts of 5 tokens", "sequence 2 of a batch"])
def test_other_bits_are_found(ask: Ask, model: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one logit, with one number of threads, in one cut of a prompt, in one sequence of a batch."""
    module = importlib.import_module("llama2_fast.engines.simd.engine")
    passes, number = module.SimdEngine._run, int(next(word for word in what.split() if word.isdigit()))

    def run(self: Any, batch: Any, every: bool, taps: Any) -> Any:
        found = passes(self, batch, every, taps)
        sizes = {"threads": self.threads, "parts": len(batch[0][0]), "sequence": len(batch)}
        sizes = {key: value for key, value in sizes.items() if key in what}
        if taps is None and sizes in ({"threads": 3}, {"parts": 5}, {"sequence": 3}):
            target = found[number - 1 if "sequence" in what else 0]
            target[-1, 7] = np.nextafter(target[-1, 7], np.float32(np.inf))
        return found

    monkeypatch.setattr(module.SimdEngine, "_run", run)
    *_, summary = lines = ask(1, model, "--backend", "simd", "-n", "20").splitlines()
    assert summary == f"WRONG: simd gives other bits with {what}"
    (line,) = [line for line in lines if line.startswith("simd: WRONG: not the same bits: ")]
    assert f": {what}: logits of token " in line
    assert "differ at index 7 (" in line


BLAS = """
#define _GNU_SOURCE
#include <dlfcn.h>
typedef void (*routine)(int, int, INT, INT, REAL, const REAL *, INT, const REAL *, INT, REAL, REAL *, INT);

/* y = a x, but that the last column of a row-major matrix is forgotten: it may be called a column-major one's row. */
void GEMV(int order, int trans, INT m, INT n, REAL alpha, const REAL *a, INT lda, const REAL *x, INT incx,
          REAL beta, REAL *y, INT incy)
{
    static routine real;
    if (!real)
        real = (routine)dlsym(dlopen(LIBRARY, RTLD_LAZY), NAME);
    if (order == 101 && trans == 111 && n > 1)
        n--;
    if (order == 102 && trans == 112 && m > 1)
        m--;
    real(order, trans, m, n, alpha, a, lda, x, incx, beta, y, incy);
}
"""
ROUTINES = [("scipy_cblas_{}gemv64_", "long"), ("cblas_{}gemv64_", "long"), ("cblas_{}gemv", "int")]


@pytest.fixture(scope="module")
def wrong_blas(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """An environment with a library before numpy's BLAS that is wrong about matrix times vector, in float or double."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs LD_PRELOAD, as Linux has it, and a C compiler")
    blas = next((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*"), None)
    if blas is None:
        pytest.skip("needs a numpy that brings its own OpenBLAS, as wheels do")
    code = blas.read_bytes()
    form, width = next((f, w) for f, w in ROUTINES if b"\0" + f.format("s").encode() + b"\0" in code)
    folder = tmp_path_factory.mktemp("blas")
    (folder / "wrong.c").write_text(BLAS)

    def build(real: str) -> dict[str, str]:
        name, library = form.format(real[0].replace("f", "s")), folder / f"{real}.so"
        define = [f"-DREAL={real}", f"-DGEMV={name}", f'-DNAME="{name}"', f'-DLIBRARY="{blas}"', f"-DINT={width}"]
        words: list[Any] = [compiler, "-shared", "-fPIC", *define, folder / "wrong.c", "-o", library, "-ldl"]
        subprocess.run(words, check=True)
        return ENV | {"LD_PRELOAD": str(library)}

    return build


def test_a_wrong_blas_is_found(wrong_blas: Callable[[str], dict[str, str]], tmp_path: Path) -> None:
    """By nothing but the verb, on the bundled model; without that library everything is right."""
    argv = ["verify", "--backend", "numpy", "-n", "16", "--json", tmp_path / "found.json"]
    assert run(llama2_fast, *argv).returncode == 0
    assert json.loads((tmp_path / "found.json").read_text())["right"] is True
    done = run(llama2_fast, *argv, env=wrong_blas("float"))
    assert done.returncode == 1
    last = done.stdout.decode().splitlines()[-1]
    assert last == "WRONG: numpy, float32 breaks the bound of q of layer 0 (matmul, rope)"
    integers, floats = json.loads((tmp_path / "found.json").read_text())["engines"]
    assert (integers["right"], floats["right"]) == (True, False)
    wrong = [row for row in floats["rows"] if row["wrong"]]
    assert {row["kernel"].split(",")[0] for row in wrong} == {"matmul"}
    assert min(row["token"] for row in wrong) == 14  # the first that goes in alone


def test_a_wrong_blas_is_not_its_own_judge(
    wrong_blas: Callable[[str], dict[str, str]], tmp_path: Path, model: Path
) -> None:
    """Products of double numbers are wrong: the engine has none, and the judge does not ask BLAS for its own."""
    env = wrong_blas("double")
    code = "import numpy; print((numpy.ones((2, 3)) @ numpy.ones(3)).tolist())"
    product = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout
    assert product == b"[2.0, 2.0]\n"
    np.save(tmp_path / "peer.npy", np.zeros(CONFIG.vocab_size))
    argv = ["verify", model, "--backend", "numpy", "--bounds", "closed", "-i", "abc", "--json", tmp_path / "found.json"]
    assert run(llama2_fast, *argv, "--logits", tmp_path / "peer.npy", env=env).stderr == b""
    report = json.loads((tmp_path / "found.json").read_text())
    assert report["engines"][0]["right"] is True
    assert report["logits"]["ours"] < 1e-4


@pytest.mark.parametrize("kind", ["none", "int8"])
def test_rows_are_widened_a_few_at_a_time(ask: Ask, model: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many makes no difference."""
    argv = model, "--backend", "numpy", "--bounds", "closed", "-n", "3", "--quantize", kind, "--json", "-"
    whole = json.loads(ask(0, *argv))["engines"]
    monkeypatch.setattr("llama2_fast.conformance.closed.CACHED_NUMBERS", 5 * CONFIG.dim)
    for a, b in zip(whole[0]["rows"], json.loads(ask(0, *argv))["engines"][0]["rows"], strict=True):
        assert (a["buffer"], a["token"], a["index"]) == (b["buffer"], b["token"], b["index"])
        assert (a["distance"], a["bound"]) == pytest.approx((b["distance"], b["bound"]), rel=1e-6)


# --------------------------------------------------------------------------------------------------------------- logits


@pytest.fixture(scope="module")
def bundled() -> tuple[llama2_ref.Config, llama2_ref.Weights, list[int]]:
    """The bundled model with float32 weights, and the tokens of a text."""
    model = llama2_fast.load(backend="numpy")
    weights = llama2_fast.quantize_weights(model.transformer.weights, "float32")
    return model.config, weights, model.tokenizer.encode(TEXT)


@pytest.fixture
def compare(bundled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Exit code, text and JSON about logits for the text; with `alone` from a process of its own."""

    def compare(
        logits: np.ndarray, alone: bool = False, tokens: list[int] | None = None
    ) -> tuple[int, str, dict[str, Any]]:
        np.save(tmp_path / "peer.npy", logits)
        np.save(tmp_path / "ids.npy", tokens or [])
        given = ["-i", TEXT] if tokens is None else ["--tokens", str(tmp_path / "ids.npy")]
        words = ["verify", "--quantize", "float32", *given, "-n", "2", "--backend", "numpy", "--bounds", "closed"]
        words += ["--logits", str(tmp_path / "peer.npy"), "--json", str(tmp_path / "found.json")]
        if alone:
            done = run(llama2_fast, *words)
            code, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
        else:
            code = main(llama2_fast, words)
            out, err = capsys.readouterr()
        assert err == ""
        return code, out, json.loads((tmp_path / "found.json").read_text())["logits"]

    return compare


Compare = Callable[..., tuple[int, str, dict[str, Any]]]


def test_a_right_program(bundled: Any, compare: Compare) -> None:
    """Another order of summation: about as far off as ours, and it never parts."""
    code, out, found = compare(Peer().logits(*bundled), alone=True)
    assert (code, found["first"], found["parted"], len(found["positions"])) == (0, None, 0, len(bundled[2]))
    assert found["distance"] < 4 * found["ours"]
    assert "peer.npy: never parts: the likeliest token is the same at all 32 positions" in out
    assert found["hints"] == []


MISTAKES = {  # the mistake, and the first position that it can be seen at
    "half-split RoPE": (Peer(half_split=True), 1),
    "another theta": (Peer(theta=1e6), 1),
    "no scale": (Peer(scale=False), 1),
    "a stale key": (Peer(stale=5), 5),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_program(bundled: Any, compare: Compare, name: str) -> None:
    """It parts, with no excuse, and the position is named at which it begins to go wrong.

    All of these are further off at positions before than the margin where they part: that alone is no explanation.
    """
    peer, first = MISTAKES[name]
    code, out, found = compare(peer.logits(*bundled), alone=True)
    assert (code, found["right"], found["first"]["explained"]) == (1, False, False)
    times = [p["times"] for p in found["positions"]]
    assert max(times[:first]) < 4
    assert min(times[first:]) > 1000
    assert (found["rise"]["position"], found["rise"]["before"]) == (first, max(times[:first]))
    assert found["first"]["margin"] <= 2 * found["first"]["before"]
    position, token = found["first"]["position"], found["first"]["their_likeliest"]
    assert f"they part at position {position}: ours is " in out
    assert f" ({token})" in out
    assert "  NOT explained by rounding: " in out
    assert out.splitlines()[-1] == f"WRONG: peer.npy parts at position {position}, which is not explained"


@pytest.mark.parametrize(("peer", "least"), [(Peer(eps=1e-6), 20), (Peer(half=True), 200)], ids=["eps", "float16"])
def test_a_program_that_is_off_from_the_first_position(
    bundled: Any, compare: Compare, peer: Peer, least: float
) -> None:
    """It may be meant so, and is no reason to part yet: how much it is off is told."""
    code, out, found = compare(peer.logits(*bundled))
    assert (code, found["first"]) == (0, None)
    assert min(p["times"] for p in found["positions"]) > least
    assert (
        f"at position 0: off by {found['positions'][0]['theirs']:.2e}, {found['positions'][0]['times']:.3g} times"
        in out
    )


def closest(bundled: Any) -> tuple[np.ndarray, int, int, int, float]:
    """Right logits, and the position where the two likeliest tokens are nearest to each other, with their margin."""
    logits = Peer().logits(*bundled).astype(np.float64)
    top = np.sort(logits[5:], axis=1)
    position = 5 + int(np.argmin(top[:, -1] - top[:, -2]))
    second, first = np.argsort(logits[position])[-2:].tolist()
    return logits, position, first, second, logits[position, first] - logits[position, second]


@pytest.mark.parametrize("everywhere", [True, False])
def test_coarser_arithmetic_explains_a_small_margin(bundled: Any, compare: Compare, everywhere: bool) -> None:
    """Off by more than half the margin everywhere: explained. Only where they part: not."""
    logits, position, first, second, margin = closest(bundled)
    if everywhere:
        logits[:, 17] += np.where(np.arange(len(logits)) % 2, margin, -margin) * 8
    logits[position, first] -= 0.51 * margin
    logits[position, second] += 0.51 * margin
    code, out, found = compare(logits)
    assert (found["first"]["position"], found["first"]["their_likeliest"]) == (position, second)
    assert found["first"]["margin"] == pytest.approx(margin, rel=1e-2)
    assert found["first"]["top2"] == found["first"]["margin"]
    assert (code, found["first"]["explained"]) == ((0, True) if everywhere else (1, False))
    assert ("  explained by coarser arithmetic: " in out) == everywhere
    assert ("parts where that is explained" in out.splitlines()[-1]) == everywhere


def test_every_parting_needs_an_explanation(bundled: Any, compare: Compare) -> None:
    """Coarse arithmetic explains the first one, but not another likeliest token at a position with a wide margin."""
    logits, position, first, second, margin = closest(bundled)
    logits[:, 17] += np.where(np.arange(len(logits)) % 2, margin, -margin) * 8
    logits[position, [first, second]] += [-0.51 * margin, 0.51 * margin]
    logits[31, 5] = 100.0
    code, out, found = compare(logits)
    assert (code, found["parted"], found["unexplained"]) == (1, 2, 1)
    assert (found["first"]["position"], found["first_unexplained"]["position"]) == (position, 31)
    assert "they part again at position 31: " in out
    assert out.splitlines()[-1] == "WRONG: peer.npy parts at position 31, which is not explained"


@pytest.mark.slow
def test_programs_that_are_coarser_for_good_reason(bundled: Any, compare: Compare) -> None:
    """int8 and int4 weights part from float32 ones at some positions of a long text, and that is explained."""
    config, weights, _ = bundled
    stream = llama2_fast.load(backend="numpy").generate(steps=140, temperature=0.8, seed=1)
    list(stream)
    parted = 0
    for kind in ("int8", "int4"):
        transformer = llama2_fast.Transformer(config, weights, backend="numpy", quantize=kind)
        logits = transformer.forward(stream.tokens, transformer.new_cache(), every=True)
        code, _, found = compare(logits, tokens=stream.tokens)
        assert (code, found["unexplained"]) == (0, 0)
        parted += found["parted"]
    assert parted > 2
    code, _, found = compare(Peer(theta=1e6).logits(config, weights, stream.tokens), tokens=stream.tokens)
    assert code == 1
    assert found["unexplained"] == found["parted"] > 10


def test_rounding_explains_a_tie(ask: Ask, tmp_path: Path) -> None:
    """Two tokens with the same row in the classifier: the last bit decides, and that is explained by rounding."""
    twins = random_twins(CONFIG, seed=0, shared=False)
    transformer = llama2_fast.Transformer(CONFIG, twins.fast, backend="numpy")
    tokens = [1, 5, 9]
    best = int(np.argmax(transformer.forward(tokens, transformer.new_cache())))
    wcls = twins.fast.wcls.copy()
    wcls[299 if best < 299 else 0] = wcls[best]
    weights = replace(twins.fast, wcls=wcls)
    llama2_fast.write_checkpoint(tmp_path / "tie.bin", CONFIG, weights)
    transformer = llama2_fast.Transformer(CONFIG, weights, backend="numpy")
    logits = transformer.forward(tokens, transformer.new_cache(), every=True)
    likeliest = int(np.argmax(logits[-1]))
    other = best if likeliest != best else 299
    logits[-1, other] = np.nextafter(logits[-1, likeliest], np.float32(np.inf))
    np.save(tmp_path / "peer.npy", logits)
    (tmp_path / "ids").write_text("1 5 9")
    out = ask(
        0, tmp_path / "tie.bin", "--backend", "numpy", "--logits", tmp_path / "peer.npy", "--tokens", tmp_path / "ids"
    )
    assert f"they part at position 2: ours is {likeliest}, theirs {other} (1 of 3 positions differ, 0 of them " in out
    assert "  explained by float32 rounding: " in out


def test_the_last_position_alone(bundled: Any, compare: Compare) -> None:
    logits = Peer().logits(*bundled)
    for rows in (logits[-1], logits[-1:], logits[None, -1:].astype(np.float64)):
        code, _, found = compare(rows)
        assert (code, [p["position"] for p in found["positions"]]) == (0, [31])
        assert found["ours"] < 1e-4  # ours are those of the same position


def test_widths_of_numbers(bundled: Any, compare: Compare) -> None:
    logits = Peer().logits(*bundled)
    for dtype, most in ((">f4", 4), (np.longdouble, 4), (np.float16, 10**4)):
        code, _, found = compare(logits.astype(dtype))
        assert code == 0
        assert found["distance"] < most * found["ours"]


def test_more_rows_than_tokens(bundled: Any, compare: Compare) -> None:
    config, weights, tokens = bundled
    code, out, found = compare(Peer().logits(config, weights, [*tokens, 7, 8]))
    assert (code, len(found["positions"]), found["unused"]) == (0, len(tokens), 2)
    assert "note: 2 more rows than tokens" in out


def test_no_number_among_logits(bundled: Any, compare: Compare) -> None:
    logits = Peer().logits(*bundled)
    logits[7, 300] = np.nan
    code, out, found = compare(logits)
    assert (code, found["first"]["position"], found["distance"]) == (1, 7, None)
    assert "they part at position 7: token " in out
    assert "(300) is not finite (1 of 32 positions differ, 1 of them without explanation)" in out


def test_hints(bundled: Any, compare: Compare) -> None:
    """Log-probabilities, and rows that belong to the position before or after."""
    logits = Peer().logits(*bundled)
    code, _, found = compare(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    assert (code, found["hints"]) == (0, [hint for hint in found["hints"] if "log-probabilities" in hint])
    assert len(found["hints"]) == 1
    (hint,) = compare(np.roll(logits, -1, axis=0))[2]["hints"]
    assert hint.startswith("every row fits one position later better")
    (hint,) = compare(np.roll(logits, 1, axis=0))[2]["hints"]
    assert hint.startswith("every row fits one position earlier better")


def test_logits_of_quantized_models(ask: Ask, model: Path, tmp_path: Path) -> None:
    """Beside the same integers: not beside the float32 weights that they are made of."""
    config, weights = llama2_fast.read_checkpoint(model)
    transformer = llama2_fast.Transformer(config, weights, backend="numpy", quantize="int8")
    np.save(tmp_path / "peer.npy", transformer.forward([1, 5, 9], transformer.new_cache(), every=True))
    (tmp_path / "ids").write_text("1 5 9")
    argv = [model, "--backend", "numpy", "--logits", tmp_path / "peer.npy", "--tokens", tmp_path / "ids", "--json", "-"]
    found = json.loads(ask(0, *argv, "--quantize", "int8"))["logits"]
    assert found["distance"] == found["ours"]
    assert json.loads(ask(0, *argv))["logits"]["distance"] > 100 * found["ours"]


def position(number: int, theirs: float, ours: float, same: bool = True, margin: float = 0.0) -> Position:
    return Position(number, theirs, 0, ours, True, 3, 3 if same else 4, margin, margin)


@pytest.mark.parametrize(
    ("theirs", "margin", "explained"),
    [
        ([1.0, 1.0], 2.0, True),  # as exact as ours: twice as much
        ([1.0, 1.0], 2.1, False),
        ([100.0, 100.0], 200.0, True),  # a hundred times as coarse, everywhere
        ([100.0, 100.0], 201.0, False),
        ([1.0, 100.0], 2.1, False),  # it was exact once
        ([100.0, 1.0], 2.1, False),
        ([0.5, 0.0], 2.0, True),  # more exact than ours
        ([], 2.0, True),  # at the first position only ours counts
        ([], 2.1, False),
    ],
)
def test_the_rule(theirs: list[float], margin: float, explained: bool) -> None:
    positions = [position(i, distance, 1.0) for i, distance in enumerate(theirs)]
    found = Findings([*positions, position(len(theirs), 1e9, 1.0, same=False, margin=margin)])
    assert [each.explained for each in found.divergences] == [explained]


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("name", ["steps", "threads"])
def test_numbers_are_positive(refuse: Refuse, name: str) -> None:
    assert refuse(f"--{name}", "0") == f"--{name} must be at least 1 (got 0)"


def test_arguments(refuse: Refuse, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.zeros((2, 300), np.float32))
    logits = ["--logits", tmp_path / "l.npy"]
    (tmp_path / "ids").write_text("1 2 3")
    ids, no, npy = tmp_path / "ids", tmp_path / "no", ": must be a .npy file of one array of plain numbers, "
    says = {
        ("--backend", "gpu"): "argument --backend: invalid choice: 'gpu'",
        ("-n", "25"): "--steps must be at most 24, the context of this model (got 25)",
        ("-i", "a" * 30): "tokens must fit into the context of 24 (got ",
        ("-i", "", "--tokens", ids): "the tokens can be named by -i or by --tokens (got both)",
        ("-i", "a", "--tokens", ids): "the tokens can be named by -i or by --tokens (got both)",
        ("--quantize", "int3"): "argument --quantize: invalid choice: 'int3'",
        (*logits,): "--logits needs the tokens that they belong to: -i TEXT, or --tokens FILE",
        (*logits, "--tokens", ids): f"{tmp_path / 'l.npy'}: there must be a row for each of the 3 tokens of ",
        ("--logits", no, "-i", "a"): f"{no}{npy}as numpy.save writes it (there is none)",
        ("--logits", tmp_path, "-i", "a"): f"{tmp_path}{npy}as numpy.save writes it (there is none)",
        ("--logits", ids, "-i", "a"): f"{ids}{npy}as numpy.save writes it (this is another file)",
        ("--json", no / "x"): "must be in a folder that can be written",
        ("--plot", tmp_path / "x.gif7"): "--plot must end in one of ",
        ("no such verb",): "unrecognized arguments",
    }
    for argv, text in says.items():
        assert text in refuse(model, *argv), argv
    assert "no such file" in refuse(tmp_path / "no such file").lower()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "there must be at least one token (got none)"),
        ("1 300", "token ids must be in 0..299 (got 300)"),
        ("1 -1", "token ids must be in 0..299 (got -1)"),
        ("1 x", "token ids must be whole numbers (got 'x')"),
        ("1.5", "token ids must be whole numbers (got '1.5')"),
        ("9" * 5000, "token ids must be whole numbers (got '99999999999999999999')"),
        ("\u00e9", "token ids must be a .npy file, or numbers in plain text (this is neither)"),
        (np.ones(3), "token ids must be integers (got float64)"),
        (np.array([1, 300]), "token ids must be in 0..299 (got 300)"),
        (None, "must be a file of token ids (there is none)"),
    ],
    ids=str,
)
def test_tokens(refuse: Refuse, model: Path, tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "ids"
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content is not None:
        with open(path, "wb") as file:
            np.save(file, content)
    assert says in refuse(model, "--tokens", path)


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            np.zeros((2, 299), np.float32),
            "logits must be rows of 300 numbers, one for each token of the vocabulary (got ",
        ),
        (np.zeros((2, 2, 300), np.float32), "logits must be rows of 300 numbers"),
        (np.zeros((0, 300), np.float32), "there must be a row for each of the "),
        (np.zeros((2, 300), np.int32), "logits must be floating-point numbers (got int32)"),
        (np.zeros((2, 300), np.complex64), "logits must be floating-point numbers (got complex64)"),
        (np.float32(1), "logits must be rows of 300 numbers"),
        (np.array([{"a": 1}], object), "must be a .npy file of one array of plain numbers"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 300)}"),
            "must be a .npy file of one array of plain numbers",
        ),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 300)}"),
            "must be a .npy file of one array of plain numbers",
        ),
        (npy("{((("), "must be a .npy file of one array of plain numbers"),
        (b"\x93NUMPY", "must be a .npy file of one array of plain numbers"),
        (b"", "must be a .npy file of one array of plain numbers"),
        (b"PK\x03\x04", "must be a .npy file of one array of plain numbers"),
    ],
    ids=range(13),
)
def test_logits_files(refuse: Refuse, model: Path, tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "logits.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    assert says in refuse(model, "--logits", path, "-i", "a")


def test_several_arrays(refuse: Refuse, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "logits.npz", a=np.zeros(300))
    assert "must be a .npy file of one array of plain numbers" in refuse(
        model, "--logits", tmp_path / "logits.npz", "-i", "a"
    )


def test_a_pipe_does_not_block(refuse: Refuse, model: Path, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe")
    assert "must be a .npy file of one array of plain numbers, as numpy.save writes it (there is none)" in refuse(
        model, "--logits", tmp_path / "pipe", "-i", "a"
    )
    assert "must be a file of token ids (there is none)" in refuse(model, "--tokens", tmp_path / "pipe")


def test_integers_are_not_quantized_again(refuse: Refuse) -> None:
    assert refuse("--quantize", "int4").startswith("weights must be float numbers to become int4 (")


@pytest.mark.parametrize("backend", [*ENGINES, "all"])
def test_weights_that_are_no_numbers_are_an_error(refuse: Refuse, tmp_path: Path, backend: str) -> None:
    """Of the model, not of the engine."""
    twins = random_twins(CONFIG, seed=0)
    twins.fast.wo[1][3, 4] = np.inf
    llama2_fast.write_checkpoint(tmp_path / "bad.bin", CONFIG, twins.fast)
    line = refuse(tmp_path / "bad.bin", "-n", "4", "--backend", backend)
    assert line.startswith("logits must be finite (token 0 has ")
    assert line.endswith(", at position 0: wo[1][3][4] is inf")


def test_without_numba(ask: Ask, refuse: Refuse, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama2_fast.engines.choose.installed", lambda: False)
    assert ask(0, model, "-n", "2").splitlines()[-1] == "right: numpy, on model.bin"
    assert refuse(model, "--backend", "simd").startswith("numba must be installed for the simd backend")


def test_the_reference_has_no_such_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(llama2_ref, ["verify", "no such file"]) == 2
    assert "verify" not in VERBS


# ------------------------------------------------------------------------------------------------------------- terminal


@posix
@pytest.mark.usefixtures("sigint_ignored")
def test_ctrl_c(model: Path, tmp_path: Path) -> None:
    """While a line of the terminal tells how far it is: 130, and nothing is written."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    argv = ["verify", "--bounds", "loops", "--backend", "numpy", "--json", tmp_path / "found.json"]
    with start(llama2_fast, *argv, first=INTERRUPTIBLE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"1%" not in shown:
            shown += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stdout.read() == b""
    while not shown.endswith(b"\r" + b" " * 78 + b"\r"):  # the line is gone
        shown += os.read(ours, 1000)
    os.close(ours)
    assert b"numpy, int8: bounds [" in shown
    assert b"\n" not in shown
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("how", ["os.dup2(os.open('/dev/full', os.O_WRONLY), 1)", "os.close(1)"])
def test_output_that_cannot_be_written(model: Path, how: str) -> None:
    done = run(llama2_fast, "verify", model, "-n", "2", "--backend", "numpy", first=how)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("python -m llama2_fast: standard output ")


def test_help() -> None:
    out = run(llama2_fast, "verify", "--help").stdout.decode()
    for word in ("--logits", "--tokens", "--plot", "--json", "--bounds", "--quantize", "--backend", "examples:"):
        assert word in out
