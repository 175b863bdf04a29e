"""What the verb `verify` runs on an engine, for the judge: its buffers beside their bounds, and its bits twice."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import NumericsError

from ..conformance.bits import BitIdentity, first_difference
from ..conformance.buffers import Row, Tell, judge_buffers
from ..engines.numpy_engine import first_not_finite
from ..transformer import Taps, Transformer
from ..weights import Weights

PROMPT_SHARE = 7 / 8  # of the tokens go in at once, the others one by one: matrix products, then matrix times vector
THREADS, PARTS = (1, 2, 3, 5), (1, 5, 16, 64)  # for which bits must be the same

Array = NDArray[np.float32]


# --------------------------------------------------------------------------------------------------------------- bounds


def check_bounds(
    transformer: Transformer, weights: Weights, tokens: Sequence[int], loops: bool, tell: Tell
) -> list[Row]:
    """Hold every buffer of an engine to the bound of its own step. Rows come in the order of the model.

    `weights` are those that the engine computes with: integers, where it has quantized them. With `loops` the judge is
    the reference's own loops on numbers that carry their error, else the closed formulas.

    Raises NumericsError if numbers overflow, or are none, though every bound was kept up to there.
    """
    taps, failed = _record(transformer, tokens)
    if failed and first_not_finite(weights):
        raise failed
    rows = judge_buffers(transformer.config, weights, tokens, taps, failed is not None, loops, tell)
    if failed and not any(row.wrong for row in rows):
        raise failed
    return rows


def prompt_length(count: int) -> int:
    """How many of the tokens an engine is given at once."""
    return max(1, int(count * PROMPT_SHARE))


def _record(transformer: Transformer, tokens: Sequence[int]) -> tuple[Taps, NumericsError | None]:
    """Every buffer of a pass over a prompt, and of passes over the other tokens, up to the first bad number."""
    taps, cache, first = Taps(), transformer.new_cache(), prompt_length(len(tokens))
    try:
        transformer.forward(tokens[:first], cache, every=True, taps=taps)
        for token in tokens[first:]:
            transformer.forward([token], cache, every=True, taps=taps)
    except NumericsError as error:
        return taps, error
    return taps, None


# ----------------------------------------------------------------------------------------------------------- equal bits


def check_bit_identity(
    transformer: Transformer, make: Callable[[int], Transformer], tokens: Sequence[int], tell: Tell
) -> list[BitIdentity]:
    """Does an engine give the same bits for any number of threads, in parts, and beside other sequences?

    `make` makes the same engine with a number of threads.
    """
    expected = _logits(transformer, tokens, len(tokens))
    parts = [size for size in PARTS if size < len(tokens)]
    identities: list[BitIdentity] = []
    steps = len(THREADS) + len(parts) + 3

    def add(varied: str, number: int, logits: Array, right: Array) -> None:
        identities.append(BitIdentity(varied, number, first_difference(logits, right)))
        tell(len(identities) / steps)

    for count in THREADS:
        add("threads", count, _logits(make(count), tokens, len(tokens)), expected)
    for size in parts:
        add("parts", size, _logits(transformer, tokens, size), expected)
    sequences = [list(tokens), list(reversed(tokens)), list(tokens[: (len(tokens) + 1) // 2])]
    together = _batch(transformer, sequences)
    for number, (sequence, logits) in enumerate(zip(sequences, together, strict=True), 1):
        add("batch", number, logits, _logits(transformer, sequence, len(sequence)))
    return identities


def _logits(transformer: Transformer, tokens: Sequence[int], size: int) -> Array:
    """Logits of every token, (T, V), of a sequence that is given in parts of a size."""
    cache, logits = transformer.new_cache(), []
    for start in range(0, len(tokens), size):
        logits.append(transformer.forward(tokens[start : start + size], cache, every=True))
    return np.concatenate(logits)


def _batch(transformer: Transformer, sequences: Sequence[Sequence[int]]) -> list[Array]:
    """Logits of every token of several sequences at once: all but two of their tokens, then one after the other."""
    caches = [transformer.new_cache() for _ in sequences]
    logits_of: list[list[Any]] = [[] for _ in sequences]
    heads = [max(1, len(tokens) - 2) for tokens in sequences]
    for step in range(3):
        batch, members = [], []
        for i, (tokens, head) in enumerate(zip(sequences, heads, strict=True)):
            part = tokens[:head] if step == 0 else tokens[head + step - 1 : head + step]
            if part:
                batch.append((part, caches[i]))
                members.append(i)
        for i, logits in zip(members, transformer.forward_batch(batch, every=True), strict=True):
            logits_of[i].append(logits)
    return [np.concatenate(parts) for parts in logits_of]
