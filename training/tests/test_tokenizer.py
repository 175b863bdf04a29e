"""The tokenizer that is written for llama2.c cuts every text as SentencePiece does."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

sentencepiece = pytest.importorskip("sentencepiece", reason="SentencePiece is not installed (extra train)")

import llama2_fast
import llama2_ref
import tokenizer as tokens
from stories import story

VOCAB_SIZE = 1024
STORIES = [story(i) for i in range(2000)]


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokens.train_tokenizer((line for text in STORIES for line in text.splitlines()), VOCAB_SIZE)


@pytest.fixture(scope="module")
def processor(model: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@pytest.fixture(scope="module")
def tokenizers(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    path = tmp_path_factory.mktemp("tokenizer") / "tok1024.bin"
    tokens.write_whole(path, tokens.tokenizer_bin(model))
    return [package.Tokenizer.read(path, VOCAB_SIZE) for package in (llama2_ref, llama2_fast)]


def check(text: str, processor: Any, tokenizers: list[Any]) -> None:
    expected = processor.encode(text)
    for tokenizer in tokenizers:
        assert tokenizer.encode(text, bos=False) == expected
        assert tokenizer.decode([tokens.BOS, *expected]) == text


def test_stories(processor: Any, tokenizers: list[Any]) -> None:
    for i in range(10_000, 10_050):
        check(story(i), processor, tokenizers)


# SentencePiece writes "▁" for a space, and reads it as one; NUL ends its strings
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"), max_size=40))
@example(text="")
@example(text=" two  spaces, a\ttab and a\nnewline ")
@example(text="<s></s><unk><0x41>")
@example(text="Zoë said: 你好 \U0001f600!")
@example(text="12345")
def test_any_unicode(processor: Any, tokenizers: list[Any], text: str) -> None:
    check(text, processor, tokenizers)


@given(text=st.text(alphabet="abcdehilmnoprstuwy ,.\"'!?TSA", max_size=60))
def test_letters_of_the_stories(processor: Any, tokenizers: list[Any], text: str) -> None:
    check(text, processor, tokenizers)


def test_special_tokens(tokenizers: list[Any]) -> None:
    for tokenizer in tokenizers:
        assert tokenizer.tokens[:4] == [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>"]
        assert len(tokenizer.byte_of) == 256


def test_same_text_same_bytes(model: bytes) -> None:
    again = tokens.train_tokenizer((line for text in STORIES for line in text.splitlines()), VOCAB_SIZE)
    assert tokens.tokenizer_bin(again) == tokens.tokenizer_bin(model)


def test_texts_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("third")
    (tmp_path / "a.txt").write_text(f"first\nline{tokens.SEPARATOR}second{tokens.SEPARATOR}")
    assert list(tokens.read_texts(tokens.list_files(tmp_path).others)) == ["first\nline", "second", "third"]


def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    tokens.write_whole(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):
        tokens.write_whole(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
