"""Matrix times vectors, for float32 rows and for int8 and int4 groups.

However many vectors, rows and threads there are, one number of the result is computed in one way:

- float32: lane l of 16 partial sums takes columns l, l + 16, l + 32 ... by fused multiply-add; then the fixed tree.
- int8, int4: the sum of a group is an exact integer; groups are added in their order, each as
  fma(float(sum) * w_scale, x_scale, so far).

Tiles only decide what is computed next to what. Packed matrices hold blocks of 16 rows, so that a lane is a row: in a
group, step by step, four columns of each of the 16 rows (int8), or eight, the second four in the upper half of the
bytes (int4).
"""

import numpy as np

from .fields import COLS, FLOAT32, GROUPS, INT8, KIND, SCALES, STEPS, WEIGHTS
from .jit import jit
from .vectors import (
    dot4,
    dot4_nibbles,
    dot_start,
    float_at,
    fma,
    high_nibbles,
    int32_at,
    int_at,
    load,
    load_bytes,
    low_nibbles,
    nibble_start,
    nibble_sums,
    put_float,
    splat,
    splat4,
    splat_int,
    store,
    to_float,
    total,
    zero,
)

BLOCK = 16  # rows
TOKENS = 4  # vectors in a tile of packed matrices
_EIGHT = np.int32(8)
_ROWS_AT_ONCE = 6  # rows of a float32 matrix that stay in the first cache while all vectors pass


@jit
def product(m, first, last, x, x_stride, quants, quant_stride, scales, sums, group_stride, count, out, out_stride):
    """Rows first..last of a matrix, times `count` vectors: x for float32 matrices, else quants, scales and sums.

    `first` is a multiple of BLOCK. A packed matrix writes whole blocks, zeros behind its last row.
    """
    kind = int_at(m + KIND)
    if kind == FLOAT32:
        _float_rows(m, first, last, x, x_stride, count, out, out_stride)
        return
    groups, steps = int_at(m + GROUPS), int_at(m + STEPS)
    bytes_in_block = groups * steps * 64 if kind == INT8 else groups * steps * 32
    for block in range(first // BLOCK, (last + BLOCK - 1) // BLOCK):
        w = int_at(m + WEIGHTS) + block * bytes_in_block
        w_scales = int_at(m + SCALES) + block * groups * 64
        to = out + block * 64
        t = 0
        while t + TOKENS <= count:
            q, s, n = quants + t * quant_stride, scales + t * group_stride, sums + t * group_stride
            if kind == INT8:
                _int8_tile(
                    w, w_scales, groups, steps, q, quant_stride, s, n, group_stride, to + t * out_stride, out_stride
                )
            else:
                _int4_tile(
                    w, w_scales, groups, steps, q, quant_stride, s, n, group_stride, to + t * out_stride, out_stride
                )
            t += TOKENS
        while t < count:
            q, s, n = quants + t * quant_stride, scales + t * group_stride, sums + t * group_stride
            if kind == INT8:
                _int8_block(w, w_scales, groups, steps, q, s, n, to + t * out_stride)
            else:
                _int4_block(w, w_scales, groups, steps, q, s, n, to + t * out_stride)
            t += 1


# ------------------------------------------------------------------------------------------------------------- float32


@jit
def _float_rows(m, first, last, x, x_stride, count, out, out_stride):
    stride = int_at(m + COLS) * 4
    w = int_at(m + WEIGHTS)
    if count < 3:
        for t in range(count):
            _float_vector(w, stride, first, last, x + t * x_stride, out + t * out_stride)
        return
    for start in range(first, last, _ROWS_AT_ONCE):
        end = start + _ROWS_AT_ONCE if start + _ROWS_AT_ONCE < last else last
        t = 0
        while t + 3 <= count:
            row = start
            while row + 2 <= end:
                _float_tile(
                    w + row * stride, stride, x + t * x_stride, x_stride, out + t * out_stride + row * 4, out_stride
                )
                row += 2
            if row < end:
                for i in range(t, t + 3):
                    put_float(out + i * out_stride + row * 4, _dot(w + row * stride, stride, x + i * x_stride))
            t += 3
        while t < count:
            _float_vector(w, stride, start, end, x + t * x_stride, out + t * out_stride)
            t += 1


@jit
def _float_vector(w, stride, first, last, x, out):
    row = first
    while row + 4 <= last:
        _four_dots(w + row * stride, stride, x, out + row * 4)
        row += 4
    while row < last:
        put_float(out + row * 4, _dot(w + row * stride, stride, x))
        row += 1


@jit
def _dot(w, length, x):
    """One row times one vector of so many bytes."""
    a = zero()
    for j in range(0, length, 64):
        a = fma(load(w + j), load(x + j), a)
    return total(a)


@jit
def _four_dots(w, stride, x, out):
    """Four rows times one vector."""
    w1, w2, w3 = w + stride, w + 2 * stride, w + 3 * stride
    a, b, c, d = zero(), zero(), zero(), zero()
    for j in range(0, stride, 64):
        v = load(x + j)
        a = fma(load(w + j), v, a)
        b = fma(load(w1 + j), v, b)
        c = fma(load(w2 + j), v, c)
        d = fma(load(w3 + j), v, d)
    put_float(out, total(a))
    put_float(out + 4, total(b))
    put_float(out + 8, total(c))
    put_float(out + 12, total(d))


@jit
def _float_tile(w, stride, x, x_stride, out, out_stride):
    """Two rows times three vectors."""
    a0, a1, a2, b0, b1, b2 = zero(), zero(), zero(), zero(), zero(), zero()
    x1, x2, w1 = x + x_stride, x + 2 * x_stride, w + stride
    for j in range(0, stride, 64):
        a, b = load(w + j), load(w1 + j)
        v = load(x + j)
        a0 = fma(a, v, a0)
        b0 = fma(b, v, b0)
        v = load(x1 + j)
        a1 = fma(a, v, a1)
        b1 = fma(b, v, b1)
        v = load(x2 + j)
        a2 = fma(a, v, a2)
        b2 = fma(b, v, b2)
    put_float(out, total(a0))
    put_float(out + 4, total(b0))
    put_float(out + out_stride, total(a1))
    put_float(out + out_stride + 4, total(b1))
    put_float(out + 2 * out_stride, total(a2))
    put_float(out + 2 * out_stride + 4, total(b2))


# ---------------------------------------------------------------------------------------------------------------- int8


@jit
def _int8_block(w, w_scales, groups, steps, q, scales, sums, out):
    """16 rows times one vector."""
    so_far = zero()
    for g in range(groups):
        n = dot_start(int32_at(sums + g * 4))
        for _ in range(steps):
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
def _int4_block(w, w_scales, groups, steps, q, scales, sums, out):
    """16 rows times one vector."""
    so_far = zero()
    for g in range(groups):
        n = nibble_start()
        for _ in range(steps // 2):
            v = load_bytes(w)
            n = dot4_nibbles(n, low_nibbles(v), splat4(q))
            n = dot4_nibbles(n, high_nibbles(v), splat4(q + 4))
            w += 64
            q += 8
        exact = nibble_sums(n) - splat_int(int32_at(sums + g * 4) * _EIGHT)
        so_far = fma(to_float(exact) * load(w_scales + g * 64), splat(float_at(scales + g * 4)), so_far)
    store(out, so_far)


@jit
def _int4_tile(w, w_scales, groups, steps, q, stride, scales, sums, group_stride, out, out_stride):
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
        s, k, scale = sums + g * 4, scales + g * 4, load(w_scales + g * 64)
        f0 = _add_group(f0, n0, s, k, scale)
        f1 = _add_group(f1, n1, s + group_stride, k + group_stride, scale)
        f2 = _add_group(f2, n2, s + 2 * group_stride, k + 2 * group_stride, scale)
        f3 = _add_group(f3, n3, s + 3 * group_stride, k + 3 * group_stride, scale)
    store(out, f0)
    store(out + out_stride, f1)
    store(out + 2 * out_stride, f2)
    store(out + 3 * out_stride, f3)


@jit
def _add_group(so_far, n, x_total, x_scale, w_scale):
    exact = nibble_sums(n) - splat_int(int32_at(x_total) * _EIGHT)
    return fma(to_float(exact) * w_scale, splat(float_at(x_scale)), so_far)
