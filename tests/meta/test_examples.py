"""The worked examples of docs/conformance.md: what the suite says of each, in a process of its own."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llama2_fast.conformance.judge import assert_within
from llama2_ref.bounded import BoundedKernels

ROOT = Path(__file__).parents[2]
C_LIBRARY, TORCH = ROOT / "examples" / "c_library.py", ROOT / "examples" / "torch_kernels.py"
needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler, cc")

C_KERNELS = """
#include <math.h>

#ifndef EPS
#define EPS 1e-5f
#endif
#ifndef FIRST
#define FIRST 0 /* the first term of a dot product */
#endif

void rmsnorm(float *out, float *x, float *weight, int size) {
    double sum = 0;
    for (int i = 0; i < size; i++) sum += (double)x[i] * x[i];
    double scale = 1 / sqrt(sum / size + EPS);
    for (int i = 0; i < size; i++) out[i] = weight[i] * (float)(x[i] * scale);
}

void softmax(float *x, int size) {
    float largest = x[0], sum = 0;
    for (int i = 0; i < size; i++) largest = fmaxf(largest, x[i]);
    for (int i = 0; i < size; i++) sum += x[i] = expf(x[i] - largest);
    for (int i = 0; i < size; i++) x[i] /= sum;
}

void matmul(float *out, float *x, float *w, int columns, int rows) {
    for (int i = 0; i < rows; i++) {
        out[i] = 0;
        for (int j = FIRST; j < columns; j++) out[i] += w[i * columns + j] * x[j];
    }
}

#ifdef SAMPLING
int sample_argmax(float *p, int n) {
    int best = 0;
    for (int i = 1; i < n; i++) if (p[i] > p[best]) best = i;
    return best;
}

int sample_mult(float *p, int n, float coin) {
    float sum = 0;
    for (int i = 0; i < n; i++) if (coin < (sum += p[i])) return i;
    return n - 1;
}

struct choice { float probability; int token; };

/* Insertion keeps ties in order. MINIMUM leaves out what is small, and may leave out everything. */
int sample_topp(float *p, int n, float topp, struct choice *room, float coin) {
    int kept = 0;
    for (int i = 0; i < n; i++) {
#ifdef MINIMUM
        if (p[i] < (1 - topp) / (n - 1)) continue;
#endif
        int at = kept++;
        for (; at > 0 && room[at - 1].probability < p[i]; at--) room[at] = room[at - 1];
        room[at].probability = p[i], room[at].token = i;
    }
    float total = 0, sum = 0;
    int last = 0;
    for (; last < kept; last++) if ((total += room[last].probability) > topp) break;
    if (last == kept) last = kept - 1;
    for (int i = 0; i < last; i++) if (coin * total < (sum += room[i].probability)) return room[i].token;
    return room[last].token;
}
#endif
"""


def suite(impl: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzz tests on an example."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HYPOTHESIS_PROFILE": "ci", **variables}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/fuzz", "--impl", impl, *args]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def failures(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)


# ---------------------------------------------------------------------------------------------------------- plain numpy


def test_three_mistakes_are_named_and_nothing_else():
    done = suite("examples.plain_numpy")
    model = "test_every_buffer_keeps_its_bound_with_kernels_of_others"  # it has all three, and names the first buffer
    exact = "test_attention_s_weights_are_those_of_exact_scores"  # attention once more
    assert failures(done) == ["test_rmsnorm", "test_softmax", "test_attention", exact, model], done.stdout
    assert re.search(r"rmsnorm\[0\], 1 of 1 wrong: .* is [\d.e+]+ times that off", done.stdout)
    assert re.search(r"softmax\[\d\], \d of \d wrong: nan should be ", done.stdout)
    assert re.search(r"attention\[\d\], \d of \d wrong: .* is [\d.]+e\+06 times that off", done.stdout)
    assert re.search(r"att_norm of layer 0, token 0\[\d\], ", done.stdout)
    assert "5 failed, 14 passed, 1 skipped" in done.stdout  # all kernels but quantize_int4


# ------------------------------------------------------------------------------------------------------------ C library


@pytest.fixture
def library(tmp_path):
    """Compile the kernels above, with some macros, to a shared library."""

    def build(*macros: str) -> str:
        (tmp_path / "kernels.c").write_text(C_KERNELS)
        flags = ["-O2", "-shared", "-fPIC", *(f"-D{macro}" for macro in macros)]
        subprocess.run(["cc", *flags, "-o", "kernels.so", "kernels.c", "-lm"], cwd=tmp_path, check=True)
        return str(tmp_path / "kernels.so")

    return build


@needs_cc
def test_a_right_library_passes_and_what_it_lacks_is_told(library):
    done = suite("examples.c_library", LLAMA2_LIBRARY=library())
    assert done.returncode == 0, done.stdout
    assert re.search(r"^examples\.c_library\.rmsnorm refused \d+ examples \(the library's eps is always 1e-05\)$",
                     done.stdout, re.MULTILINE)  # fmt: skip
    assert re.search(
        r"not tested, since missing: add, argmax, .*, sample_mult, sample_topp$", done.stdout, re.MULTILINE
    )
    assert re.search(r"^=+ 5 passed, 15 skipped", done.stdout, re.MULTILINE)  # three kernels, and whole models


@needs_cc
def test_a_right_library_that_samples_passes(library):
    done = suite("examples.c_library", "-k", "sampler or argmax", LLAMA2_LIBRARY=library("SAMPLING"))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^=+ 4 passed, ", done.stdout, re.MULTILINE)


@needs_cc
def test_wrong_libraries_fail_by_name(library):
    path = library("SAMPLING", "MINIMUM", "EPS=1.1e-5", "FIRST=1")
    done = suite("examples.c_library", "-k", "rmsnorm or exact_on_a_grid or equal_on_a_grid", LLAMA2_LIBRARY=path)
    expected = ["test_matmul_is_exact_on_a_grid", "test_rmsnorm", "test_tokens_are_equal_on_a_grid"]
    assert failures(done) == expected, done.stdout


def test_what_is_no_such_library_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.so").write_text("no library")
    said = {}
    for name in ("", "missing.so", "text.so", "."):
        monkeypatch.setenv("LLAMA2_LIBRARY", str(tmp_path / name) if name else "")
        with pytest.raises(ImportError, match=r"^LLAMA2_LIBRARY must be the path of a shared library ") as caught:
            runpy.run_path(str(C_LIBRARY))
        said[name] = str(caught.value)
        assert "\n" not in said[name]
    assert said[""].endswith("(it is not set)")
    assert "missing.so" in said["missing.so"]


@needs_cc
def test_a_library_without_such_functions_is_one_line(tmp_path):
    (tmp_path / "none.c").write_text("int nothing(void) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "none.so", "none.c"], cwd=tmp_path, check=True)
    done = suite("examples.c_library", LLAMA2_LIBRARY=str(tmp_path / "none.so"))
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    rule = "ImportError: LLAMA2_LIBRARY must be the path of a shared library with some of rmsnorm, softmax, matmul, "
    assert rule in line
    assert line.endswith("none.so', which has none))")


# -------------------------------------------------------------------------------------------------------------- PyTorch


def test_pytorch_conforms_in_float32_and_not_in_bfloat16():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
    done = suite("examples.torch_kernels")
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout
    done = suite("examples.torch_kernels", "-k", "test_add or argmax", LLAMA2_TORCH_DTYPE="bfloat16")
    assert failures(done) == ["test_add"], done.stdout


@pytest.mark.parametrize("score", [-87.25, -87.0, -86.75])
def test_what_pytorch_s_exp_flushes_is_within_its_bound(score):
    """The exp of its attention gives 0 for e^-87, which is 1.4 times the smallest normal number."""
    pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
    q, keys = np.zeros((2, 16), np.float32)
    q[0], keys[0] = 1, 4 * score
    rows, values = np.stack([np.zeros_like(keys)] + 7 * [keys]), np.eye(8, 16, dtype=np.float32)
    got = runpy.run_path(str(TORCH))["attention"](q, rows, values, 1)
    assert_within(got, BoundedKernels().attention(q, rows, values, 1), "attention")


@pytest.mark.parametrize("variable", ["LLAMA2_TORCH_DTYPE", "LLAMA2_TORCH_PRECISION"])
def test_another_type_is_one_line(variable, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
    monkeypatch.setenv(variable, "int3")
    with pytest.raises(ImportError, match=rf"^{variable} must be one of .* \(got 'int3'\)$"):
        runpy.run_path(str(TORCH))


def test_without_pytorch_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"^examples\.torch_kernels needs PyTorch: pip install torch$"):
        runpy.run_path(str(TORCH))
