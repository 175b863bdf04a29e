"""The engine whose passes run in compiled code."""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config
from llama2_ref.errors import NumericsError
from llama2_ref.quantize import LAYERED, check_quantizable, map_matrices
from llama2_ref.transformer import Taps, check_batch, check_tokens, with_cause
from llama2_ref.weights import TENSORS

from ...weights import Weights
from ..numpy_engine import CHUNK, first_not_finite
from ..threads import available_cores
from .compiler.library import library
from .job import Job, Piece
from .kv_cache import KVCache
from .packing import Packed, pack
from .thread_team import Team

Array = NDArray[np.float32]

SMALL = 2**23  # bytes of weights below which one thread is faster than several


class SimdEngine:
    """Runs a model's forward passes in compiled code: see `protocol.Engine`. Taps can't replace a buffer."""

    name = "simd"

    def __init__(self, config: Config, weights: Weights, threads: int | None, quantize: str | None) -> None:
        self.config, self.weights, self.quantize = config, weights, quantize  # packed anew, and quantized on the way
        self._library, self._lock = library(), Lock()
        matrices = _packed(config, weights, quantize)
        if threads is None:
            threads = 1 if sum(m.bytes for m in matrices) < SMALL else available_cores()
        self._workers, self.threads = Team(threads), threads
        self._job = Job(config, weights, matrices, threads)

    def new_cache(self) -> KVCache:
        """An empty key/value cache, for one sequence."""
        return KVCache(self.config)

    def forward(self, tokens: Sequence[int], cache: Any, every: bool = False, taps: Taps | None = None) -> Any:
        """As llama2_ref.Transformer.forward, but taps can't replace a buffer: what `record` returns is ignored."""
        check_tokens(self.config, tokens, cache.length)
        (logits,) = self._run([(tokens, cache)], every, taps)
        return logits if every else logits[0]

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As llama2_ref.Transformer.forward_batch, with all sequences in one pass."""
        check_batch(self.config, batch)
        logits = self._run(batch, every, None)
        return logits if every else [rows[0] for rows in logits]

    def _run(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool, taps: Any) -> list[Array]:
        for _, cache in batch:  # a cache of another model has other sizes: compiled code would write outside of it
            if not isinstance(cache, KVCache) or cache.config != self.config:
                raise ValueError("a cache must be made by new_cache of this model (this is another one's)")
        logits_of: list[list[Array]] = [[] for _ in batch]
        with self._lock:
            for pieces in _passes(batch, every):
                for (number, *_), logits in zip(pieces, self._run_pass(pieces, taps), strict=True):
                    logits_of[number].append(logits)
        return [rows[0] if len(rows) == 1 else np.concatenate(rows) for rows in logits_of]

    def _run_pass(self, pieces: list[Piece], taps: Any) -> list[Array]:
        """Run one pass, and return the logits that each piece wants, (wanted, V)."""
        job = self._job
        buffers = job.fill(pieces, taps is not None)
        run, address = self._library.run_step, job.address
        self._workers.run(lambda thread: run(address, thread), job.abort)
        for key, value in buffers.items():
            taps.record(*key, value)
        logits, end = [], 0
        row = 0
        for _, tokens, cache, wanted in pieces:
            logits.append(job.logits[end : end + wanted, : self.config.vocab_size])
            end += wanted
            self._check(row, tokens, cache, logits[-1])
            cache.length += len(tokens)
            row += len(tokens)
        return logits

    def _check(self, row: int, tokens: Sequence[int], cache: KVCache, logits: Array) -> None:
        """NumericsError for the first token that made a number that is not finite. The cache keeps those before."""
        finite = np.isfinite(logits)
        errors = self._job.errors[row : row + len(tokens)]
        if finite.all() and not any(errors):
            return
        first = len(tokens) - len(logits)
        for t, error in enumerate(errors):
            if error:
                value = np.int32(error >> 32).view(np.float32)
                reason = f"numbers must be finite to be quantized (got {value} at index {(error & 0xFFFFFFFF) - 1})"
            elif t >= first and not finite[t - first].all():
                token = int(np.argmin(finite[t - first]))
                reason = f"logits must be finite (token {token} has {logits[t - first, token]})"
            else:
                continue
            cache.length += t
            cause = first_not_finite(self.weights)
            raise with_cause(NumericsError(reason), cache.length, cause)


def _packed(config: Config, weights: Weights, quantization: str | None) -> list[Packed]:
    """Embedding, then the matrices of each layer, then the classifier; quantized, where that is asked for.

    Raises ValueError unless each has the size that compiled code will believe it to have.
    """
    if quantization:
        check_quantizable(weights, quantization)
    packed = map_matrices(weights, lambda matrix: pack(matrix, quantization))
    shapes = {spec.name: spec.shape(config) for spec in TENSORS}
    matrices = [("token_embedding_table", packed.token_embedding_table)]
    matrices += [(name, getattr(packed, name)[layer]) for layer in range(config.n_layers) for name in LAYERED]
    matrices.append(("wcls", packed.wcls))
    for name, matrix in matrices:
        if matrix.shape != shapes[name]:
            raise ValueError(f"{name} must be {shapes[name][0]} x {shapes[name][1]} (got {matrix.shape})")
    return [matrix for _, matrix in matrices]


def _passes(batch: Sequence[tuple[Sequence[int], Any]], every: bool) -> Iterator[list[Piece]]:
    """Sequences cut into pieces of at most CHUNK tokens together."""
    pieces: list[Piece] = []
    room = CHUNK
    for number, (tokens, cache) in enumerate(batch):
        start = 0
        while start < len(tokens):
            some = tokens[start : start + room]
            start += len(some)
            room -= len(some)
            pieces.append((number, some, cache, len(some) if every else int(start == len(tokens))))
            if not room:
                yield pieces
                pieces, room = [], CHUNK
    if pieces:
        yield pieces
