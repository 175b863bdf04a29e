"""Reading packed matrices of integers. `packed_layout` says what lies where."""

import numpy as np

from .. import packed_layout
from ..compiler.jit import jit
from ..packed_layout import COLUMNS, FLOAT16_SCALES, INT4_BIAS
from ..tables import FLOAT_BYTES, INT4, INT4_OFFSET, INT8, LANES, VECTOR_BYTES
from .operands import Block
from .vectors import byte_at, float_at, lane, load_float16, put_float

f32 = np.float32
group_bytes, scale_bytes = jit(packed_layout.group_bytes), jit(packed_layout.scale_bytes)


@jit
def block_at(m, number):
    """One of the blocks of a matrix."""
    weights = m.weights + number * m.groups * group_bytes(m.layout, m.steps)
    return Block(weights, m.scales + number * m.groups * scale_bytes(m.layout), m.groups, m.steps)


@jit
def unpack_row(m, row, out):
    """A row as float32 numbers."""
    layout, size = m.layout, m.group_size
    block, row_lane = block_at(m, row // LANES), row % LANES
    for g in range(block.groups):
        scale, offset = _scale_at(layout, block, g, row_lane), _offset_at(layout, block, g, row_lane)
        for i in range(size):
            q = _quant_at(layout, block, g, row_lane, i)
            put_float(out + (g * size + i) * FLOAT_BYTES, f32(q) * scale + offset)


@jit
def _quant_at(layout, block, group, row_lane, i):
    """Number i of a group, in the row of a lane."""
    step, place = (
        i // COLUMNS,
        block.weights + group * group_bytes(layout, block.steps) + row_lane * COLUMNS + i % COLUMNS,
    )
    if layout == INT8:
        return byte_at(place + step * VECTOR_BYTES)
    pair = byte_at(place + step // 2 * VECTOR_BYTES)
    nibble = (pair >> 4) & 15 if step % 2 else pair & 15
    return nibble - INT4_BIAS if layout == INT4 else nibble


@jit
def _scale_at(layout, block, group, row_lane):
    """The scale of a group, in the row of a lane."""
    scales = block.scales + group * scale_bytes(layout)
    if layout == INT8:
        return float_at(scales + row_lane * FLOAT_BYTES)
    return lane(load_float16(scales), row_lane)


@jit
def _offset_at(layout, block, group, row_lane):
    """What is added to the numbers of a group, in the row of a lane."""
    if layout == INT4_OFFSET:
        return lane(load_float16(block.scales + group * scale_bytes(layout) + FLOAT16_SCALES), row_lane)
    return f32(0)
