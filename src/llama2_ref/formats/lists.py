"""The seam of `arrays` by plain lists, arrays and memory views of the standard library: for the reference."""

import struct
from array import array
from collections.abc import Iterator
from itertools import chain
from math import isfinite
from typing import Any

from ..errors import CheckpointError
from ..quantize import dequantize_int8, float_rows, quantize_int8
from ..weights import Expanding, Int4Matrix, Int4OffsetMatrix, Int8Matrix, Matrix, matrix_of
from .arrays import LARGEST, some_rows, too_large
from .dtypes import BLOCK, BLOCKS
from .ggml_blocks import INTEGERS, blocks_of_floats, blocks_of_integers, to_q8_0
from .safetensors import TensorInfo


class Lists:
    """Everything that `arrays.Arrays` asks for."""

    cache_dtype = "F64"

    def matrix_from_bytes(self, dtype: str, data: memoryview, rows: int, cols: int) -> Any:
        """A Matrix over the bytes, or integers and scales that are unpacked from their blocks."""
        if dtype == "F32":
            return Matrix(data.cast("f"), rows, cols)
        if dtype in ("F16", "BF16"):
            return Matrix(Expanding(data, dtype), rows, cols)
        numbers, size = BLOCKS[dtype]
        groups = cols // numbers
        blocks = [data[start : start + size] for start in range(0, len(data), size)]
        scale = Matrix(_halves(blocks, 0), rows, groups)
        if dtype == "Q8_0":
            return Int8Matrix(Matrix(memoryview(b"".join(block[2:] for block in blocks)).cast("b"), rows, cols), scale)
        if dtype == "Q4_0":
            return Int4Matrix(Matrix(_nibbles(blocks, 2, 8), rows, cols), scale)
        offset = Matrix(_halves(blocks, 2), rows, groups)
        return Int4OffsetMatrix(Matrix(_nibbles(blocks, 4, 0), rows, cols), scale, offset)

    def matrix_from_groups(self, q: memoryview, scale: memoryview, cols: int, group_size: int) -> Any:
        """An Int8Matrix over the bytes, or a Matrix of float32 numbers."""
        numbers, scales, rows = q.cast("b"), scale.cast("f"), len(q) // cols
        if cols % group_size:
            return Matrix(array("f", dequantize_int8(numbers, scales)), rows, cols)
        return Int8Matrix(Matrix(numbers, rows, cols), Matrix(scales, rows, cols // group_size))

    def matrix_from_blocks(self, ggml_type: str, data: memoryview, rows: int, cols: int) -> Any:
        """An Int8Matrix, row by row."""
        return self.matrix_from_bytes("Q8_0", memoryview(to_q8_0(ggml_type, data, rows)), rows, cols)

    def matrix_to_bytes(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The bytes of a row after the other."""
        for row in float_rows(matrix):
            bits = _float32(row)
            if dtype == "F32":
                yield bits
            elif dtype == "F16":
                yield _float16s(memoryview(bits).cast("f"))
            else:
                yield _bfloat16s(memoryview(bits).cast("I"))

    def matrix_to_blocks(self, matrix: Any, dtype: str) -> Iterator[bytes]:
        """The blocks of a row after the other."""
        known = matrix_of(matrix)
        if known.label == INTEGERS[dtype] and known.group_size == BLOCK and _are_float16(known.parts[1]):
            q, scales = known.parts
            yield from (blocks_of_integers(*row, dtype) for row in zip(q, scales, strict=True))
        else:
            yield from (blocks_of_floats(_as_float32(row), dtype) for row in float_rows(matrix))

    def matrix_to_groups(self, matrix: Any, group_size: int) -> Iterator[bytes]:
        """The bytes of a row of integers after the other, then the scales."""
        known = matrix_of(matrix)
        if known.group_size == group_size and len(known.parts) == 2:
            q, scale = known.parts
            yield from (array("b", row).tobytes() for row in q)
            yield from (_float32(row) for row in scale)
            return
        scales = array("f")
        for row in float_rows(matrix):
            q, scale = quantize_int8(row, group_size)
            scales.extend(scale)
            yield array("b", q).tobytes()
        yield scales.tobytes()

    def fingerprint_bytes(self, matrix: Any, quantization: str | None) -> Iterator[bytes]:
        """The kind's name, then rows of each part. The reference quantizes before there is a transformer."""
        assert quantization is None
        known = matrix_of(matrix)
        yield known.fingerprint_name.encode()
        for part in known.parts:
            code = "b" if known.group_size and part is known.parts[0] else "f"
            for row in some_rows(len(part)):
                yield array(code, part[row]).tobytes()

    def cache_bytes(self, layers: Any, count: int) -> Iterator[bytes]:
        """float64 numbers: those that the reference computes with."""
        for layer in layers:
            yield array("d", chain.from_iterable(layer[:count])).tobytes()

    def fill_cache(self, cache: Any, keys: TensorInfo, values: TensorInfo) -> None:
        """Lists of floats."""
        for tensor, layers in ((keys, cache.keys), (values, cache.values)):
            numbers = tensor.data.cast("f") if tensor.dtype == "F32" else tensor.data.cast("d")
            if not all(map(isfinite, numbers)):
                raise CheckpointError("keys and values of a session must be finite (these are not)")
            count, width = tensor.shape[1:]
            for layer, rows in enumerate(layers):
                starts = range(layer * count * width, (layer + 1) * count * width, width)
                rows[:] = [list(numbers[start : start + width]) for start in starts]


LISTS = Lists()


def _halves(blocks: list[memoryview], at: int) -> "array[float]":
    """The float16 number at a place of each block."""
    return array("f", (struct.unpack_from("<e", block, at)[0] for block in blocks))


def _nibbles(blocks: list[memoryview], at: int, minus: int) -> "array[int]":
    """The integers of each block, less by a number: lower halves of the bytes first, then the upper ones."""
    lower = bytes((byte & 15) - minus & 255 for byte in range(256))
    upper = bytes((byte >> 4) - minus & 255 for byte in range(256))
    packed = (bytes(block[at:]) for block in blocks)
    return array("b", b"".join(part.translate(half) for part in packed for half in (lower, upper)))


def _float32(row: Any) -> bytes:
    """A row as float32 numbers. Those of a file stay as they are: through Python's floats some NaN become others."""
    return bytes(row) if isinstance(row, memoryview) and row.format == "f" else array("f", row).tobytes()


def _as_float32(row: Any) -> "memoryview[float]":
    return memoryview(_float32(row)).cast("f")


def _are_float16(rows: Any) -> bool:
    """Are all numbers float16 ones?"""
    try:
        packed = ((row, struct.pack(f"<{len(row)}e", *row)) for row in rows)
        return all(struct.unpack(f"<{len(row)}e", data) == tuple(row) for row, data in packed)
    except OverflowError:
        return False


def _float16s(row: "memoryview[float]") -> bytes:
    try:
        return struct.pack(f"<{len(row)}e", *row)
    except OverflowError:
        raise too_large("F16", next(x for x in row if isfinite(x) and abs(x) >= LARGEST["F16"])) from None


def _bfloat16s(row: memoryview) -> bytes:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; NaN stays NaN."""
    out = array("H")
    for bits in row:
        magnitude = bits & 0x7FFFFFFF
        if 0x7F7F8000 <= magnitude < 0x7F800000:
            raise too_large("BF16", struct.unpack("<f", struct.pack("<I", bits))[0])
        out.append(bits >> 16 | 0x40 if magnitude > 0x7F800000 else bits + 0x7FFF + (bits >> 16 & 1) >> 16)
    return out.tobytes()
