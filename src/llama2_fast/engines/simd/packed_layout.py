"""How a matrix of integers lies in memory: what `packing` writes and `kernels.packed_rows` reads.

    matrix = blocks of LANES rows, so that a lane is a row; the last one ends with zeros
    block  = groups of columns, from left to right
    group  = steps; in a step a lane holds COLUMNS columns of its row, a byte each (int8); int4 puts two steps into the
             same bytes, the second one into their upper halves. The last step ends with zeros. Their number is even,
             and the same for all kinds, since matrices that are given the same vectors may be of several kinds.

Scales of a group lie together for the LANES rows of a block: float32 (int8) or float16 (int4); offsets, where numbers
have them, lie behind the scales. int4 numbers without offsets are stored INT4_BIAS too large: 0..15 for -8..7.
"""

from .tables import FLOAT_BYTES, HALF_BYTES, INT4, INT8, LANES, VECTOR_BYTES

COLUMNS = 4  # that a lane multiplies and adds in a step
INT4_BIAS = 8
FLOAT16_SCALES = LANES * HALF_BYTES  # bytes of the float16 scales of a group in a block


def steps_in(group_size: int) -> int:
    """Steps in a group of so many columns."""
    return 2 * -(-group_size // (2 * COLUMNS))


def group_bytes(layout: int, steps: int) -> int:
    """Bytes of a group in a block."""
    return steps * VECTOR_BYTES if layout == INT8 else steps // 2 * VECTOR_BYTES


def scale_bytes(layout: int) -> int:
    """Bytes of the scales, and offsets, of a group in a block."""
    if layout == INT8:
        return LANES * FLOAT_BYTES
    return FLOAT16_SCALES if layout == INT4 else 2 * FLOAT16_SCALES
