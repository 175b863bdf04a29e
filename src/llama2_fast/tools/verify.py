"""The verb `verify`: does this program compute rightly on this machine, and how far is each kernel from its bound?

Both twins run the same tokens. Wherever the reference records a buffer, that of the engine is held to the bound of this
one step (`bounded`), so that what is wrong names its kernel. With `--logits`, another program is looked at, too.
"""

import argparse
from types import ModuleType

from llama2_ref.cli.arguments import MODEL, UsageError, add_flags
from llama2_ref.quantize import LARGEST_GROUP

from .outputs import check_outputs, write_outputs
from .report import plot, text
from .verify_task import ENGINES, STEPS, VerifyTask

HELP = "prove that this program computes rightly here, or find what does not; compare with another program's logits"
EXAMPLES = """\
  {prog} verify stories15M.bin                          every buffer of every layer, beside its bound
  {prog} verify stories15M.bin --quantize int8 --plot errors.png --json errors.json
  {prog} verify stories15M.bin -i "One day" --logits mine.npy
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind `verify CHECKPOINT`."""
    add = parser.add_argument
    add("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint; needed for -i only")
    add(
        "-i", "--prompt", metavar="TEXT", help="the first tokens; - reads it from standard input (default: random ones)"
    )
    add("--tokens", metavar="FILE", help="the first tokens, as ids: a .npy file of integers, or a text of numbers")
    steps = f"tokens that are checked, random ones after those given (default {STEPS}, fewer for large models)"
    add("-n", "--steps", type=int, metavar="N", help=steps)
    add("--backend", choices=(*ENGINES, "all"), default="all", help="default: all that can be used here")
    choices = "make integers of float32 weights first, or float32 numbers of a version 2 file's integers"
    add("--quantize", choices=("none", *LARGEST_GROUP, "float32"), help=choices)
    add("--threads", type=int, metavar="N", help="default: one on each core (BLAS has its own setting)")
    bounds = (
        "the reference's loops on numbers that carry their error, or the same as formulas (default: loops if quick)"
    )
    add("--bounds", choices=("auto", "loops", "closed"), default="auto", help=bounds)
    add("--all", action="store_true", help="every row of the tables, however many there are")
    logits = "logits of another program, of any width: (T, V) for the tokens of -i or --tokens, or (V,) for the last"
    add("--logits", metavar="FILE.npy", help=logits)
    add("--json", metavar="FILE", help="everything that was found; - is standard output, instead of the tables")
    add("--plot", metavar="FILE", help="a picture: error and bound over the layers (extra plot)")
    add_flags(parser, *MODEL)


def run(llama2: ModuleType, args: argparse.Namespace) -> int:
    """Check, and tell it: 1 if anything is wrong. Everything that can be refused is refused before."""
    for name in ("threads", "steps"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be at least 1 (got {number})")
    check_outputs(args)
    report = VerifyTask(args).report()
    write_outputs(args, report, lambda: text(report, args.all), lambda form: plot(report, form))
    return 0 if report["right"] else 1
