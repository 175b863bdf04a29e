"""Hold every buffer of a forward pass to the bound of its own step.

The reference's Transformer runs on numbers that carry bounds. Wherever it records a buffer, the one that the other
implementation recorded is compared with it, and then takes its place: errors don't add up over a model, and what fails
names the kernel that is wrong, while the wiring stays the reference's.
"""

from typing import Any

import numpy as np

import llama2_ref
from fuzz.bounded import BoundedKernels, assert_close, assert_within
from fuzz.bounds import Ball


class Checker(llama2_ref.Taps):
    """Taps that compare with recorded ones, and go on with those."""

    def __init__(self, recorded: llama2_ref.Taps) -> None:
        self.recorded = recorded

    def record(self, layer: int, name: str, value: Any) -> Any:
        token = len(self.setdefault((layer, name), []))
        got = np.asarray(self.recorded[layer, name][token])
        what = f"{name} of layer {layer}, token {token}"
        if isinstance(value, Ball):
            assert_close(got, value.value, value.error, what)
        else:
            assert_within(got, value, what)
        self[layer, name].append(got)
        return got if isinstance(value, Ball) else got.tolist()


def assert_taps_within(
    config: Any, weights: Any, tokens: list[int], recorded: Any, kernels: Any = None, every: bool = True
) -> None:
    """Assert that all recorded buffers of a forward pass over `tokens` keep their bounds, and that none is missing."""
    checker = Checker(recorded)
    transformer = llama2_ref.Transformer(config, weights, kernels or BoundedKernels())
    transformer.forward(tokens, transformer.new_cache(), every=every, taps=checker)
    assert checker.keys() == recorded.keys()
    assert all(len(rows) == len(recorded[key]) for key, rows in checker.items())
