"""What the verb `verify` finds out about an engine: its buffers beside their bounds, and its bits beside themselves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.bounded import BoundedKernels
from llama2_ref.config import Config
from llama2_ref.errors import NumericsError

from ..conformance.closed import ClosedKernels
from ..conformance.compare import Comparison
from ..conformance.taps import compare_taps
from ..engines.numpy_engine import first_not_finite
from ..transformer import Taps, Transformer
from ..weights import Int8Matrix, Weights

BUFFERS = ("att_norm", "q", "k", "v", "att", "x1", "ffn_norm", "gate", "out")  # of a layer, in the order of the model
LAST = ("final_norm", "logits")  # after the last layer
MATRIX = {"q": "wq", "k": "wk", "v": "wv", "x1": "wo", "gate": "w1", "out": "w2", "logits": "wcls"}
BEHIND = {"q": ", rope", "k": ", rope", "x1": ", add", "gate": ", swiglu", "out": ", add"}
PROMPT_SHARE = 7 / 8  # of the tokens go in at once, the others one by one: matrix products, then matrix times vector
THREADS, PARTS = (1, 2, 3, 5), (1, 5, 16, 64)  # for which bits must be the same

Tell = Callable[[float], None]  # is told what share is done
Array = NDArray[np.float32]


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


@dataclass(frozen=True)
class Promise:
    """The same bits, one way as another: `broken` says where they differ."""

    kind: str  # "threads", "parts" or "batch"
    number: int  # of threads, tokens in a part, or the number of the sequence
    broken: str | None

    @property
    def what(self) -> str:
        """As in "3 threads"."""
        if self.kind == "batch":
            return f"sequence {self.number} of a batch"
        return f"{'parts of ' * (self.kind == 'parts')}{self.number} {'token' if self.kind == 'parts' else 'thread'}s"


# --------------------------------------------------------------------------------------------------------------- bounds


def check_bounds(
    transformer: Transformer, weights: Weights, tokens: Sequence[int], loops: bool, tell: Tell
) -> list[Row]:
    """Hold every buffer of an engine to the bound of its own step. Rows come in the order of the model.

    `weights` are those that the engine computes with: integers, where it has quantized them. With `loops` the judge is
    the reference's own loops on numbers that carry their error, else the closed formulas.

    Raises NumericsError if numbers overflow, or are none, though every bound was kept up to there.
    """
    config = transformer.config
    rows = {(layer, name): Row(layer, name, kernel) for layer, name, kernel in _steps(config, weights)}
    total, done = len(rows) * len(tokens), 0

    def found(layer: int, name: str, token: int, comparison: Comparison) -> None:
        nonlocal done
        rows[layer, name].add(token, comparison)
        done += 1
        tell(done / total)
        if comparison.wrong and not isfinite(comparison.got):
            raise _NoNumberError  # what follows from it is of no interest

    taps, failed = _record(transformer, tokens)
    if failed and first_not_finite(weights):
        raise failed
    with suppress(_NoNumberError), np.errstate(all="ignore"):
        try:
            compare_taps(config, weights, tokens, taps, found, BoundedKernels() if loops else ClosedKernels())
        except (NumericsError, KeyError, IndexError, ValueError):  # the same bad number, or nothing after it
            if failed is None:
                raise
    if failed and not any(row.wrong for row in rows.values()):
        raise failed
    return list(rows.values())


class _NoNumberError(Exception):
    """NaN or infinity was found where a finite number belongs."""


def prompt_length(count: int) -> int:
    """How many of the tokens an engine is given at once."""
    return max(1, int(count * PROMPT_SHARE))


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
        return ("matmul_int8" if isinstance(matrix, Int8Matrix) else "matmul") + BEHIND.get(name, "")
    if name == "att_norm" and layer == 0:
        embedding = isinstance(weights.token_embedding_table, Int8Matrix)
        return ("dequantize_int8" if embedding else "embedding") + ", rmsnorm"
    return "attention" if name == "att" else "rmsnorm"


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


# ------------------------------------------------------------------------------------------------------------ same bits


def check_promises(
    transformer: Transformer, make: Callable[[int], Transformer], tokens: Sequence[int], tell: Tell
) -> list[Promise]:
    """Does an engine give the same bits for any number of threads, in parts, and beside other sequences?

    `make` makes the same engine with a number of threads.
    """
    expected = _logits(transformer, tokens, len(tokens))
    parts = [size for size in PARTS if size < len(tokens)]
    promises: list[Promise] = []
    steps = len(THREADS) + len(parts) + 3

    def add(kind: str, number: int, logits: Array, right: Array) -> None:
        promises.append(Promise(kind, number, _difference(logits, right)))
        tell(len(promises) / steps)

    for count in THREADS:
        add("threads", count, _logits(make(count), tokens, len(tokens)), expected)
    for size in parts:
        add("parts", size, _logits(transformer, tokens, size), expected)
    sequences = [list(tokens), list(reversed(tokens)), list(tokens[: (len(tokens) + 1) // 2])]
    together = _batch(transformer, sequences)
    for number, (sequence, logits) in enumerate(zip(sequences, together, strict=True), 1):
        add("batch", number, logits, _logits(transformer, sequence, len(sequence)))
    return promises


def _logits(transformer: Transformer, tokens: Sequence[int], size: int) -> Array:
    """Logits of every token, (T, V), of a sequence that is given in parts of a size."""
    cache, found = transformer.new_cache(), []
    for start in range(0, len(tokens), size):
        found.append(transformer.forward(tokens[start : start + size], cache, every=True))
    return np.concatenate(found)


def _batch(transformer: Transformer, sequences: Sequence[Sequence[int]]) -> list[Array]:
    """Logits of every token of several sequences at once: all but two of their tokens, then one after the other."""
    caches = [transformer.new_cache() for _ in sequences]
    found: list[list[Any]] = [[] for _ in sequences]
    heads = [max(1, len(tokens) - 2) for tokens in sequences]
    for step in range(3):
        batch, members = [], []
        for i, (tokens, head) in enumerate(zip(sequences, heads, strict=True)):
            part = tokens[:head] if step == 0 else tokens[head + step - 1 : head + step]
            if part:
                batch.append((part, caches[i]))
                members.append(i)
        for i, logits in zip(members, transformer.forward_batch(batch, every=True), strict=True):
            found[i].append(logits)
    return [np.concatenate(each) for each in found]


def _difference(got: Array, expected: Array) -> str | None:
    """Where bits differ first, if they do."""
    differ = np.argwhere(np.ascontiguousarray(got).view(np.uint32) != np.ascontiguousarray(expected).view(np.uint32))
    for token, index in differ[:1].tolist():
        two = float(got[token, index]), float(expected[token, index])
        return f"logits of token {token} differ at index {index} ({two[0]!r}, not {two[1]!r})"
    return None
