"""Numbers of files as arrays, as llama2_ref.formats.dtypes: all but scales stays in their memory maps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.formats.dtypes import BLOCK, BLOCKS

from ..weights import BFloat16Matrix, Blocks, Int4Matrix, Int4OffsetMatrix, Int8Matrix


def decode(kind: str, data: memoryview, rows: int, cols: int) -> Any:
    """A matrix, (rows, cols): a float32 or float16 array, a BFloat16Matrix, or a matrix of integers."""
    if kind == "F32":
        return np.frombuffer(data, np.float32).reshape(rows, cols)
    if kind == "F16":
        return np.frombuffer(data, np.float16).reshape(rows, cols)
    if kind == "BF16":
        return BFloat16Matrix(np.frombuffer(data, np.uint16).reshape(rows, cols))
    blocks = np.frombuffer(data, np.uint8).reshape(rows, cols // BLOCK, BLOCKS[kind][1])
    scale = _halves(blocks, 0)
    if kind == "Q8_0":
        return Int8Matrix(Blocks(blocks[:, :, 2:], _bytes), scale)
    if kind == "Q4_0":
        return Int4Matrix(Blocks(blocks[:, :, 2:], lambda packed: _nibbles(packed) - np.int8(8)), scale)
    return Int4OffsetMatrix(Blocks(blocks[:, :, 4:], _nibbles), scale, _halves(blocks, 2))


def _halves(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    """The float16 number at a place of each block: (rows, groups)."""
    return np.ascontiguousarray(blocks[:, :, at : at + 2]).view(np.float16)[:, :, 0].astype(np.float32)


def _bytes(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(rows, groups, 32) -> (rows, groups * 32)"""
    return np.ascontiguousarray(packed).view(np.int8).reshape(len(packed), -1)


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Lower halves of the bytes of a block, then the upper ones: (rows, groups, 16) -> (rows, groups * 32)."""
    out = np.empty((*packed.shape[:2], 2, packed.shape[2]), np.int8)
    np.bitwise_and(packed, 15, out=out[:, :, 0].view(np.uint8))
    np.right_shift(packed, 4, out=out[:, :, 1].view(np.uint8))
    return out.reshape(len(packed), -1)
