"""GGUF files: what is nearly one is refused by both packages alike, or read to the same numbers, which bear use."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutators import mutate_gguf
from fuzz.readers import gguf_seeds, judge_gguf

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
