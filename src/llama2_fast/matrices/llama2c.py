"""Read and write llama2.c's checkpoint files, as llama2_ref.formats.llama2c, with arrays over the memory map."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config
from llama2_ref.formats.llama2c import FilePath, Progress, collect_weights, map_checkpoint, write_tensors
from llama2_ref.formats.llama2c_header import Tensor

from ..quantize import dequantize_int8, float_parts, quantize_int8
from ..weights import Int8Matrix, Weights


def read_checkpoint(path: FilePath) -> tuple[Config, Weights]:
    """Sizes and weights of a checkpoint, as read-only arrays over the file. As llama2_ref.read_checkpoint."""
    header, data = map_checkpoint(path)
    return header.config, collect_weights(header, lambda tensor: _read(data, tensor, header.group_size))


def _read(data: mmap.mmap, tensor: Tensor, group_size: int) -> NDArray[np.float32] | Int8Matrix:
    rows, cols, start = tensor.rows, tensor.cols, tensor.offset
    if not tensor.quantized:
        return np.frombuffer(data, np.float32, rows * cols, start).reshape(rows, cols)
    q = np.frombuffer(data, np.int8, rows * cols, start)
    scale = np.frombuffer(data, np.float32, rows * cols // group_size, start + rows * cols)
    if cols % group_size:
        return dequantize_int8(q, scale).reshape(rows, cols)
    return Int8Matrix(q.reshape(rows, cols), scale.reshape(rows, -1))


def write_checkpoint(
    path: FilePath, config: Config, weights: Weights, version: int = 1, progress: Progress | None = None
) -> None:
    """Write a checkpoint of version 0, 1 or 2. As llama2_ref.write_checkpoint, byte for byte."""
    write_tensors(path, config, weights, version, progress, _write)


def _write(tensor: Tensor, matrix: Any, group_size: int) -> Iterator[bytes]:
    if not tensor.quantized:
        yield from (part.tobytes() for part in float_parts(matrix))
    elif isinstance(matrix, Int8Matrix) and matrix.group_size == group_size:
        yield np.asarray(matrix.q, np.int8).tobytes()
        yield np.asarray(matrix.scale, np.float32).tobytes()
    else:
        scales = []
        for part in float_parts(matrix):
            q, scale = quantize_int8(part, group_size)
            scales.append(scale.tobytes())
            yield q.tobytes()
        yield from scales
