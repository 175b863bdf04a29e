"""The formats of models: each says how it is detected and read, and those that can be written, how.

A path is opened once: `detect` looks at the bytes, or the folder, that `read` then takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import CheckpointError
from ..support.files import FilePath
from . import gguf_read, gguf_write, huggingface, llama2c, meta
from .arrays import Arrays
from .model_file import ModelFile, Progress, Source, WriteOptions, open_source

Write = Callable[[FilePath, ModelFile, WriteOptions, Arrays, Progress | None], tuple[str, ...]]


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str  # as `convert` calls it
    detect: Callable[[Source], bool]
    read: Callable[[Source, Arrays], ModelFile]
    write: Write | None = None  # to a path, what was read; returns notes, a line each
    suffix: str | None = None  # of names of such files; "" for a folder
    options: tuple[str, ...] = ()  # those of WriteOptions that it heeds


# The first that detects a path takes it. llama2c takes any file: a new format of files stands before it.
FORMATS = (
    Format("gguf", gguf_read.detect, gguf_read.read, gguf_write.write, ".gguf", ("dtype", "tokenizer")),
    Format("safetensors", huggingface.detect, huggingface.read, huggingface.write, ""),
    Format("llama2c", llama2c.detect, llama2c.read, llama2c.write, ".bin", ("version",)),
    Format("meta", meta.detect, meta.read),
)
WRITTEN = tuple(known for known in FORMATS if known.write)


def detect(source: Source) -> Format:
    """The format of what is at a path. Raises CheckpointError if a folder is of none."""
    for known in FORMATS:
        if known.detect(source):
            return known
    rule = f"a model's folder must hold {huggingface.CONFIG}, or Meta's {meta.PARAMS}"
    raise CheckpointError(f"{source.path}: {rule} (it has neither)")


def read_model(path: FilePath, arrays: Arrays) -> ModelFile:
    """What is in a model's file or folder, whichever program wrote it, with matrices of `arrays`.

    Raises CheckpointError or TokenizerError if a file is missing or damaged, or holds another kind of model, and
    MissingExtraError if it takes a package that is not installed.
    """
    source = open_source(path)
    return detect(source).read(source, arrays)
