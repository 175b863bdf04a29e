"""Kernels that know one vector, called for many: float32 rows, as many of each argument."""

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.judge import assert_taps_within
from llama2_fast.engines.rowwise import Rowwise
from support.models import random_file_twins

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


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_kernels_of_others_are_given_all_that_a_model_has(kind):
    """Offsets, a scaling of RoPE and an eps of its own: each kernel's last argument is easily lost on the way."""
    scaling = llama2_ref.RopeScaling("linear", 4.0)
    config = llama2_ref.Config(32, 64, 2, 4, 2, 9, 12, 0.25, 100.0, rope_scaling=scaling)
    twins, tokens, taps = random_file_twins(config, 3, kind), [1, 8, 3, 0, 5], llama2_fast.Taps()
    model = llama2_fast.Transformer(config, twins.fast, llama2_ref.kernels)
    cache = model.new_cache()
    for part in (tokens[:3], tokens[3:]):
        model.forward(part, cache, every=True, taps=taps)
    assert_taps_within(config, twins.fast, tokens, taps, ClosedKernels())
