"""The compiled engine apart from its numbers: what is chosen, how code is kept, how threads behave, what fails."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.judge import assert_taps_within
from llama2_ref.quantize import map_matrices
from support.models import random_file_twins, random_twins, write_model
from support.ready_code import READY, put_code

pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")

from llama2_fast.engines.simd.compiler.library import library
from llama2_fast.engines.simd.packing import pack
from llama2_fast.engines.simd.thread_team import Team

Config = llama2_ref.Config
CONFIG = Config(16, 24, 2, 2, 1, 40, 32)
SIMD = Path(llama2_fast.__file__).parent / "engines" / "simd"
FORWARD = """
import numpy as np, sys
import llama2_fast
model = llama2_fast.load(backend="simd")
print(model.transformer.forward([1, 5], model.transformer.new_cache()).sum(), "numba" in sys.modules)
"""


def run(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


# ------------------------------------------------------------------------------------------------- which engine it is


def transformer(**options):
    return llama2_fast.Transformer(CONFIG, random_twins(CONFIG, 1).fast, **options)


def test_the_compiled_engine_is_chosen_by_itself():
    assert transformer().backend == "simd"
    assert transformer(backend="auto").backend == "simd"
    assert transformer(backend="numpy").backend == "numpy"
    assert isinstance(transformer(), llama2_fast.Transformer)


def test_the_environment_chooses_where_nobody_else_does(monkeypatch):
    monkeypatch.setenv("LLAMA2_BACKEND", "numpy")
    assert transformer().backend == "numpy"
    assert transformer(backend="simd").backend == "simd"
    monkeypatch.setenv("LLAMA2_BACKEND", "cuda")
    with pytest.raises(llama2_fast.ConfigError, match=r"one of auto, numpy, simd \(got 'cuda'\)"):
        transformer()


def test_other_kernels_run_in_numpy():
    twins = random_twins(CONFIG, 1)
    made = llama2_fast.Transformer(CONFIG, twins.fast, llama2_ref.kernels)
    assert made.backend == "numpy"
    with pytest.raises(llama2_fast.ConfigError, match="this package's kernels"):
        llama2_fast.Transformer(CONFIG, twins.fast, llama2_ref.kernels, backend="simd")


def test_a_float16_matrix_that_is_not_finite_is_named():
    weights = random_file_twins(llama2_fast.Config(32, 32, 1, 2, 1, 7, 4), 1, "F16").fast
    table = weights.wcls.copy()
    table[5, 31] = np.inf
    weights = replace(weights, wcls=table)
    transformer = llama2_fast.Transformer(llama2_fast.Config(32, 32, 1, 2, 1, 7, 4), weights, backend="simd")
    with pytest.raises(llama2_fast.NumericsError, match=r"token 5 has -?inf\), at position 0: wcls\[5\]\[31\] is inf"):
        transformer.forward([1], transformer.new_cache())


@pytest.mark.parametrize("change", [{"scale": 1 / 3}, {"offset": 1 / 3}, {"size": 64}])
def test_int4_with_offsets_must_be_that_of_gguf(change):
    """There is no other kind into which it could be packed without loss."""
    size = change.pop("size", 32)
    parts = {name: np.full((1, 64 // size), change.get(name, 1), np.float32) for name in ("scale", "offset")}
    with pytest.raises(ValueError, match="float16 scales, and groups of at most 32"):
        pack(llama2_fast.Int4OffsetMatrix(np.ones((1, 64), np.int8), **parts))


def test_without_numba_numpy_runs_the_model():
    hide = "import sys; sys.modules['numba'] = None; import llama2_fast\n"
    ask = "m = llama2_fast.load({}); print(m.transformer.backend)"
    assert run(hide + ask.format("")).stdout.strip() == "numpy"
    done = run(hide + ask.format("backend='simd'"))
    assert "MissingExtraError: numba must be installed for the simd backend: pip install" in done.stderr


def test_a_numba_that_does_not_work_is_not_used(monkeypatch):
    def broken():
        raise ImportError("numba needs another numpy")

    monkeypatch.setattr("llama2_fast.engines.simd.compiler.library.library", broken)
    with pytest.warns(UserWarning, match="needs another numpy"):
        assert transformer().backend == "numpy"


def test_a_numba_that_does_not_work_is_refused_where_it_is_asked_for(tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('numba needs another numpy')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "LLAMA2_CACHE": str(tmp_path / "cache")}
    for arguments in (["--backend", "simd"], ["bench", "--backend", "simd"]):
        command = [sys.executable, "-m", "llama2_fast", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "can't be used (numba needs another numpy): use the numpy backend" in done.stderr


def test_more_threads_than_there_can_be(monkeypatch):
    command = [sys.executable, "-m", "llama2_fast", "--threads", "1000000", "--backend", "simd", "-n", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "python -m llama2_fast: threads must be at most 1024 (got 1000000)\n"

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    model = transformer(threads=3, backend="simd")
    with pytest.raises(llama2_fast.ConfigError, match=r"at most 1 here, since the system starts no more \(got 3\)"):
        model.forward([1], model.new_cache())
    monkeypatch.undo()
    model.forward([1], model.new_cache())


@pytest.mark.parametrize("arguments", [["--backend", "cuda"], ["--threads", "0"], ["--quantize", "int3"]])
def test_wrong_options_of_the_command_line(arguments):
    command = [sys.executable, "-m", "llama2_fast", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_the_command_line_quantizes(tmp_path, quantize):
    model = str(write_model(tmp_path, Config(32, 48, 1, 2, 2, 300, 32), version=0))
    texts = set()
    for package, more in (("llama2_ref", []), ("llama2_fast", ["--backend", "numpy"]), ("llama2_fast", [])):
        command = [sys.executable, "-m", package, model, "-t", "0", "-n", "12", "--quantize", quantize, *more]
        done = subprocess.run(command, capture_output=True, check=True)
        assert f"as {quantize}".encode() in done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1


# --------------------------------------------------------------------------------------------- what must not be trusted


def test_a_long_context_takes_memory_only_as_it_is_used():
    """The context is a number in a file, which nothing holds to the size of that file."""
    config = Config(16, 24, 1, 2, 1, 40, 2**31 - 1)
    model: Any = llama2_fast.Transformer(config, random_twins(config, 1).fast, threads=2, backend="simd")
    cache = model.new_cache()
    for _ in range(3):
        model.forward([1] * 20, cache)
    assert sum(buffer.nbytes for buffer in model.engine._job._buffers.values()) < 2**20


def test_matrices_of_another_size_are_refused():
    """Compiled code would read behind their end."""
    twins = random_twins(CONFIG, 1)
    for name, wrong in (("w2", [m[:8] for m in twins.fast.w2]), ("wcls", twins.fast.wcls[:, :8].copy())):
        weights = llama2_fast.Weights(**(vars(twins.fast) | {name: wrong}))
        with pytest.raises(ValueError, match=f"{name} must be"):
            llama2_fast.Transformer(CONFIG, weights, backend="simd")


def test_a_cache_of_another_engine_or_model_is_refused():
    model = transformer(backend="simd")
    other = Config(16, 24, 3, 2, 2, 40, 32)
    theirs = llama2_fast.Transformer(other, random_twins(other, 1).fast, backend="simd").new_cache()
    for cache in (transformer(backend="numpy").new_cache(), theirs):
        with pytest.raises(ValueError, match="new_cache"):
            model.forward([1], cache)


def test_int4_matrices_of_a_layer_may_differ_in_their_scales():
    """Scales that are no float16 numbers are packed as int8: vectors quantized once must suit both."""
    config = Config(36, 43, 1, 6, 2, 31, 16)
    weights = llama2_fast.quantize_weights(random_twins(config, 1).fast, "int4")
    scaled = [llama2_fast.Int4Matrix(m.q, m.scale * np.float32(1 + 2.0**-13)) for m in weights.wk]
    weights = llama2_fast.Weights(**(vars(weights) | {"wk": scaled}))
    model, taps = llama2_fast.Transformer(config, weights, backend="simd"), llama2_fast.Taps()
    model.forward([1, 2, 3], model.new_cache(), every=True, taps=taps)
    reference = as_lists(weights)
    assert_taps_within(config, reference, [1, 2, 3], taps)


def as_lists(weights):
    """Quantized weights as the reference holds them."""
    convert = lambda m: llama2_ref.Int4Matrix(m.q.tolist(), m.scale.tolist())  # noqa: E731
    views = map_matrices(weights, convert)
    norms = ("rms_att_weight", "rms_ffn_weight", "rms_final_weight")
    return llama2_ref.Weights(**(vars(views) | {name: getattr(weights, name).tolist() for name in norms}))


# ------------------------------------------------------------------------------------------------- code on the disk


@pytest.mark.slow
def test_code_is_compiled_once_and_then_loaded_without_numba(tmp_path):
    first, second = (run(FORWARD, LLAMA2_CACHE=str(tmp_path / "cache")) for _ in range(2))
    assert first.stdout.split()[1:] == ["True"]
    assert second.stdout.split() == [first.stdout.split()[0], "False"]
    assert first.stderr == second.stderr == ""
    (path,) = (tmp_path / "cache").iterdir()

    good = tmp_path / "good.o"
    good.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-1] + b"?")  # damaged: compiled again
    assert run(READY + FORWARD, good, LLAMA2_CACHE=str(tmp_path / "cache")).stdout == first.stdout
    assert path.read_bytes() == good.read_bytes()
    assert run(FORWARD, LLAMA2_CACHE=str(tmp_path / "cache")).stdout == second.stdout


def test_two_processes_at_once(tmp_path):
    ready = put_code(tmp_path / "ready")
    command = [sys.executable, "-c", READY + FORWARD, str(ready)]
    environment = os.environ | {"LLAMA2_CACHE": str(tmp_path / "cache")}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({process.communicate()[0].split()[0] for process in processes}) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [ready.name]


def test_no_place_to_keep_code(tmp_path):
    (tmp_path / "file").write_text("")
    done = run(READY + FORWARD, put_code(tmp_path), LLAMA2_CACHE=str(tmp_path / "file" / "cache"))
    assert done.stdout.split()[1:] == ["True"]
    assert done.stderr == ""


def test_a_change_of_any_module_or_version_makes_new_code(tmp_path, monkeypatch):
    import llama2_fast.engines.simd.compiler.library as subject

    copy = tmp_path / "simd"
    shutil.copytree(SIMD, copy)
    monkeypatch.setattr(subject, "__file__", str(copy / "compiler" / "library.py"))
    seen = [subject._digest()]
    for path in sorted(copy.rglob("*.py")):
        path.write_text(path.read_text() + "\n")
        seen.append(subject._digest())
    monkeypatch.setattr(subject, "version", lambda name: "0.0")
    seen.append(subject._digest())
    monkeypatch.setattr(subject, "processor", lambda: ("another", ""))
    seen.append(subject._digest())
    assert len(set(seen)) == len(seen) > 12


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The module that keeps code, looking at a copy of the sources: its files, in their order."""
    import llama2_fast.engines.simd.compiler.library as subject

    copy = tmp_path / "simd"
    shutil.copytree(SIMD, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(subject, "__file__", str(copy / "compiler" / "library.py"))
    return subject, sorted(copy.rglob("*.py"))


def test_a_byte_of_any_source_makes_new_code(copied):
    """In place: names, sizes and times stay as they are."""
    subject, paths = copied
    seen = {subject._digest()}
    for number, path in enumerate(paths, 1):
        text, facts = path.read_bytes(), path.stat()
        for place in (0, len(text) // 2, len(text) - 1):
            path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            seen.add(subject._digest())
        path.write_bytes(text)
        assert len(seen) == 1 + 3 * number, path
    assert subject._digest() in seen


def test_text_that_moves_to_the_next_file_makes_new_code(copied):
    subject, paths = copied
    before = subject._digest()
    one, two = [path for path in paths if path.parent.name == "kernels"][-2:]
    texts = one.read_bytes(), two.read_bytes()
    one.write_bytes(texts[0][:-9])
    two.write_bytes(texts[0][-9:] + texts[1])
    assert subject._digest() != before
    one.write_bytes(texts[1])
    two.write_bytes(texts[0])
    assert subject._digest() != before


def test_the_order_in_which_files_are_found_makes_no_new_code(copied, monkeypatch):
    subject, paths = copied
    before = subject._digest()
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter(paths[::-1]))
    assert subject._digest() == before


def test_each_version_and_the_target_make_new_code(copied, monkeypatch):
    """One at a time, and apart from each other."""
    subject, _ = copied
    name, features = subject.processor()
    triple = subject.llvm.get_process_triple()
    changes = {
        "numba": (subject, "version", lambda name: "0.0"),
        "llvmlite": (subject.llvmlite, "__version__", "0.0"),
        "Python": (subject.sys, "version", "0.0"),
        "triple": (subject.llvm, "get_process_triple", lambda: triple + "x"),
        "processor": (subject, "processor", lambda: (name + "x", features)),
        "features": (subject, "processor", lambda: (name, features + "x")),
        "no features": (subject, "processor", lambda: (name, "")),
        "features in the name": (subject, "processor", lambda: (name + features, "")),
    }
    digests = {"as it is": subject._digest()}
    for what, (where, attribute, value) in changes.items():
        with monkeypatch.context() as changed:
            changed.setattr(where, attribute, value)
            digests[what] = subject._digest()
    assert len(set(digests.values())) == len(digests), digests
    assert subject._digest() == digests["as it is"]


def test_beside_a_package_that_can_not_be_written_the_users_folder_is_used(tmp_path, monkeypatch):
    import llama2_fast.engines.simd.compiler.library as subject

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LLAMA2_CACHE", raising=False)
    beside, users = subject._folders()
    assert beside == SIMD / "compiler" / "__pycache__"
    if sys.platform == "linux":
        assert users == tmp_path / "llama2_twins"
    (tmp_path / "file").write_text("")
    assert not subject._write(tmp_path / "file" / "x.o", b"code", {})
    assert subject._write(users / "x.o", b"code", {"run_step": "f"})
    assert subject._read(users / "x.o") == (b"code", {"run_step": "f"})
    for damaged in (b"", b"{}\n", b"[]\n", json.dumps({"sha256": "0", "symbols": {}}).encode() + b"\ncode"):
        (users / "x.o").write_bytes(damaged)
        assert subject._read(users / "x.o") is None


# ------------------------------------------------------------------------------------------------------ instructions

ASSEMBLY = """
import sys
import llvmlite.binding as llvm
from llama2_fast.engines.simd.compiler import system, target
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
system.add_symbols()
triple, name, features = sys.argv[1:]
target.processor = lambda: (name, features)
from llama2_fast.engines.simd.compiler import build
print(build.emit(build.compile_module()[0], triple, name, features, assembly=True))
"""
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("triple", "name", "features", "expected", "absent"),
    [
        (X86, "icelake-server", "+avx512f,+avx512bw,+avx512vl,+avx512vnni,+avx2,+fma,+sse2", ["vpdpbusd", "%zmm"], []),
        (X86, "znver3", "+avx2,+fma,+ssse3,+sse2", ["vpmaddubsw", "vfmadd231ps", "%ymm"], ["%zmm"]),
        (X86, "x86-64", "+ssse3,+sse2", ["pmaddubsw", "pmaddwd"], ["%ymm"]),
        (ARM, "neoverse-n1", "+neon,+dotprod", ["sdot", "fmla"], []),
        (ARM, "cortex-a57", "+neon", ["smull", "fmla"], ["sdot"]),
    ],
    ids=["vnni", "avx2", "ssse3", "dotprod", "neon"],
)
def test_processors_get_their_own_instructions(triple, name, features, expected, absent):
    """What runs elsewhere can at least be read here. No library is called where the processor has fma."""
    command = [sys.executable, "-c", ASSEMBLY, triple, name, features]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "run_step" in assembly
    assert all(word in assembly for word in expected)
    assert not any(word in assembly for word in absent)
    assert ("fmaf" in assembly) == ("+fma" not in features and triple == X86)


# ------------------------------------------------------------------------------------------------------------- threads


def test_a_team_runs_everyone():
    team, seen = Team(4), []
    for _ in range(50):
        team.run(seen.append, lambda: None)
    assert sorted(seen) == [0] * 50 + [1] * 50 + [2] * 50 + [3] * 50


def test_an_interrupted_pass_is_aborted_and_the_next_one_runs():
    team, aborted, seen = Team(3), threading.Event(), []

    def work(thread):
        if thread == 0:
            raise KeyboardInterrupt
        aborted.wait(10)  # as at a barrier

    with pytest.raises(KeyboardInterrupt):
        team.run(work, aborted.set)
    assert aborted.is_set()
    team.run(seen.append, lambda: None)
    assert sorted(seen) == [0, 1, 2]


def test_barriers_let_go_of_an_aborted_pass():
    """Thread 1 of a real pass comes alone, and must leave when the pass is aborted."""
    twins = random_twins(CONFIG, 1)
    model: Any = llama2_fast.Transformer(CONFIG, twins.fast, threads=2, backend="simd")
    model.forward([1], model.new_cache())
    job, cache = model.engine._job, model.new_cache()
    job.fill([(0, [1], cache, 1)], False)
    thread = threading.Thread(target=library().run_step, args=(job.address, 1), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    job.abort()
    thread.join(10)
    assert not thread.is_alive()
    cache = model.new_cache()
    again = llama2_fast.Transformer(CONFIG, twins.fast, threads=1, backend="simd")
    assert np.array_equal(model.forward([3, 4], cache), again.forward([3, 4], again.new_cache()))


@pytest.mark.usefixtures("sigint_ignored")
def test_ctrl_c_ends_a_long_prompt_and_the_model_goes_on():
    code = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tests!r})
import numpy as np
import llama2_fast
from support.models import random_twins
config = llama2_fast.Config(256, 512, 4, 4, 4, 512, 4096)
model = llama2_fast.Transformer(config, random_twins(config, 1).fast, threads=2, backend="simd")
tokens = [i % 512 for i in range(4000)]
want = model.forward(tokens[:9], model.new_cache())
for delay in (0.01, 0.05, 0.1, 0.2):
    cache = model.new_cache()
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        model.forward(tokens, cache)
        time.sleep(1)
        print("too late")
    except KeyboardInterrupt:
        assert cache.length < 4000
        print("interrupted")
assert np.array_equal(model.forward(tokens[:9], model.new_cache()), want)
"""
    done = run(code.format(tests=str(Path(__file__).parents[2])))
    assert done.stderr == ""
    assert done.stdout.split("\n")[:4].count("interrupted") >= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own():
    model = transformer(threads=3, backend="simd")
    want = model.forward([1, 2], model.new_cache())
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(model.forward([1, 2], model.new_cache()), want) else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the forked process hangs")
    assert os.waitstatus_to_exitcode(status) == 0


def test_an_idle_team_takes_no_time():
    model = transformer(threads=4, backend="simd")
    model.forward([1, 2], model.new_cache())
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_as_many_threads_as_cores_run_what_is_worth_it(monkeypatch):
    """One thread for a small model, unless more are asked for; each has its share of every pass."""
    monkeypatch.setattr("llama2_fast.engines.simd.engine.available_cores", lambda: 3)

    def threads(**options):
        model = transformer(backend="simd", **options)
        model.forward([1, 2], model.new_cache())
        engine = model.engine
        return model.threads, engine._workers.threads, engine._job["threads"]

    assert threads() == (1, 1, 1)
    assert threads(threads=2) == (2, 2, 2)
    monkeypatch.setattr("llama2_fast.engines.simd.engine.SMALL", 1)
    assert threads() == (3, 3, 3)
    assert threads(threads=1) == (1, 1, 1)


def test_logits_and_taps_are_the_callers():
    """What one pass has returned stays as it is, whatever the next ones do, and may be written to."""
    model, kept = transformer(backend="simd"), []
    for tokens in ([1, 2], [3, 4], [5, 6]):
        taps = llama2_fast.Taps()
        logits = model.forward_batch([(tokens, model.new_cache()), (tokens[:1], model.new_cache())], every=True)
        last = model.forward(tokens, model.new_cache(), taps=taps)
        kept += [(each, each.copy()) for each in (*logits, last, *taps.values())]
        assert np.array_equal(logits[0][-1], last)
        kept[-1][0][:] = 7
        kept[-1][1][:] = 7
    assert all(np.array_equal(array, copy) for array, copy in kept)


def test_several_threads_may_use_one_model():
    model = transformer(threads=2, backend="simd")
    want = model.forward([1, 2, 3], model.new_cache(), every=True)
    found = []

    def use():
        for _ in range(20):
            cache = model.new_cache()
            found.append(np.array([model.forward([token], cache) for token in (1, 2, 3)]))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(np.array_equal(each, want) for each in found)


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_checked_before_anything_is_done(llama2):
    twins = random_twins(CONFIG, 1)
    weights = twins.fast if llama2 is llama2_fast else twins.ref
    model = llama2.Transformer(CONFIG, weights)
    a, b = model.new_cache(), model.new_cache()
    with pytest.raises(llama2.PromptError, match="40"):
        model.forward_batch([([1, 2], a), ([40], b)])
    with pytest.raises(ValueError, match="cache of its own"):
        model.forward_batch([([1, 2], a), ([3], a)])
    assert a.length == b.length == 0
    assert model.forward_batch([]) == []
    one, two = model.forward_batch([([1, 2], a), ([3], b)])
    assert (a.length, b.length, len(one), len(two)) == (2, 1, 40, 40)


@pytest.mark.parametrize("kind", [None, "int8"])
def test_a_number_that_is_not_finite_is_reported_as_the_reference_does(kind):
    """The second token of a batch's second sequence meets it: the caches keep what came before."""
    twins = random_twins(CONFIG, 1, shared=False)
    table = twins.fast.token_embedding_table
    quantized = llama2_fast.quantize_weights(twins.fast, kind) if kind else twins.fast
    broken = quantized.token_embedding_table.scale[7:8] if kind else table[7:8]
    broken[...] = np.inf
    messages = []
    for backend in ("numpy", "simd"):
        model = llama2_fast.Transformer(CONFIG, quantized, backend=backend, threads=2)
        caches = [model.new_cache() for _ in range(2)]
        with pytest.raises(llama2_fast.NumericsError) as caught:
            model.forward_batch([([1, 2], caches[0]), ([3, 7, 4], caches[1])], every=True)
        messages.append(str(caught.value))
        assert [cache.length for cache in caches] == [2, 1]
    assert "at position 1" in messages[0]
    assert "token_embedding_table" in messages[0]
    assert messages[0] == messages[1]


# ------------------------------------------------------------------------------------------- what only some inputs show


def test_a_team_waits_for_everyone():
    """Each run ends when the slowest has: one after another, since a thread that is late hides behind later ones."""
    team, done = Team(3), []

    def work(thread):
        if thread == slow:
            time.sleep(0.05)
            done.append(thread)

    for slow in (1, 2):
        team.run(work, lambda: None)
        assert done == list(range(1, slow + 1))


def test_the_processor_is_the_one_that_is_named(monkeypatch):
    """numba's settings: a name alone has no more features than that name implies."""
    from llama2_fast.engines.simd.compiler import target

    def asked(**settings):
        for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return target.processor.__wrapped__()

    host = asked()
    assert all(host)
    assert asked(NUMBA_CPU_NAME="host") == asked(NUMBA_CPU_NAME=host[0]) == host
    assert asked(NUMBA_CPU_NAME="another") == ("another", "")
    assert asked(NUMBA_CPU_NAME="another", NUMBA_CPU_FEATURES="+a,+b") == ("another", "+a,+b")
    assert asked(NUMBA_CPU_FEATURES="+a,-c") == (host[0], "+a,-c")
    monkeypatch.setattr(target, "processor", lambda: ("another", "+a,+b,-c"))
    assert target.has("a")
    assert target.has("a", "b")
    assert not target.has("a", "c")
    assert not target.has("ab")


def test_no_two_fields_overlap():
    """A number of the job has eight bytes for itself; one that threads write has a line of the cache."""
    from llama2_fast.engines.simd.tables import COUNTER, JOB, MATRIX

    for record in (JOB, MATRIX):
        places = [field.offset for field in record.fields.values()]
        assert all(b - a >= 8 for a, b in zip(places, [*places[1:], record.size], strict=True))
        assert all(place % 8 == 0 for place in places)
    counters = [field.offset for field in JOB.fields.values() if field.type == COUNTER]
    others = [field.offset for field in JOB.fields.values() if field.type != COUNTER]
    lines = {place // 64 for place in counters}
    assert len(lines) == len(counters) == 3
    assert not lines & {place // 64 for place in others}


def test_a_table_is_written_with_the_types_of_its_fields():
    """A float is refused where an integer is read, and a table of integers that lacks one."""
    from llama2_fast.engines.simd.tables import MATRIX

    engine: Any = llama2_fast.Transformer(CONFIG, random_twins(CONFIG, 1).fast, backend="simd").engine
    job = engine._job
    assert (job["eps"], job["dim"]) == (CONFIG.norm_eps, CONFIG.dim)
    job._set(eps=2)
    assert job["eps"] == 2
    with pytest.raises(TypeError):
        job._set(dim=2.0)
    with pytest.raises(KeyError):
        job._set(width=2)
    with pytest.raises(TypeError, match=r"Matrix has the fields layout, rows, .* \(got layout, rows\)"):
        MATRIX.row(layout=1, rows=2)


def test_compiled_code_reads_a_field_with_its_type():
    import numba
    from numba import types

    from llama2_fast.engines.simd.compiler.jit import jit
    from llama2_fast.engines.simd.kernels.records import job_at
    from llama2_fast.engines.simd.tables import ADDRESS, COUNTER, FLOAT, INT, JOB

    type_of = {INT: types.int64, ADDRESS: types.int64, COUNTER: types.int64, FLOAT: types.float64}
    for name in ("eps", "dim", "x", "arrived"):
        space = {"job_at": job_at}
        exec(f"def read(address): return job_at(address).{name}", space)
        read = jit(space["read"])
        read.compile((types.int64,))
        assert read.overloads[types.int64,].signature.return_type == type_of[JOB.fields[name].type]
    wrong = jit(lambda address: job_at(address).width)
    with pytest.raises(numba.TypingError, match="width"):
        wrong.compile((types.int64,))


@pytest.mark.parametrize("size", [32, 64])
def test_int4_groups_larger_than_16_bits_hold(size):
    """Sums of nibbles have 16 bits for eight steps of four: numbers of the greatest size, all of one sign."""
    config = Config(64, 64, 1, 2, 2, 31, 16)
    weights = llama2_fast.quantize_weights(random_twins(config, 1).fast, "int4")

    def extreme(matrix):
        q = np.where(np.arange(len(matrix.q))[:, None] % 2, 7, -8) * np.ones_like(matrix.q)
        return llama2_fast.Int4Matrix(q, np.full((len(q), q.shape[1] // size), 2.0**-10, np.float32))

    weights = map_matrices(weights, extreme)
    weights.token_embedding_table.q[:, ::2] = 7  # all of the same size: quantized to 127 of either sign
    model, taps = llama2_fast.Transformer(config, weights, backend="simd"), llama2_fast.Taps()
    model.forward([1, 2, 3, 4, 5], model.new_cache(), every=True, taps=taps)
    assert_taps_within(config, as_lists(weights), [1, 2, 3, 4, 5], taps)


def test_matrices_are_padded_to_whole_vectors():
    from llama2_fast.engines.simd.packing import pack

    w = np.arange(60, dtype=np.float32).reshape(3, 20)
    padded = pack(w)
    assert padded.shape == (3, 20)
    assert padded.weights.shape == (3, 32)
    assert np.array_equal(padded.weights[:, :20], w)
    assert not padded.weights[:, 20:].any()
    whole = np.ones((3, 32), np.float32)
    assert pack(whole).weights is whole


def test_slabs_are_put_together(monkeypatch):
    """A matrix that is packed in several parts is that which is packed in one."""
    from llama2_fast.engines.simd import packing

    matrix = llama2_fast.quantize.quantize_matrix(random_twins(CONFIG, 1).fast.token_embedding_table, "int8")
    assert len(matrix.q) == 40
    one = packing.pack(matrix)
    monkeypatch.setattr(packing, "SLAB", 1)
    parts = packing.pack(matrix)
    assert np.array_equal(one.weights, parts.weights)
    assert np.array_equal(one.scales, parts.scales)


def test_a_pass_takes_no_more_than_a_chunk():
    from llama2_fast.engines.numpy_engine import CHUNK
    from llama2_fast.engines.simd.engine import _passes

    batch: Any = [(range(300), "a"), (range(300), "b"), (range(CHUNK), "c")]
    passes: Any = list(_passes(batch, every=False))
    assert [sum(len(tokens) for _, tokens, _, _ in pieces) for pieces in passes] == [CHUNK, CHUNK, 600 - CHUNK]
    assert [(cache, len(tokens), wanted) for pieces in passes for _, tokens, cache, wanted in pieces] == [
        *(("a", 300, 1), ("b", CHUNK - 300, 0), ("b", 600 - CHUNK, 1), ("c", 2 * CHUNK - 600, 0), ("c", 600 - CHUNK, 1))
    ]


def with_an_infinity(backend):
    """An int8 model whose first product is infinite from index 5 on, for token 7 and no other."""
    twins = random_twins(CONFIG, 1, shared=False)
    twins.fast.token_embedding_table[:] = 1e-37
    twins.fast.token_embedding_table[7] = [1e-3] * 5 + [1] * 11
    twins.fast.rms_att_weight[0] = 3e38
    weights = vars(llama2_fast.quantize_weights(twins.fast, "int8"))
    weights |= {"token_embedding_table": twins.fast.token_embedding_table}
    return llama2_fast.Transformer(CONFIG, llama2_fast.Weights(**weights), backend=backend)


def test_the_place_of_a_number_that_is_not_finite_is_told():
    """The same one by both engines."""
    said = []
    for backend in ("numpy", "simd"):
        model = with_an_infinity(backend)
        with pytest.raises(llama2_fast.NumericsError) as caught:
            model.forward([1, 7, 3], model.new_cache())
        said.append(str(caught.value))
    assert "got inf at index 5), at position 1" in said[0]
    assert said[0] == said[1]


def test_an_error_does_not_stay_for_the_next_pass():
    model = with_an_infinity("simd")
    with pytest.raises(llama2_fast.NumericsError, match="index 5"):
        model.forward([7], model.new_cache())
    assert np.isfinite(model.forward([1], model.new_cache())).all()


def test_groups_of_several_sizes_run_in_numpy():
    """Vectors are quantized once for all matrices that share them."""
    weights = llama2_fast.quantize_weights(random_twins(CONFIG, 1).fast, "int8")
    other = [llama2_fast.Int8Matrix(m.q, np.repeat(m.scale, 2, axis=1)) for m in weights.wv]
    assert (weights.wq[0].group_size, other[0].group_size) == (16, 8)
    weights = llama2_fast.Weights(**(vars(weights) | {"wv": other}))
    assert llama2_fast.Transformer(CONFIG, weights).backend == "numpy"


def test_the_system_s_functions_are_known():
    """Of a name that LLVM can't find it says nothing, until compiled code calls address 0."""
    import llvmlite.binding as llvm

    library()
    names = re.findall(r'"(llama2_twins_\w+)"', (SIMD / "kernels" / "vectors.py").read_text())
    assert names
    assert all(llvm.address_of_symbol(name) for name in names)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks at instructions of x86-64 processors")
def test_code_uses_the_features_that_are_named():
    import llvmlite.binding as llvm

    from llama2_fast.engines.simd.compiler.build import emit

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    add = "define <8 x float> @f(<8 x float> %a, <8 x float> %b) {\n%c = fadd <8 x float> %a, %b\nret <8 x float> %c\n}"
    triple = llvm.get_process_triple()
    assert "%ymm" in emit(add, triple, "x86-64", "+avx2", assembly=True)
    assert "%ymm" not in emit(add, triple, "x86-64", "", assembly=True)


def test_what_a_function_calls_is_linked_with_it():
    from numba import types

    from llama2_fast.engines.simd.compiler.jit import jit, link

    @jit
    def innermost(x):
        return x + 1

    @jit
    def inner(x):
        return innermost(x) * 2

    @jit
    def outer(x):
        return inner(x) + innermost(x)

    outer.compile((types.int64,))
    whole = link([outer.overloads[types.int64,].library])
    defined = [function.name for function in whole.functions if not function.is_declaration]
    assert all(sum(f"{len(name)}{name}" in each for each in defined) for name in ("innermost", "inner", "outer"))


def test_every_number_in_memory_is_read():
    """What the benchmark of memory times must not be less than it says."""
    data, sums = np.random.default_rng(1).integers(-99, 99, 64 * 9).astype(np.float32), np.empty(16, np.float32)
    library().run_read(data.ctypes.data, data.nbytes, sums.ctypes.data)
    assert np.array_equal(sums, data.reshape(-1, 16).sum(0))


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("largest", [127 * 2.0**-126, np.nextafter(np.float32(127 * 2.0**-126), np.float32(0))])
def test_only_vectors_that_are_too_small_for_a_scale_become_zeros(kind, largest):
    """A scale would not be a normal number: the reference gives zeros for them, from the same number on."""
    config = replace(CONFIG, norm_eps=1e-30)
    twins = random_twins(CONFIG, 1, shared=False)
    twins.fast.token_embedding_table[7] = 1  # whose norm is the weights themselves
    twins.fast.rms_att_weight[0] = largest
    weights = vars(llama2_fast.quantize_weights(twins.fast, kind))
    weights |= {"token_embedding_table": twins.fast.token_embedding_table}
    model = llama2_fast.Transformer(config, llama2_fast.Weights(**weights), backend="simd")
    taps = llama2_fast.Taps()
    model.forward([7], model.new_cache(), taps=taps)
    assert np.all(np.asarray(taps[0, "att_norm"])[0] == np.float32(largest))
    assert np.any(np.asarray(taps[0, "q"])) == (largest == 127 * 2.0**-126)
