"""How close honest float32 implementations come to each bound: python tests/fuzz/tightness.py (make bounds-report).

For every kernel, size and derivation of its bound (`Bounded`: number objects, `Closed`: formulas) inputs that are made
for it are tried on several implementations, and a search then changes the worst of them for some seconds. A largest
part of the bound near 1 says that the bound can't be any smaller; a small one, that it might be, or that the inputs are
not bad enough. docs/bounds.md says how to read the table. The exit code is 1 if a bound is broken.
"""

# ruff: noqa: E402 (as a script it must find the folder tests first)

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

import numpy as np

from fuzz.arithmetic import implementations
from llama2_fast.conformance.adversarial import KERNELS, Inputs
from llama2_fast.conformance.closed import Ball, ClosedKernels
from llama2_fast.conformance.compare import Comparison, compare
from llama2_ref import CheckpointError
from llama2_ref.bounded import Bounded, BoundedKernels
from llama2_ref.support.files import write_whole

DERIVATIONS = {"Bounded": BoundedKernels(), "Closed": ClosedKernels()}
LARGEST_BOUNDED = {"attention": 64 * 64}  # numbers of a key/value head that number objects are still quick for
LOOSE = 0.05
UNDERFLOW = 2.0**-100  # bounds below this are those of results that underflow
PATIENCE = 60  # changes without success, after which the search begins anew
RANDOM = 40  # random inputs that the medians are of
SLOWEST = 600  # terms that the order "worst" is still quick for


class BrokenBoundError(Exception):
    """An implementation left its bound, or is wrong."""


@dataclass
class Row:
    """One line of the report."""

    kernel: str
    size: tuple[int, ...]
    derivation: str
    best: dict[tuple[str, bool], tuple[float, Inputs]] = field(default_factory=dict)  # by implementation, underflow
    usual: list[float] = field(default_factory=list)  # ratios of numpy on random inputs
    bounds: list[float] = field(default_factory=list)  # medians on random inputs
    squares: list[float] = field(default_factory=list)  # means of the results' squares there
    others: list[float] = field(default_factory=list)  # Closed over Bounded

    def largest(self, underflow: bool = False) -> tuple[float, str]:
        found = [(ratio, name) for (name, under), (ratio, _) in self.best.items() if under == underflow]
        return max(found, default=(0.0, "-"))

    def cells(self) -> dict[str, Any]:
        ratio, name = self.largest()
        under, _ = self.largest(underflow=True)
        numpy = self.best.get(("numpy", False), (0.0, ()))[0]
        return {
            "kernel": self.kernel,
            "size": " x ".join(map(str, self.size)),
            "bound": self.derivation,
            "closest": name,
            "largest": ratio,
            "numpy": numpy,
            "underflow": under or None,
            "usual": statistics.median(self.usual),
            "sees": statistics.median(self.bounds) / statistics.fmean(self.squares) ** 0.5,
            "Closed/Bounded": statistics.median(self.others) if self.others else None,
            "flag": "loose" if ratio < LOOSE else "numpy" if numpy < LOOSE else "",
        }


class Trial:
    """One kernel, size and derivation: tries inputs, and keeps the worst."""

    def __init__(self, kernel: str, size: tuple[int, ...], derivation: str) -> None:
        self.kernel, self.size, self.spec = kernel, size, KERNELS[kernel]
        self.row = Row(kernel, size, derivation)
        self.implementations = implementations(kernel, wide=derivation == "Closed")
        if np.prod(size) > SLOWEST:
            self.implementations.pop("worst", None)

    def bound(self, inputs: Inputs, derivation: str | None = None) -> Ball:
        args = self.spec.arguments(*inputs)
        return as_ball(getattr(DERIVATIONS[derivation or self.row.derivation], self.kernel)(*args))

    def judge(self, inputs: Inputs, name: str, bound: Ball) -> Comparison:
        """How close an implementation comes to its bound. Raises BrokenBoundError if it leaves that."""
        with np.errstate(all="ignore"):
            got = self.implementations[name](self.spec.arguments(*inputs))
        comparison = compare(got, bound)
        if not comparison.within:
            values = "\n".join(f"{array.dtype} {array.tolist()}" for array in inputs)
            raise BrokenBoundError(
                f"{self.kernel} {self.size}, {self.row.derivation}, {name}: {comparison}\ninputs:\n{values}"
            )
        key = name, comparison.bound < UNDERFLOW
        if comparison.ratio > self.row.best.get(key, (-1.0,))[0]:
            self.row.best[key] = comparison.ratio, inputs
        return comparison

    def begin(self, rng: np.random.Generator) -> None:
        """All designed inputs on all implementations, and random ones on numpy's."""
        for inputs in self.spec.designed(*self.size):
            bound = self.bound(inputs)
            for name in self.implementations:
                self.judge(inputs, name, bound)
        for _ in range(RANDOM):
            inputs = self.spec.random(rng, *self.size)
            bound = self.bound(inputs)
            self.judge(inputs, "numpy", bound)
            self.row.usual += self._ratios(inputs, bound)
            self.row.bounds.append(float(np.median(bound.error)))
            self.row.squares.append(float(np.mean(bound.value**2)))
            if self.row.derivation == "Closed" and runs(self.kernel, self.size, "Bounded"):
                self.row.others.append(float(np.median(bound.error / self.bound(inputs, "Bounded").error)))

    def _ratios(self, inputs: Inputs, bound: Ball) -> list[float]:
        got = self.implementations["numpy"](self.spec.arguments(*inputs)).astype(np.float64)
        ratios: list[float] = (np.abs(got - bound.value) / bound.error).tolist()
        return ratios

    def search(self, rng: np.random.Generator, seconds: float) -> None:
        """Change inputs at random, keep what raises the ratio, and begin anew where nothing does any more."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._climb(rng, end)

    def _climb(self, rng: np.random.Generator, end: float) -> None:
        name = str(rng.choice(list(self.implementations)))
        underflow = bool(rng.random() < 0.2)
        ratio, inputs = self.row.best.get((name, underflow), (-1.0, self.spec.random(rng, *self.size)))
        if rng.random() < 0.3:
            ratio, inputs = -1.0, self.spec.random(rng, *self.size)
        failures = 0
        while failures < PATIENCE and time.monotonic() < end:
            changed = mutated(rng, inputs)
            comparison = self.judge(changed, name, self.bound(changed))
            failures += 1
            if comparison.ratio >= ratio and (ratio < 0 or (comparison.bound < UNDERFLOW) == underflow):
                if comparison.ratio > ratio:
                    failures = 0
                ratio, inputs = comparison.ratio, changed


def as_ball(bounds: Any) -> Ball:
    """What kernels on Bounded numbers or on Balls return, as one Ball."""
    if isinstance(bounds, tuple):
        balls = [as_ball(part) for part in bounds]
        return Ball(np.concatenate([b.value for b in balls]), np.concatenate([b.error for b in balls]))
    if isinstance(bounds, Ball):
        return bounds
    assert all(type(x) is Bounded for x in bounds)
    return Ball(np.array([x.value for x in bounds]), np.array([x.error for x in bounds]))


def runs(kernel: str, size: tuple[int, ...], derivation: str) -> bool:
    """Is there this bound, and is it quick enough?"""
    if derivation == "Bounded":
        return int(np.prod(size)) <= LARGEST_BOUNDED.get(kernel, 2048)
    return hasattr(ClosedKernels, kernel)


def mutated(rng: np.random.Generator, inputs: Inputs) -> Inputs:
    """The same with some numbers of one array changed: by an ulp, a power of two, a new significand, to a neighbour."""
    changed = list(inputs)
    which = int(rng.integers(len(inputs)))
    x = inputs[which].copy()
    flat = x.reshape(-1)
    count = flat.size if rng.random() < 0.1 else int(rng.integers(1, 4))
    places = rng.integers(0, flat.size, count)
    old = flat[places]
    if x.dtype == np.int8:
        flat[places] = np.clip(old + rng.integers(-2, 3, count), -127, 127)
    elif x.dtype != np.float32:  # a position; sizes stay
        flat[places] = rng.integers(0, 2**17, count) if which == 0 else old
    else:
        flat[places] = _changed(rng, old, flat)
    changed[which] = x if x.dtype != np.float32 or np.isfinite(x).all() else inputs[which]
    return tuple(changed)


def _changed(rng: np.random.Generator, old: np.ndarray, all_of_them: np.ndarray) -> np.ndarray:
    kind = int(rng.integers(6))
    if kind == 0:
        return (old.view(np.int32) + rng.integers(-64, 65, old.size).astype(np.int32)).view(np.float32)
    if kind == 1:  # another significand
        bits = rng.integers(0, 2**23, old.size).astype(np.int32)
        return (old.view(np.int32) & np.int32(-(2**23)) | bits).view(np.float32)
    if kind == 2:
        return np.ldexp(old, rng.integers(-3, 4, old.size).astype(np.int32))
    if kind == 3:
        return rng.choice(all_of_them, old.size)
    if kind == 4:
        return -old
    return np.full_like(old, old[0])


def trials(kernels: list[str]) -> Iterator[Trial]:
    for kernel in kernels:
        for size in KERNELS[kernel].sizes:
            for derivation in DERIVATIONS:
                if runs(kernel, size, derivation):
                    yield Trial(kernel, size, derivation)


def report(rows: list[Row]) -> str:
    """A table in Markdown."""
    lines = []
    cells = [row.cells() for row in rows]
    names = list(cells[0])
    lines.append("| " + " | ".join(names) + " |")
    lines.append(
        "| " + " | ".join("---" if name in ("kernel", "bound", "closest") else "---:" for name in names) + " |"
    )
    lines += ["| " + " | ".join(_shown(name, cell[name]) for name in names) + " |" for cell in cells]
    return "\n".join(lines)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if name == "sees" else f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1e}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=_seconds, default=10.0, metavar="N", help="of search for each kernel (10)")
    parser.add_argument("--kernel", action="append", choices=list(KERNELS), help="only this one; may be repeated")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the search (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    args = parser.parse_args(argv)
    todo = list(trials(args.kernel or list(KERNELS)))
    try:
        rows = list(_rows(todo, args.seed, args.seconds))
    except BrokenBoundError as error:
        print(f"a bound is broken: {error}")
        return 1
    finally:
        _progress("")
    print(report(rows))
    if args.json:
        try:
            write_whole(args.json, [json.dumps([row.cells() for row in rows], indent=1).encode() + b"\n"])
        except CheckpointError as error:
            parser.error(str(error))
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be finite and not negative (got {text})")
    return seconds


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"must not be negative (got {text})")
    return seed


def _rows(todo: list[Trial], seed: int, seconds: float) -> Iterator[Row]:
    """Each trial, one after the other, from the same seed; those of one kernel share its seconds."""
    for i, trial in enumerate(todo):
        size = " x ".join(map(str, trial.size))
        _progress(f"{i + 1}/{len(todo)} {trial.kernel} {size} {trial.row.derivation}")
        rng = np.random.default_rng(seed)
        trial.begin(rng)
        trial.search(rng, seconds / sum(other.kernel == trial.kernel for other in todo))
        yield trial.row


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
