"""Tokenizers of other packages, with the attributes and methods of llama2_ref.tokenizer.Tokenizer.

Each turns a token into bytes by itself, rather than by its package, so that a text can be shown while it is made: what
a package does with a whole list of tokens, it can't do with the first half of one.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from ..errors import TokenizerError
from ..support.extras import import_extra
from ..tokenizer import SpecialTokens, any_of, check_token, check_unicode, join_bytes, split_at

SPACE = "\u2581"  # SentencePiece's name for it
BYTE_NAME = re.compile("<0x([0-9A-Fa-f]{2})>")


def known_ids(*tokens: int | None) -> frozenset[int]:
    """The tokens that are not None."""
    return frozenset(token for token in tokens if token is not None)


class ExternalTokenizer:
    """A vocabulary whose text is cut by `_encode`.

    `names[i]` is how token i is written; tokens up to `vocab_size` that have no name are no text.
    """

    def __init__(self, names: Mapping[int, str], special_tokens: SpecialTokens, vocab_size: int) -> None:
        self._names, self.special_tokens, self.vocab_size = names, special_tokens, vocab_size
        self.bos, self.start = (special_tokens.bos if special_tokens.adds_bos else None), special_tokens.bos
        self.eos, self.stop = special_tokens.eos, special_tokens.stop
        self.special = {names[token]: token for token in sorted(special_tokens.control) if names.get(token)}
        self._user_defined = {names[token]: token for token in sorted(special_tokens.user_defined) if names.get(token)}
        self._special_names, self._user_names = any_of(self.special), any_of(self._user_defined)

    def _encode(self, text: str) -> list[int]:
        """Token ids of a text that is not empty and in which nothing is special."""
        raise NotImplementedError

    def _bytes(self, token: int) -> bytes:
        """What a token adds to a text."""
        raise NotImplementedError

    def encode(self, text: str, bos: bool = True, eos: bool = False) -> list[int]:
        """As Tokenizer.encode: names of special tokens are text like any other."""
        check_unicode(text)
        begin = [self.bos] if bos and self.bos is not None else []
        return begin + self._encode_plain(text) + ([self.eos] if eos and self.eos is not None else [])

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in split_at(text, self._user_names):
            ids += [self._user_defined[part]] if part in self._user_defined else self._encode(part)
        return ids

    def encode_special(self, text: str) -> list[int]:
        """As Tokenizer.encode_special: names of special tokens are those tokens."""
        check_unicode(text)
        ids: list[int] = []
        for part in split_at(text, self._special_names):
            ids += [self.special[part]] if part in self.special else self._encode_plain(part)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """As Tokenizer.decode."""
        return "".join(self.pieces(tokens))

    def pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """As Tokenizer.pieces."""
        return join_bytes(tokens, self._bytes_in_vocabulary, self.special_tokens)

    def _bytes_in_vocabulary(self, token: int) -> bytes:
        check_token(token, self.vocab_size)
        return b"" if token in self.special_tokens.control or token not in self._names else self._bytes(token)

    def token_text(self, token: int) -> str:
        """As Tokenizer.token_text: names of special tokens, texts of others, with escapes where they are none."""
        check_token(token, self.vocab_size)
        if token in self.special_tokens.control or token not in self._names:
            return self._names.get(token, "")
        return self._bytes(token).decode(errors="backslashreplace")

    def min_tokens(self, text: str) -> int:
        """As Tokenizer.min_tokens. Nothing is known: a normalizer may make a text shorter."""
        return 0


class ByteLevelBPE(ExternalTokenizer):
    """GPT-2's kind: texts are cut by regular expressions, and bytes, each written as a letter, are joined by rank."""

    def __init__(
        self,
        names: Mapping[int, str],
        merges: Sequence[tuple[str, str]],
        patterns: Sequence[str],
        whole: bool,
        special_tokens: SpecialTokens,
        vocab_size: int,
    ) -> None:
        """`merges` by rank; `patterns` cut a text, one after the other; `whole`: a part may be a token without merges.

        Raises MissingExtraError without the tokenizers package.
        """
        super().__init__(names, special_tokens, vocab_size)
        apart = special_tokens.control | special_tokens.user_defined
        vocabulary = {names[token]: token for token in sorted(names.keys() - apart, reverse=True)}
        self._inner = _byte_pair_encoding(vocabulary, list(merges), patterns, whole)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def _bytes(self, token: int) -> bytes:
        name = self._names[token]
        return name.encode() if token in self.special_tokens.user_defined else bytes_of_letters(name)


def _byte_pair_encoding(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], patterns: Sequence[str], whole: bool
) -> Any:
    tokenizers = import_extra("tokenizers", "this model's tokenizer")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges, ignore_merges=whole))
    split, pre = tokenizers.pre_tokenizers, tokenizers.Regex
    cuts = [split.Split(pre(pattern), behavior="isolated") for pattern in patterns]
    inner.pre_tokenizer = split.Sequence([*cuts, split.ByteLevel(add_prefix_space=False, use_regex=False)])
    return inner


class HuggingFaceTokenizer(ExternalTokenizer):
    """A tokenizer.json, cut by the tokenizers package."""

    def __init__(self, inner: Any, special_tokens: SpecialTokens, vocab_size: int) -> None:
        """`inner` is a tokenizers.Tokenizer. Raises TokenizerError if its tokens can't be told as bytes."""
        names = {token: name for name, token in inner.get_vocab(with_added_tokens=True).items()}
        super().__init__(names, special_tokens, vocab_size)
        self._inner, self._letters = inner, decoder_kind(inner)[0] == "letters"
        self._added = {token: added.content for token, added in inner.get_added_tokens_decoder().items()}
        self._lock = Lock()  # encode_special_tokens is set on inner before each call: one call at a time

    def _encode_inner(self, text: str, special: bool) -> list[int]:
        check_unicode(text)
        with self._lock:
            self._inner.encode_special_tokens = not special
            ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        return self._encode_inner(text, special=False)

    def encode_special(self, text: str) -> list[int]:
        """As Tokenizer.encode_special."""
        return self._encode_inner(text, special=True)

    def _bytes(self, token: int) -> bytes:
        if not self._letters:
            return bytes_of_piece(self._names[token])
        return self._added[token].encode() if token in self._added else bytes_of_letters(self._names[token])


class SentencePieceTokenizer(ExternalTokenizer):
    """A tokenizer.model, cut by the sentencepiece package, with more tokens behind it."""

    def __init__(
        self, processor: Any, added: Mapping[int, str], once: bool, special_tokens: SpecialTokens, vocab_size: int
    ) -> None:
        """`processor` is a SentencePieceProcessor, `added` are names of tokens that it has not.

        `once`: a rendered chat has one leading space, not one behind each special token.
        """
        names = {token: processor.id_to_piece(token) for token in range(processor.get_piece_size())}
        super().__init__(names | dict(added), special_tokens, vocab_size)
        self._processor, self._added, self._once = processor, added, once

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return ids

    def _encode_plain(self, text: str, bare: bool = False) -> list[int]:
        """`bare`: without a leading space. What follows a user-defined token has none anyway."""
        ids: list[int] = []
        for i, part in enumerate(split_at(text, self._user_names)):
            if part in self._user_defined:
                ids.append(self._user_defined[part])
            else:
                ids += self._encode_bare(part) if i or bare else self._encode(part)
        return ids

    def encode_special(self, text: str) -> list[int]:
        """As Tokenizer.encode_special."""
        check_unicode(text)
        ids: list[int] = []
        for i, part in enumerate(split_at(text, self._special_names)):
            ids += [self.special[part]] if part in self.special else self._encode_plain(part, bare=self._once and i > 0)
        return ids

    def _encode_bare(self, text: str) -> list[int]:
        """Without the space that begins a text: behind a line end, whose token hardly ever joins what follows."""
        begin, ids = self._encode("\n"), self._encode("\n" + text)
        return ids[len(begin) :] if ids[: len(begin)] == begin else self._encode(text)

    def _bytes(self, token: int) -> bytes:
        return self._added[token].encode() if token in self._added else bytes_of_piece(self._names[token])


# ------------------------------------------------------------------------------------------------------------- spelling


def _letters() -> dict[str, int]:
    """GPT-2's letter for each byte: the byte's own in Latin-1 where it is printed, else one of those from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


BYTE_OF_LETTER = _letters()


def bytes_of_letters(name: str) -> bytes:
    """The bytes of a token whose letters stand for bytes; its UTF-8 where one does not."""
    if all(letter in BYTE_OF_LETTER for letter in name):
        return bytes(BYTE_OF_LETTER[letter] for letter in name)
    return name.encode()


def bytes_of_piece(name: str) -> bytes:
    """The bytes of one of SentencePiece's tokens."""
    byte = byte_of_name(name)
    return name.replace(SPACE, " ").encode() if byte is None else bytes([byte])


def byte_of_name(name: str) -> int | None:
    """The byte that a token such as <0x0A> stands for, None for another token."""
    match = BYTE_NAME.fullmatch(name)
    return int(match[1], 16) if match else None


def decoder_kind(inner: Any) -> tuple[str, bool]:
    """How a tokenizers.Tokenizer spells: "letters" (GPT-2) or "pieces" (SentencePiece); is a leading space no text?

    Raises TokenizerError for other decoders.
    """
    state = json.loads(inner.decoder.__getstate__()) if inner.decoder is not None else {"type": "none"}
    steps = {step["type"]: step for step in state.get("decoders", [state])}
    if "ByteLevel" in steps:
        return "letters", False
    if "Metaspace" in steps:
        return "pieces", steps["Metaspace"].get("prepend_scheme", "always") != "never"
    if "ByteFallback" in steps or "Replace" in steps:
        return "pieces", steps.get("Strip", {}).get("start", 0) > 0
    rule = "its decoder must be that of a byte-level or SentencePiece vocabulary"
    raise TokenizerError(f"{rule} (got {', '.join(steps)})")
