"""Honest float32 arithmetics: the reference's loops on numbers that sum in any order, fuse, divide by reciprocals.

Every one of them is a correct implementation, as far as the bounds are concerned, so that none may ever break one.
`implementations` has them all for a kernel, with numpy's and some other forms.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from ctypes import c_float
from dataclasses import dataclass
from typing import Any

import numpy as np

import llama2_fast
from llama2_fast.conformance.adversarial import KERNELS, f32
from llama2_ref import kernels
from llama2_ref.bounded import EXP_ABS, U, replacing

Order = Callable[[list[float]], float]


def round32(x: float) -> float:
    """The nearest float32 number; infinity beyond them.

    What comes here is exact or was rounded to float64, which moves a result by 2^-53 more: far less than SLACK allows.
    """
    return c_float(x).value


def sequential(terms: list[float]) -> float:
    """First to last. A term that is an exact product is rounded only together with the sum, as an FMA does."""
    total = round32(terms[0])
    for term in terms[1:]:
        total = round32(total + term)
    return total


def backwards(terms: list[float]) -> float:
    return sequential(terms[::-1])


def pairwise(terms: list[float]) -> float:
    if len(terms) <= 2:
        return sequential(terms)
    half = len(terms) // 2
    return round32(pairwise(terms[:half]) + pairwise(terms[half:]))


def lanes(terms: list[float], width: int = 16) -> float:
    """Sums of every 16th term, then these by halves: what SIMD code does."""
    return pairwise([sequential(terms[i::width]) for i in range(min(width, len(terms)))])


def falling(terms: list[float]) -> float:
    return sequential(sorted(terms, key=abs, reverse=True))


def worst(terms: list[float]) -> float:
    """Next always comes the term whose addition rounds down the most."""
    rest = np.array(terms)
    first = int(np.argmax(np.abs(rest)))
    total, rest = round32(rest[first]), np.delete(rest, first)
    with np.errstate(all="ignore"):
        while len(rest):
            sums = total + rest
            chosen = int(np.argmin(sums.astype(np.float32) - sums))
            total, rest = round32(sums[chosen]), np.delete(rest, chosen)
    return total


def exp_of_numpy(z: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.exp(np.float32(z)))


def exp_at_its_limit(z: float) -> float:
    """As far off as the contract of exp allows (EXP_REL, EXP_ABS): upwards for large results, downwards for others."""
    if z > 88.7:
        return exp_of_numpy(z)
    power = math.exp(z)
    # 2.99, since the result is rounded once more.
    return round32(power * (1 + (2.99 if z > -1 else -2.99) * U)) if power >= EXP_ABS else 0.0


@dataclass(frozen=True)
class Arithmetic:
    """How sums are ordered, whether products are fused into them, and which division and exp there are."""

    order: Order
    fused: bool = False
    reciprocal: bool = False
    exp: Callable[[float], float] = exp_of_numpy


ARITHMETICS = {
    "sequential": Arithmetic(sequential),
    "backwards": Arithmetic(backwards, reciprocal=True),
    "pairwise": Arithmetic(pairwise),
    "fused": Arithmetic(sequential, fused=True, reciprocal=True),
    "lanes": Arithmetic(lanes, fused=True),
    "falling": Arithmetic(falling, exp=exp_at_its_limit),
    "worst": Arithmetic(worst, reciprocal=True, exp=exp_at_its_limit),
}


class Single:
    """A float32 number, whose chain of additions is summed when it is used."""

    __slots__ = ("_value", "how", "terms")

    def __init__(self, terms: list[float], how: Arithmetic) -> None:
        self.terms, self.how = terms, how
        self._value: float | None = None

    @property
    def value(self) -> float:
        if self._value is None:
            self._value = round32(self.terms[0]) if len(self.terms) == 1 else self.how.order(self.terms)
        return self._value

    def _lifted(self, other: Any) -> "Single":
        return other if type(other) is Single else Single([round32(other)], self.how)

    def __add__(self, other: Any) -> "Single":
        if type(other) is not Single and other == 0:
            return self
        return Single(self.terms + self._lifted(other).terms, self.how)

    __radd__ = __add__

    def __neg__(self) -> "Single":
        return Single([-self.value] if len(self.terms) > 1 else [-self.terms[0]], self.how)

    def __sub__(self, other: Any) -> "Single":
        return self + -self._lifted(other)

    def __abs__(self) -> "Single":
        return self if self.value >= 0 else -self

    def __ge__(self, other: float) -> bool:
        return self.value >= other

    def __gt__(self, other: Any) -> bool:
        return self.value > self._lifted(other).value

    def __mul__(self, other: Any) -> "Single":
        product = self.value * self._lifted(other).value  # 48 bits: exact
        return Single([product if self.how.fused else round32(product)], self.how)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Single":
        divisor = self._lifted(other).value
        with contextlib.suppress(ZeroDivisionError):
            if self.how.reciprocal and self.value != 1:
                return Single([round32(self.value * round32(1 / divisor))], self.how)
            return Single([round32(self.value / divisor)], self.how)
        return Single([math.nan], self.how)

    def __rtruediv__(self, other: float) -> "Single":
        return self._lifted(other) / self

    def exp(self) -> "Single":
        return Single([self.how.exp(self.value)], self.how)


def _sqrt(x: Any) -> Any:
    if type(x) is not Single:  # of a size, which is divided by, and lifted there
        return math.sqrt(x)
    return Single([round32(math.sqrt(x.value)) if x.value >= 0 else math.nan], x.how)


FUNCTIONS = {"exp": Single.exp, "sqrt": _sqrt}  # llama2_ref.kernels' max compares, which Single numbers do


def run(name: str, args: Sequence[Any], how: Arithmetic) -> np.ndarray:
    """A kernel of the reference in this arithmetic. Arrays of float32 become Single numbers, integers stay."""
    with replacing(FUNCTIONS):
        result = getattr(kernels, name)(*(_lift(arg, how) for arg in args))
    return np.array([x.value if type(x) is Single else x for x in result], np.float32)


def _lift(x: Any, how: Arithmetic) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == np.float32:
        return _lift(x.tolist(), how)
    if isinstance(x, list):
        return [_lift(item, how) for item in x]
    return Single([round32(x)], how) if isinstance(x, float) else x


def implementations(name: str, wide: bool = False) -> dict[str, Callable[[tuple[Any, ...]], np.ndarray]]:
    """Correct implementations of a kernel; `wide`, of rmsnorm: those that sum in float64."""
    found: dict[str, Callable[[tuple[Any, ...]], np.ndarray]] = {
        "numpy": lambda args: _first_row(getattr(llama2_fast.kernels, name)(*args))
    }
    if name == "rmsnorm" and wide:
        return found | {form: lambda args, form=form: _rmsnorm_in(form, *args) for form in FORMS}
    if name == "rope_table":  # angles are float64, and cosines and sines rounded once, in all of them
        return found | {"math": lambda args: f32(np.concatenate(kernels.rope_table(*args)))}

    if name in ("silu", "swiglu"):
        found["1 / (1 + exp(-x))"] = lambda args: _plain_silu(*args)

    def of(how: Arithmetic) -> Callable[[tuple[Any, ...]], np.ndarray]:
        return lambda args: run(name, args, how)

    hows = ARITHMETICS if KERNELS[name].sums else {"sequential": ARITHMETICS["sequential"]}
    return found | {label: of(how) for label, how in hows.items()}


def _first_row(result: Any) -> np.ndarray:
    return np.concatenate(result) if isinstance(result, tuple) else np.asarray(result)


def _plain_silu(x: np.ndarray, up: np.ndarray | None = None) -> np.ndarray:
    """By exp(-x), which overflows below -88.7, where the result then is 0."""
    with np.errstate(all="ignore"):
        silu = x * (np.float32(1) / (np.float32(1) + np.exp(-x)))
    return silu if up is None else silu * up


FORMS = ("w (x r)", "(w x) r", "w (x / s)", "w (x fl(1/s))")


def _rmsnorm_in(form: str, x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    """r, or s = 1/r, is made in float64 of an eps in float32, and rounded; products are float32."""
    square = np.mean(np.square(x, dtype=np.float64)) + float(np.float32(eps))
    r, s = np.float32(square**-0.5), np.sqrt(np.float32(square))
    with np.errstate(all="ignore"):
        products = {
            "w (x r)": lambda: w * (x * r),
            "(w x) r": lambda: (w * x) * r,
            "w (x / s)": lambda: w * (x / s),
            "w (x fl(1/s))": lambda: w * (x * (np.float32(1) / s)),
        }
        return products[form]()
