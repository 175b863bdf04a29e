"""Assertions on results and their bounds, and who is told how close they came."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .closed import Ball
from .compare import Comparison, compare
from .taps import compare_taps

listeners: list[Callable[[str, Comparison], None]] = []  # are told of every comparison, and what was compared


def assert_within(got: Any, expected: Any, what: str = "") -> None:
    """Assert that every number lies within its bound, in the same shape, and say where it does not.

    `expected` is a vector of Bounded numbers, or rows of them, or a Ball. NaN and infinity are accepted only where the
    bound is infinite, which is where float32 may overflow.
    """
    try:
        comparison = compare(got, expected)
    except ValueError as error:
        raise AssertionError(f"{what}: {error}") from None
    _judge(what, comparison)


def assert_close(got: Any, value: NDArray[np.float64], error: NDArray[np.float64], what: str = "") -> None:
    """Assert |got - value| <= error everywhere, as assert_within does."""
    if value.shape != error.shape:
        raise AssertionError(f"there must be an error for each value (got shapes {value.shape} and {error.shape})")
    assert_within(got, Ball(value, error), what)


def assert_taps_within(
    config: Any, weights: Any, tokens: list[int], recorded: Any, kernels: Any = None, every: bool = True
) -> None:
    """Assert that all recorded buffers of a forward pass over `tokens` keep their bounds, and that none is missing."""

    def report(layer: int, name: str, token: int, comparison: Comparison) -> None:
        _judge(name, comparison, f"{name} of layer {layer}, token {token}")

    try:
        compare_taps(config, weights, tokens, recorded, report, kernels, every)
    except (KeyError, IndexError, ValueError) as error:
        raise AssertionError(f"a buffer is missing, or has another shape: {error!r}") from error


def _judge(what: str, comparison: Comparison, where: str = "") -> None:
    for listener in listeners:
        listener(what, comparison)
    if not comparison.within:  # no assert statement: python -O leaves those out
        raise AssertionError(f"{where or what}{comparison}")
