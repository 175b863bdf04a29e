"""The verb `info`: what is in a model's file or folder."""

import argparse
from types import ModuleType

from ..errors import Llama2Error
from ..model import BUNDLED
from .arguments import MODEL, add_flags, model_files

HELP = "tell what is in a checkpoint"
EXAMPLES = """\
  {prog} info stories15M.bin                            its sizes, and the tokenizer that belongs to it
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add_flags(parser, *MODEL)


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """A line about the file, then a fact a line."""
    checkpoint, tokenizer = model_files(args)
    path = BUNDLED if checkpoint is None else checkpoint
    file = llama2.read_model(path)
    print(file.describe())
    for name, value in vars(file.config).items():
        _tell(name, value)
    cache = 8 * file.config.n_layers * file.config.kv_dim * file.config.seq_len
    _tell("cache", f"{cache:,} bytes for the whole context")
    for note in file.notes:
        _tell("note", note)
    if file.tokenizer_path is None:
        _tell("chat template", "its own" if file.chat_template else "none: that of Llama 2")
        return
    _tell("group_size", file.group_size or "none: float32 weights")
    _tell("file size", f"{file.file_bytes:,} bytes")
    try:
        _tell("tokenizer", tokenizer or file.tokenizer_path())
    except Llama2Error:
        _tell("tokenizer", "none beside it")


def _tell(name: str, value: object) -> None:
    print(f"{name:<18} {value}")
