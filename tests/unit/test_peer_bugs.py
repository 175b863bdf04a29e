"""Mistakes that other programs make, and that no other test here is about: see docs/peer-bugs.md for all of them."""

import subprocess
import sys

import pytest

from support.models import vocabulary, write_model

BYTES = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]


@pytest.fixture
def tokenizer(llama2):
    return llama2.Tokenizer(*vocabulary(900))


def test_b8_a_prompt_may_be_longer_than_any_buffer(llama2, tmp_path):
    write_model(tmp_path, llama2.Config(8, 8, 1, 2, 1, 300, 6000))
    prompt = "abc " * 1200
    stream = llama2.load(tmp_path / "model.bin").generate(prompt, steps=0)
    assert "".join(next(stream) for _ in range(stream.prompt_length)) == prompt


def test_b12_a_vocabulary_without_a_space(llama2):
    """Its space is a byte, or unknown where there are no bytes either: never an index of -1."""
    assert llama2.Tokenizer([*BYTES, b"a"], [0.0] * 260).encode("a a") == [1, 3 + 32, 259, 3 + 32, 259]
    assert llama2.Tokenizer([*BYTES[:3], b"a"], [0.0] * 4).encode("a b") == [1, 0, 3, 0, 0]


def test_b12_bytes_beyond_the_vocabulary_are_unknown(llama2):
    tokenizer = llama2.Tokenizer(BYTES[:100], [0.0] * 100)
    assert tokenizer.encode("\x1f\xff") == [1, 3 + 32, 3 + 31, 0, 0]
    with pytest.raises(llama2.TokenizerError, match=r"0\.\.99"):
        tokenizer.decode([100])


@pytest.mark.parametrize("text", [b"<0xABC", b"<0xAB>>", b"<0xab>", b"<0x41", b"<0xGG>"])
def test_b13_what_only_begins_like_a_byte_token_is_text(llama2, text):
    tokenizer = llama2.Tokenizer([*BYTES, text], [0.0] * 260)
    assert tokenizer.decode([1, 259]) == text.decode()


def test_of_equal_tokens_the_first_counts(llama2):
    assert llama2.Tokenizer([*BYTES, b"a", b"b", b"a"], [0.0] * 262).encode("ab", bos=False)[1:] == [259, 260]


def test_bytes_do_not_join_and_special_tokens_are_not_found_by_their_text(llama2):
    """Not even where a token has the text that they would make, or have."""
    tokens = [b"a", b"b", b"c", *BYTES[3:], b"<0xC3>", b"<0xC3><0xA9>", b"\xc3\xa9\xc3\xa9", b" "]
    tokenizer = llama2.Tokenizer(tokens, [0.0] * len(tokens))
    assert tokenizer.encode("é", bos=False) == [tokens.index(b" "), 3 + 0xC3, 3 + 0xA9]
    assert tokenizer.encode("abc", bos=False) == [tokens.index(b" "), 3 + ord("a"), 3 + ord("b"), 3 + ord("c")]


def test_b18_writing_changes_nothing_in_what_is_written(llama2, tmp_path):
    """Twice the same file, and the same config afterwards, with a separate classifier too."""
    write_model(tmp_path, llama2.Config(8, 8, 1, 2, 1, 300, 20), shared=False)
    config, weights = llama2.read_checkpoint(tmp_path / "model.bin")
    for version in (0, 1, 0):
        llama2.write_checkpoint(tmp_path / f"{version}.bin", config, weights, version)
        assert llama2.read_checkpoint(tmp_path / f"{version}.bin")[0] == config
    assert (tmp_path / "0.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_b24_characters_of_several_bytes_leave_no_gap(llama2):
    tokens = [*BYTES, b" ", "é".encode(), b"a"]
    assert llama2.Tokenizer(tokens, [0.0] * 262).encode("éaé") == [1, 259, 260, 261, 260]


@pytest.mark.parametrize("text", ["  a", "\n\na", "<s>a", "s a s", "/<>", "%d %s [red]%n", " a ", "{0}"])
def test_b34_b35_b38_b39_text_is_neither_stripped_nor_read_as_a_format(llama2, tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("byte", range(0xF8, 0x100))
def test_b40_high_bytes_do_not_wrap_to_control_tokens(llama2, tokenizer, byte):
    assert tokenizer.byte_of[byte + 3] == byte
    ids = tokenizer.encode(chr(0x3FFFF))
    assert min(ids[1:]) > 2


def test_b31_rates_of_a_single_step(llama2, tmp_path):
    """No division by a time or a count that is 0."""
    path = write_model(tmp_path, llama2.Config(8, 8, 1, 2, 1, 300, 20))
    command = [sys.executable, "-m", llama2.__name__, str(path), "-n", "1", "-t", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "too few for a rate" in done.stderr


def test_b37_tokens_come_as_often_as_their_probabilities_say(llama2):
    """Of 2000 draws at 0.6 and 0.4 the share of the first lies within four standard deviations of 0.6."""
    from math import log, sqrt

    sampler = llama2.Sampler(temperature=1.0, topp=1.0, seed=11)
    draws = [sampler.sample([log(0.6), log(0.4)]) for _ in range(2000)]
    assert abs(draws.count(0) / 2000 - 0.6) < 4 * sqrt(0.6 * 0.4 / 2000)
