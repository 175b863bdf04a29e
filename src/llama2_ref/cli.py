"""The command line of both packages: `main(llama2)` runs it with the package that it is given."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ._format import Header
from .checkpoint import map_checkpoint
from .errors import CheckpointError, Llama2Error, PromptError
from .generate import TextStream, check_text
from .model import BUNDLED, find_tokenizer

VERBS = {
    "generate": "continue a prompt (the default verb)",
    "chat": "talk to a model that was trained on Llama-2 chat prompts",
    "info": "tell what is in a checkpoint",
    "tokenize": "show how a text is cut into tokens",
    "quantize": "write a checkpoint again with int8 weights (llama2.c version 2)",
}
EXAMPLES = """\
examples:
  {prog}                                                a story by the bundled model
  {prog} stories15M.bin -i "One day" -t 0.8 -s 42       your model, with the same text every time
  {prog} stories15M.bin -t 0 -n 0                       always the likeliest token, to the end of the context
  echo "One day" | {prog} stories15M.bin -i -           the prompt from standard input
  {prog} chat llama2_7b_chat.bin -y "Be brief."         a conversation; an empty line or Ctrl-D ends it
  {prog} tokenize -z tokenizer.bin -i "One day"         how a text is cut
  {prog} quantize stories15M.bin stories15M.q8.bin      a quarter of the size

{prog} VERB --help tells the options of a verb.
"""
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(llama2: ModuleType, argv: Sequence[str] | None = None) -> int:
    """Run the command line with a package, and return the exit code: 0, 2 after an error, 130 after Ctrl-C."""
    prog = f"python -m {llama2.__name__}"
    try:
        _use_utf8()
        args = _parser(llama2, prog).parse_args(_with_verb(list(sys.argv[1:] if argv is None else argv)))
        run: Callable[[ModuleType, argparse.Namespace], None] = RUN[args.verb]
        run(llama2, args)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Llama2Error as error:
        return _fail(prog, str(error))
    except MemoryError:
        return _fail(prog, "there is not enough memory for this model and context")
    except BrokenPipeError:
        return _fail(prog, "standard output was closed before the text ended", output_is_lost=True)
    except OSError as error:
        return _fail(prog, f"standard output can't be written ({error.strerror or error})", output_is_lost=True)


def _use_utf8() -> None:
    """Text is UTF-8 whatever the locale says; what can't be shown in an error message is escaped."""
    if sys.stdout is None:
        raise PromptError("standard output must be open")
    for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _fail(prog: str, message: str, output_is_lost: bool = False) -> int:
    if output_is_lost:  # or Python would try to write the rest when it ends, and report that too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _say(f"{prog}: {' '.join(message.splitlines())}")
    return 2


def _say(line: str) -> None:
    """A line for the user, apart from the text."""
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------------------ arguments


def _with_verb(argv: list[str]) -> list[str]:
    first = argv[0] if argv else ""
    return argv if first in VERBS or first in ("-h", "--help", "--version") else ["generate", *argv]


def _parser(llama2: ModuleType, prog: str) -> Parser:
    examples = EXAMPLES.format(prog=prog)
    formatter = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog, description=(llama2.__doc__ or "").split("\n")[0], epilog=examples, formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"{llama2.__name__} {llama2.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    add = {name: verbs.add_parser(name, help=text, description=text) for name, text in VERBS.items()}
    for name in ("generate", "chat", "tokenize"):
        _add_model(add[name])
        add[name].add_argument("-i", "--prompt", metavar="TEXT", help="the prompt; - reads it from standard input")
    for name in ("generate", "chat"):
        _add_sampling(add[name], llama2)
    add["chat"].set_defaults(steps=0)
    add["info"].add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the bundled model")
    add["quantize"].add_argument("checkpoint", metavar="CHECKPOINT", help="version 0 or 1")
    add["quantize"].add_argument("output", metavar="OUTPUT", help="the file to write")
    return parser


def _add_model(parser: Parser) -> None:
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the bundled model")
    parser.add_argument("--checkpoint", dest="checkpoint_option", metavar="CHECKPOINT", help="the same, as an option")
    parser.add_argument("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint")


def _add_sampling(parser: Parser, llama2: ModuleType) -> None:
    parser.add_argument("-t", "--temperature", type=float, default=1.0, metavar="X", help="0 is greedy (default 1.0)")
    parser.add_argument("-p", "--topp", type=float, default=0.9, metavar="X", help="0 or 1 is off (default 0.9)")
    parser.add_argument("-s", "--seed", type=int, metavar="N", help="default: another one each time")
    steps = "positions, the prompt's included; 0 is the whole context (default 256, chat 0)"
    parser.add_argument("-n", "--steps", type=int, default=256, metavar="N", help=steps)
    parser.add_argument("-m", "--mode", choices=("generate", "chat"), help="as in llama2.c: the same as the verb")
    parser.add_argument("-y", "--system", metavar="TEXT", help="chat: the system message")
    if "threads" in inspect.signature(llama2.load).parameters:
        parser.add_argument("--threads", type=int, metavar="N", help="default: one on each core")


def _load(llama2: ModuleType, args: argparse.Namespace) -> Any:
    """The model that the arguments name, and a line that tells what it is."""
    checkpoint = _checkpoint(args)
    threads = getattr(args, "threads", None)
    model = llama2.load(checkpoint, args.tokenizer, **({} if threads is None else {"threads": threads}))
    _say(_describe(BUNDLED if checkpoint is None else checkpoint))
    return model


def _checkpoint(args: argparse.Namespace) -> str | None:
    if args.checkpoint is not None and args.checkpoint_option is not None:
        raise CheckpointError(f"one checkpoint can be used (got {args.checkpoint} and {args.checkpoint_option})")
    checkpoint: str | None = args.checkpoint_option if args.checkpoint is None else args.checkpoint
    return checkpoint


def _prompt(args: argparse.Namespace) -> str | None:
    """The prompt, None where there is none. Raises PromptError if there is one, but it is empty or no text."""
    if args.prompt is None:
        return None
    text = _text(sys.stdin.buffer.read() if args.prompt == "-" else os.fsencode(args.prompt))
    if args.prompt == "-":
        text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise PromptError("prompt must not be empty (leave it out to begin from nothing)")
    return check_text(text)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(f"prompt must be valid UTF-8 (byte {error.start} is 0x{data[error.start]:02X})") from None


# ---------------------------------------------------------------------------------------------------------------- verbs


def _generate(llama2: ModuleType, args: argparse.Namespace) -> None:
    if args.mode == "chat":
        _chat(llama2, args)
        return
    prompt = _prompt(args) or ""
    model = _load(llama2, args)
    stream = model.generate(prompt, args.steps, args.temperature, args.topp, args.seed)
    if args.steps > model.config.seq_len:
        _say(f"note: {args.steps} steps are more than the context, which ends after {model.config.seq_len}")
    _write(stream)
    _say_rates(stream)


def _chat(llama2: ModuleType, args: argparse.Namespace) -> None:
    first = _prompt(args)
    model = _load(llama2, args)
    conversation = model.conversation(args.steps, args.temperature, args.topp, args.seed)
    system = check_text(args.system, "system message") if args.system else None
    for content in _questions(first):
        stream = conversation.say(content, system)
        system = None
        print("Assistant: ", end="", flush=True)
        _write(stream)
        _say_rates(stream)


def _questions(first: str | None) -> Iterator[str]:
    """The user's turns: the prompt, then lines of standard input, up to an empty one or its end."""
    if first is not None:
        yield first
    while True:
        print("User: ", end="", flush=True)
        line = _text(sys.stdin.buffer.readline())
        if not line.strip():
            print()
            return
        yield line.strip()


def _info(llama2: ModuleType, args: argparse.Namespace) -> None:
    path = BUNDLED if args.checkpoint is None else Path(args.checkpoint)
    header, _ = map_checkpoint(path)
    config = header.config
    print(_describe(path))
    for name, value in vars(config).items():
        print(f"{name:<18} {value}")
    print(f"{'head_size':<18} {config.head_size}")
    print(f"{'group_size':<18} {header.group_size or 'none: float32 weights'}")
    print(f"{'file size':<18} {header.file_bytes():,} bytes")
    print(f"{'cache':<18} {8 * config.n_layers * config.kv_dim * config.seq_len:,} bytes for the whole context")
    try:
        print(f"{'tokenizer':<18} {find_tokenizer(path, config.vocab_size)}")
    except Llama2Error:
        print(f"{'tokenizer':<18} none beside it")


def _tokenize(llama2: ModuleType, args: argparse.Namespace) -> None:
    prompt, checkpoint = _prompt(args), _checkpoint(args)
    if prompt is None:
        raise PromptError("a text to cut must be given (-i TEXT, or -i - for standard input)")
    tokenizer = _tokenizer(llama2, checkpoint, args.tokenizer)
    tokens = tokenizer.encode(prompt)
    for token in tokens:
        print(f"{token}\t{tokenizer.tokens[token].decode(errors='backslashreplace')!r}")
    _say(f"{len(tokens)} tokens, BOS included")


def _tokenizer(llama2: ModuleType, checkpoint: str | None, path: str | None) -> Any:
    """The tokenizer of a checkpoint; or, where only the tokenizer is named, that one, whatever its size."""
    if checkpoint is None and path is not None:
        return llama2.Tokenizer.read(path)
    source = BUNDLED if checkpoint is None else checkpoint
    vocab_size = map_checkpoint(source)[0].config.vocab_size
    return llama2.Tokenizer.read(path or find_tokenizer(source, vocab_size), vocab_size)


def _quantize(llama2: ModuleType, args: argparse.Namespace) -> None:
    header, _ = map_checkpoint(args.checkpoint)
    if header.version == 2:
        raise CheckpointError(
            f"{args.checkpoint}: a checkpoint to quantize must be of version 0 or 1 (this is version 2)"
        )
    config, weights = llama2.read_checkpoint(args.checkpoint)
    llama2.write_checkpoint(args.output, config, weights, version=2, progress=_say_progress)
    before, after = header.file_bytes(), Path(args.output).stat().st_size
    _say(f"{args.output}: {after:,} bytes, {after / before:.0%} of {args.checkpoint}")


RUN = {"generate": _generate, "chat": _chat, "info": _info, "tokenize": _tokenize, "quantize": _quantize}


# --------------------------------------------------------------------------------------------------------------- output


def _write(stream: TextStream) -> None:
    """The text, as it is made, and a line end: also after Ctrl-C."""
    show = _without_controls if sys.stdout.isatty() else str
    try:
        for piece in stream:
            sys.stdout.write(show(piece))
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()


def _without_controls(text: str) -> str:
    """Characters that could drive a terminal become U+FFFD; lines and tabs stay."""
    return "".join("\ufffd" if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" else c for c in text)


def _describe(path: str | os.PathLike[str]) -> str:
    header, _ = map_checkpoint(path)
    c = header.config
    weights = f"int8 in groups of {header.group_size}" if header.version == 2 else "float32"
    return (
        f"{Path(path).name}: {_parameters(header):,} parameters, {weights}, version {header.version}, dim {c.dim}, "
        f"hidden_dim {c.hidden_dim}, n_layers {c.n_layers}, n_heads {c.n_heads}, n_kv_heads {c.n_kv_heads}, "
        f"vocab_size {c.vocab_size}, seq_len {c.seq_len}{', shared classifier' if header.shared_classifier else ''}"
    )


def _parameters(header: Header) -> int:
    return sum(copies * rows * cols for name, (copies, rows, cols) in header.shapes().items() if name != "rope_tables")


def _say_rates(stream: TextStream) -> None:
    prompt = f"prompt: {stream.prompt_length} tokens, {_rate(stream.prompt_length, stream.prompt_seconds)}"
    generated = f"generated: {stream.generated} tokens, {_rate(stream.generated, stream.seconds)}"
    _say(f"{prompt}; {generated}; seed {stream.sampler.seed}")


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:.1f} tok/s" if seconds > 0 else "no time"


def _say_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(
            f"\r{done / total:4.0%} of {total:,} bytes", end="\n" if done == total else "", file=sys.stderr, flush=True
        )
