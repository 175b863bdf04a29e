"""What verbs read: prompts and texts, from arguments, files and standard input, all of which must be UTF-8."""

import argparse
import os
import sys
from pathlib import Path

from ..errors import PromptError
from ..generation.stream import check_text


def read_prompt(args: argparse.Namespace) -> str | None:
    """The prompt, None where there is none; an empty one begins from nothing, as in llama2.c.

    Raises PromptError if it is no text, or is to come from standard input, which holds none: that is an accident.
    """
    if args.prompt is None:
        return None
    text = _without_line_end(read_input(whole=True)) if args.prompt == "-" else decode_text(args.prompt)
    if not text and args.prompt == "-":
        raise PromptError("prompt must not be empty on standard input (-i '' begins from nothing)")
    return check_text(text)


def read_input(whole: bool) -> str:
    """The whole of standard input, or its next line."""
    if sys.stdin is None:
        raise PromptError("standard input must be open, since the prompt is read from it")
    try:
        return decode_text(sys.stdin.buffer.read() if whole else sys.stdin.buffer.readline())
    except OSError as error:
        raise PromptError(f"standard input must be readable ({error.strerror or error})") from None


def read_text(path: str) -> str:
    """The text in a file, or of standard input. Raises PromptError if it is empty, can't be read, or is no text."""
    if path == "-":
        text = read_input(whole=True)
    else:
        try:
            text = decode_text(Path(path).read_bytes(), f"{path}: a text")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise PromptError(f"{path}: a text must be a readable file ({reason})") from None
    if not text:
        raise PromptError(f"{path}: a text must not be empty")
    return check_text(text, "a text" if path == "-" else f"{path}: a text")


def decode_text(given: bytes | str, what: str = "prompt") -> str:
    """Bytes, or an argument that Python has decoded as the locale says, as the UTF-8 that they must be."""
    data = os.fsencode(given)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(f"{what} must be valid UTF-8 (byte {error.start} is 0x{data[error.start]:02X})") from None


def _without_line_end(text: str) -> str:
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
