"""The verb `convert`: a model in another format."""

import argparse
from importlib import import_module
from pathlib import Path
from types import ModuleType

from .output import say, say_progress

HELP = "write a model again in another format"
EXAMPLES = """\
  {prog} convert stories15M.bin stories15M.gguf         for llama.cpp, with its tokenizer
"""
CONVERT = {"llama2_ref": "llama2_ref.formats.convert", "llama2_fast": "llama2_fast.matrices.files"}


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add = parser.add_argument
    add("checkpoint", metavar="MODEL", help="a file or folder of any format that can be read")
    add("output", metavar="OUTPUT", help="the file, or the new folder, to write")
    formats = "default: gguf for .gguf, llama2c for .bin, else a folder of Hugging Face (safetensors)"
    add("--to", metavar="FORMAT", help=formats)
    add("--type", metavar="TYPE", help="gguf: f32 (the default), q8_0 or q4_0")
    versions = "llama2c: 0, which llama2.c's run reads, 1 (the default), or 2, which its runq reads"
    add("--version", dest="format_version", type=int, metavar="N", help=versions)
    add("-z", "--tokenizer", metavar="FILE", help="gguf: a tokenizer.bin; default: the model's own")


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """Write the model, and tell its size."""
    convert = import_module(CONVERT[llama2.__name__]).convert
    how = args.to, args.type, args.format_version, args.tokenizer
    try:
        notes = convert(args.checkpoint, args.output, *how, progress=say_progress)
    except KeyboardInterrupt:
        say("interrupted: nothing is written")
        raise
    for note in notes:
        say(f"note: {note}")
    output = Path(args.output)
    files = output.iterdir() if output.is_dir() else [output]
    say(f"{output}: {sum(file.stat().st_size for file in files):,} bytes")
