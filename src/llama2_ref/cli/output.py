"""What verbs write: text to standard output, everything about it to standard error."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, TextIO

from ..generation.stream import TextStream

WIDTH = 78  # of lines that are written over


def say(line: str, end: str = "\n") -> None:
    """A line for the user, apart from the text. Where standard error is closed or full, nobody is there to read it."""
    if sys.stderr is None:
        return
    try:
        print(" ".join(line.splitlines()), end=end, file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Let the rest of a stream go nowhere: Python would try to write it when it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write(pieces: Iterable[str]) -> None:
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


# ---------------------------------------------------------------------------------------------------------------- rates


def rate(tokens: int, seconds: float) -> str:
    """Tokens per second, as text."""
    return f"{tokens / seconds:.1f} tok/s" if tokens and seconds > 0 else "too few for a rate in tok/s"


def say_rates(stream: TextStream) -> None:
    """How fast the prompt was read, and the text made."""
    prompt = f"prompt: {stream.prompt_length} tokens, {rate(stream.prompt_read, stream.prompt_seconds)}"
    generated = f"generated: {stream.generated} tokens, {rate(stream.passes, stream.seconds)}"
    say(f"{prompt}; {generated}; seed {stream.sampler.seed}")


def say_total_rates(streams: Sequence[TextStream]) -> None:
    """The rates of samples, whose passes are shared: whichever had to wait for one has its time."""
    first, passes, seconds = streams[0], sum(s.passes for s in streams), sum(s.seconds for s in streams)
    prompt = f"prompt: {first.prompt_length} tokens, {rate(first.prompt_read, first.prompt_seconds)}"
    tokens = f"{sum(stream.generated for stream in streams)} tokens in {len(streams)} samples"
    say(f"{prompt}; generated: {tokens}, {rate(passes, seconds)}; seeds from {first.sampler.seed} on")


def say_logprobs(stream: TextStream, tokenizer: Any) -> None:
    """A line of JSON for each token generated: its id, text and log-probability, and those of the most likely ones."""

    def told(token: int, logprob: float) -> dict[str, Any]:
        text = tokenizer.token_text(token)
        return {"token": token, "text": text, "logprob": logprob if isfinite(logprob) else None}  # JSON has no infinity

    for token, logprob, top in stream.logprobs:
        say(json.dumps(told(token, logprob) | {"top": [told(*alternative) for alternative in top]}))


def say_clipped(steps: int | None, seq_len: int) -> None:
    """A note where more steps are asked for than the context holds."""
    if steps is not None and steps > seq_len:
        say(f"note: {steps} steps are more than the context, which ends after {seq_len}")


# ------------------------------------------------------------------------------------------------------------- progress


def has_terminal() -> bool:
    """Is standard error a terminal, on which a line can be written over?"""
    return sys.stderr is not None and sys.stderr.isatty()


def say_progress(done: int, total: int) -> None:
    """How much of a file is written, on one line of a terminal, which the next one (an error, say) overwrites."""
    if has_terminal():
        say(f"{done / total:4.0%} of {total:,} bytes", end="\n" if done == total else "\r")


class StatusLine:
    """A line of a terminal that tells what is going on now, and is gone afterwards; nothing where there is none."""

    def __init__(self) -> None:
        self._shown = ""
        self._terminal = has_terminal()

    def __enter__(self) -> "StatusLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            say(" " * WIDTH, end="\r")

    def show(self, line: str) -> None:
        """Write it over the last one."""
        if self._terminal and line != self._shown:
            say(f"{line[:WIDTH]:{WIDTH}}", end="\r")
            self._shown = line
