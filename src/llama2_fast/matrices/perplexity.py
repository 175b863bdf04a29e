"""Perplexity, as llama2_ref.generation.perplexity, for many tokens at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.generation.perplexity import Perplexity, Progress, score_text

from ..sampler import log_probabilities

__all__ = ["Perplexity", "perplexity"]


def perplexity(
    transformer: Any,
    tokens: Sequence[int],
    context: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
) -> Perplexity:
    """The perplexity of a text of two tokens or more. As llama2_ref.generation.perplexity.perplexity."""
    return score_text(_score, transformer, tokens, context, stride, progress)


def _score(logits: NDArray[np.float32], following: Sequence[int]) -> list[float]:
    chosen: list[float] = (-log_probabilities(logits)[np.arange(len(following)), list(following)]).tolist()
    return chosen
