"""GGUF files: what is nearly one is refused by both packages alike, or read to the same numbers, which bear use."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama2_ref
from fuzz.mutators import mutate_gguf
from fuzz.readers import gguf_seeds, judge_gguf
from support.gguf_bytes import config_entries, gguf_of, model_tensors

pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")

SEEDS = gguf_seeds()


@given(seed=st.sampled_from(range(len(SEEDS))), changes=st.lists(st.integers(0, 2**32 - 1), max_size=4))
def test_what_is_nearly_a_gguf_file_is_refused_or_bears_use(tmp_path_factory, seed, changes):
    """By the changes that coverage.py makes; with none, a file to begin from."""
    data = SEEDS[seed]
    for change in changes:
        data = mutate_gguf(data, 6000, random.Random(change), lambda data, longest: data)
    path = tmp_path_factory.mktemp("nearly") / "model.gguf"
    path.write_bytes(data)
    judge_gguf(path)


@pytest.mark.parametrize("place", [0, 2], ids=["scale", "offset"])
@pytest.mark.parametrize("number", [np.nan, np.inf], ids=["nan", "inf"])
def test_what_coverage_found(tmp_path, place, number):
    """Blocks of Q4_1 whose scale or offset is NaN: the compiled engine took them for no float16 numbers."""
    config = llama2_ref.Config(32, 2, 1, 2, 1, 6, 8, head_size=2)
    tensors = model_tensors(config, "Q4_1")
    for i, tensor in enumerate(tensors):
        if tensor.name == "blk.0.ffn_gate.weight":
            data = bytearray(tensor.data)
            data[20 + place : 22 + place] = np.float16(number).tobytes()
            tensors[i] = replace(tensor, data=bytes(data))
    (tmp_path / "model.gguf").write_bytes(gguf_of(config_entries(config), tensors))
    judge_gguf(tmp_path / "model.gguf")
