"""Which engine is chosen, by its name."""

import pytest

import llama2_fast
import llama2_ref
from llama2_fast._backend import choose_backend
from models import random_twins

CONFIG = llama2_ref.Config(8, 12, 1, 2, 1, 30, 16)
WEIGHTS = random_twins(CONFIG, 1).fast


def test_numpy_is_chosen_where_it_is_asked_for(monkeypatch):
    assert choose_backend("numpy", True, WEIGHTS) == "numpy"
    monkeypatch.setenv("LLAMA2_BACKEND", "numpy")
    assert choose_backend(None, True, WEIGHTS) == "numpy"


def test_numpy_is_chosen_where_others_kernels_are_given(monkeypatch):
    monkeypatch.setenv("LLAMA2_BACKEND", "auto")
    assert choose_backend(None, False, WEIGHTS) == choose_backend("auto", False, WEIGHTS) == "numpy"
    with pytest.raises(llama2_fast.ConfigError, match="simd backend needs this package's kernels"):
        choose_backend("simd", False, WEIGHTS)


def test_simd_is_chosen_where_it_works(backend):
    assert choose_backend(backend, True, WEIGHTS) == backend
