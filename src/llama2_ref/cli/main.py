"""The dispatcher: `main(llama2)` runs the command line with the package that it is given."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ..errors import Llama2Error
from . import VERBS
from .arguments import Parser, UsageError, examples
from .output import give_up, say

DEFAULT = "generate"  # the verb of a command line that begins with none
ERROR = 2
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(llama2: ModuleType, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command line with a package, and return the exit code.

    0; 1 where a verb has found that something is wrong; 2 after an error, 130 after Ctrl-C. `prog` is how the program
    was called, for its messages.
    """
    prog = f"python -m {llama2.__name__}" if prog is None else prog
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
        give_up(sys.stdout)
        closed = isinstance(error, BrokenPipeError)
        reason = "was closed before the text ended" if closed else f"can't be written ({error.strerror or error})"
        return _fail(prog, f"standard output {reason}")


def verbs_of(llama2: ModuleType) -> dict[str, str]:
    """Verb -> name of its module, for all verbs that a package has."""
    tools = f"{llama2.__name__}.tools"
    return VERBS | (import_module(tools).VERBS if find_spec(tools) else {})


def _run(llama2: ModuleType, prog: str, argv: list[str]) -> int:
    """Run a verb. Only its own module is imported, and all of them for the help of the program."""
    modules = verbs_of(llama2)
    first = argv[0] if argv else ""
    if first == "--version":
        print(f"{llama2.__name__} {llama2.__version__}")
        return 0
    if first in ("-h", "--help"):
        _help(llama2, prog, modules)
        return 0
    name, arguments = (first, argv[1:]) if first in modules else (DEFAULT, argv)
    verb = import_module(modules[name])
    parser = Parser(f"{prog} {name}", description=verb.HELP, **examples(prog, verb.EXAMPLES))
    verb.add_arguments(parser, llama2)
    try:
        args, unknown = parser.parse_known_args(arguments)
    except SystemExit:  # help was asked for, and is printed
        return 0
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}; see {prog} --help")
    mode = getattr(args, "mode", None)  # llama2.c's -m, which names one of two verbs
    return int((import_module(modules[mode]) if mode else verb).run(llama2, args) or 0)


def _help(llama2: ModuleType, prog: str, modules: Mapping[str, str]) -> None:
    verbs = {name: import_module(module) for name, module in modules.items()}
    parser = Parser(
        prog,
        description=(llama2.__doc__ or "").split("\n")[0],
        **examples(prog, *(verb.EXAMPLES for verb in verbs.values())),
    )
    parser.epilog = f"{parser.epilog}\n{prog} VERB --help tells the options of a verb."
    parser.add_argument("--version", action="store_true", help="tell it, and nothing else")
    add = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for name, verb in verbs.items():
        add.add_parser(name, help=verb.HELP)
    parser.print_help()


def _use_utf8() -> None:
    """Text is UTF-8 whatever the locale says; a file name that is no text is escaped where it is shown."""
    if sys.stdout is None:
        raise UsageError("standard output must be open")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _fail(prog: str, message: str) -> int:
    say(f"{prog}: {message}")
    return ERROR
