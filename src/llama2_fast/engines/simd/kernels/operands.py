"""What kernels are given: tuples with names, which compiled code keeps in registers."""

from typing import Any, NamedTuple

from ..compiler.jit import jit


class Rows(NamedTuple):
    """Those from `first` up to, but without, `last`."""

    first: int
    last: int


class Buffer(NamedTuple):
    """Rows of float32 numbers: the address of the first row, and the bytes from one to the next."""

    address: int
    stride: int


class Quantized(NamedTuple):
    """Vectors of int8 numbers, with a scale and a sum of each group: addresses, and bytes from a vector to the next."""

    quants: int
    quants_stride: int
    scales: int
    sums: int
    groups_stride: int


class Vectors(NamedTuple):
    """What a matrix multiplies, a vector for each token: matrices of integers take `quantized`, others `floats`."""

    tokens: int
    floats: Buffer
    quantized: Quantized


class FloatRows(NamedTuple):
    """Rows of a matrix of floats: their format, the address of the first, the bytes of a row, and of a vector."""

    numbers: Any
    address: int
    stride: int
    vector_bytes: int


class Block(NamedTuple):
    """LANES rows of a packed matrix: addresses, groups in a row, steps in a group. See `packed_layout`."""

    weights: int
    scales: int
    groups: int
    steps: int


class HeadCache(NamedTuple):
    """What a query head sees: addresses of keys and values, and how many of them."""

    keys: int
    values: int
    length: int


@jit
def row_at(buffer, t):
    """The address of a row of a buffer."""
    return buffer.address + t * buffer.stride


@jit
def quantized_from(x, t):
    """The vectors from number t on."""
    scales, sums = x.scales + t * x.groups_stride, x.sums + t * x.groups_stride
    return Quantized(x.quants + t * x.quants_stride, x.quants_stride, scales, sums, x.groups_stride)
