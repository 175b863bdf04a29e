"""The kernels between the matrix products, each for one row of the batch: see llama2_ref.kernels for the formulas.

Rows are padded with zeros to whole vectors, and may be read and written up to there.
"""

import numpy as np

from ..compiler.jit import jit
from ..packed_layout import COLUMNS
from ..tables import FLOAT_BYTES, LANES, VECTOR_BYTES, WORD_BYTES
from .elementary import cos_sin, exp
from .vectors import (
    absolute,
    choose,
    double_at,
    first_lanes,
    float_at,
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
_SMALLEST_MAXIMUM = f32(127 * 2.0**-126)  # as in llama2_ref.quantize
_ROUND = f32(1.5 * 2**23)  # adding and subtracting it rounds to a whole number, ties to even
_ANGLE = 2 * FLOAT_BYTES  # bytes of a cosine and a sine in the table of rope


@jit
def rmsnorm(x, w, eps, n, out):
    """w x / sqrt(mean(x^2) + eps) of n numbers; the sum is float64."""
    low, high = splat_double(0.0), splat_double(0.0)
    for i in range(0, n * FLOAT_BYTES, VECTOR_BYTES):
        v = load(x + i)
        low = fma_double(lower_half(v), lower_half(v), low)
        high = fma_double(upper_half(v), upper_half(v), high)
    scale = splat_double(1.0 / root(total_double(low + high) / n + eps))
    for i in range(0, n * FLOAT_BYTES, VECTOR_BYTES):
        v = load(x + i)
        store(out + i, from_halves(lower_half(v) * scale, upper_half(v) * scale) * load(w + i))


@jit
def fill_rope_table(position, frequencies, half, table):
    """Cosine and sine, one behind the other, of each of E/2 angles."""
    for i in range(half):
        c, s = cos_sin(position * double_at(frequencies + i * WORD_BYTES))
        put_float(table + i * _ANGLE, f32(c))
        put_float(table + i * _ANGLE + FLOAT_BYTES, f32(s))


@jit
def rope(x, first, last, table, half):
    """Rotate the pairs among the numbers first..last of a row, both even, in place."""
    for i in range(first, last, 2):
        at, angle = x + i * FLOAT_BYTES, table + (i // 2 % half) * _ANGLE
        a, b, c, s = float_at(at), float_at(at + FLOAT_BYTES), float_at(angle), float_at(angle + FLOAT_BYTES)
        put_float(at, a * c - b * s)
        put_float(at + FLOAT_BYTES, a * s + b * c)


@jit
def swiglu(gate, up, first, last):
    """silu(gate) up in place of gate, for the vectors that hold the numbers first..last."""
    for i in range(first * FLOAT_BYTES, last * FLOAT_BYTES, VECTOR_BYTES):
        g = load(gate + i)
        e = exp(zero() - absolute(g))
        positive = choose(less(g, zero()), g * e, g)
        store(gate + i, positive / (splat(_ONE) + e) * load(up + i))


@jit
def add(x, y, first, last):
    """x + y in place of x, for the vectors that hold the numbers first..last."""
    for i in range(first * FLOAT_BYTES, last * FLOAT_BYTES, VECTOR_BYTES):
        store(x + i, load(x + i) + load(y + i))


@jit
def copy(x, n, out):
    """n numbers."""
    for i in range(0, n * FLOAT_BYTES, FLOAT_BYTES):
        put_float(out + i, float_at(x + i))


# ---------------------------------------------------------------------------------------------------------- quantizing


@jit
def quantize(x, m, out, error):
    """int8 numbers, scale and sum of each group, as matrix m asks for. As llama2_ref.quantize_int8, bit for bit.

    A number that is not finite is noted at `error`, if it is the first one of its row.
    """
    groups, size, group_quants = m.groups, m.group_size, m.steps * COLUMNS
    for g in range(groups):
        start = x + g * size * FLOAT_BYTES
        peak, difference = zero(), zero()
        for i in range(0, size, LANES):
            v = _first_numbers(start + i * FLOAT_BYTES, size - i)
            peak = choose(less(peak, absolute(v)), absolute(v), peak)
            difference = difference + (v - v)  # NaN where v is not finite
        top = largest(peak)
        scale = top / _Q_MAX
        finite = total(difference) == _ZERO
        if not finite:
            _note_not_finite(x, g * size, size, error)
        if top < _SMALLEST_MAXIMUM or not finite:
            scale = _ZERO
        put_float(out.scales + g * FLOAT_BYTES, scale)
        put_int32(out.sums + g * FLOAT_BYTES, _quantize_group(start, size, scale, out.quants + g * group_quants))


@jit
def _quantize_group(x, size, scale, out):
    """Put the numbers of a group, and return their sum."""
    sums = splat_int(np.int32(0))
    for i in range(0, size, LANES):
        q = sums - sums
        if scale != _ZERO:
            q = to_int(_first_numbers(x + i * FLOAT_BYTES, size - i) / splat(scale) + splat(_ROUND) - splat(_ROUND))
        store_bytes(out + i, q)
        sums = sums + q
    return total_int(sums)


@jit
def _first_numbers(x, count):
    """The first `count` numbers, zeros behind them."""
    return choose(first_lanes(count), load(x), zero())


@jit
def _note_not_finite(x, start, count, error):
    """Note the first number that is not finite: 1 + its index, and behind that its bits."""
    if int32_at(error) == 0:
        for i in range(start, start + count):
            v = float_at(x + i * FLOAT_BYTES)
            if v - v != _ZERO and int32_at(error) == 0:
                put_float(error + FLOAT_BYTES, v)
                put_int32(error, np.int32(i + 1))
