"""Every buffer of a forward pass beside its bound: which kernels make it, and the number that comes nearest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite

import numpy as np

from llama2_ref.bounded import BoundedKernels
from llama2_ref.config import Config
from llama2_ref.errors import NumericsError
from llama2_ref.transformer import Taps
from llama2_ref.weights import Weights, matrix_of

from .closed import ClosedKernels
from .compare import Comparison
from .taps import compare_taps

BUFFERS = ("att_norm", "q", "k", "v", "att", "x1", "ffn_norm", "gate", "out")  # of a layer, in the order of the model
LAST = ("final_norm", "logits")  # after the last layer
MATRIX = {"q": "wq", "k": "wk", "v": "wv", "x1": "wo", "gate": "w1", "out": "w2", "logits": "wcls"}
BEHIND = {"q": ", rope", "k": ", rope", "x1": ", add", "gate": ", swiglu", "out": ", add"}

Tell = Callable[[float], None]  # is told what share is done


@dataclass
class Row:
    """A buffer of one layer: the number that comes nearest to its bound, or breaks it most, over all tokens."""

    layer: int
    name: str
    kernel: str  # what makes it of the buffers before it
    worst: Comparison | None = None
    token: int = 0  # of the worst
    numbers: int = 0
    wrong: int = 0

    def add(self, token: int, comparison: Comparison) -> None:
        """Count what was found at a token."""
        self.numbers += comparison.size
        self.wrong += comparison.wrong
        if self.worst is None or comparison.ratio > self.worst.ratio:
            self.worst, self.token = comparison, token


def judge_buffers(
    config: Config, weights: Weights, tokens: Sequence[int], recorded: Taps, failed: bool, loops: bool, tell: Tell
) -> list[Row]:
    """Hold every recorded buffer of a forward pass to the bound of its own step. Rows come in the order of the model.

    `failed` says that the pass ended early, at a number that is not finite: then buffers may be missing. With `loops`
    the judge is the reference's own loops on numbers that carry their error, else the closed formulas.
    """
    rows = {(layer, name): Row(layer, name, kernel) for layer, name, kernel in _steps(config, weights)}
    total, done = len(rows) * len(tokens), 0

    def report(layer: int, name: str, token: int, comparison: Comparison) -> None:
        nonlocal done
        rows[layer, name].add(token, comparison)
        done += 1
        tell(done / total)
        if comparison.wrong and not isfinite(comparison.got):
            raise _NotFiniteError  # all that follows from it is wrong as well

    with suppress(_NotFiniteError), np.errstate(all="ignore"):
        try:
            compare_taps(config, weights, tokens, recorded, report, BoundedKernels() if loops else ClosedKernels())
        except (NumericsError, KeyError, IndexError, ValueError):  # the same bad number, or nothing after it
            if not failed:
                raise
    return list(rows.values())


class _NotFiniteError(Exception):
    """NaN or infinity was found where a finite number belongs."""


def _steps(config: Config, weights: Weights) -> Iterator[tuple[int, str, str]]:
    """Layer, name and kernels of every buffer."""
    for layer in range(config.n_layers):
        for name in BUFFERS:
            yield layer, name, _kernel(name, weights, layer)
    for name in LAST:
        yield config.n_layers, name, _kernel(name, weights, 0)


def _kernel(name: str, weights: Weights, layer: int) -> str:
    """Names of the kernels that make a buffer of those before it."""
    if name in MATRIX:
        field = getattr(weights, MATRIX[name])
        matrix = field if name == "logits" else field[layer]
        return matrix_of(matrix).product_kernel + BEHIND.get(name, "")
    if name == "att_norm" and layer == 0:
        return f"{matrix_of(weights.token_embedding_table).row_kernel}, rmsnorm"
    return "attention" if name == "att" else "rmsnorm"
