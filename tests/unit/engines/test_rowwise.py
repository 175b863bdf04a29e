"""Kernels that know one vector, called for many: float32 rows, as many of each argument."""

import numpy as np
import pytest

import llama2_ref
from llama2_fast.engines.rowwise import Rowwise

ROWS = np.arange(1, 13, dtype=np.float32).reshape(3, 4) / 8
HALF, SCALES = ROWS[:, :2], np.ones((3, 2), np.float32)
INTEGERS = np.arange(12, dtype=np.int8).reshape(3, 4)
PAIRS = {
    "add": (ROWS, ROWS),
    "rope": (ROWS, HALF, HALF),
    "swiglu": (ROWS, ROWS),
    "dequantize_int8": (INTEGERS, SCALES),
    "matmul_int8": (INTEGERS, SCALES, INTEGERS, SCALES),
}


@pytest.mark.parametrize("name", PAIRS)
def test_every_row_is_a_call(name):
    kernels, args = llama2_ref.kernels, PAIRS[name]
    matrix, rows = (args[:2], args[2:]) if name == "matmul_int8" else ((), args)
    got = getattr(Rowwise(kernels), name)(*matrix, *rows)
    expected = [getattr(kernels, name)(*matrix, *row) for row in zip(*rows, strict=True)]
    assert got.dtype == np.float32
    assert got.tolist() == np.array(expected, np.float32).tolist()


@pytest.mark.parametrize("name", PAIRS)
def test_rows_without_a_partner_are_refused(name):
    """zip would drop them without a word."""
    *args, last = PAIRS[name]
    with pytest.raises(ValueError, match="shorter"):
        getattr(Rowwise(llama2_ref.kernels), name)(*args, last[:2])
