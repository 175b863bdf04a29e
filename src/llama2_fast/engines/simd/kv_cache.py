"""The key/value cache that compiled code reads and writes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config

from .tables import LANES, padded

Array = NDArray[np.float32]


class KVCache:
    """Keys in blocks of LANES positions, (L, K, S / LANES, E, LANES), and values in whole vectors, (L, K, S, E)."""

    def __init__(self, config: Config) -> None:
        self.length = 0
        self.config = config
        c = config
        keys = np.zeros((c.n_layers, c.n_kv_heads, 0, c.head_size, LANES), np.float32)
        self._arrays = keys, np.zeros((c.n_layers, c.n_kv_heads, 0, padded(c.head_size)), np.float32)
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
        keys[layer][:, places // LANES, :, places % LANES] = np.reshape(key, heads)
        values[layer, :, position:end, : heads[2]] = np.reshape(value, heads).transpose(1, 0, 2)

    def copy(self) -> "KVCache":
        """A cache of its own that holds the same tokens."""
        other = KVCache(self.config)
        (keys, values), room = self._arrays, padded(self.length)
        other._adopt(keys[:, :, : room // LANES].copy(), values[:, :, :room].copy())
        other.length = self.length
        return other

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As Python's `copy` and `pickle` make one: its arrays lie at addresses of their own."""
        vars(self).update(state)
        self._adopt(*self._arrays)

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens, and for as many again, up to the context."""
        if length <= self.room[2]:
            return
        room = padded(min(2 * length, self.config.seq_len))
        keys, values = self._arrays
        self._adopt(_grown(keys, room // LANES), _grown(values, room))

    def _adopt(self, keys: Array, values: Array) -> None:
        places = keys.ctypes.data, values.ctypes.data, values.shape[2]
        # In one assignment: Ctrl-C must not leave the old addresses beside new arrays.
        self._arrays, self.room = (keys, values), places


def _grown(array: Array, length: int) -> Array:
    """The same numbers, with zeros behind them on the third axis."""
    new = np.zeros((*array.shape[:2], length, *array.shape[3:]), np.float32)
    new[:, :, : array.shape[2]] = array
    return new
