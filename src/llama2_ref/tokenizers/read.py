"""The tokenizers that come with models: in folders of Hugging Face, and in GGUF files.

Which file has the last word on a token: `tokenizer_config.json` on BOS and EOS and whether BOS is put in front,
`generation_config.json` on what else ends a text, `config.json` where they say nothing.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, TokenizerError
from ..support.extras import INSTALL, import_extra
from ..support.files import FilePath, is_file, is_folder, open_regular
from ..tokenizer import SpecialTokens, Tokenizer
from .external import SPACE, HuggingFaceTokenizer, SentencePieceTokenizer, decoder_kind, known_ids
from .gguf import from_gguf

__all__ = ["find_tokenizer", "folder_template", "from_gguf", "read_folder", "read_path"]

LARGEST = 2**27  # bytes of a file: some vocabularies take 40 MB
NAMES = ("tokenizer.json", "tokenizer.model", "tokenizer.bin")
PACKAGES = {"tokenizer.json": "tokenizers", "tokenizer.model": "sentencepiece"}


def find_tokenizer(checkpoint: FilePath, vocab_size: int) -> Path:
    """The tokenizer file beside a checkpoint of llama2.c. Raises TokenizerError if there is none."""
    names = (f"tok{vocab_size}.bin", "tokenizer.bin")
    for name in names:
        path = Path(checkpoint).parent / name
        if is_file(path):
            return path
    raise TokenizerError(f"{checkpoint}: a tokenizer must lie beside it ({' or '.join(names)}), or be named")


def read_folder(folder: FilePath, vocab_size: int | None, tokenizer: type[Tokenizer] = Tokenizer) -> Any:
    """The tokenizer in a model's folder, whose vocabulary may be smaller than the model's `vocab_size`.

    It is tokenizer.json where it can be read here, else tokenizer.model, else llama2.c's tokenizer.bin, which becomes a
    `tokenizer`.

    Raises TokenizerError if there is none, it is damaged or too large, and MissingExtraError if what would read it is
    not installed.
    """
    there = [Path(folder) / name for name in NAMES if is_file(Path(folder) / name)]
    if not there:
        rule = f"a model's folder must hold its tokenizer, {NAMES[0]} or {NAMES[1]}"
        raise TokenizerError(f"{folder}: {rule} (there is none): copy it there from where the model comes from")
    readable = [path for path in there if path.name not in PACKAGES or find_spec(PACKAGES[path.name])]
    if not readable:
        packages = " or ".join(PACKAGES[path.name] for path in there)
        raise MissingExtraError(f"{there[0]}: a tokenizer needs the {packages} package: {INSTALL}")
    return read_path(readable[0], vocab_size, tokenizer)


def read_path(path: FilePath, vocab_size: int | None, tokenizer: type[Tokenizer] = Tokenizer) -> Any:
    """The tokenizer in a folder, or in one file of it, by its ending; files of settings beside it are heeded.

    `vocab_size` is the model's, None for any. Raises what `read_folder` raises.
    """
    if is_folder(path):
        return read_folder(path, vocab_size, tokenizer)
    read = {".json": _read_json_tokenizer, ".model": _read_pieces}.get(Path(path).suffix)
    if read is None:
        return tokenizer.read(path, vocab_size)
    try:
        return read(Path(path), vocab_size)
    except TokenizerError as error:
        raise _at(path, error) from None


def folder_template(folder: FilePath) -> str | None:
    """The chat template (Jinja) in a model's folder, None if there is none. Raises TokenizerError if it is damaged."""
    path = Path(folder) / "chat_template.jinja"
    if is_file(path):
        try:
            return _read_bytes(path).decode()
        except UnicodeDecodeError:
            raise TokenizerError(f"{path}: a chat template must be UTF-8 (it is not)") from None
        except TokenizerError as error:
            raise _at(path, error) from None
    path = Path(folder) / "tokenizer_config.json"
    template = _settings(path).get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default", "")
    if template is None or isinstance(template, str):
        return template or None
    raise TokenizerError(f"{path}: chat_template must be a text, or a list of them with names (got {template!r:.40})")


def _at(path: FilePath, error: TokenizerError) -> TokenizerError:
    return error if str(error).startswith(str(Path(path).parent)) else TokenizerError(f"{path}: {error}")


# ------------------------------------------------------------------------------------------------------------- settings


@dataclass
class _Beside:
    """What the files beside a tokenizer say of its tokens."""

    folder: Path
    tokenizer: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokenizer = _settings(self.folder / "tokenizer_config.json")
        self.generation = _settings(self.folder / "generation_config.json")
        self.model = _settings(self.folder / "config.json")

    def token(self, name: str, id_of: Callable[[str], int | None], vocab_size: int) -> int | None:
        """The id of "bos" or "eos": by its name, else by the number that the model's config has."""
        given = self.tokenizer.get(f"{name}_token")
        text = given.get("content") if isinstance(given, dict) else given
        if isinstance(text, str):
            token = id_of(text)
            if token is None:
                file = self.folder / "tokenizer_config.json"
                raise TokenizerError(f"{file}: {name}_token must be in the vocabulary (got {text!r:.40})")
            return token
        return next(iter(self._ids(self.model, "config.json", f"{name}_token_id", vocab_size)), None)

    def stop(self, vocab_size: int) -> list[int]:
        """The tokens that end a text."""
        if self.generation.get("eos_token_id") is not None:
            return self._ids(self.generation, "generation_config.json", "eos_token_id", vocab_size)
        return self._ids(self.model, "config.json", "eos_token_id", vocab_size)

    def _ids(self, settings: dict[str, Any], file: str, name: str, vocab_size: int) -> list[int]:
        given = settings.get(name)
        ids = given if isinstance(given, list) else [] if given is None else [given]
        for token in ids:
            if type(token) is not int or not 0 <= token < vocab_size:
                rule = f"{name} must be token ids in 0..{vocab_size - 1}"
                raise TokenizerError(f"{self.folder / file}: {rule} (got {token!r:.40})")
        return ids

    def added(self) -> dict[int, dict[str, Any]]:
        """Tokens that are not in the vocabulary itself, by their ids."""
        given = self.tokenizer.get("added_tokens_decoder", {})
        rule = f"{self.folder / 'tokenizer_config.json'}: added_tokens_decoder must map token ids to tokens"
        if not isinstance(given, dict):
            raise TokenizerError(f"{rule} (got {given!r:.40})")
        for token, added in given.items():
            good = token.isdecimal() and len(token) < 10 and isinstance(added, dict)
            if not good or not isinstance(added.get("content"), str):
                raise TokenizerError(f"{rule} (got {token!r:.40}: {added!r:.40})")
        return {int(token): added for token, added in given.items()}


def _settings(path: Path) -> dict[str, Any]:
    """A file of settings, {} where there is none."""
    if not is_file(path):
        return {}
    try:
        settings = json.loads(_read_bytes(path))
    except TokenizerError as error:
        raise _at(path, error) from None
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "it is nested too deeply"
        raise TokenizerError(f"{path}: must be JSON ({reason})") from None
    if not isinstance(settings, dict):
        raise TokenizerError(f"{path}: must be a JSON object (got {type(settings).__name__})")
    return settings


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file, unless there are too many."""
    with open_regular(path, "a tokenizer's file", TokenizerError) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise TokenizerError(f"must be at most {LARGEST:,} bytes long (got {size:,})")
        return file.read()


# ------------------------------------------------------------------------------------------------------------- packages


def _read_json_tokenizer(path: Path, vocab_size: int | None) -> HuggingFaceTokenizer:
    """A tokenizer.json."""
    inner = _parse_json_tokenizer(_read_bytes(path))
    vocabulary: dict[str, int] = inner.get_vocab(with_added_tokens=True)
    size = _check_size(max(vocabulary.values(), default=-1) + 1, vocab_size)
    beside = _Beside(path.parent)
    bos, eos = (beside.token(name, vocabulary.get, size) for name in ("bos", "eos"))
    adds = beside.tokenizer.get("add_bos_token")
    if not isinstance(adds, bool):
        adds = bos is not None and inner.encode("a").ids[:1] == [bos]  # as the file's own rule has it
    added = inner.get_added_tokens_decoder()
    spaces = decoder_kind(inner)[1]
    special_tokens = SpecialTokens(
        bos=bos,
        eos=eos,
        stop=known_ids(eos, *beside.stop(size)),
        control=known_ids(bos, eos, *(token for token, added_token in added.items() if added_token.special)),
        adds_bos=adds,
        space_prefix=spaces,
        trims=spaces,
    )
    return HuggingFaceTokenizer(inner, special_tokens, size)


def _parse_json_tokenizer(data: bytes) -> Any:
    """A tokenizers.Tokenizer. Its package raises Exception itself, and a panic is not even that."""
    tokenizers = import_extra("tokenizers", "this model's tokenizer")
    try:
        inner = tokenizers.Tokenizer.from_str(data.decode())
        inner.no_truncation(), inner.no_padding()  # which were set when it was trained, and are no part of it
        return inner
    except UnicodeDecodeError:
        raise TokenizerError("must be a tokenizer in JSON (this is not even UTF-8)") from None
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            reason = " ".join(str(error).split())[:200]
            raise TokenizerError(f"must be a tokenizer as the tokenizers package writes it ({reason})") from None
        raise


def _read_pieces(path: Path, vocab_size: int | None) -> SentencePieceTokenizer:
    """A tokenizer.model."""
    processor = _parse_pieces(_read_bytes(path))
    pieces = processor.get_piece_size()
    beside = _Beside(path.parent)
    added = {token: added_token for token, added_token in beside.added().items() if token >= pieces}
    size = _check_size(max([pieces - 1, *added]) + 1, vocab_size)
    names = {token: added_token["content"] for token, added_token in added.items()}
    special_tokens = _special_tokens_of_pieces(processor, added, beside, size)
    return SentencePieceTokenizer(processor, names, beside.tokenizer.get("legacy", True) is False, special_tokens, size)


def _special_tokens_of_pieces(
    processor: Any, added: dict[int, dict[str, Any]], beside: _Beside, size: int
) -> SpecialTokens:
    count = processor.get_piece_size()
    ids = {processor.id_to_piece(token): token for token in reversed(range(count))}
    ids |= {added_token["content"]: token for token, added_token in added.items()}
    own = {"bos": processor.bos_id(), "eos": processor.eos_id()}  # -1 where there is none
    named = {name: beside.token(name, ids.get, size) for name in own}
    bos, eos = (own[name] if named[name] is None and own[name] >= 0 else named[name] for name in own)
    special = {token for token, added_token in added.items() if added_token.get("special", False)}
    silent = {token for token in range(count) if processor.is_control(token) or processor.is_unknown(token)}
    spaces = processor.encode("a", out_type=str)[0].startswith(SPACE)  # does a text get a leading space?
    return SpecialTokens(
        bos=bos,
        eos=eos,
        stop=known_ids(eos, *beside.stop(size)),
        control=known_ids(bos, eos, *silent, *special),
        user_defined=frozenset(added.keys() - special),
        adds_bos=beside.tokenizer.get("add_bos_token", True) is not False,
        space_prefix=spaces,
        trims=spaces,
    )


def _parse_pieces(data: bytes) -> Any:
    """A SentencePieceProcessor."""
    if data[:1].isalnum() and b" 0\n" in data[:100]:
        raise TokenizerError("must be SentencePiece's (this is tiktoken's): a tokenizer.json is needed beside it")
    sentencepiece = import_extra("sentencepiece", "this model's tokenizer")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        # That it is empty, or names are no text, is told only when it is used.
        processor.encode("a"), processor.id_to_piece(list(range(processor.get_piece_size())))
        return processor
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise TokenizerError(f"must be a model as SentencePiece writes it ({reason})") from None


def _check_size(tokens: int, vocab_size: int | None) -> int:
    """The size of the model's vocabulary, which may have room behind the tokenizer's."""
    if vocab_size is not None and tokens > vocab_size:
        rule = f"must hold at most the model's {vocab_size} tokens"
        raise TokenizerError(f"{rule} (got {tokens}): it belongs to another model")
    return tokens if vocab_size is None else vocab_size
