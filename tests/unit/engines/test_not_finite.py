"""A number that is not finite: whichever weight holds it, wherever, both engines of llama2_fast say the same.

The same reason, position and cause, and the same length of every cache, for prompts, batches and chunks.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.weights import BFloat16Matrix, IntegerMatrix
from llama2_ref.formats.dtypes import DTYPES
from support.models import random_file_twins, random_twins

pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")

CONFIG = llama2_fast.Config(64, 160, 2, 2, 1, 40, 24)  # groups of 32 (int4) and 64 (int8), several in a row
MATRICES = ("token_embedding_table", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")
NORMS = ("rms_att_weight", "rms_ffn_weight", "rms_final_weight")
BAD = 7  # the token whose embedding is broken
# Layer, row, column, value: numbers in the first vector of a group and behind it, in the first group and in others.
PLACES = ((1, 19, 63, np.nan), (0, 30, 17, np.inf), (1, 2, 3, -np.inf))


def model_weights(kind):
    """Weights that may be written to."""
    twins = random_twins(CONFIG, 3, shared=False)
    return llama2_fast.quantize_weights(twins.fast, kind) if kind else twins.fast


def broken(weights, name, layer, row, column, value):
    """The same weights but for one number; of integers it is a scale."""
    field = getattr(weights, name)
    item = field if name in ("token_embedding_table", "wcls", "rms_final_weight") else field[layer]
    if hasattr(item, "scale"):
        changed = replace(item, scale=item.scale.copy())
        changed.scale[row, column // item.group_size] = value
    else:
        changed = item.copy()
        changed[column if item.ndim == 1 else (row, column)] = value
    if item is field:
        return replace(weights, **{name: changed})
    layers = field.copy() if isinstance(field, np.ndarray) else list(field)
    layers[layer] = changed
    return replace(weights, **{name: layers})


@cache
def begun(backend):
    """A cache that holds two tokens of a model with good weights."""
    model = llama2_fast.Transformer(CONFIG, model_weights(None), backend=backend)
    holds = model.new_cache()
    model.forward([1, 2], holds)
    return holds


def said(weights, backend, ask):
    """What an engine says, and how long the caches are then."""
    model = llama2_fast.Transformer(CONFIG, weights, backend=backend, threads=2)
    caches = [model.new_cache(), begun(backend).copy(), model.new_cache()]
    try:
        with np.errstate(all="ignore"):
            ask(model, caches)
    except llama2_fast.NumericsError as error:
        return str(error), [cache.length for cache in caches]
    return "nothing", [cache.length for cache in caches]


ASKED = {
    "one token": lambda model, caches: model.forward([BAD], caches[0]),
    "a prompt": lambda model, caches: model.forward([3, 4, BAD, 5, 6], caches[0]),
    "all of a prompt": lambda model, caches: model.forward([3, 4, BAD, 5, 6], caches[0], every=True),
    "what goes on": lambda model, caches: model.forward([3, BAD], caches[1]),
    "a batch": lambda model, caches: model.forward_batch(
        [([3, 4], caches[0]), ([5, BAD, 6], caches[1]), ([8], caches[2])]
    ),
    "all of a batch": lambda model, caches: model.forward_batch(
        [([3, 4], caches[0]), ([5, BAD, 6], caches[1]), ([8], caches[2])], every=True
    ),
}


@pytest.mark.parametrize("kind", [None, "int8", "int4"])
@pytest.mark.parametrize("name", [*MATRICES, *NORMS])
def test_engines_say_the_same_of_a_weight_that_is_not_finite(name, kind):
    weights = model_weights(kind)
    for layer, row, column, value in PLACES:
        bad = broken(weights, name, layer, BAD if name == "token_embedding_table" else row, column, value)
        for what, ask in ASKED.items():
            expected = said(bad, "numpy", ask)
            assert name in expected[0], what
            assert said(bad, "simd", ask) == expected, what


@pytest.mark.parametrize("kind", [None, "int8"])
@pytest.mark.parametrize("name", ["token_embedding_table", "rms_ffn_weight", "w2"])
def test_engines_say_the_same_in_chunks(monkeypatch, name, kind):
    """Tokens whose logits nobody wants are in chunks before the last one, and in those of other sequences."""
    for module in ("engines.numpy_engine", "engines.simd.engine"):
        monkeypatch.setattr(f"llama2_fast.{module}.CHUNK", 3)
    for at in range(8):
        tokens = [1, 2, 3, 4, 5, 6, 8, 9]
        tokens[at] = BAD
        bad = broken(model_weights(kind), name, 1, BAD, 17, np.inf)
        for every in (False, True):

            def ask(model, caches, tokens=tokens, every=every):
                model.forward_batch([([3], caches[1]), (tokens, caches[0]), ([4, 5], caches[2])], every)

            expected = said(bad, "numpy", ask)
            assert name in expected[0]
            assert said(bad, "simd", ask) == expected, (at, every)


@pytest.mark.parametrize("index", [0, 15, 16, 17, 31, 32, 63])
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_index_of_a_number_in_its_vector_is_told(kind, index):
    """A norm's weight makes one number of a vector NaN; a later one must not be told in its place."""
    for name in NORMS:
        bad = broken(model_weights(kind), name, 1, 0, index, np.nan)
        bad = broken(bad, name, 1, 0, min(index + 1, 63), np.nan)
        for what, ask in ASKED.items():
            text, lengths = said(bad, "simd", ask)
            assert f"(got nan at index {index})" in text, what
            assert (text, lengths) == said(bad, "numpy", ask), what


@pytest.mark.parametrize("name", ["wv", "w3"])
def test_the_token_whose_vector_overflows_is_told(name):
    """Its vector is made of finite weights, and it alone of all tokens: what is to be quantized is infinite there."""
    weights = model_weights("int8")
    table = model_weights(None).token_embedding_table
    table[:, 5] = 0
    table[BAD, 5] = 4
    matrices = [matrix.copy() for matrix in getattr(model_weights(None), name)]
    matrices[1][19] = 0
    matrices[1][19, 5] = 3e38
    weights = replace(weights, token_embedding_table=table, **{name: matrices})
    weights = replace(weights, w2=[weights.w2[0] for _ in weights.w2], wo=[weights.wo[0] for _ in weights.wo])
    for what, ask in ASKED.items():
        expected = said(weights, "numpy", ask)
        assert "inf at index" in expected[0]
        assert "every weight is finite" in expected[0]
        assert said(weights, "simd", ask) == expected, what


def spoilt(matrix: Any, row: int, column: int, value: float) -> Any:
    """A matrix of a file with a bad number in its scales, or in its floats; with offsets, a later one in these."""
    if isinstance(matrix, IntegerMatrix):
        scale = matrix.scale.copy()
        scale[row, column // matrix.group_size] = value
        matrix = replace(matrix, scale=scale)  # type: ignore[type-var] # all its kinds are dataclasses
        if isinstance(matrix, llama2_fast.Int4OffsetMatrix):
            matrix = replace(matrix, offset=matrix.offset.copy())
            matrix.offset[row + 1, -1] = -value
    elif isinstance(matrix, BFloat16Matrix):
        matrix = BFloat16Matrix(matrix.bits.copy())
        matrix.bits[row, column] = np.array([value], np.float32).view(np.uint32)[0] >> 16
    else:
        matrix = matrix.copy()
        matrix[row, column] = value
    return matrix


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["F32", *DTYPES])
def test_the_first_bad_number_of_a_matrix_is_told(kind, value):
    """As by the reference, of every kind of matrix that a file may hold; the last layer has another one."""
    twins = random_file_twins(CONFIG, 5, kind)
    w1 = [spoilt(matrix, 3, 33, value) for matrix in twins.fast.w1]
    weights = replace(twins.fast, w1=w1)
    with np.errstate(all="ignore"):
        causes = []
        model: Any
        for model in (
            llama2_ref.Transformer(CONFIG, weights),
            llama2_fast.Transformer(CONFIG, weights, backend="numpy"),
            llama2_fast.Transformer(CONFIG, weights, backend="simd"),
        ):
            with pytest.raises(llama2_ref.NumericsError) as caught:
                model.forward([1], model.new_cache())
            causes.append(str(caught.value).split(", at position 0: ")[1])
    assert causes[0].startswith("w1[0][4]" if kind == "Q4_1" else "w1[0][3]")
    assert causes == causes[:1] * 3
