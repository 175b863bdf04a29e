"""Which engine runs a model: numpy, or compiled kernels where numba is installed."""

import os
import sys
import warnings
from importlib.util import find_spec
from typing import Any

from llama2_ref.config import Config
from llama2_ref.errors import ConfigError, MissingExtraError

from .. import kernels as numpy_kernels
from ..weights import Weights, matrix_of
from .numpy_engine import NumpyEngine
from .protocol import Engine

BACKENDS = ("auto", "numpy", "simd")
SHARING = (("wq", "wk", "wv"), ("w1", "w3"))  # matrices that are given the same vectors, quantized once for them


def make_engine(
    config: Config, weights: Weights, kernels: Any, threads: int | None, backend: str | None, quantize: str | None
) -> Engine:
    """The engine of a model: the one that is asked for, or that suits it. Raises what `Transformer` raises."""
    if choose_backend(backend, kernels is numpy_kernels, weights) == "simd":
        from .simd.engine import SimdEngine  # here, since it imports llvmlite

        return SimdEngine(config, weights, threads, quantize)
    return NumpyEngine(config, weights, kernels, threads, quantize)


def choose_backend(asked: str | None, own_kernels: bool, weights: Weights) -> str:
    """Name one: "numpy" or "simd". Raises ConfigError or MissingExtraError if what is asked for can't be."""
    name = asked or os.environ.get("LLAMA2_BACKEND") or "auto"
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)} (got {name!r})")
    reason = None if name == "numpy" else _reason_against(own_kernels, weights)
    if reason is not None and asked == "simd":
        raise ConfigError(f"the simd backend {reason}: use the numpy backend")
    if name == "numpy" or reason is not None:
        return "numpy"
    return "simd" if engine_works(required=name == "simd") else "numpy"


def _reason_against(own_kernels: bool, weights: Weights) -> str | None:
    if not own_kernels:
        return "needs this package's kernels (others were given)"
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return "needs a 64-bit little-endian processor (this is another one)"
    for names in SHARING:
        for layer in range(len(weights.wq)):
            matrices = [getattr(weights, name)[layer] for name in names]
            groups = {matrix_of(matrix).group_size for matrix in matrices} - {0}
            if len(groups) > 1:
                return f"needs groups of one size in {', '.join(names)} of a layer (layer {layer} has several)"
    return None


def installed() -> bool:
    """Is numba there? It is not imported: its kernels may be compiled already."""
    return all(find_spec(name) is not None for name in ("numba", "llvmlite"))


def engine_works(required: bool) -> bool:
    """Can the compiled kernels be loaded here?

    If not, but they are `required`, MissingExtraError or ConfigError says why. Else numpy does as well: there is a
    warning if numba is installed.
    """
    if not installed():
        if required:
            rule = "numba must be installed for the simd backend"
            raise MissingExtraError(f"{rule}: pip install 'llama2-twins[jit]', or use the numpy backend")
        return False
    from .simd.compiler.library import library

    try:
        library()
    except Exception as error:  # numba, llvmlite and LLVM raise many types, most often ImportError
        reason = f"numba is installed, but can't be used ({error})"
        if required:
            raise ConfigError(f"{reason}: use the numpy backend") from None
        warnings.warn(f"{reason}: numpy runs the model", stacklevel=2)
        return False
    return True
