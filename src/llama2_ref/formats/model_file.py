"""What a model's file or folder holds, whichever program wrote it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..config import Config
from ..support.files import FilePath, is_file, is_folder, map_regular
from ..tokenizer import Tokenizer
from ..weights import Weights
from .tensor_table import count_parameters

Progress = Callable[[int, int], None]  # is told bytes that are done, and all


class Source(NamedTuple):
    """What is at a path: the bytes of a file, in a memory map, or None for a folder."""

    path: FilePath
    data: memoryview | None

    def holds(self, name: str) -> bool:
        """Is it a folder with a file of this name?"""
        return self.data is None and is_file(Path(self.path) / name)


def open_source(path: FilePath) -> Source:
    """Open what is at a path. Raises CheckpointError if that is neither a folder nor a regular file."""
    return Source(path, None if is_folder(path) else map_regular(path, "a checkpoint"))


@dataclass(frozen=True)
class WriteOptions:
    """What a user can say of a file that is written. None is for the format's own choice."""

    dtype: str | None = None  # of the matrices in a GGUF file: "f32", "q8_0" or "q4_0"
    version: int | None = None  # of llama2.c's format
    tokenizer: FilePath | None = None  # the tokenizer.bin for a GGUF file


@dataclass(frozen=True)
class ModelFile:
    """Sizes and weights, and what comes with them."""

    path: FilePath
    config: Config
    weights: Weights
    format: str  # the name in `registry`
    label: str  # for the line that describes a model, as "GGUF version 3, Q8_0"
    tokenizer: Callable[
        [type[Tokenizer]], Any
    ]  # reads the one that belongs to it, of that class where it is llama2.c's
    chat_template: str | None = None  # Jinja
    notes: tuple[str, ...] = ()  # what the user should know, a line each
    special_ids: dict[str, Any] | None = None  # bos_token_id, eos_token_id as config.json has them; None: llama2.c's
    group_size: int = 0  # of int8 numbers in a checkpoint of llama2.c; else 0
    tokenizer_path: Callable[[], Path] | None = None  # finds the tokenizer.bin beside a checkpoint of llama2.c
    contents: Any = None  # what its format's writer can copy: a gguf_container.Container

    @property
    def parameters(self) -> int:
        """How many numbers the model has learned: shared ones count once."""
        return count_parameters(self.config, self.weights)

    @property
    def file_bytes(self) -> int:
        """Size of the file, or of all files in the folder."""
        path = Path(self.path)
        files = path.iterdir() if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def describe(self) -> str:
        """A line that tells what it is."""
        c = self.config
        parts = [f"{Path(self.path).resolve().name}: {self.parameters:,} parameters", self.label]
        names = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
        parts += [f"{name} {getattr(c, name)}" for name in names]
        return ", ".join([*parts, *(["shared classifier"] if self.weights.shared_classifier else [])])
