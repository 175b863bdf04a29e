"""The learned numbers of a model, under the field names of llama2.c."""

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from .config import Config


class Matrix(Sequence[Any]):
    """Rows of a row-major table over one flat buffer: a view, so that weights stay in the memory map of their file.

    `matrix[i]` is row i as a slice of the buffer; iterating goes over the rows. The buffer is anything that slices:
    a `memoryview`, an `array`, a list.

    >>> [list(row) for row in Matrix([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], rows=2, cols=3)]
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """

    __slots__ = ("cols", "data", "rows")

    def __init__(self, data: Any, rows: int, cols: int) -> None:
        if len(data) != rows * cols:
            raise ValueError(f"a matrix of {rows} x {cols} needs {rows * cols} numbers (got {len(data)})")
        self.data, self.rows, self.cols = data, rows, cols

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.rows))]
        if not -self.rows <= index < self.rows:
            raise IndexError(f"row {index} of a matrix of {self.rows} rows")
        start = index % self.rows * self.cols
        return self.data[start : start + self.cols]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows * self.cols, self.cols):
            yield self.data[start : start + self.cols]


class Expanding:
    """A flat buffer of 16-bit floating-point numbers that become Python's floats when a slice is asked for.

    `dtype` is "F16" or "BF16" (the upper half of a float32). What is in the file stays in its memory map.
    """

    __slots__ = ("_data", "_dtype")

    def __init__(self, data: memoryview, dtype: str) -> None:
        self._data, self._dtype = data, dtype

    def __len__(self) -> int:
        return len(self._data) // 2

    def __getitem__(self, index: slice) -> "array[float]":
        """The numbers of a slice whose step is 1, as float32 numbers: exact."""
        start, stop, _ = index.indices(len(self))
        data = self._data[2 * start : 2 * stop]
        if self._dtype == "F16":
            return array("f", struct.unpack(f"<{len(data) // 2}e", data))
        wide = bytearray(2 * len(data))
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        return array("f", bytes(wide))


class FloatMatrix:
    """Plain rows of floats, which answer the same questions as matrices of integers: see `matrix_of`."""

    label = "float"
    group_size = 0
    product_kernel, row_kernel = "matmul", "embedding"

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    @property
    def fingerprint_name(self) -> str:
        """The name by which a session tells kinds apart: floats of any width are one, since they are exact here."""
        return "float"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.rows[0])

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it consists of: (rows, ...) each."""
        return (self.rows,)

    @property
    def float_parts(self) -> tuple[Any, ...]:
        """The parts whose numbers may be NaN or infinite."""
        return (self.rows,)

    def row(self, kernels: Any, index: Any) -> Any:
        """The floats of one row, or of some: () -> (cols)."""
        return self.rows[index]

    @property
    def stored(self) -> Any:
        """The matrix as Weights have it."""
        return self.rows

    def take_rows(self, rows: Any) -> "FloatMatrix":
        """A matrix of some of the rows."""
        return FloatMatrix(self.rows[rows])

    def prepare(self, kernels: Any, x: Any) -> tuple[Any, ...]:
        """A vector as `multiply` takes it: itself."""
        return (x,)

    def multiply(self, kernels: Any, vector: tuple[Any, ...]) -> Any:
        """Matrix times a vector that `prepare` has made: (cols) -> (rows)."""
        return kernels.matmul(self.rows, *vector)


class IntegerMatrix:
    """What all kinds of matrices have in common whose numbers are integers in groups, each with a scale."""

    q: Any
    scale: Any
    label = "int8"
    product_kernel, row_kernel = "matmul_int8", "dequantize_int8"

    @property
    def group_size(self) -> int:
        """How many neighbours in a row share one scale. Floats have 0."""
        return len(self.q[0]) // len(self.scale[0])

    @property
    def fingerprint_name(self) -> str:
        """The name by which a session tells kinds apart."""
        return type(self).__name__

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.q), len(self.q[0])

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it consists of: (rows, ...) each."""
        return self.q, self.scale

    @property
    def float_parts(self) -> tuple[Any, ...]:
        """The parts whose numbers may be NaN or infinite."""
        return (self.scale,)

    def row(self, kernels: Any, index: Any) -> Any:
        """The floats that one row stands for, or some: () -> (cols)."""
        return kernels.dequantize_int8(*(part[index] for part in self.parts))

    def prepare(self, kernels: Any, x: Any) -> tuple[Any, ...]:
        """A vector as `multiply` takes it: quantized, (cols) -> (cols), (cols / group_size)."""
        x_q, x_scale = kernels.quantize_int8(x, self.group_size)
        return x_q, x_scale

    def multiply(self, kernels: Any, vector: tuple[Any, ...]) -> Any:
        """Matrix times a vector that `prepare` has made: (cols), (cols / group_size) -> (rows)."""
        q, scale, *offset = self.parts
        return kernels.matmul_int8(q, scale, *vector, *offset)

    @property
    def stored(self) -> "IntegerMatrix":
        """The matrix as Weights have it."""
        return self

    def take_rows(self, rows: Any) -> "IntegerMatrix":
        """A matrix of some of the rows, which a slice or, of arrays, a list of numbers names."""
        return type(self)(*(part[rows] for part in self.parts))


@dataclass(frozen=True)
class Int8Matrix(IntegerMatrix):
    """A matrix in int8 groups, as in a llama2.c v2 file: weight (i, j) is `q[i][j] * scale[i][j // group_size]`."""

    q: Any  # (rows, cols) integers in -127..127
    scale: Any  # (rows, cols / group_size) float32 numbers


@dataclass(frozen=True)
class Int4Matrix(Int8Matrix):
    """An Int8Matrix whose `q` are all in -8..7 and whose scales are float16 numbers. All kernels are those of int8."""

    label = "int4"


@dataclass(frozen=True)
class Int4OffsetMatrix(IntegerMatrix):
    """A matrix as GGUF's Q4_1: weight (i, j) is `q[i][j] * scale[i][g] + offset[i][g]`, g = j // group_size."""

    q: Any  # (rows, cols) integers in 0..15
    scale: Any  # (rows, cols / group_size) float16 numbers
    offset: Any  # (rows, cols / group_size) float16 numbers: what q = 0 stands for
    label = "int4 with offsets"

    @property
    def parts(self) -> tuple[Any, ...]:
        """What it consists of: (rows, ...) each."""
        return self.q, self.scale, self.offset

    @property
    def float_parts(self) -> tuple[Any, ...]:
        """The parts whose numbers may be NaN or infinite."""
        return self.offset, self.scale


AnyMatrix = FloatMatrix | IntegerMatrix


def matrix_of(matrix: Any) -> AnyMatrix:
    """A matrix that answers for itself: plain rows of floats as a FloatMatrix, matrices of integers as they are."""
    return matrix if isinstance(matrix, IntegerMatrix) else FloatMatrix(matrix)


@dataclass(frozen=True)
class Weights:
    """Every tensor of a model. A matrix is a sequence of rows, or an IntegerMatrix; `wq[layer]` is one matrix.

    `wcls` is the very same object as `token_embedding_table` where a checkpoint shares the two.
    """

    token_embedding_table: Any  # (V, D)
    rms_att_weight: Any  # (L, D)
    wq: Any  # (L, H*E, D)
    wk: Any  # (L, K*E, D)
    wv: Any  # (L, K*E, D)
    wo: Any  # (L, D, H*E)
    rms_ffn_weight: Any  # (L, D)
    w1: Any  # (L, F, D)
    w2: Any  # (L, D, F)
    w3: Any  # (L, F, D)
    rms_final_weight: Any  # (D,)
    wcls: Any  # (V, D)

    @property
    def shared_classifier(self) -> bool:
        """Does the classifier reuse the embedding table?"""
        return self.wcls is self.token_embedding_table

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Names and fields of the tensors that the model has: optional ones may be None."""
        return ((name, field) for name, field in vars(self).items() if field is not None)


class TensorSpec(NamedTuple):
    """What a config says of one tensor of Weights."""

    name: str  # the field of Weights
    sizes: tuple[str, ...]  # attributes of Config: the shape of one layer's, rows first
    per_layer: bool = True
    rotated: bool = False  # RoPE rotates pairs of what its rows make, head by head: formats differ in their order
    optional: bool = False  # some models have none: the field is None then

    def shape(self, config: Config) -> tuple[int, ...]:
        """The shape of one layer's, or of the only one: (rows, columns), or (numbers,) of a vector."""
        return tuple(getattr(config, size) for size in self.sizes)

    @property
    def is_vector(self) -> bool:
        """Is it a vector, as norms are? Those are float32, whatever the matrices are."""
        return len(self.sizes) == 1


TENSORS = (
    TensorSpec("token_embedding_table", ("vocab_size", "dim"), per_layer=False),
    TensorSpec("rms_att_weight", ("dim",)),
    TensorSpec("wq", ("q_dim", "dim"), rotated=True),
    TensorSpec("wk", ("kv_dim", "dim"), rotated=True),
    TensorSpec("wv", ("kv_dim", "dim")),
    TensorSpec("wo", ("dim", "q_dim")),
    TensorSpec("rms_ffn_weight", ("dim",)),
    TensorSpec("w1", ("hidden_dim", "dim")),
    TensorSpec("w2", ("dim", "hidden_dim")),
    TensorSpec("w3", ("hidden_dim", "dim")),
    TensorSpec("rms_final_weight", ("dim",), per_layer=False),
    TensorSpec("wcls", ("vocab_size", "dim"), per_layer=False),
)  # in the order of Weights' fields
