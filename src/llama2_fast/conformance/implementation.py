"""Implementations under test: any module with some of the names of the contract (docs/conformance.md)."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

import llama2_ref
from llama2_ref.errors import MissingExtraError

from . import reproduce

try:
    import hypothesis
    import pytest
except ImportError as error:
    raise MissingExtraError(f"the suite needs the {error.name} package: pip install 'llama2-twins[dev]'") from None

OURS = ("llama2_fast.kernels", "llama2_ref.kernels")  # what is tested unless --impl names something else
SAMPLING = ("sample_mult", "sample_topp")  # not kernels of a forward pass, but judged in the same way
NAMES = (*llama2_ref.kernels.__all__, *SAMPLING)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Refusal:
    """How often a kernel has raised NotImplementedError, and what it said first."""

    reason: str
    count: int = 0


refused: dict[str, Refusal] = {}  # by implementation.kernel, in the test that runs now


class Implementation:
    """A module under test. `impl.matmul(w, x)` calls its matmul; `names` are those that it has.

    Every call must leave its arguments alone, and is kept, so that a failure can be told as a script of its own. An
    example whose arguments a kernel refuses, by NotImplementedError, is dropped and counted.
    """

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name, self.module = name, module
        self.names = [name for name in NAMES if callable(_find(module, name))]

    def __repr__(self) -> str:
        return self.name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in NAMES:
            raise AttributeError(name)
        return lambda *args: self._call(name, *args)

    def _call(self, name: str, *args: Any) -> Any:
        reproduce.current_script = lambda: reproduce.call(self.name, name, args)
        before = [np.copy(arg) for arg in args]
        with np.errstate(all="ignore"):
            try:
                result = _find(self.module, name)(*args)
            except NotImplementedError as error:
                self._drop(name, error)
        for i, (old, new) in enumerate(zip(before, args, strict=True)):
            if not np.array_equal(old, np.asarray(new), equal_nan=True):
                raise AssertionError(f"{name} changed its argument {i}")
        return result

    def _drop(self, name: str, error: NotImplementedError) -> NoReturn:
        reason = " ".join(str(error).split()) or "no reason is told"
        refused.setdefault(f"{self.name}.{name}", Refusal(reason)).count += 1
        hypothesis.reject()

    def with_others(self) -> "Kernels":
        """All kernels of a forward pass: what is missing comes from the reference."""
        return Kernels(self)

    def description(self) -> str:
        """Module, file, version, threads and backend, as far as they are told, and what is missing."""
        module = self.module
        missing = [name for name in llama2_ref.kernels.__all__ if name not in self.names]
        parts = [f"{self.name} ({getattr(module, '__file__', None) or 'no file'})", f"version {_version(module)}"]
        parts += [f"threads {_threads(module)}", f"backend {getattr(module, 'BACKEND', 'not told')}"]
        if missing:
            parts.append(f"not tested, since missing: {', '.join(missing)}")
        return "under test: " + "; ".join(parts)


class Kernels:
    """Kernels for a Transformer: those of an implementation, and the reference's for the rest."""

    def __init__(self, impl: Implementation) -> None:
        self._impl = impl

    def __getattr__(self, name: str) -> Any:
        return getattr(self._impl if name in self._impl.names else llama2_ref.kernels, name)


def load(name: str) -> Implementation:
    """The module of that name. Raises pytest.UsageError, in one line, with what could be named instead."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    rule = f"--impl must be {', '.join(OURS)}, or an importable module with some of {', '.join(NAMES)}"
    try:
        module = import_module(name)
    except Exception as error:  # whatever somebody's module raises while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".splitlines())
        raise pytest.UsageError(f"{rule} (got {name!r}: {reason})") from None
    if math.ulp(0.0) * 1.0 == 0:  # shared libraries linked with -Ofast or -ffast-math do that
        text = "has switched this process to flush subnormal numbers to zero, so that nothing can be judged"
        raise pytest.UsageError(f"--impl {name} {text}: link its library without -Ofast and -ffast-math")
    impl = Implementation(name, module)
    if not impl.names:
        raise pytest.UsageError(f"{rule} (got {name!r}, which has none of them)")
    return impl


def _find(module: ModuleType, name: str) -> Any:
    """Ours keep what draws tokens in a module of its own."""
    if name in SAMPLING and module.__name__ in OURS:
        module = import_module(module.__name__.replace(".kernels", ".sampler"))
    return getattr(module, name, None)


def _version(module: ModuleType) -> str:
    """Of the module, or of the package that it belongs to."""
    for name in _parents(module.__name__):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            return str(version)
    try:
        return metadata.version(module.__name__.split(".")[0])
    except metadata.PackageNotFoundError:
        return "not told"


def _parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _threads(module: ModuleType) -> str:
    told = getattr(module, "THREADS", None)
    if told is not None:
        return str(told)
    variables = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return f"not told ({', '.join(variables) or 'no variable limits them'})"
