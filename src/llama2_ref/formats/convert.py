"""Write a model again in another format: GGUF, a folder of Hugging Face, or llama2.c's own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import ConfigError, TokenizerError
from ..model import find_tokenizer, read_model
from ..quantize import float_rows
from ..support.files import is_file
from ..support.strict_json import read_json
from ..tokenizer import Tokenizer
from ..tokenizers.gguf import PREFIX
from .gguf_container import read_container
from .gguf_write import KINDS, Chunks, Entries, copied_vocabulary, sentencepiece_vocabulary, write_gguf
from .huggingface import CONFIG
from .llama2c import FilePath, Progress, write_checkpoint
from .model_file import ModelFile, is_foreign, is_gguf

FORMATS = ("gguf", "safetensors", "llama2c")
SUFFIXES = {".gguf": "gguf", ".bin": "llama2c", "": "safetensors"}
VERSIONS = (0, 1, 2)
ROWS = 256  # that are converted at a time


@dataclass(frozen=True)
class Parts:
    """What a package has of its own for reading and writing."""

    folders: str  # the module that writes folders of Hugging Face
    read_model: Callable[[FilePath], ModelFile]  # of any format
    write_checkpoint: Callable[..., None]
    chunks: Chunks  # a matrix of any kind as some float32 rows after the other


def convert(
    model: FilePath,
    output: FilePath,
    to: str | None = None,
    kind: str | None = None,
    version: int | None = None,
    tokenizer: FilePath | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write `model`, a file or folder of any format that `load` reads, to `output`. Returns notes, a line each.

    `to` is "gguf", "safetensors" (a folder) or "llama2c"; None goes by the end of `output`: .gguf, .bin, or none for a
    folder. `kind` is that of a GGUF file's numbers, "f32", "q8_0" or "q4_0", and `version` that of llama2.c's format.
    `tokenizer` is the tokenizer.bin for a GGUF file, None for the one that comes with the model.
    `progress(done, total)` is called with bytes after each tensor.

    Raises ConfigError for arguments that don't fit each other, or where a format has no such model; CheckpointError,
    TokenizerError and NumericsError if something can't be read or written; MissingExtraError if that needs a package
    which is not installed.
    """
    return convert_with(_PARTS, model, output, to, kind, version, tokenizer, progress)


def convert_with(
    parts: Parts,
    model: FilePath,
    output: FilePath,
    to: str | None,
    kind: str | None,
    version: int | None,
    tokenizer: FilePath | None,
    progress: Progress | None,
) -> tuple[str, ...]:
    """As `convert`, with the parts of a package."""
    to = _format(output, to, kind, version, tokenizer)
    file = parts.read_model(model)
    config, weights, notes = file.config, file.weights, file.notes
    if to == "gguf":
        vocabulary = _vocabulary(model, config, tokenizer)
        write_gguf(output, config, weights, kind or "f32", vocabulary, parts.chunks, progress)
    elif to == "safetensors":
        beside = {"tokenizer": model if Path(model).is_dir() else None, "special": _special_ids(model)}
        notes += import_module(parts.folders).write_folder(output, config, weights, progress=progress, **beside)
    else:
        parts.write_checkpoint(output, config, weights, 1 if version is None else version, progress)
        if is_foreign(model):
            notes += ("no tokenizer was written: llama2.c's files have theirs beside them",)
    return notes


def _format(output: FilePath, to: str | None, kind: str | None, version: int | None, tokenizer: FilePath | None) -> str:
    """The format that is meant. Raises ConfigError if there is none, or an argument is for another one."""
    if not os.fspath(output):  # which would be the current folder
        raise ConfigError("the output must have a name (got '')")
    found = SUFFIXES.get(Path(output).suffix) if to is None else to
    if found not in FORMATS:
        got = f"{output} ends neither in .gguf nor in .bin, and is no name of a folder" if to is None else f"got {to!r}"
        raise ConfigError(f"the format must be one of {', '.join(FORMATS)} ({got})")
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"the type must be one of {', '.join(KINDS)} (got {kind!r})")
    if version is not None and version not in VERSIONS:
        raise ConfigError(f"the version must be one of 0, 1, 2 (got {version!r})")
    told: dict[str, tuple[Any, str]] = {
        "type": (kind, "gguf"), "tokenizer": (tokenizer, "gguf"), "version": (version, "llama2c")
    }  # fmt: skip
    for name, (given, owner) in told.items():
        if given is not None and found != owner:
            raise ConfigError(f"a {name} can be told only for {owner} (got {given} for {found})")
    return found


def _special_ids(model: FilePath) -> dict[str, Any] | None:
    """BOS and EOS of a model as config.json calls them, None for a model that says nothing of them."""
    names = ("bos_token_id", "eos_token_id")
    if is_gguf(model):
        metadata = read_container(model).metadata
        usual = {"bos_token_id": 1, "eos_token_id": 2} if metadata.get(f"{PREFIX}model") == "llama" else {}
        return usual | {name: metadata[PREFIX + name] for name in names if type(metadata.get(PREFIX + name)) is int}
    if not is_file(Path(model) / CONFIG):
        return None
    settings = read_json(Path(model) / CONFIG)
    return {name: settings[name] for name in names if name in settings}


def _vocabulary(model: FilePath, config: Config, tokenizer: FilePath | None) -> Entries:
    """What a GGUF file says of the tokenizer. Raises TokenizerError if that can't be told."""
    if tokenizer is None and is_gguf(model):
        return copied_vocabulary(read_container(model))
    if tokenizer is None and Path(model).is_dir():
        rule = "a GGUF file can be given the tokenizer of a GGUF file, or a tokenizer.bin"
        raise TokenizerError(f"{model}: {rule} (this is a folder): name one by -z")
    path = find_tokenizer(model, config.vocab_size) if tokenizer is None else tokenizer
    try:
        return sentencepiece_vocabulary(Tokenizer.read(path, config.vocab_size))
    except TokenizerError as error:
        raise error if str(error).startswith(str(path)) else TokenizerError(f"{path}: {error}") from None


def _chunks(matrix: Any) -> Any:
    """Float32 rows of a matrix of any kind, some at a time."""
    import numpy as np

    rows = []
    for row in float_rows(matrix):
        rows.append(np.asarray(row, np.float32))
        if len(rows) == ROWS:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)


_PARTS = Parts("llama2_ref.formats.huggingface", read_model, write_checkpoint, _chunks)
