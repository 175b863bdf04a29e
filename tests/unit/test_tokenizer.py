"""What all tokenizers promise: the ids that begin and end a text, names of special tokens, pieces."""

import pytest

import llama2_ref
from llama2_ref.tokenizer import SpecialTokens
from support.models import vocabulary

TOKENS, SCORES = vocabulary(300)
A, SPACE = 260, 259


def test_files_of_llama2_c_begin_with_1_and_end_with_1_or_2(llama2):
    tokenizer = llama2.Tokenizer(TOKENS, SCORES)
    assert (tokenizer.bos, tokenizer.start, tokenizer.eos) == (1, 1, 2)
    assert tokenizer.stop == {1, 2}
    assert tokenizer.encode("a", eos=True) == [1, *tokenizer.encode("a", bos=False), 2]


def test_names_of_special_tokens_count_in_templates_only(llama2):
    """Without line ends, which llama2.c's files have around them."""
    tokenizer = llama2.Tokenizer(TOKENS, SCORES)
    assert tokenizer.special == {"<s>": 1, "</s>": 2}
    a, b = (tokenizer.encode(text, bos=False) for text in "ab")
    assert tokenizer.encode_special("<s>a</s><s>b") == [1, *a, 2, 1, *b]
    assert tokenizer.encode_special("") == []
    plain = tokenizer.encode("<s>a</s>", bos=False)
    assert not {1, 2} & set(plain)
    assert tokenizer.decode([1, *plain]) == "<s>a</s>"
    with pytest.raises(llama2.PromptError, match="surrogate"):
        tokenizer.encode_special("\ud800")


def test_other_files_have_other_ids(llama2):
    """BOS and EOS anywhere, or nowhere; bytes where the file says."""
    special_tokens = SpecialTokens(
        unknown=298, bos=297, eos=296, stop=frozenset({296, 295}), control=frozenset({295, 296, 297, 298})
    )
    tokenizer = llama2.Tokenizer(TOKENS, SCORES, special_tokens)
    ids = tokenizer.encode("a", eos=True)
    assert (ids[0], ids[-1], tokenizer.stop) == (297, 296, {295, 296})
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.decode([297, SPACE, A, 297, SPACE, A, SPACE, A]) == "aa a"
    bare = llama2.Tokenizer(TOKENS, SCORES, SpecialTokens(bos=None, eos=None, byte_of={5: 0xE9}, control=frozenset()))
    assert (bare.bos, bare.start, bare.special) == (None, None, {})
    assert bare.encode("\ue9a9", eos=True) == bare.encode("\ue9a9", bos=False)
    assert bare.encode("\xe9", bos=False)[-2:] == [0, 0], "no byte has a token but 0xE9, which UTF-8 has not alone here"
    assert bare.encode("\u9999", bos=False)[-3:] == [5, 0, 0]


def test_a_text_may_have_a_space_less(llama2):
    """With a leading space that comes and goes, with BOS that is not added, and without both."""
    silent = llama2.Tokenizer(TOKENS, SCORES, SpecialTokens(adds_bos=False, trims=True))
    assert (silent.bos, silent.start) == (None, 1)
    ids = silent.encode("a b")
    assert ids == silent.encode("a b", bos=False)
    assert silent.decode(ids) == silent.decode([1, *ids]) == silent.decode([2, *ids]) == "a b"
    assert silent.decode([SPACE, SPACE, A]) == " a"
    plain = llama2.Tokenizer(TOKENS, SCORES, SpecialTokens(space_prefix=False))
    assert plain.encode("ab") == [1, *silent.encode("ab")[1:]] or plain.decode(plain.encode("ab")) == "ab"
    assert plain.decode([1, SPACE, A]) == " a"


def test_user_defined_tokens_are_found_first_and_join_nothing(llama2):
    """The longest where several begin, in templates and plain texts, by either package."""
    tokens, scores = [*TOKENS, b"ab", b"abc", b"ca"], [*SCORES, 0.0, 0.0, 9.0]
    special_tokens = SpecialTokens(user_defined=frozenset({300, 301}), space_prefix=False)
    tokenizer = llama2.Tokenizer(tokens, scores, special_tokens)
    assert tokenizer.encode("cabcab", bos=False) == [A + 2, 301, 300]
    assert tokenizer.encode_special("ca</s>ab") == [302, 2, 300]
    assert tokenizer.decode([302, 301, 300]) == "caabcab"


def test_token_text_is_what_the_file_has(llama2):
    tokenizer = llama2.Tokenizer([*TOKENS, b"\xff"], [*SCORES, 0.0])
    assert [tokenizer.token_text(token) for token in (1, 3, A, 300)] == ["\n<s>\n", "<0x00>", "a", "\\xff"]
    for token in (-1, 301):
        with pytest.raises(llama2.TokenizerError, match=r"0\.\.300"):
            tokenizer.token_text(token)


def test_min_tokens_is_a_lower_bound(llama2):
    tokenizer = llama2.Tokenizer(TOKENS, SCORES)
    for text in ("", "a", "abcdef" * 20, "\u4e16" * 9):
        assert tokenizer.min_tokens(text) <= len(tokenizer.encode(text, bos=False))
    assert tokenizer.min_tokens("a" * 600) == 100


def test_an_empty_prompt_needs_a_token_to_begin_with(llama2, tmp_path):
    from support.models import write_model

    write_model(tmp_path, llama2.Config(8, 12, 1, 2, 1, 300, 16))
    transformer = llama2.load(tmp_path / "model.bin").transformer
    begins = llama2.Model(llama2.Tokenizer(TOKENS, SCORES, SpecialTokens(adds_bos=False)), transformer)
    assert begins.generate("", steps=2).tokens == [1]
    without = llama2.Model(llama2.Tokenizer(TOKENS, SCORES, SpecialTokens(bos=None)), transformer)
    with pytest.raises(llama2.PromptError, match="no token that begins"):
        without.generate("")
    assert without.generate("ab", steps=6).tokens == without.tokenizer.encode("ab", bos=False)


def test_stop_tokens_are_the_tokenizer_s(llama2, tmp_path):
    """BOS ends no text where the file does not say so."""
    from support.models import write_model

    write_model(tmp_path, llama2.Config(8, 12, 1, 2, 1, 300, 16))
    transformer = llama2.load(tmp_path / "model.bin").transformer
    transformer.forward = lambda tokens, cache: setattr(cache, "length", cache.length + len(tokens)) or next(script)
    special_tokens = SpecialTokens(stop=frozenset({299}), control=frozenset({1, 2, 299}))
    model = llama2.Model(llama2.Tokenizer(TOKENS, SCORES, special_tokens), transformer)
    script = iter([[float(i == token) for i in range(300)] for token in (1, 2, A, 299)])
    stream = model.generate("b", temperature=0)
    assert "".join(stream) == "ba"
    assert stream.tokens[stream.prompt_length :] == [1, 2, A]


def test_the_reference_is_what_both_packages_extend():
    import llama2_fast

    assert issubclass(llama2_fast.Tokenizer, llama2_ref.Tokenizer)
