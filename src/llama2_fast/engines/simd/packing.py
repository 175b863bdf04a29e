"""Matrices in the layouts that compiled code reads: floats row by row, integers as `packed_layout` says."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...quantize import quantize_matrix
from ...weights import AnyMatrix, matrix_of
from .packed_layout import COLUMNS, INT4_BIAS, group_bytes, steps_in
from .tables import BFLOAT16, FLOAT16, FLOAT32, INT4, INT4_OFFSET, INT8, LANES, MATRIX, padded

Array = NDArray[Any]

FLOATS = {"float32": FLOAT32, "float16": FLOAT16, "uint16": BFLOAT16}  # by the arrays that hold them
INTEGERS = {"int8": INT8, "int4": INT4, "int4 with offsets": INT4_OFFSET}  # by their labels
LARGEST_INT4_GROUP = 32  # 8 steps of 4 columns: more products of 4-bit numbers could overflow 16 bits (byte_dots)
SLAB = 2**22  # numbers that are packed at a time


class Packed:
    """One matrix as compiled code sees it: the numbers of its description, and the arrays that must stay."""

    def __init__(
        self, layout: int, rows: int, cols: int, weights: Array, scales: Array, group: int, steps: int
    ) -> None:
        self.weights, self.scales = weights, scales
        self.bytes = weights.nbytes + scales.nbytes
        self.shape, self.groups = (rows, cols), cols // group if group else 0
        self.description = MATRIX.row(
            layout=layout, rows=rows, cols=padded(cols), weights=weights.ctypes.data,
            scales=scales.ctypes.data if scales.size else 0, groups=self.groups, group_size=group, steps=steps,
        )  # fmt: skip
        self.quant_bytes = self.groups * steps * COLUMNS  # of a vector for this matrix


def pack(matrix: Any, quantize: str | None = None) -> Packed:
    """A matrix of any kind, (m, n), as compiled code reads it; quantized first, as `quantize` says where it does.

    What has been copied is not needed in the memory map of its file any more.
    """
    packed = _pack(quantize_matrix(matrix, quantize) if quantize else matrix)
    known = matrix_of(matrix)
    for array in known.parts if known.group_size else (_numbers(matrix),):
        if packed.weights is not array:
            _release(array)
    return packed


def _pack(matrix: Any) -> Packed:
    known = matrix_of(matrix)
    if known.group_size:
        return _pack_groups(known, _layout_of_groups(known))
    numbers = _numbers(matrix)
    return _pack_float(numbers, FLOATS[numbers.dtype.name])


def _layout_of_groups(matrix: AnyMatrix) -> int:
    """How a matrix of integers is packed. Raises ValueError if it can't be."""
    layout = INTEGERS[matrix.label]
    small = matrix.group_size <= LARGEST_INT4_GROUP and all(map(_is_float16, matrix.parts[1:]))
    if layout == INT4_OFFSET and not small:
        raise ValueError(f"int4 with offsets must have float16 scales, and groups of at most {LARGEST_INT4_GROUP}")
    return layout if small else INT8


def _numbers(matrix: Any) -> Array:
    """The array of a matrix of floats: float16, the bits of bfloat16, or else float32."""
    dtype = str(getattr(matrix, "dtype", ""))
    if dtype == "bfloat16":
        return np.asarray(matrix.bits, np.uint16)
    return matrix if dtype == "float16" else np.asarray(matrix, np.float32)


def _is_float16(scale: Array) -> bool:
    """Are these float16 numbers? Others are packed as int8, which takes more memory, but loses nothing."""
    with np.errstate(over="ignore"):
        return np.array_equal(np.asarray(scale).astype(np.float16), scale, equal_nan=True)


def _pack_float(w: Array, layout: int) -> Packed:
    """The array itself, where its rows are whole vectors: it stays in the memory map of its file."""
    rows, cols = w.shape
    if cols % LANES or not w.flags.c_contiguous or w.ctypes.data % w.itemsize:
        wide = np.zeros((rows, padded(cols)), w.dtype)
        wide[:, :cols] = w
        w = wide
    return Packed(layout, rows, cols, w, np.zeros(0, np.float32), 0, 0)


def _pack_groups(matrix: AnyMatrix, layout: int) -> Packed:
    q, *floats = matrix.parts
    scale = np.stack([np.asarray(part, np.float32) for part in floats], axis=2)  # offsets lie behind scales
    rows, cols = q.shape
    groups, group = scale.shape[1], matrix.group_size
    steps, blocks = steps_in(group), -(-rows // LANES)
    weights = np.empty((blocks, groups, group_bytes(layout, steps)), np.int8)
    scales = np.zeros((blocks, groups, scale.shape[2], LANES), np.float32 if layout == INT8 else np.float16)
    bias = INT4_BIAS if layout == INT4 else 0
    for part in _slabs(blocks, LANES * cols):
        some = slice(part.start * LANES, min(part.stop * LANES, rows))
        whole = np.zeros(((part.stop - part.start) * LANES, groups, steps * COLUMNS), np.int8)
        whole[: some.stop - some.start, :, :group] = q[some].reshape(-1, groups, group)
        weights[part] = _interleave(whole, steps) if layout == INT8 else _interleave_nibbles(whole, steps, bias)
        lanes = np.zeros((len(whole), *scale.shape[1:]), np.float32)
        lanes[: some.stop - some.start] = scale[some]
        scales[part] = lanes.reshape(-1, LANES, *scale.shape[1:]).transpose(0, 2, 3, 1)
    return Packed(layout, rows, cols, weights, scales, group, steps)


def _slabs(blocks: int, numbers: int) -> Iterator[slice]:
    step = max(1, SLAB // numbers)
    return (slice(start, min(start + step, blocks)) for start in range(0, blocks, step))


def _interleave(q: Array, steps: int) -> Array:
    """(LANES b, G, COLUMNS s) -> (b, G, s * LANES * COLUMNS)"""
    blocks = q.reshape(-1, LANES, q.shape[1], steps, COLUMNS).transpose(0, 2, 3, 1, 4)
    return blocks.reshape(len(blocks), q.shape[1], -1)


def _interleave_nibbles(q: Array, steps: int, bias: int) -> Array:
    """(LANES b, G, COLUMNS s) of -bias .. 15 - bias -> (b, G, s / 2 * LANES * COLUMNS): in a byte two, plus bias."""
    pairs = (q.view(np.uint8) + np.uint8(bias)).reshape(-1, LANES, q.shape[1], steps // 2, 2, COLUMNS)
    bytes_ = (pairs[..., 0, :] & 15) | (pairs[..., 1, :] << 4)
    blocks = bytes_.transpose(0, 2, 3, 1, 4)
    return blocks.reshape(len(blocks), q.shape[1], -1).view(np.int8)


def _release(array: Any) -> None:
    """Tell the system that the pages of a memory map under an array are not needed, where it can be told."""
    base = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return
    start = array.ctypes.data - np.frombuffer(base, np.uint8, 1).ctypes.data
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        base.madvise(mmap.MADV_DONTNEED, first, last - first)
