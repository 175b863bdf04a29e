"""The table that compiled code reads in one pass of the model, and the buffers that it names."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config, RopeScaling

from ...weights import Weights
from . import fields as f
from .fields import padded
from .kv_cache import KVCache
from .packing import Packed

Array = NDArray[np.float32]
Piece = tuple[int, Sequence[int], KVCache, int]  # number of the sequence, tokens, cache, how many logits are wanted

LINE = 64  # bytes


class Job:
    """The table that compiled code reads, and the buffers that it names."""

    def __init__(self, config: Config, weights: Weights, matrices: list[Packed], threads: int) -> None:
        self._config, self._matrices, self._threads = config, matrices, threads
        self._room = self._positions = 0  # rows, and positions, that buffers are made for
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        table = _aligned(f.JOB_SIZE)
        self._table = table.data.cast("q")
        self.address = table.ctypes.data
        self._description = np.array([m.description for m in matrices], np.int64)
        norms = np.zeros((2 * config.n_layers + 1, padded(config.dim)), np.float32)
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
        self.logits = np.empty((wanted, padded(self._config.vocab_size)), np.float32)
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
        dim, q, kv, hidden = (4 * padded(n) for n in (c.dim, c.q_dim, c.kv_dim, c.hidden_dim))
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
        stride = 4 * (padded(self._config.head_size) + padded(self._positions) + 2 * f.LANES)
        self._buffers["SCORES"] = _aligned(self._threads * -(-stride // LINE) * LINE)
        self._set(SCORES=self._buffers["SCORES"].ctypes.data, STRIDE_SCORES=-(-stride // LINE) * LINE)


def _aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that begin with a line of the cache, so many bytes up to whole lines."""
    size = -(-size // LINE) * LINE
    whole = np.zeros(size + LINE, np.uint8)
    start = -whole.ctypes.data % LINE
    return whole[start : start + size]


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
