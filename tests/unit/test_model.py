"""What `load` hands on: the knobs of the fast package, and the kind of integers."""

import pytest

import llama2_fast
import llama2_ref
from support.models import write_model

CONFIG = llama2_ref.Config(8, 12, 1, 2, 1, 300, 16)


def test_knobs_are_handed_on(tmp_path):
    path = write_model(tmp_path, CONFIG)
    model = llama2_fast.load(path, threads=3, backend="numpy")
    assert (model.transformer.backend, model.transformer.threads) == ("numpy", 3)


@pytest.mark.parametrize("knob", [{"threads": 0}, {"backend": "cuda"}])
def test_wrong_knobs_are_refused(tmp_path, knob):
    with pytest.raises(llama2_fast.ConfigError, match=next(iter(knob))):
        llama2_fast.load(write_model(tmp_path, CONFIG), **knob)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_models_are_quantized_alike(llama2, tmp_path, kind):
    """The same logits as from weights that were quantized first."""
    path = write_model(tmp_path, CONFIG)
    knobs = {} if llama2 is llama2_ref else {"backend": "numpy"}
    model = llama2.load(path, quantize=kind, **knobs).transformer
    config, weights = llama2.read_checkpoint(path)
    expected = llama2.Transformer(config, llama2.quantize_weights(weights, kind), **knobs)
    plain = llama2.Transformer(config, weights, **knobs)
    logits = [list(each.forward([1, 5], each.new_cache())) for each in (model, expected, plain)]
    assert logits[0] == logits[1] != logits[2]


def test_wrong_kinds_are_refused(llama2, tmp_path):
    with pytest.raises(llama2.ConfigError, match="int8 or int4"):
        llama2.load(write_model(tmp_path, CONFIG), quantize="int3")
