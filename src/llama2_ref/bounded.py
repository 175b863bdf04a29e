"""Numbers that carry their own float32 error, and the reference's loops run on them.

`Bounded` is a value (float64) and the largest distance from it that the result of any correct float32 computation can
have here: in any order of summation, on any number of lanes, with or without fused multiply-add. The loops of
`llama2_ref.kernels`, run on such numbers, therefore give the right answer and its tolerance at once. What is assumed of
an implementation: round to nearest with gradual underflow, a division may be a product with the reciprocal, and exp
errs by at most EXP_REL e^z + EXP_ABS.

u = 2^-24 (U) is the unit roundoff, eta = 2^-149 (ETA) the smallest positive float32, gamma_n = n u / (1 - n u).
[Higham]: Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from . import kernels
from .config import RopeScaling

U, ETA, FLOAT32_MAX = 2.0**-24, 2.0**-149, 3.4028234663852886e38
EXP_REL = 4 * U  # numpy's SIMD exp errs by up to 2.541 ulp = 3.57 u: tests/fuzz/test_exp.py
# For exp that flushes what it scales by 2^-126, as PyTorch's attention does (below 2^-125.5: n = round(z / ln 2)),
# and sigmoid whose exp overflows: |x| e^x < 2.7e-37, x < -88.7.
EXP_ABS = 2.0**-125
TABLE_REL = 2.0**-49  # of an angle, for its pow and product in float64 on both sides
SLACK = 1 + 2.0**-26  # covers the float64 reference's own error, 2^-29 of the bound, and for evaluating the bound


class Bounded:
    """A value and its error.

    A chain of additions stays open: it knows the sum of its terms' errors, the sum of their magnitudes and how many
    there are, and is charged gamma_(n-1) times the magnitudes only when its result is used, so that the bound holds
    for any order of summation [Higham, section 4.2]. `*` and sqrt cost one rounding, which an FMA spares; `/` two,
    since it may be a product with the reciprocal. Plain numbers are exact float32 constants, such as weights; an
    inexact one, such as eps = 1e-5, is Bounded(eps, U * eps). 0 + x is x. Comparisons look at the value: the reference
    only branches between forms that agree where they meet.
    """

    __slots__ = ("_error", "count", "magnitude", "terms", "value")

    def __init__(self, value: float, terms: float = 0.0, magnitude: float | None = None, count: int = 1) -> None:
        self.value, self.terms, self.count = value, terms, count
        self.magnitude = abs(value) + terms if magnitude is None else magnitude
        self._error: float | None = None

    @property
    def error(self) -> float:
        """The largest distance from the value that a correct result can have."""
        if self._error is None:
            if self.count == 1:
                error = self.terms
            elif self.count == 2:
                error = self.terms + U * (abs(self.value) + self.terms)
            else:
                n = self.count - 1
                error = self.terms + n * U / (1 - n * U) * self.magnitude
            self._error = error if self.magnitude + error <= FLOAT32_MAX else math.inf
        return self._error

    def __add__(self, other: Any) -> "Bounded":
        if type(other) is not Bounded:
            if other == 0:
                return self
            return self + Bounded(other)
        count = self.count + other.count
        return Bounded(self.value + other.value, self.terms + other.terms, self.magnitude + other.magnitude, count)

    __radd__ = __add__

    def __neg__(self) -> "Bounded":
        return Bounded(-self.value, self.terms, self.magnitude, self.count)

    def __sub__(self, other: Any) -> "Bounded":
        difference: Bounded = self + -other
        return difference

    def __abs__(self) -> "Bounded":
        return self if self.value >= 0 else -self

    def __ge__(self, other: float) -> bool:
        return self.value >= other

    def __mul__(self, other: Any) -> "Bounded":
        error = self.error
        if type(other) is Bounded:
            value = self.value * other.value
            moved = abs(self.value) * other.error + (abs(other.value) + other.error) * error
        else:
            value = self.value * other
            moved = abs(other) * error
        return Bounded(value, moved + U * (abs(value) + moved) + ETA / 2)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Bounded":
        if type(other) is not Bounded:
            other = Bounded(other)
        value, smallest = self.value / other.value, abs(other.value) - other.error
        if smallest * FLOAT32_MAX <= 1:  # may be 0, or its reciprocal overflow
            return Bounded(value, math.inf)
        moved = (self.error + abs(value) * other.error) / smallest
        return Bounded(value, moved + 2.01 * U * (abs(value) + moved) + ETA * (1 + abs(self.value) + self.error))

    def __rtruediv__(self, other: float) -> "Bounded":
        return Bounded(other) / self

    def __float__(self) -> float:
        return self.value

    def sqrt(self) -> "Bounded":
        """The root, with one rounding."""
        value = math.sqrt(self.value)
        moved = value - math.sqrt(self.value - self.error) if self.error <= self.value else math.inf
        return Bounded(value, moved + U * (value + moved))

    def exp(self) -> "Bounded":
        """The power of e, which may err by EXP_REL of itself and by EXP_ABS."""
        if self.value + self.error > 88.7:  # float32 may overflow
            return Bounded(math.exp(min(self.value, 700.0)), math.inf)
        value = math.exp(self.value)
        return Bounded(value, math.exp(self.value + self.error) * (1 + EXP_REL) - value + EXP_ABS)


def bounding() -> contextlib.AbstractContextManager[None]:
    """Inside, the loops of llama2_ref.kernels work on Bounded numbers, and cosines and sines come out as such.

    max gives the largest value: softmax does not depend on what it takes off, so that an error of that matters only in
    the rounding of the difference, u times the error. (It also moves EXP_ABS, which has room for that.)
    """
    return replacing(FUNCTIONS)


@contextlib.contextmanager
def replacing(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Inside, the loops of llama2_ref.kernels call these functions of numbers instead of their own."""
    saved = {name: getattr(kernels, name) for name in functions}
    for name, function in functions.items():
        setattr(kernels, name, function)
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(kernels, name, function)


def _cos(angle: float, relative: float = TABLE_REL) -> Bounded:
    return Bounded(math.cos(angle), U * abs(math.cos(angle)) + relative * abs(angle))


def _sin(angle: float, relative: float = TABLE_REL) -> Bounded:
    return Bounded(math.sin(angle), U * abs(math.sin(angle)) + relative * abs(angle))


def _max(x: Sequence[Bounded]) -> Bounded:
    return Bounded(max(n.value for n in x), U * max(n.error for n in x))


def _sqrt(x: Any) -> Bounded:
    return lift(x).sqrt()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cos": _cos,
    "exp": Bounded.exp,
    "max": _max,
    "sin": _sin,
    "sqrt": _sqrt,
}  # names of llama2_ref.kernels


def lift(x: Any) -> Bounded:
    """A number as a Bounded one, exact if it is not one yet."""
    return x if type(x) is Bounded else Bounded(float(x))


def lift_all(x: Sequence[Any]) -> list[Bounded]:
    """A vector of numbers as Bounded ones."""
    return [lift(number) for number in x]


class BoundedKernels:
    """The kernels of llama2_ref, run on Bounded numbers: for one vector, and for a whole Transformer.

    Plain vectors are taken as exact. Integers must come from exact numbers, as those that a tap has recorded: a bound
    can't be carried through the rounding to an integer.
    """

    def matmul(self, w: Any, x: Any) -> list[Bounded]:
        return _run(kernels.matmul, _floats(w), lift_all(x))

    def add(self, x: Any, y: Any) -> list[Bounded]:
        return _run(kernels.add, lift_all(x), lift_all(y))

    def rmsnorm(self, x: Any, w: Any, eps: float) -> list[Bounded]:
        # The three factors may be multiplied in any order: a product of two may underflow, or overflow, that the
        # reference never makes. The scale is at most eps^-1/2.
        x, w = lift_all(x), _float_row(w)
        out, largest = _run(kernels.rmsnorm, x, w, Bounded(eps, U * eps)), eps**-0.5
        return [_in_any_order(*numbers, largest) for numbers in zip(out, x, w, strict=True)]

    def rope_table(
        self, position: int, head_size: int, theta: float, scaling: RopeScaling | None = None
    ) -> tuple[list[Bounded], list[Bounded]]:
        relative = TABLE_REL * (scaling.sensitivity if scaling else 1)
        with replacing({"cos": partial(_cos, relative=relative), "sin": partial(_sin, relative=relative)}):
            return kernels.rope_table(position, head_size, theta, scaling)

    def rope(self, x: Any, cosines: Any, sines: Any) -> list[Bounded]:
        return _run(kernels.rope, lift_all(x), lift_all(cosines), lift_all(sines))

    def softmax(self, x: Any) -> list[Bounded]:
        return _run(kernels.softmax, lift_all(x))

    def attention(self, q: Any, keys: Any, values: Any, n_heads: int) -> list[Bounded]:
        # The scale may be folded into q, whose own underflow then costs half a subnormal times the key.
        underflow = ETA / 2 * math.sqrt(len(q) / n_heads)
        query = [Bounded(x.value, x.error + underflow) for x in lift_all(q)]
        return _run(kernels.attention, query, _floats(keys), _floats(values), n_heads)

    def silu(self, x: Any) -> list[Bounded]:
        return _run(kernels.silu, lift_all(x))

    def swiglu(self, gate: Any, up: Any) -> list[Bounded]:
        return _run(kernels.swiglu, lift_all(gate), lift_all(up))

    def quantize_int8(self, x: Any, group_size: int) -> tuple[list[int], list[float]]:
        if any(type(number) is Bounded for number in x):
            raise TypeError("a bound can't be carried through the rounding to an integer")
        return kernels.quantize_int8(x, group_size)

    def dequantize_int8(self, q: Any, scale: Any, offset: Any = None) -> list[Bounded]:
        offsets = () if offset is None else (lift_all(offset),)
        return _run(kernels.dequantize_int8, [int(number) for number in q], lift_all(scale), *offsets)

    def matmul_int8(self, w_q: Any, w_scale: Any, x_q: Any, x_scale: Any, w_offset: Any = None) -> list[Bounded]:
        rows = [[int(number) for number in row] for row in w_q]
        offsets = () if w_offset is None else ([lift_all(row) for row in w_offset],)
        return _run(kernels.matmul_int8, rows, [lift_all(row) for row in w_scale], x_q, lift_all(x_scale), *offsets)


def _in_any_order(product: Bounded, x: Bounded, w: float, scale: float) -> Bounded:
    """x w scale, of which two other factors may be multiplied first; `scale` is the largest that it may be."""
    size = max(abs(x.value) + x.error, scale)
    overflows = abs(w) * size > FLOAT32_MAX
    return Bounded(product.value, math.inf if overflows else product.error + ETA * size)


def _run(kernel: Callable[..., list[Bounded]], *args: Any) -> list[Bounded]:
    with bounding():
        return kernel(*args)


def _float_row(row: Any) -> list[Any]:
    """Python's floats, not numpy's, whose arithmetic would stay in float32."""
    return row.tolist() if hasattr(row, "tolist") else list(row)


def _floats(rows: Any) -> list[list[Any]]:
    return [_float_row(row) for row in rows]
