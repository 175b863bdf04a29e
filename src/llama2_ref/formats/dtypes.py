"""The types of numbers in files: floats of 32 and 16 bits, and GGML's blocks of integers.

dtype  bytes of a block              numbers
F32    4                             1
F16    2                             1
BF16   2: upper half of a float32    1
Q8_0   float16 d, 32 int8            32: d q
Q4_0   float16 d, 16 bytes           32: d (n - 8); number i is the lower half of byte i, i + 16 the upper half
Q4_1   float16 d, float16 m, 16      32: d n + m, in the same order

All of it is little-endian. `lists` makes matrices of such bytes, and llama2_fast.matrices.arrays.
"""

from ..errors import CheckpointError

BLOCK = 32  # numbers
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_1": (32, 20)}
DTYPES = tuple(BLOCKS)
FLOATS = ("F32", "F16", "BF16")


def row_bytes(dtype: str, cols: int) -> int:
    """Bytes of a row. Raises CheckpointError if it is not whole blocks."""
    numbers, size = BLOCKS[dtype]
    if cols % numbers:
        raise CheckpointError(f"rows of {dtype} must be whole blocks of {numbers} numbers (got {cols})")
    return cols // numbers * size
