"""The verb `quantize`: a checkpoint of llama2.c with int8 weights."""

import argparse
from types import ModuleType

from ..errors import CheckpointError
from ..formats.llama2c import map_checkpoint
from .output import say, say_progress

HELP = "write a checkpoint again with int8 weights (llama2.c version 2)"
EXAMPLES = """\
  {prog} quantize stories15M.bin stories15M.q8.bin      a quarter of the size
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="version 0 or 1")
    parser.add_argument("output", metavar="OUTPUT", help="the file to write")


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """Write the file, and tell its size."""
    header, _ = map_checkpoint(args.checkpoint)
    if header.version == 2:
        rule = "a checkpoint to quantize must be of version 0 or 1"
        raise CheckpointError(f"{args.checkpoint}: {rule} (this is version 2, which holds int8 numbers already)")
    config, weights = llama2.read_checkpoint(args.checkpoint)
    try:
        llama2.write_checkpoint(args.output, config, weights, version=2, progress=say_progress)
    except KeyboardInterrupt:
        say("interrupted: nothing is written")
        raise
    before, after = header.file_bytes(), map_checkpoint(args.output)[0].file_bytes()
    say(f"{args.output}: {after:,} bytes, {after / before:.0%} of {args.checkpoint}")
