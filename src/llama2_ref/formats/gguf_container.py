"""What the bytes of GGUF files mean, the format of llama.cpp: metadata, a list of tensors, and the bytes of those.

    "GGUF", version 2 or 3 (uint32), number of tensors, number of entries (uint64 each)
    entries:    key, type of the value (uint32), value
    tensors:    name, number of dimensions (uint32), dimensions (uint64 each), type (uint32), offset (uint64)
    data:       from the next multiple of the alignment on, to which offsets are relative

All numbers are little-endian; a string is its length (uint64) and its UTF-8 bytes; an array is the type of its values
(uint32), their number (uint64) and the values. Dimensions come in reverse: the length of a row is the first.
"""

import struct
import sys
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from ..errors import CheckpointError
from ..support.files import FilePath, map_regular

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # 3 says that big-endian files may exist; else they are the same
METADATA_MOST = 2**25  # bytes before the data: several times what the largest vocabularies take
ENTRY_LEAST, TENSOR_LEAST = 13, 32  # bytes that the shortest of them take
DIMENSIONS_MOST = 4
SHOWN = 60  # characters of a name in a message

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}  # as struct has them
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGNMENT = 32  # of tensors, where a file does not say another one

# GGML's types of numbers: name, numbers in a block, bytes of a block.
GGML_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip


class Tensor(NamedTuple):
    """One tensor of a file: a view of it."""

    ggml_type: str
    shape: tuple[int, ...]  # rows first, as everywhere else
    data: memoryview


@dataclass(frozen=True)
class Container:
    """Everything in a file, by its names."""

    version: int
    metadata: dict[str, Any]  # numbers, bools, strings, and lists of those
    types: dict[str, tuple[int, int]]  # of an entry, and of what is in its array
    tensors: dict[str, Tensor]


def read_container(path: FilePath) -> Container:
    """What is in a GGUF file. Tensors are views of the file, which stays mapped while they live.

    Raises CheckpointError if the file is missing or is not exactly what its format allows.
    """
    file = map_regular(path, "a GGUF file")
    try:
        if file[: len(MAGIC)] != MAGIC:
            raise CheckpointError("must be a GGUF file, which begins with the letters GGUF (this one does not)")
        return parse(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def parse(file: memoryview) -> Container:
    """What is in the bytes of a whole file. Every number in it is checked before anything is done with it."""
    if sys.byteorder != "little":
        raise CheckpointError("GGUF files are little-endian, and are mapped as they are: this machine is big-endian")
    walk = _Walk(file)
    walk.take(len(MAGIC), "its first letters")
    version = _version(walk)
    tensor_count, entry_count = walk.number("Q", "its number of tensors"), walk.number("Q", "its number of entries")
    walk.check_count(entry_count, ENTRY_LEAST, "entries")
    metadata, types = _metadata(walk, entry_count)
    walk.check_count(tensor_count, TENSOR_LEAST, "tensors")
    listed = _tensor_list(walk, tensor_count)
    alignment = _alignment(metadata)
    data = file[min(-(-walk.place // alignment) * alignment, len(file)) :]
    return Container(version, metadata, types, _tensors(data, listed, alignment))


class _Walk:
    """The bytes before the data, a field at a time. Each length is compared with the bytes that are left first."""

    def __init__(self, file: memoryview) -> None:
        self.file, self.place = file, 0

    def take(self, size: int, what: str) -> memoryview:
        """The next bytes."""
        start = self.place
        if size > len(self.file) - start:
            left = len(self.file) - start
            raise CheckpointError(f"is truncated in {what} (which needs {size} bytes, and {left} are left)")
        if size > METADATA_MOST - start:
            raise CheckpointError(f"metadata must end within the first {METADATA_MOST} bytes (it goes on in {what})")
        self.place += size
        return self.file[start : self.place]

    def number(self, letter: str, what: str) -> Any:
        """The next number, of one of struct's types."""
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter), what))[0]

    def string(self, what: str) -> str:
        """The next string."""
        try:
            return str(self.take(self.number("Q", what), what), "utf-8")
        except UnicodeDecodeError as error:
            got = f"byte {error.start} is 0x{error.object[error.start]:02X}"
            raise CheckpointError(f"{what} must be UTF-8 ({got})") from None

    def check_count(self, count: int, least: int, what: str) -> None:
        """Raise CheckpointError if so many things, of at least so many bytes each, can't follow."""
        left = min(len(self.file), METADATA_MOST) - self.place
        if count * least > left:
            raise CheckpointError(f"is truncated: it tells of {count} {what}, for which there are {left} bytes")


def _version(walk: _Walk) -> int:
    version = walk.number("I", "its version")
    if version in VERSIONS:
        return int(version)
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, *VERSIONS):
        raise CheckpointError(f"must be a little-endian GGUF file (this is version {swapped}, big-endian)")
    raise CheckpointError(f"version of a GGUF file must be 2 or 3 (got {version}): convert it with a newer program")


def _metadata(walk: _Walk, count: int) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Values and types of all entries."""
    metadata: dict[str, Any] = {}
    types: dict[str, tuple[int, int]] = {}
    for i in range(count):
        key = walk.string(f"the key of entry {i}")
        what = f"metadata {shown(key)}"
        if key in metadata:
            raise CheckpointError(f"{what} must be there once (it comes twice)")
        value_type = walk.number("I", what)
        item = walk.number("I", what) if value_type == ARRAY else value_type
        types[key] = value_type, item
        metadata[key] = _array(walk, item, what) if value_type == ARRAY else _value(walk, value_type, what)
    return metadata, types


def _value(walk: _Walk, value_type: int, what: str) -> Any:
    """The next value of a type."""
    return walk.string(what) if value_type == STRING else _numbers(walk, value_type, 1, what)[0]


def _array(walk: _Walk, value_type: int, what: str) -> list[Any]:
    """The next values of a type: as many as are told."""
    count = walk.number("Q", what)
    if value_type == ARRAY:
        raise CheckpointError(f"{what} must not be an array of arrays (llama.cpp takes none, either)")
    if value_type == STRING:
        walk.check_count(count, 8, f"strings in {what}")
        return [walk.string(what) for _ in range(count)]
    return _numbers(walk, value_type, count, what)


def _numbers(walk: _Walk, value_type: int, count: int, what: str) -> list[Any]:
    """The next numbers or bools of a type."""
    letter = "B" if value_type == BOOL else NUMBERS.get(value_type)
    if letter is None:
        raise CheckpointError(f"{what} must be of a type from 0 to 12 (got {value_type})")
    data = walk.take(count * struct.calcsize("<" + letter), what)
    numbers = list(struct.unpack(f"<{count}{letter}", data))
    if value_type == BOOL and any(number > 1 for number in numbers):
        raise CheckpointError(f"{what} must be 0 or 1, since it is a bool (got {max(numbers)})")
    return [number == 1 for number in numbers] if value_type == BOOL else numbers


def _tensor_list(walk: _Walk, count: int) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Name -> type, shape, offset, bytes."""
    listed: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
    for i in range(count):
        name = walk.string(f"the name of tensor {i}")
        what = f"tensor {shown(name)}"
        if name in listed:
            raise CheckpointError(f"{what} must be there once (it comes twice)")
        dimensions = walk.number("I", what)
        if not 1 <= dimensions <= DIMENSIONS_MOST:
            raise CheckpointError(f"{what} must have 1 to {DIMENSIONS_MOST} dimensions (got {dimensions})")
        lengths = struct.unpack(f"<{dimensions}Q", walk.take(8 * dimensions, what))
        if not all(lengths):
            raise CheckpointError(f"{what} must have no dimension of 0 (got {list(lengths)})")
        ggml_type, block, block_bytes = _ggml_type(walk.number("I", what), what)
        if lengths[0] % block:
            raise CheckpointError(
                f"rows of {what} must be blocks of {block}, since it is {ggml_type} (got {lengths[0]})"
            )
        offset = walk.number("Q", what)
        listed[name] = ggml_type, lengths[::-1], offset, prod(lengths) // block * block_bytes
    return listed


def _ggml_type(number: int, what: str) -> tuple[str, int, int]:
    if number not in GGML_TYPES:
        raise CheckpointError(f"{what} must be of a type that is known (got number {number})")
    return GGML_TYPES[number]


def _alignment(metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not is_whole(alignment) or alignment < 1 or alignment & (alignment - 1):
        raise CheckpointError(f"general.alignment must be a power of two (got {shown(alignment)})")
    return int(alignment)


def _tensors(
    data: memoryview, listed: dict[str, tuple[str, tuple[int, ...], int, int]], alignment: int
) -> dict[str, Tensor]:
    """The tensors as views of the data, once they are known to lie in it, one behind the other."""
    for name, (_, _, offset, size) in listed.items():
        if offset % alignment:
            raise CheckpointError(f"tensor {shown(name)} must begin at a multiple of {alignment} (offset {offset})")
        if offset + size > len(data):
            got = f"offset {offset}, {size} bytes, of {len(data)}"
            raise CheckpointError(f"tensor {shown(name)} must lie inside the file ({got}): it is truncated, or damaged")
    in_order = sorted(listed, key=lambda name: listed[name][2])
    for one, next_one in pairwise(in_order):
        if listed[one][2] + listed[one][3] > listed[next_one][2]:
            raise CheckpointError(f"tensors must not overlap ({shown(one)} and {shown(next_one)} do)")
    return {
        name: Tensor(ggml_type, shape, data[offset : offset + size])
        for name, (ggml_type, shape, offset, size) in listed.items()
    }


# -------------------------------------------------------------------------------------------------------------- writing


class Entry(NamedTuple):
    """Metadata to be written: the type of the value, or of what is in its array, and the value."""

    value_type: int
    value: Any


def start_of_file(entries: dict[str, Entry], tensors: list[tuple[str, tuple[int, ...], str, int]]) -> bytes:
    """Everything before the data of a file of version 3. Tensors are (name, shape, GGML's type, bytes).

    The data of each follows, padded to `padded(bytes)`.
    """
    numbers = {name: number for number, (name, _, _) in GGML_TYPES.items()}
    out = bytearray(MAGIC + struct.pack("<IQQ", max(VERSIONS), len(tensors), len(entries)))
    for key, (value_type, value) in entries.items():
        out += _packed(STRING, key)
        if isinstance(value, list):
            out += struct.pack("<IIQ", ARRAY, value_type, len(value)) + b"".join(
                _packed(value_type, item) for item in value
            )
        else:
            out += struct.pack("<I", value_type) + _packed(value_type, value)
    offset = 0
    for name, shape, ggml_type, size in tensors:
        out += _packed(STRING, name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        out += struct.pack("<IQ", numbers[ggml_type], offset)
        offset += padded(size)
    return bytes(out.ljust(padded(len(out)), b"\0"))


def padded(size: int) -> int:
    """A number of bytes, up to the next place where a tensor may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _packed(value_type: int, value: Any) -> bytes:
    if value_type == STRING:
        data: bytes = value.encode()
        return struct.pack("<Q", len(data)) + data
    return struct.pack("<?" if value_type == BOOL else "<" + NUMBERS[value_type], value)


# ------------------------------------------------------------------------------------------------------------- messages


def shown(value: Any) -> str:
    """Something from a file, for a message: on one line, and not too long."""
    text = repr(value[:SHOWN] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def is_whole(value: Any) -> bool:
    """Is it a whole number? A bool does not count."""
    return isinstance(value, int) and not isinstance(value, bool)
