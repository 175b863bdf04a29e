"""The seam of llama2_ref.formats.arrays by numpy: all but scales stays in the memory maps of files."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import CheckpointError
from llama2_ref.formats.arrays import LARGEST, some_rows, too_large
from llama2_ref.formats.dtypes import BLOCK, BLOCKS
from llama2_ref.formats.safetensors import TensorInfo

from ..quantize import dequantize_int8, float_parts, quantize_int8, quantize_matrix
from ..weights import BFloat16Matrix, Blocks, Int4Matrix, Int4OffsetMatrix, Int8Matrix, matrix_of
from .ggml import to_blocks, to_q8_0

CACHE_DTYPES = {"F32": np.float32, "F64": np.float64}


class NumpyArrays:
    """Everything that llama2_ref.formats.arrays.Arrays asks for."""

    cache_dtype = "F32"

    def matrix_from_bytes(self, dtype: str, data: memoryview, rows: int, cols: int) -> Any:
        """A float32 or float16 array, a BFloat16Matrix, or integers that are unpacked when rows are asked for."""
        if dtype == "F32":
            return np.frombuffer(data, np.float32).reshape(rows, cols)
        if dtype == "F16":
            return np.frombuffer(data, np.float16).reshape(rows, cols)
        if dtype == "BF16":
            return BFloat16Matrix(np.frombuffer(data, np.uint16).reshape(rows, cols))
        blocks = np.frombuffer(data, np.uint8).reshape(rows, cols // BLOCK, BLOCKS[dtype][1])
        scale = _halves(blocks, 0)
        if dtype == "Q8_0":
            return Int8Matrix(Blocks(blocks[:, :, 2:], _bytes), scale)
        if dtype == "Q4_0":
            return Int4Matrix(Blocks(blocks[:, :, 2:], lambda packed: _nibbles(packed) - np.int8(8)), scale)
        return Int4OffsetMatrix(Blocks(blocks[:, :, 4:], _nibbles), scale, _halves(blocks, 2))

    def matrix_from_groups(self, q: memoryview, scale: memoryview, cols: int, group_size: int) -> Any:
        """An Int8Matrix of views, or a float32 array."""
        numbers, scales = np.frombuffer(q, np.int8), np.frombuffer(scale, np.float32)
        if cols % group_size:
            return dequantize_int8(numbers, scales).reshape(-1, cols)
        return Int8Matrix(numbers.reshape(-1, cols), scales.reshape(-1, cols // group_size))

    def matrix_from_blocks(self, ggml_type: str, data: memoryview, rows: int, cols: int) -> Any:
        """An Int8Matrix, made many rows at a time."""
        return self.matrix_from_bytes("Q8_0", to_q8_0(ggml_type, data, rows, cols).data.cast("B"), rows, cols)

    def matrix_to_bytes(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The bytes of many rows after the others: those of the reference, but for NaN."""
        for part in float_parts(matrix):
            if dtype == "F32":
                yield part.tobytes()
                continue
            _check_range(part, dtype)
            yield (part.astype(np.float16) if dtype == "F16" else _bfloat16s(part)).tobytes()

    def matrix_to_blocks(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The blocks of many rows after the others."""
        return to_blocks(matrix, dtype)

    def matrix_to_groups(self, matrix: Any, group_size: int) -> Iterator[bytes]:
        """The bytes of many rows of integers after the others, then the scales."""
        known = matrix_of(matrix)
        if known.group_size == group_size and len(known.parts) == 2:
            q, scale = known.parts
            yield np.asarray(q, np.int8).tobytes()
            yield np.asarray(scale, np.float32).tobytes()
            return
        scales = []
        for part in float_parts(matrix):
            q, scale = quantize_int8(part, group_size)
            scales.append(scale.tobytes())
            yield q.tobytes()
        yield from scales

    def fingerprint_bytes(self, matrix: Any, quantization: str | None) -> Iterator[bytes]:
        """Of a matrix that is still to be quantized, as it will be."""
        known = matrix_of(matrix)
        known = known.take_rows(some_rows(known.shape[0]))
        if quantization:
            known = matrix_of(quantize_matrix(known.stored, quantization))
        yield known.fingerprint_name.encode()
        for part in known.parts:
            integers = known.group_size and part is known.parts[0]
            yield np.asarray(part, np.int8 if integers else np.float32).tobytes()

    def cache_bytes(self, layers: Any, count: int) -> Iterator[bytes]:
        """float32 numbers: those that all engines compute with."""
        for layer in layers:
            yield layer[:count].tobytes()

    def fill_cache(self, cache: Any, keys: TensorInfo, values: TensorInfo) -> None:
        """A whole layer at a time."""
        rows = [_finite(tensor) for tensor in (keys, values)]
        for layer, (key, value) in enumerate(zip(*rows, strict=True)):
            cache.store(layer, 0, key, value)


ARRAYS = NumpyArrays()


def _halves(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    """The float16 number at a place of each block: (rows, groups)."""
    return np.ascontiguousarray(blocks[:, :, at : at + 2]).view(np.float16)[:, :, 0].astype(np.float32)


def _bytes(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(rows, groups, 32) -> (rows, groups * 32)"""
    return np.ascontiguousarray(packed).view(np.int8).reshape(len(packed), -1)


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Lower halves of the bytes of a block, then the upper ones: (rows, groups, 16) -> (rows, groups * 32)."""
    out = np.empty((*packed.shape[:2], 2, packed.shape[2]), np.int8)
    np.bitwise_and(packed, 15, out=out[:, :, 0].view(np.uint8))
    np.right_shift(packed, 4, out=out[:, :, 1].view(np.uint8))
    return out.reshape(len(packed), -1)


def _check_range(part: NDArray[np.float32], dtype: str) -> None:
    """Raise NumericsError if a number becomes infinite that was not."""
    wrong = part[np.isfinite(part) & (np.abs(part) >= LARGEST[dtype])]
    if len(wrong):
        raise too_large(dtype, float(wrong[0]))


def _bfloat16s(part: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(part).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (np.where(np.isnan(part), bits | np.uint32(0x400000), rounded) >> np.uint32(16)).astype(np.uint16)


def _finite(tensor: TensorInfo) -> NDArray[np.float32]:
    """(L, T, K*E) of a file. Raises CheckpointError if a number is not finite, in float32."""
    dtype = CACHE_DTYPES[tensor.dtype]
    with np.errstate(over="ignore"):
        numbers = np.frombuffer(tensor.data, dtype).reshape(tensor.shape).astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        raise CheckpointError("keys and values of a session must be finite (these are not)")
    return numbers
