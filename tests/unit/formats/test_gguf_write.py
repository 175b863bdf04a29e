"""GGUF files that are written here: the gguf package and this project read them with equal numbers."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
from llama2_ref import CheckpointError, Config, ConfigError, NumericsError, TokenizerError, Weights
from llama2_ref.config import RopeScaling
from llama2_ref.formats.gguf_container import Entry, read_container
from llama2_ref.formats.gguf_write import copied_vocabulary, sentencepiece_vocabulary, write_gguf
from llama2_ref.tokenizer import Tokenizer
from support.gguf_bytes import Of, assert_equal, by_name, config_entries, gguf_of, model_tensors, opened
from support.models import random_fields, vocabulary
from support.seam import ARRAYS

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")

CONFIG = Config(32, 64, 2, 4, 2, 265, 16, norm_eps=1e-6, rope_theta=500000.0)
WORDS = Tokenizer(*vocabulary(265))
CODES = {"f32": "F32", "q8_0": "Q8_0", "q4_0": "Q4_0"}


def weights_of(llama2: ModuleType, config: Config = CONFIG, shared: bool = False) -> Any:
    fields = random_fields(config, 1, "normal", shared)
    if llama2 is llama2_fast:
        return llama2_fast.Weights(**fields)
    rows = {name: _as_lists(field) for name, field in fields.items()}
    if shared:
        rows["wcls"] = rows["token_embedding_table"]
    return Weights(**rows)


def _as_lists(field: Any) -> Any:
    """Rows that are memory views, as the reference has them."""
    if isinstance(field, list):
        return [_as_lists(each) for each in field]
    return memoryview(field) if field.ndim == 1 else [memoryview(row) for row in field]


def write(
    path: Path, llama2: ModuleType, weights: Any, kind: str = "f32", config: Config = CONFIG, words: Any = None
) -> Path:
    entries = sentencepiece_vocabulary(WORDS) if words is None else words
    write_gguf(path, config, weights, kind, entries, ARRAYS[llama2])
    return path


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shared", [True, False])
def test_the_gguf_package_reads_equal_tensors(tmp_path: Path, kind: str, shared: bool) -> None:
    """Both packages write the same bytes. Numbers are those that the package itself makes of the floats."""
    paths = [write(tmp_path / llama2.__name__, llama2, weights_of(llama2, shared=shared), kind) for llama2 in ARRAYS]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    wanted = by_name(weights_of(llama2_fast, shared=shared))
    if shared:
        del wanted["output.weight"]
    tensors = gguf.GGUFReader(paths[0]).tensors
    assert {tensor.name for tensor in tensors} == set(wanted)
    for tensor in tensors:
        values = wanted[tensor.name]
        code = gguf.GGMLQuantizationType[CODES[kind] if values.ndim == 2 else "F32"]
        assert tensor.tensor_type == code
        assert tensor.shape.tolist() == list(values.shape[::-1])
        assert np.array_equal(tensor.data, gguf.quantize(values, code)), tensor.name


@pytest.mark.parametrize("kind", CODES)
def test_what_is_written_is_read(llama2: ModuleType, tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "model.gguf", llama2, weights_of(llama2), kind)
    found = opened(llama2, path)
    assert found.config == CONFIG
    assert found.label == f"GGUF version 3, {CODES[kind]}"
    again = write(tmp_path / "again.gguf", llama2, found.weights, kind)
    assert again.read_bytes() == path.read_bytes()  # integers are not quantized again


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_blocks_of_other_files_keep_every_bit(llama2: ModuleType, tmp_path: Path, kind: str) -> None:
    """Also those that no writer makes: -128, scales that are negative, tiny, or not those of the largest number."""
    config = replace(CONFIG, n_layers=1)
    tensors = model_tensors(config, CODES[kind], seed=3, shared=False)
    query = next(tensor for tensor in tensors if tensor.name == "blk.0.attn_q.weight")
    some = np.frombuffer(query.data, np.uint8).copy()
    width = 34 if kind == "q8_0" else 18
    scales = np.resize(np.array([-1.5, 6e-8, 0, 65504, 1e-5], np.float16), len(some) // width)
    some.reshape(-1, width)[:, :2] = scales.view(np.uint8).reshape(-1, 2)
    tensors = [replace(each, data=some.tobytes()) if each is query else each for each in tensors]
    (tmp_path / "a.gguf").write_bytes(gguf_of(config_entries(config), tensors))
    found = opened(llama2, tmp_path / "a.gguf")
    written = read_container(write(tmp_path / "b.gguf", llama2, found.weights, kind, config)).tensors
    assert {name: bytes(tensor.data) for name, tensor in written.items()} == {t.name: t.data for t in tensors}


def test_integers_of_other_groups_are_quantized_from_floats(llama2: ModuleType, tmp_path: Path) -> None:
    """int8 whose groups are not 32, or whose scales are no float16 numbers; int4 where int8 is wanted."""
    weights = weights_of(llama2)
    for quantized in (llama2.quantize_weights(weights, "int8"), llama2.quantize_weights(weights, "int4")):
        floats = by_name(quantized)["blk.0.ffn_down.weight"]
        path = write(tmp_path / "model.gguf", llama2, quantized, "q8_0")
        found = next(t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.ffn_down.weight")
        assert np.array_equal(found.data, gguf.quantize(floats, gguf.GGMLQuantizationType.Q8_0))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_1", "Q8_0"])
def test_all_kinds_become_floats(llama2: ModuleType, tmp_path: Path, kind: str) -> None:
    tensors = model_tensors(CONFIG, kind, shared=False)
    (tmp_path / "a.gguf").write_bytes(gguf_of(config_entries(CONFIG), tensors))
    found = opened(llama2, tmp_path / "a.gguf")
    path = write(tmp_path / "b.gguf", llama2, found.weights)
    assert_equal(by_name(opened(llama2_fast, path).weights), by_name(found.weights))


def test_progress_is_told_in_bytes_of_the_file(llama2: ModuleType, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "model.gguf"
    words = sentencepiece_vocabulary(WORDS)
    arrays = ARRAYS[llama2]
    write_gguf(path, CONFIG, weights_of(llama2), "q8_0", words, arrays, lambda *both: told.append(both))
    assert told == sorted(told)
    assert len(told) == 2 * 9 + 3
    assert {total for _, total in told} == {path.stat().st_size} == {told[-1][0]}


@pytest.mark.parametrize(
    ("kind", "number", "says"),
    [
        ("q8_0", np.nan, "must be finite, and at most 8319008, to become Q8_0 (got nan)"),
        ("q4_0", np.inf, "must be finite, and at most 524032, to become Q4_0 (got inf)"),
        ("q8_0", -9e6, "must be finite, and at most 8319008, to become Q8_0 (got -9000000.0)"),
        ("q4_0", 6e5, "must be finite, and at most 524032, to become Q4_0 (got 600000.0)"),
    ],
)
def test_numbers_that_no_block_can_hold(
    llama2: ModuleType, tmp_path: Path, kind: str, number: float, says: str
) -> None:
    weights = weights_of(llama2)
    np.asarray(weights.w2[1][3])[5] = number
    (path := tmp_path / "model.gguf").write_text("old")
    with pytest.raises(NumericsError) as caught:
        write(path, llama2, weights, kind)
    assert str(caught.value) == f"blk.1.ffn_down.weight: numbers {says}"
    assert [file.name for file in tmp_path.iterdir()] == ["model.gguf"]
    assert path.read_text() == "old"
    write(path, llama2, weights)  # floats may be anything
    assert opened(llama2, path).config == CONFIG


def test_numbers_at_the_limit_of_a_block(llama2: ModuleType, tmp_path: Path) -> None:
    for kind, most in (("q8_0", 127 * 65504), ("q4_0", -8 * 65504)):
        weights = weights_of(llama2)
        np.asarray(weights.w2[1][3])[5] = most
        found = by_name(opened(llama2, write(tmp_path / "model.gguf", llama2, weights, kind)).weights)
        assert found["blk.1.ffn_down.weight"][3, 5] == most


def test_rows_that_are_no_whole_blocks(llama2: ModuleType, tmp_path: Path) -> None:
    config = replace(CONFIG, hidden_dim=60)
    for kind in ("q8_0", "q4_0"):
        with pytest.raises(ConfigError) as caught:
            write(tmp_path / "model.gguf", llama2, weights_of(llama2, config), kind, config)
        rule = f"rows must be whole blocks of 32 numbers to become {CODES[kind]}"
        assert str(caught.value) == f"{rule} (those of blk.0.ffn_down.weight have 60): they can be f32"
    assert not list(tmp_path.iterdir())


def test_kinds_that_are_not_written(llama2: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can become f32, q8_0, q4_0 \(got 'q4_k'\)"):
        write(tmp_path / "model.gguf", llama2, weights_of(llama2), "q4_k")


def test_writing_needs_no_package(llama2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(tmp_path / "before.gguf", llama2, weights_of(llama2)).read_bytes()
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert write(tmp_path / "model.gguf", llama2, weights_of(llama2)).read_bytes() == before


# --------------------------------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, head_size=16),
        replace(CONFIG, rope_scaling=RopeScaling("linear", 2.5)),
        replace(CONFIG, rope_scaling=RopeScaling("llama3", 8.0)),
        replace(CONFIG, rope_scaling=RopeScaling("llama3", 32.0, original_seq_len=1000), head_size=64),
        replace(CONFIG, norm_eps=1e-5, rope_theta=10000.0, n_kv_heads=4),
    ],
)
def test_configs_come_back(tmp_path: Path, config: Config) -> None:
    path = write(tmp_path / "model.gguf", llama2_fast, weights_of(llama2_fast, config), "f32", config)
    assert opened(llama2_fast, path).config == config


def test_a_scaling_that_files_cannot_tell(tmp_path: Path) -> None:
    config = replace(CONFIG, rope_scaling=RopeScaling("llama3", 8.0, 1.0, 2.0))
    with pytest.raises(CheckpointError, match=r"imply the frequency factors 1 and 4 .* \(got 1.0, 2.0\)"):
        write(tmp_path / "model.gguf", llama2_fast, weights_of(llama2_fast, config), "f32", config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seq_len": 2**32}, "sizes in a GGUF file must be at most 4294967295 (got seq_len 4294967296)"),
        ({"rope_theta": 1e39}, "numbers in a GGUF file must be float32 (got rope_theta 1e+39)"),
        ({"norm_eps": 1e-39}, "numbers in a GGUF file must be float32 (got norm_eps 1e-39)"),
        ({"rope_scaling": RopeScaling("linear", 1e39)}, "numbers in a GGUF file must be float32 (got factor 1e+39)"),
    ],
)
def test_numbers_that_files_cannot_tell(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        write(tmp_path / "model.gguf", llama2_fast, weights_of(llama2_fast), "f32", replace(CONFIG, **changes))
    assert str(caught.value) == says
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- vocabulary


def test_a_vocabulary_is_written_as_sentencepiece_has_it(llama2: ModuleType, tmp_path: Path) -> None:
    metadata = read_container(write(tmp_path / "model.gguf", llama2, weights_of(llama2))).metadata
    tokens = metadata["tokenizer.ggml.tokens"]
    assert tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert tokens[258:] == ["<0xFF>", "\u2581", "a", "b", "c", "d", "e"]
    assert metadata["tokenizer.ggml.token_type"] == [2, 3, 3, *[6] * 256, *[1] * 6]
    assert metadata["tokenizer.ggml.scores"] == [0.0] * 259 + [-0.0, -1.0, -2.0, -3.0, -4.0, -5.0]
    ids = [metadata[f"tokenizer.ggml.{name}_token_id"] for name in ("unknown", "bos", "eos")]
    assert (metadata["tokenizer.ggml.model"], ids) == ("llama", [0, 1, 2])
    flags = [metadata[f"tokenizer.ggml.{name}"] for name in ("add_bos_token", "add_eos_token", "add_space_prefix")]
    assert flags == [True, False, True]


def test_older_byte_tokens_are_written_as_the_newer() -> None:
    older = [b"<unk>", b"<s>", b"</s>", *(chr(byte).encode() for byte in range(256)), b"a", b" a"]
    found = entries_of(sentencepiece_vocabulary(Tokenizer(older, [0.0] * 261)))
    assert found["tokenizer.ggml.tokens"][3 + 0x41] == "<0x41>"
    assert found["tokenizer.ggml.tokens"][259:] == ["a", "\u2581a"]


def entries_of(vocabulary: dict[str, Entry]) -> dict[str, Any]:
    return {key: entry.value for key, entry in vocabulary.items()}


def bad_vocabularies() -> Iterator[tuple[list[bytes], str]]:
    start = [b"<unk>", b"<s>", b"</s>"]
    yield [*start, b"a", b"a"], "tokens of a GGUF file must differ (3 and 4 are both 'a')"
    yield [*start, b" ", "\u2581".encode()], "tokens of a GGUF file must differ (3 and 4 are both '\u2581')"
    yield [*start, b"</s>"], "tokens of a GGUF file must differ (2 and 3 are both '</s>')"
    yield [*start, b"\xc3"], r"tokens of a GGUF file must be UTF-8 (token 3 is b'\xc3')"


@pytest.mark.parametrize(("tokens", "says"), list(bad_vocabularies()))
def test_vocabularies_that_no_gguf_file_can_hold(tokens: list[bytes], says: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        sentencepiece_vocabulary(Tokenizer(tokens, [0.0] * len(tokens)))
    assert str(caught.value) == says


def test_the_vocabulary_of_another_file_is_copied_with_its_types(llama2: ModuleType, tmp_path: Path) -> None:
    entries = {
        "tokenizer.ggml.model": Of("s", "gpt2"), "tokenizer.ggml.tokens": Of("s", ["a", "\u0120b"]),
        "tokenizer.ggml.token_type": Of("i", [1, 3]), "tokenizer.ggml.scores": Of("f", [0.5, -1.0]),
        "tokenizer.ggml.bos_token_id": Of("I", 1), "tokenizer.ggml.add_bos_token": Of("?", False),
        "tokenizer.chat_template": Of("s", "{{ x }}\n"), "tokenizer.ggml.big": Of("Q", 2**40),
        "tokenizer.ggml.none": Of("s", ""), "tokenizer.ggml.empty": Of("s", []),
    }  # fmt: skip
    (tmp_path / "a.gguf").write_bytes(gguf_of({"general.name": Of("s", "x")} | entries, []))
    words = copied_vocabulary(read_container(tmp_path / "a.gguf"))
    found = read_container(write(tmp_path / "b.gguf", llama2, weights_of(llama2), words=words))
    wanted = read_container(tmp_path / "a.gguf")
    names = [key for key in entries if entries[key].value not in ("", [])]
    assert {key for key in found.metadata if key.startswith("tokenizer.")} == set(names)
    assert [(found.metadata[key], found.types[key]) for key in names] == [
        (wanted.metadata[key], wanted.types[key]) for key in names
    ]
    assert "general.name" not in found.metadata
