"""Text to token ids and back: byte-fallback BPE over llama2.c's tokenizer.bin.

A file is the length of the longest token, then a score, a length and the bytes of each token (uint32; float32, int32,
bytes; little-endian). Ids 0, 1, 2 are unknown, begin (BOS) and end (EOS). Ids 3 to 258 stand for single bytes, stored
as the text `<0x41>` (newer files) or as the character itself (older ones), which makes some look like ordinary tokens.
"""

import os
import re
import struct
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, Self

from .errors import PromptError, TokenizerError

UNK, BOS, EOS = 0, 1, 2
FIRST_BYTE = 3


@dataclass(frozen=True)
class SpecialTokens:
    """Which tokens are no plain text, and what they are for. The defaults are those of llama2.c's files."""

    unknown: int = UNK  # what stands for a byte that no token has
    bos: int | None = BOS
    eos: int | None = EOS
    stop: frozenset[int] = frozenset({BOS, EOS})  # what ends a text
    control: frozenset[int] = frozenset({BOS, EOS})  # what is no text
    byte_of: Mapping[int, int] | None = None  # token -> the byte that it stands for; None: the tokens themselves tell
    user_defined: frozenset[int] = frozenset()  # what is found in a text before anything is joined, and joins nothing
    adds_bos: bool = True  # does a text begin with BOS?
    space_prefix: bool = True  # does a text get a leading space, which it loses again when it is decoded?
    trims: bool = False  # does it lose it without BOS in front, too?


class Tokenizer:
    """A vocabulary, and the rule that cuts a text into its tokens.

    `tokens[i]` are the bytes of token i and `scores[i]` its rank in merging; `special_tokens` are those of llama2.c's
    files where none are given. Raises TokenizerError if there are not as many scores as tokens, fewer than three
    tokens, or a score that is not finite.

    Tokenizers of other files have the same attributes and methods: `bos`, the token that `encode` puts in front (None:
    there is none), `start`, that from which a text without a prompt begins, `eos`, `stop`, the tokens that end a text,
    `special`, the tokens that are no text, by their names, and all that is public below.
    """

    def __init__(
        self, tokens: Sequence[bytes], scores: Sequence[float], special_tokens: SpecialTokens | None = None
    ) -> None:
        if len(tokens) != len(scores) or len(tokens) <= EOS:
            got = f"{len(tokens)} tokens, {len(scores)} scores"
            raise TokenizerError(f"a vocabulary needs unknown, BOS and EOS, and a score for each token (got {got})")
        for i, score in enumerate(scores):
            if not isfinite(score):
                raise TokenizerError(f"scores must be finite (token {i} has {score})")
        self.tokens, self.scores = list(tokens), list(scores)
        self.special_tokens = special_tokens = SpecialTokens() if special_tokens is None else special_tokens
        self.bos, self.start = (special_tokens.bos if special_tokens.adds_bos else None), special_tokens.bos
        self.eos, self.stop = special_tokens.eos, special_tokens.stop
        self.special = {
            self.token_text(token).strip(): token for token in sorted(special_tokens.control) if self.tokens[token]
        }
        self.byte_of = dict(_byte_tokens(self.tokens) if special_tokens.byte_of is None else special_tokens.byte_of)
        self._token_of_byte = {byte: token for token, byte in self.byte_of.items()}
        # These join nothing.
        self._apart = {special_tokens.unknown, *special_tokens.control, *special_tokens.user_defined, *self.byte_of}
        # Of equal tokens the first is used. Special tokens and bytes are never found by their text.
        self._ids = {t: i for i, t in reversed(list(enumerate(self.tokens))) if i not in self._apart}

    @classmethod
    def read(cls, path: str | os.PathLike[str], vocab_size: int | None = None) -> Self:
        """The tokenizer in a tokenizer.bin file. `vocab_size` is that of the checkpoint, None for any.

        Raises TokenizerError if the file is missing or damaged, is of the oldest layout, which has no scores, or holds
        another number of tokens than `vocab_size`.
        """
        try:
            if Path(path).exists() and not Path(path).is_file():  # a pipe, say, which would block whoever opens it
                raise TokenizerError("is not a regular file")
            with open(path, "rb") as file:
                return cls(*_parse(_mapped(file), vocab_size))
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise TokenizerError(f"{path}: a tokenizer must be a readable file ({reason})") from None

    @property
    def vocab_size(self) -> int:
        """V: number of tokens."""
        return len(self.tokens)

    def encode(self, text: str, bos: bool = True, eos: bool = False) -> list[int]:
        """Token ids of a text, with BOS in front and EOS behind as wanted.

        A text that is not empty gets one leading space. Each character becomes its token, or the tokens of its UTF-8
        bytes (or unknown, where a vocabulary has no byte tokens). Then the two neighbours whose joined token has the
        highest score are joined, the leftmost on ties, until none are left (Sennrich, Haddow and Birch,
        arXiv:1508.07909; Kudo and Richardson, arXiv:1808.06226).

        Raises PromptError if the text holds a lone surrogate, which no UTF-8 can encode.
        """
        check_unicode(text)
        begin = [self.bos] if bos and self.bos is not None else []
        return begin + self._encode_all(text) + ([self.eos] if eos and self.eos is not None else [])

    def encode_special(self, text: str) -> list[int]:
        """Token ids of a text in which the name of a special token means that token: what a chat template makes.

        Nothing is put in front or behind: a template says itself where BOS and EOS are. What stands between two special
        tokens is encoded as a text of its own. Raises what `encode` raises.
        """
        check_unicode(text)
        ids: list[int] = []
        for part in split_at(text, self._special_names):
            ids += [self.special[part]] if part in self.special else self._encode_all(part)
        return ids

    @cached_property
    def _special_names(self) -> "re.Pattern[str] | None":
        return any_of(self.special)

    @cached_property
    def _user_defined(self) -> "re.Pattern[str] | None":
        return any_of(self.token_text(token) for token in self.special_tokens.user_defined)

    @cached_property
    def _user_defined_ids(self) -> dict[str, int]:
        return {self.token_text(token): token for token in sorted(self.special_tokens.user_defined, reverse=True)}

    def _encode_all(self, text: str) -> list[int]:
        """Token ids of a text: user-defined tokens first, then what is between them."""
        if not text:
            return []
        text = " " + text if self.special_tokens.space_prefix else text
        if self._user_defined is None:
            return self._encode(text)
        ids: list[int] = []
        for part in split_at(text, self._user_defined):
            ids += [self._user_defined_ids[part]] if part in self._user_defined_ids else self._encode(part)
        return ids

    def _encode(self, text: str) -> list[int]:
        return self._merge(self._characters(text))

    def _characters(self, text: str) -> list[int]:
        """One token for each character, or one for each of its bytes."""
        ids: list[int] = []
        for character in text:
            encoded = character.encode()
            if encoded in self._ids:
                ids.append(self._ids[encoded])
            else:
                ids += [self._token_of_byte.get(byte, self.special_tokens.unknown) for byte in encoded]
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """Join the best pair of neighbours again and again. The cost grows with the square of the length."""
        while True:
            best = None
            for i in range(len(ids) - 1):
                joined = self._joined(ids[i], ids[i + 1])
                if joined is not None and (best is None or self.scores[joined] > self.scores[best[1]]):
                    best = i, joined
            if best is None:
                return ids
            ids[best[0] : best[0] + 2] = [best[1]]

    def _joined(self, left: int, right: int) -> int | None:
        """The token whose text is that of two others, if there is one. Bytes and special tokens don't join."""
        if left in self._apart or right in self._apart:
            return None
        return self._ids.get(self.tokens[left] + self.tokens[right])

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids: the join of `pieces`."""
        return "".join(self.pieces(tokens))

    def pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """The text of token ids, one piece for each, as soon as it is known.

        BOS, EOS and their like are no text; one leading space is dropped after BOS. Bytes wait until they complete a
        character, so that a piece is never half of one; bytes that can't become a character turn into U+FFFD.

        Raises TokenizerError if an id is not in the vocabulary.
        """
        return join_bytes(tokens, self._bytes, self.special_tokens)

    def _bytes(self, token: int) -> bytes:
        check_token(token, len(self.tokens))
        if token in self.special_tokens.control:
            return b""
        return bytes([self.byte_of[token]]) if token in self.byte_of else self.tokens[token]

    def token_text(self, token: int) -> str:
        """How a token is written in its vocabulary, with escapes where it is no text. Raises as `pieces` does."""
        check_token(token, len(self.tokens))
        return self.tokens[token].decode(errors="backslashreplace")

    def min_tokens(self, text: str) -> int:
        """So many tokens a text has at least, which is known before the work of cutting it."""
        return len(text.encode()) // max(map(len, self.tokens))


def join_bytes(tokens: Iterable[int], bytes_of: Callable[[int], bytes], special_tokens: SpecialTokens) -> Iterator[str]:
    """The text of tokens that are bytes, one piece for each, as `Tokenizer.pieces` does it."""
    utf8 = getincrementaldecoder("utf-8")("replace")
    begins = special_tokens.trims  # does a leading space of the next text go?
    for token in tokens:
        text = bytes_of(token)
        yield utf8.decode(text[1:] if begins and text.startswith(b" ") else text)
        after_bos = token == special_tokens.bos and special_tokens.space_prefix
        begins = after_bos or (special_tokens.trims and begins and not text)
    yield utf8.decode(b"", final=True)


def any_of(names: Iterable[str]) -> "re.Pattern[str] | None":
    """What finds any of the names, the longest where several begin; None for no names."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None


def split_at(text: str, names: "re.Pattern[str] | None") -> list[str]:
    """The names that are found in a text, and what is between them. Nothing is empty."""
    return [part for part in (names.split(text) if names else [text]) if part]


def check_token(token: int, vocab_size: int) -> None:
    """Raise TokenizerError if an id is not in the vocabulary."""
    if not 0 <= token < vocab_size:
        raise TokenizerError(f"token ids must be in 0..{vocab_size - 1} (got {token})")


def check_unicode(text: str, what: str = "text") -> None:
    """Raise PromptError at the first lone surrogate, which no UTF-8 can encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        bad = f"character {error.start} is the lone surrogate U+{ord(text[error.start]):04X}"
        raise PromptError(f"{what} must be valid Unicode ({bad})") from None


def _byte_tokens(tokens: Sequence[bytes]) -> dict[int, int]:
    """token id -> the byte that it stands for, in either layout; empty for a vocabulary without byte tokens."""
    newer = {FIRST_BYTE + byte: byte for byte in range(256) if _token(tokens, byte) == b"<0x%02X>" % byte}
    older = {FIRST_BYTE + byte: byte for byte in range(256) if _token(tokens, byte) == chr(byte).encode()}
    return older if len(older) == 256 else newer


def _token(tokens: Sequence[bytes], byte: int) -> bytes:
    return tokens[FIRST_BYTE + byte] if FIRST_BYTE + byte < len(tokens) else b""


def _mapped(file: BinaryIO) -> bytes | mmap:
    """The bytes of a file, of which only those that are looked at are read: it may be a checkpoint by mistake."""
    size = os.fstat(file.fileno()).st_size
    return mmap(file.fileno(), size, access=ACCESS_READ) if size else b""


def _parse(data: bytes | mmap, vocab_size: int | None) -> tuple[list[bytes], list[float]]:
    """Tokens and scores of a file that must hold `vocab_size` of them."""
    try:
        tokens, scores = _parse_tokens(data)
    except TokenizerError:
        if _is_scoreless(data):
            reason = "is of the oldest layout, which has no scores: export it again with llama2.c's tokenizer.py"
            raise TokenizerError(reason) from None
        raise
    if vocab_size is not None and len(tokens) != vocab_size:
        got = f"got {len(tokens)}"
        raise TokenizerError(f"must hold the checkpoint's {vocab_size} tokens ({got}): pass the tokenizer made for it")
    return tokens, scores


def _parse_tokens(data: bytes | mmap) -> tuple[list[bytes], list[float]]:
    """Tokens and scores, up to the end of the file. A length is believed only where that many bytes are left."""
    if len(data) < 4:
        raise TokenizerError(f"must begin with the length of the longest token (got {len(data)} bytes)")
    longest = struct.unpack_from("<I", data)[0]
    tokens: list[bytes] = []
    scores: list[float] = []
    offset = 4
    while offset < len(data):
        if len(data) - offset < 8:
            raise TokenizerError(f"is truncated in token {len(tokens)}")
        score, length = struct.unpack_from("<fi", data, offset)
        offset += 8
        _check_length(len(tokens), length, longest, len(data) - offset)
        tokens.append(data[offset : offset + length])
        scores.append(score)
        offset += length
    return tokens, scores


def _check_length(token: int, length: int, longest: int, left: int) -> None:
    if not 1 <= length <= longest:
        raise TokenizerError(
            f"token lengths must be in 1..{longest}, as the file itself says (token {token}: {length})"
        )
    if length > left:
        raise TokenizerError(f"is truncated in token {token}: {length} bytes needed, {left} left")


def _is_scoreless(data: bytes | mmap) -> bool:
    """The oldest layout: a length and the bytes for each token, nothing else, from the first byte to the last."""
    offset = 0
    while offset + 4 <= len(data):
        length = struct.unpack_from("<i", data, offset)[0]
        if length < 1:
            return False
        offset += 4 + length
    return len(data) > 0 and offset == len(data)
