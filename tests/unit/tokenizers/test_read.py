"""Tokenizers that come with models: the packages that made them are the judges."""

import json
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_ref.tokenizers import read as _tokenizers
from llama2_ref.tokenizers.external import BYTE_OF_LETTER, HuggingFaceTokenizer, bytes_of_letters
from llama2_ref.tokenizers.read import folder_template, from_gguf, read_folder, read_path
from support.vocabularies import (
    CORPUS,
    gguf,
    gguf_of_letters,
    gguf_of_pieces,
    importorskip,
    json_of_pieces,
    processor,
    train_letters,
    train_pieces,
    write_folder,
)

PACKAGES = {"llama2_ref": llama2_ref, "llama2_fast": llama2_fast}
KINDS = ("letters", "json-pieces", "pieces", "unigram", "gguf-letters", "gguf-pieces-ref", "gguf-pieces-fast")
NAMES = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
LETTER_NAMES = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
# "\u2581" is SentencePiece's name for a space; <sep> is user-defined.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581\0"), max_size=40) | st.lists(
    st.sampled_from(
        ["a", " ", "  ", "wave", "count", "\n", "\t", "<sep>", "<sep2", "[call]", "1024", "\u4e16", "'d", "\xe9"]
    ),
    max_size=12,
).map("".join)


def make(kind, folder):
    if kind.startswith("gguf-pieces"):
        package = llama2_ref if kind.endswith("ref") else llama2_fast
        return from_gguf(gguf_of_pieces(train_pieces()), 420, package.Tokenizer)
    if kind == "gguf-letters":
        return from_gguf(gguf_of_letters(), 453)
    files: Any = {
        "letters": lambda: {"tokenizer_DOT_json": train_letters(), "tokenizer_config_DOT_json": LETTER_NAMES},
        "json-pieces": lambda: {
            "tokenizer_DOT_json": json_of_pieces(train_pieces(user_defined_symbols="")),
            "tokenizer_config_DOT_json": NAMES | {"add_bos_token": True},
        },
        "pieces": lambda: {"tokenizer_DOT_model": train_pieces(), "tokenizer_config_DOT_json": NAMES},
        "unigram": lambda: {"tokenizer_DOT_model": train_pieces(model_type="unigram", vocab_size=360)},
    }[kind]()
    return read_folder(write_folder(folder, **files), 520)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return make("letters", tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return make("pieces", tmp_path_factory.mktemp("folder"))


# ------------------------------------------------------------------------------------------------------------ all kinds


@given(text=texts)
@example(text=CORPUS)
@example(text="<s></s><unk><0x41><|begin|><|end|><|turn|>")
@example(text=" leading, trailing ")
@example(text="\n\n\t  \r\n")
def test_a_text_comes_back_as_it_was(tokenizer, text):
    """Names of special tokens, too, which are never those tokens."""
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == tokenizer.decode(tokenizer.encode(text, eos=True)) == text
    assert "".join(tokenizer.pieces(iter(ids))) == text
    plain = tokenizer.encode(text, bos=False)
    assert not tokenizer.special_tokens.control & set(plain)
    assert len(plain) >= tokenizer.min_tokens(text)


@given(data=st.data())
def test_pieces_are_never_half_a_character(tokenizer, data):
    """Over any tokens: pieces join to `decode`, and hold U+FFFD only where the whole text does."""
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    pieces = list(tokenizer.pieces(ids))
    assert len(pieces) == len(ids) + 1
    whole = tokenizer.decode(ids)
    assert "".join(pieces) == whole
    parts = b"".join(
        tokenizer._bytes_in_vocabulary(t) if hasattr(tokenizer, "_names") else tokenizer._bytes(t) for t in ids
    )
    assert whole in (parts.decode(errors="replace"), parts.decode(errors="replace").removeprefix(" ")) or 1 in ids


def test_the_protocol(tokenizer):
    assert tokenizer.start is not None
    assert tokenizer.eos in tokenizer.stop
    assert tokenizer.decode([tokenizer.start, tokenizer.eos]) == ""
    names = {token: name for name, token in tokenizer.special.items()}
    text = f"{names[tokenizer.start]}a{names[tokenizer.eos]}"
    ids = tokenizer.encode_special(text)
    assert (ids[0], ids[-1]) == (tokenizer.start, tokenizer.eos)
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.token_text(tokenizer.start) == names[tokenizer.start]
    for token in (-1, tokenizer.vocab_size):
        for use in (tokenizer.token_text, lambda token: tokenizer.decode([token])):
            with pytest.raises(llama2_ref.TokenizerError, match=r"must be in 0\.\."):
                use(token)
    for encode in (tokenizer.encode, tokenizer.encode_special):
        with pytest.raises(llama2_ref.PromptError, match="surrogate"):
            encode("a\ud800")


# --------------------------------------------------------------------------------------------------------------- judges


@given(text=texts)
@example(text="<sep><sep2>a <sep>  b")
def test_sentencepiece_judges_our_own_algorithm(text):
    """The vocabulary of a GGUF file, cut by both packages, as the library cuts it that made it."""
    expected = processor(train_pieces()).encode(text)
    for package in PACKAGES.values():
        assert SAME[package.__name__].encode(text, bos=False) == expected


class _Same(dict):
    def __missing__(self, name):
        self[name] = from_gguf(gguf_of_pieces(train_pieces()), 420, PACKAGES[name].Tokenizer)
        return self[name]


SAME = _Same()


def test_llama_s_own_vocabulary_is_the_same_by_three_files(llama2, data):
    """tokenizer.model, its pieces in a GGUF file, and llama2.c's tokenizer.bin."""
    importorskip("sentencepiece")
    by_package = read_path(data / "tokenizer.model", 32000)
    by_gguf = from_gguf(gguf_of_pieces((data / "tokenizer.model").read_bytes()), 32000, llama2.Tokenizer)
    plain = llama2.Tokenizer.read(data / "tokenizer.bin", 32000)
    for text in [*CORPUS.splitlines(), " two  spaces\n\n\ttab ", "<s></s>[INST] <<SYS>>", "1234567890 \u0661\u0662"]:
        ids = plain.encode(text)
        assert by_package.encode(text) == by_gguf.encode(text) == ids
        assert by_package.decode(ids) == by_gguf.decode(ids) == plain.decode(ids) == text
    chat = "<s>[INST] Hi [/INST] Hello </s><s>[INST] Bye [/INST]"
    assert by_package.encode_special(chat) == by_gguf.encode_special(chat) == plain.encode_special(chat)


@given(st.lists(st.integers(3, 419), max_size=20))
def test_sentencepiece_judges_decoding(ids):
    """Where bytes are characters: of others, each program makes what it likes."""
    model = processor(train_pieces())
    ids = [token for token in ids if model.id_to_piece(token) != "<0x20>"]  # only other spaces go at the beginning
    expected = model.decode(ids)
    for package in PACKAGES.values():
        got = SAME[package.__name__].decode(ids)
        assert got == expected or "\ufffd" in got


@given(st.lists(st.integers(0, 451), max_size=20), texts)
def test_tokenizers_judges_letters(letters, ids, text):
    """Bytes that are no characters, too."""
    inner = importorskip("tokenizers").Tokenizer.from_str(train_letters())
    assert letters.decode(ids) == inner.decode(ids, skip_special_tokens=True)
    marked = f"<|begin|>{text}<|turn|>\n{text}<|end|>"
    assert letters.encode_special(marked) == inner.encode(marked, add_special_tokens=False).ids
    assert letters.encode(text, bos=False) == inner.encode(text, add_special_tokens=False).ids


@given(text=texts)
def test_gguf_cuts_letters_as_the_folder_does(letters, text):
    """The same vocabulary by its merges alone: GPT-2's regular expression is that of ByteLevel."""
    assert same_letters().encode(text, bos=False) == letters.encode(text, bos=False)
    marked = f"<|begin|>{text}<|turn|>{text}<|end|>"
    assert same_letters().encode_special(marked) == letters.encode_special(marked)


def same_letters(cache=[]):  # noqa: B006
    if not cache:
        cache.append(from_gguf(gguf_of_letters(), 453))
    return cache[0]


@given(text=texts)
def test_tokenizer_json_and_tokenizer_model_agree(text):
    """Of one vocabulary, without what is user-defined: the two packages treat that differently."""
    if "hub" not in HUB:
        HUB["model"] = processor(train_pieces(user_defined_symbols=""))
        HUB["hub"] = importorskip("tokenizers").Tokenizer.from_str(
            json_of_pieces(train_pieces(user_defined_symbols=""))
        )
    special_tokens = llama2_ref.tokenizer.SpecialTokens(trims=True)
    ours = HuggingFaceTokenizer(HUB["hub"], special_tokens, 420)
    expected = HUB["model"].encode(text)
    if text:
        assert ours.encode(text, bos=False) == expected
        assert ours.decode(expected) == HUB["model"].decode(expected)


HUB = {}


def test_every_byte_has_a_letter():
    tokenizers = importorskip("tokenizers")
    assert set(BYTE_OF_LETTER) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF_LETTER.values()) == list(range(256))
    for text in ("a b", "\xe9\u4e16\U0001f600", "\0\x7f\xa0\xad"):
        (piece,) = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
        assert bytes_of_letters(piece[0]) == text.encode()
    assert bytes_of_letters("\u4e16 \xe9") == "\u4e16 \xe9".encode()


@pytest.mark.parametrize(
    ("pre", "text", "parts"),
    [
        ("gpt-2", "it's 1024  waves!\n\n x", ["it", "'s", " 1024", " ", " waves", "!", "\n\n", " x"]),
        ("smollm", "a 1024", ["a", " ", "1", "0", "2", "4"]),
        ("llama-bpe", "IT'S 1024567 x.\n\n\ty", ["IT", "'S", " ", "102", "456", "7", " x", ".\n\n", "\ty"]),
        ("qwen2", "a 12 (b)\n", ["a", " ", "1", "2", " (", "b", ")\n"]),
        ("default", "a,b 1234", ["a", ",", "b", " ", "123", "4"]),
        ("falcon", "a`b 1234", ["a", "`", "b", " ", "123", "4"]),
        ("deepseek-coder", "a, 12\r\n\u4e16\u754cb", ["a", ",", " ", "1", "2", "\r", "\n", "\u4e16\u754c", "b"]),
    ],
)
def test_texts_are_cut_as_the_file_says(pre, text, parts):
    """Before bytes are joined, which never goes across a cut."""
    importorskip("tokenizers")
    tokenizer = from_gguf(gguf({"model": "gpt2", "pre": pre, "tokens": [*BYTE_OF_LETTER], "merges": []}), 256)
    cut = tokenizer._inner.pre_tokenizer.pre_tokenize_str(text)
    assert [bytes_of_letters(part).decode() for part, _ in cut] == parts
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_part_may_be_a_token_without_merges():
    tokens = [*BYTE_OF_LETTER, "wave"]
    for pre, count in (("llama-bpe", 1), ("dbrx", 4), ("gpt-2", 4)):
        importorskip("tokenizers")
        tokenizer = from_gguf(gguf({"model": "gpt2", "pre": pre, "tokens": tokens, "merges": []}), 300)
        assert len(tokenizer.encode("wave")) == count


# -------------------------------------------------------------------------------------------------------------- folders


def test_what_the_settings_say(tmp_path):
    importorskip("tokenizers")
    write_folder(tmp_path, tokenizer_DOT_json=train_letters())
    bare = read_folder(tmp_path, 600)
    assert (bare.bos, bare.start, bare.eos, bare.stop) == (None, None, None, frozenset())
    assert bare.vocab_size == 600
    write_folder(tmp_path, config_DOT_json={"bos_token_id": 0, "eos_token_id": [1, 7]})
    numbers = read_folder(tmp_path, 600)
    assert (numbers.start, numbers.eos, numbers.stop) == (0, 1, {1, 7})
    write_folder(tmp_path, generation_config_DOT_json={"eos_token_id": 9})
    assert read_folder(tmp_path, 600).stop == {1, 9}, "a second file counts where the first says nothing"
    turn = {"bos_token": None, "eos_token": {"content": "<|turn|>"}, "add_bos_token": True}
    write_folder(tmp_path, tokenizer_config_DOT_json=turn)
    named = read_folder(tmp_path, 600)
    assert (named.bos, named.eos) == (0, 450)
    assert named.stop == {9, 450}
    write_folder(tmp_path, tokenizer_config_DOT_json=turn | {"add_bos_token": False})
    assert read_folder(tmp_path, 600).bos is None


def test_bos_is_added_where_the_file_itself_adds_it(tmp_path):
    tokenizers = importorskip("tokenizers")
    inner = tokenizers.Tokenizer.from_str(train_letters())
    write_folder(tmp_path, tokenizer_DOT_json=inner.to_str(), tokenizer_config_DOT_json=LETTER_NAMES)
    assert read_folder(tmp_path, 452).bos is None
    inner.post_processor = tokenizers.processors.TemplateProcessing("<|begin|> $A", None, [("<|begin|>", 0)])
    write_folder(tmp_path, tokenizer_DOT_json=inner.to_str())
    tokenizer = read_folder(tmp_path, 452)
    assert tokenizer.encode("a")[0] == tokenizer.bos == 0
    assert tokenizer.encode("a").count(0) == 1
    assert 0 not in tokenizer.encode_special("a")


def test_texts_are_neither_cut_off_nor_filled_up(tmp_path):
    """Files may hold what was set when they were trained."""
    inner = importorskip("tokenizers").Tokenizer.from_str(train_letters())
    inner.enable_truncation(3)
    inner.enable_padding(length=8)
    write_folder(tmp_path, tokenizer_DOT_json=inner.to_str())
    tokenizer = read_folder(tmp_path, 452)
    for text in ("a", CORPUS):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.encode_special(text) == tokenizer.encode(text)
    assert len(tokenizer.encode("a")) == 1


def test_tokens_behind_a_tokenizer_model(tmp_path):
    """Special ones and others, which are found in any text."""
    added = {"420": {"content": "<|im_end|>", "special": True}, "421": {"content": "[tool]", "special": False}}
    added["5"] = {"content": "is there already"}
    settings = NAMES | {"eos_token": "<|im_end|>", "added_tokens_decoder": added}
    write_folder(tmp_path, tokenizer_DOT_model=train_pieces(), tokenizer_config_DOT_json=settings)
    tokenizer = read_folder(tmp_path, 422)
    assert (tokenizer.eos, tokenizer.stop) == (420, {420})
    ids = tokenizer.encode("a[tool]<|im_end|>")
    assert 421 in ids
    assert 420 not in ids
    assert tokenizer.decode(ids) == "a[tool]<|im_end|>"
    assert tokenizer.encode_special("a<|im_end|>")[-1] == 420
    with pytest.raises(llama2_ref.TokenizerError, match="at most the model's 421 tokens"):
        read_folder(tmp_path, 421)


def test_legacy_decides_on_spaces_behind_special_tokens(tmp_path):
    """transformers' word for it: older models have seen one there, newer ones have not."""
    write_folder(tmp_path, tokenizer_DOT_model=train_pieces(), tokenizer_config_DOT_json=NAMES)
    legacy = read_folder(tmp_path, 420)
    write_folder(tmp_path, tokenizer_config_DOT_json=NAMES | {"legacy": False})
    newer = read_folder(tmp_path, 420)
    for text in ("wave", "\nwave", " wave"):
        plain = legacy.encode(text, bos=False)
        assert legacy.encode_special(f"<s>{text}</s>{text}") == [1, *plain, 2, *plain]
        bare = newer.encode_special(f"<s>{text}")[1:]
        assert bare != plain
        assert b"".join(map(newer._bytes, bare)).decode() == text
        assert newer.encode_special(text) == plain


def test_tokenizer_json_is_preferred_where_it_can_be_read(tmp_path, monkeypatch):
    importorskip("tokenizers")
    importorskip("sentencepiece")
    write_folder(tmp_path, tokenizer_DOT_json=train_letters(), tokenizer_DOT_model=train_pieces())
    absent = set()
    monkeypatch.setattr(_tokenizers, "find_spec", lambda name: None if name in absent else "there")
    assert type(read_folder(tmp_path, 520)).__name__ == "HuggingFaceTokenizer"
    absent.add("tokenizers")
    assert type(read_folder(tmp_path, 520)).__name__ == "SentencePieceTokenizer"
    absent.add("sentencepiece")
    with pytest.raises(llama2_ref.MissingExtraError, match=r"the tokenizers or sentencepiece package: .*\[models\]'"):
        read_folder(tmp_path, 520)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(llama2_ref.MissingExtraError, match=r"the sentencepiece package: .*\[models\]"):
        read_folder(tmp_path, 520)


@pytest.mark.parametrize("metadata", [gguf({"model": "gpt2", "tokens": ["a", "b", "c"], "merges": []})])
def test_gguf_of_gpt2_s_kind_needs_the_extra(monkeypatch, metadata):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(llama2_ref.MissingExtraError, match=r"the tokenizers package: .*\[models\]"):
        from_gguf(metadata, 3)


def test_llama2_c_s_file_serves_a_folder_too(tmp_path):
    from support.models import vocabulary, write_tokenizer

    write_tokenizer(tmp_path / "tokenizer.bin", *vocabulary(300))
    assert read_folder(tmp_path, 300).encode("ab") == llama2_ref.Tokenizer(*vocabulary(300)).encode("ab")
    assert read_path(tmp_path / "tokenizer.bin", None).vocab_size == 300


def damaged_folders():
    """name -> files, and what is said of them."""
    good = train_letters
    state = json.loads
    return {
        "nothing": ({}, "must hold its tokenizer"),
        "no JSON": ({"tokenizer_DOT_json": "{"}, "tokenizer.json: must be a tokenizer as"),
        "no text": ({"tokenizer_DOT_json": b"\xff\xfe"}, "not even UTF-8"),
        "empty": ({"tokenizer_DOT_json": ""}, "tokenizer.json: must be a tokenizer as"),
        "a list": ({"tokenizer_DOT_json": []}, "tokenizer.json: must be a tokenizer as"),
        "a deep list": ({"tokenizer_DOT_json": "[" * 100_000}, "tokenizer.json: must be a tokenizer as"),
        "another model": (
            {"tokenizer_DOT_json": {"version": "1.0", "model": {"type": "Neural"}}},
            "tokenizer.json: must be a tokenizer as",
        ),
        "merges of nothing": (
            {
                "tokenizer_DOT_json": lambda: (
                    state(good()) | {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}
                )
            },
            "tokenizer.json: must be a tokenizer as",
        ),
        "words": (
            {
                "tokenizer_DOT_json": lambda: (
                    state(good()) | {"decoder": {"type": "WordPiece", "prefix": "#", "cleanup": True}}
                )
            },
            "its decoder must be",
        ),
        "no decoder": ({"tokenizer_DOT_json": lambda: state(good()) | {"decoder": None}}, "its decoder must be"),
        "a token outside": (
            {"tokenizer_DOT_json": good, "generation_config_DOT_json": {"eos_token_id": [1, 600]}},
            r"generation_config.json: eos_token_id must be token ids in 0..519 \(got 600\)",
        ),
        "a token of text": (
            {"tokenizer_DOT_json": good, "config_DOT_json": {"eos_token_id": "1"}},
            "eos_token_id must be",
        ),
        "a token of truth": (
            {"tokenizer_DOT_json": good, "config_DOT_json": {"bos_token_id": True}},
            "bos_token_id must",
        ),
        "an unknown name": (
            {"tokenizer_DOT_json": good, "tokenizer_config_DOT_json": {"bos_token": "<nobody>"}},
            "bos_token must be in the vocabulary",
        ),
        "no settings": (
            {"tokenizer_DOT_json": good, "tokenizer_config_DOT_json": "nothing"},
            "tokenizer_config.json: must be JSON",
        ),
        "deep settings": (
            {"tokenizer_DOT_json": good, "tokenizer_config_DOT_json": "[" * 100_000},
            "tokenizer_config.json: must be JSON",
        ),
        "settings that are a number": ({"tokenizer_DOT_json": good, "config_DOT_json": 3}, "must be a JSON object"),
        "garbage": ({"tokenizer_DOT_model": b"\x0a\xff garbage"}, "tokenizer.model: must be a model as"),
        "an empty model": ({"tokenizer_DOT_model": b""}, "tokenizer.model: must be a model as"),
        "half a model": ({"tokenizer_DOT_model": lambda: train_pieces()[:-100]}, "tokenizer.model: must be a model as"),
        "tiktoken": ({"tokenizer_DOT_model": b"IQ== 0\nIg== 1\n"}, "this is tiktoken's"),
        "added tokens of another kind": (
            {"tokenizer_DOT_model": train_pieces, "tokenizer_config_DOT_json": {"added_tokens_decoder": {"x": {}}}},
            "must map token ids",
        ),
        "added tokens that are a list": (
            {"tokenizer_DOT_model": train_pieces, "tokenizer_config_DOT_json": {"added_tokens_decoder": []}},
            "must map token ids",
        ),
    }


@pytest.mark.parametrize("name", damaged_folders())
def test_damaged_folders_are_refused_in_one_line(tmp_path, name):
    files, says = damaged_folders()[name]
    importorskip("tokenizers"), importorskip("sentencepiece")
    write_folder(tmp_path, **{file: content() if callable(content) else content for file, content in files.items()})
    with pytest.raises(llama2_ref.TokenizerError, match=says) as caught:
        read_folder(tmp_path, 520)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value)) < 500


def test_a_vocabulary_must_fit_the_model(tmp_path):
    importorskip("tokenizers")
    write_folder(tmp_path, tokenizer_DOT_json=train_letters())
    assert read_folder(tmp_path, 452).vocab_size == 452
    with pytest.raises(llama2_ref.TokenizerError, match=r"at most the model's 451 tokens \(got 452\)"):
        read_folder(tmp_path, 451)


def test_huge_files_are_refused_unread(tmp_path, monkeypatch):
    with open(tmp_path / "tokenizer.json", "wb") as file:
        file.truncate(2**40)
    importorskip("tokenizers")
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(llama2_ref.TokenizerError, match=r"tokenizer.json: must be at most 134,217,728 bytes long"):
        read_folder(tmp_path, 520)


@given(cut=st.integers(0, 10**6), flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3))
def test_damaged_models_are_refused_or_bear_use(tmp_path_factory, cut, flips):
    """Any bytes changed in either file: TokenizerError in one line, or a tokenizer."""
    importorskip("tokenizers"), importorskip("sentencepiece")
    for name, whole in (("tokenizer.json", train_letters().encode()), ("tokenizer.model", train_pieces())):
        data = bytearray(whole)
        for where, byte in flips:
            data[where % len(data)] = byte
        if cut % 4 == 0:
            del data[cut % len(data) :]
        folder = tmp_path_factory.mktemp("folder")
        (folder / name).write_bytes(data)
        try:
            tokenizer = read_folder(folder, 520)
            assert isinstance(tokenizer.decode(tokenizer.encode("a wave")), str)
        except llama2_ref.TokenizerError as error:
            assert len(str(error).splitlines()) == 1


# ----------------------------------------------------------------------------------------------------------------- GGUF


def test_ids_of_a_gguf_file(llama2):
    metadata = gguf_of_pieces(train_pieces(), bos_token_id=2, eos_token_id=1, eot_token_id=300, eom_token_id=301)
    tokenizer = from_gguf(metadata, 430, llama2.Tokenizer)
    assert isinstance(tokenizer, llama2.Tokenizer)
    assert (tokenizer.bos, tokenizer.eos, tokenizer.stop, tokenizer.vocab_size) == (2, 1, {1, 300, 301}, 430)
    assert tokenizer.decode([2, *tokenizer.encode("a wave", bos=False), 429, 300]) == "a wave"
    silent = from_gguf(gguf_of_pieces(train_pieces(), add_bos_token=False), 420, llama2.Tokenizer)
    assert (silent.bos, silent.start) == (None, 1)
    assert silent.decode(silent.encode("a wave")) == "a wave"
    bare = from_gguf(gguf_of_pieces(train_pieces(), add_space_prefix=False), 420, llama2.Tokenizer)
    assert bare.encode(" a wave") == [1, *silent.encode("a wave")]
    assert bare.decode(bare.encode(" a wave")) == " a wave"


def test_kinds_of_tokens_may_be_left_out():
    """Then names tell which are bytes, and the ids of BOS, EOS and unknown are the usual ones."""
    full = from_gguf(gguf_of_pieces(train_pieces(user_defined_symbols="")), 420)
    given = gguf_of_pieces(
        train_pieces(user_defined_symbols=""),
        token_type=None,
        bos_token_id=None,
        eos_token_id=None,
        unknown_token_id=None,
    )
    short = from_gguf(given, 420)
    assert (short.bos, short.eos, short.stop) == (1, 2, {2})
    assert short.encode(CORPUS) == full.encode(CORPUS)
    assert short.decode(full.encode(CORPUS)) == CORPUS


def test_control_tokens_by_name_end_a_text():
    """Llama 3's first files say only that 128001 does."""
    tokens = [*BYTE_OF_LETTER, "<|end_of_text|>", "<|eot_id|>", "<|begin_of_text|>", "<|im_end|>"]
    importorskip("tokenizers")
    metadata = {"model": "gpt2", "pre": "llama-bpe", "tokens": tokens, "merges": [], "eos_token_id": 256}
    kinds = {"token_type": [1] * 256 + [3, 3, 3, 1], "bos_token_id": 258}
    tokenizer = from_gguf(gguf(metadata | kinds), 300)
    assert tokenizer.stop == {256, 257}
    assert tokenizer.encode("a")[0] == tokenizer.bos == 258
    assert from_gguf(gguf(metadata | kinds | {"add_bos_token": False}), 300).bos is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": None}, "model must be llama or gpt2 (got None)"),
        ({"model": "bert"}, "got 'bert'"),
        ({"tokens": None}, "tokens must be an array of texts (got nothing)"),
        ({"tokens": "abc"}, "tokens must be an array of texts (got str)"),
        ({"tokens": ["a", "b"]}, "must be 3 to 420"),
        ({"tokens": ["a"] * 421}, "must be 3 to 420, the model's (got 421)"),
        ({"tokens": ["a", b"b", "c"]}, "element 1 is b'b'"),
        ({"scores": None}, "scores must be an array of numbers (got nothing)"),
        ({"scores": [0.0]}, "scores must have an element for each of the 420 tokens (got 1)"),
        ({"scores": ["a"] * 420}, "element 0 is 'a'"),
        ({"scores": [float("nan")] * 420}, "scores must be finite"),
        ({"token_type": [1.5] * 420}, "token_type must be an array of numbers (element 0 is 1.5)"),
        ({"token_type": [1]}, "must have an element for each of the 420"),
        ({"token_type": [6] * 420}, "a byte's token must be <0x00> to <0xFF> (token 0 is '<unk>')"),
        ({"bos_token_id": 420}, "bos_token_id must be in 0..419 (got 420)"),
        ({"eos_token_id": -1}, "eos_token_id must be in 0..419 (got -1)"),
        ({"eot_token_id": "x"}, "eot_token_id must be in"),
        ({"unknown_token_id": True}, "unknown_token_id must be in"),
        ({"add_bos_token": 1}, "add_bos_token must be true or false (got 1)"),
        ({"add_space_prefix": "yes"}, "add_space_prefix must be true or false"),
    ],
)
def test_damaged_metadata_of_pieces(llama2, changes, says):
    with pytest.raises(llama2_ref.TokenizerError) as caught:
        from_gguf(gguf_of_pieces(train_pieces(), **changes), 420, llama2.Tokenizer)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pre": "nonsense"}, "pre must be one of codeshell, "),
        ({"pre": 3}, "(got 3)"),
        ({"merges": None}, "merges must be an array of texts (got nothing)"),
        ({"merges": ["ab"]}, "whose join is a token, with a space between them (merge 0 is 'ab')"),
        ({"merges": ["nobody knows"]}, "merge 0 is 'nobody knows'"),
        ({"merges": ["<|begin|> <|end|>"]}, "merge 0 is"),
        ({"merges": [3]}, "element 0 is 3"),
        ({"bos_token_id": 1000}, "bos_token_id must be in 0..451 (got 1000)"),
    ],
)
def test_damaged_metadata_of_letters(changes, says):
    with pytest.raises(llama2_ref.TokenizerError) as caught:
        from_gguf(gguf_of_letters(**changes), 520)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# ------------------------------------------------------------------------------------------------------------ templates


def test_templates_of_folders(tmp_path):
    assert folder_template(tmp_path) is None
    settings = {"chat_template": "one"}
    write_folder(tmp_path, tokenizer_config_DOT_json=settings)
    assert folder_template(tmp_path) == "one"
    several = [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "three"}]
    write_folder(tmp_path, tokenizer_config_DOT_json={"chat_template": several})
    assert folder_template(tmp_path) == "three"
    write_folder(tmp_path, tokenizer_config_DOT_json={"chat_template": several[:1]})
    assert folder_template(tmp_path) is None
    for bad in (3, {"default": "x"}, [{"name": "default", "template": 3}]):
        write_folder(tmp_path, tokenizer_config_DOT_json={"chat_template": bad})
        with pytest.raises(llama2_ref.TokenizerError, match=r"tokenizer_config.json: chat_template must be"):
            folder_template(tmp_path)
    write_folder(tmp_path, chat_template_DOT_jinja="four\n")
    assert folder_template(tmp_path) == "four\n"
    write_folder(tmp_path, chat_template_DOT_jinja=b"\xff")
    with pytest.raises(llama2_ref.TokenizerError, match="must be UTF-8"):
        folder_template(tmp_path)
