"""Logits of another program beside the right ones: how far they are off, from where on, and why they diverge.

The right ones are a forward pass of the reference in float64, whose products are not BLAS. Beside them stand those of
an engine of this package, so that a distance can be told in units of what float32 rounding does to this model.

Two programs diverge where another token is the likeliest. There our choice a lies above theirs, b, by the margin
m = v[a] - v[b] of the right logits v. Whoever prefers b errs by at least m in the difference of the two, and so by
m / 2 in one of them: m <= 2 d explains the divergence of a program that may be off by d. Rounding moves logits by as
much as our engine is off, up to here: that is the d of a program that computes in float32. One that is more coarse
(float16 weights, say) is further off, but from the first position on: the ratio of its distance to ours is how coarse
it is. The smallest ratio at earlier positions, times ours, is therefore its d, and no more than it was ever off before.
A program that was as exact as ours at one position and is a thousand times as far off at the next has no such
explanation, even if it diverges only later. No tolerance is in this rule; at the first position only ours counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config
from llama2_ref.transformer import Transformer
from llama2_ref.weights import Weights

from .buffers import Tell
from .closed import ClosedKernels, product, row_slices, widened

Array = NDArray[Any]

SAME_FOR_ALL = 1000  # numbers of a row are off by one constant if what remains beside it is so many times smaller


@dataclass(frozen=True)
class Position:
    """What was found at one position."""

    position: int
    theirs: float  # the other program's largest distance from the right logits
    index: int  # where that is
    ours: float  # our engine's
    finite: bool  # are all of theirs? If not they diverge here, whatever comes
    likeliest: int
    their_likeliest: int
    margin: float  # v[likeliest] - v[their_likeliest]
    top2: float  # v[likeliest] less the second highest

    @property
    def times(self) -> float:
        """How many times as far off as ours."""
        return self.theirs / self.ours if self.ours else np.inf if self.theirs else 1.0

    @property
    def could_diverge(self) -> bool:
        """Is the other program further off than half the margin of the two likeliest, so that it could diverge?"""
        return self.top2 <= 2 * self.theirs

    @property
    def diverges(self) -> bool:
        """Is another token the likeliest?"""
        return not self.finite or self.likeliest != self.their_likeliest


@dataclass(frozen=True)
class Divergence:
    """A position at which the likeliest token is another one."""

    position: int
    likeliest: int
    their_likeliest: int
    margin: float
    top2: float
    before: float  # the other program's largest distance at earlier positions
    ours: float  # our engine's largest distance up to here
    coarseness: float  # the smallest multiple of our distance at earlier positions
    finite: bool  # are the other program's logits here?

    @property
    def allowed(self) -> float:
        """The largest margin that is explained."""
        return 2 * max(self.ours, min(self.before, self.coarseness * self.ours))

    @property
    def explained(self) -> bool:
        """Could a program that is off by so little prefer the other token?"""
        return self.margin <= self.allowed


@dataclass
class Findings:
    """Everything that was found, position by position."""

    positions: list[Position] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def worst(self) -> Position:
        """Where the other program is furthest off."""
        return max(self.positions, key=lambda p: p.theirs)

    @property
    def ours(self) -> float:
        """The largest distance of our engine."""
        return max(p.ours for p in self.positions)

    @property
    def rise(self) -> tuple[Position, float] | None:
        """The position at which the distance, in units of ours, rises most above all before, and what it was there."""
        best, factor, before = None, 1.0, 0.0
        for p in self.positions:
            if p.ours and p.theirs:
                if before and p.times > factor * before:
                    best, factor = (p, before), p.times / before
                before = max(before, p.times)
        return best

    @property
    def divergences(self) -> list[Divergence]:
        """Every position at which the two diverge, judged by those before it."""
        divergences, before, ours, coarseness = [], 0.0, 0.0, np.inf
        for p in self.positions:
            ours = max(ours, p.ours)
            if p.diverges:
                known = p.position, p.likeliest, p.their_likeliest, p.margin, p.top2
                divergences.append(Divergence(*known, before, ours, coarseness if before else 0.0, p.finite))
            before, coarseness = max(before, p.theirs), min(coarseness, p.times)
        return divergences


class ValueKernels(ClosedKernels):
    """The values of ClosedKernels without their bounds: float64 numbers."""

    def matmul(self, w: Any, x: Any) -> Any:
        value = np.empty(len(w))
        for rows in row_slices(w, len(x)):
            value[rows] = product(widened(w[rows]), np.asarray(x, np.float64))
        return value

    def add(self, x: Any, y: Any) -> Any:
        return super().add(x, y).value

    def rmsnorm(self, x: Any, w: Any, eps: float) -> Any:
        return super().rmsnorm(x, w, eps).value

    def rope_table(self, *args: Any) -> Any:
        cosines, sines = super().rope_table(*args)
        return cosines.value, sines.value

    def rope(self, x: Any, cosines: Any, sines: Any) -> Any:
        return super().rope(x, cosines, sines).value

    def attention(self, q: Any, keys: Any, values: Any, n_heads: int) -> Any:
        return super().attention(q, keys, values, n_heads).value

    def swiglu(self, gate: Any, up: Any) -> Any:
        return super().swiglu(gate, up).value

    def dequantize_int8(self, *args: Any) -> Any:
        return super().dequantize_int8(*args).value

    def matmul_int8(self, *args: Any) -> Any:
        return super().matmul_int8(*args).value


def judge_logits(
    config: Config, weights: Weights, tokens: Sequence[int], theirs: Array, ours: Array, tell: Tell
) -> Findings:
    """Rows of logits beside the right ones: of all tokens, or a single row of the last one. More rows are left out.

    `theirs` and `ours` are those of the other program and of our engine, `weights` what both compute with. Raises
    NumericsError if the model's own logits are not finite.
    """
    first = len(tokens) - 1 if len(theirs) == 1 else 0
    right = Transformer(config, weights, ValueKernels())
    cache, findings, shifts = right.new_cache(), Findings(), _Shifts()
    with np.errstate(all="ignore"):  # theirs may be anything
        for position, token in enumerate(tokens):
            value = right.forward([token], cache)
            if position >= first:
                row = np.asarray(theirs[position - first], np.float64)
                findings.positions.append(_compare(position, value, row, ours[position - first]))
                shifts.add(value, row)
            tell((position + 1) / len(tokens))
    findings.hints = shifts.hints()
    return findings


def _compare(position: int, value: Array, theirs: Array, ours: Array) -> Position:
    distance, finite = np.abs(theirs - value), bool(np.isfinite(theirs).all())
    distance[~np.isfinite(theirs)] = np.inf
    index, a, second = int(np.argmax(distance)), int(np.argmax(value)), np.sort(value)[-2:][0]
    b = int(np.argmax(theirs)) if finite else index
    return Position(
        position, float(distance[index]), index, float(np.max(np.abs(ours - value))), finite, a, b,
        float(value[a] - value[b]) if finite else np.inf, float(value[a] - second),
    )  # fmt: skip


class _Shifts:
    """Would the other program's rows fit better one position later or earlier, or less a constant?"""

    def __init__(self) -> None:
        self._value: Array | None = None
        self._row: Array | None = None
        self._fits = {"later": True, "earlier": True, "constant": True}
        self._count = 0

    def add(self, value: Array, row: Array) -> None:
        """Look at a position, and the one before it."""
        off = row - value
        distance = float(np.max(np.abs(off))) if np.isfinite(off).all() else np.inf
        self._fits["constant"] &= bool(distance < np.inf and np.ptp(off) * SAME_FOR_ALL < distance)
        if self._value is not None and self._row is not None:
            self._fits["later"] &= bool(np.max(np.abs(self._row - value)) * 2 < distance)
            self._fits["earlier"] &= bool(np.max(np.abs(row - self._value)) * 2 < distance)
        self._value, self._row, self._count = value, row, self._count + 1

    def hints(self) -> list[str]:
        """What would fit better, as sentences."""
        fitting = []
        if self._fits["constant"]:
            fitting.append("each row is off by one constant: these may be log-probabilities, which have the same order")
        for name in ("later", "earlier"):
            if self._count > 2 and self._fits[name]:
                fitting.append(
                    f"every row fits one position {name} better: is a token too many or missing, such as BOS?"
                )
        return fitting
