"""As llama2_ref.weights, whose fields hold read-only arrays here: `wq` is (L, H*E, D), and so on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.weights import Int4Matrix, Int4OffsetMatrix, Int8Matrix, IntegerMatrix, Weights

__all__ = ["BFloat16Matrix", "Int4Matrix", "Int4OffsetMatrix", "Int8Matrix", "IntegerMatrix", "Weights", "expand"]


@dataclass(frozen=True)
class BFloat16Matrix:
    """A matrix of bfloat16 numbers, for which numpy has no type: the upper halves of float32 numbers."""

    bits: NDArray[np.uint16]  # (rows, cols)

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


def expand(matrix: Any) -> Any:
    """A float16 or bfloat16 matrix as float32 numbers, any other one as it is."""
    half = isinstance(matrix, BFloat16Matrix) or getattr(matrix, "dtype", None) == np.float16
    return np.asarray(matrix, np.float32) if half else matrix
