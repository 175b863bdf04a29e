"""Matrices in the layouts that the compiled products read: see `products`."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...quantize import quantize_matrix
from ...weights import BFloat16Matrix, Int4Matrix, Int4OffsetMatrix, Int8Matrix, IntegerMatrix
from . import fields as f

Array = NDArray[Any]

LARGEST_INT4_GROUP = 32  # eight steps of four columns: more would not fit into 16 bits
SLAB = 2**22  # numbers that are packed at a time


class Packed:
    """One matrix as compiled code sees it: the numbers of its description, and the arrays that must stay."""

    def __init__(self, kind: int, rows: int, cols: int, weights: Array, scales: Array, group: int, steps: int) -> None:
        self.weights, self.scales = weights, scales
        self.bytes = weights.nbytes + scales.nbytes
        self.shape, self.groups = (rows, cols), cols // group if group else 0
        address = scales.ctypes.data if scales.size else 0
        padded = -(-cols // f.LANES) * f.LANES
        self.description = (kind, rows, padded, weights.ctypes.data, address, self.groups, group, steps)
        self.quant_bytes = self.groups * steps * 4


def pack(matrix: Any, quantize: str | None = None) -> Packed:
    """A float32 or float16 array (m, n), a BFloat16Matrix or a matrix of integers; as `quantize` says where it does.

    What has been copied is not needed in the memory map of its file any more.
    """
    packed = _pack(quantize_matrix(matrix, quantize) if quantize else matrix)
    for array in _arrays(matrix):
        if packed.weights is not array:
            _release(array)
    return packed


def _arrays(matrix: Any) -> tuple[Array, ...]:
    """What a matrix consists of."""
    if isinstance(matrix, IntegerMatrix):
        return matrix.q, matrix.scale
    return (matrix.bits,) if isinstance(matrix, BFloat16Matrix) else (matrix,)


def _pack(matrix: Any) -> Packed:
    small = isinstance(matrix, IntegerMatrix) and matrix.group_size <= LARGEST_INT4_GROUP and _is_float16(matrix.scale)
    if isinstance(matrix, Int4OffsetMatrix):
        if not (small and _is_float16(matrix.offset)):
            raise ValueError(f"int4 with offsets must have float16 scales, and groups of at most {LARGEST_INT4_GROUP}")
        return _pack_groups(matrix, f.INT4_OFFSET)
    if isinstance(matrix, Int4Matrix) and small:
        return _pack_groups(matrix, f.INT4)
    if isinstance(matrix, Int8Matrix):
        return _pack_groups(matrix, f.INT8)
    if isinstance(matrix, BFloat16Matrix):
        return _pack_float(np.asarray(matrix.bits, np.uint16), f.BFLOAT16)
    if getattr(matrix, "dtype", None) == np.float16:
        return _pack_float(matrix, f.FLOAT16)
    return _pack_float(np.asarray(matrix, np.float32), f.FLOAT32)


def _is_float16(scale: Array) -> bool:
    """Are these float16 numbers? Others are packed as int8, which takes more memory, but loses nothing."""
    with np.errstate(over="ignore"):
        return np.array_equal(np.asarray(scale).astype(np.float16), scale, equal_nan=True)


def _pack_float(w: Array, kind: int) -> Packed:
    """The array itself, where its rows are whole vectors: it stays in the memory map of its file."""
    rows, cols = w.shape
    if cols % f.LANES or not w.flags.c_contiguous or w.ctypes.data % w.itemsize:
        padded = np.zeros((rows, -(-cols // f.LANES) * f.LANES), w.dtype)
        padded[:, :cols] = w
        w = padded
    return Packed(kind, rows, cols, w, np.zeros(0, np.float32), 0, 0)


def _pack_groups(matrix: IntegerMatrix, kind: int) -> Packed:
    q, scale = matrix.q, np.asarray(matrix.scale, np.float32)[:, :, None]
    if isinstance(matrix, Int4OffsetMatrix):  # the offsets of 16 rows lie behind their scales
        scale = np.concatenate((scale, np.asarray(matrix.offset, np.float32)[:, :, None]), axis=2)
    rows, cols = q.shape
    groups, group = scale.shape[1], matrix.group_size
    steps = 2 * -(-group // 8)  # the same for both kinds: matrices of a layer may be of either, and share their vectors
    blocks = -(-rows // f.LANES)
    per_group = steps * 64 if kind == f.INT8 else steps * 32
    weights = np.empty((blocks, groups, per_group), np.int8)
    scales = np.zeros((blocks, groups, scale.shape[2], f.LANES), np.float32 if kind == f.INT8 else np.float16)
    low = -8 if kind == f.INT4 else 0
    for part in _slabs(blocks, f.LANES * cols):
        some = slice(part.start * f.LANES, min(part.stop * f.LANES, rows))
        padded = np.zeros(((part.stop - part.start) * f.LANES, groups, steps * 4), np.int8)
        padded[: some.stop - some.start, :, :group] = q[some].reshape(-1, groups, group)
        weights[part] = _interleave(padded, steps) if kind == f.INT8 else _interleave_nibbles(padded, steps, low)
        lanes = np.zeros((len(padded), *scale.shape[1:]), np.float32)
        lanes[: some.stop - some.start] = scale[some]
        scales[part] = lanes.reshape(-1, f.LANES, *scale.shape[1:]).transpose(0, 2, 3, 1)
    return Packed(kind, rows, cols, weights, scales, group, steps)


def _slabs(blocks: int, numbers: int) -> Iterator[slice]:
    step = max(1, SLAB // numbers)
    return (slice(start, min(start + step, blocks)) for start in range(0, blocks, step))


def _interleave(q: Array, steps: int) -> Array:
    """(16 b, G, 4 s) -> (b, G, s * 16 * 4)"""
    blocks = q.reshape(-1, f.LANES, q.shape[1], steps, 4).transpose(0, 2, 3, 1, 4)
    return blocks.reshape(len(blocks), q.shape[1], -1)


def _interleave_nibbles(q: Array, steps: int, low: int) -> Array:
    """(16 b, G, 4 s) of low .. low + 15 -> (b, G, s / 2 * 16 * 4), two numbers, less `low`, in a byte."""
    pairs = (q.view(np.uint8) + np.uint8(-low)).reshape(-1, f.LANES, q.shape[1], steps // 2, 2, 4)
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
