"""The command line of both packages: `main(llama2)` runs it with the package that it is given."""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from math import isfinite
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, NoReturn, TextIO

from ..errors import CheckpointError, Llama2Error, PromptError
from ..formats.llama2c import map_checkpoint
from ..generation.stream import TextStream, check_text
from ..model import BUNDLED, find_model, read_tokenizer
from ..quantize import KINDS
from ..support.files import FilePath
from ..support.hub import NAMES
from ..tokenizers.read import read_path

VERBS = {
    "generate": "continue a prompt (the default verb)",
    "chat": "talk to a model that was trained on Llama-2 chat prompts",
    "info": "tell what is in a checkpoint",
    "tokenize": "show how a text is cut into tokens",
    "quantize": "write a checkpoint again with int8 weights (llama2.c version 2)",
    "convert": "write a model again in another format",
    "perplexity": "tell how well a model predicts a text",
}
EXAMPLES = {  # the help of the program shows them all, that of a verb its own
    "generate": """\
  {prog}                                                a story by the bundled model
  {prog} stories15M.bin -i "One day" -t 0.8 -s 42       your model, with the same text every time
  {prog} --model stories42M                             a model by its name, fetched on first use (extra hub)
  {prog} stories15M.bin -t 0 -n 0                       always the likeliest token, to the end of the context
  echo "One day" | {prog} stories15M.bin -i -           the prompt from standard input
""",
    "chat": """\
  {prog} chat llama2_7b_chat.bin -y "Be brief."         a conversation; an empty line or Ctrl-D ends it
""",
    "info": """\
  {prog} info stories15M.bin                            its sizes, and the tokenizer that belongs to it
""",
    "tokenize": """\
  {prog} tokenize -z tokenizer.bin -i "One day"         how a text is cut
""",
    "quantize": """\
  {prog} quantize stories15M.bin stories15M.q8.bin      a quarter of the size
""",
    "convert": """\
  {prog} convert stories15M.bin stories15M.gguf         for llama.cpp, with its tokenizer (extra models)
""",
    "perplexity": """\
  {prog} perplexity stories15M.bin text.txt             one number; --quantize int8 tells what integers cost
""",
}
# Verbs that only a package with a module of that name has: HELP, EXAMPLES, add_arguments, and run, which may return an
# exit code.
TOOLS = ("verify", "bench")
CONVERT = {"llama2_ref": "llama2_ref.formats.convert", "llama2_fast": "llama2_fast.matrices.files"}
PERPLEXITY = {"llama2_ref": "llama2_ref.generation.perplexity", "llama2_fast": "llama2_fast.matrices.perplexity"}
TEMPERATURE = 1.0  # as in llama2.c
TINY_TEMPERATURE = 0.5  # of the bundled model, which has a million parameters: at 1.0 it takes too many wrong turns
STEPS = 256  # of a text, as in llama2.c; a chat goes on to the end of the context
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


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


def main(llama2: ModuleType, argv: Sequence[str] | None = None) -> int:
    """Run the command line with a package, and return the exit code.

    0; 1 where a tool has found that something is wrong; 2 after an error, 130 after Ctrl-C.
    """
    prog = f"python -m {llama2.__name__}"
    try:
        _use_utf8()
        code = _run(llama2, prog, list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Llama2Error as error:
        return _fail(prog, str(error))
    except MemoryError:
        return _fail(prog, "there is not enough memory for this model and context")
    except OSError as error:  # every other file's errors are Llama2Error
        _give_up(sys.stdout)
        closed = isinstance(error, BrokenPipeError)
        reason = "was closed before the text ended" if closed else f"can't be written ({error.strerror or error})"
        return _fail(prog, f"standard output {reason}")


def _run(llama2: ModuleType, prog: str, argv: list[str]) -> int:
    tools = _tools(llama2, argv)
    try:
        args = _parser(llama2, prog, tools).parse_args(_with_verb(argv, tools))
    except SystemExit:  # help was asked for, and is printed
        return 0
    if args.version:
        print(f"{llama2.__name__} {llama2.__version__}")
    elif args.verb in tools:
        return int(tools[args.verb].run(args) or 0)
    else:
        RUN[getattr(args, "mode", None) or args.verb](llama2, args)
    return 0


def _use_utf8() -> None:
    """Text is UTF-8 whatever the locale says; a file name that is no text is escaped where it is shown."""
    if sys.stdout is None:
        raise UsageError("standard output must be open")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _fail(prog: str, message: str) -> int:
    _say(f"{prog}: {message}")
    return 2


def _say(line: str, end: str = "\n") -> None:
    """A line for the user, apart from the text. Where standard error is closed or full, nobody is there to read it."""
    if sys.stderr is None:
        return
    try:
        print(" ".join(line.splitlines()), end=end, file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Let the rest of a stream go nowhere: Python would try to write it when it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


# ------------------------------------------------------------------------------------------------------------ arguments


def _tools(llama2: ModuleType, argv: list[str]) -> dict[str, ModuleType]:
    """The tools of a package that may be needed: other verbs start without the time that it takes to import them."""
    asked = argv[:1] in [[name] for name in (*TOOLS, "-h", "--help")]
    if asked and find_spec(f"{llama2.__name__}.tools"):
        return {name: import_module(f"{llama2.__name__}.tools.{name}") for name in TOOLS}
    return {}


def _with_verb(argv: list[str], tools: Iterable[str]) -> list[str]:
    first = argv[0] if argv else ""
    return argv if first in (*VERBS, *tools, "-h", "--help", "--version") else ["generate", *argv]


def _parser(llama2: ModuleType, prog: str, tools: dict[str, ModuleType]) -> Parser:
    examples = EXAMPLES | {name: tool.EXAMPLES for name, tool in tools.items()}
    texts = VERBS | {name: tool.HELP for name, tool in tools.items()}
    parser = Parser(prog, description=(llama2.__doc__ or "").split("\n")[0], **_epilog(prog, *examples.values()))
    parser.epilog = f"{parser.epilog}\n{prog} VERB --help tells the options of a verb."
    parser.add_argument("--version", action="store_true", help="tell it, and nothing else")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    add = {
        v: verbs.add_parser(v, help=text, description=text, **_epilog(prog, examples[v])) for v, text in texts.items()
    }
    for name, tool in tools.items():
        tool.add_arguments(add[name])
    for name in ("generate", "chat", "info", "tokenize", "perplexity", *tools):
        _add_checkpoint(add[name])
    for name in ("generate", "chat", "tokenize"):
        add[name].add_argument("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint")
        add[name].add_argument("-i", "--prompt", metavar="TEXT", help="the prompt; - reads it from standard input")
    for name in ("generate", "chat"):
        _add_sampling(add[name], llama2)
    _add_samples(add["generate"])
    add["quantize"].add_argument("checkpoint", metavar="CHECKPOINT", help="version 0 or 1")
    add["quantize"].add_argument("output", metavar="OUTPUT", help="the file to write")
    _add_conversion(add["convert"])
    _add_perplexity(add["perplexity"], llama2)
    return parser


def _epilog(prog: str, *examples: str) -> dict[str, Any]:
    lines = "".join(examples).format(prog=prog)
    return {"epilog": f"examples:\n{lines}", "formatter_class": argparse.RawDescriptionHelpFormatter}


def _add_checkpoint(parser: Parser) -> None:
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the bundled model")
    parser.add_argument("--checkpoint", dest="checkpoint_option", metavar="CHECKPOINT", help="the same, as an option")
    parser.add_argument("--model", metavar="NAME", help=f"instead: one of {', '.join(NAMES)}, fetched on first use")


def _add_sampling(parser: Parser, llama2: ModuleType) -> None:
    temperature = f"0 is greedy (default {TEMPERATURE}, of the bundled model {TINY_TEMPERATURE})"
    parser.add_argument("-t", "--temperature", type=float, metavar="X", help=temperature)
    topp = "keep the likeliest tokens up to that sum; 0 or 1 is off (default 0.9)"
    parser.add_argument("-p", "--topp", "--top-p", type=float, default=0.9, metavar="X", help=topp)
    _add_filters(parser)
    parser.add_argument("-s", "--seed", type=int, metavar="N", help="default: another one each time")
    steps = "positions, the prompt's included; 0 is the whole context (default 256, chat 0)"
    parser.add_argument("-n", "--steps", type=int, metavar="N", help=steps)
    _add_text(parser)
    parser.add_argument("-m", "--mode", choices=("generate", "chat"), help="as in llama2.c: instead of the verb")
    parser.add_argument("-y", "--system", metavar="TEXT", help="chat: the system message")
    _add_engine(parser, llama2)


def _add_engine(parser: Parser, llama2: ModuleType) -> None:
    integers = "make such numbers of the weights when reading"
    parser.add_argument("--quantize", choices=KINDS, help=integers)
    if "threads" in inspect.signature(llama2.load).parameters:
        parser.add_argument("--threads", type=int, metavar="N", help="default: one on each core")
        engines = "default: compiled kernels (simd) where numba is installed, else numpy"
        parser.add_argument("--backend", choices=("auto", "numpy", "simd"), help=engines)


def _add_conversion(parser: Parser) -> None:
    parser.add_argument("checkpoint", metavar="MODEL", help="a file or folder of any format that can be read")
    parser.add_argument("output", metavar="OUTPUT", help="the file, or the new folder, to write")
    formats = "default: gguf for .gguf, llama2c for .bin, else a folder of Hugging Face (safetensors)"
    parser.add_argument("--to", metavar="FORMAT", help=formats)
    parser.add_argument("--type", metavar="TYPE", help="gguf: f32 (the default), q8_0 or q4_0")
    versions = "llama2c: 0, which llama2.c's run reads, 1 (the default), or 2, which its runq reads"
    parser.add_argument("--version", dest="format_version", type=int, metavar="N", help=versions)
    parser.add_argument("-z", "--tokenizer", metavar="FILE", help="gguf: a tokenizer.bin; default: the model's own")


def _add_filters(parser: Parser) -> None:
    topk = "keep that many of the likeliest tokens; 0 is off (default)"
    parser.add_argument("-k", "--top-k", "--topk", dest="topk", type=int, default=0, metavar="N", help=topk)
    minp = "keep tokens of at least that part of the largest probability; 0 is off (default)"
    parser.add_argument("--min-p", "--minp", dest="minp", type=float, default=0.0, metavar="X", help=minp)
    penalty = "above 1: tokens of the text so far get less likely; 1 is off (default)"
    names = "--repetition-penalty", "--repeat-penalty"
    parser.add_argument(*names, dest="repetition_penalty", type=float, default=1.0, metavar="X", help=penalty)


def _add_text(parser: Parser) -> None:
    stop = "end before this text where it is generated; may be given several times"
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help=stop)
    logprobs = "tell each token's log-probability and the N most likely ones, as lines of JSON on standard error"
    parser.add_argument("--logprobs", type=int, metavar="N", help=logprobs)
    session = "begin with what this file holds of the prompt, and keep there what the model has read"
    parser.add_argument("--session", metavar="FILE", help=session)


def _add_samples(parser: Parser) -> None:
    samples = "several texts in one batch, with seeds from --seed on; each below a line that names it"
    parser.add_argument("--samples", type=int, metavar="N", help=samples)


def _add_perplexity(parser: Parser, llama2: ModuleType) -> None:
    parser.add_argument("text", metavar="FILE", help="UTF-8; - reads standard input")
    context = "tokens that are read at a time (default: as many as the model can)"
    parser.add_argument("--context", type=int, metavar="N", help=context)
    stride = "tokens from one window to the next; a smaller one shows the model more (default: half the context)"
    parser.add_argument("--stride", type=int, metavar="N", help=stride)
    parser.add_argument("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint")
    _add_engine(parser, llama2)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What `generate` and `conversation` take by name."""
    named = {name: getattr(args, name) for name in ("topk", "minp", "repetition_penalty", "logprobs")}
    stop = [_text(stop, "a stop string") for stop in args.stop]
    return {"temperature": _temperature(args), "topp": args.topp, "seed": args.seed, "stop": stop, **named}


def _load(llama2: ModuleType, args: argparse.Namespace) -> Any:
    """The model that the arguments name, and a line that tells what it is."""
    checkpoint, tokenizer = _files(args)
    knobs = {name: getattr(args, name, None) for name in ("threads", "backend")}
    knobs = {name: value for name, value in knobs.items() if value is not None}
    model = llama2.load(checkpoint, tokenizer, args.quantize, **knobs)
    _say(f"{model.description}, as {args.quantize}" if args.quantize else model.description)
    for note in model.notes:
        _say(f"note: {note}")
    return model


def _files(args: argparse.Namespace) -> tuple[FilePath | None, FilePath | None]:
    """Checkpoint and tokenizer that the arguments name; None where they name none."""
    given = [name for name in (args.checkpoint, args.checkpoint_option, args.model) if name is not None]
    if len(given) > 1:
        raise UsageError(f"only one model can be used (got {' and '.join(given)})")
    found = (given[0] if given else None, None) if args.model is None else find_model(args.model)
    tokenizer = getattr(args, "tokenizer", None)
    return found[0], found[1] if tokenizer is None else tokenizer


def _temperature(args: argparse.Namespace) -> float:
    """The temperature that is asked for, else what suits the model."""
    if args.temperature is not None:
        return float(args.temperature)
    return TINY_TEMPERATURE if _files(args)[0] in (None, BUNDLED) else TEMPERATURE


def _prompt(args: argparse.Namespace) -> str | None:
    """The prompt, None where there is none; an empty one begins from nothing, as in llama2.c.

    Raises PromptError if it is no text, or is to come from standard input, which holds none: that is an accident.
    """
    if args.prompt is None:
        return None
    text = _line(_input(whole=True)) if args.prompt == "-" else _text(args.prompt)
    if not text and args.prompt == "-":
        raise PromptError("prompt must not be empty on standard input (-i '' begins from nothing)")
    return check_text(text)


def _input(whole: bool) -> str:
    """The whole of standard input, or its next line."""
    if sys.stdin is None:
        raise PromptError("standard input must be open, since the prompt is read from it")
    try:
        return _text(sys.stdin.buffer.read() if whole else sys.stdin.buffer.readline())
    except OSError as error:
        raise PromptError(f"standard input must be readable ({error.strerror or error})") from None


def _line(text: str) -> str:
    """A text without the line end behind it."""
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")


def _text(given: bytes | str, what: str = "prompt") -> str:
    """Bytes, or an argument that Python has decoded as the locale says, as the UTF-8 that they must be."""
    data = os.fsencode(given)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(f"{what} must be valid UTF-8 (byte {error.start} is 0x{data[error.start]:02X})") from None


# ---------------------------------------------------------------------------------------------------------------- verbs


def _generate(llama2: ModuleType, args: argparse.Namespace) -> None:
    prompt = _prompt(args) or ""
    model = _load(llama2, args)
    steps = STEPS if args.steps is None else args.steps
    _say_clipped(args.steps, model.config.seq_len)
    if getattr(args, "samples", None) is not None:
        _write_samples(llama2, model, prompt, steps, args)
        return
    session = _session(llama2, model, args)
    stream = model.generate(prompt, steps, session=session, **_options(args))
    try:
        _write(stream)
        _say_logprobs(stream, model.tokenizer)
        _say_rates(stream)
    finally:
        _keep(session, stream)


def _write_samples(llama2: ModuleType, model: Any, prompt: str, steps: int, args: argparse.Namespace) -> None:
    """Several texts, whole and in order, each below a line that says which it is."""
    session = _session(llama2, model, args)
    streams = model.samples(prompt, args.samples, steps, session=session, **_options(args))
    try:
        for number, stream in enumerate(streams, 1):
            print(f"--- sample {number} of {len(streams)}, seed {stream.sampler.seed} ---")
            _write(stream)
            _say_logprobs(stream, model.tokenizer)
        _say_total_rates(streams)
    finally:
        _keep(session, streams[0])


def _session(llama2: ModuleType, model: Any, args: argparse.Namespace) -> Any:
    """The session that is asked for, if one is."""
    return None if args.session is None else llama2.Session(args.session, model.transformer)


def _keep(session: Any, stream: TextStream | None) -> None:
    """Write the session, where there is one, behind a text: also after Ctrl-C, or when nobody reads on."""
    if session is not None and stream is not None:
        session.save(stream.tokens)
        reused = (
            f"{stream.prompt_length - stream.prompt_read} of {stream.prompt_length} tokens of the prompt were there"
        )
        _say(f"session: {reused}, {len(session.tokens)} tokens are now")


def _chat(llama2: ModuleType, args: argparse.Namespace) -> None:
    if getattr(args, "samples", None) is not None:
        raise UsageError("--samples is for texts: a chat has one answer to each question")
    first = _prompt(args)
    if first == "":
        raise PromptError("prompt must not be empty in a chat (leave it out to be asked)")
    system = check_text(_text(args.system, "system message"), "system message") if args.system else None
    model = _load(llama2, args)
    session = _session(llama2, model, args)
    conversation = model.conversation(args.steps or 0, session=session, **_options(args))
    _say_clipped(args.steps, model.config.seq_len)
    stream = None
    try:
        for content in _questions(first):
            stream = conversation.say(content, system)
            system = None
            _write(chain(["Assistant: "], stream))
            _say_logprobs(stream, model.tokenizer)
            _say_rates(stream)
    finally:
        _keep(session, stream)


def _questions(first: str | None) -> Iterator[str]:
    """The user's turns: the prompt, then lines of standard input, up to an empty one or its end."""
    if first is not None:
        yield first
    while True:
        line = ""
        try:
            print("User: ", end="", flush=True)
            line = _input(whole=False).strip()
        finally:
            if not line:  # end the line that "User: " began
                print(flush=True)
        if not line:
            return
        yield line


def _info(llama2: ModuleType, args: argparse.Namespace) -> None:
    checkpoint, tokenizer = _files(args)
    path = BUNDLED if checkpoint is None else checkpoint
    file = llama2.read_model(path)
    print(file.describe())
    for name, value in vars(file.config).items():
        print(f"{name:<18} {value}")
    cache = 8 * file.config.n_layers * file.config.kv_dim * file.config.seq_len
    print(f"{'cache':<18} {cache:,} bytes for the whole context")
    for note in file.notes:
        print(f"{'note':<18} {note}")
    if file.tokenizer_path is None:
        print(f"{'chat template':<18} {'its own' if file.chat_template else 'none: that of Llama 2'}")
        return
    print(f"{'group_size':<18} {file.group_size or 'none: float32 weights'}")
    print(f"{'file size':<18} {file.file_bytes:,} bytes")
    try:
        print(f"{'tokenizer':<18} {tokenizer or file.tokenizer_path()}")
    except Llama2Error:
        print(f"{'tokenizer':<18} none beside it")


def _tokenize(llama2: ModuleType, args: argparse.Namespace) -> None:
    prompt = _prompt(args)
    if prompt is None:
        raise PromptError("a text to cut must be given (-i TEXT, or -i - for standard input)")
    tokenizer = _tokenizer(llama2, *_files(args))
    tokens = tokenizer.encode(prompt)
    for token in tokens:
        print(f"{token}\t{tokenizer.token_text(token)!r}")
    sys.stdout.flush()
    _say(f"{len(tokens)} tokens{'' if tokenizer.bos is None else ', BOS included'}")


def _tokenizer(llama2: ModuleType, checkpoint: FilePath | None, path: FilePath | None) -> Any:
    """The tokenizer of a checkpoint; or, where only the tokenizer is named, that one, whatever its size."""
    if checkpoint is None and path is not None:
        return read_path(path, None, llama2.Tokenizer)
    file = llama2.read_model(BUNDLED if checkpoint is None else checkpoint)
    return read_tokenizer(file, path, llama2.Tokenizer)


def _quantize(llama2: ModuleType, args: argparse.Namespace) -> None:
    header, _ = map_checkpoint(args.checkpoint)
    if header.version == 2:
        rule = "a checkpoint to quantize must be of version 0 or 1"
        raise CheckpointError(f"{args.checkpoint}: {rule} (this is version 2, which holds int8 numbers already)")
    config, weights = llama2.read_checkpoint(args.checkpoint)
    try:
        llama2.write_checkpoint(args.output, config, weights, version=2, progress=_say_progress)
    except KeyboardInterrupt:
        _say("interrupted: nothing is written")
        raise
    before, after = header.file_bytes(), map_checkpoint(args.output)[0].file_bytes()
    _say(f"{args.output}: {after:,} bytes, {after / before:.0%} of {args.checkpoint}")


def _convert(llama2: ModuleType, args: argparse.Namespace) -> None:
    convert = import_module(CONVERT[llama2.__name__]).convert
    how = args.to, args.type, args.format_version, args.tokenizer
    try:
        notes = convert(args.checkpoint, args.output, *how, progress=_say_progress)
    except KeyboardInterrupt:
        _say("interrupted: nothing is written")
        raise
    for note in notes:
        _say(f"note: {note}")
    output = Path(args.output)
    files = output.iterdir() if output.is_dir() else [output]
    _say(f"{output}: {sum(file.stat().st_size for file in files):,} bytes")


RUN = {"generate": _generate, "chat": _chat, "info": _info, "tokenize": _tokenize}


def _perplexity(llama2: ModuleType, args: argparse.Namespace) -> None:
    text = _text_of(args.text)
    model = _load(llama2, args)
    module = import_module(PERPLEXITY[llama2.__name__])
    tokens, start = model.tokenizer.encode(text), perf_counter()
    found = module.perplexity(model.transformer, tokens, args.context, args.stride, _say_perplexity)
    print(f"{found.tokens} tokens, nll {found.nll:.4f}, mean {found.mean:.5f} +- {found.error:.5f}", end=", ")
    print(f"perplexity {found.perplexity:.4f}", flush=True)
    _say(_rate(found.tokens, perf_counter() - start))


def _text_of(path: str) -> str:
    """The text in a file, or of standard input. Raises PromptError if it is empty, can't be read, or is no text."""
    if path == "-":
        text = _input(whole=True)
    else:
        try:
            text = _text(Path(path).read_bytes(), f"{path}: a text")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise PromptError(f"{path}: a text must be a readable file ({reason})") from None
    if not text:
        raise PromptError(f"{path}: a text must not be empty")
    return check_text(text, "a text" if path == "-" else f"{path}: a text")


RUN |= {"quantize": _quantize, "convert": _convert, "perplexity": _perplexity}


# --------------------------------------------------------------------------------------------------------------- output


def _write(pieces: Iterable[str]) -> None:
    """The text, as it is made, and a line end: also after Ctrl-C."""
    show = _without_controls if sys.stdout.isatty() else str
    try:
        for piece in pieces:
            sys.stdout.write(show(piece))
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()


def _without_controls(text: str) -> str:
    """Characters that could drive a terminal become U+FFFD; lines and tabs stay."""
    return "".join("\ufffd" if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" else c for c in text)


def _say_rates(stream: TextStream) -> None:
    prompt = f"prompt: {stream.prompt_length} tokens, {_rate(stream.prompt_read, stream.prompt_seconds)}"
    generated = f"generated: {stream.generated} tokens, {_rate(stream.passes, stream.seconds)}"
    _say(f"{prompt}; {generated}; seed {stream.sampler.seed}")


def _say_total_rates(streams: Sequence[TextStream]) -> None:
    """The rates of samples, whose passes are shared: whichever had to wait for one has its time."""
    first, passes, seconds = streams[0], sum(s.passes for s in streams), sum(s.seconds for s in streams)
    prompt = f"prompt: {first.prompt_length} tokens, {_rate(first.prompt_read, first.prompt_seconds)}"
    tokens = f"{sum(stream.generated for stream in streams)} tokens in {len(streams)} samples"
    _say(f"{prompt}; generated: {tokens}, {_rate(passes, seconds)}; seeds from {first.sampler.seed} on")


def _say_logprobs(stream: TextStream, tokenizer: Any) -> None:
    """A line of JSON for each token generated: its id, text and log-probability, and those of the most likely ones."""

    def told(token: int, logprob: float) -> dict[str, Any]:
        text = tokenizer.token_text(token)
        return {"token": token, "text": text, "logprob": logprob if isfinite(logprob) else None}  # JSON has no infinity

    for token, logprob, top in stream.logprobs:
        _say(json.dumps(told(token, logprob) | {"top": [told(*each) for each in top]}))


def _say_clipped(steps: int | None, seq_len: int) -> None:
    if steps is not None and steps > seq_len:
        _say(f"note: {steps} steps are more than the context, which ends after {seq_len}")


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:.1f} tok/s" if tokens and seconds > 0 else "too few for a rate in tok/s"


def _say_perplexity(done: int, total: int, so_far: float) -> None:
    """How much of a text is scored, as _say_progress."""
    if sys.stderr is not None and sys.stderr.isatty():
        _say(f"{done / total:4.0%} of {total:,} tokens, perplexity {so_far:.4f}", end="\n" if done == total else "\r")


def _say_progress(done: int, total: int) -> None:
    """How much of a file is written, on one line of a terminal, which the next one (an error, say) overwrites."""
    if sys.stderr is not None and sys.stderr.isatty():
        _say(f"{done / total:4.0%} of {total:,} bytes", end="\n" if done == total else "\r")
