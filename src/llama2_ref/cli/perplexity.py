"""The verb `perplexity`: how well a model predicts a text."""

import argparse
from time import perf_counter
from types import ModuleType

from .arguments import MODEL, add_engine, add_flags, load_model
from .input import read_text
from .output import has_terminal, rate, say

HELP = "tell how well a model predicts a text"
EXAMPLES = """\
  {prog} perplexity stories15M.bin text.txt             one number; --quantize int8 tells what integers cost
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add_flags(parser, *MODEL)
    parser.add_argument("text", metavar="FILE", help="UTF-8; - reads standard input")
    context = "tokens that are read at a time (default: as many as the model can)"
    parser.add_argument("--context", type=int, metavar="N", help=context)
    stride = "tokens from one window to the next; a smaller one shows the model more (default: half the context)"
    parser.add_argument("--stride", type=int, metavar="N", help=stride)
    add_flags(parser, "tokenizer")
    add_engine(parser, llama2)


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """One line: how many tokens were predicted, and how well."""
    text = read_text(args.text)
    model = load_model(llama2, args)
    tokens, start = model.tokenizer.encode(text), perf_counter()
    result = model.perplexity(tokens, args.context, args.stride, _say_progress)
    print(f"{result.tokens} tokens, nll {result.nll:.4f}, mean {result.mean:.5f} +- {result.error:.5f}", end=", ")
    print(f"perplexity {result.perplexity:.4f}", flush=True)
    say(rate(result.tokens, perf_counter() - start))


def _say_progress(done: int, total: int, so_far: float) -> None:
    """How much of a text is scored, on one line of a terminal."""
    if has_terminal():
        say(f"{done / total:4.0%} of {total:,} tokens, perplexity {so_far:.4f}", end="\n" if done == total else "\r")
