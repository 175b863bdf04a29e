"""Packed matrices of integers times quantized vectors.

However many vectors, rows and threads there are, one number of the result is computed in one way: the sum of a group is
an exact integer; groups are added in their order, each as fma(float(sum) * w_scale, x_scale, so far), and then
fma(float(sum of x) * w_offset, x_scale, so far) with offsets. Tiles only decide what is computed next to what.
"""

import numpy as np

from ..compiler.jit import jit
from ..packed_layout import COLUMNS, FLOAT16_SCALES, INT4_BIAS, scale_bytes
from ..tables import FLOAT_BYTES, INT4, INT4_OFFSET, INT8, LANES, VECTOR_BYTES
from .byte_dots import dot4, dot4_nibbles, dot_start, high_nibbles, low_nibbles, nibble_start, nibble_sums
from .operands import Buffer, quantized_from, row_at
from .packed_rows import block_at
from .vectors import (
    float_at,
    fma,
    int32_at,
    keep_apart,
    load,
    load_bytes,
    load_float16,
    prefetch,
    splat,
    splat4,
    splat_int,
    store,
    to_float,
    zero,
)

TILE = 4  # vectors
_BIAS = np.int32(INT4_BIAS)
_INT8_SCALES, _INT4_SCALES, _OFFSET_SCALES = scale_bytes(INT8), scale_bytes(INT4), scale_bytes(INT4_OFFSET)
_AHEAD = 2**12  # bytes of a packed matrix that are asked for before they are needed


@jit
def int_product(m, rows, x, out):
    """Some rows of a packed matrix times all vectors: whole blocks, with zeros behind the last row."""
    layout = m.layout
    for number in range(rows.first // LANES, (rows.last + LANES - 1) // LANES):
        w, to = block_at(m, number), Buffer(out.address + number * VECTOR_BYTES, out.stride)
        t = 0
        while t + TILE <= x.tokens:
            quantized, tile = quantized_from(x.quantized, t), Buffer(row_at(to, t), to.stride)
            if layout == INT8:
                _int8_tile(w, quantized, tile)
            elif layout == INT4:
                _int4_tile(w, quantized, tile)
            else:
                _offset_tile(w, quantized, tile)
            t += TILE
        while t < x.tokens:
            quantized, row = quantized_from(x.quantized, t), row_at(to, t)
            if layout == INT8:
                _int8_block(w, quantized, row)
            elif layout == INT4:
                _int4_block(w, quantized, row)
            else:
                _offset_block(w, quantized, row)
            t += 1


@jit
def _store_tile(out, a, b, c, d):
    store(out.address, a)
    store(row_at(out, 1), b)
    store(row_at(out, 2), c)
    store(row_at(out, 3), d)


# ---------------------------------------------------------------------------------------------------------------- int8


@jit
def _int8_block(block, x, out):
    """A block times one vector."""
    keep_apart()
    so_far, w, q = zero(), block.weights, x.quants
    for g in range(block.groups):
        n = dot_start(int32_at(x.sums + g * FLOAT_BYTES))
        for _ in range(block.steps):
            prefetch(w + _AHEAD)
            n = dot4(n, load_bytes(w), splat4(q))
            w += VECTOR_BYTES
            q += COLUMNS
        scale = load(block.scales + g * _INT8_SCALES)
        so_far = fma(to_float(n) * scale, splat(float_at(x.scales + g * FLOAT_BYTES)), so_far)
    store(out, so_far)


@jit
def _int8_tile(block, x, out):
    """A block times four vectors."""
    keep_apart()
    f0, f1, f2, f3 = zero(), zero(), zero(), zero()
    w, q0 = block.weights, x.quants
    q1, q2, q3 = q0 + x.quants_stride, q0 + 2 * x.quants_stride, q0 + 3 * x.quants_stride
    for g in range(block.groups):
        s, k = x.sums + g * FLOAT_BYTES, x.scales + g * FLOAT_BYTES
        n0 = dot_start(int32_at(s))
        n1 = dot_start(int32_at(s + x.groups_stride))
        n2 = dot_start(int32_at(s + 2 * x.groups_stride))
        n3 = dot_start(int32_at(s + 3 * x.groups_stride))
        for i in range(g * block.steps * COLUMNS, (g + 1) * block.steps * COLUMNS, COLUMNS):
            v = load_bytes(w)
            n0 = dot4(n0, v, splat4(q0 + i))
            n1 = dot4(n1, v, splat4(q1 + i))
            n2 = dot4(n2, v, splat4(q2 + i))
            n3 = dot4(n3, v, splat4(q3 + i))
            w += VECTOR_BYTES
        scale = load(block.scales + g * _INT8_SCALES)
        f0 = fma(to_float(n0) * scale, splat(float_at(k)), f0)
        f1 = fma(to_float(n1) * scale, splat(float_at(k + x.groups_stride)), f1)
        f2 = fma(to_float(n2) * scale, splat(float_at(k + 2 * x.groups_stride)), f2)
        f3 = fma(to_float(n3) * scale, splat(float_at(k + 3 * x.groups_stride)), f3)
    _store_tile(out, f0, f1, f2, f3)


# ---------------------------------------------------------------------------------------------------------------- int4


@jit
def _add_biased(so_far, n, x_sum, x_scale, scales):
    """Add a group of numbers that are stored INT4_BIAS too large."""
    exact = nibble_sums(n) - splat_int(int32_at(x_sum) * _BIAS)
    return fma(to_float(exact) * load_float16(scales), splat(float_at(x_scale)), so_far)


@jit
def _add_offset(so_far, n, x_sum, x_scale, scales):
    """Add a group of numbers that have an offset behind their scales."""
    factor = splat(float_at(x_scale))
    so_far = fma(to_float(nibble_sums(n)) * load_float16(scales), factor, so_far)
    return fma(to_float(splat_int(int32_at(x_sum))) * load_float16(scales + FLOAT16_SCALES), factor, so_far)


def _int4_products(add_group, group_scales):
    """Products of matrices whose groups are added by `add_group`, and have so many bytes of scales in a block."""

    @jit
    def block_product(block, x, out):
        """A block times one vector."""
        keep_apart()
        so_far, w, q = zero(), block.weights, x.quants
        for g in range(block.groups):
            n = nibble_start()
            for _ in range(block.steps // 2):
                prefetch(w + _AHEAD)
                v = load_bytes(w)
                n = dot4_nibbles(n, low_nibbles(v), splat4(q))
                n = dot4_nibbles(n, high_nibbles(v), splat4(q + COLUMNS))
                w += VECTOR_BYTES
                q += 2 * COLUMNS
            s, k = x.sums + g * FLOAT_BYTES, x.scales + g * FLOAT_BYTES
            so_far = add_group(so_far, n, s, k, block.scales + g * group_scales)
        store(out, so_far)

    @jit
    def tile(block, x, out):
        """A block times four vectors."""
        keep_apart()
        f0, f1, f2, f3 = zero(), zero(), zero(), zero()
        w, q0 = block.weights, x.quants
        q1, q2, q3 = q0 + x.quants_stride, q0 + 2 * x.quants_stride, q0 + 3 * x.quants_stride
        for g in range(block.groups):
            n0, n1, n2, n3 = nibble_start(), nibble_start(), nibble_start(), nibble_start()
            for i in range(g * block.steps * COLUMNS, (g + 1) * block.steps * COLUMNS, 2 * COLUMNS):
                v = load_bytes(w)
                low = low_nibbles(v)
                n0 = dot4_nibbles(n0, low, splat4(q0 + i))
                n1 = dot4_nibbles(n1, low, splat4(q1 + i))
                n2 = dot4_nibbles(n2, low, splat4(q2 + i))
                n3 = dot4_nibbles(n3, low, splat4(q3 + i))
                high = high_nibbles(v)
                n0 = dot4_nibbles(n0, high, splat4(q0 + i + COLUMNS))
                n1 = dot4_nibbles(n1, high, splat4(q1 + i + COLUMNS))
                n2 = dot4_nibbles(n2, high, splat4(q2 + i + COLUMNS))
                n3 = dot4_nibbles(n3, high, splat4(q3 + i + COLUMNS))
                w += VECTOR_BYTES
            s, k, scales = x.sums + g * FLOAT_BYTES, x.scales + g * FLOAT_BYTES, block.scales + g * group_scales
            f0 = add_group(f0, n0, s, k, scales)
            f1 = add_group(f1, n1, s + x.groups_stride, k + x.groups_stride, scales)
            f2 = add_group(f2, n2, s + 2 * x.groups_stride, k + 2 * x.groups_stride, scales)
            f3 = add_group(f3, n3, s + 3 * x.groups_stride, k + 3 * x.groups_stride, scales)
        _store_tile(out, f0, f1, f2, f3)

    return block_product, tile


_int4_block, _int4_tile = _int4_products(_add_biased, _INT4_SCALES)
_offset_block, _offset_tile = _int4_products(_add_offset, _OFFSET_SCALES)
