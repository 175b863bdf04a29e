"""What the bytes of llama2.c's checkpoint files mean: header, order of the tensors, sizes. It holds no numbers itself.

version  header                                   tensors
0        7 int32; a negative vocabulary size      float32, then two unused tables of RoPE angles, then the classifier,
         says that the classifier is separate     if separate
1        "ak42", version, 7 int32, shared?        float32, norms first
2        the same, and the group size             norms in float32, matrices in int8, each followed by its scales

Headers of versions 1 and 2 are padded to 256 bytes. All numbers are little-endian. Each matrix of each layer is a
tensor of its own in version 2 (numbers, scales, numbers, scales, ...); for the other versions that makes no difference.
"""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

from ..config import Config
from ..errors import CheckpointError, ConfigError
from .tensor_table import CLASSIFIER, LLAMA2C, row_of

MAGIC = 0x616B3432  # "ak42" as an integer
HEADER_BYTES = {0: 28, 1: 256, 2: 256}
NORM_EPS, ROPE_THETA = 1e-5, 10000.0  # written in llama2.c's source, not in its files
INT32_MAX = 2**31 - 1
MAX_GROUP_SIZE = 64  # what llama2.c starts from, too: a larger group has a coarser scale
FOREIGN = {b"GGUF": "a GGUF file", b"PK\x03\x04": "a zip archive, as PyTorch writes", b"lmgg": "a GGML file"}

ROPE_TABLES = "rope_tables"


class Tensor(NamedTuple):
    """One matrix in a file."""

    name: str  # the field of Weights that it belongs to, or ROPE_TABLES
    layer: int
    rows: int
    cols: int
    offset: int  # of its first byte
    quantized: bool  # int8 numbers, then float32 scales, instead of float32 numbers


@dataclass(frozen=True)
class Header:
    """The facts that the first bytes of a checkpoint state, or that a file to be written will state."""

    version: int
    config: Config
    shared_classifier: bool
    group_size: int = 0  # version 2 only

    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """name -> (copies, rows, cols), in the order of the file."""
        c = self.config
        specs = LLAMA2C.specs()
        if self.version:  # norms first
            specs.sort(key=lambda spec: not spec.is_vector)
        shapes = {}
        for spec in specs:
            layers, shape = c.n_layers if spec.per_layer else 1, spec.shape(c)
            shapes[spec.name] = (1, layers, shape[0]) if spec.is_vector else (layers, shape[0], shape[1])
        classifier = shapes.pop(CLASSIFIER)
        if self.version == 0:
            shapes[ROPE_TABLES] = 2, c.seq_len, c.head_size // 2
        return shapes if self.shared_classifier else {**shapes, CLASSIFIER: classifier}

    def quantized(self, name: str) -> bool:
        """Does a tensor hold int8 numbers and scales in a file of this version?"""
        return self.version == 2 and not row_of(name).spec.is_vector

    def tensor_bytes(self, name: str) -> int:
        """Size of one copy of a tensor."""
        _, rows, cols = self.shapes()[name]
        return rows * cols + rows * cols // self.group_size * 4 if self.quantized(name) else rows * cols * 4

    def file_bytes(self) -> int:
        """Size of the whole file, computed without going through the tensors: their number comes from the file."""
        return HEADER_BYTES[self.version] + sum(s[0] * self.tensor_bytes(name) for name, s in self.shapes().items())

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, in the order of the file."""
        offset = HEADER_BYTES[self.version]
        for name, (copies, rows, cols) in self.shapes().items():
            for layer in range(copies):
                yield Tensor(name, layer, rows, cols, offset, self.quantized(name))
                offset += self.tensor_bytes(name)

    def pack(self) -> bytes:
        """The header's bytes. Raises CheckpointError if they can't hold the config."""
        c = self.config
        if (c.norm_eps, c.rope_theta) != (NORM_EPS, ROPE_THETA):
            got = f"norm_eps {c.norm_eps}, rope_theta {c.rope_theta}"
            raise CheckpointError(f"llama2.c files imply norm_eps {NORM_EPS} and rope_theta {ROPE_THETA} (got {got})")
        if c.q_dim != c.dim:
            got = f"head_size {c.head_size}, n_heads {c.n_heads}, dim {c.dim}"
            raise CheckpointError(f"llama2.c files imply a head size of dim / n_heads (got {got})")
        if c.rope_scaling is not None:
            raise CheckpointError(f"llama2.c files imply that RoPE is not scaled (got {c.rope_scaling.kind})")
        sizes = [c.dim, c.hidden_dim, c.n_layers, c.n_heads, c.n_kv_heads, c.vocab_size, c.seq_len]
        if max(sizes) > INT32_MAX:
            raise CheckpointError(f"sizes in a llama2.c header must be at most {INT32_MAX} (got {max(sizes)})")
        if self.version == 0:
            sizes[5] *= 1 if self.shared_classifier else -1
            return struct.pack("<7i", *sizes)
        fields = struct.pack("<Ii7iB", MAGIC, self.version, *sizes, self.shared_classifier)
        if self.version == 2:
            fields += struct.pack("<i", self.group_size)
        return fields.ljust(HEADER_BYTES[self.version], b"\0")


def default_group_size(config: Config) -> int:
    """The largest group of at most 64 numbers that divides both `dim` and `hidden_dim`, so that no group spans rows.

    llama2.c's own exporter looks at `dim` alone, and its reader then drops the tail of every row of w2.
    """
    both = gcd(config.dim, config.hidden_dim)
    return max(size for size in range(1, MAX_GROUP_SIZE + 1) if both % size == 0)


def parse_header(file: memoryview | bytes) -> Header:
    """The header in the bytes of a whole file. Raises CheckpointError if the two don't fit.

    Nothing is allocated by the numbers in the header before they are known to describe exactly this file.
    """
    start, file_bytes = bytes(file[: max(HEADER_BYTES.values())]), len(file)
    if sys.byteorder != "little":
        raise CheckpointError("checkpoints are little-endian, and are mapped as they are: this machine is big-endian")
    if start[:4] in FOREIGN:
        raise CheckpointError(f"must be a llama2.c checkpoint (got {FOREIGN[start[:4]]}): convert it first")
    if len(start) < HEADER_BYTES[0]:
        raise CheckpointError(f"must be a llama2.c checkpoint, which begins with 28 bytes (got {len(start)})")
    versioned = struct.unpack_from("<I", start)[0] == MAGIC
    try:
        header = _parse_versioned(start) if versioned else _parse_legacy(start)
    except ConfigError as error:
        raise CheckpointError(f"header is no llama2.c header: {error}") from None
    if header.file_bytes() != file_bytes:
        what = "truncated" if file_bytes < header.file_bytes() else "followed by something else"
        needs = f"its header (version {header.version}, {_sizes(header.config)}) needs {header.file_bytes()} bytes"
        raise CheckpointError(f"must be as long as {needs} (got {file_bytes}): it is {what}, or no checkpoint")
    return header


def _sizes(config: Config) -> str:
    return (
        f"dim {config.dim}, hidden_dim {config.hidden_dim}, n_layers {config.n_layers}, vocab_size {config.vocab_size}"
    )


def _parse_legacy(start: bytes) -> Header:
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = struct.unpack_from("<7i", start)
    config = Config(dim, hidden_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), seq_len)
    return Header(0, config, shared_classifier=vocab_size > 0)


def _parse_versioned(start: bytes) -> Header:
    version = struct.unpack_from("<i", start, 4)[0]
    if version not in (1, 2):
        raise CheckpointError(f"version must be 1 or 2 (got {version})")
    if len(start) < HEADER_BYTES[version]:
        raise CheckpointError(f"header must be {HEADER_BYTES[version]} bytes long (got {len(start)}): it is truncated")
    *sizes, shared = struct.unpack_from("<7iB", start, 8)
    if shared not in (0, 1):
        raise CheckpointError(f"shared-classifier flag must be 0 or 1 (got {shared})")
    group_size = struct.unpack_from("<i", start, 37)[0] if version == 2 else 0
    header = Header(version, Config(*sizes), bool(shared), group_size)
    if version == 2:
        _check_groups(header)
    return header


def _check_groups(header: Header) -> None:
    """A group may span rows (llama2.c's exporter allows that), but not tensors."""
    for name, (_, rows, cols) in header.shapes().items():
        if header.quantized(name) and (header.group_size < 1 or rows * cols % header.group_size):
            got = f"group size {header.group_size}, {name} {rows} x {cols}"
            raise CheckpointError(f"group size must be positive and divide every quantized tensor (got {got})")
