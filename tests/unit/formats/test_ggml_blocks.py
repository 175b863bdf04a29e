"""GGML's blocks: the gguf package finds the same numbers in them, and makes the same blocks, bit for bit."""

import io
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref import NumericsError
from llama2_ref.formats import ggml_blocks
from llama2_ref.formats.gguf_container import FLOAT32, GGML_TYPES, INT32, STRING, UINT32, Entry, padded, start_of_file
from support.seam import ARRAYS

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")

SIZES = {name: (numbers, size) for name, numbers, size in GGML_TYPES.values()}
READ = [name for name in ggml_blocks.GROUPS if hasattr(gguf.GGMLQuantizationType, name)]


def type_of(name: str) -> Any:
    return getattr(gguf.GGMLQuantizationType, name)


@pytest.mark.parametrize("name", READ)
def test_numbers_are_those_that_the_gguf_package_finds(name: str) -> None:
    """Of random bytes: every bit of a block counts somewhere."""
    data = np.random.default_rng(0).integers(0, 256, (24, SIZES[name][1])).astype(np.uint8)
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(data, type_of(name)).reshape(-1)
    found = np.array(list(ggml_blocks.expand(name, memoryview(data.tobytes()))), np.float32)
    assert np.isfinite(expected).any()
    assert np.array_equal(found.view(np.uint32)[~np.isnan(found)], expected.view(np.uint32)[~np.isnan(expected)])
    assert np.array_equal(np.isnan(found), np.isnan(expected))


def finite_blocks(name: str, rows: int, cols: int) -> memoryview:
    """Random blocks of whose numbers none is too large to become int8: their float16 scales are small."""
    numbers, size = SIZES[name]
    rng, found = np.random.default_rng(1), []
    while len(found) < rows * cols // numbers:
        block = rng.integers(0, 256, size).astype(np.uint8).tobytes()
        if all(abs(x) < 2.0**20 for x in ggml_blocks.expand(name, memoryview(block))):
            found.append(block)
    return memoryview(b"".join(found))


@pytest.mark.parametrize("name", [name for name in READ if name != "MXFP4"])  # whose exponents are mostly too large
def test_both_packages_make_equal_int8_of_them(name: str) -> None:
    data = finite_blocks(name, 3, 512)
    made = [arrays.matrix_from_blocks(name, data, 3, 512) for arrays in ARRAYS.values()]
    for a, b in zip(made[0].parts, made[1].parts, strict=True):
        assert np.array_equal(np.array([list(row) for row in a]), np.asarray(b))


def rows_of_floats() -> np.ndarray:
    """Of many sizes, with zeros, ties and numbers that are nearly none."""
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((40, 64)) * 10.0 ** rng.uniform(-4, 4, (40, 1))).astype(np.float32)
    rows[3], rows[4, :32], rows[5] = 0, 1, np.round(rows[5])
    rows[7] = (rng.integers(-254, 255, 64) / 2).astype(np.float32)  # d is 1: halves
    rows[7, 0], rows[7, 40] = 127, -127
    rows[8] = -8 + rng.integers(0, 64, 64).astype(np.float32) / 4  # d of Q4_0 is 1
    rows[8, 0] = rows[8, 33] = -8
    integers = rng.integers(-127, 128, (2000, 64)) * rng.random((2000, 1))  # as int8 weights are: some are nearly ties
    return np.concatenate((rows, integers.astype(np.float32)))


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
def test_blocks_of_floats_are_those_that_the_gguf_package_makes(llama2: ModuleType, dtype: str) -> None:
    rows = rows_of_floats()
    matrix = rows if llama2 is llama2_fast else rows.tolist()
    assert b"".join(ARRAYS[llama2].matrix_to_blocks(matrix, dtype)) == gguf.quantize(rows, type_of(dtype)).tobytes()


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
def test_numbers_that_are_nearly_none_become_zeros(llama2: ModuleType, dtype: str) -> None:
    """Their scale is 0, and 1 / d infinite: the gguf package converts what is not finite to integers."""
    rows = np.full((1, 32), 2.0**-140, np.float32)
    matrix = rows if llama2 is llama2_fast else rows.tolist()
    zeros = gguf.quantize(np.zeros((1, 32), np.float32), type_of(dtype)).tobytes()
    assert b"".join(ARRAYS[llama2].matrix_to_blocks(matrix, dtype))[2:] == zeros[2:]


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), 2.0**24])
def test_what_no_block_can_hold_is_named(llama2: ModuleType, dtype: str, bad: float) -> None:
    rows = np.ones((3, 64), np.float32)
    rows[1, 40], rows[1, 2] = bad, 7
    matrix = rows if llama2 is llama2_fast else rows.tolist()
    with pytest.raises(NumericsError) as caught:
        list(ARRAYS[llama2].matrix_to_blocks(matrix, dtype))
    most = {"Q8_0": 127 * 65504, "Q4_0": 8 * 65504}[dtype]
    assert str(caught.value) == f"numbers must be finite, and at most {most}, to become {dtype} (got {bad})"


@pytest.mark.parametrize(("dtype", "kind", "low"), [("Q8_0", "Int8Matrix", -127), ("Q4_0", "Int4Matrix", -8)])
def test_integers_of_such_blocks_keep_every_bit(llama2: ModuleType, dtype: str, kind: str, low: int) -> None:
    """But not where their groups are others, or their scales no float16 numbers: those are quantized anew."""
    rng = np.random.default_rng(3)
    q = rng.integers(low, -low, (3, 64)).astype(np.int8)
    scale = rng.standard_normal((3, 2)).astype(np.float16).astype(np.float32)
    parts = (q, scale) if llama2 is llama2_fast else (q.tolist(), scale.tolist())
    data = b"".join(ARRAYS[llama2].matrix_to_blocks(getattr(llama2, kind)(*parts), dtype))
    again = ARRAYS[llama2].matrix_from_bytes(dtype, memoryview(data), 3, 64)
    assert np.array_equal(np.array([list(row) for row in again.q]), q)
    assert np.array_equal(np.array([list(row) for row in again.scale]), scale)
    for other in (scale * np.float32(1 + 2**-20), scale.repeat(2, 1)):
        parts = (q, other) if llama2 is llama2_fast else (q.tolist(), other.tolist())
        floats = (q * other.repeat(64 // other.shape[1], 1)).astype(np.float32)
        found = b"".join(ARRAYS[llama2].matrix_to_blocks(getattr(llama2, kind)(*parts), dtype))
        assert found == gguf.quantize(floats, type_of(dtype)).tobytes()


def test_the_start_of_a_file_is_as_the_gguf_package_writes_it() -> None:
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_context_length(77)
    writer.add_rope_freq_base(1e6)
    writer.add_token_list(["a", "\u2581b", ""])
    writer.add_token_types([1, 2, 6])
    writer.add_add_bos_token(False)
    tensors = [("a.weight", (3, 64), "Q4_0", 3 * 36), ("b.weight", (5,), "F32", 20)]
    for name, shape, dtype, size in tensors:
        raw = (*shape[:-1], shape[-1] // 32 * 18) if dtype == "Q4_0" else shape
        kind = np.dtype(np.uint8 if dtype == "Q4_0" else np.float32)
        writer.add_tensor_info(name, raw, kind, size, type_of(dtype))
    file = io.BytesIO()
    writer.fout, writer.state = [file], gguf.gguf_writer.WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    entries = {
        "general.architecture": Entry(STRING, "llama"),
        "llama.context_length": Entry(UINT32, 77),
        "llama.rope.freq_base": Entry(FLOAT32, 1e6),
        "tokenizer.ggml.tokens": Entry(STRING, ["a", "\u2581b", ""]),
        "tokenizer.ggml.token_type": Entry(INT32, [1, 2, 6]),
        "tokenizer.ggml.add_bos_token": Entry(7, False),
    }
    assert start_of_file(entries, tensors) == file.getvalue().ljust(padded(file.tell()), b"\0")


def test_both_packages_know_the_same_types() -> None:
    """What the reference reads is what a file can hold beside what stays as it is, and floats of 64 bits."""
    kept = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"}
    none = {"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K", "Q1_0"}
    assert set(ggml_blocks.GROUPS) == set(SIZES) - kept - none
    assert llama2_ref.formats.ggml_blocks is ggml_blocks
