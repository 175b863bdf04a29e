"""GGML's blocks by numpy, as llama2_ref.formats.ggml_blocks, bit for bit: some rows at a time.

The gguf package expands blocks of types that become int8.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import CheckpointError, NumericsError
from llama2_ref.formats.dtypes import BLOCK
from llama2_ref.formats.ggml_blocks import INT8_MOST, INTEGERS, too_large_for_blocks
from llama2_ref.support.extras import import_extra

from ..quantize import float_parts
from ..weights import matrix_of

CHUNK = 2**20  # numbers that are converted at a time
INT4_BIAS = 8  # by which 4-bit integers are stored larger

Bytes = NDArray[np.uint8]


def to_q8_0(ggml_type: str, data: memoryview, rows: int, cols: int) -> Bytes:
    """Blocks of another type as blocks of Q8_0: (rows, cols / 32 * 34). As llama2_ref.formats.ggml_blocks.to_q8_0."""
    gguf = import_extra("gguf", f"reading {ggml_type} numbers")
    known = getattr(gguf.GGMLQuantizationType, ggml_type, ggml_type)
    blocks = np.frombuffer(data, np.uint8).reshape(rows, -1)
    out = np.empty((rows, cols // BLOCK * 34), np.uint8)
    for part in _some_rows(rows, cols):
        try:
            with np.errstate(all="ignore"):
                numbers = gguf.dequantize(blocks[part], known)
        except (NotImplementedError, AttributeError):  # the latter from versions that do not know the name
            raise CheckpointError(f"numbers must be of a type that the gguf package reads (got {ggml_type})") from None
        if not np.abs(numbers).max() < INT8_MOST:  # written so that NaN is refused, too
            raise NumericsError(f"numbers must be finite, and below {INT8_MOST:g}, to become int8")
        out[part] = _q8_0(numbers).reshape(len(numbers), -1)
    return out


def to_blocks(matrix: Any, dtype: str) -> Iterator[bytes]:
    """A matrix as blocks of "Q8_0" or "Q4_0", many rows after the others."""
    known = matrix_of(matrix)
    if known.label == INTEGERS[dtype] and known.group_size == BLOCK and _are_float16(known.parts[1]):
        for part in _some_rows(*known.shape):
            q, scale = (np.asarray(numbers[part]) for numbers in known.parts)
            yield _blocks(q.reshape(-1, BLOCK), scale.reshape(-1), dtype).tobytes()
        return
    for rows in float_parts(matrix):
        _check(rows, dtype)
        yield (_q8_0(rows) if dtype == "Q8_0" else _q4_0(rows)).tobytes()


def _some_rows(rows: int, cols: int) -> Iterator[slice]:
    step = max(1, CHUNK // cols)
    return (slice(start, start + step) for start in range(0, rows, step))


def _are_float16(scale: NDArray[Any]) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(np.asarray(scale).astype(np.float16), scale)


def _check(rows: NDArray[np.float32], dtype: str) -> None:
    """Raise NumericsError for the first row with a number that is not finite, or too large."""
    divisor = np.float32(127 if dtype == "Q8_0" else INT4_BIAS)
    with np.errstate(over="ignore"):
        most = np.abs(rows).max(1)
        bad = ~np.isfinite((most / divisor).astype(np.float16))
    if bad.any():
        row = rows[int(bad.argmax())]
        infinite = row[~np.isfinite(row)]
        raise too_large_for_blocks(dtype, float(infinite[0] if len(infinite) else row[np.abs(row).argmax()]))


def _q8_0(rows: NDArray[np.float32]) -> Bytes:
    """d = max |x| / 127 as float16, q = x / d by the d of float32, rounded, halves away from zero."""
    blocks = rows.reshape(-1, BLOCK)
    d = np.abs(blocks).max(1) / np.float32(127)
    steps = blocks * _inverse(d)[:, None]
    q = np.copysign(np.floor(np.abs(steps).astype(np.float64) + 0.5), steps)
    return _blocks(q.astype(np.int8), d, "Q8_0")


def _q4_0(rows: NDArray[np.float32]) -> Bytes:
    """d = m / -8 as float16, for m the first of the greatest |x|; q = x / d + 8.5 in float32, cut off."""
    blocks = rows.reshape(-1, BLOCK)
    first = np.abs(blocks).argmax(1, keepdims=True)
    d = np.take_along_axis(blocks, first, 1)[:, 0] / np.float32(-INT4_BIAS)
    steps = blocks * _inverse(d)[:, None] + np.float32(INT4_BIAS + 0.5)
    q = np.clip(np.trunc(steps), 0, 15) - INT4_BIAS
    return _blocks(q.astype(np.int8), d, "Q4_0")


def _inverse(d: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / d; 0 where d is 0, or so small that this is infinite."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / d
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _blocks(q: NDArray[np.int8], d: NDArray[np.float32], dtype: str) -> Bytes:
    """Integers, (blocks, 32), and their scales, (blocks), as a file has them."""
    packed: NDArray[Any] = q.astype(np.int8).view(np.uint8)
    if dtype == "Q4_0":
        nibbles = packed + np.uint8(INT4_BIAS)
        packed = nibbles[:, :16] | nibbles[:, 16:] << 4
    return np.hstack([d.astype("<f2").reshape(-1, 1).view(np.uint8), packed])
