"""Kernels that know one vector at a time, such as llama2_ref's or a researcher's own, called for many."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Rowwise:
    """The kernels of a module, for arrays with one more axis in front: every row is one call."""

    def __init__(self, kernels: ModuleType | Any) -> None:
        self._kernels = kernels

    def matmul(self, w: Array, x: Array) -> Array:
        return _stack(self._kernels.matmul(w, row) for row in x)

    def add(self, x: Array, y: Array) -> Array:
        return _stack(self._kernels.add(*rows) for rows in zip(x, y, strict=True))

    def rmsnorm(self, x: Array, w: Array, eps: float) -> Array:
        return _stack(self._kernels.rmsnorm(row, w, eps) for row in x)

    def rope_table(self, positions: Array, *rope: Any) -> tuple[Array, Array]:
        tables = [self._kernels.rope_table(int(position), *rope) for position in positions]
        return _stack(cosines for cosines, _ in tables), _stack(sines for _, sines in tables)

    def rope(self, x: Array, cosines: Array, sines: Array) -> Array:
        return _stack(self._kernels.rope(*rows) for rows in zip(x, cosines, sines, strict=True))

    def attention(self, q: Array, keys: Array, values: Array, n_heads: int) -> Array:
        before = len(keys) - len(q) + 1
        return _stack(
            self._kernels.attention(row, keys[: before + i], values[: before + i], n_heads) for i, row in enumerate(q)
        )

    def swiglu(self, gate: Array, up: Array) -> Array:
        return _stack(self._kernels.swiglu(*rows) for rows in zip(gate, up, strict=True))

    def quantize_int8(self, x: Array, group_size: int) -> tuple[NDArray[np.int8], Array]:
        rows = [self._kernels.quantize_int8(row, group_size) for row in x]
        return np.stack([np.asarray(q, np.int8) for q, _ in rows]), _stack(scale for _, scale in rows)

    def dequantize_int8(self, *parts: Array) -> Array:
        return _stack(self._kernels.dequantize_int8(*rows) for rows in zip(*parts, strict=True))

    def matmul_int8(self, w_q: Array, w_scale: Array, x_q: Array, x_scale: Array, *w_offset: Array) -> Array:
        vectors = zip(x_q, x_scale, strict=True)
        return _stack(self._kernels.matmul_int8(w_q, w_scale, *rows, *w_offset) for rows in vectors)


def _stack(rows: Any) -> Array:
    return np.stack([np.asarray(row, np.float32) for row in rows])
