"""What is written into folders of Hugging Face, as llama2_ref.formats.huggingface: many rows at a time."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.formats.huggingface import LARGEST, too_large
from llama2_ref.formats.huggingface import write_folder as write_with

from ..quantize import float_parts


def encode_rows(matrix: Any, kind: str) -> Iterator[bytes]:
    """The rows of a matrix as bytes. As llama2_ref.formats.huggingface.encode_rows, byte for byte but for NaN."""
    for part in float_parts(matrix):
        if kind == "F32":
            yield part.tobytes()
        elif kind == "F16":
            _check(part, "float16")
            yield part.astype(np.float16).tobytes()
        else:
            _check(part, "bfloat16")
            yield _bfloat16s(part).tobytes()


def _check(part: NDArray[np.float32], dtype: str) -> None:
    """Raise NumericsError if a number becomes infinite that was not."""
    wrong = part[np.isfinite(part) & (np.abs(part) >= LARGEST[dtype])]
    if len(wrong):
        raise too_large(dtype, float(wrong[0]))


def _bfloat16s(part: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(part).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (np.where(np.isnan(part), bits | np.uint32(0x400000), rounded) >> np.uint32(16)).astype(np.uint16)


write_folder = partial(write_with, encode=encode_rows)  # the folder of a model that this package has read
