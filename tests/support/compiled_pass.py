"""What compiled code may touch in a pass, held to what has been allocated.

Compiled code writes wherever the table of a pass leads: a buffer that is too small shows as other numbers somewhere, or
not at all. `watch` lets a transformer check each pass before it runs: every address of the table must lie in an array
that somebody holds, with room for all that the pass reads and writes there. The room is worked out here, from the sizes
of the model and of the pass, and not by the code that allocates.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from llama2_fast.engines.simd import tables as f

LANES, FLOAT = 16, 4
FLOAT_BYTES = {f.FLOAT32: 4, f.FLOAT16: 2, f.BFLOAT16: 2}


def watch(transformer: Any) -> list[int]:
    """Check each pass of a transformer of the simd backend. Returns a list, to which each adds its number of tokens."""
    job, passes = transformer.engine._job, []
    fill = job.fill

    def checked(pieces: Any, taps: bool) -> Any:
        buffers = fill(pieces, taps)
        passes.append(Pass(transformer.config, job, [piece[2] for piece in pieces], buffers).check())
        return buffers

    job.fill = checked
    return passes


class Pass:
    """The table of a pass, and the arrays to which it, the caches and the taps refer."""

    def __init__(self, config: Any, job: Any, caches: list[Any], buffers: dict[Any, np.ndarray]) -> None:
        self._config, self._job = config, job
        self._count, self._team = self["count"], self["threads"]
        spans = {(array.ctypes.data, array.nbytes) for array in _arrays([job, caches, buffers], set())}
        self._starts, self._sizes = np.array(sorted(spans), np.int64).T

    def __getitem__(self, name: str) -> int:
        return int(self._job[name])

    def check(self) -> int:
        """Assert that all is large enough. Returns the number of tokens."""
        self._rows()
        self._outputs()
        self._caches()
        self._matrices()
        return self._count

    def _room(self, what: str, address: int, size: int) -> None:
        """Assert that there are so many bytes at an address."""
        before = address - self._starts
        left = int((self._sizes - before)[before >= 0].max(initial=0))
        assert size == 0 or left >= size, f"{what} takes {size} bytes, and has {left}"

    def _row_buffer(self, name: str, stride: str, rows: int, width: int) -> None:
        step = self[stride + "_stride"]
        assert step >= width, f"a row of {name} takes {width} bytes, and the next one begins after {step}"
        self._room(name, self[name], (rows - 1) * step + width)

    def _rows(self) -> None:
        """Buffers with a row for each token; where there is one token, or one is wanted, a row for each thread."""
        c, count, own = self._config, self._count, max(self._count, self._team)
        dim, q, kv, hidden = (_vectors(n) * FLOAT for n in (c.dim, c.q_dim, c.kv_dim, c.hidden_dim))
        for name, stride, rows, width in (
            ("x", "dim", count, dim), ("h", "dim", own, dim), ("y", "dim", count, dim), ("q", "q", count, q),
            ("att", "q", count, q), ("k", "kv", count, kv), ("v", "kv", count, kv), ("gate", "hidden", count, hidden),
            ("up", "hidden", count, hidden), ("rope_table", "rope", count, 2 * FLOAT * (c.head_size // 2)),
        ):  # fmt: skip
            self._row_buffer(name, stride, rows, width)
        for groups, group, steps in self._groups():
            quants = (groups - 1) * steps * 4 + _vectors(group)  # whole vectors are stored
            self._row_buffer("quants", "quants", own, quants)
            self._row_buffer("quant_scales", "groups", own, groups * FLOAT)
            self._row_buffer("quant_sums", "groups", own, groups * FLOAT)
        for name in ("tokens", "positions", "keys", "values", "capacities", "errors"):
            self._room(name, self[name], 8 * count)
        positions = max(self._integers("positions", count)) + 1
        scores = FLOAT * (_vectors(c.head_size) + -(-positions // 32) * 32)  # two blocks of positions at a time
        self._row_buffer("scores", "scores", self._team, scores)

    def _outputs(self) -> None:
        """Logits, and copies for taps."""
        c, wanted = self._config, self["wanted"]
        self._room("wanted_rows", self["wanted_rows"], 8 * wanted)
        assert all(0 <= row < self._count for row in self._integers("wanted_rows", wanted))
        if wanted:
            self._row_buffer("logits", "logits", wanted, _vectors(c.vocab_size) * FLOAT)
        if not self["taps"]:
            return
        widths = [c.dim, c.q_dim, c.kv_dim, c.kv_dim, c.q_dim, c.dim, c.dim, c.hidden_dim, c.dim] * c.n_layers
        sizes = [self._count * width for width in widths] + [wanted * n for n in (c.dim, c.vocab_size) if wanted]
        self._room("taps", self["taps"], 8 * len(sizes))
        for number, (place, size) in enumerate(zip(self._integers("taps", len(sizes)), sizes, strict=True)):
            self._room(f"tap {number}", place, size * FLOAT)

    def _caches(self) -> None:
        c, rows = self._config, [self._integers(name, self._count) for name in ("keys", "values", "capacities")]
        for position, keys, values, room in zip(self._integers("positions", self._count), *rows, strict=True):
            assert room % LANES == 0, f"keys are kept in whole blocks (got {room})"
            assert position < room, f"position {position} is behind the end of a cache of {room}"
            heads = c.n_layers * c.n_kv_heads * room
            self._room("keys", keys, heads * c.head_size * FLOAT)
            self._room("values", values, heads * _vectors(c.head_size) * FLOAT)

    def _matrices(self) -> None:
        """Weights, scales and norms."""
        c = self._config
        self._room("norms", self["norms"], 2 * c.n_layers * self["dim_stride"] + _vectors(c.dim) * FLOAT)
        self._room("frequencies", self["frequencies"], 8 * (c.head_size // 2))
        for layout, rows, cols, weights, scales, groups, group, steps in self._descriptions():
            if layout in FLOAT_BYTES:
                self._room("weights", weights, rows * cols * FLOAT_BYTES[layout])
                continue
            blocks = -(-rows // LANES)
            assert groups * group <= cols
            assert steps * 4 >= group
            assert steps % 2 == 0
            self._room("weights", weights, blocks * groups * steps * (64 if layout == f.INT8 else 32))
            self._room("scales", scales, blocks * groups * LANES * (2 if layout == f.INT4 else 4))

    def _groups(self) -> set[tuple[int, ...]]:
        return {each[5:] for each in self._descriptions() if each[0] not in FLOAT_BYTES}

    def _descriptions(self) -> list[tuple[int, ...]]:
        count, size = 7 * self._config.n_layers + 2, f.MATRIX.size
        self._room("matrices", self["matrices"], count * size)
        names = ("layout", "rows", "cols", "weights", "scales", "groups", "group_size", "steps")
        numbers = self._integers("matrices", count * size // 8)
        return [tuple(numbers[(i * size + f.MATRIX.fields[name].offset) // 8] for name in names) for i in range(count)]

    def _integers(self, name: str, count: int) -> list[int]:
        """The numbers at an address of the table."""
        return list((ctypes.c_int64 * count).from_address(self[name])) if count else []


def _vectors(n: int) -> int:
    return -(-n // LANES) * LANES


def _arrays(item: Any, seen: set[int]) -> Iterator[np.ndarray]:
    """All arrays to which something of ours refers."""
    if id(item) in seen:
        return
    seen.add(id(item))
    if isinstance(item, np.ndarray):
        yield item
    elif isinstance(item, memoryview):
        yield np.frombuffer(item, np.uint8)
    elif isinstance(item, dict):
        for each in item.values():
            yield from _arrays(each, seen)
    elif isinstance(item, (list, tuple)):
        for each in item:
            yield from _arrays(each, seen)
    elif type(item).__module__.startswith("llama2_fast"):
        yield from _arrays(vars(item), seen)
