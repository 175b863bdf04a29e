"""Read and write safetensors files: a length, a JSON header of that length, and the bytes of tensors.

    8 bytes             length of the header, little-endian
    header              {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, in which
                        "__metadata__" may hold an object of strings; spaces may follow
    the rest            tensors, little-endian, row-major, without gaps; offsets count from here

Everything that a header says is checked against the size of the file before anything is made of it.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from ..errors import CheckpointError
from ..support.files import FilePath, map_regular, write_whole
from ..support.strict_json import is_count, is_text, parse_object, shown

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
LONGEST_HEADER = 100_000_000  # the limit of the format
MOST_DIMENSIONS = 64
METADATA = "__metadata__"
ALIGNMENT = 8  # of the first byte behind a header that is written here


class TensorInfo(NamedTuple):
    """One tensor: the name of its type, its shape, and its bytes, which are a view of the file."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


@dataclass(frozen=True)
class SafeTensors:
    """What a file holds, in its order."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]


def read_file(path: FilePath) -> SafeTensors:
    """Every tensor of a file, which stays mapped while one of them lives.

    Raises CheckpointError if it is missing, or is not exactly one safetensors file.
    """
    if sys.byteorder != "little":
        rule = "safetensors are little-endian, and are mapped as they are: this machine is big-endian"
        raise CheckpointError(f"{path}: {rule}")
    file = map_regular(path, "a safetensors file")
    try:
        header, data = _header(file)
        entries, metadata = _entries(header, len(data))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    start = len(file) - len(data)
    return SafeTensors({name: _view(file, start, entry) for name, entry in entries.items()}, metadata)


def _header(file: memoryview) -> tuple[bytes, memoryview]:
    """The bytes of the header, and of all tensors."""
    size = len(file)
    if size < 8:
        raise CheckpointError(f"a safetensors file begins with 8 bytes (got {size}): it is truncated, or no such file")
    length = int.from_bytes(file[:8], "little")
    if length > LONGEST_HEADER:
        raise CheckpointError(
            f"the header must have at most {LONGEST_HEADER} bytes (got {length}): no safetensors file"
        )
    if length > size - 8:
        raise CheckpointError(f"the header must end in the file (got {length} of {size - 8} bytes): it is truncated")
    header = bytes(file[8 : 8 + length])
    if header[:1] != b"{":
        raise CheckpointError(f"the header must begin with {{ (got {header[:1]!r}): no safetensors file")
    return header, file[8 + length :]


Entry = tuple[str, tuple[int, ...], int, int]


def _view(view: memoryview, start: int, entry: Entry) -> TensorInfo:
    """A tensor over the bytes of the file, or over a copy where items are not aligned, as in some older files."""
    dtype, shape, first, last = entry
    data = view[start + first : start + last]
    return TensorInfo(dtype, shape, memoryview(bytes(data)) if (start + first) % ITEM_BYTES[dtype] else data)


def _entries(header: bytes, data_bytes: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """name -> (type, shape, first byte, byte behind the last), and the metadata: all checked, in the order of bytes."""
    try:
        by_name = parse_object(header)
    except ValueError as error:
        raise CheckpointError(f"header: {error}") from None
    metadata = by_name.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(is_text(value) for value in metadata.values()):
        raise CheckpointError(f"{METADATA} must be an object of strings (got {shown(metadata)})")
    entries = {name: _entry(name, fields) for name, fields in by_name.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: item[1][2:]))
    end = 0
    for name, (_, _, first, last) in ordered.items():
        if first != end:
            what = "overlaps the one before" if first < end else "leaves a gap"
            raise CheckpointError(
                f"tensors must follow each other (got {shown(name)} at {first}, not {end}: it {what})"
            )
        end = last
    if end != data_bytes:
        what = "truncated" if data_bytes < end else "followed by something else"
        raise CheckpointError(f"tensors need {end} bytes behind the header (got {data_bytes}): the file is {what}")
    return ordered, metadata


def _entry(name: str, fields: Any) -> Entry:
    """What the header says of one tensor."""
    if not isinstance(fields, dict) or sorted(fields) != ["data_offsets", "dtype", "shape"]:
        got = shown(sorted(fields) if isinstance(fields, dict) else fields)
        raise CheckpointError(f"tensor {shown(name)} must have dtype, shape and data_offsets (got {got})")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise CheckpointError(f"dtype of {shown(name)} must be one of {', '.join(ITEM_BYTES)} (got {shown(dtype)})")
    if not isinstance(shape, list) or not all(map(is_count, shape)) or len(shape) > MOST_DIMENSIONS:
        rule = f"at most {MOST_DIMENSIONS} whole numbers below 2^63"
        raise CheckpointError(f"shape of {shown(name)} must be a list of {rule} (got {shown(shape)})")
    if prod(size for size in shape if size) >= 2**63:  # also beside a 0, since other readers multiply in their order
        raise CheckpointError(f"sizes in the shape of {shown(name)} must make less than 2^63 (got {shown(shape)})")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise CheckpointError(
            f"data_offsets of {shown(name)} must be two whole numbers below 2^63 (got {shown(offsets)})"
        )
    first, last = offsets
    needed = prod(shape) * ITEM_BYTES[dtype]
    if last - first != needed:
        got = f"offsets {shown(first)} to {shown(last)} for {dtype} {shown(shape)}"
        raise CheckpointError(f"data_offsets of {shown(name)} must be {shown(needed)} bytes apart (got {got})")
    return dtype, tuple(shape), first, last


Chunks = Iterable[bytes | memoryview]


def write_file(
    path: FilePath,
    tensors: Iterable[tuple[str, str, tuple[int, ...], Chunks]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors, each (name, type, shape, chunks of bytes), beside `path` and then renamed.

    Types with larger items come first, so that every tensor is aligned; otherwise the order is kept. Chunks are
    asked for when they are written. Raises CheckpointError if the file can't be written, or chunks do not make up their
    tensor, and ValueError if a name comes twice.
    """
    ordered = sorted(tensors, key=lambda tensor: -ITEM_BYTES[tensor[1]])
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, dtype, shape, _ in ordered:
        if name in header or name == METADATA:
            raise ValueError(f"names of tensors must differ (got {name!r} twice)")
        first, end = end, end + prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [first, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"the header must have at most {LONGEST_HEADER} bytes (got {len(text)})")
    write_whole(path, _bytes(text, ordered))


def _bytes(header: bytes, tensors: list[tuple[str, str, tuple[int, ...], Chunks]]) -> Iterator[Any]:
    yield len(header).to_bytes(8, "little")
    yield header
    for name, dtype, shape, chunks in tensors:
        left = prod(shape) * ITEM_BYTES[dtype]
        for chunk in chunks:
            left -= len(memoryview(chunk).cast("B"))
            yield chunk
        if left:
            what = "are missing" if left > 0 else "too many"
            raise ValueError(f"{name} must have the bytes of {dtype} {shape} ({abs(left)} {what})")
