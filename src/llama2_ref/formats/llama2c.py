"""Read and write the checkpoint files of llama2.c: versions 0 and 1 (float32) and 2 (int8 groups)."""

from array import array
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..config import Config
from ..errors import CheckpointError, NumericsError
from ..kernels import rope_table
from ..support.files import FilePath, map_regular, write_whole
from ..tokenizers.read import find_tokenizer
from ..weights import Weights
from .arrays import Arrays
from .lists import LISTS
from .llama2c_header import HEADER_BYTES, ROPE_TABLES, Header, Tensor, default_group_size, parse_header
from .model_file import ModelFile, Progress, Source, WriteOptions
from .tensor_table import LLAMA2C, make_weights, row_of


def detect(source: Source) -> bool:
    """Any file is taken for one that no other format claims: version 0 begins with a number, whichever it is."""
    return source.data is not None


def read(source: Source, arrays: Arrays) -> ModelFile:
    """The model in a checkpoint, and the tokenizer beside it. Raises CheckpointError as `read_checkpoint`."""
    assert source.data is not None
    path = source.path
    header = _header(path, source.data)
    label = f"int8 in groups of {header.group_size}" if header.version == 2 else "float32"
    find = partial(find_tokenizer, path, header.config.vocab_size)
    return ModelFile(
        path,
        header.config,
        collect_weights(header, source.data, arrays),
        "llama2c",
        f"{label}, version {header.version}",
        tokenizer=lambda tokenizer: tokenizer.read(find(), header.config.vocab_size),
        group_size=header.group_size,
        tokenizer_path=find,
    )


def write(
    path: FilePath, file: ModelFile, options: WriteOptions, arrays: Arrays, progress: Progress | None
) -> tuple[str, ...]:
    """Write a checkpoint. Raises what `write_checkpoint` raises."""
    version = 1 if options.version is None else options.version
    write_with(arrays, path, file.config, file.weights, version, progress)
    if file.format == "llama2c":
        return ()
    return ("no tokenizer was written: llama2.c's files have theirs beside them",)


def read_checkpoint(path: FilePath) -> tuple[Config, Weights]:
    """Sizes and weights of a checkpoint. The weights are views of the file, which stays mapped while they live.

    Matrices of version 2 are Int8Matrix, except where groups span rows: those are expanded to float32.

    Raises CheckpointError if the file is missing, or is not exactly one checkpoint of version 0, 1 or 2. A file that
    another program shortens while it is mapped ends this one with a bus error, as with any memory map.
    """
    return read_with(LISTS, path)


def read_with(arrays: Arrays, path: FilePath) -> tuple[Config, Weights]:
    """As `read_checkpoint`, with matrices of any kind of arrays."""
    header, data = map_checkpoint(path)
    return header.config, collect_weights(header, data, arrays)


def map_checkpoint(path: FilePath) -> tuple[Header, memoryview]:
    """The header of a checkpoint, and its bytes as a read-only memory map, once they are known to fit each other."""
    data = map_regular(path, "a checkpoint")
    return _header(path, data), data


def _header(path: FilePath, data: memoryview) -> Header:
    try:
        return parse_header(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def collect_weights(header: Header, data: memoryview, arrays: Arrays) -> Weights:
    """The weights in the bytes of a checkpoint."""
    by_name: dict[str, list[Any]] = {}
    for tensor in header.tensors():
        if tensor.name != ROPE_TABLES:  # they hold nothing that the config does not say
            by_name.setdefault(tensor.name, []).append(_read(data, tensor, header.group_size, arrays))
    fields: dict[str, Any] = {}
    for spec in LLAMA2C.specs():
        if spec.name in by_name:
            made = by_name[spec.name]
            own = made if spec.per_layer and not spec.is_vector else made[0]
            fields[spec.name] = own[0] if spec.is_vector and not spec.per_layer else own
    return make_weights(fields)


def _read(data: memoryview, tensor: Tensor, group_size: int, arrays: Arrays) -> Any:
    rows, cols, start = tensor.rows, tensor.cols, tensor.offset
    if not tensor.quantized:
        return arrays.matrix_from_bytes("F32", data[start : start + rows * cols * 4], rows, cols)
    middle, groups = start + rows * cols, rows * cols // group_size
    return arrays.matrix_from_groups(data[start:middle], data[middle : middle + groups * 4], cols, group_size)


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
    write_with(LISTS, path, config, weights, version, progress)


def write_with(
    arrays: Arrays, path: FilePath, config: Config, weights: Weights, version: int, progress: Progress | None
) -> None:
    """As `write_checkpoint`, with weights of any kind of arrays."""
    if version not in HEADER_BYTES:
        raise CheckpointError(f"version must be one of 0, 1, 2 (got {version!r})")
    LLAMA2C.check_places(weights)
    group_size = default_group_size(config) if version == 2 else 0
    header = Header(version, config, weights.shared_classifier, group_size)
    write_whole(path, _file(header, weights, progress, arrays))


def _file(header: Header, weights: Weights, progress: Progress | None, arrays: Arrays) -> Iterator[bytes]:
    yield header.pack()
    for tensor in header.tensors():
        if tensor.name == ROPE_TABLES:
            yield from _rope_tables(header.config, tensor.layer)
        else:
            yield from _named(tensor, _bytes(_matrix(weights, tensor), tensor, header.group_size, arrays))
        if progress:
            progress(tensor.offset + header.tensor_bytes(tensor.name), header.file_bytes())


def _matrix(weights: Weights, tensor: Tensor) -> Any:
    """The matrix of a tensor's name and layer, or the vectors of all layers."""
    spec, field = row_of(tensor.name).spec, getattr(weights, tensor.name)
    if spec.is_vector:
        return field if spec.per_layer else [field]
    return field[tensor.layer] if spec.per_layer else field


def _bytes(matrix: Any, tensor: Tensor, group_size: int, arrays: Arrays) -> Iterator[bytes]:
    return arrays.matrix_to_groups(matrix, group_size) if tensor.quantized else arrays.matrix_to_bytes(matrix, "F32")


def _named(tensor: Tensor, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except NumericsError as error:
        raise NumericsError(f"{tensor.name} of layer {tensor.layer}: {error}") from None


def _rope_tables(config: Config, which: int) -> Iterator[bytes]:
    """Cosines (0) or sines (1) of every position: this project never reads them, but some other programs do."""
    for position in range(config.seq_len):
        yield array("f", rope_table(position, *config.rope)[which]).tobytes()
