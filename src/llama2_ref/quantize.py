"""Integers for weights and activations: the int8 groups of llama2.c's version 2 files (its "Q8_0"), and int4 groups.

Every step is one float32 operation, rounded to nearest, ties to even. A float64 division of two float32 numbers,
rounded to float32, is that operation (53 >= 2 * 24 + 2 bits: Figueroa, SIGNUM Newsletter 30(3), 1995), so that plain
Python gives the same bits as a processor does.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from ctypes import c_float
from dataclasses import replace
from itertools import chain
from math import isfinite
from operator import mul
from struct import pack, unpack
from typing import Any

from .errors import ConfigError, NumericsError
from .weights import TENSORS, Int4Matrix, Int8Matrix, Matrix, Weights, matrix_of

Q_MAX = 127
SMALLEST_MAXIMUM = Q_MAX * 2.0**-126  # below it the scale would be subnormal, and q could leave -127..127
INT4_MIN, INT4_MAX = -8, 7
MATRICES = tuple(tensor.name for tensor in TENSORS if not tensor.is_vector)
LAYERED = tuple(tensor.name for tensor in TENSORS if tensor.per_layer and not tensor.is_vector)
QUANTIZATIONS = ("float32", "int8", "int4")  # what weights can be made of when a model is read
LARGEST_GROUP = {"int8": 64, "int4": 32}  # int8 as llama2.c; int4 groups are smaller, since 16 steps are few


def _float32(x: float) -> float:
    """x, rounded to the nearest float32."""
    return c_float(x).value


def quantize_int8(x: Sequence[Any], group_size: int) -> tuple[list[int], list[float]]:
    """Quantize a vector in groups of neighbours: (n), () -> (n), (n / group_size).

    scale = float32(max |x| / 127) and q = round-half-to-even(float32(x / scale)) in each group; x is rounded to float32
    first. A group whose maximum is below 127 * 2^-126 becomes scale 0 and q 0.

    Raises ValueError if `group_size` does not divide n, and NumericsError if x holds NaN, infinity, or a number beyond
    float32. Error: |scale * q - x| <= scale (1/2 + 128 u); both packages agree on every bit of q and scale.

    >>> quantize_int8([1.0, -2.0, 0.0, 0.0], 2)
    ([64, -127, 0, 0], [0.015748031437397003, 0.0])
    """
    q: list[int] = []
    scales: list[float] = []
    for group in _groups(x, group_size):
        peak = max(abs(value) for value in group)
        scale = _float32(peak / Q_MAX) if peak >= SMALLEST_MAXIMUM else 0.0
        scales.append(scale)
        q += [round(_float32(value / scale)) if scale else 0 for value in group]
    return q, scales


def quantize_int4(x: Sequence[Any], group_size: int) -> tuple[list[int], list[float]]:
    """Quantize a vector to integers in -8..7, in groups of neighbours: (n), () -> (n), (n / group_size).

    m is the first of the numbers with the greatest |x| in a group, scale = float16(m / -8), so that m itself becomes -8
    and no step is lost on the other side; q = round-half-to-even(float32(x / scale)), at least -8 and at most 7. Scales
    may therefore be negative; where one is 0, q is 0. They are float16 numbers as in the Q4_0 blocks of llama.cpp.

    Raises what `quantize_int8` raises, and NumericsError if a scale would be infinite. Error: |scale q - x| <=
    |scale| (1/2 + 8 u) where x / scale is in -8..7; both packages agree on every bit of q and scale.

    >>> quantize_int4([4.0, -8.0, 0.0, 7.9], 2)
    ([4, -8, 0, -8], [1.0, -0.9873046875])
    """
    q: list[int] = []
    scales: list[float] = []
    for group in _groups(x, group_size):
        scale = _float16(max(group, key=abs) / INT4_MIN)
        scales.append(scale)
        steps = (round(_float32(value / scale)) if scale else 0 for value in group)
        q += [max(INT4_MIN, min(INT4_MAX, step)) for step in steps]
    return q, scales


def _float16(x: float) -> float:
    """x, rounded to the nearest float16. Raises NumericsError if that is infinite."""
    try:
        return float(unpack("<e", pack("<e", x))[0])
    except OverflowError:
        raise NumericsError(f"numbers must be below 2^19 to become int4 (got {abs(x * INT4_MIN)})") from None


def _groups(x: Sequence[Any], group_size: int) -> Iterator[list[float]]:
    """Groups of float32 numbers. Raises as quantize_int8 does."""
    if group_size < 1 or len(x) % group_size:
        raise ValueError(f"group_size must divide the vector's length (got group_size {group_size}, length {len(x)})")
    for start in range(0, len(x), group_size):
        group = [_float32(value) for value in x[start : start + group_size]]
        for i, value in enumerate(group, start):
            if not isfinite(value):
                raise NumericsError(f"numbers must be finite to be quantized (got {value} at index {i})")
        yield group


def dequantize_int8(q: Sequence[int], scale: Sequence[Any], offset: Sequence[Any] | None = None) -> list[Any]:
    """The numbers that quantized ones stand for: (n), (n / group_size) -> (n).

    q_i * scale of its group, plus the offset of its group, (n / group_size), where there is one; exact up to the
    rounding of that product and that sum.

    >>> dequantize_int8([64, -127, 5, 5], [0.5, 2.0])
    [32.0, -63.5, 10.0, 10.0]
    """
    size = _group_size(q, scale)
    numbers = [value * scale[i // size] for i, value in enumerate(q)]
    return numbers if offset is None else [number + offset[i // size] for i, number in enumerate(numbers)]


def matmul_int8(
    w_q: Iterable[Sequence[int]],
    w_scale: Iterable[Sequence[Any]],
    x_q: Sequence[int],
    x_scale: Sequence[Any],
    w_offset: Iterable[Sequence[Any]] | None = None,
) -> list[Any]:
    """Quantized matrix times quantized vector: (m, n), (m, n / group_size), (n), (n / group_size) -> (m).

    y_i = sum over groups g of (sum_j in g of w_q_ij x_q_j) w_scale_ig x_scale_g. The inner sums are exact integers.
    With offsets, (m, n / group_size), a group adds (sum_j in g of x_q_j) w_offset_ig x_scale_g: each weight of it is
    q scale + offset.

    Error bound: gamma_(G+1) sum_g |integer sum| w_scale x_scale, for G groups, if the integer sums are exact in the
    floating-point type too (group_size <= 1032 in float32). With offsets G counts twice as many terms.

    >>> matmul_int8([[1, 2, 3, 4]], [[0.5, 2.0]], [1, 1, -1, 1], [1.0, 0.25])
    [2.0]
    """
    size = _group_size(x_q, x_scale)
    groups = [_integers(x_q[start : start + size]) for start in range(0, len(x_q), size)]
    offsets = None if w_offset is None else iter(w_offset)
    out: list[Any] = []
    for row, scales in zip(w_q, w_scale, strict=True):
        if len(row) != len(x_q) or len(scales) != len(x_scale):
            raise ValueError(f"rows must be as long as the vector (got {len(row)}, {len(x_q)})")
        total: Any = 0
        for g, group in enumerate(groups):
            products = sum(map(mul, _integers(row[g * size : (g + 1) * size]), group))
            total = total + products * scales[g] * x_scale[g]
        if offsets is not None:
            for group, offset, scale in zip(groups, next(offsets), x_scale, strict=True):
                total = total + sum(group) * offset * scale
        out.append(total)
    return out


def _integers(x: Any) -> Any:
    """Python's integers, which know no overflow, also where a sequence holds its own kind."""
    return x.tolist() if hasattr(x, "tolist") else x


def _group_size(q: Sequence[int], scale: Sequence[Any]) -> int:
    if not len(scale) or len(q) % len(scale):
        raise ValueError(f"scales must divide the vector evenly (got {len(q)} numbers, {len(scale)} scales)")
    return len(q) // len(scale)


def quantize_weights(weights: Weights, quantization: str) -> Weights:
    """The same weights with int8 or int4 matrices, in groups of the largest size up to 64 or 32 that divides each row.

    `quantization` is "int8" or "int4"; or "float32", which gives all numbers as such, whatever the matrices hold.

    Raises ConfigError for another one, or if integers are to be made of integers, and NumericsError if a number is not
    finite.
    """
    check_quantizable(weights, quantization)
    convert = _expand_matrix if quantization == "float32" else lambda matrix: _quantize_matrix(matrix, quantization)
    return map_matrices(weights, convert)


def float_rows(matrix: Any) -> Iterator[Sequence[Any]]:
    """The rows of a matrix of any kind, as floats."""
    known = matrix_of(matrix)
    return (dequantize_int8(*rows) for rows in zip(*known.parts, strict=True)) if known.group_size else iter(matrix)


def _expand_matrix(matrix: Any) -> Matrix:
    rows = [array("f", row) for row in float_rows(matrix)]
    return Matrix(array("f", chain.from_iterable(rows)), len(rows), len(rows[0]))


def _quantize_matrix(matrix: Sequence[Sequence[Any]], quantization: str) -> Int8Matrix:
    group_size = matrix_group_size(len(matrix[0]), quantization)
    rows = [(quantize_int4 if quantization == "int4" else quantize_int8)(row, group_size) for row in matrix]
    return (Int4Matrix if quantization == "int4" else Int8Matrix)([q for q, _ in rows], [scale for _, scale in rows])


def matrix_group_size(cols: int, quantization: str) -> int:
    """The largest size of a group that divides a row."""
    return next(size for size in range(LARGEST_GROUP[quantization], 0, -1) if cols % size == 0)


def check_quantizable(weights: Weights, quantization: str) -> None:
    """Raise ConfigError unless weights can become `quantization`."""
    if quantization not in QUANTIZATIONS:
        raise ConfigError(
            f"weights can become {', '.join(QUANTIZATIONS[:-1])} or {QUANTIZATIONS[-1]} (got {quantization!r})"
        )
    if quantization == "float32":
        return
    for name, field in weights.tensors():
        matrices = [] if name not in MATRICES else field if name in LAYERED else [field]
        if any(matrix_of(matrix).group_size for matrix in matrices):
            raise ConfigError(f"weights must be float numbers to become {quantization} ({name} holds integers already)")


def map_matrices(weights: Weights, convert: Callable[[Any], Any]) -> Weights:
    """Weights whose matrices are made by `convert`: once for those that are shared."""
    fields: dict[str, Any] = {}
    for name, field in weights.tensors():
        if name == "wcls" and weights.shared_classifier:
            fields[name] = fields["token_embedding_table"]
        elif name in LAYERED:
            fields[name] = [convert(matrix) for matrix in field]
        elif name in MATRICES:
            fields[name] = convert(field)
    return replace(weights, **fields)
