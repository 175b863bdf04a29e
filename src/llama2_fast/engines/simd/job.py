"""The table that compiled code reads in one pass of the model, and the buffers that it names."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config, RopeScaling

from ...weights import Weights
from .kv_cache import KVCache
from .packing import Packed
from .tables import FLOAT, FLOAT_BYTES, JOB, LANES, LAYER_TAPS, LINE_BYTES, WORD_BYTES, padded

Array = NDArray[np.float32]
Piece = tuple[int, Sequence[int], KVCache, int]  # number of the sequence, tokens, cache, how many logits are wanted

# Buffers with a row for each row of the batch, and for each thread, by the field that holds the bytes between two rows.
_BUFFERS = {
    "dim_stride": ("x", "h", "y"),
    "q_stride": ("q", "att"),
    "kv_stride": ("k", "v"),
    "hidden_stride": ("gate", "up"),
    "quants_stride": ("quants",),
    "groups_stride": ("quant_scales", "quant_sums"),
    "rope_stride": ("rope_table",),
}
_ROWS = ("tokens", "positions", "keys", "values", "capacities", "wanted_rows", "errors")  # an integer for each row


class Job:
    """The table that compiled code reads, and the buffers that it names."""

    def __init__(self, config: Config, weights: Weights, matrices: list[Packed], threads: int) -> None:
        self._config, self._matrices, self._threads = config, matrices, threads
        self._room = self._positions = 0  # rows, and positions, that buffers are made for
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        table = _aligned(JOB.size)
        self._integers: Any = table.data.cast("q")
        self._floats: Any = table.data.cast("d")
        self.address = table.ctypes.data
        self._descriptions = np.array([m.description for m in matrices], np.int64)
        norms = np.zeros((2 * config.n_layers + 1, padded(config.dim)), np.float32)
        norms[0:-1:2, : config.dim] = np.asarray(weights.rms_att_weight)
        norms[1::2, : config.dim] = np.asarray(weights.rms_ffn_weight)
        norms[-1, : config.dim] = np.asarray(weights.rms_final_weight)
        self._norms, self._frequencies = norms, _frequencies(*config.rope)
        c = config
        self._set(threads=threads, dim=c.dim, hidden_dim=c.hidden_dim, layers=c.n_layers, heads=c.n_heads)
        self._set(kv_heads=c.n_kv_heads, head_size=c.head_size, eps=c.norm_eps, score_scale=1 / sqrt(c.head_size))
        self._set(matrices=self._descriptions.ctypes.data, norms=norms.ctypes.data)
        self._set(frequencies=self._frequencies.ctypes.data)

    def _set(self, **values: float) -> None:
        """Write fields of the table. Raises TypeError for a float where the table has an integer."""
        for name, value in values.items():
            numbers, place = self._place(name)
            numbers[place] = value

    def __getitem__(self, name: str) -> float:
        """A field of the table."""
        numbers, place = self._place(name)
        return numbers[place]  # type: ignore[no-any-return]

    def _place(self, name: str) -> tuple[Any, int]:
        """The numbers among which a field is, by its type, and its number among them."""
        type_, offset = JOB.fields[name]
        return self._floats if type_ == FLOAT else self._integers, offset // WORD_BYTES

    def abort(self) -> None:
        """Let all threads leave."""
        self._set(aborted=1)

    def fill(self, pieces: list[Piece], taps: bool) -> dict[tuple[int, str], Array]:
        """Describe a pass. Returns the buffers for taps, where those are asked for."""
        count, wanted = sum(len(tokens) for _, tokens, _, _ in pieces), sum(piece[3] for piece in pieces)
        self._reserve(max(count, self._threads))
        self._reserve_scores(max(cache.length + len(tokens) for _, tokens, cache, _ in pieces))
        self._fill_rows(pieces)
        self.logits = np.empty((wanted, padded(self._config.vocab_size)), np.float32)
        buffers = _tap_buffers(self._config, count, wanted) if taps else {}
        self._taps = np.array([buffer.ctypes.data for buffer in buffers.values()], np.int64)
        self._set(arrived=0, aborted=0, claimed=0, count=count, wanted=wanted)
        self._set(logits=self.logits.ctypes.data, logits_stride=self.logits.strides[0])
        self._set(taps=self._taps.ctypes.data if taps else 0)
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
        widths = {"dim_stride": c.dim, "q_stride": c.q_dim, "kv_stride": c.kv_dim, "hidden_stride": c.hidden_dim}
        strides = {name: FLOAT_BYTES * padded(n) for name, n in widths.items()}
        strides["quants_stride"] = max(m.quant_bytes for m in self._matrices) + LINE_BYTES
        strides["groups_stride"] = FLOAT_BYTES * max(m.groups for m in self._matrices) + LINE_BYTES
        strides["rope_stride"] = 2 * FLOAT_BYTES * (c.head_size // 2)
        for stride, names in _BUFFERS.items():
            size = _whole_lines(strides[stride])
            self._set(**{stride: size})
            for name in names:
                self._buffers[name] = _aligned(room * size + LINE_BYTES)
                self._set(**{name: self._buffers[name].ctypes.data})
        rows = np.zeros((len(_ROWS), room), np.int64)
        self._rows = [row.data for row in rows]
        self._set(**{name: row.ctypes.data for name, row in zip(_ROWS, rows, strict=True)})

    def _reserve_scores(self, positions: int) -> None:
        """Make room for the scores of a head, for each thread: as many as are seen, not as the context may hold."""
        if positions <= self._positions:
            return
        self._positions = 2 * positions
        size = padded(self._config.head_size) + padded(self._positions) + 2 * LANES
        stride = _whole_lines(FLOAT_BYTES * size)
        self._buffers["scores"] = _aligned(self._threads * stride)
        self._set(scores=self._buffers["scores"].ctypes.data, scores_stride=stride)


def _whole_lines(size: int) -> int:
    """Bytes up to the end of a line of the cache."""
    return -(-size // LINE_BYTES) * LINE_BYTES


def _aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that begin with a line of the cache, so many bytes up to whole lines."""
    size = _whole_lines(size)
    whole = np.zeros(size + LINE_BYTES, np.uint8)
    start = -whole.ctypes.data % LINE_BYTES
    return whole[start : start + size]


def _frequencies(size: int, theta: float, scaling: RopeScaling | None = None) -> NDArray[np.float64]:
    """theta^(-2i/E), correctly rounded for the float64 exponent: the system's power differs from machine to machine."""
    with localcontext(prec=40):
        frequencies = [float(Decimal(theta) ** Decimal(-i / size)) for i in range(0, size, 2)]
    return np.array(frequencies if scaling is None else [scaling.scale(frequency) for frequency in frequencies])


def _tap_buffers(c: Config, count: int, wanted: int) -> dict[tuple[int, str], Array]:
    width = {"q": c.q_dim, "k": c.kv_dim, "v": c.kv_dim, "att": c.q_dim, "gate": c.hidden_dim}
    shapes = {(layer, name): (count, width.get(name, c.dim)) for layer in range(c.n_layers) for name in LAYER_TAPS}
    if wanted:
        shapes |= {(c.n_layers, "final_norm"): (wanted, c.dim), (c.n_layers, "logits"): (wanted, c.vocab_size)}
    return {key: np.empty(shape, np.float32) for key, shape in shapes.items()}
