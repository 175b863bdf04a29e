"""Fuzzing by coverage, itself: a check that a reader has lost is noticed within seconds, and the input repeats it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llama2_ref

SRC = Path(llama2_ref.__file__).parents[1]
PROGRAM = Path(__file__).parents[1] / "fuzz" / "coverage.py"

LOST = {  # no input to begin from shows these: some change of it must
    "group size 0": ("checkpoint", "formats/llama2c_header.py", "header.group_size < 1 or rows * cols", "rows * cols"),
    "bytes behind the end": ("checkpoint", "formats/llama2c_header.py", "header.file_bytes() != file_bytes", "False"),
    "a token that is cut": ("tokenizer", "tokenizer.py", "if length > left:", "if False:"),
    "no length at all": ("tokenizer", "tokenizer.py", "if len(data) < 4:", "if False:"),
    "a tensor behind the end": ("gguf", "formats/gguf_container.py", "if offset + size > len(data):", "if False:"),
    "tensors that overlap": ("safetensors", "formats/safetensors.py", "if first != end:", "if first > end:"),
    "a type that no model has": ("folder", "formats/tensor_table.py", "if info.dtype not in FLOATS:", "if False:"),
}


def coverage(src: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(src), "LLAMA2_BACKEND": "numpy"}
    command = [sys.executable, str(PROGRAM), *map(str, argv)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_check_is_found(tmp_path: Path, lost: str) -> None:
    pytest.importorskip("atheris", reason="fuzzing by coverage needs atheris: pip install atheris")
    reader, name, good, bad = LOST[lost]
    src = tmp_path / "src"
    for package in ("llama2_ref", "llama2_fast"):
        shutil.copytree(SRC / package, src / package, ignore=shutil.ignore_patterns("__pycache__", "models"))
    module = src / "llama2_ref" / name
    assert module.read_text().count(good) == 1
    module.write_text(module.read_text().replace(good, bad))
    done = coverage(src, "--minutes", "9", "--reader", reader, "--corpus", tmp_path / "corpus")
    assert done.returncode, done.stdout[-2000:]
    (found,) = (tmp_path / "corpus" / f"{reader}-finds").glob("crash-*")
    assert f"--reader {reader} {found}" in done.stdout.splitlines()[-1]
    assert coverage(src, "--reader", reader, found).returncode == 1
    assert coverage(SRC, "--reader", reader, found).returncode == 0


def test_without_atheris_one_line_says_so() -> None:
    """-S: without the folder that packages are installed in."""
    done = subprocess.run([sys.executable, "-S", str(PROGRAM)], capture_output=True, text=True)
    says = "coverage.py: atheris must be installed to fuzz by coverage (Linux): pip install 'llama2-twins[dev]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", says)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--minutes", "0"], "--minutes must be positive (got 0)"),
        (["gone.bin"], "--reader must say what FILE is"),
        (["gone.bin", "--reader", "tokenizer"], "FILE must be an input that was found (got gone.bin)"),
    ],
)
def test_a_wrong_call_is_refused(argv: list[str], says: str) -> None:
    done = coverage(SRC, *argv)
    assert (done.returncode, done.stdout) == (2, f"coverage.py: {says}\n")
