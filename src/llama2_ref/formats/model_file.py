"""What a model's file or folder holds, whichever program wrote it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Config
from ..support.files import is_file, is_folder
from ..weights import Weights
from .llama2c import FilePath
from .llama2c_header import ROPE_TABLES, Header

Decode = Callable[[str, memoryview, int, int], Any]  # llama2_ref.formats.dtypes.decode, or llama2_fast's


@dataclass(frozen=True)
class ModelFile:
    """Sizes and weights, and what comes with them."""

    config: Config
    weights: Weights
    format: str  # for the line that describes a model, as "GGUF version 3, Q8_0"
    tokenizer: Callable[[], Any]  # reads the one that belongs to it
    chat_template: str | None = None  # Jinja
    notes: tuple[str, ...] = ()  # what the user should know, a line each

    @property
    def parameters(self) -> int:
        """How many numbers the model has learned: shared ones count once."""
        shapes = Header(1, self.config, self.weights.shared_classifier).shapes()
        return sum(copies * rows * cols for name, (copies, rows, cols) in shapes.items() if name != ROPE_TABLES)

    def describe(self, path: FilePath) -> str:
        """A line that tells what it is."""
        c = self.config
        parts = [f"{Path(path).resolve().name}: {self.parameters:,} parameters", self.format]
        names = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
        parts += [f"{name} {getattr(c, name)}" for name in names]
        return ", ".join([*parts, *(["shared classifier"] if self.weights.shared_classifier else [])])


def is_foreign(path: FilePath) -> bool:
    """Is this a folder or a file of another program than llama2.c?"""
    return (bool(os.fspath(path)) and is_folder(Path(path))) or is_gguf(path)


def is_gguf(path: FilePath) -> bool:
    """Does a file begin as GGUF files do?"""
    if not is_file(Path(path)):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:  # whoever reads it says why
        return False


def open_model(path: FilePath, decode: Decode) -> ModelFile:
    """What a folder of Hugging Face or Meta, or a GGUF file, holds. See `is_foreign`.

    Raises CheckpointError if it is damaged or holds another kind of model.
    """
    if is_gguf(path):
        from .gguf_read import read_file

        return read_file(path, decode)
    if is_file(Path(path) / "params.json") and not is_file(Path(path) / "config.json"):
        from .meta import read_folder as read_meta

        return read_meta(path, decode)
    from .huggingface import read_folder

    return read_folder(path, decode)
