"""The Transformer whose passes run in compiled code."""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from math import sqrt
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config, RopeScaling
from llama2_ref.errors import NumericsError
from llama2_ref.formats.llama2c_header import Header
from llama2_ref.quantize import LAYERED, check_quantizable, map_matrices
from llama2_ref.transformer import check_batch, check_tokens, with_cause

from ... import kernels as numpy_kernels
from ... import transformer as numpy_engine
from ...transformer import CHUNK
from ...weights import Weights
from ..threads import available_cores
from . import fields as f
from .compiler.library import library
from .packing import Packed, pack
from .thread_team import Team

Array = NDArray[np.float32]
Piece = tuple[int, Sequence[int], "KVCache", int]  # number of the sequence, tokens, cache, how many logits are wanted

LINE = 64  # bytes
SMALL = 2**23  # bytes of weights below which one thread is faster than several


class KVCache(numpy_engine.KVCache):
    """Keys in blocks of 16 positions, (L, K, S / 16, E, 16), and values in whole vectors, (L, K, S, E)."""

    def __init__(self, config: Config) -> None:
        self.length = 0
        self.config = config
        c = config
        keys = np.zeros((c.n_layers, c.n_kv_heads, 0, c.head_size, f.LANES), np.float32)
        self._arrays = keys, np.zeros((c.n_layers, c.n_kv_heads, 0, _padded(c.head_size)), np.float32)
        self.room = 0, 0, 0  # addresses of keys and values, and how many positions there is room for

    @property
    def keys(self) -> Array:
        """(L, length, K*E), a copy."""
        layers = self._arrays[0].transpose(0, 2, 4, 1, 3)
        return layers.reshape(len(layers), -1, self.config.kv_dim)[:, : self.length]

    @property
    def values(self) -> Array:
        """(L, length, K*E), a copy."""
        heads = self._arrays[1][:, :, : self.length, : self.config.head_size]
        return heads.transpose(0, 2, 1, 3).reshape(len(heads), self.length, -1)

    def store(self, layer: int, position: int, key: Array, value: Array) -> None:
        """Put the rows of tokens, (T, K*E), at the position of the first one."""
        end = position + len(key)
        self.reserve(end)
        heads, (keys, values) = (len(key), -1, self.config.head_size), self._arrays
        places = np.arange(position, end)
        keys[layer][:, places // f.LANES, :, places % f.LANES] = np.reshape(key, heads)
        values[layer, :, position:end, : heads[2]] = np.reshape(value, heads).transpose(1, 0, 2)

    def copy(self) -> "KVCache":
        """A cache of its own that holds the same tokens."""
        other = KVCache(self.config)
        (keys, values), room = self._arrays, _padded(self.length)
        other._adopt(keys[:, :, : room // f.LANES].copy(), values[:, :, :room].copy())
        other.length = self.length
        return other

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens, and for as many again, up to the context."""
        if length <= self.room[2]:
            return
        room = _padded(min(2 * length, self.config.seq_len))
        keys, values = self._arrays
        self._adopt(_grown(keys, room // f.LANES), _grown(values, room))

    def _adopt(self, keys: Array, values: Array) -> None:
        places = keys.ctypes.data, values.ctypes.data, values.shape[2]
        self._arrays, self.room = (keys, values), places  # nothing may come between: compiled code writes there


class Transformer(numpy_engine.Transformer):
    """A Llama-2 model. As llama2_fast.transformer.Transformer."""

    def __init__(
        self,
        config: Config,
        weights: Weights,
        kernels: Any = numpy_kernels,
        *,
        threads: int | None = None,
        backend: str | None = None,
        quantize: str | None = None,
    ) -> None:
        self.config, self.weights, self.kernels, self.backend = config, weights, kernels, "simd"
        self.quantize = quantize  # `weights` are as they came
        self._library, self._lock = library(), Lock()
        matrices = _packed(config, weights, quantize)
        if threads is None:
            threads = 1 if sum(m.bytes for m in matrices) < SMALL else available_cores()
        self._workers = Team(threads)
        self._job = _Job(config, weights, matrices, threads)

    def new_cache(self) -> KVCache:
        """An empty key/value cache, for one sequence."""
        return KVCache(self.config)

    def forward(
        self, tokens: Sequence[int], cache: Any, every: bool = False, taps: numpy_engine.Taps | None = None
    ) -> Any:
        """As llama2_ref.Transformer.forward, but that taps only listen: what `record` returns is not used."""
        check_tokens(self.config, tokens, cache.length)
        (logits,) = self._run([(tokens, cache)], every, taps)
        return logits if every else logits[0]

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As llama2_ref.Transformer.forward_batch, with all sequences in one pass."""
        check_batch(self.config, batch)
        logits = self._run(batch, every, None)
        return logits if every else [each[0] for each in logits]

    def _run(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool, taps: Any) -> list[Array]:
        for _, cache in batch:  # compiled code would write wherever another one's sizes lead
            if not isinstance(cache, KVCache) or cache.config != self.config:
                raise ValueError("a cache must be made by new_cache of this model (this is another one's)")
        found: list[list[Array]] = [[] for _ in batch]
        with self._lock:
            for pieces in _passes(batch, every):
                for (number, *_), logits in zip(pieces, self._run_pass(pieces, taps), strict=True):
                    found[number].append(logits)
        return [each[0] if len(each) == 1 else np.concatenate(each) for each in found]

    def _run_pass(self, pieces: list[Piece], taps: Any) -> list[Array]:
        """Run one pass, and return the logits that each piece wants, (wanted, V)."""
        job = self._job
        buffers = job.fill(pieces, taps is not None)
        run, address = self._library.run_step, job.address
        self._workers.run(lambda me: run(address, me), job.abort)
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
            cause = numpy_engine.first_not_finite(self.weights)
            raise with_cause(NumericsError(reason), cache.length, cause)


class _Job:
    """The table that compiled code reads, and the buffers that it names."""

    def __init__(self, config: Config, weights: Weights, matrices: list[Packed], threads: int) -> None:
        self._config, self._matrices, self._threads = config, matrices, threads
        self._room = self._positions = 0  # rows, and positions, that buffers are made for
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        table = _aligned(f.JOB_SIZE)
        self._table = table.data.cast("q")
        self.address = table.ctypes.data
        self._description = np.array([m.description for m in matrices], np.int64)
        norms = np.zeros((2 * config.n_layers + 1, _padded(config.dim)), np.float32)
        norms[0:-1:2, : config.dim] = np.asarray(weights.rms_att_weight)
        norms[1::2, : config.dim] = np.asarray(weights.rms_ffn_weight)
        norms[-1, : config.dim] = np.asarray(weights.rms_final_weight)
        self._norms, self._frequencies = norms, _frequencies(*config.rope)
        c = config
        self._set(TEAM=threads, DIM=c.dim, HIDDEN=c.hidden_dim, LAYERS=c.n_layers, HEADS=c.n_heads)
        self._set(KV_HEADS=c.n_kv_heads, HEAD_SIZE=c.head_size, FREQUENCIES=self._frequencies.ctypes.data)
        self._set(MATRICES=self._description.ctypes.data, NORMS=norms.ctypes.data)
        floats = table.data.cast("d")
        floats[f.EPS // 8], floats[f.SCORE_SCALE // 8] = c.norm_eps, 1 / sqrt(c.head_size)

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self._table[getattr(f, name) // 8] = value

    def abort(self) -> None:
        """Let all threads leave."""
        self._set(ABORTED=1)

    def fill(self, pieces: list[Piece], taps: bool) -> dict[tuple[int, str], Array]:
        """Describe a pass. Returns the buffers for taps, where those are asked for."""
        count, wanted = sum(len(tokens) for _, tokens, _, _ in pieces), sum(piece[3] for piece in pieces)
        self._reserve(max(count, self._threads))
        self._reserve_scores(max(cache.length + len(tokens) for _, tokens, cache, _ in pieces))
        self._fill_rows(pieces)
        self.logits = np.empty((wanted, _padded(self._config.vocab_size)), np.float32)
        buffers = _tap_buffers(self._config, count, wanted) if taps else {}
        self._taps = np.array([each.ctypes.data for each in buffers.values()], np.int64)
        table = self._table
        table[f.ARRIVED // 8] = table[f.ABORTED // 8] = table[f.CLAIMED // 8] = 0
        table[f.COUNT // 8], table[f.WANTED // 8] = count, wanted
        table[f.TAPS // 8] = self._taps.ctypes.data if taps else 0
        table[f.LOGITS // 8], table[f.STRIDE_LOGITS // 8] = self.logits.ctypes.data, self.logits.strides[0]
        return buffers

    def _fill_rows(self, pieces: list[Piece]) -> None:
        """A row for each token. (Plain assignments: for a single token they are faster than numpy's.)"""
        all_tokens, positions, keys, values, capacities, wanted_rows, errors = self._rows
        row = end = 0
        for _, tokens, cache, wanted in pieces:
            cache.reserve(cache.length + len(tokens))
            for position, token in enumerate(tokens, cache.length):
                all_tokens[row], positions[row], errors[row] = token, position, 0
                keys[row], values[row], capacities[row] = cache.room
                row += 1
            for wanted_row in range(row - wanted, row):
                wanted_rows[end] = wanted_row
                end += 1
        self.errors = errors

    def _reserve(self, room: int) -> None:
        """Make buffers for so many rows."""
        if room <= self._room:
            return
        c, self._room = self._config, room
        dim, q, kv, hidden = (4 * _padded(n) for n in (c.dim, c.q_dim, c.kv_dim, c.hidden_dim))
        quants = max(m.quant_bytes for m in self._matrices) + LINE
        groups = 4 * max(m.groups for m in self._matrices) + LINE
        strides = {"D": dim, "Q": q, "KV": kv, "F": hidden, "QUANTS": quants, "GROUPS": groups}
        strides["TURNS"] = 8 * (c.head_size // 2)
        strides = {name: -(-n // LINE) * LINE for name, n in strides.items()}
        self._set(**{f"STRIDE_{name}": n for name, n in strides.items()})
        buffers = {"X": "D", "H": "D", "Q": "Q", "K": "KV", "V": "KV", "ATT": "Q", "Y": "D", "GATE": "F", "UP": "F"}
        buffers |= {"QUANTS": "QUANTS", "QUANT_SCALES": "GROUPS", "QUANT_SUMS": "GROUPS", "TURNS": "TURNS"}
        for name, stride in buffers.items():
            self._buffers[name] = _aligned(room * strides[stride] + LINE)
            self._set(**{name: self._buffers[name].ctypes.data})
        names = ("TOKENS", "POSITIONS", "KEYS", "VALUES", "CAPACITIES", "WANTED_ROWS", "ERRORS")
        rows = np.zeros((len(names), room), np.int64)
        self._rows = [row.data for row in rows]
        self._set(**{name: row.ctypes.data for name, row in zip(names, rows, strict=True)})

    def _reserve_scores(self, positions: int) -> None:
        """Make room for the scores of a head, for each thread: as many as are seen, not as the context may hold."""
        if positions <= self._positions:
            return
        self._positions = 2 * positions
        stride = 4 * (_padded(self._config.head_size) + _padded(self._positions) + 2 * f.LANES)
        self._buffers["SCORES"] = _aligned(self._threads * -(-stride // LINE) * LINE)
        self._set(SCORES=self._buffers["SCORES"].ctypes.data, STRIDE_SCORES=-(-stride // LINE) * LINE)


def _padded(n: int) -> int:
    """Numbers in whole vectors."""
    return -(-n // f.LANES) * f.LANES


def _aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that begin with a line of the cache, so many bytes up to whole lines."""
    size = -(-size // LINE) * LINE
    whole = np.zeros(size + LINE, np.uint8)
    start = -whole.ctypes.data % LINE
    return whole[start : start + size]


def _grown(array: Array, length: int) -> Array:
    """The same numbers, with zeros behind them on the third axis."""
    new = np.zeros((*array.shape[:2], length, *array.shape[3:]), np.float32)
    new[:, :, : array.shape[2]] = array
    return new


def _packed(config: Config, weights: Weights, kind: str | None) -> list[Packed]:
    """Embedding, then the matrices of each layer, then the classifier; quantized, where that is asked for.

    Raises ValueError unless each has the size that compiled code will believe it to have.
    """
    if kind:
        check_quantizable(weights, kind)
    packed = map_matrices(weights, lambda matrix: pack(matrix, kind))
    shapes = Header(1, config, shared_classifier=False).shapes()
    matrices = [("token_embedding_table", packed.token_embedding_table)]
    matrices += [(name, getattr(packed, name)[layer]) for layer in range(config.n_layers) for name in LAYERED]
    matrices.append(("wcls", packed.wcls))
    for name, matrix in matrices:
        if matrix.shape != shapes[name][1:]:
            raise ValueError(f"{name} must be {shapes[name][1]} x {shapes[name][2]} (got {matrix.shape})")
    return [matrix for _, matrix in matrices]


def _frequencies(size: int, theta: float, scaling: RopeScaling | None = None) -> NDArray[np.float64]:
    """theta^(-2i/E), correctly rounded for the float64 exponent: the system's power differs from machine to machine."""
    with localcontext(prec=40):
        frequencies = [float(Decimal(theta) ** Decimal(-i / size)) for i in range(0, size, 2)]
    return np.array(frequencies if scaling is None else [scaling.scale(each) for each in frequencies])


def _tap_buffers(c: Config, count: int, wanted: int) -> dict[tuple[int, str], Array]:
    width = {"q": c.q_dim, "k": c.kv_dim, "v": c.kv_dim, "att": c.q_dim, "gate": c.hidden_dim}
    shapes = {(layer, name): (count, width.get(name, c.dim)) for layer in range(c.n_layers) for name in f.LAYER_TAPS}
    if wanted:
        shapes |= {(c.n_layers, "final_norm"): (wanted, c.dim), (c.n_layers, "logits"): (wanted, c.vocab_size)}
    return {key: np.empty(shape, np.float32) for key, shape in shapes.items()}


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
