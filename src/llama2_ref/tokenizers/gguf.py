"""The tokenizer that a GGUF file brings: SentencePiece's kind ("llama") or GPT-2's ("gpt2"), from its metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import TokenizerError
from ..tokenizer import SpecialTokens, Tokenizer
from .external import SPACE, ByteLevelBPE, byte_of_name, known_ids

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # kinds of tokens
# Control tokens that end a turn or a text, for files that do not say so: many name the end of a text only.
ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<|end|>")

# How texts are cut before bytes are joined: by regular expressions, one after the other. Those of llama.cpp.
SHORT = "'s|'t|'re|'ve|'m|'ll|'d"
ANY_CASE = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORDS = SHORT + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
LINES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
THREE_DIGITS = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + LINES
ONE_DIGIT = ANY_CASE + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + LINES
PATTERNS = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", WORDS, r"\p{N}+", "[0-9][0-9][0-9]"),
    "gpt-2": (WORDS,),
    "smollm": (r"\p{N}", WORDS),
    "llama-bpe": (THREE_DIGITS,),
    "qwen2": (ONE_DIGIT,),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", WORDS, "[0-9][0-9][0-9]"),
    "deepseek-coder": ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
}
ALIASES = {
    "gpt-2": ("phi-2", "mpt", "olmo", "jais", "trillion", "mellum", "gigachat"),
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "dbrx", "smaug-bpe"),
    "qwen2": ("deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez"),
}
KIND_OF = {name: name for name in PATTERNS} | {alias: name for name, others in ALIASES.items() for alias in others}
WHOLE = ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral")  # a part may be a token without merges


def from_gguf(metadata: Mapping[str, Any], vocab_size: int, tokenizer: type[Tokenizer] = Tokenizer) -> Any:
    """The tokenizer of a GGUF file, whose vocabulary may be smaller than the model's `vocab_size`.

    Raises TokenizerError if something is missing, damaged or of a kind that is not known, and MissingExtraError if
    GPT-2's kind comes without the tokenizers package.
    """
    model_type = metadata.get(PREFIX + "model")
    names = _array(metadata, "tokens", str)
    if not 3 <= len(names) <= vocab_size:
        raise TokenizerError(f"{PREFIX}tokens must be 3 to {vocab_size}, the model's (got {len(names)})")
    if model_type == "llama":
        return _sentencepiece(metadata, names, vocab_size, tokenizer)
    if model_type == "gpt2":
        return _gpt2(metadata, names, vocab_size)
    raise TokenizerError(
        f"{PREFIX}model must be llama or gpt2 (got {model_type!r:.40}): a tokenizer can be named by -z"
    )


def _sentencepiece(
    metadata: Mapping[str, Any], names: list[str], vocab_size: int, tokenizer: type[Tokenizer]
) -> Tokenizer:
    scores = _array(metadata, "scores", float, len(names))
    token_types = _token_types(metadata, names)
    bytes_of = {token: _byte(token, name) for token, name in enumerate(names) if token_types[token] == BYTE}
    spaces = _flag(metadata, "add_space_prefix", True)
    unknown = (
        _id(metadata, "unknown_token_id", len(names), token_types.index(UNKNOWN) if UNKNOWN in token_types else 0) or 0
    )
    usual = SpecialTokens(unknown, bos=1, eos=2, adds_bos=True, byte_of=bytes_of, space_prefix=spaces, trims=spaces)
    special_tokens = _special_tokens(
        metadata, names, token_types, vocab_size, replace(usual, control=frozenset({unknown}))
    )
    tokens = [name.replace(SPACE, " ").encode() for name in names]
    rest = vocab_size - len(names)
    return tokenizer([*tokens, *[b""] * rest], [*scores, *[0.0] * rest], special_tokens)


def _byte(token: int, name: str) -> int:
    byte = byte_of_name(name)
    if byte is None:
        raise TokenizerError(f"a byte's token must be <0x00> to <0xFF> (token {token} is {name!r:.40})")
    return byte


def _gpt2(metadata: Mapping[str, Any], names: list[str], vocab_size: int) -> ByteLevelBPE:
    pre = metadata.get(PREFIX + "pre", "default")
    if not isinstance(pre, str) or pre not in KIND_OF:
        raise TokenizerError(f"{PREFIX}pre must be one of {', '.join(sorted(KIND_OF))} (got {pre!r:.40})")
    token_types = _token_types(metadata, names)
    usual = SpecialTokens(bos=None, eos=None, control=frozenset(), adds_bos=pre in WHOLE, space_prefix=False)
    special_tokens = _special_tokens(metadata, names, token_types, vocab_size, usual)
    apart = special_tokens.control | special_tokens.user_defined
    known = {name for token, name in enumerate(names) if token not in apart}
    merges = [_merge(i, merge, known) for i, merge in enumerate(_array(metadata, "merges", str))]
    return ByteLevelBPE(
        dict(enumerate(names)), merges, PATTERNS[KIND_OF[pre]], pre in WHOLE, special_tokens, vocab_size
    )


def _merge(rank: int, merge: str, known: set[str]) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not {left, right, left + right} <= known:
        rule = f"{PREFIX}merges must be two tokens whose join is a token, with a space between them"
        raise TokenizerError(f"{rule} (merge {rank} is {merge!r:.60})")
    return left, right


# ------------------------------------------------------------------------------------------------------- special tokens


def _special_tokens(
    metadata: Mapping[str, Any], names: list[str], token_types: list[int], vocab_size: int, usual: SpecialTokens
) -> SpecialTokens:
    """What tokens are for; `usual` is what holds where the file says nothing."""
    count = len(names)
    bos = _id(metadata, "bos_token_id", count, usual.bos)
    eos = _id(metadata, "eos_token_id", count, usual.eos)
    ends = [eos, *(_id(metadata, f"{name}_token_id", count, None) for name in ("eot", "eom"))]
    control = {token for token in range(count) if token_types[token] in (UNKNOWN, CONTROL, UNUSED)} | usual.control
    return replace(
        usual,
        bos=bos,
        eos=eos,
        stop=known_ids(*ends, *(token for token in control if names[token] in ENDS)),
        control=known_ids(bos, *ends, *control, *range(count, vocab_size)),
        user_defined=frozenset(token for token in range(count) if token_types[token] == USER_DEFINED and names[token]),
        adds_bos=_flag(metadata, "add_bos_token", usual.adds_bos),
    )


def _token_types(metadata: Mapping[str, Any], names: list[str]) -> list[int]:
    """The kind of each token, by how it is written where the file does not tell."""
    if PREFIX + "token_type" in metadata:
        return _array(metadata, "token_type", int, len(names))
    return [NORMAL if byte_of_name(name) is None else BYTE for name in names]


def _id(metadata: Mapping[str, Any], name: str, count: int, default: int | None) -> int | None:
    token = metadata.get(PREFIX + name, default)
    if token is not None and (isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < count):
        raise TokenizerError(f"{PREFIX}{name} must be in 0..{count - 1} (got {token!r:.40})")
    return token


def _flag(metadata: Mapping[str, Any], name: str, default: bool) -> bool:
    flag = metadata.get(PREFIX + name, default)
    if not isinstance(flag, bool):
        raise TokenizerError(f"{PREFIX}{name} must be true or false (got {flag!r:.40})")
    return flag


def _array(metadata: Mapping[str, Any], name: str, element_type: type, length: int | None = None) -> list[Any]:
    """An array of metadata, whose elements must be of a kind, and as many as there are tokens."""
    given = metadata.get(PREFIX + name)
    rule = f"{PREFIX}{name} must be an array of {'texts' if element_type is str else 'numbers'}"
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise TokenizerError(f"{rule} (got {'nothing' if given is None else type(given).__name__})")
    elements = list(given)
    accepted = (int, float) if element_type is float else (element_type,)
    for i, element in enumerate(elements):
        if not isinstance(element, accepted) or isinstance(element, bool):
            raise TokenizerError(f"{rule} (element {i} is {element!r:.40})")
    if length is not None and len(elements) != length:
        raise TokenizerError(
            f"{PREFIX}{name} must have an element for each of the {length} tokens (got {len(elements)})"
        )
    return elements
