"""Models in GGUF files: what the gguf package writes is read with equal numbers, in both packages."""

import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.tools.checks import check_bounds
from llama2_ref import CheckpointError, Config, MissingExtraError
from llama2_ref.config import RopeScaling
from llama2_ref.formats import ggml_blocks
from llama2_ref.formats.gguf_container import GGML_TYPES
from support.gguf_bytes import (
    SCALES,
    TYPE_NUMBERS,
    Of,
    Raw,
    assert_equal,
    by_name,
    config_entries,
    gguf_of,
    model_tensors,
    numbers,
    opened,
    random_blocks,
)

CONFIG = Config(32, 64, 2, 4, 2, 24, 16, norm_eps=1e-6, rope_theta=500000.0)
WIDE = Config(256, 256, 1, 2, 1, 12, 16)
Edit = Callable[[dict[str, Of], list[Raw]], Any]


def write(path: Path, config: Config = CONFIG, kind: str = "F32", edit: Edit | None = None, **how: Any) -> Path:
    """A random model, after `edit(entries, tensors)`."""
    entries, tensors = config_entries(config), model_tensors(config, kind, **how)
    if edit:
        edit(entries, tensors)
    path.write_bytes(gguf_of(entries, tensors))
    return path


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_what_the_gguf_package_writes_is_read_with_equal_numbers(llama2: ModuleType, tmp_path: Path, kind: str) -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    theirs = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    for key, of in list(config_entries(CONFIG).items())[1:]:
        (writer.add_float32 if of.type == "f" else writer.add_uint32)(key, of.value)
    rng = np.random.default_rng(0)
    wanted: dict[Any, Any] = {}
    for tensor in model_tensors(CONFIG, shared=False):
        values = rng.standard_normal(tensor.shape).astype(np.float32)
        mine = theirs if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(values, mine)
        writer.add_tensor(tensor.name, data, raw_dtype=mine)
        wanted[tensor.name] = gguf.dequantize(data, mine)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = opened(llama2, tmp_path / "model.gguf")
    assert found.config == CONFIG
    assert (found.label, found.notes) == (f"GGUF version 3, {kind}", ())
    assert_equal(by_name(found.weights), wanted)


FOREIGN = sorted({*SCALES} - {"Q8_0", "Q4_0", "Q4_1"})


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_kinds_become_int8(llama2: ModuleType, tmp_path: Path, kind: str) -> None:
    """Within half a step of a group, and what the rounding of its scale to float16 adds."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    path = write(tmp_path / "model.gguf", WIDE, kind)
    found = opened(llama2, path)
    assert found.notes == (f"{kind} weights have become int8, in groups of 32",)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name, values in by_name(found.weights).items():
        theirs = tensors.get(name, tensors["token_embd.weight"])
        wanted = gguf.dequantize(theirs.data, theirs.tensor_type)
        peaks = np.abs(wanted.reshape(-1, 32)).max(-1, keepdims=True)
        half_a_step = peaks / 127 * (0.5 + 127 * 2**-11) + 127 * 2**-25 if theirs.data.ndim == 2 else 0
        assert peaks.max() > 2**-7
        assert (np.abs(values - wanted).reshape(-1, 32) <= half_a_step).all(), name
    assert isinstance(found.weights.wq[0], llama2.Int8Matrix)
    assert found.weights.wq[0].group_size == 32


def test_many_rows_of_another_kind_are_converted_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    path = write(tmp_path / "model.gguf", WIDE, "Q6_K")
    at_once = by_name(opened(llama2_fast, path).weights)
    monkeypatch.setattr("llama2_fast.matrices.ggml.CHUNK", 5 * 256)
    assert_equal(by_name(opened(llama2_fast, path).weights), at_once)


def test_mixed_kinds_and_floating_point_norms(llama2: ModuleType, tmp_path: Path) -> None:
    """Norms may be 16-bit numbers, too; they are expanded."""
    halves = np.float16(1.5).tobytes() * CONFIG.dim
    upper = (np.full(CONFIG.dim, -1.25, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()

    def edit(entries: dict[str, Of], tensors: list[Raw]) -> None:
        for i, tensor in enumerate(tensors):
            if "attn_norm" in tensor.name or tensor.name == "output_norm.weight":
                tensors[i] = replace(tensor, kind="F16", data=halves)
            if "ffn_norm" in tensor.name:
                tensors[i] = replace(tensor, kind="BF16", data=upper)
            if tensor.name == "blk.1.attn_q.weight":
                tensors[i] = replace(tensor, kind="Q4_0", data=random_blocks(np.random.default_rng(1), "Q4_0", 32, 32))

    found = opened(llama2, write(tmp_path / "model.gguf", kind="Q8_0", edit=edit))
    assert found.label == "GGUF version 3, Q4_0, Q8_0"
    assert isinstance(found.weights.wq[1], llama2.Int4Matrix)
    values = by_name(found.weights)
    assert (values["output_norm.weight"] == 1.5).all()
    assert (values["blk.1.attn_norm.weight"] == 1.5).all()
    assert (values["blk.0.ffn_norm.weight"] == -1.25).all()
    for norm in (found.weights.rms_final_weight, found.weights.rms_att_weight[0]):
        assert memoryview(norm).format == "f"


@pytest.mark.parametrize("shared", [True, False])
def test_embeddings_are_tied_where_there_is_no_classifier(llama2: ModuleType, tmp_path: Path, shared: bool) -> None:
    weights = opened(llama2, write(tmp_path / "model.gguf", shared=shared)).weights
    assert weights.shared_classifier == shared
    assert np.array_equal(numbers(weights.wcls), numbers(weights.token_embedding_table)) == shared


@pytest.mark.parametrize("kind", ["BF16", "Q8_0", "Q4_1"])
def test_the_fast_package_runs_what_the_reference_reads(tmp_path: Path, kind: str) -> None:
    """Every buffer lies within its bound around the reference's numbers: nothing is transposed or taken for another."""
    path = write(tmp_path / "model.gguf", replace(CONFIG, head_size=16), kind, shared=False)
    ref, fast = opened(llama2_ref, path), opened(llama2_fast, path)
    transformer = llama2_fast.Transformer(fast.config, fast.weights, backend="numpy")
    rows = check_bounds(transformer, ref.weights, [1, 5, 2, 2], True, lambda share: None)
    assert len(rows) > 10
    assert not any(row.wrong for row in rows), rows


# --------------------------------------------------------------------------------------------------------------- config


def read_config(tmp_path: Path, edit: Edit, config: Config = CONFIG) -> Config:
    return opened(llama2_fast, write(tmp_path / "model.gguf", config, edit=edit)).config


def changed(**entries: Of | None) -> Edit:
    """Entries of the architecture changed, or left out; `__` stands for a point."""

    def edit(found: dict[str, Of], tensors: list[Raw]) -> None:
        for key, of in entries.items():
            name = key.replace("__", ".")
            found.pop(name, None)
            if of is not None:
                found[name] = of

    return edit


@pytest.mark.parametrize(
    ("left_out", "config"),
    [
        ("llama__rope__dimension_count", CONFIG),
        ("llama__attention__key_length", CONFIG),
        ("llama__attention__value_length", CONFIG),
        ("llama__rope__freq_base", replace(CONFIG, rope_theta=10000.0)),
        ("llama__attention__head_count_kv", None),
    ],
)
def test_entries_that_may_be_left_out(tmp_path: Path, left_out: str, config: Config | None) -> None:
    model = replace(CONFIG, n_kv_heads=4) if config is None else CONFIG
    assert read_config(tmp_path, changed(**{left_out: None}), model) == (config or model)


def test_heads_of_their_own_size(llama2: ModuleType, tmp_path: Path) -> None:
    config = replace(CONFIG, head_size=16)
    found = opened(llama2, write(tmp_path / "model.gguf", config))
    assert found.config == config
    assert (numbers(found.weights.wq[0]).shape, numbers(found.weights.wo[0]).shape) == ((64, 32), (32, 64))


def test_sizes_of_each_layer_that_are_the_same(tmp_path: Path) -> None:
    same = changed(llama__attention__head_count_kv=Of("I", [2, 2]), llama__feed_forward_length=Of("i", [64, 64]))
    assert read_config(tmp_path, same) == CONFIG


@pytest.mark.parametrize(("meant", "theta"), [(1e-5, 1e4), (1e-6, 5e5), (9.999e-6, 1e6), (3.45678e-5, 12345.678)])
def test_numbers_are_those_that_were_meant(tmp_path: Path, meant: float, theta: float) -> None:
    """A file says 9.99999974e-06 where 1e-5 was meant; what llama2.c's files imply is the latter."""
    config = read_config(tmp_path, lambda *_: None, replace(CONFIG, norm_eps=meant, rope_theta=theta))
    assert (config.norm_eps, config.rope_theta) == (meant, theta)


@pytest.mark.parametrize(
    ("edit", "scaling"),
    [
        (changed(llama__rope__scaling__type=Of("s", "none"), llama__rope__scaling__factor=Of("f", 4.0)), None),
        (changed(llama__rope__scaling__type=Of("s", "linear"), llama__rope__scaling__factor=Of("f", 2.5)), 2.5),
        (changed(llama__rope__scaling__factor=Of("f", 4.0)), 4.0),
        (changed(llama__rope__scale_linear=Of("f", 8.0)), 8.0),
        (changed(llama__rope__scaling__type=Of("s", "linear"), llama__rope__scaling__factor=Of("f", 1.0)), None),
    ],
)
def test_linear_scaling(tmp_path: Path, edit: Edit, scaling: float | None) -> None:
    assert read_config(tmp_path, edit).rope_scaling == (scaling and RopeScaling("linear", scaling))


def divisors(scaling: RopeScaling, config: Config) -> np.ndarray:
    """What llama.cpp's converter writes for "llama3", computed as it does: by wavelengths."""
    found = []
    for i in range(0, config.head_size, 2):
        wavelength = 2 * np.pi * config.rope_theta ** (i / config.head_size)
        turns = scaling.original_seq_len / wavelength
        smooth = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        slow, fast = turns < scaling.low_freq_factor, turns > scaling.high_freq_factor
        found.append(scaling.factor if slow else 1 if fast else 1 / ((1 - smooth) / scaling.factor + smooth))
    return np.array(found, np.float32)


def with_divisors(values: np.ndarray, kind: str = "F32") -> Edit:
    return lambda entries, tensors: tensors.append(Raw("rope_freqs.weight", kind, values.shape, values.tobytes()))


@pytest.mark.parametrize("original", [8192, 4096, 1000])
@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_divisors_of_llama_3_are_recognized(tmp_path: Path, factor: float, original: int) -> None:
    scaling = RopeScaling("llama3", factor, original_seq_len=original)
    config = replace(CONFIG, head_size=64)

    def edit(entries: dict[str, Of], tensors: list[Raw]) -> None:
        with_divisors(divisors(scaling, config))(entries, tensors)
        if original == 1000:  # one that nobody would guess
            entries["llama.rope.scaling.original_context_length"] = Of("I", original)

    assert read_config(tmp_path, edit, config).rope_scaling == scaling


def test_divisors_of_one_are_no_scaling(tmp_path: Path) -> None:
    assert read_config(tmp_path, with_divisors(np.ones(4, np.float32))).rope_scaling is None


# -------------------------------------------------------------------------------------------------------------- damaged


def without(name: str) -> Edit:
    return lambda entries, tensors: tensors.remove(next(tensor for tensor in tensors if tensor.name == name))


def swapped(name: str, **fields: Any) -> Edit:
    def edit(entries: dict[str, Of], tensors: list[Raw]) -> None:
        i = next(i for i, tensor in enumerate(tensors) if tensor.name == name)
        tensors[i] = replace(tensors[i], **fields)

    return edit


def added(tensor: Raw) -> Edit:
    return lambda entries, tensors: tensors.append(tensor)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (changed(general__architecture=None), "general.architecture must be 'llama' (got None)"),
        (changed(general__architecture=Of("s", "qwen2")), "general.architecture must be 'llama' (got 'qwen2')"),
        (changed(general__architecture=Of("s", ["llama"])), "general.architecture must be 'llama' (got ['llama'])"),
        (changed(llama__block_count=None), "metadata must have llama.block_count (there is none)"),
        (changed(llama__attention__head_count=Of("s", "4")), "llama.attention.head_count must be one whole number"),
        (changed(llama__attention__head_count=Of("?", True)), "must be one whole number (got True)"),
        (changed(llama__attention__head_count=Of("f", 4.0)), "must be one whole number (got 4.0)"),
        (changed(llama__attention__head_count=Of("I", 0)), "n_heads must be a positive whole number (got 0)"),
        (changed(llama__attention__head_count=Of("i", -4)), "n_heads must be a positive whole number (got -4)"),
        (changed(llama__attention__head_count_kv=Of("I", [2, 4])), "must be one whole number (got [2, 4])"),
        (changed(llama__attention__head_count_kv=Of("I", [])), "must be one whole number (got [])"),
        (changed(llama__attention__layer_norm_rms_epsilon=None), "metadata must have llama.attention.layer_norm_rms"),
        (changed(llama__attention__layer_norm_rms_epsilon=Of("I", 1)), "must be a number (got 1)"),
        (changed(llama__attention__layer_norm_rms_epsilon=Of("f", float("nan"))), "norm_eps must be finite"),
        (changed(llama__rope__freq_base=Of("f", float("inf"))), "rope_theta must be finite"),
        (changed(llama__rope__dimension_count=Of("I", 4)), "llama.rope.dimension_count must be the size of a head, 8"),
        (changed(llama__attention__value_length=Of("I", 4)), "llama.attention.value_length must be the size of a head"),
        (changed(llama__expert_count=Of("I", 8)), "models of experts are not supported (llama.expert_count is 8)"),
        (changed(llama__rope__scaling__type=Of("s", "yarn")), "scaling.type must be 'none' or 'linear' (got 'yarn')"),
        (changed(llama__rope__scale_linear=Of("f", float("inf"))), "factor of rope scaling must be finite"),
        (changed(llama__block_count=Of("Q", 2**63)), f"llama.block_count must be that of the tensors (got {2**63}"),
        (changed(llama__block_count=Of("I", 3)), "blk.2.attn_norm.weight must be in the file (it is missing)"),
        (changed(llama__block_count=Of("I", 1)), "tensor 'blk.1.attn_norm.weight' belongs to no Llama model"),
        (changed(llama__embedding_length=Of("I", 64), llama__attention__key_length=Of("I", 8)), "shape (24, 64) that"),
        (changed(llama__embedding_length=Of("Q", 2**60)), f"token_embd.weight must have the shape (24, {2**60})"),
        (changed(llama__attention__key_length=Of("Q", 2**60)), "must be the size of a head"),
        (without("token_embd.weight"), "token_embd.weight must be a matrix in the file (there is none)"),
        (swapped("token_embd.weight", shape=(24 * 32,)), "must be a matrix in the file (got shape (768,))"),
        (without("output_norm.weight"), "output_norm.weight must be in the file (it is missing)"),
        (without("blk.1.ffn_down.weight"), "blk.1.ffn_down.weight must be in the file (it is missing)"),
        (swapped("blk.1.ffn_down.weight", shape=(64, 32)), "blk.1.ffn_down.weight must have the shape (32, 64) that"),
        (swapped("output_norm.weight", shape=(1, 32)), "output_norm.weight must have the shape (32,) that"),
        (swapped("output_norm.weight", kind="Q8_0"), "norms must be F32, F16 or BF16 (got Q8_0)"),
        (added(Raw("blk.0.attn_q.bias", "F32", (32,), bytes(128))), "tensor 'blk.0.attn_q.bias' belongs to no Llama"),
        (added(Raw("\n" * 999, "F32", (32,), bytes(128))), r"tensor '\n\n\n"),
        (with_divisors(np.ones(3, np.float32)), "rope_freqs.weight must be (4,) F32 (got (3,) F32)"),
        (with_divisors(np.ones(4, np.float16), "F16"), "rope_freqs.weight must be (4,) F32 (got (4,) F16)"),
        (with_divisors(np.array([1, 2, 3, 4], np.float32)), "(these are other divisors, up to 4)"),
        (with_divisors(np.full(4, np.nan, np.float32)), "factor of rope scaling must be finite"),
        (with_divisors(np.full(4, -1, np.float32)), "factor of rope scaling must be finite and at least 1"),
        (changed(general__alignment=Of("I", 0)), "general.alignment must be a power of two (got 0)"),
    ],
)  # fmt: skip
def test_models_that_are_refused(tmp_path: Path, edit: Edit, line: str) -> None:
    path = write(tmp_path / "model.gguf", edit=edit)
    for llama2 in (llama2_ref, llama2_fast):
        with pytest.raises(CheckpointError) as caught:
            opened(llama2, path)
        said = str(caught.value)
        assert said.startswith(f"{path}: ")
        assert line in said
        assert len(said.splitlines()) == 1


def test_kinds_that_are_no_weights(llama2: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    for kind in ("I8", "F64", "Q8_K"):
        _, block, size = GGML_TYPES[TYPE_NUMBERS[kind]]
        data = bytes(256 * 256 // block * size)
        path = write(tmp_path / "model.gguf", WIDE, edit=swapped("blk.0.attn_q.weight", kind=kind, data=data))
        with pytest.raises(CheckpointError) as caught:
            opened(llama2, path)
        rule = "must be of a type that models are made of"
        assert str(caught.value) == f"{path}: blk.0.attn_q.weight {rule} (got {kind})"


@pytest.mark.parametrize("scale", [float("inf"), float("nan"), 60000.0])
def test_other_kinds_must_hold_numbers(llama2: ModuleType, tmp_path: Path, scale: float) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    block = bytes([255]) * 192 + bytes([127]) * 16 + struct.pack("<e", scale)
    path = write(tmp_path / "model.gguf", WIDE, "Q6_K", edit=swapped("blk.0.attn_k.weight", data=block * 128))
    with pytest.raises(CheckpointError, match=r"blk.0.attn_k.weight must hold finite numbers below 4"):
        opened(llama2, path)


@pytest.mark.parametrize(("package", "kind"), [(llama2_ref, "IQ2_XXS"), (llama2_fast, "Q4_K")])
def test_what_needs_the_gguf_package(
    package: ModuleType, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables, and in the fast package all that it expands."""
    monkeypatch.setitem(sys.modules, "gguf", None)
    ggml_blocks.table.cache_clear()
    opened(package, write(tmp_path / "ours.gguf", kind="Q4_1"))
    data = bytes(256 * GGML_TYPES[TYPE_NUMBERS[kind]][2])
    path = write(tmp_path / "model.gguf", WIDE, edit=swapped("blk.0.attn_q.weight", kind=kind, data=data))
    with pytest.raises(MissingExtraError) as caught:
        opened(package, path)
    said = f"reading {kind} numbers needs the gguf package: pip install 'llama2-twins[models]'"
    assert str(caught.value) == f"{path}: {said}"


def test_the_reference_reads_k_quants_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    found = opened(llama2_ref, write(tmp_path / "model.gguf", WIDE, "Q4_K"))
    assert found.notes == ("Q4_K weights have become int8, in groups of 32",)


def test_a_chat_template_that_is_none(llama2: ModuleType, tmp_path: Path) -> None:
    for of, wanted in ((Of("s", "{{ x }}"), "{{ x }}"), (Of("I", 7), None)):
        edit = changed(tokenizer__chat_template=of)
        assert opened(llama2, write(tmp_path / "model.gguf", edit=edit)).chat_template == wanted
