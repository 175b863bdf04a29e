"""Which matrices a token is multiplied by, and how many bytes of them are read for it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from llama2_ref.config import Config
from llama2_ref.quantize import matrix_group_size
from llama2_ref.weights import TENSORS, TensorSpec

from ..weights import Weights, matrix_of

FLOAT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
OFFSETS = "int4 with offsets"


class MatrixInfo(NamedTuple):
    """All that is known of a matrix without its numbers."""

    rows: int
    cols: int
    dtype: str  # a key of FLOAT_BYTES, "int8", "int4", or OFFSETS
    group_size: int = 0  # of integers


def stored_matrices(weights: Weights) -> list[MatrixInfo]:
    """The matrices that each token is multiplied by, as a file has them. Of the embedding table it needs a row only."""
    fields = ((spec, getattr(weights, spec.name)) for spec in TENSORS if _multiplies(spec))
    return [_info(matrix) for spec, field in fields for matrix in (field if spec.per_layer else [field])]


def _info(matrix: Any) -> MatrixInfo:
    form = matrix_of(matrix)
    rows, cols = form.shape
    if form.group_size:
        return MatrixInfo(rows, cols, form.label, form.group_size)
    return MatrixInfo(rows, cols, str(matrix.dtype))


def float32_matrices(config: Config) -> list[MatrixInfo]:
    """The same of a model whose weights are float32 numbers."""
    matrices = []
    for spec in filter(_multiplies, TENSORS):
        rows, cols = spec.shape(config)
        matrices += [MatrixInfo(rows, cols, "float32")] * (config.n_layers if spec.per_layer else 1)
    return matrices


def _multiplies(spec: TensorSpec) -> bool:
    """Is each token multiplied by it?"""
    return not (spec.is_vector or spec.optional or spec.name == "token_embedding_table")


def dtype_names(matrices: Sequence[MatrixInfo]) -> str:
    """The dtypes of a model's matrices, that of most numbers first."""
    sizes: dict[str, int] = {}
    for matrix in matrices:
        sizes[matrix.dtype] = sizes.get(matrix.dtype, 0) + matrix.rows * matrix.cols
    return ", ".join(sorted(sizes, key=lambda dtype: -sizes[dtype]))


def quantized(matrices: Sequence[MatrixInfo], quantization: str) -> list[MatrixInfo]:
    """What `--quantize` makes of them: "int8" or "int4"."""
    return [m._replace(dtype=quantization, group_size=matrix_group_size(m.cols, quantization)) for m in matrices]


def bytes_per_token(matrices: Sequence[MatrixInfo], packed: bool) -> float:
    """Bytes of weights that one decoded token reads. `packed`: by the compiled engine, in its own layout.

    A number takes 4 bytes as float32, 2 as float16 or bfloat16 (numpy: 4), 1 as int8, and 1/2 as int4 (numpy: 1). The
    scale of a group takes 4, of int4 2 (numpy: 4), and so does an offset. The cache, norms and one row of the embedding
    are left out: they are small next to that.
    """
    return sum(matrix.rows * matrix.cols * sum(_bytes_per_number(matrix, packed)) for matrix in matrices)


def _bytes_per_number(matrix: MatrixInfo, packed: bool) -> Iterator[float]:
    if not matrix.group_size:
        yield FLOAT_BYTES[matrix.dtype] if packed else 4
        return
    half = packed and matrix.dtype != "int8"
    yield 0.5 if half else 1
    float_bytes = 2 if half else 4
    yield float_bytes / matrix.group_size
    if matrix.dtype == OFFSETS:
        yield float_bytes / matrix.group_size
