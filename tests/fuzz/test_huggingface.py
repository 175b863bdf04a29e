"""Safetensors and folders of Hugging Face: what is nearly one is refused by both packages alike, or bears use."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutators import MUTATORS
from fuzz.readers import JUDGES, SEEDS

FILES = {reader: SEEDS[reader]() for reader in ("safetensors", "folder")}


@pytest.mark.parametrize("reader", FILES)
@given(choice=st.integers(0, 99), changes=st.lists(st.integers(0, 2**32 - 1), max_size=4))
def test_what_is_nearly_a_model_is_refused_or_bears_use(tmp_path_factory, reader, choice, changes):
    """By the changes that coverage.py makes; with none, an input to begin from."""
    data = FILES[reader][choice % len(FILES[reader])]
    for change in changes:
        data = MUTATORS[reader](data, 6000, random.Random(change), lambda data, longest: data)
    path = tmp_path_factory.mktemp("nearly") / "input"
    path.write_bytes(data)
    JUDGES[reader](path)
