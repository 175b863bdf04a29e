"""The one seam between files and arithmetic: bytes become matrices, and matrices bytes.

Readers and writers of formats know no kind of array. They are handed an object of this protocol: `lists.LISTS` makes
plain Python's matrices with the standard library alone, `llama2_fast.matrices.arrays.ARRAYS` those of numpy.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import NumericsError
from .safetensors import TensorInfo

LARGEST = {"F16": 65520.0, "BF16": 2.0**128 - 2.0**119}  # from here on numbers round to infinity
NAMES = {"F16": "float16", "BF16": "bfloat16"}


class Arrays(Protocol):
    """What formats ask for. Names of dtypes are those of `dtypes`."""

    cache_dtype: str  # "F64" or "F32": of keys and values in a session

    def matrix_from_bytes(self, dtype: str, data: memoryview, rows: int, cols: int) -> Any:
        """A matrix, (rows, cols), over bytes that are rows * row_bytes(dtype, cols) of them, and stay where they are.

        `dtype` is one of `dtypes.DTYPES`. Views of a file keep its memory map alive.
        """

    def matrix_from_groups(self, q: memoryview, scale: memoryview, cols: int, group_size: int) -> Any:
        """A matrix of int8 numbers and float32 scales, each in a piece of its own, as in llama2.c's version 2.

        Where groups span rows, which no kernel knows, it is expanded to float32.
        """

    def matrix_from_blocks(self, ggml_type: str, data: memoryview, rows: int, cols: int) -> Any:
        """A matrix of int8 in groups of 32, of blocks of a type in `ggml_blocks.GROUPS`.

        Raises NumericsError if a number is not finite and below `ggml_blocks.INT8_MOST`.
        """

    def matrix_to_bytes(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The rows of a matrix of any kind as "F32", "F16" or "BF16", in chunks of whole rows.

        Raises NumericsError if a finite number becomes infinite.
        """

    def matrix_to_blocks(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The rows of a matrix of any kind as "Q8_0" or "Q4_0", in chunks of whole rows.

        Integers of such blocks keep every bit, all others are quantized from floats. Raises NumericsError if a number
        is not finite, or too large for a block.
        """

    def matrix_to_groups(self, matrix: Any, group_size: int) -> Iterator[bytes]:
        """All int8 numbers, then all float32 scales. Those of groups of this size stay as they are.

        Others are quantized from floats. Raises NumericsError if a number is not finite.
        """

    def fingerprint_bytes(self, matrix: Any, quantization: str | None) -> Iterator[bytes]:
        """What `session.fingerprint` sees of a matrix: its kind, and `some_rows` of it.

        `quantization` is what the engine makes of the matrix after this: "int8", "int4", "float32", or None.
        """

    def cache_bytes(self, layers: Any, count: int) -> Iterator[bytes]:
        """Keys or values of the first `count` tokens in a cache, a chunk a layer, as `cache_dtype`."""

    def fill_cache(self, cache: Any, keys: TensorInfo, values: TensorInfo) -> None:
        """Put keys and values, (L, T, K*E) of F32 or F64, into an empty cache. `cache.length` is the caller's.

        Raises CheckpointError if a number is not finite.
        """


def some_rows(count: int) -> list[int]:
    """The rows of a matrix that a fingerprint sees."""
    return sorted({0, count // 3, 2 * count // 3, count - 1})


def too_large(dtype: str, number: float) -> NumericsError:
    """What to raise where a finite number would become infinite."""
    return NumericsError(f"numbers must be below {LARGEST[dtype]:g} to become {NAMES[dtype]} (got {number:g})")
