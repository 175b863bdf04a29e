"""A result beside its bound: how far it is off, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.bounded import SLACK, Bounded

from .closed import Ball


@dataclass(frozen=True)
class Comparison:
    """The worst place of a result: the one whose distance from the right value is the largest part of its bound."""

    index: tuple[int, ...]
    got: float
    value: float  # what it should be
    bound: float  # how far from that it may be
    ratio: float  # of the distance to the bound; 0 where the bound is infinite, infinite for what is not a number
    wrong: int  # how many numbers break their bound
    size: int

    @property
    def distance(self) -> float:
        """How far from the right value the worst number is."""
        return abs(self.got - self.value)

    @property
    def within(self) -> bool:
        """Does every number keep its bound?"""
        return self.wrong == 0

    def __str__(self) -> str:
        where = f"[{', '.join(map(str, self.index))}], {self.wrong} of {self.size} wrong"
        return f"{where}: {self.got!r} should be {self.value!r} +- {self.bound:.3g}, is {self.ratio:.3g} times that off"


def compare(got: Any, expected: Ball | Sequence[Any]) -> Comparison:
    """A result beside what it should be: a Ball, a vector of Bounded numbers, or rows of them.

    NaN and infinity keep a bound only where that is infinite, which is where float32 may overflow. Raises ValueError if
    the shapes differ: nothing is stretched.
    """
    value, error = _arrays(expected)
    got = np.asarray(got)
    if got.shape != value.shape:
        raise ValueError(f"shape must be {value.shape} (got {got.shape})")
    if not got.size:
        return Comparison((), 0.0, 0.0, 0.0, 0.0, 0, 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance = np.abs(got.astype(np.float64) - value)
        ratio = np.where(distance == 0, 0.0, distance / error)
    ratio[np.isnan(ratio)] = np.inf
    ratio[np.isinf(error)] = 0
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    wrong = int(np.sum(ratio > SLACK))
    return Comparison(
        place, float(got[place]), float(value[place]), float(error[place]), float(ratio[place]), wrong, got.size
    )


def _arrays(expected: Ball | Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and errors, (n) or (T, n)."""
    if isinstance(expected, Ball):
        return expected.value, expected.error
    if len(expected) and not isinstance(expected[0], Bounded):
        rows = [_arrays(row) for row in expected]
        return np.stack([value for value, _ in rows]), np.stack([error for _, error in rows])
    return np.array([x.value for x in expected]), np.array([x.error for x in expected])
