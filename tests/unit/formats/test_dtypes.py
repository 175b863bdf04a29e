"""Numbers of other programs' files: both packages beside the gguf package, and each other."""

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.matrices.arrays import ARRAYS
from llama2_fast.weights import Blocks, expand
from llama2_ref.formats.dtypes import DTYPES, row_bytes
from llama2_ref.formats.lists import LISTS
from support.models import file_bytes

BLOCKS = ("Q8_0", "Q4_0", "Q4_1")


def floats(matrix, llama2):
    """A matrix of any kind as float32 numbers."""
    fields = {name: [] for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3")}
    fields |= dict.fromkeys(("rms_att_weight", "rms_ffn_weight", "rms_final_weight"))
    weights = llama2.Weights(token_embedding_table=matrix, wcls=matrix, **fields)
    return np.array([list(row) for row in llama2.quantize_weights(weights, "float32").wcls], np.float32)


@pytest.mark.parametrize("kind", DTYPES)
def test_the_gguf_package_reads_the_same_numbers(kind):
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    data = file_bytes(np.random.default_rng(1), kind, 7, 96)
    assert len(data) == 7 * row_bytes(kind, 96)
    dtype = {"F32": np.float32, "F16": np.float16}.get(kind, np.uint8)
    expected = gguf.quants.dequantize(np.frombuffer(data, dtype).reshape(7, -1), gguf.GGMLQuantizationType[kind])
    assert np.array_equal(floats(LISTS.matrix_from_bytes(kind, memoryview(data), 7, 96), llama2_ref), expected)
    assert np.array_equal(floats(ARRAYS.matrix_from_bytes(kind, memoryview(data), 7, 96), llama2_fast), expected)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_every_number_of_16_bits(kind):
    """NaN stays NaN; all else is exact."""
    data = memoryview(np.arange(2**16, dtype="<u2").tobytes())
    matrices = LISTS.matrix_from_bytes(kind, data, 256, 256), ARRAYS.matrix_from_bytes(kind, data, 256, 256)
    ref, fast = (np.array([list(row) for row in matrix], np.float32) for matrix in matrices)
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    expected = bits.view(np.float16).astype(np.float32) if kind == "F16" else (bits.astype("u4") << 16).view("f4")
    for found in (ref, fast):
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        assert np.array_equal(found[~np.isnan(found)].view("u4"), expected[~np.isnan(expected)].view("u4"))


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_stay_in_their_file(kind):
    """Rows are unpacked when they are asked for, as the reference has them; numpy gets them all at once."""
    data = file_bytes(np.random.default_rng(2), kind, 5, 64)
    ref, fast = (
        LISTS.matrix_from_bytes(kind, memoryview(data), 5, 64),
        ARRAYS.matrix_from_bytes(kind, memoryview(data), 5, 64),
    )
    expected = np.array([list(row) for row in ref.q])
    assert isinstance(fast.q, Blocks)
    assert (fast.q.shape, len(fast.q), fast.group_size) == ((5, 64), 5, 32)
    for rows in (slice(1, 3), [4, 0], 2, slice(None)):
        assert np.array_equal(fast.q[rows], expected[rows])
        assert fast.q[rows].dtype == np.int8
    assert np.asarray(fast.q).dtype == np.int8
    assert np.array_equal(expand(fast).q, expected)
    assert np.array_equal(fast.scale, [list(row) for row in ref.scale])


@pytest.mark.parametrize("kind", BLOCKS)
def test_rows_are_whole_blocks(kind):
    with pytest.raises(llama2_ref.CheckpointError, match=f"rows of {kind} must be whole blocks of 32 .*got 48"):
        row_bytes(kind, 48)
