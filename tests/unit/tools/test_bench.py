"""The verb `bench`: what it measures, how it counts, what it refuses, and that nothing stays behind."""

import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.engines.choose import installed
from llama2_fast.tools import bench, bench_models, bench_rounds
from llama2_fast.tools import bench_worker as _measure
from llama2_fast.tools import random_models as _shapes
from llama2_fast.tools.bench_peers import find_rate
from llama2_fast.tools.stored_weights import bytes_per_token, float32_matrices, quantized, stored_matrices
from llama2_ref.cli.main import main
from llama2_ref.config import RopeScaling
from llama2_ref.formats.llama2c_header import Header
from llama2_ref.quantize import LAYERED
from support.commands import ENV, INTERRUPTIBLE, SECONDS, run, start
from support.folders import write_hf_folder
from support.gguf_bytes import config_entries, gguf_of, model_tensors
from support.models import random_fields, write_model

CONFIG = llama2_ref.Config(dim=32, hidden_dim=48, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=24)
SHORT = ("--rounds", "1", "--steps", "3", "--prompt", "4")
RATE = "import sys; print('x', sys.argv[1:]); print('generated12achieved tok/s: 250.5', file=sys.stderr)"

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")
simd = pytest.mark.skipif(not installed(), reason="needs numba")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model, with its tokenizer."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A shape "small", little memory for bandwidth, and a folder for temporary files, which must be empty then."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(bench_rounds, "READ_BYTES", 2**20)
    monkeypatch.setitem(_shapes.SHAPES, "small", CONFIG)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Standard output and error of a call that must succeed."""

    def ask(*argv: str | Path) -> tuple[str, str]:
        code = main(llama2_fast, ["bench", *(str(word) for word in argv), *SHORT])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return ask


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line about a call that must fail."""

    def refuse(*argv: str | Path) -> str:
        assert main(llama2_fast, ["bench", *(str(word) for word in argv)]) == 2
        captured = capsys.readouterr()
        assert not captured.out
        (line,) = captured.err.splitlines()
        return line.removeprefix("python -m llama2_fast: ")

    return refuse


Ask = Callable[..., tuple[str, str]]
Refuse = Callable[..., str]


def peer(name: str, code: str, arguments: str = "{model} {tokenizer} {steps}") -> str:
    """A peer that runs Python code."""
    return f"{name}={shlex.quote(sys.executable)} -c {shlex.quote(code)} {arguments}"


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.slow
def test_everything_is_measured(ask: Ask, model: Path, tmp_path: Path) -> None:
    """All engines and weights that there are, the ratios to a peer, a table, JSON and a picture."""
    pytest.importorskip("matplotlib")
    out, err = ask(
        model, "--backend", "all", "--quantize", "all", "--peer", peer("other", RATE),
        "--json", tmp_path / "rates.json", "--plot", tmp_path / "rates.png", "--threads", "2",
    )  # fmt: skip
    report = json.loads((tmp_path / "rates.json").read_text())
    (found,) = report["models"]
    assert (found["name"], found["prompt"], found["steps"], report["settings"]["threads"]) == ("model.bin", 4, 3, 2)
    *ours, other = found["results"]
    engines = ["numpy", "simd"] if installed() else ["numpy"]
    assert [(r["weights"], r["backend"]) for r in ours] == [
        (w, b) for w in ("float32", "int8", "int4") for b in engines
    ]
    for r in ours:
        assert all(r[name]["best"] > 0 for name in ("load", "first_token", "prompt_rate", "decode_rate"))
        assert r["first_token"]["best"] > r["load"]["best"]
        assert r["peak_bytes"] > 2**20
        assert r["threads"] == 2
        assert r["share"] == pytest.approx(r["decode_rate"]["best"] * r["bytes_per_token"] / r["bandwidth"])
        assert r["ratios"] == {"other": pytest.approx(r["decode_rate"]["best"] / 250.5)}
    assert (other["program"], other["weights"], other["decode_rate"]["best"]) == ("other", "float32", 250.5)
    assert other["ratios"] == {}
    assert (tmp_path / "rates.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rates.json", "rates.png"]
    table = out.splitlines()
    assert table[0].split()[-2:] == ["/", "other"]
    assert sum(line.startswith("model.bin") for line in table) == len(found["results"])
    assert not err


def test_json_may_go_to_standard_output(ask: Ask, model: Path) -> None:
    assert json.loads(ask(model, "--backend", "numpy", "--json", "-")[0])["settings"]["rounds"] == 1


def test_the_machine_is_told(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama2_fast.tools.machine.available_cores", lambda: 77)
    out, _ = ask(model, "--backend", "numpy")
    assert ", 77 cores, threads: " in out


def test_the_bundled_model_is_the_default(ask: Ask) -> None:
    assert ask("--backend", "numpy")[0].splitlines()[1].startswith("tiny.bin")


def test_no_more_tokens_than_the_context_holds(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SHORT", ("--rounds", "1"))
    (found,) = json.loads(
        ask(model, "--json", "-", "--peer", peer("p", "import sys; print(sys.argv[1], 'tok/s')", "{steps}"))[0]
    )["models"]
    assert (found["prompt"], found["steps"], found["results"][-1]["decode_rate"]["best"]) == (24, 24, 24.0)


def test_a_version_2_file_is_measured_as_it_is(ask: Ask, refuse: Refuse, tmp_path: Path) -> None:
    path = write_model(tmp_path, CONFIG, version=2)
    peers = ["--peer", peer("p", "import sys; assert sys.argv[1] == sys.argv[2]; print('9 tok/s')", "{int8} {model}")]
    results = json.loads(ask(path, "--quantize", "all", "--json", "-", *peers)[0])["models"][0]["results"]
    assert [r["weights"] for r in results] == ["int8", "int8"]
    assert results[0]["bytes_per_token"] == results[1]["bytes_per_token"] == 24960 * (1 + 4 / 16)
    assert "must be float32 to be quantized" in refuse(path, "--quantize", "int4")


BLOCKS = llama2_ref.Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=24)
NUMBERS = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32) + 300 * 32  # of a model of such sizes, which a token reads


def write_format(folder: Path, kind: str) -> Path:
    """A GGUF file, or a folder of Hugging Face."""
    if kind == "BF16":
        weights = llama2_fast.Weights(**random_fields(BLOCKS, 0, "normal", True))
        return write_hf_folder(folder / "model", BLOCKS, weights, kind, tied=True)
    path = folder / "model.gguf"
    path.write_bytes(gguf_of(config_entries(BLOCKS), model_tensors(BLOCKS, kind)))
    return path


@pytest.mark.parametrize(
    ("kind", "name", "packed", "unpacked"),
    [
        ("F16", "float16", 2, 4),
        ("BF16", "bfloat16", 2, 4),
        ("Q8_0", "int8", 1 + 4 / 32, 1 + 4 / 32),
        ("Q4_0", "int4", 0.5 + 2 / 32, 1 + 4 / 32),
        ("Q4_1", "int4 with offsets", 0.5 + 4 / 32, 1 + 8 / 32),
    ],
)
def test_bytes_per_token_of_other_formats(tmp_path: Path, kind: str, name: str, packed: float, unpacked: float) -> None:
    """Matrices are named as they are stored; numpy unpacks them."""
    model = bench_models.model_of_file(write_format(tmp_path, kind), {})
    assert (model.weights(None), model.has_integers) == (name, kind.startswith("Q"))
    assert bytes_per_token(model.matrices, True) == NUMBERS * packed
    assert bytes_per_token(model.matrices, False) == NUMBERS * unpacked


@pytest.mark.parametrize("kind", ["Q4_0", "BF16"])
def test_other_formats_are_measured(ask: Ask, refuse: Refuse, tmp_path: Path, kind: str) -> None:
    """A peer gets the path of the file or folder, and an int8 checkpoint that is made of it."""
    path = write_format(tmp_path, kind)
    code = f"""
import sys, llama2_fast
assert sys.argv[1] == {str(path)!r}
config, weights = llama2_fast.read_checkpoint(sys.argv[2])
assert isinstance(weights.wq[0], llama2_fast.Int8Matrix)
print('7 tok/s')
"""
    argv = ["--backend", "numpy", "--json", "-", "--quantize", "all", "--peer", peer("p", code, "{model} {int8}")]
    (found,) = json.loads(ask(path, *argv)[0])["models"]
    *ours, other = found["results"]
    names = {"Q4_0": ["int4"], "BF16": ["bfloat16", "int8", "int4"]}[kind]
    assert (found["name"], [r["weights"] for r in ours]) == (path.name, names)
    assert all(r["decode_rate"]["best"] > 0 and r["load"]["best"] > 0 for r in ours)
    assert (other["weights"], other["decode_rate"]["best"]) == ("int8", 7.0)


def test_a_scaled_rope_is_told(ask: Ask, tmp_path: Path) -> None:
    """The config of Llama 3's models holds more than numbers. A peer is left out: llama2.c has no such files."""
    config = replace(CONFIG, rope_scaling=RopeScaling("llama3", 8.0, original_seq_len=8192))
    weights = llama2_fast.Weights(**random_fields(config, 0, "normal", True))
    path = write_hf_folder(tmp_path / "model", config, weights, "BF16", tied=True)
    out, err = ask(path, "--backend", "numpy", "--json", "-", "--peer", peer("p", "print('7 tok/s')", "{int8}"))
    assert json.loads(out)["models"][0]["config"] == asdict(config)
    assert "peer p: there is no int8 checkpoint of it: llama2.c files imply" in err


def test_a_gguf_file_has_no_tokenizer_bin(ask: Ask, refuse: Refuse, tmp_path: Path) -> None:
    """The peer is left out; a tokenizer that is named serves."""
    path, code = write_format(tmp_path, "Q4_0"), "print('7 tok/s')"
    argv = ["--backend", "numpy", "--json", "-", "--peer", peer("p", code, "{tokenizer}")]
    out, err = ask(path, *argv)
    assert len(json.loads(out)["models"][0]["results"]) == 1
    assert err == (
        "note: model.gguf is measured without peer p: a tokenizer.bin lies beside checkpoints of llama2.c only: "
        "name one by -z\n"
    )
    out, _ = ask(path, "-z", path, *argv)
    assert len(json.loads(out)["models"][0]["results"]) == 2
    assert "must be float32 to be quantized (they are int4 already)" in refuse(path, "--quantize", "int8")


@pytest.mark.parametrize("largest", [2**31, 0], ids=["from a file", "in memory"])
def test_a_shape_has_files_for_peers(ask: Ask, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    """float32, int8 and a tokenizer, all of which fit each other."""
    monkeypatch.setattr(bench_models, "LARGEST_FILE", largest)
    code = """
import sys, llama2_fast
a, b = llama2_fast.load(sys.argv[1], sys.argv[3]), llama2_fast.load(sys.argv[2], sys.argv[3])
assert isinstance(b.transformer.weights.wq[0], llama2_fast.Int8Matrix)
assert a.config == b.config and len(a.tokenizer.tokens) == a.config.vocab_size
print("1e2 tokens per second")
"""
    argv = ["--shape", "small", "--peer", peer("p", code, "{model} {int8} {tokenizer}"), "--json", "-"]
    results = json.loads(ask(*argv)[0])["models"][0]["results"]
    assert [(r["weights"], r["decode_rate"]["best"]) for r in results][1:] == [("int8", 100.0)]
    assert results[0]["load"]["best"] > 0


def test_best_and_median_of_rounds(ask: Ask, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is faster each time, in turns with an engine that is made up."""
    turns: list[str] = []

    def engine(*_: Any) -> dict[str, Any]:
        turns.append("engine")
        n = turns.count("engine")
        return {"backend": "simd", "decode_rate": [30, 10, 20][n - 1], "load": [3, 1, 2][n - 1], "bandwidth": n * 1e6}

    def other(*_: Any) -> dict[str, Any]:
        turns.append("other")
        return {"decode_rate": [5.0, 8.0, 6.0][turns.count("other") - 1]}

    monkeypatch.setattr(bench_rounds, "_run_ours", engine)
    monkeypatch.setattr(bench_rounds, "_run_peer", other)
    monkeypatch.setattr(bench, "table", lambda report: [json.dumps(report)])
    monkeypatch.setattr(sys.modules[__name__], "SHORT", ("--rounds", "3"))
    (found,) = json.loads(ask(model, "--peer", peer("other", ""))[0])["models"]
    first, second = found["results"]
    assert turns == ["other", "engine"] * 3
    assert first["decode_rate"] == {"best": 30, "median": 20}
    assert first["load"] == {"best": 1, "median": 2}
    assert second["decode_rate"] == {"best": 8, "median": 6}
    assert first["ratios"] == {"other": 30 / 8}
    assert first["peak_bytes"] is None
    assert first["limit"] == second["limit"] == pytest.approx(3e6 / (24960 * 4))


def test_help_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(llama2_fast, ["bench", "--help"]) == 0
    assert "examples:\n  python -m llama2_fast bench stories15M.bin" in capsys.readouterr().out
    for package, there in ((llama2_fast, True), (llama2_ref, False)):
        assert main(package, ["--help"]) == 0
        assert (" bench " in capsys.readouterr().out) == there


# ------------------------------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("header", "kind", "packed", "expected"),
    [
        # Layers have 32 * 32 * 2 + 16 * 32 * 2 + 48 * 32 * 3 = 7680 weights, the classifier 300 * 32 = 9600.
        (Header(0, CONFIG, True), None, True, (2 * 7680 + 9600) * 4),
        (Header(0, CONFIG, False), None, True, (2 * 7680 + 9600) * 4),
        # Groups: 32 in rows of 32; rows of 48 (1536 in w2 of each layer) have one of 48 for int8, two of 24 for int4.
        (Header(0, CONFIG, True), "int8", True, 24960 + 4 * (2 * (6144 / 32 + 1536 / 48) + 9600 / 32)),
        (Header(0, CONFIG, True), "int4", True, 24960 / 2 + 2 * (2 * (6144 / 32 + 1536 / 24) + 9600 / 32)),
        (Header(0, CONFIG, True), "int4", False, 24960 + 4 * (2 * (6144 / 32 + 1536 / 24) + 9600 / 32)),
        (Header(2, CONFIG, True, 16), None, True, 24960 * (1 + 4 / 16)),
        (Header(2, CONFIG, True, 32), None, True, (24960 - 3072) * (1 + 4 / 32) + 3072 * 4),  # w2: groups span rows
    ],
)
def test_bytes_per_token(header: Header, kind: str | None, packed: bool, expected: float, tmp_path: Path) -> None:
    path = tmp_path / "zeros.bin"
    path.write_bytes(header.pack() + bytes(header.file_bytes() - len(header.pack())))
    matrices = stored_matrices(llama2_fast.read_checkpoint(path)[1])
    assert bytes_per_token(quantized(matrices, kind) if kind else matrices, packed) == expected


def test_bytes_per_token_of_a_large_shape() -> None:
    """7B: 6.6 billion weights at 4.5 bits."""
    matrices = quantized(float32_matrices(_shapes.SHAPES["7B"]), "int4")
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    assert bytes_per_token(matrices, True) == weights * 0.5625


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("achieved tok/s: 66.08", 66.08),
        ("the end7achieved tok/s: 66.083210\n", 66.08321),
        ("prompt: 4 tokens, 900.5 tok/s; generated: 9 tokens, 70.0 tok/s; seed 5", 70.0),
        (
            "prompt eval: 5 ms per token, 200.00 tokens per second\neval: 15 ms per token, 66.08 tokens per second\n",
            66.08,
        ),
        ("speed=12 tokens/s", 12.0),
        ("tokens/sec = 1.5e+03", 1500.0),
        ("128 tokens in 3 s", None),
        ("inf tok/s", None),
        ("", None),
    ],
)
def test_rates_are_found(text: str, rate: float | None) -> None:
    assert find_rate(text) == rate


# --------------------------------------------------------------------------------------------------------------- shapes


def job(**changes: Any) -> _measure.Job:
    known = {"checkpoint": None, "shape": "small", "quantize": "int8", "backend": "numpy", "threads": 2, "prompt": 5}
    options: dict[str, Any] = {**known, "steps": 3, "read_bytes": 2**20, "started": time.time(), **changes}
    return _measure.Job(**options)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("backend", ["numpy", pytest.param("simd", marks=simd)])
def test_weights_in_memory_are_all_there(backend: str, kind: str) -> None:
    """Made of one buffer, but the engine reads another place for each matrix: caches must not make it look faster."""
    transformer: Any
    transformer, load = _measure._load(job(quantize=kind, backend=backend))
    assert (transformer.backend, load) == (backend, None)
    if backend == "simd":
        arrays = [matrix.weights for matrix in transformer.engine._job._matrices]
    else:
        w = transformer.weights
        arrays = [matrix.q for name in LAYERED for matrix in getattr(w, name)] + [w.wcls.q]
    starts = sorted((array.ctypes.data, array.nbytes) for array in arrays)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(starts))
    assert sum(size for _, size in starts) >= 24960 / (2 if (backend, kind) == ("simd", "int4") else 1)


def test_weights_in_memory_are_measured() -> None:
    found = _measure.measure(job())
    assert (found["load"], found["first_token"], found["backend"], found["threads"]) == (None, None, "numpy", 2)
    assert min(found["prompt_rate"], found["decode_rate"], found["bandwidth"], found["peak_bytes"]) > 0


@pytest.mark.parametrize("kind", [None, "int8", "int4"])
def test_random_weights(kind: str | None) -> None:
    """Each has its shape, the classifier is shared or not, and no text ends early: BOS and EOS are never likeliest."""
    for shared in (True, False):
        weights = _shapes.random_weights(Header(1, CONFIG, shared), kind)
        assert weights.shared_classifier == shared
        assert [np.shape(getattr(m, "q", m)) for m in weights.w2] == [(32, 48)] * 2
        sizes = np.linalg.norm(np.asarray(getattr(weights.wcls, "q", weights.wcls), np.float64), axis=1)
        assert sizes[1:3].max() < sizes[3:].min() / 2
        transformer = llama2_fast.Transformer(CONFIG, weights, backend="numpy")
        cache, token = transformer.new_cache(), 1
        for _ in range(CONFIG.seq_len):
            token = llama2_fast.kernels.argmax(transformer.forward([token], cache))
            assert token not in (1, 2)


SIZES = {"stories15M": 15e6, "stories42M": 42e6, "stories110M": 110e6, "1.1B": 1.1e9, "7B": 6.7e9, "13B": 13e9}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_shapes_have_the_sizes_of_their_names(name: str, size: float) -> None:
    header = _shapes.shape_header(name, 1)
    assert header.file_bytes() / 4 == pytest.approx(size, rel=0.02)
    assert header.shared_classifier == name.startswith("stories")


def test_bandwidth_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama2_fast.engines.choose.installed", lambda: False)
    found = _measure.measure(job())
    assert found["bandwidth_by"] == "numpy"
    assert found["bandwidth"] > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's own record of peak memory")
def test_peak_memory_is_this_process_s_own() -> None:
    """A large array counts, and not in a process that is started while it is there."""
    before, large = _measure.peak_memory(), np.ones(2**25)
    assert large.sum() == 2**25
    assert _measure.peak_memory() >= max(before, 2**28)  # an earlier test may have needed more
    argv = ["--quantize", "none", "--backend", "numpy", "--json", "-", *SHORT]
    done = run(llama2_fast, "bench", *argv)
    assert json.loads(done.stdout)["models"][0]["results"][0]["peak_bytes"] < 2**28


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("name", ["prompt", "steps", "rounds", "threads"])
def test_numbers_are_positive(refuse: Refuse, name: str) -> None:
    assert refuse(f"--{name}", "0") == f"--{name} must be at least 1 (got 0)"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("./run {model}", "--peer must be NAME=COMMAND (got './run {model}')"),
        ("x=", "--peer must be NAME=COMMAND (got 'x=')"),
        ("=run", "--peer must be NAME=COMMAND (got '=run')"),
        ("x='run", "--peer x: the command can't be understood (No closing quotation)"),
        ("x=/no/such/program {model}", "peer x: there is no program '/no/such/program'"),
        (peer("x", "import sys; sys.exit('no such model')"), "peer x ended with exit code 1 (no such model)"),
        (peer("x", "print('fast')"), "peer x must print a rate, such as 'tok/s: 66.1' or '66.1 tokens per second'"),
    ],
)
def test_peers_that_do_not_work(refuse: Refuse, model: Path, text: str, says: str) -> None:
    assert refuse(model, "--peer", text) == says


def test_peers_have_names_of_their_own(refuse: Refuse) -> None:
    same = peer("x", RATE)
    assert refuse("--peer", same, "--peer", same) == "peers must have different names (got x, x)"


def test_a_peer_needs_a_tokenizer(refuse: Refuse, model: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.bin"
    alone.write_bytes(model.read_bytes())
    assert "a tokenizer must lie beside it" in refuse(alone, "--peer", peer("x", RATE))


def test_files_must_have_a_place(refuse: Refuse, model: Path, tmp_path: Path) -> None:
    """It is known before anything is measured."""
    places = {
        tmp_path / "missing" / "x.png": "must be in a folder that can be written",
        tmp_path: "is not a regular file",
    }
    for path, says in places.items():
        for option in ("--json", "--plot"):
            assert refuse(model, option, path) == f"{path}: {says}"
    assert list(tmp_path.iterdir()) == []


def test_a_picture_needs_matplotlib(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'llama2-twins[plot]'" in refuse("--plot", tmp_path / "x.png")


def test_a_picture_is_of_a_known_kind(refuse: Refuse, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert "--plot must end in one of " in refuse("--plot", tmp_path / "x.bin")


def test_simd_needs_numba(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama2_fast.engines.choose.installed", lambda: False)
    assert "pip install 'llama2-twins[jit]'" in refuse("--backend", "simd")


def test_what_is_wrong_in_a_measurement_is_told(refuse: Refuse, tmp_path: Path) -> None:
    path = write_model(tmp_path, CONFIG)
    numbers = np.fromfile(path, np.float32)
    numbers[7 + 300 * 32 :] = np.nan
    numbers.tofile(path)
    line = refuse(path, "--backend", "numpy", *SHORT)
    assert line.startswith("model.bin, float32, numpy: logits must be finite")


def test_a_process_that_dies_is_told(refuse: Refuse, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert "the process ended with exit code 1" in refuse(model, *SHORT)


def test_full_disk(refuse: Refuse, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for its file a shape can't be measured; without room for a peer's file, it is without the peer."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 40_000))
    assert " bytes (got 40,000): set TMPDIR to a larger disk" in refuse("--shape", "small", *SHORT)


def test_a_peer_without_a_file_is_left_out(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    out, err = ask(model, "--json", "-", "--peer", peer("p", RATE, "{int8}"), "--peer", peer("q", RATE))
    assert [r["program"] for r in json.loads(out)["models"][0]["results"]] == ["llama2_fast", "q"]
    assert err.startswith("note: model.bin is measured without peer p: a temporary file in ")
    assert len(err.splitlines()) == 1


def test_ctrl_c_while_a_file_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(done: int, total: int) -> None:
        if 2 * done > total:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench_models, "say_progress", interrupt)
    assert main(llama2_fast, ["bench", "--shape", "small", *SHORT]) == 130
    assert capsys.readouterr() == ("", "")


@posix
@pytest.mark.usefixtures("sigint_ignored")
def test_ctrl_c_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """While a peer runs, and the file for it is there."""
    sign, folder = tmp_path / "sign", tmp_path / "temporary"
    folder.mkdir()
    code = f"import time; open({str(sign)!r}, 'w').close(); time.sleep({SECONDS})"
    argv = ["bench", model, "--json", tmp_path / "rates.json", "--peer", peer("slow", code, "{int8}")]
    with start(llama2_fast, *argv, first=INTERRUPTIBLE, env=ENV | {"TMPDIR": str(folder)}) as process:
        while not sign.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        assert [path.name for path in folder.glob("*/*")] == ["int8.bin"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "rates.json").exists()


@pytest.mark.parametrize(("kinds", "largest", "files"), [
    ([None], 0, {"model"}), (["int8"], 0, set()), (["int8"], 2**31, {"model"}),
])  # fmt: skip
def test_a_large_shape_is_written_only_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str | None], largest: int, files: set[str]
) -> None:
    """Engines that quantize make the weights of a large shape in memory."""
    monkeypatch.setattr(bench_models, "LARGEST_FILE", largest)
    model = bench_models.model_of_shape("small", {})
    bench_models.prepare_files(model, kinds, [], tmp_path)
    assert set(model.files) == files


def test_a_peer_may_print_what_is_no_text(ask: Ask, model: Path) -> None:
    """Bytes that are no UTF-8, as a model's broken character is."""
    code = "import sys; sys.stdout.buffer.write(bytes([255, 254]) + b' tok/s: 12.5')"
    out, _ = ask(model, "--backend", "numpy", "--json", "-", "--peer", peer("p", code, ""))
    assert json.loads(out)["models"][0]["results"][-1]["decode_rate"]["best"] == 12.5


def test_every_column_has_its_name(ask: Ask, model: Path) -> None:
    head = ask(model, "--backend", "numpy", "--peer", peer("other", "print('9 tok/s')", ""))[0].splitlines()[0]
    names = ["model", "program", "weights", "load", "first token", "prompt tok/s", "decode tok/s", "median"]
    assert re.split(r" {2,}", head.strip()) == [*names, "of read bandwidth", "peak memory", "/ other"]
