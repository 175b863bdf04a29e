"""The command line as a process of its own, and models that say what they are told."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import llama2_fast
import llama2_ref
from support.models import vocabulary, write_tokenizer

SECONDS = 60  # after which a process that hangs is ended
ENCODINGS = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONUNBUFFERED")
# Nothing of the caller's that changes encodings or buffers; one thread in BLAS, which reserves memory for each.
ENV = {k: v for k, v in os.environ.items() if k not in ENCODINGS} | {"OPENBLAS_NUM_THREADS": "1"}

# Code for `first`: Ctrl-C ends the process, as in the foreground of a shell. What `make test &` or nohup starts
# inherits that SIGINT is ignored, and so would all that the tests start.
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)"


def small_disk(most: int) -> str:
    """Code for `first`: no file may be larger, as on a full disk. Bytecode, which would be cut, is not written."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))"
    return f"import resource; os.environ['PYTHONDONTWRITEBYTECODE'] = '1'; {limit}"


# Kernels that are wrong where a sum lies between 1 and 2: who tries inputs finds it at once, who only replays never.
WRONG_ADD = """
import numpy as np

def add(x, y):
    total = x + y
    total[np.abs(total - 1.5) < 0.5] *= np.float32(1.001)
    return total
"""


def command(llama2: ModuleType, *argv: object, first: str = "") -> list[str | bytes]:
    """The words of `python -m llama2 ARGV`, which runs the Python code `first` in the same process (POSIX)."""
    words = [sys.executable, "-m", llama2.__name__, *(word if isinstance(word, bytes) else str(word) for word in argv)]
    return after(first, words) if first else words


def after(first: str, words: Sequence[str | bytes]) -> list[str | bytes]:
    """The words of a command of this Python that runs the Python code `first` in the same process before (POSIX)."""
    return [sys.executable, "-c", f"import os, sys; {first}; os.execv(sys.executable, sys.argv[1:])", *words]


def run(
    llama2: ModuleType, *argv: object, stdin: bytes = b"", first: str = "", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENV, **options}
    return subprocess.run(command(llama2, *argv, first=first), input=stdin, timeout=SECONDS, check=False, **options)


def start(llama2: ModuleType, *argv: object, first: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """Start the command line, with pipes for whatever is not given."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENV, **options}
    return subprocess.Popen(command(llama2, *argv, first=first), **options)


def write_scripted(folder: Path, pieces: Sequence[bytes], loop: bool = False, seq_len: int = 64) -> Path:
    """A model that answers every prompt with the same pieces, a token each, and then ends the text, or begins anew.

    A token's embedding is the unit vector of how many pieces have been said: 0, but for the pieces. The classifier
    turns it into the next piece; nothing else adds to it. Characters of prompts must not be pieces.
    """
    tokens, scores = vocabulary(259)
    first = len(tokens) + 1
    tokens, scores = [*tokens, b" ", *pieces], [*scores, *[-1.0] * (len(pieces) + 1)]
    dim = 2 * (len(pieces) // 2 + 1)
    config = llama2_ref.Config(dim, 2, 1, 1, 1, len(tokens), seq_len)
    embeddings, classifier = np.zeros((2, len(tokens), dim), np.float32)
    embeddings[:first, 0] = 1
    for said in range(len(pieces)):
        embeddings[first + said, said + 1] = classifier[first + said, said] = 1
    classifier[first if loop else llama2_ref.tokenizer.EOS, len(pieces)] = 1
    square, ones = [np.zeros((dim, dim), np.float32)], np.ones((1, dim), np.float32)
    tall, wide = [np.zeros((2, dim), np.float32)], [np.zeros((dim, 2), np.float32)]
    weights = llama2_fast.Weights(
        embeddings, ones, square, square, square, square, ones, tall, wide, tall, ones[0], 1000 * classifier
    )
    llama2_fast.write_checkpoint(folder / "model.bin", config, weights)
    write_tokenizer(folder / "tokenizer.bin", tokens, scores)
    return folder / "model.bin"
