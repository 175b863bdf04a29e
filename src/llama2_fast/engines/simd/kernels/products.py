"""Matrix times vectors, for rows of floats and for int8 and int4 groups.

However many vectors, rows and threads there are, one number of the result is computed in one way:

- floats: lane l of 16 partial sums takes columns l, l + 16, l + 32 ... by fused multiply-add; then the fixed tree.
  float16 and bfloat16 weights become float32 first: the same bits as if they had been expanded.
- int8, int4: the sum of a group is an exact integer; groups are added in their order, each as
  fma(float(sum) * w_scale, x_scale, so far), and then fma(float(sum of x) * w_offset, x_scale, so far) with offsets.

Tiles only decide what is computed next to what. Packed matrices hold blocks of 16 rows, so that a lane is a row: in a
group, step by step, four columns of each of the 16 rows (int8), or eight, the second four in the upper half of the
bytes (int4). Scales are float32 (int8) or float16 (int4); those of 16 rows lie together, then their offsets.
"""

import numpy as np

from ..compiler.jit import jit
from ..fields import BFLOAT16, COLS, FLOAT16, FLOAT32, GROUPS, INT4, INT8, KIND, LANES, SCALES, STEPS, WEIGHTS
from .vectors import (
    dot4,
    dot4_nibbles,
    dot_start,
    float_at,
    fma,
    fma_half,
    high_nibbles,
    int32_at,
    int_at,
    load,
    load_bfloat16,
    load_bytes,
    load_float16,
    load_half,
    load_half_bfloat16,
    load_half_float16,
    low_nibbles,
    nibble_start,
    nibble_sums,
    prefetch,
    put_float,
    splat,
    splat4,
    splat_int,
    store,
    to_float,
    total,
    total_halves,
    zero,
    zero_half,
)

TOKENS = 4  # vectors in a tile of packed matrices
_EIGHT = np.int32(8)
_CACHE = 2**18  # bytes of vectors that stay in the second cache
_AHEAD = 2**12  # bytes of a packed matrix that are asked for before they are needed
_STRETCH = 2**12  # bytes of a row at a time, times seven for all rows and vectors of a tile


@jit
def product(m, first, last, x, x_stride, quants, quant_stride, scales, sums, group_stride, count, out, out_stride):
    """Rows first..last of a matrix, times `count` vectors: x for floats, else quants, scales and sums.

    `first` is a multiple of LANES. A packed matrix writes whole blocks, zeros behind its last row.
    """
    kind = int_at(m + KIND)
    if kind == FLOAT32:
        _float32_rows(m, first, last, x, x_stride, count, out, out_stride)
    elif kind == FLOAT16:
        _float16_rows(m, first, last, x, x_stride, count, out, out_stride)
    elif kind == BFLOAT16:
        _bfloat16_rows(m, first, last, x, x_stride, count, out, out_stride)
    else:
        _blocks(m, first, last, quants, quant_stride, scales, sums, group_stride, count, out, out_stride)


@jit
def widen(kind, weights, first, count, out):
    """Numbers first .. first + count of a float matrix as float32, in whole vectors."""
    if kind == FLOAT32:
        _widen_float32(weights, first, count, out)
    elif kind == FLOAT16:
        _widen_float16(weights, first, count, out)
    else:
        _widen_bfloat16(weights, first, count, out)


@jit
def _blocks(m, first, last, quants, quant_stride, scales, sums, group_stride, count, out, out_stride):
    """Rows first..last of a packed matrix."""
    kind, groups, steps = int_at(m + KIND), int_at(m + GROUPS), int_at(m + STEPS)
    bytes_in_block = groups * steps * 64 if kind == INT8 else groups * steps * 32
    for block in range(first // LANES, (last + LANES - 1) // LANES):
        w = int_at(m + WEIGHTS) + block * bytes_in_block
        w_scales = int_at(m + SCALES) + block * groups * (32 if kind == INT4 else 64)
        to = out + block * 64
        t = 0
        while t + TOKENS <= count:
            q, s, n = quants + t * quant_stride, scales + t * group_stride, sums + t * group_stride
            if kind == INT8:
                _int8_tile(
                    w, w_scales, groups, steps, q, quant_stride, s, n, group_stride, to + t * out_stride, out_stride
                )
            elif kind == INT4:
                _int4_tile(
                    w, w_scales, groups, steps, q, quant_stride, s, n, group_stride, to + t * out_stride, out_stride
                )
            else:
                _offset_tile(
                    w, w_scales, groups, steps, q, quant_stride, s, n, group_stride, to + t * out_stride, out_stride
                )
            t += TOKENS
        while t < count:
            q, s, n = quants + t * quant_stride, scales + t * group_stride, sums + t * group_stride
            if kind == INT8:
                _int8_block(w, w_scales, groups, steps, q, s, n, to + t * out_stride)
            elif kind == INT4:
                _int4_block(w, w_scales, groups, steps, q, s, n, to + t * out_stride)
            else:
                _offset_block(w, w_scales, groups, steps, q, s, n, to + t * out_stride)
            t += 1


# -------------------------------------------------------------------------------------------------------------- floats


def _float_products(load_weights, load_half_weights, size):
    """Products of matrices whose numbers take `size` bytes, and become float32 by these two loads."""

    @jit
    def rows(m, first, last, x, x_stride, count, out, out_stride):
        cols, w = int_at(m + COLS), int_at(m + WEIGHTS)
        stride, length = cols * size, cols * 4
        if count < 3:
            for t in range(count):
                vector(w, stride, length, first, last, x + t * x_stride, out + t * out_stride)
            return
        some = _tokens_in_cache(length)
        for start in range(0, count, some):
            end = start + some if start + some < count else count
            for row in range(first, last, 4):
                if row + 4 <= last:
                    four_rows(w + row * stride, stride, length, start, end, x, x_stride, out + row * 4, out_stride)
                else:
                    for t in range(start, end):
                        vector(w, stride, length, row, last, x + t * x_stride, out + t * out_stride)

    @jit
    def four_rows(w, stride, length, start, end, x, x_stride, out, out_stride):
        t = start
        while t + 3 <= end:
            tile(w, stride, length, x + t * x_stride, x_stride, out + t * out_stride, out_stride)
            t += 3
        while t < end:
            four_dots(w, stride, length, x + t * x_stride, out + t * out_stride)
            t += 1

    @jit
    def vector(w, stride, length, first, last, x, out):
        row = first
        while row + 4 <= last:
            four_dots(w + row * stride, stride, length, x, out + row * 4)
            row += 4
        while row < last:
            put_float(out + row * 4, dot(w + row * stride, length, x))
            row += 1

    @jit
    def dot(w, length, x):
        """One row times one vector of so many bytes."""
        a = zero()
        for j in range(0, length, 64):
            a = fma(load_weights(w), load(x + j), a)
            w += LANES * size
        return total(a)

    @jit
    def four_dots(w, stride, length, x, out):
        """Four rows times one vector."""
        w1, w2, w3, ahead = w + stride, w + 2 * stride, w + 3 * stride, w + 4 * stride
        a, b, c, d = zero(), zero(), zero(), zero()
        for j in range(0, length, 64):
            i = j // 4 * size
            prefetch(ahead + i)
            prefetch(ahead + stride + i)
            prefetch(ahead + 2 * stride + i)
            prefetch(ahead + 3 * stride + i)
            v = load(x + j)
            a = fma(load_weights(w + i), v, a)
            b = fma(load_weights(w1 + i), v, b)
            c = fma(load_weights(w2 + i), v, c)
            d = fma(load_weights(w3 + i), v, d)
        put_float(out, total(a))
        put_float(out + 4, total(b))
        put_float(out + 8, total(c))
        put_float(out + 12, total(d))

    @jit
    def tile(w, stride, length, x, x_stride, out, out_stride):
        """Four rows times three vectors.

        The first eight lanes of a stretch of columns, then the last eight: twelve sums at a time, which is what the
        registers of AVX2 and NEON hold. A stretch of all that is read stays in the first cache.
        """
        o = zero_half()
        low, high = (o, o, o, o, o, o, o, o, o, o, o, o), (o, o, o, o, o, o, o, o, o, o, o, o)
        for start in range(0, length, _STRETCH):
            end = start + _STRETCH if start + _STRETCH < length else length
            low = lanes(w, stride, x, x_stride, start, end, low)
            high = lanes(w, stride, x, x_stride, start + 32, end, high)
        _put_sums(out, low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3])
        _put_sums(out + out_stride, low[4], low[5], low[6], low[7], high[4], high[5], high[6], high[7])
        _put_sums(out + 2 * out_stride, low[8], low[9], low[10], low[11], high[8], high[9], high[10], high[11])

    @jit
    def lanes(w, stride, x, x_stride, start, end, sums):
        a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2 = sums
        w1, w2, w3, x1, x2 = w + stride, w + 2 * stride, w + 3 * stride, x + x_stride, x + 2 * x_stride
        for j in range(start, end, 64):
            i = j // 4 * size
            u, v, y = load_half(x + j), load_half(x1 + j), load_half(x2 + j)
            r = load_half_weights(w + i)
            a0, a1, a2 = fma_half(r, u, a0), fma_half(r, v, a1), fma_half(r, y, a2)
            r = load_half_weights(w1 + i)
            b0, b1, b2 = fma_half(r, u, b0), fma_half(r, v, b1), fma_half(r, y, b2)
            r = load_half_weights(w2 + i)
            c0, c1, c2 = fma_half(r, u, c0), fma_half(r, v, c1), fma_half(r, y, c2)
            r = load_half_weights(w3 + i)
            d0, d1, d2 = fma_half(r, u, d0), fma_half(r, v, d1), fma_half(r, y, d2)
        return a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2

    @jit
    def widen(w, first, count, out):
        """Numbers first .. first + count of a matrix, of which whole vectors are read and written."""
        for i in range(0, count, LANES):
            store(out + i * 4, load_weights(w + (first + i) * size))

    return rows, widen


@jit
def _tokens_in_cache(length):
    """How many vectors of so many bytes stay in the second cache while the rows of a matrix pass."""
    some = _CACHE // length // 12 * 12
    return some if some else 12


@jit
def _put_sums(out, a, b, c, d, e, f, g, h):
    put_float(out, total_halves(a, e))
    put_float(out + 4, total_halves(b, f))
    put_float(out + 8, total_halves(c, g))
    put_float(out + 12, total_halves(d, h))


_float32_rows, _widen_float32 = _float_products(load, load_half, 4)
_float16_rows, _widen_float16 = _float_products(load_float16, load_half_float16, 2)
_bfloat16_rows, _widen_bfloat16 = _float_products(load_bfloat16, load_half_bfloat16, 2)


# ---------------------------------------------------------------------------------------------------------------- int8


@jit
def _int8_block(w, w_scales, groups, steps, q, scales, sums, out):
    """16 rows times one vector."""
    so_far = zero()
    for g in range(groups):
        n = dot_start(int32_at(sums + g * 4))
        for _ in range(steps):
            prefetch(w + _AHEAD)
            n = dot4(n, load_bytes(w), splat4(q))
            w += 64
            q += 4
        so_far = fma(to_float(n) * load(w_scales + g * 64), splat(float_at(scales + g * 4)), so_far)
    store(out, so_far)


@jit
def _int8_tile(w, w_scales, groups, steps, q, stride, scales, sums, group_stride, out, out_stride):
    """16 rows times four vectors."""
    f0, f1, f2, f3 = zero(), zero(), zero(), zero()
    q1, q2, q3 = q + stride, q + 2 * stride, q + 3 * stride
    for g in range(groups):
        s, k = sums + g * 4, scales + g * 4
        n0 = dot_start(int32_at(s))
        n1 = dot_start(int32_at(s + group_stride))
        n2 = dot_start(int32_at(s + 2 * group_stride))
        n3 = dot_start(int32_at(s + 3 * group_stride))
        for i in range(g * steps * 4, (g + 1) * steps * 4, 4):
            v = load_bytes(w)
            n0 = dot4(n0, v, splat4(q + i))
            n1 = dot4(n1, v, splat4(q1 + i))
            n2 = dot4(n2, v, splat4(q2 + i))
            n3 = dot4(n3, v, splat4(q3 + i))
            w += 64
        scale = load(w_scales + g * 64)
        f0 = fma(to_float(n0) * scale, splat(float_at(k)), f0)
        f1 = fma(to_float(n1) * scale, splat(float_at(k + group_stride)), f1)
        f2 = fma(to_float(n2) * scale, splat(float_at(k + 2 * group_stride)), f2)
        f3 = fma(to_float(n3) * scale, splat(float_at(k + 3 * group_stride)), f3)
    store(out, f0)
    store(out + out_stride, f1)
    store(out + 2 * out_stride, f2)
    store(out + 3 * out_stride, f3)


# ---------------------------------------------------------------------------------------------------------------- int4


@jit
def _add_eights(so_far, n, x_total, x_scale, scales):
    """A group of numbers that are stored 8 too large."""
    exact = nibble_sums(n) - splat_int(int32_at(x_total) * _EIGHT)
    return fma(to_float(exact) * load_float16(scales), splat(float_at(x_scale)), so_far)


@jit
def _add_offsets(so_far, n, x_total, x_scale, scales):
    """A group of numbers that have an offset behind their scales."""
    factor = splat(float_at(x_scale))
    so_far = fma(to_float(nibble_sums(n)) * load_float16(scales), factor, so_far)
    return fma(to_float(splat_int(int32_at(x_total))) * load_float16(scales + 32), factor, so_far)


def _int4_products(add_group, scale_bytes):
    """Products of matrices whose groups end with `add_group`, and have so many bytes of scales for 16 rows."""

    @jit
    def block(w, w_scales, groups, steps, q, scales, sums, out):
        """16 rows times one vector."""
        so_far = zero()
        for g in range(groups):
            n = nibble_start()
            for _ in range(steps // 2):
                prefetch(w + _AHEAD)
                v = load_bytes(w)
                n = dot4_nibbles(n, low_nibbles(v), splat4(q))
                n = dot4_nibbles(n, high_nibbles(v), splat4(q + 4))
                w += 64
                q += 8
            so_far = add_group(so_far, n, sums + g * 4, scales + g * 4, w_scales + g * scale_bytes)
        store(out, so_far)

    @jit
    def tile(w, w_scales, groups, steps, q, stride, scales, sums, group_stride, out, out_stride):
        """16 rows times four vectors."""
        f0, f1, f2, f3 = zero(), zero(), zero(), zero()
        q1, q2, q3 = q + stride, q + 2 * stride, q + 3 * stride
        for g in range(groups):
            n0, n1, n2, n3 = nibble_start(), nibble_start(), nibble_start(), nibble_start()
            for i in range(g * steps * 4, (g + 1) * steps * 4, 8):
                v = load_bytes(w)
                low = low_nibbles(v)
                n0 = dot4_nibbles(n0, low, splat4(q + i))
                n1 = dot4_nibbles(n1, low, splat4(q1 + i))
                n2 = dot4_nibbles(n2, low, splat4(q2 + i))
                n3 = dot4_nibbles(n3, low, splat4(q3 + i))
                high = high_nibbles(v)
                n0 = dot4_nibbles(n0, high, splat4(q + i + 4))
                n1 = dot4_nibbles(n1, high, splat4(q1 + i + 4))
                n2 = dot4_nibbles(n2, high, splat4(q2 + i + 4))
                n3 = dot4_nibbles(n3, high, splat4(q3 + i + 4))
                w += 64
            s, k, to = sums + g * 4, scales + g * 4, w_scales + g * scale_bytes
            f0 = add_group(f0, n0, s, k, to)
            f1 = add_group(f1, n1, s + group_stride, k + group_stride, to)
            f2 = add_group(f2, n2, s + 2 * group_stride, k + 2 * group_stride, to)
            f3 = add_group(f3, n3, s + 3 * group_stride, k + 3 * group_stride, to)
        store(out, f0)
        store(out + out_stride, f1)
        store(out + 2 * out_stride, f2)
        store(out + 3 * out_stride, f3)

    return block, tile


_int4_block, _int4_tile = _int4_products(_add_eights, 32)
_offset_block, _offset_tile = _int4_products(_add_offsets, 64)
