"""Inputs on which rounding errors add up, for every kernel: where a search for the largest error begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref import kernels

Array = NDArray[Any]
Inputs = tuple[Array, ...]
EPS = 1e-5
THETA = 10000.0
GROUP = 32
HALF = 2.0**-24  # half a unit in the last place of 1: 1 + HALF is a tie, and becomes 1
TINY = 2.0**-75  # TINY^2 is half the smallest number: a tie again, and becomes 0
LOST = -16.6356  # e^LOST is just below HALF


def f32(x: Any) -> Array:
    """Numbers, rounded to float32."""
    return np.asarray(x, np.float32)


def first(n: int, one: float, others: float) -> Array:
    """One number, followed by n - 1 equal ones."""
    x = np.full(n, others, np.float32)
    x[0] = one
    return x


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Normally distributed numbers."""
    return f32(rng.standard_normal(shape))


@dataclass(frozen=True)
class Kernel:
    """A kernel, its sizes, its inputs, and how it is called with them."""

    sizes: Sequence[tuple[int, ...]]
    random: Callable[..., Inputs]  # of a generator and a size
    designed: Callable[..., list[Inputs]]  # of a size
    arguments: Callable[..., tuple[Any, ...]] = lambda *inputs: inputs
    sums: bool = True  # is there anything to sum, in one order or another?


def _matmul(n: int) -> list[Inputs]:
    ones = np.ones(n, np.float32)
    rows = [
        first(n, 1, HALF),
        first(n, 1, HALF)[::-1].copy(),
        first(n, -1, HALF),
        np.full(n, 1 / 3, np.float32),
        f32(np.where(np.arange(n) % 2, -1, 1 + 2.0**-20)),
        f32(1 + np.arange(n) % 7 / 7),
    ]
    both = [(row[None], ones) for row in rows]
    tie = np.full(n, 1 + 2.0**-12, np.float32)  # its square is a tie
    return [*both, (tie[None], tie), (np.full((1, n), TINY, np.float32), np.full(n, TINY, np.float32))]


def _rmsnorm(n: int) -> list[Inputs]:
    ones = np.ones(n, np.float32)
    xs = [first(n, 1, 2.0**-12), first(n, 1, 2.0**-12)[::-1].copy(), ones / 3, first(n, 1000, 1e-3), ones * 1e-4]
    tiny = [ones * f32(1e-40), first(n, 1, 1e-42)]
    return [(f32(x), f32(w)) for x in [*xs, *tiny] for w in (ones, ones * 1.7)]


def _softmax(n: int) -> list[Inputs]:
    down = -np.arange(n) / max(1, n - 1)
    rows = [np.zeros(n), first(n, 0, LOST), first(n, 0, LOST)[::-1], first(n, 0, -1), first(n, -1, 0), down, 10 * down]
    rows += [87 * down, 1000 + first(n, 0, -0.7), 1e4 + 16 * down, first(n, 0, -87), first(n, 0, -95), 104 * down]
    return [(f32(row).copy(),) for row in rows]


def _attention(t: int, e: int) -> list[Inputs]:
    """One head. Scores are made by the first number of each key."""
    q = first(e, e**0.5, 0)
    scores = [np.zeros(t), first(t, 0, LOST), first(t, 0, LOST)[::-1], first(t, 0, -3), -30 * np.arange(t) / t]
    above = 1 + 2.0**-20  # below 1 numbers are twice as dense, and nothing would be lost
    columns = [
        first(t, 1, 1),
        first(t, above, -1),
        f32(np.where(np.arange(t) % 2, -1, 1)),
        first(t, 2.0**-140, 2.0**-141),
    ]
    out: list[Inputs] = []
    for score in scores:
        keys = np.zeros((t, e), np.float32)
        keys[:, 0] = score
        out += [(q, keys, np.repeat(column[:, None], e, 1)) for column in columns]
    lost = np.full((t, e), 64, np.float32)  # scores, of every other key, whose sums lose all terms but the first
    lost[1::2, 1:] = 0
    out.append((first(e, 1, HALF), lost, np.repeat(columns[2][:, None], e, 1)))
    huge = np.zeros((t, e), np.float32)  # against a query that is rounded by half of itself where it takes up the scale
    huge[::2] = 2.0**127
    out.append((np.full(e, 3 * 2.0**-149, np.float32), huge, np.repeat(columns[2][:, None], e, 1)))
    return out


def _gates(n: int) -> list[Array]:
    ranges = ((-90, -85), (-104, -88), (-1, 1), (-20, 20), (1, 1e6), (-1e-30, 1e-30), (-1e-39, 1e-39))
    return [f32(np.linspace(low, high, n)) for low, high in ranges]


def _swiglu(n: int) -> list[Inputs]:
    ups = (np.ones(n), np.linspace(1, 2, n), np.full(n, 1e-3), np.full(n, 2.0**-140))
    return [(gate, f32(up)) for gate in _gates(n) for up in ups]


def _rope_table(position: int, head_size: int) -> Inputs:
    cosines, sines = kernels.rope_table(position, head_size, THETA)
    return f32(cosines), f32(sines)


def _rope(n: int) -> list[Inputs]:
    tables = [_rope_table(position, n) for position in (0, 1, 777, 100_000)]
    ones = np.ones(n, np.float32)
    xs = (
        ones,
        ones / 3,
        f32(1 + np.arange(n) % 7 / 7),
        ones * f32(2.0**-145),
        f32(np.where(np.arange(n) % 2, 1e-3, 1)),
    )
    return [(f32(x), *table) for x in xs for table in tables]


def _groups(rng: np.random.Generator, groups: int, rows: int = 1) -> tuple[Array, Array]:
    q = rng.integers(-127, 128, (rows, groups * GROUP)).astype(np.int8)
    return q, f32(rng.uniform(0.5, 2, (rows, groups)))


def _matmul_int8(n: int) -> list[Inputs]:
    groups = n // GROUP
    one = np.zeros(n, np.int8)
    one[::GROUP] = 1  # every group's sum is 1
    full = np.full(n, 127, np.int8)
    scales = [first(groups, 1, 2.0**-12), first(groups, 1, 2.0**-12)[::-1], np.full(groups, 1 + 2.0**-12)]
    scales += [np.full(groups, 1 / 3), np.full(groups, TINY)]
    return [(q[None], f32(s)[None], q, f32(s)) for q in (one, full) for s in scales]


def _random_int8(rng: np.random.Generator, n: int) -> Inputs:
    (w, w_scale), (x, x_scale) = _groups(rng, n // GROUP), _groups(rng, n // GROUP)
    return w, w_scale, x[0], x_scale[0]


def _dequantize(n: int) -> list[Inputs]:
    q = f32(np.linspace(-127, 127, n)).astype(np.int8)
    return [(q, np.full(n // GROUP, s, np.float32)) for s in (1, 1 / 3, 1 + 2.0**-23, 1.01, 2.0**-149, 1e-42)]


LENGTHS = [(n,) for n in (4, 16, 64, 288, 768, 2048)]
KERNELS = {
    "matmul": Kernel(LENGTHS, lambda rng, n: (normal(rng, 1, n), normal(rng, n)), _matmul),
    "add": Kernel(
        [(64,)],
        lambda rng, n: (normal(rng, n), normal(rng, n)),
        lambda n: [(first(n, 1, 1), np.full(n, s, np.float32)) for s in (HALF, -HALF / 2, 1 / 3, 2.0**-149)],
        sums=False,
    ),
    "rmsnorm": Kernel(
        LENGTHS,
        lambda rng, n: (normal(rng, n), f32(1 + 0.1 * normal(rng, n))),
        _rmsnorm,
        lambda x, w: (x, w, EPS),
    ),
    "rope_table": Kernel(
        [(64,), (128,)],
        lambda rng, e: (rng.integers(0, 4096, 1), np.array([e])),
        lambda e: [(np.array([p]), np.array([e])) for p in (0, 1, 511, 4095, 100_000)],
        lambda p, e: (int(p[0]), int(e[0]), THETA),
        sums=False,
    ),
    "rope": Kernel(
        [(64,)],
        lambda rng, n: (normal(rng, n), *_rope_table(int(rng.integers(4096)), n)),
        _rope,
    ),
    "softmax": Kernel(LENGTHS, lambda rng, n: (normal(rng, n),), _softmax),
    "attention": Kernel(
        [(4, 4), (16, 16), (64, 64), (256, 64)],
        lambda rng, t, e: (normal(rng, e), normal(rng, t, e), normal(rng, t, e)),
        _attention,
        lambda q, k, v: (q, k, v, 1),
    ),
    "silu": Kernel([(64,)], lambda rng, n: (normal(rng, n),), lambda n: [(gate,) for gate in _gates(n)]),
    "swiglu": Kernel([(64,)], lambda rng, n: (normal(rng, n), normal(rng, n)), _swiglu),
    "dequantize_int8": Kernel(
        [(64,)], lambda rng, n: tuple(a[0] for a in _groups(rng, n // GROUP)), _dequantize, sums=False
    ),
    "matmul_int8": Kernel([(64,), (288,), (768,), (2048,)], _random_int8, _matmul_int8),
}
