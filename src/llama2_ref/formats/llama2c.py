"""Read and write the checkpoint files of llama2.c: versions 0 and 1 (float32) and 2 (int8 groups)."""

import mmap
import os
from array import array
from collections.abc import Callable, Iterator
from typing import Any

from ..config import Config
from ..errors import CheckpointError, NumericsError
from ..kernels import rope_table
from ..quantize import dequantize_int8, float_rows, quantize_int8
from ..support.files import is_special, write_whole
from ..weights import Int8Matrix, Matrix, Weights
from .llama2c_header import (
    ATTENTION,
    FEED_FORWARD,
    HEADER_BYTES,
    ROPE_TABLES,
    Header,
    Tensor,
    default_group_size,
    parse_header,
)

FilePath = str | os.PathLike[str]
Progress = Callable[[int, int], None]


def read_checkpoint(path: FilePath) -> tuple[Config, Weights]:
    """Sizes and weights of a checkpoint. The weights are views of the file, which stays mapped while they live.

    Matrices of version 2 are Int8Matrix, except where groups span rows: those are expanded to float32.

    Raises CheckpointError if the file is missing, or is not exactly one checkpoint of version 0, 1 or 2. A file that
    another program shortens while it is mapped ends this one with a bus error, as with any memory map.
    """
    header, data = map_checkpoint(path)
    view = memoryview(data)
    return header.config, collect_weights(header, lambda tensor: _read(view, tensor, header.group_size))


def map_checkpoint(path: FilePath) -> tuple[Header, mmap.mmap]:
    """The header of a checkpoint, and its bytes as a read-only memory map, once they are known to fit each other."""
    try:
        if is_special(path):
            raise CheckpointError("a checkpoint must be a regular file (this is none)")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = parse_header(file.read(max(HEADER_BYTES.values())), size)
            return header, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or a file that shrank meanwhile
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: a checkpoint must be a readable file ({reason})") from None


def collect_weights(header: Header, read: Callable[[Tensor], Any]) -> Weights:
    """Weights whose tensors are made by `read`, one call for each tensor in the file."""
    found: dict[str, list[Any]] = {}
    for tensor in header.tensors():
        if tensor.name != ROPE_TABLES:  # they hold nothing that the config does not say
            found.setdefault(tensor.name, []).append(read(tensor))
    table = found["token_embedding_table"][0]
    return Weights(
        table, found["rms_att_weight"][0], found["wq"], found["wk"], found["wv"], found["wo"],
        found["rms_ffn_weight"][0], found["w1"], found["w2"], found["w3"],
        found["rms_final_weight"][0][0], found.get("wcls", [table])[0],
    )  # fmt: skip


def _read(view: memoryview, tensor: Tensor, group_size: int) -> Matrix | Int8Matrix:
    rows, cols, start = tensor.rows, tensor.cols, tensor.offset
    if not tensor.quantized:
        return Matrix(view[start : start + rows * cols * 4].cast("f"), rows, cols)
    middle, groups = start + rows * cols, rows * cols // group_size
    q, scale = view[start:middle].cast("b"), view[middle : middle + groups * 4].cast("f")
    if cols % group_size:
        return Matrix(array("f", dequantize_int8(q, scale)), rows, cols)
    return Int8Matrix(Matrix(q, rows, cols), Matrix(scale, rows, cols // group_size))


def write_checkpoint(
    path: FilePath, config: Config, weights: Weights, version: int = 1, progress: Progress | None = None
) -> None:
    """Write a checkpoint of version 0, 1 or 2, beside `path` and then renamed.

    Version 2 quantizes float32 matrices in groups of the largest size, up to 64, that divides `dim` and `hidden_dim`;
    int8 matrices with other groups are expanded first, as they are for versions 0 and 1. `progress(done, total)` is
    called with bytes after each tensor.

    Raises CheckpointError if `version` is another one or the file can't be written, and NumericsError if a weight to
    be quantized is not finite.
    """
    write_tensors(path, config, weights, version, progress, _write)


def write_tensors(
    path: FilePath, config: Config, weights: Weights, version: int, progress: Progress | None,
    write: Callable[[Tensor, Any, int], Iterator[bytes]],
) -> None:  # fmt: skip
    """Write a checkpoint whose tensors are turned into bytes by `write(tensor, matrix, group_size)`."""
    if version not in HEADER_BYTES:
        raise CheckpointError(f"version must be one of 0, 1, 2 (got {version!r})")
    group_size = default_group_size(config) if version == 2 else 0
    header = Header(version, config, weights.shared_classifier, group_size)
    write_whole(path, _file(header, weights, progress, write))


def _file(header: Header, weights: Weights, progress: Progress | None, write: Callable[..., Iterator[bytes]]) -> Any:
    yield header.pack()
    for tensor in header.tensors():
        if tensor.name == ROPE_TABLES:
            yield from _rope_tables(header.config, tensor.layer)
        else:
            yield from _named(tensor, write(tensor, _matrix(weights, tensor), header.group_size))
        if progress:
            progress(tensor.offset + header.tensor_bytes(tensor.name), header.file_bytes())


def _matrix(weights: Weights, tensor: Tensor) -> Any:
    """The matrix of a tensor's name and layer, as a sequence of rows or an Int8Matrix."""
    field = getattr(weights, tensor.name)
    if tensor.name == "rms_final_weight":
        return [field]
    return field[tensor.layer] if tensor.name in (*ATTENTION, *FEED_FORWARD) else field


def _named(tensor: Tensor, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except NumericsError as error:
        raise NumericsError(f"{tensor.name} of layer {tensor.layer}: {error}") from None


def _rope_tables(config: Config, which: int) -> Iterator[bytes]:
    """Cosines (0) or sines (1) of every position: this project never reads them, but some other programs do."""
    for position in range(config.seq_len):
        yield array("f", rope_table(position, *config.rope)[which]).tobytes()


def _write(tensor: Tensor, matrix: Any, group_size: int) -> Iterator[bytes]:
    if not tensor.quantized:
        yield from (_float32(row) for row in float_rows(matrix))
    elif isinstance(matrix, Int8Matrix) and matrix.group_size == group_size:
        yield from (array("b", row).tobytes() for row in matrix.q)
        yield from (_float32(row) for row in matrix.scale)
    else:
        scales = array("f")
        for row in float_rows(matrix):
            q, scale = quantize_int8(row, group_size)
            scales.extend(scale)
            yield array("b", q).tobytes()
        yield scales.tobytes()


def _float32(row: Any) -> bytes:
    """A row as float32 numbers. Those of a file stay as they are: through Python's floats some NaN become others."""
    return bytes(row) if isinstance(row, memoryview) and row.format == "f" else array("f", row).tobytes()
