"""The verb `tokenize`: how a text is cut into tokens."""

import argparse
import sys
from types import ModuleType
from typing import Any

from ..errors import PromptError
from ..model import BUNDLED, read_tokenizer
from ..support.files import FilePath
from ..tokenizers.read import read_path
from .arguments import MODEL, add_flags, model_files
from .input import read_prompt
from .output import say

HELP = "show how a text is cut into tokens"
EXAMPLES = """\
  {prog} tokenize -z tokenizer.bin -i "One day"         how a text is cut
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add_flags(parser, *MODEL, "tokenizer", "prompt")


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """A token a line: its id and its text."""
    prompt = read_prompt(args)
    if prompt is None:
        raise PromptError("a text to cut must be given (-i TEXT, or -i - for standard input)")
    tokenizer = _tokenizer(llama2, *model_files(args))
    tokens = tokenizer.encode(prompt)
    for token in tokens:
        print(f"{token}\t{tokenizer.token_text(token)!r}")
    sys.stdout.flush()
    say(f"{len(tokens)} tokens{'' if tokenizer.bos is None else ', BOS included'}")


def _tokenizer(llama2: ModuleType, checkpoint: FilePath | None, path: FilePath | None) -> Any:
    """The tokenizer of a checkpoint; or, where only the tokenizer is named, that one, whatever its size."""
    if checkpoint is None and path is not None:
        return read_path(path, None, llama2.Tokenizer)
    file = llama2.read_model(BUNDLED if checkpoint is None else checkpoint)
    return read_tokenizer(file, path, llama2.Tokenizer)
