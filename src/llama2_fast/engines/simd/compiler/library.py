"""Machine code of the kernels: compiled once, kept on disk, loaded without numba.

The file is named by a digest of everything that it depends on: the source of every module here, the versions of numba
and llvmlite, and the processor. A file that no longer fits is therefore never looked at. It is written beside its place
and renamed, so that two processes may do so at once, and holds a digest of itself.
"""

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from llama2_ref.errors import CheckpointError
from llama2_ref.support.files import write_whole

from ..tables import ENTRIES
from .system import add_symbols
from .target import processor

Function = Any  # of 64-bit integers


class Library:
    """The compiled functions: `library.run_step(job, thread)` and so on. They let go of the interpreter's lock."""

    def __init__(self, code: bytes, symbols: dict[str, str]) -> None:
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._addresses = {name: self._engine.get_function_address(symbol) for name, symbol in symbols.items()}
        self.run_step = self._function("run_step")
        self.run_exp = self._function("run_exp")
        self.run_cos_sin = self._function("run_cos_sin")
        self.run_read = self._function("run_read")

    def _function(self, name: str) -> Function:
        """numba's calling convention: a status, then places for a result and for an exception, which nobody uses."""
        numbers = [ctypes.c_int64] * ENTRIES[name]
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *numbers)
        function, unused = kind(self._addresses[name]), ctypes.create_string_buffer(16)
        place = ctypes.addressof(unused)

        def call(*arguments: int, _keep: Any = unused) -> None:
            function(place, place + 8, *arguments)

        return call


@cache
def library() -> Library:
    """The compiled kernels, from the disk where they are there, else compiled now."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    add_symbols()
    name = f"kernels-{_digest()}.o"
    for folder in _folders():
        stored = _read(folder / name)
        if stored is not None:
            return Library(*stored)
    code, symbols = _compile()
    for folder in _folders():
        if _write(folder / name, code, symbols):
            break
    return Library(code, symbols)


def _compile() -> tuple[bytes, dict[str, str]]:
    show = sys.stderr is not None and sys.stderr.isatty()
    if show:
        print("compiling the kernels for this processor, once: some ten seconds", end="\r", file=sys.stderr, flush=True)
    from .build import compile_object

    try:
        return compile_object()
    finally:
        if show:
            print(" " * 70, end="\r", file=sys.stderr, flush=True)


def _digest() -> str:
    sources = [path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))]
    facts = [*processor(), llvm.get_process_triple(), version("numba"), llvmlite.__version__, sys.version]
    return hashlib.sha256(b"\0".join([*sources, *(fact.encode() for fact in facts)])).hexdigest()[:32]


def _folders() -> Iterator[Path]:
    """Where code may be kept: $LLAMA2_CACHE, else beside the package, else where the system keeps such things."""
    if os.environ.get("LLAMA2_CACHE"):
        yield Path(os.environ["LLAMA2_CACHE"])
        return
    yield Path(__file__).parent / "__pycache__"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        yield Path(base).expanduser() / "llama2_twins"
    except RuntimeError:  # this user has no home
        return


def _read(path: Path) -> tuple[bytes, dict[str, str]] | None:
    try:
        head, _, code = path.read_bytes().partition(b"\n")
        facts = json.loads(head)
        return (code, facts["symbols"]) if facts["sha256"] == hashlib.sha256(code).hexdigest() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, code: bytes, symbols: dict[str, str]) -> bool:
    head = json.dumps({"sha256": hashlib.sha256(code).hexdigest(), "symbols": symbols})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [head.encode() + b"\n", code])
    except (OSError, CheckpointError):
        return False
    return True
