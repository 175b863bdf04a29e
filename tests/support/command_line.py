"""What tests of the command line have in common: marks, the facts that it tells, terminals."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import llama2_ref
from support.commands import SECONDS, start

posix = pytest.mark.skipif(os.name != "posix", reason="needs the file descriptors, signals and terminals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, or file names of any bytes, as Linux has")

CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64)
RATES = r"prompt: (\d+) tokens, [\d.]+ tok/s; generated: (\d+) tokens, [\d.]+ tok/s; seed (\d+)"
FULL = "fd = os.open('/dev/full', os.O_WRONLY); "  # code to run before the command line
Ask = Callable[..., tuple[str, str]]


def complaint(stderr: bytes, llama2: ModuleType) -> str:
    """The one line on standard error, behind the model's description."""
    lines = [line for line in stderr.decode().splitlines() if " parameters, " not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"python -m {llama2.__name__}: ")
    return lines[0]


def on_terminal(llama2: ModuleType, *argv: str | Path, stream: str = "stdout") -> str:
    """What a terminal gets that is one of the streams of the command line."""
    pty, tty = pytest.importorskip("pty", reason="needs a pseudo-terminal"), pytest.importorskip("tty")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # or the terminal would add a CR to every line
    written = b""
    try:
        with start(llama2, *argv, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}) as p:
            os.close(theirs)
            while chunk := _read(ours):
                written += chunk
            assert p.wait(SECONDS) == 0
    finally:
        os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # how Linux says that nobody has the other end open
        return b""
