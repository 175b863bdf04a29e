"""The kernels of Llama-2 inference, each as one loop over plain numbers.

The loops only add, subtract, multiply, divide and compare, and call `exp`, `sqrt`, `cos`, `sin` and `max` by their
names in this module. They therefore run on any numbers: floats give the reference value (float64 arithmetic), Fraction
is exact, and a number that carries its own error gives a proved bound for every correct float32 implementation, in any
order of summation, with or without fused multiply-add (`llama2_ref/bounded.py`).

A vector is any sequence of numbers, a matrix any sequence of rows. No argument is changed. NaN and infinity go through
as in IEEE arithmetic, except where a docstring says otherwise. A wrong length raises ValueError.
"""

from collections.abc import Sequence
from math import cos, exp, sin, sqrt
from typing import Any

from .config import RopeScaling
from .quantize import dequantize_int8, matmul_int8, quantize_int4, quantize_int8

__all__ = [
    "add",
    "argmax",
    "attention",
    "dequantize_int8",
    "matmul",
    "matmul_int8",
    "quantize_int4",
    "quantize_int8",
    "rmsnorm",
    "rope",
    "rope_table",
    "silu",
    "softmax",
    "swiglu",
]

Number = Any
Vector = Sequence[Any]
Matrix = Sequence[Sequence[Any]]

max = max  # a name of this module, like exp and sqrt, so that other arithmetic can replace it


def _dot(a: Vector, b: Vector) -> Number:
    """sum_i a_i b_i, first to last."""
    total: Number = 0
    for x, y in zip(a, b, strict=True):
        total = total + x * y
    return total


def matmul(w: Matrix, x: Vector) -> list[Number]:
    """Matrix times vector: (m, n), (n) -> (m).

    y_i = sum_j w_ij x_j.

    Error bound: |y - y~| <= gamma_n |w| |x|, gamma_n = n u / (1 - n u), u = 2^-24 (Higham, Accuracy and Stability of
    Numerical Algorithms, 2002, section 3.1).

    >>> matmul([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [1.0, -1.0])
    [-1.0, -1.0, -1.0]
    """
    return [_dot(row, x) for row in w]


def add(x: Vector, y: Vector) -> list[Number]:
    """The residual connection: (n), (n) -> (n).

    x_i + y_i. Error bound: u |x_i + y_i|.

    >>> add([1.0, 2.0], [3.0, 4.0])
    [4.0, 6.0]
    """
    return [a + b for a, b in zip(x, y, strict=True)]


def rmsnorm(x: Vector, w: Vector, eps: Number) -> list[Number]:
    """Root mean square normalization: (n), (n), () -> (n).

    w_i x_i / sqrt(mean(x^2) + eps) (Zhang and Sennrich, arXiv:1910.07467, equation 4).

    eps must be positive: it is what a vector of zeros is divided by. Error bound: nothing cancels, so it is relative,
    and 4 u where the sum is kept in float64, as both packages do.

    >>> rmsnorm([3.0, -4.0], [2.0, 1.0], 3.5)
    [1.5, -1.0]
    """
    if not len(x):
        raise ValueError("rmsnorm needs at least one number (got none)")
    scale = 1.0 / sqrt(_dot(x, x) / len(x) + eps)
    return [weight * (value * scale) for weight, value in zip(w, x, strict=True)]


def rope_table(
    position: int, head_size: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[list[Number], list[Number]]:
    """Cosines and sines of rotary position embedding: -> (E/2), (E/2).

    The angle of pair i is `position * theta^(-2i/E)`, in radians (Su et al., arXiv:2104.09864, section 3.2.2);
    `position` counts tokens from 0. With `scaling`, the frequency theta^(-2i/E) becomes `scaling.scale` of it. Angles
    are float64 in every implementation; cosines and sines are rounded once, to its own precision. Error bound: u |cos|
    plus 2^-49 of the angle, times the sensitivity of a scaling.

    >>> rope_table(0, 4, 10000.0)
    ([1.0, 1.0], [0.0, 0.0])
    """
    check_head_size(head_size)
    frequencies = [theta ** (-i / head_size) for i in range(0, head_size, 2)]
    if scaling is not None:
        frequencies = [scaling.scale(frequency) for frequency in frequencies]
    angles = [position * frequency for frequency in frequencies]
    return [cos(angle) for angle in angles], [sin(angle) for angle in angles]


def check_head_size(head_size: int) -> None:
    """Raise ValueError unless the numbers of a head make pairs."""
    if head_size < 2 or head_size % 2:
        raise ValueError(f"head size must be positive and even, since RoPE rotates pairs (got {head_size})")


def rope(x: Vector, cosines: Vector, sines: Vector) -> list[Number]:
    """Rotate every pair of every head by its angle: (n), (E/2), (E/2) -> (n), n a multiple of E.

    Pairs are interleaved, (x_2i, x_2i+1), as in the paper (Su et al., arXiv:2104.09864, equation 34) and in llama2.c;
    files in the half-split order are permuted when they are read. Error bound: gamma_2 (|a| |c| + |b| |s|), and the
    table's error.

    >>> rope([1.0, 0.0, 0.0, 2.0], [0.0], [1.0])
    [0.0, 1.0, -2.0, 0.0]
    """
    if not len(cosines) or len(x) % (2 * len(cosines)) or len(cosines) != len(sines):
        got = f"{len(x)} numbers, {len(cosines)} cosines, {len(sines)} sines"
        raise ValueError(f"rope needs as many cosines as sines, and whole heads of twice that size (got {got})")
    out: list[Number] = []
    for i in range(0, len(x), 2):
        a, b = x[i], x[i + 1]
        c, s = cosines[i // 2 % len(cosines)], sines[i // 2 % len(sines)]
        out += [a * c - b * s, a * s + b * c]
    return out


def softmax(x: Vector) -> list[Number]:
    """Weights that are positive and sum to 1: (n) -> (n).

    exp(x_i - max x) / sum_j exp(x_j - max x), which equals exp(x_i) / sum_j exp(x_j) and can't overflow (Blanchard,
    Higham and Higham, IMA J. Numer. Anal. 41(4), 2021).

    If x_i is -infinity, the result is 0 there, provided that another x_j is finite. If any x_i is NaN or +infinity,
    the result holds NaN. Error bound: the interval of the sum, see `llama2_fast/conformance/closed.py`.

    >>> softmax([0.0, 0.0, float("-inf")])
    [0.5, 0.5, 0.0]
    """
    peak = max(x)
    powers = [exp(value - peak) for value in x]
    total: Number = 0
    for power in powers:
        total = total + power
    return [power / total for power in powers]


def attention(q: Vector, keys: Matrix, values: Matrix, n_heads: int) -> list[Number]:
    """Causal attention of one token with grouped queries: (H*E), (T, K*E), (T, K*E) -> (H*E).

    softmax(q k^T / sqrt(E)) v for each head (Vaswani et al., arXiv:1706.03762, equation 1); query head h reads
    key/value head h // (H/K) (Ainslie et al., arXiv:2305.13245, section 2.2). `keys` and `values` hold one row for each
    token that this one may see, itself included: the caller leaves later ones out, which makes it causal.

    Error bound: that of the scores, carried through softmax, and gamma_(T+2) for the weighted sum.

    >>> attention([1.0, 0.0], keys=[[0.0, 1.0], [0.0, 5.0]], values=[[2.0, 4.0], [4.0, 0.0]], n_heads=1)
    [3.0, 2.0]
    """
    _check_attention(q, keys, values, n_heads)
    size = len(q) // n_heads
    group = len(q) // len(keys[0])  # H/K: query heads that share a key/value head
    out: list[Number] = []
    for head in range(n_heads):
        query = q[head * size : (head + 1) * size]
        start = head // group * size
        scores = [_dot(query, key[start : start + size]) / sqrt(size) for key in keys]
        weights = softmax(scores)
        out += [_dot(weights, [value[j] for value in values]) for j in range(start, start + size)]
    return out


def _check_attention(q: Vector, keys: Matrix, values: Matrix, n_heads: int) -> None:
    """Raise ValueError unless there are as many values as keys, all of them whole heads."""
    widths = {len(row) for rows in (keys, values) for row in rows}
    if len(keys) != len(values) or len(widths) != 1 or len(q) % n_heads or len(q) % widths.pop():
        got = f"{len(q)} numbers for {n_heads} heads, {len(keys)} keys, {len(values)} values"
        raise ValueError(f"attention needs as many keys as values, at least one, and whole heads (got {got})")


def _sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x)), by exp(-|x|), since exp(710) is an OverflowError in Python."""
    e = exp(-abs(x))
    return (1.0 if x >= 0 else e) / (1.0 + e)


def silu(x: Vector) -> list[Number]:
    """Sigmoid linear unit: (n) -> (n).

    x / (1 + exp(-x)) (Elfwing et al., arXiv:1702.03118, equation 2; "swish" in Shazeer, arXiv:2002.05202).

    If x_i is -infinity, the result is NaN there (0 times infinity). Error bound: see `swiglu`.

    >>> silu([0.0, 1000.0, -1000.0])
    [0.0, 1000.0, -0.0]
    """
    return [value * _sigmoid(value) for value in x]


def swiglu(gate: Vector, up: Vector) -> list[Number]:
    """The gated unit of the feed-forward network: (n), (n) -> (n).

    silu(gate_i) up_i (Shazeer, arXiv:2002.05202, equation 6, without biases).

    Error bound: relative, 4 u for the roundings and K u (1 - sigmoid) for exp, whose own error is at most K u.

    >>> swiglu([0.0, 1000.0], [5.0, 0.5])
    [0.0, 500.0]
    """
    return [a * b for a, b in zip(silu(gate), up, strict=True)]


def argmax(x: Vector) -> int:
    """Index of the largest number, the lowest such index on ties: (n) -> (). NaN is not allowed: see NumericsError.

    >>> argmax([1.0, 3.0, 3.0])
    1
    """
    if not len(x):
        raise ValueError("argmax needs at least one number (got none)")
    best = 0
    for i in range(1, len(x)):
        if x[i] > x[best]:
            best = i
    return best
