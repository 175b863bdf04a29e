"""Bits of logits: where they differ first, and what is said of it."""

import numpy as np

from llama2_fast.conformance.bits import BitIdentity, first_difference


def table(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_equal_bits_do_not_differ() -> None:
    nan = table([np.nan, -0.0, np.inf])
    assert first_difference(nan, nan.copy()) is None
    wide = np.zeros((3, 4), np.float32)
    assert first_difference(wide[:, ::2], np.zeros((3, 2), np.float32)) is None


def test_zeros_of_both_signs_differ() -> None:
    said = first_difference(table([1, 0.0], [2, 0.0]), table([1, 0.0], [2, -0.0]))
    assert said == "logits of token 1 differ at index 1 (0.0, not -0.0)"


def test_the_first_difference_is_told() -> None:
    said = first_difference(table([1, 2], [3, 4]), table([1, 2.5], [0, 4]))
    assert said == "logits of token 0 differ at index 1 (2.0, not 2.5)"


def test_what_is_said() -> None:
    said = [BitIdentity(kind, 3, None).what for kind in ("threads", "parts", "batch")]
    assert said == ["3 threads", "parts of 3 tokens", "sequence 3 of a batch"]
    assert BitIdentity("parts", 1, None).what == "parts of 1 tokens"
