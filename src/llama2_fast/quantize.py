"""Integers for weights and activations, as llama2_ref.quantize, whole arrays at a time.

Integers are added as float32 numbers, for which numpy has fast loops and BLAS: that is exact, since no partial sum
reaches 2^24 in a group of at most 1032 numbers. A larger group takes float64.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref import quantize as reference
from llama2_ref.errors import NumericsError
from llama2_ref.quantize import (
    INT4_MAX,
    INT4_MIN,
    Q_MAX,
    SMALLEST_MAXIMUM,
    check_quantizable,
    map_matrices,
    matrix_group_size,
)

from .weights import Int4Matrix, Int8Matrix, Weights, matrix_of

Array = NDArray[Any]

LARGEST_FLOAT32_GROUP = 2**24 // (128 * Q_MAX)  # sums are exact in float32; files of other programs may hold -128
CHUNK = 2**22  # numbers of a matrix that are quantized at a time
CACHED_NUMBERS = 2**18  # numbers of a matrix that are widened at a time: they should stay in a core's cache


def quantize_int8(x: Array, group_size: int) -> tuple[Array, Array]:
    """Quantize vectors in groups of neighbours: (..., n), () -> (..., n) int8, (..., n / group_size) float32.

    As llama2_ref.quantize_int8, bit for bit.
    """
    groups = _groups(x, group_size)
    peak = np.abs(groups).max(-1)
    scale = np.where(peak < SMALLEST_MAXIMUM, np.float32(0), peak / np.float32(Q_MAX))
    divisor = np.where(scale == 0, np.float32(np.inf), scale)  # x / infinity is 0
    q = np.rint(groups / divisor[..., None]).astype(np.int8)
    return q.reshape(np.shape(x)), scale


def quantize_int4(x: Array, group_size: int) -> tuple[Array, Array]:
    """Quantize vectors to -8..7: (..., n), () -> (..., n) int8, (..., n / group_size) float32.

    As llama2_ref.quantize_int4, bit for bit.
    """
    groups = _groups(x, group_size, must_be_finite=False)  # the scales below are checked
    first = np.abs(groups).argmax(-1, keepdims=True)
    peak = np.take_along_axis(groups, first, -1)[..., 0]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scale = (peak / np.float32(INT4_MIN)).astype(np.float16).astype(np.float32)
    finite = np.isfinite(scale)
    if not finite.all():
        row = groups.reshape(-1, np.shape(x)[-1])[int(np.argmin(finite)) // scale.shape[-1]]
        reference.quantize_int4(row.tolist(), group_size)  # raises the error of what comes first in the row
    divisor = np.where(scale == 0, np.float32(np.inf), scale)
    q = np.clip(np.rint(groups / divisor[..., None]), INT4_MIN, INT4_MAX).astype(np.int8)
    return q.reshape(np.shape(x)), scale


def _groups(x: Array, group_size: int, must_be_finite: bool = True) -> Array:
    """(..., n) -> (..., n / group_size, group_size) float32. Raises as quantize_int8 does."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, and is refused as such
        x = np.asarray(x).astype(np.float32, copy=False)
    if group_size < 1 or x.shape[-1] % group_size:
        got = f"group_size {group_size}, length {x.shape[-1]}"
        raise ValueError(f"group_size must divide the vector's length (got {got})")
    if must_be_finite and not np.isfinite(x).all():
        i = int(np.argmin(np.isfinite(x)))
        got = f"{x.reshape(-1)[i]} at index {i % x.shape[-1]}"
        raise NumericsError(f"numbers must be finite to be quantized (got {got})")
    return x.reshape(*x.shape[:-1], -1, group_size)


def dequantize_int8(q: Array, scale: Array, offset: Array | None = None) -> Array:
    """The numbers that quantized ones stand for: (..., n), (..., n / group_size) -> (..., n).

    As llama2_ref.dequantize_int8, product and sum rounded to float32.
    """
    q, scale = np.asarray(q), np.asarray(scale, np.float32)
    size = _group_size(q, scale)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file's scales: what is not finite is found later
        numbers = np.multiply(q.reshape(*scale.shape, size), scale[..., None], dtype=np.float32)
        if offset is not None:
            numbers += np.asarray(offset, np.float32)[..., None]
        return numbers.reshape(q.shape)


def matmul_int8(w_q: Array, w_scale: Array, x_q: Array, x_scale: Array, w_offset: Array | None = None) -> Array:
    """Quantized matrix times quantized vectors: (m, n), (m, n / g), (..., n), (..., n / g) -> (..., m), group size g.

    As llama2_ref.matmul_int8, within its error bound.
    """
    w_q, x_q = np.asarray(w_q), np.asarray(x_q)
    w_scale, x_scale = np.asarray(w_scale, np.float32), np.asarray(x_scale, np.float32)
    if w_q.shape[-1] != x_q.shape[-1] or w_scale.shape[-1] != x_scale.shape[-1] or len(w_q) != len(w_scale):
        raise ValueError(f"rows must be as long as the vector (got {w_q.shape[-1]}, {x_q.shape[-1]})")
    size = _group_size(x_q, x_scale)
    vectors = x_q.reshape(-1, x_scale.shape[-1], size)
    product = _one_vector if len(vectors) == 1 else _many_vectors
    wide = vectors.astype(np.float32 if size <= LARGEST_FLOAT32_GROUP else np.float64)
    out = np.empty((len(vectors), len(w_q)), np.float32)
    rows = max(1, CACHED_NUMBERS // (w_q.shape[-1] if len(vectors) == 1 else len(vectors) * x_scale.shape[-1]))
    for start in range(0, len(w_q), rows):
        block = slice(start, start + rows)
        groups = w_q[block].reshape(-1, *vectors.shape[1:])
        out[:, block] = product(groups, w_scale[block], wide, x_scale.reshape(len(vectors), -1))
    if w_offset is not None:
        out += (vectors.sum(-1, dtype=np.int64) * x_scale.reshape(len(vectors), -1)) @ np.asarray(
            w_offset, np.float32
        ).T
    return out.reshape(*x_q.shape[:-1], len(w_q))


def _one_vector(w: Array, w_scale: Array, x: Array, x_scale: Array) -> Array:
    """(r, G, g), (r, G), (1, G, g), (1, G) -> (1, r)."""
    sums = np.vecdot(w.astype(x.dtype), x[0])
    total: Array = np.vecdot(sums * w_scale, x_scale[0])
    return total[None]


def _many_vectors(w: Array, w_scale: Array, x: Array, x_scale: Array) -> Array:
    """(r, G, g), (r, G), (T, G, g), (T, G) -> (T, r)."""
    sums = x.transpose(1, 0, 2) @ w.astype(x.dtype).transpose(1, 2, 0)  # (G, T, r)
    sums *= w_scale.T[:, None, :]
    sums *= x_scale.T[:, :, None]
    total: Array = sums.sum(0)
    return total


def _group_size(q: Array, scale: Array) -> int:
    if not scale.shape[-1] or q.shape[-1] % scale.shape[-1] or q.shape[:-1] != scale.shape[:-1]:
        raise ValueError(f"scales must divide the vector evenly (got {q.shape} numbers, {scale.shape} scales)")
    return int(q.shape[-1] // scale.shape[-1])


def quantize_weights(weights: Weights, quantization: str) -> Weights:
    """The same weights with int8, int4 or float32 matrices. As llama2_ref.quantize_weights, bit for bit."""
    check_quantizable(weights, quantization)
    return map_matrices(weights, lambda matrix: quantize_matrix(matrix, quantization))


def float_parts(matrix: Any) -> Iterator[Array]:
    """Rows of floats of a matrix of any kind, as many at a time as fit into a chunk."""
    known = matrix_of(matrix)
    rows, cols = known.shape
    step = max(1, CHUNK // cols)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        numbers = dequantize_int8(*known.take_rows(part).parts) if known.group_size else matrix[part]
        yield np.asarray(numbers, np.float32)


def quantize_matrix(matrix: Any, quantization: str) -> Any:
    """One matrix, (m, n), as integers or float32: some rows at a time, since what is between takes more memory."""
    if quantization == "float32":
        return matrix if getattr(matrix, "dtype", None) == np.float32 else np.concatenate(list(float_parts(matrix)))
    rows, cols = np.shape(matrix)
    group_size = matrix_group_size(cols, quantization)
    q, scale = np.empty((rows, cols), np.int8), np.empty((rows, cols // group_size), np.float32)
    quantize = quantize_int4 if quantization == "int4" else quantize_int8
    start = 0
    for floats in float_parts(matrix):
        part = slice(start, start + len(floats))
        q[part], scale[part] = quantize(floats, group_size)
        start = part.stop
    return (Int4Matrix if quantization == "int4" else Int8Matrix)(q, scale)
