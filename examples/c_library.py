"""Kernels of a C shared library, through ctypes: the functions that llama2.c exports, or yours of the same signatures.

    LLAMA2_LIBRARY=./libllama2.so pytest tests/fuzz --impl examples.c_library

What the library does not have is not offered, and so not tested.
"""

import ctypes
import os
from ctypes import POINTER, c_float, c_int
from pathlib import Path
from typing import Any

import numpy as np

LIBRARY = os.environ.get("LLAMA2_LIBRARY", "")  # the path to the shared library
EPS = 1e-5  # llama2.c's rmsnorm has it inside

floats = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")  # refuses any other array: nothing is cast or copied


class ProbIndex(ctypes.Structure):
    """A probability and its token, which sample_topp sorts."""

    _fields_ = (("prob", c_float), ("index", c_int))


# The kernel, its symbol in C, what that returns, and its arguments.
SIGNATURES: dict[str, tuple[str, Any, list[Any]]] = {
    "rmsnorm": ("rmsnorm", None, [floats, floats, floats, c_int]),  # out, x, weight, size
    "softmax": ("softmax", None, [floats, c_int]),  # x, which becomes the result, size
    "matmul": ("matmul", None, [floats, floats, floats, c_int, c_int]),  # out, x, w, columns, rows
    "argmax": ("sample_argmax", c_int, [floats, c_int]),
    "sample_mult": ("sample_mult", c_int, [floats, c_int, c_float]),  # probabilities, size, coin
    "sample_topp": ("sample_topp", c_int, [floats, c_int, c_float, POINTER(ProbIndex), c_float]),
}


def _load(path: str) -> dict[str, Any]:
    """The functions that the library has, by kernel. Raises ImportError in one line."""
    rule = "LLAMA2_LIBRARY must be the path of a shared library"
    if not path:
        raise ImportError(f"{rule} (it is not set)")
    try:
        library = ctypes.CDLL(str(Path(path).absolute()))  # a bare name would be looked up in the system's folders
    except OSError as error:
        raise ImportError(f"{rule} (got {path!r}: {error})") from None
    functions = {}
    for name, (symbol, result, arguments) in SIGNATURES.items():
        if hasattr(library, symbol):
            functions[name] = getattr(library, symbol)
            functions[name].restype, functions[name].argtypes = result, arguments
    if not functions:
        symbols = ", ".join(symbol for symbol, *_ in SIGNATURES.values())
        raise ImportError(f"{rule} with some of {symbols} (got {path!r}, which has none)")
    return functions


functions = _load(LIBRARY)


def rmsnorm(x, w, eps):
    if eps != EPS:
        raise NotImplementedError(f"the library's eps is always {EPS:g}")
    out = np.empty_like(x)
    functions["rmsnorm"](out, x, w, len(x))
    return out


def softmax(x):
    out = x.copy()  # the library works in place
    functions["softmax"](out, len(out))
    return out


def matmul(w, x):
    rows, columns = w.shape
    out = np.empty(rows, np.float32)
    functions["matmul"](out, x, w, columns, rows)
    return out


def argmax(x):
    return functions["argmax"](x, len(x))


def sample_mult(probabilities, coin):
    return functions["sample_mult"](probabilities, len(probabilities), coin)


def sample_topp(probabilities, topp, coin):
    if not 0 < topp < 1:
        raise NotImplementedError("the library calls sample_topp for 0 < top-p < 1 only")
    # One more in front: a search that finds nothing reads index -1, and should read the same there every time.
    room = (ProbIndex * (len(probabilities) + 1))()
    room[0].index = -1
    first = ctypes.cast(ctypes.byref(room, ctypes.sizeof(ProbIndex)), POINTER(ProbIndex))
    return functions["sample_topp"](probabilities, len(probabilities), topp, first, coin)


for _name in SIGNATURES.keys() - functions.keys():
    del globals()[_name]
