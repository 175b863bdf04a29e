"""The table of tensors: it is whole, and a tensor that only some models have takes a row and nothing else."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.engines import numpy_engine
from llama2_ref import transformer
from llama2_ref.config import Config
from llama2_ref.formats import tensor_table
from llama2_ref.formats.gguf_write import write_gguf
from llama2_ref.formats.huggingface import write_folder
from llama2_ref.formats.llama2c import write_with
from llama2_ref.formats.safetensors import TensorInfo, read_file
from llama2_ref.formats.session import fingerprint
from llama2_ref.formats.tensor_table import META, TABLE, Row, collect_weights, count_parameters, half_split
from llama2_ref.weights import TENSORS, TensorSpec, Weights
from support.models import random_twins
from support.seam import ARRAYS

CONFIG = Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=16, head_size=8)
BIAS = "self_attn.q_proj.bias"
FIRST_NOT_FINITE = {llama2_ref: transformer.first_not_finite, llama2_fast: numpy_engine.first_not_finite}


def test_every_field_of_weights_has_a_row_in_their_order() -> None:
    names = [field.name for field in fields(Weights)]
    assert [spec.name for spec in TENSORS] == names
    assert [row.spec for row in TABLE] == list(TENSORS)
    for column in ("hugging_face", "meta", "gguf"):
        found = [getattr(row, column) for row in TABLE]
        assert len(set(found)) == len(found)
        assert all(("{}" in name) == row.spec.per_layer for name, row in zip(found, TABLE, strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_shapes_and_parameters_are_those_of_weights(shared: bool) -> None:
    config = replace(CONFIG, head_size=6)
    weights = random_twins(config, seed=1, shared=shared).fast
    total = 0
    for spec in TENSORS:
        field = getattr(weights, spec.name)
        arrays = list(field) if spec.per_layer else [field]
        assert {array.shape for array in arrays} == {spec.shape(config)}
        assert len(arrays) == (config.n_layers if spec.per_layer else 1)
        total += 0 if shared and spec.name == "wcls" else sum(array.size for array in arrays)
    assert count_parameters(config, weights) == total


# ----------------------------------------------------------------------------------------------------------- a new row


@dataclass(frozen=True)
class BiasedWeights(Weights):
    """Those of a model whose queries have biases, and whose heads of queries have norms."""

    bq: Any = None  # (L, H*E)
    q_norm: Any = None  # (L, E)


@pytest.fixture
def biased(monkeypatch: pytest.MonkeyPatch) -> BiasedWeights:
    """Such weights, and a table with rows for both, whose numbers go the way of the rows of wq."""
    spec = TensorSpec("bq", ("q_dim",), rotated=True, optional=True)
    row = Row(spec, "model.layers.{}." + BIAS, "layers.{}.attention.wq.bias", "blk.{}.attn_q.bias", llama2c=False)
    norm = TensorSpec("q_norm", ("head_size",), rotated=True, optional=True)
    other = Row(norm, "model.layers.{}.self_attn.q_norm.weight", None, "blk.{}.attn_q_norm.weight", llama2c=False)
    monkeypatch.setattr(tensor_table, "TABLE", (*TABLE, row, other))
    monkeypatch.setattr(tensor_table, "Weights", BiasedWeights)
    bq = np.arange(CONFIG.n_layers * CONFIG.q_dim, dtype=np.float32).reshape(CONFIG.n_layers, -1)
    return BiasedWeights(**vars(random_twins(CONFIG, seed=2, shared=False).fast), bq=bq, q_norm=bq[:, 8:16])


def as_read(llama2: ModuleType, weights: BiasedWeights) -> Any:
    """The weights in matrices of a package."""
    if llama2 is llama2_fast:
        return weights
    return BiasedWeights(**vars(random_twins(CONFIG, 2, shared=False).ref), bq=weights.bq, q_norm=weights.q_norm)


def write_gguf_file(path: Path, weights: Any, llama2: ModuleType) -> None:
    write_gguf(path, CONFIG, weights, "f32", {}, ARRAYS[llama2])


def write_hugging_face(path: Path, weights: Any, llama2: ModuleType) -> None:
    write_folder(path, CONFIG, weights, arrays=ARRAYS[llama2])


WRITE = {"gguf": write_gguf_file, "safetensors": write_hugging_face}


def test_a_model_may_lack_an_optional_tensor(llama2: ModuleType, biased: BiasedWeights) -> None:
    """Whoever goes through the tensors of a model goes through those that it has."""
    lacking = replace(as_read(llama2, biased), bq=None, q_norm=None)
    assert {"bq", "q_norm"}.isdisjoint(name for name, _ in lacking.tensors())
    assert FIRST_NOT_FINITE[llama2](lacking) is None
    made = llama2.quantize_weights(lacking, "int8")
    assert (made.bq, made.q_norm) == (None, None)
    assert isinstance(made.wq[0], llama2.Int8Matrix)


@pytest.mark.parametrize("to", WRITE)
def test_an_optional_tensor_is_written_and_read(
    llama2: ModuleType, to: str, biased: BiasedWeights, tmp_path: Path
) -> None:
    WRITE[to](tmp_path / "model", as_read(llama2, biased), llama2)
    found = llama2.read_model(tmp_path / "model")
    assert np.array_equal(np.array([list(row) for row in found.weights.bq]), biased.bq)
    assert np.array_equal(np.array([list(row) for row in found.weights.q_norm]), biased.q_norm)
    assert found.parameters == count_parameters(CONFIG, biased)
    assert found.parameters == count_parameters(CONFIG, replace(biased, bq=None, q_norm=None)) + 2 * (32 + 8)


@pytest.mark.parametrize("to", WRITE)
def test_a_file_may_be_without_it(llama2: ModuleType, to: str, biased: BiasedWeights, tmp_path: Path) -> None:
    WRITE[to](tmp_path / "model", replace(as_read(llama2, biased), bq=None), llama2)
    assert llama2.read_model(tmp_path / "model").weights.bq is None


@pytest.mark.parametrize("to", WRITE)
def test_a_tensor_without_a_row_is_refused(to: str, biased: BiasedWeights, tmp_path: Path) -> None:
    WRITE[to](tmp_path / "model", biased, llama2_fast)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_table, "TABLE", TABLE)
        with pytest.raises(llama2_ref.CheckpointError, match="not supported"):
            llama2_ref.read_model(tmp_path / "model")


def test_hugging_face_has_it_in_its_order(biased: BiasedWeights, tmp_path: Path) -> None:
    write_hugging_face(tmp_path / "model", biased, llama2_fast)
    tensors = read_file(tmp_path / "model" / "model.safetensors").tensors
    found = np.frombuffer(tensors[f"model.layers.1.{BIAS}"].data, np.float32)
    assert np.array_equal(found, biased.bq[1][half_split(32, heads=4)])
    found = np.frombuffer(tensors["model.layers.1.self_attn.q_norm.weight"].data, np.float32)
    assert np.array_equal(found, biased.q_norm[1][half_split(8, heads=1)])


def test_meta_s_names(llama2: ModuleType, biased: BiasedWeights) -> None:
    tensors = {}
    for spec, name, array in tensor_table.parts(CONFIG, biased, META, META.specs()):
        tensors[name] = TensorInfo("F32", spec.shape(CONFIG), memoryview(array.tobytes()))
    assert len(tensors) == 3 + 10 * CONFIG.n_layers
    found: Any = collect_weights(META, CONFIG, False, tensors, ARRAYS[llama2])
    assert np.array_equal(np.array([list(row) for row in found.bq]), biased.bq)
    del tensors["layers.1.attention.wq.bias"]
    with pytest.raises(llama2_ref.CheckpointError, match=r"layers\.1\.attention\.wq\.bias must be there"):
        collect_weights(META, CONFIG, False, tensors, ARRAYS[llama2])


def test_llama2_c_has_no_place_for_it(llama2: ModuleType, biased: BiasedWeights, tmp_path: Path) -> None:
    weights = as_read(llama2, biased)
    with pytest.raises(llama2_ref.CheckpointError, match=r"bq has no place in llama2\.c files"):
        write_with(ARRAYS[llama2], tmp_path / "model.bin", CONFIG, weights, 1, None)
    assert not (tmp_path / "model.bin").exists()
    write_with(ARRAYS[llama2], tmp_path / "model.bin", CONFIG, replace(weights, bq=None, q_norm=None), 1, None)
    assert llama2.read_checkpoint(tmp_path / "model.bin")[1].bq is None


def test_it_counts_in_a_fingerprint_and_survives_quantization(biased: BiasedWeights) -> None:
    seen = {fingerprint(CONFIG, weights, ARRAYS[llama2_fast], None) for weights in (
        biased, replace(biased, bq=None), replace(biased, bq=biased.bq + 1),
    )}  # fmt: skip
    assert len(seen) == 3
    quantized: Any = llama2_fast.quantize_weights(biased, "int8")
    assert quantized.bq is biased.bq
