"""As llama2_ref.weights, whose fields hold read-only arrays here: `wq` is (L, H*E, D), and so on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llama2_ref.weights import (
    AnyMatrix,
    Int4Matrix,
    Int4OffsetMatrix,
    Int8Matrix,
    IntegerMatrix,
    Weights,
    matrix_of,
)

__all__ = [
    "AnyMatrix",
    "BFloat16Matrix",
    "Blocks",
    "Int4Matrix",
    "Int4OffsetMatrix",
    "Int8Matrix",
    "IntegerMatrix",
    "Weights",
    "expand",
    "matrix_of",
]


@dataclass(frozen=True)
class BFloat16Matrix:
    """A matrix of bfloat16 numbers, for which numpy has no type: the upper halves of float32 numbers."""

    bits: NDArray[np.uint16]  # (rows, cols)
    dtype: ClassVar[str] = "bfloat16"  # as that of an array is told

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.bits.shape

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        """Some rows as float32 numbers: exact."""
        wide: NDArray[np.float32] = (self.bits[rows].astype(np.uint32) << np.uint32(16)).view(np.float32)
        return wide

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class Blocks:
    """Integers that stay in the blocks of their file: (rows, cols), each row unpacked when it is asked for.

    What packs them anew, or writes them, then takes memory for some rows at a time only.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, blocks: NDArray[np.uint8], unpack: Callable[[NDArray[np.uint8]], NDArray[np.int8]]) -> None:
        """`blocks` is (rows, cols / 32, bytes), of which `unpack` makes (rows, cols)."""
        self._blocks, self._unpack = blocks, unpack
        self.shape = len(blocks), 32 * blocks.shape[1]

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, rows: Any) -> NDArray[np.int8]:
        blocks = self._blocks[rows]
        return self._unpack(blocks) if blocks.ndim == 3 else self._unpack(blocks[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def expand(matrix: Any) -> Any:
    """A matrix as numpy computes with it: float16 and bfloat16 become float32, blocks are unpacked."""
    if matrix_of(matrix).group_size:
        return replace(matrix, q=np.asarray(matrix.q))
    half = str(getattr(matrix, "dtype", "")) in ("float16", "bfloat16")
    return np.asarray(matrix, np.float32) if half else matrix
