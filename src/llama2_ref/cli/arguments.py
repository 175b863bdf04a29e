"""The flags that several verbs share, in one table, and what is made of them."""

import argparse
import inspect
from types import ModuleType
from typing import Any, NoReturn

from ..errors import Llama2Error
from ..generation.params import GenerationParams
from ..model import BUNDLED, find_model
from ..quantize import QUANTIZATIONS
from ..support.files import FilePath
from ..support.hub import NAMES
from .input import decode_text
from .output import say

TEMPERATURE = 1.0  # as in llama2.c
TINY_TEMPERATURE = 0.5  # of the bundled model: with a million parameters its texts lose coherence at 1.0
STEPS = GenerationParams.steps  # of a text, as in llama2.c; a chat goes on to the end of the context


class UsageError(Llama2Error):
    """The arguments of the command line can't be understood."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are like all others."""

    def error(self, message: str) -> NoReturn:
        """Tell it in one line, with the way to the help instead of its first lines."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """As always, but argparse itself would not mind if the help can't be written."""
        print(self.format_help(), end="", file=file)


def examples(prog: str, *texts: str) -> dict[str, Any]:
    """What makes a parser show examples below its help."""
    lines = "".join(texts).format(prog=prog)
    return {"epilog": f"examples:\n{lines}", "formatter_class": argparse.RawDescriptionHelpFormatter}


# ---------------------------------------------------------------------------------------------------------------- flags


def _flag(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


FLAGS = {  # name -> what argparse takes
    "checkpoint": _flag("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the bundled model"),
    "checkpoint_option": _flag(
        "--checkpoint", dest="checkpoint_option", metavar="CHECKPOINT", help="the same, as an option"
    ),
    "model": _flag("--model", metavar="NAME", help=f"instead: one of {', '.join(NAMES)}, fetched on first use"),
    "tokenizer": _flag("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint"),
    "prompt": _flag("-i", "--prompt", metavar="TEXT", help="the prompt; - reads it from standard input"),
    "temperature": _flag(
        "-t", "--temperature", type=float, metavar="X",
        help=f"0 is greedy (default {TEMPERATURE}, of the bundled model {TINY_TEMPERATURE})",
    ),
    "topp": _flag(
        "-p", "--topp", "--top-p", type=float, default=GenerationParams.topp, metavar="X",
        help="keep the likeliest tokens up to that sum; 0 or 1 is off (default 0.9)",
    ),
    "topk": _flag(
        "-k", "--top-k", "--topk", dest="topk", type=int, default=GenerationParams.topk, metavar="N",
        help="keep that many of the likeliest tokens; 0 is off (default)",
    ),
    "minp": _flag(
        "--min-p", "--minp", dest="minp", type=float, default=GenerationParams.minp, metavar="X",
        help="keep tokens of at least that part of the largest probability; 0 is off (default)",
    ),
    "repetition_penalty": _flag(
        "--repetition-penalty", "--repeat-penalty", dest="repetition_penalty", type=float,
        default=GenerationParams.repetition_penalty, metavar="X",
        help="above 1: tokens of the text so far get less likely; 1 is off (default)",
    ),
    "seed": _flag("-s", "--seed", type=int, metavar="N", help="default: another one each time"),
    "steps": _flag(
        "-n", "--steps", type=int, metavar="N",
        help=f"positions, the prompt's included; 0 is the whole context (default {STEPS}, chat 0)",
    ),
    "stop": _flag(
        "--stop", action="append", default=[], metavar="TEXT",
        help="end before this text where it is generated; may be given several times",
    ),
    "logprobs": _flag(
        "--logprobs", type=int, metavar="N",
        help="tell each token's log-probability and the N most likely ones, as lines of JSON on standard error",
    ),
    "session": _flag(
        "--session", metavar="FILE",
        help="begin with what this file holds of the prompt, and keep there what the model has read",
    ),
    "mode": _flag("-m", "--mode", choices=("generate", "chat"), help="as in llama2.c: instead of the verb"),
    "system": _flag("-y", "--system", metavar="TEXT", help="chat: the system message"),
    "quantize": _flag("--quantize", choices=QUANTIZATIONS, help="make such numbers of the weights when reading"),
    "threads": _flag("--threads", type=int, metavar="N", help="default: one on each core"),
    "backend": _flag(
        "--backend", choices=("auto", "numpy", "simd"),
        help="default: compiled kernels (simd) where numba is installed, else numpy",
    ),
}  # fmt: skip
MODEL = ("checkpoint", "checkpoint_option", "model")  # groups, in the order of the help
SAMPLING = ("temperature", "topp", "topk", "minp", "repetition_penalty", "seed", "steps", "stop", "logprobs", "session")
ENGINE = ("threads", "backend")


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add flags of the table to a verb's parser."""
    for name in names:
        spellings, options = FLAGS[name]
        parser.add_argument(*spellings, **options)


def add_engine(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """The flags that `load_model` hands on to `load`, as far as that of the package takes them."""
    takes = inspect.signature(llama2.load).parameters
    add_flags(parser, "quantize", *(name for name in ENGINE if name in takes))


def add_text_flags(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """All that `generate` and `chat` have in common."""
    add_flags(parser, *MODEL, "tokenizer", "prompt", *SAMPLING, "mode", "system")
    add_engine(parser, llama2)


# -------------------------------------------------------------------------------------------------- what they stand for


def model_files(args: argparse.Namespace) -> tuple[FilePath | None, FilePath | None]:
    """Checkpoint and tokenizer that the arguments name; None where they name none."""
    given = [name for name in (args.checkpoint, args.checkpoint_option, args.model) if name is not None]
    if len(given) > 1:
        raise UsageError(f"only one model can be used (got {' and '.join(given)})")
    paths = (given[0] if given else None, None) if args.model is None else find_model(args.model)
    tokenizer = getattr(args, "tokenizer", None)
    return paths[0], paths[1] if tokenizer is None else tokenizer


def load_model(llama2: ModuleType, args: argparse.Namespace) -> Any:
    """The model that the arguments name, and a line that tells what it is."""
    checkpoint, tokenizer = model_files(args)
    engine = {name: getattr(args, name, None) for name in ENGINE}
    engine = {name: value for name, value in engine.items() if value is not None}
    model = llama2.load(checkpoint, tokenizer, args.quantize, **engine)
    say(f"{model.description}, as {args.quantize}" if args.quantize else model.description)
    for note in model.notes:
        say(f"note: {note}")
    return model


def sampling_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `generate`, `samples` and `conversation` take by name."""
    named = {name: getattr(args, name) for name in ("topk", "minp", "repetition_penalty", "logprobs")}
    stop = [decode_text(stop, "a stop string") for stop in args.stop]
    return {"temperature": _temperature(args), "topp": args.topp, "seed": args.seed, "stop": stop, **named}


def _temperature(args: argparse.Namespace) -> float:
    """The temperature that is asked for, else what suits the model."""
    if args.temperature is not None:
        return float(args.temperature)
    return TINY_TEMPERATURE if model_files(args)[0] in (None, BUNDLED) else TEMPERATURE


def open_session(llama2: ModuleType, model: Any, args: argparse.Namespace) -> Any:
    """The session that is asked for, if one is."""
    return None if args.session is None else llama2.Session(args.session, model.transformer)


def save_session(session: Any, stream: Any) -> None:
    """Write the session, where there is one, behind a text: also after Ctrl-C, or when nobody reads on."""
    if session is None or stream is None:
        return
    session.save(stream.tokens)
    known = stream.prompt_length - stream.prompt_read
    there = f"{known} of {stream.prompt_length} tokens of the prompt were there"
    say(f"session: {there}, {len(session.tokens)} tokens are now")
