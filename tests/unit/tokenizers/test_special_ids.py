"""Special tokens with the id 0, which is an id as any other: by every reader and writer, in texts and in chats."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_ref
from llama2_ref.formats.convert import convert
from llama2_ref.formats.gguf_container import read_container
from llama2_ref.formats.huggingface import write_folder as write_model_folder
from llama2_ref.tokenizer import SpecialTokens
from llama2_ref.tokenizers.read import from_gguf, read_path
from support.gguf_bytes import Of, config_entries, gguf_of, model_tensors
from support.models import random_twins, transformers, vocabulary, write_tokenizer
from support.scripted import ScriptedTransformer
from support.templates import LLAMA2
from support.vocabularies import (
    gguf_of_letters,
    gguf_of_pieces,
    importorskip,
    json_of_pieces,
    train_letters,
    train_pieces,
    write_folder,
)

BEGIN, END = "<|begin|>", "<|end|>"  # 0 and 1 of `train_letters`


def folder_of_letters(folder: Path, tokenizer: Any = None, **files: Any) -> Any:
    importorskip("tokenizers")
    files = {f"{name}_DOT_json": content for name, content in files.items()}
    settings = {"add_bos_token": True} | (tokenizer or {})
    written = {"tokenizer_DOT_json": train_letters(), "tokenizer_config_DOT_json": settings}
    return read_path(write_folder(folder, **written, **files), 600)


def folder_of_pieces(folder: Path, **options: Any) -> Any:
    importorskip("sentencepiece")
    return read_path(write_folder(folder, tokenizer_DOT_model=train_pieces(**options)), 600)


def pieces_as_json(folder: Path, **settings: Any) -> Any:
    importorskip("tokenizers")
    trained = train_pieces(bos_id=0, unk_id=1, eos_id=2, user_defined_symbols="")
    files = {"tokenizer_DOT_json": json_of_pieces(trained), "tokenizer_config_DOT_json": settings}
    return read_path(write_folder(folder, **files), 600)


def letters_of_gguf(folder: Path, **changes: Any) -> Any:
    importorskip("tokenizers")
    return from_gguf(gguf_of_letters(add_bos_token=True, **changes), 600)


def pieces_of_gguf(folder: Path, trained: dict[str, int], **changes: Any) -> Any:
    return from_gguf(gguf_of_pieces(train_pieces(**trained), **changes), 600)


def plain(folder: Path, **special_tokens: Any) -> Any:
    return llama2_ref.Tokenizer(*vocabulary(300), SpecialTokens(**special_tokens))


# How a tokenizer is made; which of bos, eos and stop are 0, and what the others are.
SOURCES: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "tokenizer.json, bos by name": (
        folder_of_letters,
        {"tokenizer": {"bos_token": BEGIN, "eos_token": END}},
        {"bos": 0, "eos": 1, "stop": {1}},
    ),
    "tokenizer.json, eos by name": (
        folder_of_letters,
        {"tokenizer": {"bos_token": END, "eos_token": {"content": BEGIN}}},
        {"bos": 1, "eos": 0, "stop": {0}},
    ),
    "config.json, bos": (
        folder_of_letters,
        {"config": {"bos_token_id": 0, "eos_token_id": 1}},
        {"bos": 0, "eos": 1, "stop": {1}},
    ),
    "config.json, eos": (
        folder_of_letters,
        {"config": {"bos_token_id": 1, "eos_token_id": 0}},
        {"bos": 1, "eos": 0, "stop": {0}},
    ),
    "config.json, several": (
        folder_of_letters,
        {"config": {"bos_token_id": 1, "eos_token_id": [0, 7]}},
        {"bos": 1, "eos": 0, "stop": {0, 7}},
    ),
    "generation_config.json": (
        folder_of_letters,
        {"generation_config": {"eos_token_id": 0}, "config": {"bos_token_id": 1, "eos_token_id": 9}},
        {"bos": 1, "eos": 9, "stop": {0, 9}},
    ),
    "generation_config.json, several": (
        folder_of_letters,
        {"generation_config": {"eos_token_id": [7, 0]}, "tokenizer": {"bos_token": END}},
        {"bos": 1, "eos": None, "stop": {0, 7}},
    ),
    "tokenizer.json of pieces": (
        pieces_as_json,
        {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True},
        {"bos": 0, "eos": 2, "stop": {2}},
    ),
    "tokenizer.model, bos": (
        folder_of_pieces,
        {"bos_id": 0, "eos_id": 1, "unk_id": 2},
        {"bos": 0, "eos": 1, "stop": {1}},
    ),
    "tokenizer.model, eos": (
        folder_of_pieces,
        {"bos_id": 1, "eos_id": 0, "unk_id": 2},
        {"bos": 1, "eos": 0, "stop": {0}},
    ),
    "GGUF of letters, bos": (letters_of_gguf, {}, {"bos": 0, "eos": 1, "stop": {1}}),
    "GGUF of letters, eos": (
        letters_of_gguf,
        {"bos_token_id": 1, "eos_token_id": 0},
        {"bos": 1, "eos": 0, "stop": {0, 1}},  # <|end|> ends a text by its name
    ),
    "GGUF of letters, eot": (letters_of_gguf, {"bos_token_id": 1, "eot_token_id": 0}, {"bos": 1, "stop": {0, 1}}),
    "GGUF of letters, eom": (letters_of_gguf, {"bos_token_id": 1, "eom_token_id": 0}, {"bos": 1, "stop": {0, 1}}),
    "GGUF of pieces, bos": (
        pieces_of_gguf,
        {"trained": {"bos_id": 0, "eos_id": 1, "unk_id": 2}},
        {"bos": 0, "eos": 1, "stop": {1}, "unknown": 2},
    ),
    "GGUF of pieces, eos": (
        pieces_of_gguf,
        {"trained": {"bos_id": 1, "eos_id": 0, "unk_id": 2}},
        {"bos": 1, "eos": 0, "stop": {0}, "unknown": 2},
    ),
    "GGUF of pieces, unknown": (
        pieces_of_gguf,
        {"trained": {"bos_id": 1, "eos_id": 2, "unk_id": 3}, "unknown_token_id": 0},
        {"bos": 1, "eos": 2, "unknown": 0},
    ),
    "special_tokens, bos": (
        plain,
        {"bos": 0, "stop": frozenset({2}), "unknown": 1, "control": frozenset({0, 2})},
        {"bos": 0, "eos": 2, "unknown": 1},
    ),
    "special_tokens, eos": (
        plain,
        {"eos": 0, "stop": frozenset({0}), "unknown": 2, "control": frozenset({0, 1})},
        {"bos": 1, "eos": 0, "stop": {0}},
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_token_may_have_the_id_0(tmp_path: Path, source: str) -> None:
    make, options, wanted = SOURCES[source]
    tokenizer = make(tmp_path, **options)
    bos, eos = wanted["bos"], wanted.get("eos", tokenizer.eos)
    assert (tokenizer.bos, tokenizer.start, tokenizer.eos) == (bos, bos, eos)
    assert tokenizer.stop == wanted.get("stop", tokenizer.stop)
    assert tokenizer.special_tokens.unknown == wanted.get("unknown", tokenizer.special_tokens.unknown)
    inside = tokenizer.encode("ab", bos=False)
    assert inside
    assert tokenizer.encode("ab", eos=True) == [bos, *inside, *([] if eos is None else [eos])]
    assert tokenizer.encode("") == [bos]
    assert tokenizer.encode("", bos=False, eos=True) == ([] if eos is None else [eos])
    assert tokenizer.decode([bos, *inside, *([] if eos is None else [eos])]) == "ab"
    names = {token: name for name, token in tokenizer.special.items()}
    if 0 in names and 0 in (bos, eos):
        assert tokenizer.encode_special(f"{names[0]}")[:1] == [0]


@pytest.mark.parametrize("template", [False, True], ids=["llama2", "template"])
@pytest.mark.parametrize("role", ["bos", "eos"])
def test_texts_and_chats_with_a_token_0(llama2: ModuleType, role: str, template: bool) -> None:
    """A text begins from it, and ends by it; it stands between turns, and a template is told its name."""
    if template:
        importorskip("jinja2")
    tokens, scores = vocabulary(300)
    tokens[0], tokens[1] = (BEGIN.encode(), END.encode()) if role == "bos" else (END.encode(), BEGIN.encode())
    bos, eos = (0, 1) if role == "bos" else (1, 0)
    special = frozenset({0, 1})
    special_tokens = SpecialTokens(
        2, bos, eos, stop=frozenset({eos}), control=special, adds_bos=not template, space_prefix=False
    )
    config = llama2.Config(8, 8, 1, 2, 1, 300, 120)
    transformer = ScriptedTransformer(transformers(random_twins(config, 1))[0], {}, 260)
    model = llama2.Model(
        llama2.Tokenizer(tokens, scores, special_tokens), transformer, llama2.Sampler, LLAMA2 if template else None
    )
    begun = model.generate("", 4, 0)
    assert ("".join(begun), begun.tokens[0], begun.generated) == ("aaaa", bos, 4)
    talk = model.conversation(temperature=0)
    first = talk.say("ab")
    assert first.tokens[0] == bos
    transformer.plan = {first.prompt_length + 2: eos}
    assert ("".join(first), first.generated) == ("aa", 2)
    second = talk.say("cd")
    assert second.tokens.count(bos) == second.tokens[: second.prompt_length].count(eos) + 1 == 2
    list(model.samples("ab", 2, 20, 0))
    messages = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "aa"}]
    again = llama2.encode_chat(model.tokenizer, [*messages, {"role": "user", "content": "cd"}], model.template)
    assert again.count(eos) == 1
    assert again.count(bos) == 2


# ------------------------------------------------------------------------------------------------------------ converted

CONFIG = llama2_ref.Config(32, 32, 1, 2, 1, 460, 32)
IDS = ("bos_token_id", "eos_token_id")


def write_gguf(path: Path, **changes: Any) -> Path:
    """A model with the vocabulary of `train_letters`, in which 0 may be anything."""
    importorskip("tokenizers")
    metadata = gguf_of_letters(add_bos_token=True, **changes)
    kinds = {bool: "?", int: "I", float: "f", str: "s"}
    entries = {name: Of(kinds[type(v[0] if isinstance(v, list) else v)], v) for name, v in metadata.items()}
    path.write_bytes(gguf_of(config_entries(CONFIG) | entries, model_tensors(CONFIG)))
    return path


@pytest.mark.parametrize("ids", [(0, 1), (1, 0), (0, 0), (0, None), (None, 0)], ids=str)
def test_ids_are_converted(tmp_path: Path, llama2: ModuleType, ids: tuple[int | None, int | None]) -> None:
    """From GGUF to GGUF and to a folder, and from a folder to another one."""
    importorskip("gguf")
    known = {name: token for name, token in zip(IDS, ids, strict=True) if token is not None}
    path = write_gguf(tmp_path / "a.gguf", **dict(zip(IDS, ids, strict=True)))
    convert_by(llama2)(path, tmp_path / "b.gguf", dtype="q8_0")
    metadata = read_container(tmp_path / "b.gguf").metadata
    assert {name: metadata[f"tokenizer.ggml.{name}"] for name in known} == known
    tokenizers = [llama2.load(each).tokenizer for each in (path, tmp_path / "b.gguf")]
    assert len({(each.bos, each.eos, each.stop) for each in tokenizers}) == 1
    convert_by(llama2)(path, tmp_path / "folder")
    told = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert {name: told[name] for name in IDS if name in told} == known
    write_folder(tmp_path / "folder", tokenizer_DOT_json=train_letters())
    convert_by(llama2)(tmp_path / "folder", tmp_path / "again")
    told = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {name: told[name] for name in IDS if name in told} == known
    read = [llama2.load(tmp_path / name).tokenizer for name in ("folder", "again")]
    assert [(each.start, each.eos) for each in read] == [ids] * 2


def convert_by(llama2: ModuleType) -> Callable[..., Any]:
    from llama2_fast.matrices.files import convert as fast_convert

    return convert if llama2 is llama2_ref else fast_convert


def test_a_generation_config_has_the_last_word(tmp_path: Path) -> None:
    """On what it says; the rest stays that of config.json."""
    importorskip("tokenizers")
    source = tmp_path / "source"
    write_model_folder(source, CONFIG, random_twins(CONFIG, 1).ref, special={"bos_token_id": 0, "eos_token_id": 9})
    write_folder(source, tokenizer_DOT_json=train_letters(), generation_config_DOT_json={"eos_token_id": [0, 1]})
    convert(source, tmp_path / "copy")
    told = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert (told["bos_token_id"], told["eos_token_id"]) == (0, [0, 1])
    tokenizers = [llama2_ref.load(tmp_path / name).tokenizer for name in ("source", "copy")]
    assert tokenizers[0].stop == {0, 1, 9}
    assert tokenizers[1].stop == {0, 1}
    assert [each.start for each in tokenizers] == [0, 0]


def test_llama2_c_s_unknown_is_0_in_a_gguf_file(tmp_path: Path) -> None:
    importorskip("gguf")
    twins = random_twins(llama2_ref.Config(8, 8, 1, 2, 1, 300, 16), 1)
    llama2_ref.write_checkpoint(tmp_path / "model.bin", twins.config, twins.ref)
    write_tokenizer(tmp_path / "tokenizer.bin", *vocabulary(300))
    convert(tmp_path / "model.bin", tmp_path / "model.gguf")
    metadata = read_container(tmp_path / "model.gguf").metadata
    names = ("unknown_token_id", *IDS)
    assert [metadata[f"tokenizer.ggml.{name}"] for name in names] == [0, 1, 2]
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.add_eos_token"] is False
    assert llama2_ref.load(tmp_path / "model.gguf").tokenizer.special_tokens.unknown == 0
