"""Which engine is chosen, by its name."""

import dataclasses
import sys

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.engines.choose import choose_backend, installed
from support.models import random_twins

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
    monkeypatch.setattr("llama2_fast.engines.choose.installed", lambda: False)
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


@pytest.mark.parametrize("name", ["wq", "wk", "wv", "w1", "w3"])
def test_one_matrix_of_other_groups_is_enough_for_numpy(name):
    """Those that share their vectors, which are quantized once for all of them."""
    integers = llama2_fast.quantize_weights(WEIGHTS, "int8")
    halved = [llama2_fast.Int8Matrix(m.q, np.repeat(m.scale, 2, axis=1)) for m in getattr(integers, name)]
    mixed = dataclasses.replace(integers, **{name: halved})
    assert choose_backend("auto", True, mixed) == "numpy"
    with pytest.raises(llama2_fast.ConfigError, match=rf"one size in .*{name}\b.* \(layer 0 has several\)"):
        choose_backend("simd", True, mixed)


def test_every_layer_must_have_groups_of_one_size():
    """The first two have: the third one tells."""
    config = dataclasses.replace(CONFIG, n_layers=3)
    integers = llama2_fast.quantize_weights(random_twins(config, 1).fast, "int8")
    *others, last = integers.w3
    halved = llama2_fast.Int8Matrix(last.q, np.repeat(last.scale, 2, axis=1))
    assert choose_backend("auto", True, dataclasses.replace(integers, w3=[*others, halved])) == "numpy"


@pytest.mark.parametrize("missing", ["numba", "llvmlite"])
def test_both_packages_of_the_extra_are_needed(monkeypatch, missing):
    monkeypatch.setattr("llama2_fast.engines.choose.find_spec", lambda name: None if name == missing else name)
    assert not installed()


def test_a_numba_that_does_not_work_is_told(monkeypatch):
    """An error where simd is asked for by name, else a warning, and numpy."""
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")

    def broken():
        raise OSError("no such symbol")

    monkeypatch.setattr("llama2_fast.engines.simd.compiler.library.library", broken)
    with pytest.raises(llama2_fast.ConfigError, match=r"can't be used \(no such symbol\): use the numpy backend"):
        choose_backend("simd", True, WEIGHTS)
    with pytest.warns(UserWarning, match=r"can't be used \(no such symbol\): numpy runs the model"):
        assert choose_backend("auto", True, WEIGHTS) == "numpy"
