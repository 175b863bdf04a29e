"""Arrays that do not lie in memory row by row: the same numbers, bit for bit, as from a copy that does.

Columns first, every other row or column, backwards, parts of wider rows, at an odd address, in the other byte order:
an engine that packs bytes as they lie would mix up weights that are all there.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import llama2_fast
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.judge import assert_taps_within
from llama2_fast.weights import BFloat16Matrix, Blocks, IntegerMatrix
from llama2_ref.quantize import map_matrices
from support.models import random_file_twins, random_twins

CONFIG = llama2_fast.Config(64, 96, 1, 2, 1, 50, 24)
TOKENS = [1, 7, 49, 0, 7, 30]
OTHER = 1  # what stands between the numbers: wrong weights, but no odd ones


def spread(array, *places):
    """A view of a larger array, of which these places are the numbers."""
    sizes = [max(place.start or 0, place.stop or 0) + abs(place.step or 1) * n + 8
             for place, n in zip(places, array.shape, strict=True)]  # fmt: skip
    view = np.full(sizes, OTHER, array.dtype)[places][tuple(slice(0, n) for n in array.shape)]
    view[...] = array
    return view


def at_an_odd_address(array):
    data = np.zeros(array.nbytes + 1, np.uint8)[1:]
    data[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return data.view(array.dtype).reshape(array.shape)


def backwards(axis):
    return lambda array: np.flip(np.ascontiguousarray(np.flip(array, axis)), axis)


every, other = slice(None), slice(None, None, 2)
LAYOUTS = {
    "columns first": np.asfortranarray,
    "every other column": lambda array: spread(array, *(every,) * (array.ndim - 1), other),
    "every other row": lambda array: spread(array, other, *(every,) * (array.ndim - 1)),
    "a part of wider rows": lambda array: spread(array, *(every,) * (array.ndim - 1), slice(3, None)),
    "rows backwards": backwards(0),
    "columns backwards": backwards(-1),
    "all backwards": backwards(None),
    "an odd address": at_an_odd_address,
    "the other byte order": lambda array: array.astype(array.dtype.newbyteorder("S")),
}


def relaid(matrix: Any, layout: Any) -> Any:
    """A matrix of any kind whose arrays have a layout."""
    if isinstance(matrix, IntegerMatrix):
        return replace(matrix, **{name: relaid(part, layout) for name, part in vars(matrix).items()})  # type: ignore[type-var]
    if isinstance(matrix, BFloat16Matrix):
        return BFloat16Matrix(layout(matrix.bits))
    if isinstance(matrix, Blocks):
        return Blocks(layout(matrix._blocks), matrix._unpack)
    return layout(matrix)


KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "int8", "int4")  # those in lower case as quantize_weights does


def weights_of(kind):
    if kind.startswith("int"):
        return llama2_fast.quantize_weights(random_twins(CONFIG, 5, shared=False).fast, kind)
    return random_file_twins(CONFIG, 5, kind).fast


def all_relaid(weights, layout):
    """Norms, too."""
    norms = {name: layout(getattr(weights, name)) for name in ("rms_att_weight", "rms_ffn_weight")}
    norms["rms_final_weight"] = layout(weights.rms_final_weight[None])[0]
    return replace(map_matrices(weights, lambda matrix: relaid(matrix, layout)), **norms)


def logits(weights, backend="simd", quantize=None):
    model = llama2_fast.Transformer(CONFIG, weights, backend=backend, quantize=quantize)
    return model.forward(TOKENS, model.new_cache(), every=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_compiled_code_reads_any_layout(name, kind):
    """Every array of every matrix: numbers, scales and offsets."""
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    weights = weights_of(kind)
    assert np.array_equal(logits(all_relaid(weights, LAYOUTS[name])), logits(weights))


@pytest.mark.parametrize("part", ["q", "scale", "offset"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_compiled_code_reads_any_layout_of_a_part(name, part):
    """Beside others that lie row by row."""
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    weights = weights_of("Q4_1")

    def change(matrix):
        return replace(matrix, **{part: relaid(getattr(matrix, part), LAYOUTS[name])})

    assert np.array_equal(logits(map_matrices(weights, change)), logits(weights))


@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_is_quantized(name, kind, quantize):
    """By both engines, and for files: the same integers and scales."""
    weights = weights_of(kind)
    other = all_relaid(weights, LAYOUTS[name])
    expected, found = (llama2_fast.quantize_weights(each, quantize) for each in (weights, other))
    for field in ("token_embedding_table", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls"):
        for one, two in zip(matrices(expected, field), matrices(found, field), strict=True):
            assert np.array_equal(one.q, two.q)
            assert np.array_equal(one.scale, two.scale)
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    assert np.array_equal(logits(other, quantize=quantize), logits(weights, quantize=quantize))


def matrices(weights, field):
    value = getattr(weights, field)
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_numpy_keeps_its_bounds_with_any_layout(name, kind):
    weights, taps = weights_of(kind), llama2_fast.Taps()
    model = llama2_fast.Transformer(CONFIG, all_relaid(weights, LAYOUTS[name]), backend="numpy")
    model.forward(TOKENS, model.new_cache(), every=True, taps=taps)
    assert_taps_within(CONFIG, weights, TOKENS, taps, ClosedKernels())


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_is_written_and_known_again(tmp_path, name, kind):
    """Files of both versions are equal, byte by byte, and so is what a session calls the model."""
    weights = weights_of(kind)
    other = all_relaid(weights, LAYOUTS[name])
    for version in (1, 2):
        files = []
        for number, each in enumerate((weights, other)):
            files.append(tmp_path / f"{number}.bin")
            llama2_fast.write_checkpoint(files[-1], CONFIG, each, version)
        assert files[0].read_bytes() == files[1].read_bytes()
    known = [
        llama2_fast.Session(tmp_path / "session", llama2_fast.Transformer(CONFIG, each, backend="numpy"))._model
        for each in (weights, other)
    ]
    assert known[0] == known[1]
