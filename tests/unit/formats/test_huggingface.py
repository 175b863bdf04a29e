"""Folders of Hugging Face, read and written by both packages: right ones, and ones that are damaged or made to hurt."""

import json
import os
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
import llama2_ref.formats.huggingface
from llama2_ref import CheckpointError, Config, ConfigError, NumericsError
from llama2_ref.config import RopeScaling
from llama2_ref.formats.huggingface import DTYPES, read_folder, write_folder
from llama2_ref.formats.registry import read_model
from llama2_ref.formats.tensor_table import half_split, interleaved
from llama2_ref.quantize import map_matrices
from llama2_ref.support.strict_json import read_json
from support.folders import PARTS, safetensors, settings, tensors_of, write_hf_folder, write_tensors
from support.models import random_twins
from support.seam import ARRAYS

WRITE = {package: partial(write_folder, arrays=arrays) for package, arrays in ARRAYS.items()}
ENCODE = {package: arrays.matrix_to_bytes for package, arrays in ARRAYS.items()}
# Sizes that differ from each other, heads that do not make up dim, and constants that are no defaults.
CONFIG = Config(
    dim=6, hidden_dim=10, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=9, seq_len=77, norm_eps=3e-6,
    rope_theta=4321.5, head_size=8, rope_scaling=RopeScaling("llama3", 4.0, 1.5, 3.0, 64),
)  # fmt: skip
TWINS = random_twins(CONFIG, seed=3, shared=False)
TIED = random_twins(CONFIG, seed=4, shared=True)


def config_of(path: Path) -> tuple[Config, bool]:
    """What a config.json says."""
    return llama2_ref.formats.huggingface._config(path, read_json(path))


def numbers(field: Any) -> np.ndarray:
    """A tensor of either package as float32 numbers; a list of matrices as a stack."""
    if isinstance(field, list):
        return np.stack([numbers(matrix) for matrix in field])
    if isinstance(field, llama2_ref.weights.Matrix):
        return np.array([list(row) for row in field], np.float32)
    return np.asarray(field, np.float32)


def rounded(array: np.ndarray, kind: str) -> np.ndarray:
    """What is left of the numbers in a type, cut off as tests/support/folders.py does it."""
    if kind == "BF16":
        return (np.ascontiguousarray(array).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return array.astype(np.float16).astype(np.float32) if kind == "F16" else array


def assert_same(weights: Any, wanted: Any, kind: str = "F32") -> None:
    """Every tensor holds these numbers."""
    for name in vars(wanted):
        assert np.array_equal(numbers(getattr(weights, name)), rounded(numbers(getattr(wanted, name)), kind)), name
    assert weights.shared_classifier == wanted.shared_classifier


# -------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("twins", [TWINS, TIED], ids=["untied", "tied"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_folder_is_read(llama2: ModuleType, tmp_path: Path, kind: str, shards: int, twins: Any) -> None:
    write_hf_folder(tmp_path, CONFIG, twins.fast, kind, shards, tied=twins.shared)
    found = read_folder(tmp_path, ARRAYS[llama2])
    assert found.config == CONFIG
    assert_same(found.weights, twins.fast, kind)
    assert found.label == f"safetensors, {kind}" + (", 3 files" if shards > 1 else "")


def test_weights_stay_in_the_memory_map(llama2: ModuleType, tmp_path: Path) -> None:
    """All but rows of queries and keys, which change places, and norms, which are small."""
    config = Config(dim=256, hidden_dim=1024, n_layers=2, n_heads=4, n_kv_heads=1, vocab_size=500, seq_len=8)
    write_hf_folder(tmp_path, config, random_twins(config, seed=1).fast, "BF16", tied=True)
    tracemalloc.start()
    weights = read_folder(tmp_path, ARRAYS[llama2]).weights
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    copied = 2 * 2 * 256 * (256 + 64)
    assert copied < taken < copied + 2 * 256 * 256 + 2**16
    del weights


def test_tensors_that_are_not_aligned_are_read(llama2: ModuleType, tmp_path: Path) -> None:
    """A header may have any length."""
    write_hf_folder(tmp_path, CONFIG, TWINS.fast)
    data = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    (tmp_path / "model.safetensors").write_bytes(
        (length + 3).to_bytes(8, "little") + data[8 : 8 + length] + b"   " + data[8 + length :]
    )
    weights = read_folder(tmp_path, ARRAYS[llama2]).weights
    assert_same(weights, TWINS.fast)
    if llama2 is llama2_fast:
        assert all(field[0].flags.aligned for name, field in vars(weights).items() if isinstance(field, list))


@pytest.mark.parametrize(("rows", "heads"), [(2, 1), (4, 1), (4, 2), (24, 3), (64, 4)])
def test_rows_change_places(rows: int, heads: int) -> None:
    """Pairs (i, i + E/2) become (2i, 2i + 1), in each head; and back."""
    size = rows // heads
    there, back = interleaved(rows, heads), half_split(rows, heads)
    assert [there[row] for row in back] == [back[row] for row in there] == list(range(rows))
    for head in range(heads):
        for i in range(size // 2):
            assert there[head * size + 2 * i] == head * size + i
            assert there[head * size + 2 * i + 1] == head * size + i + size // 2


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"head_dim": None, "hidden_size": 32}, {"head_size": 8, "dim": 32}),
        ({"num_key_value_heads": None}, {"n_kv_heads": 4}),
        ({"max_position_embeddings": None, "rms_norm_eps": None}, {"seq_len": 2048, "norm_eps": 1e-6}),
        ({"rms_norm_eps": 1}, {"norm_eps": 1.0}),
        ({"rope_parameters": None}, {"rope_scaling": None, "rope_theta": 10000.0}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7}}, {"rope_scaling": None, "rope_theta": 7.0}),
        ({"rope_parameters": {"rope_theta": 7.5}, "rope_theta": 7.5}, {"rope_scaling": None, "rope_theta": 7.5}),
        ({"rope_parameters": None, "rope_theta": 7.5, "rope_scaling": None}, {"rope_scaling": None, "rope_theta": 7.5}),
        (
            {"rope_parameters": None, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}},
            {"rope_scaling": RopeScaling("linear", 2.0), "rope_theta": 5e5},
        ),
        (
            {
                "rope_parameters": None,
                "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4},
            },
            {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 77), "rope_theta": 10000.0},
        ),
        ({"hidden_act": "silu", "mlp_bias": False, "attention_bias": False, "torch_dtype": "bfloat16"}, {}),
    ],
    ids=lambda value: " ".join(value) if "dim" not in value else "",
)
def test_what_config_json_may_say(tmp_path: Path, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Left out, null, or in older words. Weights come later, and are then missing."""
    (tmp_path / "config.json").write_text(json.dumps(settings(CONFIG) | changes))
    config = replace(CONFIG, **wanted)
    assert config_of(tmp_path / "config.json") == (
        config,
        False,
    )


def test_both_ways_to_say_a_scaling_may_agree(tmp_path: Path) -> None:
    said = settings(CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(said | {"rope_scaling": said["rope_parameters"]}))
    assert config_of(tmp_path / "config.json")[0] == CONFIG


def test_older_files_hold_frequencies(llama2: ModuleType, tmp_path: Path) -> None:
    write_hf_folder(tmp_path, CONFIG, TWINS.fast)
    old = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32) for i in range(2)}
    write_tensors(tmp_path, tensors_of(CONFIG, TWINS.fast) | old, "F16")
    found = read_folder(tmp_path, ARRAYS[llama2])
    assert_same(found.weights, TWINS.fast, "F16")


def test_tied_embeddings_may_be_there_twice(llama2: ModuleType, tmp_path: Path) -> None:
    write_hf_folder(tmp_path, CONFIG, TIED.fast, tied=True)
    write_tensors(tmp_path, tensors_of(CONFIG, TIED.fast, tied=False))
    assert_same(read_folder(tmp_path, ARRAYS[llama2]).weights, TIED.fast)


# ----------------------------------------------------------------------------------------------------------- complaints


def refused(folder: Path) -> str:
    """The one line that refuses a folder; with any arrays, since no matrix is made of what is wrong."""
    lines = set()
    for arrays in ARRAYS.values():
        tracemalloc.start()
        with pytest.raises(CheckpointError) as error:
            read_model(folder, arrays)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 64 * sum(file.stat().st_size for file in folder.iterdir())
        tracemalloc.stop()
        lines.add(str(error.value))
    (line,) = lines
    assert line.startswith(str(folder))
    assert line.isprintable()
    assert len(line) < 3 * len(str(folder)) + 420
    return line.removeprefix(str(folder)).removeprefix("/")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *(
            ({name: value}, f"config.json: {name} must be a positive whole number below 2^63 (got {got})")
            for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
            for value, got in ((None, None), (0, 0), (-1, -1), (2.0, 2.0), ("8", "'8'"), (True, True), (2**63, 2**63))
        ),
        ({"num_key_value_heads": 0}, "num_key_value_heads must be a positive whole number"),
        ({"num_key_value_heads": 3}, "n_kv_heads must divide n_heads (got n_kv_heads 3, n_heads 4)"),
        ({"head_dim": [8]}, "head_dim must be a positive whole number below 2^63 (got [8])"),
        ({"head_dim": 7}, "head size must be even, since RoPE rotates pairs (got 7)"),
        ({"head_dim": None}, "n_heads must divide dim (got n_heads 4, dim 6)"),
        ({"max_position_embeddings": "many"}, "max_position_embeddings must be a positive whole number"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps must be a number below 1e300 (got '1e-5')"),
        ({"rms_norm_eps": True}, "rms_norm_eps must be a number below 1e300 (got True)"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps must be a number below 1e300 (got 1000"),
        ({"rms_norm_eps": 0}, "norm_eps must be finite and positive (got 0.0)"),
        ({"rms_norm_eps": -1e-5}, "norm_eps must be finite and positive"),
        ({"rope_theta": 5.0}, "RoPE's theta and scaling must be said once (got 4321.5, 5.0)"),
        ({"rope_theta": "5"}, "rope_theta must be a number below 1e300 (got '5')"),
        ({"rope_parameters": {"rope_theta": 0.5}}, "rope_theta must be finite and at least 1 (got 0.5)"),
        ({"rope_parameters": [1]}, "rope_scaling and rope_parameters must be objects (got [1])"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling must equal rope_parameters (got {'factor'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2}}, "rope_type must be default, linear or llama3"),
        ({"rope_parameters": {"rope_type": ["llama3"]}}, "(got ['llama3']): other scalings are not supported"),
        ({"rope_parameters": {"rope_type": "default", "type": "linear"}}, "said once (got 'default', 'linear')"),
        ({"rope_parameters": {"rope_type": "linear"}}, "factor must be a number below 1e300 (got None)"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0.5}}, "factor of rope scaling must be finite and at"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor must be a number"),
        ({"rope_parameters": {"full_attention": {}}}, "must be known ones (got 'full_attention'): not supported"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor must be 1 (got 0.5)"),
        ({"partial_rotary_factor": 0.25}, "partial_rotary_factor must be 1 (got 0.25)"),
        ({"model_type": "mistral"}, "config.json: model_type must be 'llama' (got 'mistral')"),
        ({"model_type": None}, "model_type must be 'llama' (got None)"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu' (got 'gelu')"),
        ({"hidden_act": {}}, "hidden_act must be 'silu' (got {})"),
        ({"attention_bias": True}, "attention_bias must be false (got true): models with biases are not supported"),
        ({"mlp_bias": True}, "mlp_bias must be false (got true)"),
        ({"mlp_bias": 0}, "mlp_bias must be true or false (got 0)"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false (got 'no')"),
        ({"quantization_config": {"quant_method": "gptq"}}, "weights must not be quantized (got quantization_config"),
        ({"vocab_size": 10}, "model.embed_tokens.weight must have the shape [10, 6] by config.json (got [9, 6])"),
        ({"vocab_size": 2**62}, f"must have the shape [{2**62}, 6] by config.json (got [9, 6])"),
        ({"hidden_size": 2**62}, "must have the shape"),
        ({"num_hidden_layers": 3}, "tensor model.layers.2.self_attn.q_proj.weight must be there (it is not)"),
        ({"num_hidden_layers": 2**62}, "tensor model.layers.2.self_attn.q_proj.weight must be there (it is not)"),
        ({"num_hidden_layers": 1}, "(got 'model.layers.1.self_attn.q_proj.weight', too): not supported"),
        ({"intermediate_size": 11}, "0.mlp.gate_proj.weight must have the shape [11, 6] by config.json (got [10"),
        ({"num_attention_heads": 2**61}, "self_attn.q_proj.weight must have the shape"),
        ({"head_dim": 2**62}, "self_attn.q_proj.weight must have the shape"),
        ({"num_key_value_heads": 1}, "k_proj.weight must have the shape [8, 6] by config.json (got [16, 6])"),
        ({"tie_word_embeddings": True}, "lm_head.weight must equal model.embed_tokens.weight where the two are"),
    ],
    ids=str,
)  # fmt: skip
def test_what_config_json_must_not_say(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    write_hf_folder(tmp_path, CONFIG, TWINS.fast)
    (tmp_path / "config.json").write_text(json.dumps(settings(CONFIG) | changes))
    assert says in refused(tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "config.json: JSON must be whole (expecting value at character 0)"),
        (b"[]", "config.json: JSON must be an object (got [])"),
        (b"\xff\xfe", "config.json: JSON must be UTF-8 (byte 0 is not)"),
        (b"[" * 10**6, "config.json: JSON must not be nested that deeply"),
        (b'{"a":' * 10**5, "config.json: JSON must not be nested that deeply"),
        (b'{"hidden_size": 1, "hidden_size": 2}', "config.json: keys must differ (got 'hidden_size' twice)"),
        (b'{"rms_norm_eps": Infinity}', "config.json: JSON knows no Infinity"),
        (b'{"vocab_size": ' + b"9" * 10**5 + b"}", "config.json: JSON must not hold numbers of thousands of digits"),
        (b'{"model_type": "' + b"x" * 10**6 + b'"}', "config.json: model_type must be 'llama' (got 'xxxx"),
        (b'{"model_type": "a\\u2028\\u001b"}', "(got 'a\\u2028\\x1b')"),
        (b'{"model_type": ' + b"[" * 900 + b"]" * 900 + b"}", "config.json: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_config_json(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "config.json").write_bytes(data)
    assert says in refused(tmp_path)


def test_folders_without_a_model(tmp_path: Path) -> None:
    rule = ": a model's folder must hold config.json, or Meta's params.json (it has neither)"
    assert refused(tmp_path) == rule
    with pytest.raises(CheckpointError, match="must be a readable file"):
        read_model(tmp_path / "gone", ARRAYS[llama2_ref])
    (tmp_path / "config.json").write_text(json.dumps(settings(CONFIG)))
    assert refused(tmp_path).startswith(
        ": weights must be in model.safetensors, or in files that model.safetensors.ind"
    )
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert "(got pickles, which are never read: save the model as safetensors)" in refused(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"1234567")
    assert refused(tmp_path).startswith("model.safetensors: a safetensors file begins with 8 bytes")


def test_a_config_that_is_too_long(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(10**8 + 1)
    assert refused(tmp_path) == "config.json: must have at most 100000000 bytes (got 100000001)"


def tensor_changes() -> Any:
    """What is done to the tensors of a good folder, and what is then said."""
    name = "model.layers.1.self_attn.q_proj.weight"
    for part in (*PARTS.values(), None):
        gone = "model.norm.weight" if part is None else f"model.layers.1.{part}.weight"
        yield f"no {gone}", {gone: None}, f"tensor {gone} must be there (it is not)"
    yield "no classifier", {"lm_head.weight": None}, "tensor lm_head.weight must be there (it is not)"
    yield "no embeddings", {"model.embed_tokens.weight": None}, "tensor model.embed_tokens.weight must be there"
    yield (
        "turned",
        {name: np.ones((6, 32), np.float32)},
        f"{name} must have the shape [32, 6] by config.json (got [6, 32",
    )
    yield "flat", {name: np.ones(192, np.float32)}, "(got [192])"
    yield "deep", {name: np.ones((32, 6, 1), np.float32)}, "(got [32, 6, 1])"
    yield "empty", {name: np.ones((0, 6), np.float32)}, "(got [0, 6])"
    yield "scalar", {name: np.ones((), np.float32)}, "(got [])"
    yield (
        "norm",
        {"model.norm.weight": np.ones((1, 6), np.float32)},
        "must have the shape [6] by config.json (got [1, 6])",
    )
    yield (
        "bias",
        {"model.layers.0.self_attn.q_proj.bias": np.ones(32)},
        "(got 'model.layers.0.self_attn.q_proj.bias', too)",
    )
    yield "other", {"score.weight": np.ones(2)}, "tensors must be those of a Llama model (got 'score.weight', too)"
    yield "absurd", {"\n" + "x" * 9999: np.ones(2)}, "tensors must be those of a Llama model (got '\\nxxxx"


@pytest.mark.parametrize(("changes", "says"), [pytest.param(*rest, id=name) for name, *rest in tensor_changes()])
@pytest.mark.parametrize("shards", [1, 2])
def test_tensors_that_are_not_those_of_the_config(tmp_path: Path, changes: Any, says: str, shards: int) -> None:
    write_hf_folder(tmp_path, CONFIG, TWINS.fast)
    (tmp_path / "model.safetensors").unlink()
    tensors = tensors_of(CONFIG, TWINS.fast) | changes
    write_tensors(tmp_path, {name: array for name, array in tensors.items() if array is not None}, shards=shards)
    assert says in refused(tmp_path)


@pytest.mark.parametrize("kind", ["F64", "I32", "U8", "F8_E4M3"])
def test_types_that_no_model_has(tmp_path: Path, kind: str) -> None:
    write_hf_folder(tmp_path, CONFIG, TWINS.fast)
    width = {"F64": 8, "I32": 4}.get(kind, 1)
    name = "model.embed_tokens.weight"
    header = {name: {"dtype": kind, "shape": [9, 6], "data_offsets": [0, 54 * width]}}
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(54 * width))
    assert refused(tmp_path) == f": {name} must be F32, F16 or BF16 (got {kind})"


def test_shards_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = write_hf_folder(tmp_path / "model", CONFIG, TWINS.fast, shards=2)
    index = folder / "model.safetensors.index.json"
    good = json.loads(index.read_text())["weight_map"]
    (tmp_path / "outside.safetensors").write_bytes((folder / good["model.norm.weight"]).read_bytes())
    names: list[Any] = [
        "../outside.safetensors",
        str(tmp_path / "outside.safetensors"),
        "..\\outside.safetensors",
        "C:a.safetensors",
    ]
    names += ["", ".", "..", "model", "a\0.safetensors", "a\n.safetensors", "\ud800.safetensors", 1, None, ["a"], {}]
    for name in names:
        index.write_text(json.dumps({"weight_map": good | {"model.norm.weight": name}}))
        says = "model.safetensors.index.json: files must be names ending in .safetensors, without folder (got "
        assert refused(folder).startswith(says), name


def test_an_index_that_lies(tmp_path: Path) -> None:
    folder = write_hf_folder(tmp_path / "model", CONFIG, TWINS.fast, shards=2)
    index, name = folder / "model.safetensors.index.json", "model.norm.weight"
    good = json.loads(index.read_text())["weight_map"]
    first, second = sorted(set(good.values()))
    other = second if good[name] == first else first
    lies = [
        ({}, f"model.safetensors.index.json: weight_map must be an object (got {None})"),
        ({"weight_map": []}, "model.safetensors.index.json: weight_map must be an object (got [])"),
        ({"weight_map": {}}, ": tensor model.embed_tokens.weight must be there (it is not)"),
        ({"weight_map": good | {name: other}}, f"(got '{name}' in {good[name]}, '{other}' in the index)"),
        ({"weight_map": good | {name: "gone.safetensors"}}, "gone.safetensors: "),
        (
            {"weight_map": good | {"more": first}},
            f"{first}: must hold tensor 'more', as model.safetensors.index.json says",
        ),
        (
            {"weight_map": {key: good[key] for key in good if key != name}},
            f"'{name}' in {good[name]}, None in the index)",
        ),
    ]
    for text, says in lies:
        index.write_text(json.dumps(text))
        assert says in refused(folder), text
    index.write_bytes(b"{" * 10**5)
    assert refused(folder).startswith("model.safetensors.index.json: JSON must be whole")
    index.write_text(json.dumps({"weight_map": good}))
    (folder / second).write_bytes((folder / second).read_bytes()[:-1])
    assert refused(folder).startswith(f"{second}: tensors need ")


def test_one_tensor_in_two_shards(tmp_path: Path) -> None:
    folder = write_hf_folder(tmp_path / "model", CONFIG, TWINS.fast, shards=2)
    tensors = tensors_of(CONFIG, TWINS.fast)
    good = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    name = next(name for name, file in good.items() if file == min(good.values()))
    part = {key: tensors[key] for key in good if good[key] != good[name]} | {name: tensors[name]}
    (folder / max(good.values())).write_bytes(safetensors(part))
    assert f"'{name}' in {max(good.values())}, '{good[name]}' in the index" in refused(folder)


# -------------------------------------------------------------------------------------------------------------- writing


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CONFIGS = {
    "llama3": replace(CONFIG, dim=8),
    "linear": replace(CONFIG, dim=8, rope_scaling=RopeScaling("linear", 2.5)),
    "plain": replace(CONFIG, dim=8, rope_scaling=None),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
def test_both_packages_write_the_same_folder_and_read_it(tmp_path: Path, name: str, dtype: str, shared: bool) -> None:
    twins = random_twins(CONFIGS[name], seed=5, shared=shared)
    told: list[tuple[int, int]] = []
    notes = WRITE[llama2_ref](tmp_path / "ref", twins.config, twins.ref, dtype, lambda *done: told.append(done))
    assert notes == ("no tokenizer was written: the model's own is in no format of Hugging Face",)
    assert WRITE[llama2_fast](tmp_path / "fast", twins.config, twins.fast, dtype) == notes
    assert files(tmp_path / "ref") == files(tmp_path / "fast")
    assert sorted(files(tmp_path / "ref")) == ["config.json", "model.safetensors"]
    assert len(told) == 2 * len(PARTS) + (2 if shared else 3)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert (
        told[-1][0]
        == told[-1][1]
        == sum(np.size(array) for array in tensors_of(twins.config, twins.fast, shared).values())
        * (4 if dtype == "float32" else 2)
    )
    for package, arrays in ARRAYS.items():
        found = read_folder(tmp_path / "ref", arrays)
        assert found.config == twins.config
        assert found.label == f"safetensors, {DTYPES[dtype]}"
        assert found.weights.shared_classifier == shared
        WRITE[package](tmp_path / package.__name__, found.config, found.weights, dtype)
        assert files(tmp_path / package.__name__) == files(tmp_path / "ref")
        if dtype == "float32":
            assert_same(found.weights, twins.fast)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_integers_are_expanded(tmp_path: Path, kind: str) -> None:
    twins = random_twins(CONFIGS["plain"], seed=6)
    weights = {
        llama2_ref: llama2_ref.quantize_weights(twins.ref, kind),
        llama2_fast: llama2_fast.quantize_weights(twins.fast, kind),
    }
    for package, quantized in weights.items():
        WRITE[package](tmp_path / package.__name__, twins.config, quantized)
    assert files(tmp_path / "llama2_ref") == files(tmp_path / "llama2_fast")
    expanded = map_matrices(weights[llama2_fast], lambda m: np.concatenate(list(llama2_fast.quantize.float_parts(m))))
    assert_same(read_folder(tmp_path / "llama2_ref", ARRAYS[llama2_fast]).weights, expanded)


def edges(largest: float) -> np.ndarray:
    """Numbers at which rounding is decided, and those that are none."""
    rng = np.random.default_rng(0)
    bits = np.concatenate([rng.integers(0, 2**32, 4000, np.uint32), rng.integers(0, 2**16, 500, np.uint32) << 16])
    near = (bits[-500:, None] + np.array([0x7FFF, 0x8000, 0x8001, 0], np.uint32)).reshape(-1)
    nans = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32)
    found = np.concatenate([bits, near, nans]).view(np.float32)
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        -np.nan,
        2.0**-149,
        2.0**-25,
        2.0**-24,
        np.nextafter(np.float32(largest), 0),
    ]
    return np.concatenate([found[~(np.isfinite(found) & (np.abs(found) >= largest))], np.array(special, np.float32)])


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_rounding_to_two_bytes(kind: str) -> None:
    """As numpy rounds to float16; to bfloat16 the nearer neighbour by exact differences, the even one on ties."""
    largest = 65520.0 if kind == "F16" else 2.0**128 - 2.0**119
    x = edges(largest)
    ours = [b"".join(ENCODE[llama2_ref]([x], kind)), b"".join(ENCODE[llama2_fast](x[None], kind))]
    got = [np.frombuffer(data, np.uint16) for data in ours]
    nan = np.isnan(x)
    assert np.array_equal(got[0][~nan], got[1][~nan])
    if kind == "F16":
        assert np.array_equal(got[0][~nan], x.astype(np.float16).view(np.uint16)[~nan])
        assert all(np.isnan(bits.view(np.float16)[nan]).all() for bits in got)
        return
    assert all(np.isnan((bits.astype(np.uint32) << 16).view(np.float32))[nan].all() for bits in got)
    lower = x.view(np.uint32) >> 16
    for number, low, bits in zip(x[~nan].tolist(), lower[~nan].tolist(), got[0][~nan].tolist(), strict=True):
        below, above = (float(np.uint32(n << 16).view(np.float32)) for n in (low, low + 1))
        if (
            number == below
            or abs(number - below) < abs(above - number)
            or (np.isinf(above) and number < largest and abs(number - below) < 2.0**119)
        ):
            assert bits == low
        elif abs(number - below) == abs(above - number):
            assert bits == low + (low & 1)
        else:
            assert bits == low + 1


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_number_stays_so(tmp_path: Path, llama2: ModuleType, kind: str, dtype: str) -> None:
    """NaN with any bits, whose kind programs may change, and infinities: found by coverage, in float16."""
    twins = random_twins(CONFIGS["plain"], seed=6)
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F810000, 0xFFA02000, 0x7F800000, 0xFF800000], np.uint32)
    twins.fast.wq[1][0, :6] = special = bits.view(np.float32)
    source = write_hf_folder(tmp_path / "theirs", twins.config, twins.fast, kind)
    WRITE[llama2](tmp_path / "ours", twins.config, read_folder(source, ARRAYS[llama2]).weights, dtype)
    got = numbers(read_folder(tmp_path / "ours", ARRAYS[llama2]).weights.wq)[1, 0, :6]
    assert np.array_equal(got, special, equal_nan=True)


@pytest.mark.parametrize(("dtype", "number"), [("float16", 65520.0), ("float16", -1e30), ("bfloat16", 3.4e38)])
def test_numbers_that_are_too_large(tmp_path: Path, llama2: ModuleType, dtype: str, number: float) -> None:
    twins = random_twins(CONFIGS["plain"], seed=6)
    twins.fast.w1[1][2, 3] = number
    twins.fast.w1[1][2, 5] = 3.402e38
    with pytest.raises(NumericsError) as error:
        WRITE[llama2](tmp_path / "model", twins.config, twins.ref if llama2 is llama2_ref else twins.fast, dtype)
    largest = "65520" if dtype == "float16" else "3.39618e+38"
    says = f"numbers must be below {largest} to become {dtype} (got {number:g})"
    assert str(error.value) == f"model.layers.1.mlp.gate_proj.weight: {says}"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_refused(llama2: ModuleType, tmp_path: Path) -> None:
    twins = random_twins(CONFIGS["plain"], seed=6)
    weights = twins.ref if llama2 is llama2_ref else twins.fast
    (tmp_path / "full").mkdir()
    for path in (tmp_path / "full" / "file", tmp_path / "file"):
        path.write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(CheckpointError, match=f"{name}: must be a new or an empty folder"):
            WRITE[llama2](tmp_path / name, twins.config, weights)
    for place in (tmp_path / "no" / "folder", "a\0b"):
        with pytest.raises(CheckpointError, match="can't be written"):
            WRITE[llama2](place, twins.config, weights)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "file", "full"]
    (tmp_path / "empty").mkdir()
    WRITE[llama2](tmp_path / "empty", twins.config, weights)
    assert_same(read_folder(tmp_path / "empty", ARRAYS[llama2]).weights, twins.fast)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = random_twins(CONFIGS["plain"], seed=6)

    def interrupted(done: int, total: int) -> None:
        if 2 * done > total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WRITE[llama2_ref](tmp_path / "model", twins.config, twins.ref, progress=interrupted)
    assert not list(tmp_path.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError) as error:
        WRITE[llama2_ref](tmp_path / "model", twins.config, twins.ref)
    assert str(error.value) == f"{tmp_path / 'model' / 'config.json'}: can't be written (No space left on device)"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "dtype", "says"),
    [
        (CONFIGS["plain"], "int8", "numbers can be written as float32, float16, bfloat16 (got 'int8')"),
        (replace(CONFIG, dim=6), "float32", "n_heads must divide dim in config.json (got n_heads 4, dim 6)"),
    ],
)
def test_what_no_folder_can_hold(tmp_path: Path, config: Config, dtype: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        WRITE[llama2_ref](tmp_path / "model", config, TWINS.ref, dtype)
    assert str(error.value) == says
    assert not list(tmp_path.iterdir())


def test_tokenizer_files_are_copied(tmp_path: Path) -> None:
    twins, source = random_twins(CONFIGS["plain"], seed=6), tmp_path / "source"
    source.mkdir()
    kept = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")
    for name in (*kept, "config.json", "other.txt"):
        (source / name).write_text('{"eos_token_id": [5, 6], "bos_token_id": 4}')
    for name, place in (("one", source), ("two", source / "model.safetensors")):
        assert WRITE[llama2_ref](tmp_path / name, twins.config, twins.ref, tokenizer=place) == ()
        written = files(tmp_path / name)
        assert sorted(written) == sorted([*kept, "config.json", "model.safetensors"])
        assert {written[file] for file in kept} == {(source / "other.txt").read_bytes()}
        said = json.loads(written["config.json"])
        assert (said["bos_token_id"], said["eos_token_id"]) == (4, [5, 6])
