"""Write a model again in another format: GGUF, a folder of Hugging Face, or llama2.c's own."""

import os
from pathlib import Path

from ..errors import ConfigError
from ..support.files import FilePath
from .arrays import Arrays
from .gguf_write import FILE_DTYPES
from .lists import LISTS
from .llama2c_header import HEADER_BYTES
from .model_file import Progress, WriteOptions
from .registry import WRITTEN, Format, read_model

OPTION_NAMES = {"dtype": "type", "version": "version", "tokenizer": "tokenizer"}  # as users know them


def convert(
    model: FilePath,
    output: FilePath,
    to: str | None = None,
    dtype: str | None = None,
    version: int | None = None,
    tokenizer: FilePath | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write `model`, a file or folder of any format that `load` reads, to `output`. Returns notes, a line each.

    `to` is "gguf", "safetensors" (a folder) or "llama2c"; None goes by the end of `output`: .gguf, .bin, or none for a
    folder. `dtype` is that of a GGUF file's numbers, "f32", "q8_0" or "q4_0", and `version` that of llama2.c's format.
    `tokenizer` is the tokenizer.bin for a GGUF file, None for the one that comes with the model.
    `progress(done, total)` is called with bytes after each tensor.

    Raises ConfigError for arguments that don't fit each other, or where a format has no such model; CheckpointError,
    TokenizerError and NumericsError if something can't be read or written; MissingExtraError if that needs a package
    which is not installed.
    """
    return convert_with(LISTS, model, output, to, WriteOptions(dtype, version, tokenizer), progress)


def convert_with(
    arrays: Arrays,
    model: FilePath,
    output: FilePath,
    to: str | None,
    options: WriteOptions,
    progress: Progress | None,
) -> tuple[str, ...]:
    """As `convert`, by the arrays of a package."""
    target = _target(output, to)
    _check_options(options, target)
    file = read_model(model, arrays)
    assert target.write
    return file.notes + target.write(output, file, options, arrays, progress)


def _target(output: FilePath, to: str | None) -> Format:
    """The format that is meant. Raises ConfigError if there is none."""
    if not os.fspath(output):  # which would be the current folder
        raise ConfigError("the output must have a name (got '')")
    for known in WRITTEN:
        if to == known.name or (to is None and Path(output).suffix == known.suffix):
            return known
    got = f"{output} ends neither in .gguf nor in .bin, and is no name of a folder" if to is None else f"got {to!r}"
    raise ConfigError(f"the format must be one of {', '.join(known.name for known in WRITTEN)} ({got})")


def _check_options(options: WriteOptions, target: Format) -> None:
    """Raise ConfigError if an option has no such value, or is for another format."""
    if options.dtype is not None and options.dtype not in FILE_DTYPES:
        raise ConfigError(f"the type must be one of {', '.join(FILE_DTYPES)} (got {options.dtype!r})")
    if options.version is not None and options.version not in HEADER_BYTES:
        raise ConfigError(f"the version must be one of 0, 1, 2 (got {options.version!r})")
    for name, given in vars(options).items():
        if given is not None and name not in target.options:
            owner = next(known.name for known in WRITTEN if name in known.options)
            raise ConfigError(f"a {OPTION_NAMES[name]} can be told only for {owner} (got {given} for {target.name})")
