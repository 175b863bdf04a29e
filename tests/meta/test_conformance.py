"""The suite pointed at somebody's own kernels: pytest tests/fuzz --impl MODULE, as a process of its own."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = """
import numpy as np
__version__, BACKEND, THREADS = "3.2.1", "by hand", 7

def matmul(w, x):
    return w @ x

def add(x, y):
    return x + y

def argmax(x):
    return int(np.argmax(x))
"""
WRONG = "\ndef softmax(x):\n    e = np.exp(x)\n    return e / e.sum()\n"
DEVIATION = '[[deviation]]\nimpl = "mine"\ntest = "test_kernels.py::{test}"\nreason = "it is an example"\n'


@pytest.fixture
def suite(tmp_path):
    """Run the fuzz tests with what is said, beside a module `mine` of that text."""

    def run(source: str, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mine.py").write_text(source)
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        environment |= {"PYTHONPATH": paths, "HYPOTHESIS_PROFILE": "ci", **variables}
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/fuzz", *args]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


def test_what_is_there_is_tested_and_the_rest_is_told(suite):
    done = suite(RIGHT, "--impl", "mine")
    assert done.returncode == 0, done.stdout
    assert re.search(r"under test: mine \(.*mine\.py\); version 3\.2\.1; threads 7; backend by hand; ", done.stdout)
    assert "not tested: mine has no softmax" in done.stdout
    assert "mine: not tested, since missing: attention, dequantize_int8, matmul_int8, " in done.stdout
    passed, skipped = re.search(r"(\d+) passed, (\d+) skipped, \d+ deselected", done.stdout).groups()
    assert (int(passed), int(skipped)) == (5, 15)  # matmul twice, add, argmax, and a whole model
    assert re.search(r"largest part of a bound: .*matmul 0\.\d", done.stdout)


def test_a_failure_comes_with_a_script_that_shows_it_without_the_suite(suite, tmp_path):
    done = suite(RIGHT + WRONG, "-k", "softmax", LLAMA2_IMPL="mine")
    assert done.returncode == 1
    assert re.search(r"softmax\[\d\], \d of \d wrong: nan should be ", done.stdout)
    shown = run_script(done.stdout, tmp_path)
    assert "nan" in shown.stdout, shown.stderr


def test_a_failure_of_a_whole_model_comes_with_a_script_too(suite, tmp_path):
    turned = "\ndef rope(x, c, s):\n    import llama2_fast\n    return llama2_fast.kernels.rope(x, c, -s)\n"
    done = suite(RIGHT + turned, "--impl", "mine", "-k", "kernels_of_others")
    assert done.returncode == 1
    shown = run_script(done.stdout, tmp_path)
    assert re.match(r"q of layer 0, token \d+\[", shown.stdout), shown.stderr


def run_script(report: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that a report ends with, where none of the suite can be found."""
    script = re.search(r"to see this without the suite, run -*\n(.*?)\n[\d,]+ examples of", report, re.DOTALL)[1]
    paths = os.pathsep.join(path for path in sys.path if Path(path) != ROOT / "tests")
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_arguments_must_be_left_alone(suite):
    done = suite("def add(x, y):\n    x += y\n    return x\n", "--impl", "mine", "-k", "test_add")
    assert done.returncode == 1
    assert "add changed its argument 0" in done.stdout


def test_the_script_shows_the_example_that_is_told(suite, tmp_path):
    """Of several that are written in a test, the first that fails: later ones are tried, too, and may pass."""
    source = "def silu(x):\n    return x * (x > 0)\n"
    wrong = "def sample_topp(p, topp, coin):\n    from llama2_ref.sampler import sample_topp\n"
    wrong += "    return -1 if len(p) == 4 else sample_topp(p.tolist(), topp, coin)\n"
    done = suite(source + wrong, "--impl", "mine", "-k", "equal_on_a_grid")
    assert done.returncode == 1
    assert run_script(done.stdout, tmp_path).stdout == "-1\n"


REFUSING = """
def add(x, y):
    if len(x) != 1:
        raise NotImplementedError("one number only,\\nalas")
    return {result}

def matmul(w, x):
    raise NotImplementedError
"""


def test_what_a_kernel_refuses_is_not_tested_and_is_told(suite):
    done = suite(
        REFUSING.format(result="x + y"), "--impl", "mine", "-k", "test_add or (matmul and not int8) or of_others", "-v"
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^tests/fuzz/test_kernels\.py::test_add\[mine\] PASSED", done.stdout, re.MULTILINE)
    assert re.search(r"^mine\.add refused [\d,]+ examples \(one number only, alas\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^100 examples of 1 properties$", done.stdout, re.MULTILINE)
    # What refuses everything has not passed: its two tests, and that of whole models.
    assert re.search(r"^=+ 1 passed, 3 skipped, ", done.stdout, re.MULTILINE)
    refusal = r"not tested: mine\.matmul refused [\d,]+ examples \(no reason is told\)"
    assert re.search(rf"^SKIPPED \[\d\] .*{refusal}$", done.stdout, re.MULTILINE)


def test_what_a_kernel_does_not_refuse_is_tested(suite):
    done = suite(REFUSING.format(result="x - y"), "--impl", "mine", "-k", "test_add")
    assert done.returncode == 1
    assert re.search(r"add\[0\], 1 of 1 wrong: ", done.stdout)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors switch in another way")
@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler, cc")
def test_what_switches_the_process_to_flush_to_zero_is_not_judged(suite, tmp_path):
    """As shared libraries do that gcc before 13 has linked with -Ofast: the judge's own arithmetic would be wrong."""
    text = "#include <xmmintrin.h>\n__attribute__((constructor)) static void set(void) "
    text += "{ _mm_setcsr(_mm_getcsr() | 0x8040); }\n"
    (tmp_path / "flush.c").write_text(text)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "flush.so", "flush.c"], cwd=tmp_path, check=True)
    done = suite(f"import ctypes\nctypes.CDLL({str(tmp_path / 'flush.so')!r})\n{RIGHT}", "--impl", "mine")
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert "--impl mine has switched this process to flush subnormal numbers to zero" in line


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing.like.it", "got 'nothing.like.it': ModuleNotFoundError"),
        ("json", "got 'json', which has none of them"),
        ("mine", "got 'mine': ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_is_none_ends_with_the_choices(suite, name, says):
    done = suite("1 / 0", "--impl", name)
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert "must be llama2_fast.kernels, llama2_ref.kernels, or an importable module with some of add, " in line
    assert says in line


def test_a_known_deviation_is_expected_to_fail(suite, tmp_path):
    file = tmp_path / "known.toml"
    file.write_text(DEVIATION.format(test="test_softmax"))
    done = suite(RIGHT + WRONG, "--impl", "mine", "--deviations", str(file), "-k", "kernels.py and softmax")
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout
    assert "known deviation: it is an example" in done.stdout


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (DEVIATION.format(test="test_add"), 1, "[XPASS(strict)] known deviation: it is an example"),
        (DEVIATION.format(test="test_sofmax"), 4, "must be FILE::NAME of a test that takes an implementation"),
        (DEVIATION.format(test="test_exp_keeps_its_contract"), 4, "which matches none"),
        (DEVIATION.replace("it is an example", " ").format(test="test_add"), 4, "impl, test and reason must be texts"),
        ('[[deviation]]\nimpl = "mine"\n', 4, "must be a TOML file of [[deviation]] tables with impl, test and reason"),
        ("[[", 4, "must be a TOML file"),
        (None, 4, "No such file"),
    ],
)
def test_a_deviation_that_is_none_is_an_error(suite, tmp_path, text, code, says):
    file = tmp_path / "known.toml"
    if text is not None:
        file.write_text(text)
    done = suite(RIGHT, "--impl", "mine", "--deviations", str(file), "-k", "test_add")
    assert done.returncode == code, done.stdout
    assert says in done.stdout + done.stderr


def test_an_unknown_profile_ends_with_the_choices(suite):
    done = suite(RIGHT, "--impl", "mine", HYPOTHESIS_PROFILE="weekly")
    assert done.returncode == 4
    assert "HYPOTHESIS_PROFILE must be one of dev, ci, nightly, regress (got 'weekly')" in done.stderr
