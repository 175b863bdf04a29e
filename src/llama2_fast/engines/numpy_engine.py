"""The forward pass on numpy, as llama2_ref.transformer, for many tokens at once.

A prompt goes through as a matrix of T rows: each weight is read once for all of them. Large float32 products are left
to BLAS, which brings threads of its own; int8 products, attention and the feed-forward unit use this package's.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config
from llama2_ref.errors import NumericsError
from llama2_ref.quantize import map_matrices
from llama2_ref.transformer import Taps, check_batch, check_tokens, tap, with_cause

from .. import kernels as numpy_kernels
from ..quantize import quantize_weights
from ..weights import AnyMatrix, Weights, expand, matrix_of
from .rowwise import Rowwise
from .threads import Team

Array = NDArray[np.float32]

CHUNK = 512  # tokens that go through at once: more need more memory, and are no faster
QUERIES = 64  # rows of a prompt that share one attention product: later ones see keys that earlier ones must not
SMALLEST_SHARE = 2**16  # numbers below which a thread is not worth waking


class KVCache:
    """Keys and values of the tokens that one sequence has seen so far. As llama2_ref.KVCache, in arrays that grow.

    This is the one of the numpy engine; `new_cache` makes the one that suits a Transformer.
    """

    def __init__(self, config: Config) -> None:
        self.length = 0
        self._seq_len = config.seq_len
        self._rows = np.empty((2, config.n_layers, 0, config.kv_dim), np.float32)

    @property
    def keys(self) -> Array:
        """(L, length, K*E)"""
        return self._rows[0, :, : self.length]

    @property
    def values(self) -> Array:
        """(L, length, K*E)"""
        return self._rows[1, :, : self.length]

    def store(self, layer: int, position: int, key: Array, value: Array) -> None:
        """Put the rows of tokens, (T, K*E), at the position of the first one."""
        end = position + len(key)
        self._reserve(end)
        self._rows[0, layer, position:end], self._rows[1, layer, position:end] = key, value

    def copy(self) -> "KVCache":
        """A cache of its own that holds the same tokens."""
        other = copy(self)
        other._rows = self._rows[:, :, : self.length].copy()
        return other

    def _seen(self, layer: int, end: int) -> tuple[Array, Array]:
        """Keys and values of a layer, (end, K*E) each: also of tokens that are not complete in all layers yet."""
        return self._rows[0, layer, :end], self._rows[1, layer, :end]

    def _reserve(self, length: int) -> None:
        """Make room for `length` tokens, and for as many again, up to the context."""
        if length > self._rows.shape[2]:
            two, layers, _, width = self._rows.shape
            grown = np.empty((two, layers, min(2 * length, self._seq_len), width), np.float32)
            grown[:, :, : self._rows.shape[2]] = self._rows
            self._rows = grown


class NumpyEngine:
    """Runs a model's forward passes on numpy, with this package's threads and those of BLAS. See `protocol.Engine`.

    Kernels that are not this package's get one vector at a time, as from llama2_ref, and from one thread.
    """

    name = "numpy"
    quantize: str | None = None  # what is asked for is done at once

    def __init__(
        self, config: Config, weights: Weights, kernels: ModuleType | Any, threads: int | None, quantize: str | None
    ) -> None:
        self.config = config
        self.weights = map_matrices(quantize_weights(weights, quantize) if quantize else weights, expand)
        own = kernels is numpy_kernels
        self._kernels: Any = kernels if own else Rowwise(kernels)
        self._team = Team(threads if own else 1)  # kernels of others may not be thread-safe
        self.threads = self._team.threads

    def new_cache(self) -> KVCache:
        """An empty key/value cache, for one sequence."""
        return KVCache(self.config)

    def forward(self, tokens: Sequence[int], cache: KVCache, every: bool = False, taps: Taps | None = None) -> Any:
        """Append T tokens to a sequence: logits of the last one, (V,), or with `every` of all of them, (T, V).

        As llama2_ref.Transformer.forward.
        """
        check_tokens(self.config, tokens, cache.length)
        logits = []
        for start in range(0, len(tokens), CHUNK):
            chunk, last = tokens[start : start + CHUNK], start + CHUNK >= len(tokens)
            try:
                logits.append(self._pass(chunk, len(chunk) if every else int(last), cache, taps))
            except NumericsError as error:
                raise self._find(error, chunk, every, last, cache) from None
        return np.concatenate(logits) if every else logits[-1][-1]

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As llama2_ref.Transformer.forward_batch."""
        check_batch(self.config, batch)
        return [self.forward(tokens, cache, every) for tokens, cache in batch]

    def _pass(self, tokens: Sequence[int], wanted: int, cache: KVCache, taps: Taps | None) -> Array:
        """Append tokens to a sequence, and return the logits of the last `wanted` ones: (wanted, V)."""
        with np.errstate(all="ignore"):  # what is not finite is found in the logits
            x = self._blocks(tokens, cache, taps)
            logits = self._logits(x[len(x) - wanted :], taps) if wanted else x[:0]
        for row, token in np.argwhere(~np.isfinite(logits))[:1]:
            raise NumericsError(f"logits must be finite (token {token} has {logits[row, token]})")
        cache.length += len(tokens)
        return logits

    def _find(
        self, error: NumericsError, tokens: Sequence[int], every: bool, last: bool, cache: KVCache
    ) -> NumericsError:
        """The error of the first token that has one: they go one by one now, since a bad one spoils all of a product.

        The cache keeps those before it.
        """
        try:
            for i, token in enumerate(tokens):
                self._pass([token], int(every or (last and i == len(tokens) - 1)), cache, None)
        except NumericsError as own:
            error = own
        return with_cause(error, cache.length, first_not_finite(self.weights))

    def _blocks(self, tokens: Sequence[int], cache: KVCache, taps: Taps | None) -> Array:
        """From tokens to the residual stream after the last layer: (T) -> (T, D)."""
        c = self.config
        positions = np.arange(cache.length, cache.length + len(tokens))
        table = self._kernels.rope_table(positions, *c.rope)
        embedding = matrix_of(self.weights.token_embedding_table)
        x = np.asarray(embedding.row(self._kernels, list(tokens)), np.float32)
        for layer in range(c.n_layers):
            x = self._attention(layer, x, table, cache, taps)
            x = self._feed_forward(layer, x, taps)
        return x

    def _attention(self, layer: int, x: Array, table: tuple[Array, Array], cache: KVCache, taps: Taps | None) -> Array:
        """x + wo attention(rope(wq h), rope(wk h), wv h), h = rmsnorm(x): (T, D) -> (T, D)."""
        w, k = self.weights, self._kernels
        h = tap(taps, layer, "att_norm", k.rmsnorm(x, w.rms_att_weight[layer], self.config.norm_eps))
        query, key, value = self._products((w.wq[layer], w.wk[layer], w.wv[layer]), h)
        query = tap(taps, layer, "q", k.rope(query, *table))
        key = tap(taps, layer, "k", k.rope(key, *table))
        value = tap(taps, layer, "v", value)
        cache.store(layer, cache.length, key, value)
        att = self._attend(query, *cache._seen(layer, cache.length + len(key)))
        (product,) = self._products((w.wo[layer],), tap(taps, layer, "att", att))
        return np.asarray(tap(taps, layer, "x1", k.add(x, product)))

    def _attend(self, query: Array, keys: Array, values: Array) -> Array:
        """Attention of T queries, a few rows at a time, to the keys that the last row of each few may see."""
        if len(query) <= QUERIES:
            few: Array = self._kernels.attention(query, keys, values, self.config.n_heads)
            return few
        out, before = np.empty_like(query), len(keys) - len(query)

        def attend(start: int) -> None:
            rows = slice(start, start + QUERIES)
            seen = before + min(start + QUERIES, len(query))
            out[rows] = self._kernels.attention(query[rows], keys[:seen], values[:seen], self.config.n_heads)

        self._team.run([partial(attend, start) for start in range(0, len(query), QUERIES)])
        return out

    def _feed_forward(self, layer: int, x: Array, taps: Taps | None) -> Array:
        """x + w2 swiglu(w1 h, w3 h), h = rmsnorm(x): (T, D) -> (T, D)."""
        w, k = self.weights, self._kernels
        h = tap(taps, layer, "ffn_norm", k.rmsnorm(x, w.rms_ffn_weight[layer], self.config.norm_eps))
        gate = tap(taps, layer, "gate", self._swiglu(*self._products((w.w1[layer], w.w3[layer]), h)))
        (product,) = self._products((w.w2[layer],), gate)
        return np.asarray(tap(taps, layer, "out", k.add(x, product)))

    def _swiglu(self, gate: Array, up: Array) -> Array:
        """swiglu of T rows, split over the threads where they are many numbers."""
        out = np.empty_like(gate)

        def part(rows: slice) -> None:
            out[rows] = self._kernels.swiglu(gate[rows], up[rows])

        smallest = SMALLEST_SHARE // gate.shape[1] + 1
        self._team.run([partial(part, rows) for rows in self._team.split(len(gate), smallest)])
        return out

    def _logits(self, x: Array, taps: Taps | None) -> Array:
        """wcls rmsnorm(x): (T, D) -> (T, V)."""
        w, top = self.weights, self.config.n_layers
        h = tap(taps, top, "final_norm", self._kernels.rmsnorm(x, w.rms_final_weight, self.config.norm_eps))
        (product,) = self._products((w.wcls,), h)
        return np.asarray(tap(taps, top, "logits", product))

    def _products(self, matrices: Sequence[Any], x: Array) -> list[Array]:
        """Several matrices times the same T vectors: (m, n) each, (T, n) -> (T, m) each."""
        outs: list[Array] = []
        tasks: list[Callable[[], None]] = []
        for matrix in map(matrix_of, matrices):
            vectors = matrix.prepare(self._kernels, x)
            if len(x) == 1 and matrix.group_size:
                outs.append(np.empty((1, matrix.shape[0]), np.float32))
                tasks += self._tasks(matrix, vectors, outs[-1])
            else:  # floats, and products of matrices: BLAS takes all cores
                outs.append(matrix.multiply(self._kernels, vectors))
        self._team.run(tasks)
        return outs

    def _tasks(self, matrix: AnyMatrix, vectors: tuple[Array, ...], out: Array) -> list[Callable[[], None]]:
        """One matrix times one vector, in parts of its rows."""

        def part(rows: slice) -> None:
            out[:, rows] = matrix.take_rows(rows).multiply(self._kernels, vectors)

        rows, cols = matrix.shape
        return [partial(part, some) for some in self._team.split(rows, SMALLEST_SHARE // cols + 1)]


def first_not_finite(weights: Weights) -> str | None:
    """The first weight that is NaN or infinite. As llama2_ref.transformer.first_not_finite."""
    for name, field in weights.tensors():
        layers = field if isinstance(field, list) else [field]
        for layer, item in enumerate(layers):
            for array in map(np.asarray, matrix_of(item).float_parts):
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    index = (layer, *bad[0]) if isinstance(field, list) else bad[0]
                    return f"{name}{''.join(f'[{i}]' for i in index)} is {array[tuple(bad[0])]}"
    return None
