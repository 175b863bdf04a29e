"""exp, cos and sin of our own: those of the system differ from machine to machine.

exp of float32: at most EXP_ULPS = 1.05 units in the last place from the exact value, over every float32 number (see
`tests/fuzz/test_simd.py`). The argument is reduced by multiples of ln 2 (Cody and Waite, Software Manual for the
Elementary Functions, 1980, chapter 6), the rest is a polynomial through the Chebyshev nodes of [-ln 2 / 2, ln 2 / 2].

cos and sin of float64: reduced by multiples of pi/2 with a constant of three parts and fused multiply-add, then Taylor
polynomials of degree 17 and 16, whose remainder is below 2^-57. Absolute error: 2^-52 for angles up to 2^20, 2^-51
up to 2^31 (measured by the same tests).
"""

from math import factorial

import numpy as np

from ..compiler.jit import jit
from .vectors import (
    choose,
    fma,
    fma_scalar,
    less,
    power_of_two,
    splat,
    to_int,
)

f32 = np.float32
_LOWEST, _HIGHEST = f32(-104), f32(89)  # beyond them the result is 0 and infinity
_LOG2E = f32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = f32(0.693145751953125), f32(1.4286068203094172e-06)
_ROUND = f32(1.5 * 2**23)  # adding and subtracting it rounds to a whole number, ties to even
_HALF, _ONE = f32(0.5), f32(1)
_C2, _C3, _C4, _C5, _C6 = f32(0.5), f32(0.16666518), f32(0.041666206), f32(0.00836889), f32(0.0013950492)

_PER_QUARTER = 0.6366197723675814  # 2 / pi
_PI_2 = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)  # pi/2, what that lacks, and so on
_ROUND_DOUBLE = 1.5 * 2.0**52
_SIN = tuple((-1) ** i / factorial(2 * i + 1) for i in range(1, 9))  # of x^3, x^5 ... x^17
_COS = tuple((-1) ** i / factorial(2 * i) for i in range(1, 9))  # of x^2, x^4 ... x^16


@jit
def exp(x):
    """e^x in each lane; NaN stays NaN."""
    x = choose(less(x, splat(_LOWEST)), splat(_LOWEST), x)
    x = choose(less(splat(_HIGHEST), x), splat(_HIGHEST), x)
    n = x * splat(_LOG2E) + splat(_ROUND) - splat(_ROUND)
    r = fma(n, splat(-_LN2_LOW), fma(n, splat(-_LN2_HIGH), x))
    p = fma(r, splat(_C6), splat(_C5))
    p = fma(r, p, splat(_C4))
    p = fma(r, p, splat(_C3))
    p = fma(r, p, splat(_C2))
    p = fma(r * r, p, r) + splat(_ONE)
    half = n * splat(_HALF) + splat(_ROUND) - splat(_ROUND)  # 2^n in two steps, since n may be below -126 or be 128
    return p * power_of_two(to_int(half)) * power_of_two(to_int(n - half))


@jit
def cos_sin(x):
    """Cosine and sine of a float64 angle in radians, from 0 to 2^31."""
    quarter_turns = x * _PER_QUARTER + _ROUND_DOUBLE - _ROUND_DOUBLE
    r = fma_scalar(-quarter_turns, _PI_2[0], x)
    r = fma_scalar(-quarter_turns, _PI_2[1], r)
    r = fma_scalar(-quarter_turns, _PI_2[2], r)
    square = r * r
    sine = fma_scalar(_polynomial(_SIN, square) * square, r, r)
    cosine = fma_scalar(_polynomial(_COS, square), square, 1.0)
    quarter = np.int64(quarter_turns) & 3
    if quarter == 0:
        return cosine, sine
    if quarter == 1:
        return -sine, cosine
    if quarter == 2:
        return -cosine, -sine
    return sine, -cosine


@jit
def _polynomial(coefficients, x):
    """Of degree 7, from the lowest coefficient to the highest."""
    p = coefficients[7]
    for i in range(6, -1, -1):
        p = fma_scalar(p, x, coefficients[i])
    return p
