"""The kernels between the matrix products, each for one row of the batch: see llama2_ref.kernels for the formulas.

Rows are padded with zeros to whole vectors, and may be read and written up to there.
"""

import numpy as np

from ..compiler.jit import jit
from ..fields import LANES
from .elementary import cos_sin, exp
from .vectors import (
    absolute,
    choose,
    double_at,
    first_lanes,
    float_at,
    fma,
    fma_double,
    from_halves,
    int32_at,
    largest,
    less,
    load,
    lower_half,
    put_float,
    put_int32,
    root,
    splat,
    splat_double,
    splat_int,
    store,
    store_bytes,
    to_int,
    total,
    total_double,
    total_int,
    upper_half,
    zero,
)

f32 = np.float32
_ZERO, _ONE, _Q_MAX = f32(0), f32(1), f32(127)
_LOWEST = f32(-np.inf)
_SMALLEST_MAXIMUM = f32(127 * 2.0**-126)  # as in llama2_ref.quantize
_ROUND = f32(1.5 * 2**23)
VECTOR = 4 * LANES  # bytes
_AT_ONCE = 4  # vectors of a head's values that are added up together


@jit
def rmsnorm(x, w, eps, n, out):
    """w x / sqrt(mean(x^2) + eps) of n numbers; the sum is float64."""
    low, high = splat_double(0.0), splat_double(0.0)
    for i in range(0, n * 4, VECTOR):
        v = load(x + i)
        low = fma_double(lower_half(v), lower_half(v), low)
        high = fma_double(upper_half(v), upper_half(v), high)
    scale = splat_double(1.0 / root(total_double(low + high) / n + eps))
    for i in range(0, n * 4, VECTOR):
        v = load(x + i)
        store(out + i, from_halves(lower_half(v) * scale, upper_half(v) * scale) * load(w + i))


@jit
def turns(position, frequencies, half, out):
    """Cosine and sine, one behind the other, of each of E/2 angles."""
    for i in range(half):
        c, s = cos_sin(position * double_at(frequencies + i * 8))
        put_float(out + i * 8, f32(c))
        put_float(out + i * 8 + 4, f32(s))


@jit
def rope(x, first, last, table, half):
    """Rotate the pairs among the numbers first..last of a row, both even, in place."""
    for i in range(first, last, 2):
        at, turn = x + i * 4, table + (i // 2 % half) * 8
        a, b, c, s = float_at(at), float_at(at + 4), float_at(turn), float_at(turn + 4)
        put_float(at, a * c - b * s)
        put_float(at + 4, a * s + b * c)


@jit
def swiglu(gate, up, first, last):
    """silu(gate) up in place of gate, for the vectors that hold the numbers first..last."""
    for i in range(first * 4, last * 4, VECTOR):
        g = load(gate + i)
        e = exp(zero() - absolute(g))
        positive = choose(less(g, zero()), g * e, g)
        store(gate + i, positive / (splat(_ONE) + e) * load(up + i))


@jit
def add(x, y, first, last):
    """x + y in place of x, for the vectors that hold the numbers first..last."""
    for i in range(first * 4, last * 4, VECTOR):
        store(x + i, load(x + i) + load(y + i))


@jit
def copy(x, n, out):
    """n numbers."""
    for i in range(0, n * 4, 4):
        put_float(out + i, float_at(x + i))


# ---------------------------------------------------------------------------------------------------------- quantizing


@jit
def quantize(x, groups, group, steps, quants, scales, sums, error):
    """int8 numbers, scale and sum of each group. As llama2_ref.quantize_int8, bit for bit.

    A number that is not finite is noted at `error`, if it is the first one of its row.
    """
    for g in range(groups):
        start, to = x + g * group * 4, quants + g * steps * 4
        peak, odd = zero(), zero()
        for i in range(0, group, LANES):
            v = _some(start + i * 4, group - i)
            peak = choose(less(peak, absolute(v)), absolute(v), peak)
            odd = odd + (v - v)
        top = largest(peak)
        scale = top / _Q_MAX
        finite = total(odd) == _ZERO
        if not finite:
            _note(x, g * group, group, error)
        if top < _SMALLEST_MAXIMUM or not finite:
            scale = _ZERO
        put_float(scales + g * 4, scale)
        put_int32(sums + g * 4, _quantize_group(start, group, scale, to))


@jit
def _quantize_group(x, group, scale, out):
    count = splat_int(np.int32(0))
    for i in range(0, group, LANES):
        q = count - count
        if scale != _ZERO:
            q = to_int(_some(x + i * 4, group - i) / splat(scale) + splat(_ROUND) - splat(_ROUND))
        store_bytes(out + i, q)
        count = count + q
    return total_int(count)


@jit
def _some(x, count):
    """The first `count` numbers, zeros behind them."""
    return choose(first_lanes(count), load(x), zero())


@jit
def _note(x, start, count, error):
    if int32_at(error) == 0:
        for i in range(start, start + count):
            v = float_at(x + i * 4)
            if v - v != _ZERO and int32_at(error) == 0:
                put_float(error + 4, v)
                put_int32(error, np.int32(i + 1))


# ----------------------------------------------------------------------------------------------------------- attention


@jit
def attend(q, keys, values, length, size, scale, scores, out):
    """One query head on `length` keys and values: softmax(q k / sqrt(E)) v.

    Keys are blocks of (E, 16): a lane is a position. Values are rows of E numbers, padded. `scores` has room for E
    numbers and, behind them, for the positions and one more vector, `out` for E numbers and no more.
    """
    width = (size + LANES - 1) // LANES * VECTOR
    query, weights = scores, scores + width
    for i in range(size):
        put_float(query + i * 4, float_at(q + i * 4) * scale)
    top = _scores(query, keys, length, size, weights)
    _normalize(weights, length, top)
    _weighted(weights, values, length, size, width, query)
    copy(query, size, out)


@jit
def _scores(query, keys, length, size, out):
    """q k of every position, and the greatest of them. Lanes behind the last one become -infinity."""
    top = splat(_LOWEST)
    for start in range(0, length, 2 * LANES):
        a, b = zero(), zero()
        block = keys + start * size * 4
        more = start + LANES < length
        second = block + size * VECTOR if more else block
        for i in range(size):
            v = splat(float_at(query + i * 4))
            a = fma(v, load(block + i * VECTOR), a)
            b = fma(v, load(second + i * VECTOR), b)
        a = choose(first_lanes(length - start), a, splat(_LOWEST))
        b = choose(first_lanes(length - start - LANES), b, splat(_LOWEST))
        store(out + start * 4, a)
        store(out + start * 4 + VECTOR, b)
        a = choose(less(a, b), b, a)
        top = choose(less(top, a), a, top)
    return largest(top)


@jit
def _normalize(weights, length, top):
    """exp(score - top), over their sum."""
    so_far = zero()
    for i in range(0, length * 4, VECTOR):
        e = exp(load(weights + i) - splat(top))
        store(weights + i, e)
        so_far = so_far + e
    whole = splat(total(so_far))
    for i in range(0, length * 4, VECTOR):
        store(weights + i, load(weights + i) / whole)


@jit
def _weighted(weights, values, length, size, width, out):
    """The sum of all values, each by its weight."""
    i = 0
    while i + _AT_ONCE * LANES <= size:
        v = values + i * 4
        a, b, c, d = zero(), zero(), zero(), zero()
        for t in range(length):
            p = splat(float_at(weights + t * 4))
            a = fma(p, load(v), a)
            b = fma(p, load(v + VECTOR), b)
            c = fma(p, load(v + 2 * VECTOR), c)
            d = fma(p, load(v + 3 * VECTOR), d)
            v += width
        store(out + i * 4, a)
        store(out + i * 4 + VECTOR, b)
        store(out + i * 4 + 2 * VECTOR, c)
        store(out + i * 4 + 3 * VECTOR, d)
        i += _AT_ONCE * LANES
    while i < size:
        v = values + i * 4
        a = zero()
        for t in range(length):
            a = fma(splat(float_at(weights + t * 4)), load(v), a)
            v += width
        store(out + i * 4, a)
        i += LANES
