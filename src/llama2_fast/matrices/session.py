"""Sessions, as llama2_ref.formats.session: whole arrays at a time, in float32."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import CheckpointError
from llama2_ref.formats import session as reference
from llama2_ref.formats.safetensors import TensorInfo
from llama2_ref.formats.session import fingerprint, kind_of, some_rows

from ..quantize import quantize_matrix
from ..weights import Int4OffsetMatrix, IntegerMatrix

__all__ = ["Session"]

TYPES = {"F32": np.float32, "F64": np.float64}


class Session(reference.Session):
    """A file that may hold the cache of an earlier text. As llama2_ref.Session."""

    _kind = "F32"

    def _fingerprint(self, transformer: Any) -> str:
        # The compiled engine keeps the weights as they came, and makes integers of them on the way to its own layout.
        kind = getattr(transformer, "quantize", None)
        return fingerprint(transformer.config, transformer.weights, partial(_matrix_bytes, quantize=kind))

    def _chunks(self, rows: Any, count: int) -> Iterator[bytes]:
        for layer in rows:
            yield layer[:count].tobytes()

    def _fill(self, keys: TensorInfo, values: TensorInfo) -> None:
        rows = [_rows(tensor) for tensor in (keys, values)]
        for layer, (key, value) in enumerate(zip(*rows, strict=True)):
            self.cache.store(layer, 0, key, value)


def _rows(tensor: TensorInfo) -> NDArray[np.float32]:
    """(L, T, K*E) of a file. Raises CheckpointError if a number is not finite, in float32."""
    with np.errstate(over="ignore"):
        numbers = np.frombuffer(tensor.data, TYPES[tensor.kind]).reshape(tensor.shape).astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        raise CheckpointError("keys and values of a session must be finite (these are not)")
    return numbers


def _matrix_bytes(matrix: Any, quantize: str | None) -> Iterator[bytes]:
    """As llama2_ref.formats.session: of a matrix that is still to be quantized, as it will be."""
    some = _some_rows(matrix)
    if quantize:
        some = quantize_matrix(some, quantize)
    yield kind_of(some)
    if not isinstance(some, IntegerMatrix):
        yield np.asarray(some, np.float32).tobytes()
        return
    yield np.asarray(some.q, np.int8).tobytes()
    for part in (some.scale, *([some.offset] if isinstance(some, Int4OffsetMatrix) else [])):
        yield np.asarray(part, np.float32).tobytes()


def _some_rows(matrix: Any) -> Any:
    """A matrix of some rows of another one."""
    if not isinstance(matrix, IntegerMatrix):
        return matrix[some_rows(len(matrix))]
    rows = some_rows(len(matrix.q))
    return replace(matrix, **{name: part[rows] for name, part in vars(matrix).items()})  # type: ignore[type-var]
