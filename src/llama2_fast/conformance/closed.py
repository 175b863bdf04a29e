"""Closed formulas for the same bounds as in bounded.py, on whole arrays: for sizes where number objects are too slow.

`Ball` is an array of values (float64) and of errors. `ClosedKernels` are kernels on Balls, for one vector, so that the
reference's Transformer runs on them. Symbols are those of bounded.py.

dot product   gamma_n |w| |x| + n eta / 2, any order, FMA or not                        [Higham, section 3.1]
rmsnorm       sum, mean and eps in float64: relative, 4 u for sqrt, 1/., and two products, in any order
softmax       e^z with z off by d lies in E (1 +- rel) +- EXP_ABS, rel = e^d (1 + EXP_REL) - 1; a weight rises with its
              own power and falls with the others, so that hi / (hi + others' lo) and lo / (lo + others' hi) enclose it
attention     sum w v - o = sum (w - p)(v - o), since weights sum to 1 on both sides: sum |w - p| |v - o|
swiglu        the error of exp enters 1 + E with weight E / (1 + E) = 1 - sigmoid; |silu''| <= 1/2

Products are sums of numpy's own, not of BLAS, which may be what is judged. Matrices are widened a few rows at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref import kernels
from llama2_ref.bounded import ETA, EXP_ABS, EXP_REL, FLOAT32_MAX, TABLE_REL, U
from llama2_ref.config import RopeScaling

Array = NDArray[np.float64]

CACHED_NUMBERS = 2**17  # numbers of a matrix that are widened at a time: they should stay in a core's cache


def gamma(n: int) -> float:
    """gamma_n [Higham, Lemma 3.1]."""
    return n * U / (1 - n * U)


@dataclass(frozen=True)
class Ball:
    """Every array that differs from `value` by at most `error`, element by element."""

    value: Array
    error: Array

    def __len__(self) -> int:
        return len(self.value)


def ball(x: Any) -> Ball:
    """An array as a Ball, exact if it is not one yet."""
    if isinstance(x, Ball):
        return x
    value = np.asarray(x, np.float64)
    return Ball(value, np.zeros_like(value))


def limited(value: Array, error: Array, largest: Array) -> Ball:
    """A Ball that promises nothing where a number of size `largest` may come up and overflow."""
    return Ball(value, np.where(largest > FLOAT32_MAX, np.inf, error))


class ClosedKernels:
    """The kernels of llama2_ref on Balls."""

    def matmul(self, w: Any, x: Any) -> Ball:
        x = ball(x)
        size, g = np.abs(x.value) + x.error, gamma(len(x))
        value, error, largest = np.empty((3, len(w)))
        for rows in row_slices(w, len(x)):
            part = widened(w[rows])
            value[rows] = product(part, x.value)
            magnitudes = np.abs(part)
            largest[rows] = product(magnitudes, size)
            error[rows] = product(magnitudes, x.error) + g * largest[rows] if x.error.any() else g * largest[rows]
        return limited(value, error + len(x) * ETA / 2 * (1 + g), largest * (1 + g))

    def add(self, x: Any, y: Any) -> Ball:
        x, y = ball(x), ball(y)
        value, moved = x.value + y.value, x.error + y.error
        error = moved + U * (np.abs(value) + moved)
        return limited(value, error, np.abs(value) + error)

    def rmsnorm(self, x: Any, w: Any, eps: float) -> Ball:
        x, w = ball(x), np.asarray(w, np.float64)
        size, weight = np.abs(x.value), np.abs(w)
        v = np.mean(x.value**2) + eps
        dv = np.mean((2 * size + x.error) * x.error) + U * eps + (len(x) + 4) * 2.0**-53 * v
        if dv >= v:
            return Ball(w * x.value / np.sqrt(v), np.full(len(x), np.inf))
        scale, largest = v**-0.5, (v - dv) ** -0.5
        others = np.maximum(size + x.error, largest)  # factors of w in any order
        high = weight * (size + x.error) * (largest * (1 + gamma(4)) + ETA) + ETA * (1 + np.maximum(weight, others))
        return limited(w * x.value * scale, high - weight * size * scale, np.maximum(high, weight * others))

    def rope_table(
        self, position: int, head_size: int, theta: float, scaling: RopeScaling | None = None
    ) -> tuple[Ball, Ball]:
        frequency = theta ** (-np.arange(0, head_size, 2) / head_size)
        relative = TABLE_REL
        if scaling is not None:
            frequency = np.array([scaling.scale(value) for value in frequency.tolist()])
            relative *= scaling.sensitivity
        angle = position * frequency
        c, s = np.cos(angle), np.sin(angle)
        return Ball(c, U * np.abs(c) + relative * angle), Ball(s, U * np.abs(s) + relative * angle)

    def rope(self, x: Any, cosines: Any, sines: Any) -> Ball:
        x, c, s = ball(x), ball(cosines), ball(sines)
        value, error = x.value.reshape(-1, len(c), 2), x.error.reshape(-1, len(c), 2)
        a, b, da, db = value[..., 0], value[..., 1], error[..., 0], error[..., 1]
        size_a, size_b, size_c, size_s = (
            np.abs(a) + da,
            np.abs(b) + db,
            np.abs(c.value) + c.error,
            np.abs(s.value) + s.error,
        )

        def off(p: Array, dp: Array, size_p: Array, q: Array, dq: Array, size_q: Array) -> Array:
            """|p c - q s| and |p c + q s| alike: inputs, table, two products and a sum."""
            moved = size_p * c.error + dp * np.abs(c.value) + size_q * s.error + dq * np.abs(s.value)
            return moved + gamma(2) * (size_p * size_c + size_q * size_s) + ETA * (1 + gamma(2))

        errors = np.stack((off(a, da, size_a, b, db, size_b), off(b, db, size_b, a, da, size_a)), -1).reshape(len(x))
        values = np.stack((a * c.value - b * s.value, a * s.value + b * c.value), -1).reshape(len(x))
        return limited(values, errors, np.abs(values) + errors)

    def attention(self, q: Any, keys: Any, values: Any, n_heads: int) -> Ball:
        """Keys and values are taken as exact, as they are where taps have recorded them."""
        q, k, v = ball(q), widened(keys), widened(values)
        size = len(q) // n_heads
        group = len(q) // k.shape[1]
        parts = []
        for head in range(n_heads):
            own, shared = slice(head * size, (head + 1) * size), slice(head // group * size, (head // group + 1) * size)
            parts.append(_attention(q.value[own], q.error[own], k[:, shared], v[:, shared]))
        return Ball(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def swiglu(self, gate: Any, up: Any) -> Ball:
        a, b = ball(gate), ball(up)
        e = np.exp(-np.abs(a.value))
        sigmoid, rest = np.where(a.value < 0, e, 1) / (1 + e), np.where(a.value < 0, 1, e) / (1 + e)
        silu = a.value * sigmoid
        moved = np.abs(sigmoid * (1 + a.value * rest)) * a.error + a.error**2 / 4
        s, size_a, size_b = np.abs(silu) + moved, np.abs(a.value) + a.error, np.abs(b.value) + b.error
        phi = (1 + gamma(5)) / (1 - np.minimum(rest + a.error / 4, 1) * EXP_REL) - 1
        # EXP_ABS also pays for an exp(-a) that overflows, so that silu becomes 0: |silu| < |a| e^-88.7 < EXP_ABS |a|.
        under = (EXP_ABS + ETA) * size_a * size_b * (1 + phi) + ETA * (size_b + 1)
        error = moved * size_b + np.abs(silu) * b.error + phi * s * size_b + under
        return limited(silu * b.value, error, s * size_b + error)

    def quantize_int8(self, x: Any, group_size: int) -> Any:
        """From exact numbers only: see BoundedKernels."""
        if isinstance(x, Ball):
            raise TypeError("a bound can't be carried through the rounding to an integer")
        return kernels.quantize_int8(x, group_size)

    def dequantize_int8(self, q: Any, scale: Any, offset: Any = None) -> Ball:
        q, scale = np.asarray(q, np.float64), np.asarray(scale, np.float64)
        value = (q.reshape(len(scale), -1) * scale[:, None]).reshape(-1)
        product = Ball(value, U * np.abs(value) + ETA / 2)
        return product if offset is None else self.add(product, np.repeat(offset, len(q) // len(scale)))

    def matmul_int8(self, w_q: Any, w_scale: Any, x_q: Any, x_scale: Any, w_offset: Any = None) -> Ball:
        x_scale = np.asarray(x_scale, np.float64)
        groups = len(x_scale)
        g = gamma((1 if w_offset is None else 2) * groups + 1)
        x_groups = np.asarray(x_q, np.float64).reshape(groups, -1)
        value, size, under = np.empty((3, len(w_q)))
        for rows in row_slices(w_q, len(x_q)):
            scale = widened(w_scale[rows])
            sums = np.einsum("rgi,gi->rg", widened(w_q[rows]).reshape(-1, *x_groups.shape), x_groups)
            factors = x_scale
            if w_offset is not None:  # as a group of ones, with the offset for a scale
                ones = np.broadcast_to(np.sum(x_groups, axis=1), sums.shape)
                sums, scale = np.hstack((sums, ones)), np.hstack((scale, widened(w_offset[rows])))
                factors = np.hstack((x_scale, x_scale))
            terms = sums * scale * factors
            value[rows], size[rows] = np.sum(terms, axis=1), np.sum(np.abs(terms), axis=1)
            under[rows] = ETA / 2 * np.sum(np.abs(sums) + np.abs(factors) + np.abs(scale) + 1, axis=1) * (1 + g)
        return limited(value, g * size + under, size * (1 + g))


def row_slices(w: Any, cols: int) -> Iterator[slice]:
    """Slices of the rows of a matrix, of at most CACHED_NUMBERS numbers each where a row has no more."""
    step = max(1, CACHED_NUMBERS // cols)
    return (slice(start, start + step) for start in range(0, len(w), step))


def product(w: Array, x: Array) -> Array:
    """w x: (m, n), (n) -> (m). einsum has loops of its own, which are not BLAS."""
    product: Array = np.einsum("ij,j->i", w, x)
    return product


def widened(rows: Any) -> Array:
    """Rows of numbers of any kind, such as memory views, as one array of float64: (rows, cols)."""
    return np.asarray(rows if isinstance(rows, np.ndarray) else [np.asarray(row) for row in rows], np.float64)


def _attention(q: Array, dq: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """One head: (E), (E), (T, E), (T, E) -> value and error, (E) each."""
    count, size = k.shape
    sizes_k = np.abs(k)
    g, scale, magnitude = gamma(count - 1), size**-0.5, product(sizes_k, np.abs(q) + dq)
    ds = gamma(size + 3) * magnitude + product(sizes_k, dq)
    ds = ds * scale + ETA * (size * scale + 1 + np.sum(sizes_k, axis=1))
    p, off = _weights(product(k, q) * scale, ds)
    out = product(v.T, p)
    sizes = product(np.abs(v).T, p + off)
    error = (product(np.abs(v - out).T, off) + gamma(count + 2) * sizes) / (1 - g) + g / (1 - g) * np.abs(out)
    error = error + ETA * (count + np.sum(np.abs(v), axis=0))
    over = (np.max(magnitude) * (1 + gamma(size + 3)) > FLOAT32_MAX) | (
        sizes * (1 + gamma(2 * count + 2)) > FLOAT32_MAX
    )
    return out, np.where(over, np.inf, error)


def _weights(x: Array, dx: Array) -> tuple[Array, Array]:
    """Softmax of x, and how far the weights may lie from it that come of float32 powers: the interval form."""
    z = x - np.max(x)
    power = np.exp(z)
    d = np.minimum(dx + (np.abs(z) + dx + np.max(dx)) * U, 700)
    relative = np.expm1(d) + EXP_REL * np.exp(d)
    absolute = EXP_ABS * np.exp(min(float(np.max(dx)), 700.0))
    high, low = power * (1 + relative) + absolute, np.maximum(power * (1 - relative) - absolute, 0)
    p = power / np.sum(power)
    up = high / (high + (np.sum(low) - low)) - p
    down = p - low / (low + (np.sum(high) - high))
    return p, np.maximum(np.maximum(up, down), 0)
