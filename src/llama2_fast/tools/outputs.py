"""The files that `bench` and `verify` write: a report in JSON, and a picture."""

import argparse
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llama2_ref.cli.arguments import UsageError
from llama2_ref.errors import Llama2Error, MissingExtraError
from llama2_ref.support.files import is_special, write_whole


class OutputError(Llama2Error):
    """A file can't be written where it is asked for."""


def check_outputs(args: argparse.Namespace) -> None:
    """Raise what writing the files would raise, before the work that is to be written down."""
    for path in (None if args.json == "-" else args.json, args.plot):
        if path is None:
            continue
        if is_special(path):
            raise OutputError(f"{path}: is not a regular file")
        if not os.access(Path(os.path.realpath(path)).parent, os.W_OK):
            raise OutputError(f"{path}: must be in a folder that can be written")
    if args.plot is not None:
        _check_picture(args.plot)


def _check_picture(path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        rule = "matplotlib must be installed for --plot"
        raise MissingExtraError(f"{rule}: pip install 'llama2-twins[plot]', or leave it out") from None
    known = Figure().canvas.get_supported_filetypes()
    if _picture_format(path) not in known:
        raise UsageError(f"--plot must end in one of {', '.join(sorted(known))} (got {path})")


def write_outputs(
    args: argparse.Namespace, report: dict[str, Any], lines: Callable[[], Iterable[str]], plot: Callable[[str], bytes]
) -> None:
    """Print the report, as `lines` tells it or in JSON, and write the files that are asked for.

    `plot(format)` makes the picture in a format of matplotlib.
    """
    whole = json.dumps(report, indent=2)
    print(whole if args.json == "-" else "\n".join(lines()))
    if args.json not in (None, "-"):
        write_whole(args.json, [whole.encode() + b"\n"])
    if args.plot is not None:
        write_whole(args.plot, [plot(_picture_format(args.plot))])


def _picture_format(path: str) -> str:
    return Path(path).suffix[1:].lower() or "png"
