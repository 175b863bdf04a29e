"""Sizes that contradict each other are refused before anything is built on them."""

import dataclasses

import pytest
from hypothesis import given

import llama2_ref
from llama2_fast.conformance.strategies import configs

SIZES = {"dim": 64, "hidden_dim": 172, "n_layers": 5, "n_heads": 8, "n_kv_heads": 4, "vocab_size": 512, "seq_len": 512}


def test_derived_sizes(llama2):
    config = llama2.Config(**SIZES)
    assert (config.head_size, config.kv_dim, config.norm_eps, config.rope_theta) == (8, 32, 1e-5, 10000.0)


def test_it_can_not_be_changed(llama2):
    with pytest.raises(dataclasses.FrozenInstanceError):
        llama2.Config(**SIZES).dim = 32


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [0, -1, 1.0, "8", None, True])
def test_sizes_are_positive_whole_numbers(llama2, name, size):
    with pytest.raises(llama2.ConfigError, match=f"{name} must be a positive whole number"):
        llama2.Config(**SIZES | {name: size})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": 7}, "n_heads must divide dim"),
        ({"n_kv_heads": 3}, "n_kv_heads must divide n_heads"),
        ({"n_heads": 64}, "head size must be even"),
        ({"norm_eps": 0.0}, "norm_eps must be finite and positive"),
        ({"norm_eps": float("nan")}, "norm_eps must be finite"),
        ({"rope_theta": 0.5}, "rope_theta must be finite and at least 1"),
        ({"rope_theta": float("inf")}, "rope_theta must be finite"),
    ],
)
def test_contradictions_are_named(llama2, change, message):
    with pytest.raises(llama2.ConfigError, match=message):
        llama2.Config(**SIZES | change)


@given(configs())
def test_strategies_make_valid_ones(config):
    """By construction: nothing is filtered out."""
    assert isinstance(config, llama2_ref.Config)
