"""The verb `bench`: how fast models run on this machine, and how much of what its memory allows that is.

Every configuration is measured in a process of its own, several rounds of them, in turns with other programs, so that a
noisy minute hits everybody.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from llama2_ref.cli.arguments import MODEL, UsageError, add_flags, model_files
from llama2_ref.model import BUNDLED

from ..engines.choose import BACKENDS, engine_works
from .bench_models import BenchModel, model_of_file, model_of_shape
from .bench_peers import parse_peer
from .bench_report import make_report, plot, table
from .bench_rounds import measure_model
from .outputs import check_outputs, write_outputs
from .random_models import SHAPES

HELP = "measure how fast models run here, next to other programs if you like"
EXAMPLES = """\
  {prog} bench stories15M.bin --backend all             both engines
  {prog} bench --shape 7B --quantize int4               random weights of a size
  {prog} bench --shape stories110M --quantize all --json rates.json --plot rates.png
  {prog} bench stories15M.bin --peer 'llama2.c=./run {{model}} -z {{tokenizer}} -t 0 -n {{steps}}'
"""
QUANTIZATIONS = ("none", "int8", "int4")
PROMPT, STEPS, ROUNDS = 256, 128, 3


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    shapes = f"random weights of a size, one of {', '.join(SHAPES)}; may be repeated"
    add = parser.add_argument
    add("--shape", action="append", default=[], choices=SHAPES, metavar="NAME", help=shapes)
    add("-z", "--tokenizer", metavar="FILE", help="for peers; default: the one beside the checkpoint, or a made-up one")
    add("--backend", choices=(*BACKENDS, "all"), help="default: simd where numba is installed, else numpy")
    choices = "integers made of float32 weights; may be repeated (default none)"
    add("--quantize", action="append", choices=(*QUANTIZATIONS, "all"), help=choices)
    add("--threads", type=int, metavar="N", help="also for BLAS, and for peers with OpenMP (default: all cores)")
    add("--prompt", type=int, default=PROMPT, metavar="N", help=f"tokens of the prompt (default {PROMPT})")
    steps = f"tokens decoded, from an empty cache (default {STEPS})"
    add("-n", "--steps", type=int, default=STEPS, metavar="N", help=steps)
    add("--rounds", type=int, default=ROUNDS, metavar="N", help=f"the best of so many counts (default {ROUNDS})")
    peer = "a program that prints tok/s, with {model}, {int8} (a version 2 file), {tokenizer}, {steps}; may be repeated"
    add("--peer", action="append", default=[], metavar="NAME=COMMAND", help=peer)
    add("--json", metavar="FILE", help="everything that was measured; - is standard output, instead of the table")
    add("--plot", metavar="FILE", help="a picture: decode rates, and what memory allows (extra plot)")
    add_flags(parser, *MODEL)


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """Measure, and tell it: everything that can be refused is refused before."""
    for name in ("threads", "prompt", "steps", "rounds"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be at least 1 (got {number})")
    peers = [parse_peer(text) for text in args.peer]
    if len({peer.name for peer in peers}) < len(peers):
        raise UsageError(f"peers must have different names (got {', '.join(peer.name for peer in peers)})")
    check_outputs(args)
    engine_works(required=args.backend == "simd")  # compile now, so that it does not count as load time
    models = list(_models(args))
    quantizations = [_quantizations(args, model) for model in models]
    tables = []
    for model, some in zip(models, quantizations, strict=True):
        tables.append((model, measure_model(model, some, peers, args)))
    report = make_report(tables, args)
    write_outputs(args, report, lambda: table(report), lambda form: plot(report, form))


def _models(args: argparse.Namespace) -> Iterator[BenchModel]:
    checkpoint, tokenizer = model_files(args)
    files = {} if tokenizer is None else {"tokenizer": Path(tokenizer).absolute()}
    if checkpoint is not None or not args.shape:
        yield model_of_file(BUNDLED if checkpoint is None else checkpoint, files)
    for name in args.shape:
        yield model_of_shape(name, files)


def _quantizations(args: argparse.Namespace, model: BenchModel) -> list[str | None]:
    """What is made of a model's weights. Raises UsageError if something is asked for of integers."""
    asked = [name for choice in args.quantize or ["none"] for name in (QUANTIZATIONS if choice == "all" else [choice])]
    quantizations = [None if name == "none" else name for name in dict.fromkeys(asked)]
    if not model.has_integers:
        return quantizations
    if "all" not in (args.quantize or []) and quantizations != [None]:
        got = f"they are {model.weights(None)} already"
        raise UsageError(f"{model.name}: weights must be float32 to be quantized ({got})")
    return [None]
