"""Which engine is chosen, by its name."""

import sys

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


def test_numpy_does_where_numba_is_missing_unless_simd_is_asked_for(monkeypatch):
    monkeypatch.setattr("llama2_fast._backend.installed", lambda: False)
    assert choose_backend("auto", True, WEIGHTS) == "numpy"
    with pytest.raises(llama2_fast.MissingExtraError, match="pip install 'llama2-twins\\[jit\\]'"):
        choose_backend("simd", True, WEIGHTS)
    monkeypatch.setenv("LLAMA2_BACKEND", "simd")
    with pytest.raises(llama2_fast.MissingExtraError):
        choose_backend(None, True, WEIGHTS)


@pytest.mark.parametrize(("name", "value"), [("byteorder", "big"), ("maxsize", 2**31 - 1)])
def test_other_processors_have_numpy(monkeypatch, name, value):
    monkeypatch.setattr(sys, name, value)
    with pytest.raises(llama2_fast.ConfigError, match="64-bit little-endian"):
        choose_backend("simd", True, WEIGHTS)
    assert choose_backend("auto", True, WEIGHTS) == "numpy"
