"""Hold every buffer of a forward pass to the bound of its own step.

The reference's Transformer runs on numbers that carry bounds. Wherever it records a buffer, the one that the other
implementation recorded is compared with it, and then takes its place: errors don't add up over a model, and what fails
names the kernel that is wrong, while the wiring stays the reference's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import llama2_ref
from llama2_ref.bounded import BoundedKernels

from .closed import Ball
from .compare import Comparison, compare

Report = Callable[[int, str, int, Comparison], None]  # gets the layer, the buffer, the token, and how it compares


class Checker(llama2_ref.Taps):
    """Taps that compare with recorded ones, report each comparison, and go on with the recorded ones."""

    def __init__(self, recorded: llama2_ref.Taps, report: Report) -> None:
        self.recorded, self._report = recorded, report

    def record(self, layer: int, name: str, value: Any) -> Any:
        """Compare a buffer, and return the one that was recorded in its place."""
        token = len(self.setdefault((layer, name), []))
        got = np.asarray(self.recorded[layer, name][token])
        self._report(layer, name, token, compare(got, value))
        self[layer, name].append(got)
        return got if isinstance(value, Ball) else got.tolist()


def compare_taps(
    config: llama2_ref.Config,
    weights: llama2_ref.Weights,
    tokens: Sequence[int],
    recorded: llama2_ref.Taps,
    report: Report,
    kernels: Any = None,
    every: bool = True,
) -> None:
    """Compare all recorded buffers of a forward pass over `tokens` with the bounds of their own steps.

    `kernels` are BoundedKernels, or ClosedKernels for larger sizes. Raises ValueError if there is a buffer too
    many, or one of another shape, KeyError or IndexError if one is missing.
    """
    checker = Checker(recorded, report)
    transformer = llama2_ref.Transformer(config, weights, kernels or BoundedKernels())
    transformer.forward(tokens, transformer.new_cache(), every=every, taps=checker)
    lengths = {key: len(rows) for key, rows in checker.items()}
    if lengths != {key: len(rows) for key, rows in recorded.items()}:
        raise ValueError("the recorded buffers must be those of these tokens (some are missing, or too many)")
