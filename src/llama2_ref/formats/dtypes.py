"""The numbers of other programs' files, as they lie there: floats of 32 and 16 bits, and GGML's blocks of integers.

kind   bytes of a block              numbers
F32    4                             1
F16    2                             1
BF16   2: upper half of a float32    1
Q8_0   float16 d, 32 int8            32: d q
Q4_0   float16 d, 16 bytes           32: d (n - 8); number i is the lower half of byte i, i + 16 the upper half
Q4_1   float16 d, float16 m, 16      32: d n + m, in the same order

All of it is little-endian. Whoever decodes has compared the length of the data with `row_bytes`.
"""

import struct
from array import array

from ..errors import CheckpointError
from ..weights import Expanding, Int4Matrix, Int4OffsetMatrix, Int8Matrix, Matrix

BLOCK = 32  # numbers
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_1": (32, 20)}
KINDS = tuple(BLOCKS)


def row_bytes(kind: str, cols: int) -> int:
    """Bytes of a row. Raises CheckpointError if it is not whole blocks."""
    numbers, size = BLOCKS[kind]
    if cols % numbers:
        raise CheckpointError(f"rows of {kind} must be whole blocks of {numbers} numbers (got {cols})")
    return cols // numbers * size


def decode(kind: str, data: memoryview, rows: int, cols: int) -> Matrix | Int8Matrix | Int4OffsetMatrix:
    """A matrix, (rows, cols), over bytes that are rows * row_bytes(kind, cols) of them, and stay where they are."""
    if kind == "F32":
        return Matrix(data.cast("f"), rows, cols)
    if kind in ("F16", "BF16"):
        return Matrix(Expanding(data, kind), rows, cols)
    numbers, size = BLOCKS[kind]
    groups = cols // numbers
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    scale = Matrix(_halves(blocks, 0), rows, groups)
    if kind == "Q8_0":
        return Int8Matrix(Matrix(memoryview(b"".join(block[2:] for block in blocks)).cast("b"), rows, cols), scale)
    if kind == "Q4_0":
        return Int4Matrix(Matrix(_nibbles(blocks, 2, 8), rows, cols), scale)
    return Int4OffsetMatrix(Matrix(_nibbles(blocks, 4, 0), rows, cols), scale, Matrix(_halves(blocks, 2), rows, groups))


def _halves(blocks: list[memoryview], at: int) -> "array[float]":
    """The float16 number at a place of each block."""
    return array("f", (struct.unpack_from("<e", block, at)[0] for block in blocks))


def _nibbles(blocks: list[memoryview], at: int, minus: int) -> "array[int]":
    """The integers of each block, less by a number: lower halves of the bytes first, then the upper ones."""
    lower = bytes((byte & 15) - minus & 255 for byte in range(256))
    upper = bytes((byte >> 4) - minus & 255 for byte in range(256))
    packed = (bytes(block[at:]) for block in blocks)
    return array("b", b"".join(part.translate(half) for part in packed for half in (lower, upper)))
