"""The heap against the plain loop, files against what was written, and SentencePiece as a judge from outside."""

import random
import struct
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz.mutators import mutate_tokenizer
from fuzz.readers import judge_tokenizer, tokenizer_seeds
from llama2_fast.conformance import reproduce
from llama2_fast.conformance.strategies import encodings, special_tokens_of, vocabularies
from support.models import vocabulary, write_tokenizer

# What a failure is told by.
ENCODE = """\
for package in (llama2_ref, llama2_fast):
    tokenizer = package.Tokenizer(*words)
    ids = tokenizer.encode(text, bos, eos)
    print(ids, repr(tokenizer.decode(ids)))"""
DECODE = """\
for package in (llama2_ref, llama2_fast):
    print(repr(package.Tokenizer(*words).decode(ids)))"""
READ = """\
from pathlib import Path

Path("damaged.bin").write_bytes(data)
for package in (llama2_ref, llama2_fast):
    try:
        print(vars(package.Tokenizer.read("damaged.bin")))
    except llama2_ref.TokenizerError as error:
        print(error)"""


def twins(tokens, scores):
    return llama2_ref.Tokenizer(tokens, scores), llama2_fast.Tokenizer(tokens, scores)


@given(encodings(), st.booleans(), st.booleans())
@example((([b"<unk>", b"<s>", b"</s>", b"a", b"aa", b" "], [0, 0, 0, 0, -1.0, 0]), "aaaaa"), True, False)  # ties
# What stands behind the last token of a text is none, and not the last one of the vocabulary.
@example((([b"<unk>", b"<s>", b"</s>", b" ", b"a", b"aa", b"aab", b"b"], [0, 0, 0, 0, 0, 0, 1, 0]), "aa"), True, False)
def test_encoding_is_equal(case, bos, eos):
    words, text = case
    reproduce.current_script = lambda: reproduce.script(ENCODE, words=words, text=text, bos=bos, eos=eos)
    ref, fast = twins(*words)
    expected = ref.encode(text, bos, eos)
    assert fast.encode(text, bos, eos) == expected
    assert fast.encode(text, bos, eos) == expected, "the second time, from memory"


@given(encodings(), st.data())
def test_encoding_is_equal_whatever_tokens_are_for(case: Any, data: Any) -> None:
    """User-defined tokens, and names of special ones, stand in the text, too."""
    words, text = case
    special_tokens = data.draw(special_tokens_of(words), label="special_tokens")
    ref, fast = (package.Tokenizer(*words[:2], special_tokens) for package in (llama2_ref, llama2_fast))
    names = [*ref.special, *(ref.token_text(token) for token in special_tokens.user_defined)]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=3) if names else st.just([]), label="names"):
        text += name + text[:3]
    for encode in ("encode", "encode_special"):
        expected = getattr(ref, encode)(text)
        assert getattr(fast, encode)(text) == expected
        assert fast.decode(expected) == ref.decode(expected) == "".join(fast.pieces(expected))
    assert special_tokens.adds_bos or ref.encode(text) == ref.encode(text, bos=False)


@given(encodings())
def test_decoding_undoes_encoding(case):
    """Unless the vocabulary has no token, and no bytes, for a character."""
    words, text = case
    reproduce.current_script = lambda: reproduce.script(ENCODE, words=words, text=text, bos=True, eos=False)
    for tokenizer in twins(*words):
        ids = tokenizer.encode(text)
        if 0 not in ids:
            assert tokenizer.decode(ids) == text
            assert "".join(tokenizer.pieces(iter(ids))) == text


@given(vocabularies(), st.data())
def test_decoding_is_equal_for_any_tokens(words, data):
    ref, fast = twins(*words)
    ids = data.draw(st.lists(st.integers(0, len(words[0]) - 1)), label="ids")
    reproduce.current_script = lambda: reproduce.script(DECODE, words=words, ids=ids)
    assert fast.decode(ids) == ref.decode(ids)


@given(st.lists(st.integers(0, 255)))
def test_bytes_are_joined_before_they_become_text(data):
    """As Python decodes the same bytes; and a piece never ends inside a character."""
    tokenizer = llama2_ref.Tokenizer(*vocabulary(259))
    pieces = list(tokenizer.pieces(3 + byte for byte in data))
    assert "".join(pieces) == bytes(data).decode(errors="replace")


@given(vocabularies(), st.booleans())
def test_files_are_read_as_they_were_written(tmp_path_factory, words, tell_size):
    tokens, scores = words
    path = write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.bin", tokens, scores)
    for package in (llama2_ref, llama2_fast):
        tokenizer = package.Tokenizer.read(path, len(tokens) if tell_size else None)
        assert tokenizer.tokens == tokens
        assert tokenizer.scores == [struct.unpack("f", struct.pack("f", score))[0] for score in scores]


@given(vocabularies(), st.data())
def test_damaged_files_are_read_alike(tmp_path_factory, words, data):
    """Both packages refuse a file, or both read it to the same vocabulary; no other error comes through."""
    path = write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.bin", *words)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        damaged[data.draw(st.integers(0, len(damaged) - 1), label="where")] = data.draw(
            st.integers(0, 255), label="byte"
        )
    del damaged[data.draw(st.integers(0, len(damaged)), label="length") :]
    path.write_bytes(damaged)
    reproduce.current_script = lambda: reproduce.script(READ, data=bytes(damaged))
    outcomes: list[Any] = []
    for package in (llama2_ref, llama2_fast):
        try:
            tokenizer = package.Tokenizer.read(path)
            outcomes.append((tokenizer.tokens, tokenizer.scores))
        except llama2_ref.TokenizerError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


SEEDS = tokenizer_seeds()


@given(st.sampled_from(range(len(SEEDS))), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
def test_what_is_nearly_a_tokenizer_is_refused_or_bears_use(tmp_path_factory, seed, changes):
    """By the changes that coverage.py makes, for a given size of the vocabulary, too."""
    data = SEEDS[seed]
    for change in changes:
        data = mutate_tokenizer(data, 6000, random.Random(change), lambda data, longest: data)
    path = tmp_path_factory.mktemp("nearly") / "tokenizer.bin"
    path.write_bytes(data)
    judge_tokenizer(path)


def test_the_cost_grows_like_n_log_n():
    """A megabyte of words, and a run of 200,000 characters that is a single part: seconds, where n^2 takes hours."""
    words = vocabulary(600)
    tokenizer = llama2_fast.Tokenizer(*words)
    text = "a bad cab fed a bee and " * 43_691
    assert len(text) > 2**20
    start = time.perf_counter()
    ids = tokenizer.encode(text)
    assert time.perf_counter() - start < 20
    assert tokenizer.decode(ids) == text
    run = "ab" * 100_000
    start = time.perf_counter()
    ids = tokenizer.encode(run)
    assert time.perf_counter() - start < 20
    assert tokenizer.decode(ids) == run


@pytest.fixture(scope="module")
def sentencepiece(data):
    module = pytest.importorskip("sentencepiece", reason="SentencePiece is not installed (extra dev)")
    return module.SentencePieceProcessor(model_file=str(data / "tokenizer.model"))


@pytest.fixture(scope="module")
def llama_tokenizers(data):
    return [package.Tokenizer.read(data / "tokenizer.bin", 32000) for package in (llama2_ref, llama2_fast)]


# "▁" is SentencePiece's name for a space; tokenizer.bin holds spaces instead, so that there it is a character of its
# own.
outside_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"), max_size=40)


@given(text=outside_texts)
@example(text="Hello 世界 \U0001f600 naïve  two spaces\n\ttab")
@example(text="<s></s><unk><0x41>")
@example(text=" leading and trailing ")
def test_sentencepiece_encodes_and_decodes_alike(sentencepiece, llama_tokenizers, text):
    expected = sentencepiece.encode(text)
    for tokenizer in llama_tokenizers:
        assert tokenizer.encode(text, bos=False) == expected
        assert tokenizer.decode([1, *expected]) == sentencepiece.decode(expected) == text


def test_tokens_that_are_no_text():
    """Parts of characters are legal tokens: they come out of bytes, and are never found by a text."""
    tokens, scores = vocabulary(300)
    tokens, scores = [*tokens, b"\xe2\x82", b"a\xff", b"\xffb"], [*scores, 5.0, 6.0, 7.0]
    ref, fast = twins(tokens, scores)
    ids = ref.encode("ab \u20ac\xff")
    assert fast.encode("ab \u20ac\xff") == ids
    assert fast.decode(ids) == ref.decode(ids) == "ab \u20ac\xff"


def test_only_so_many_short_parts_are_remembered(monkeypatch):
    """A long text of ever new parts must not fill the memory."""
    monkeypatch.setattr("llama2_fast.tokenizer.LONGEST_REMEMBERED", 4)
    monkeypatch.setattr("llama2_fast.tokenizer.MOST_REMEMBERED", 3)
    tokens, scores = vocabulary(286)
    tokenizer = llama2_fast.Tokenizer([*tokens, b"aa"], [*scores, 0.0])
    for text in ("aaaaa", "aaaa", "b", "c", "d"):
        tokenizer.encode(text)
    assert list(tokenizer._remembered) == [" ", "aaaa", "b"]
