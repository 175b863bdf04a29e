"""Other programs beside ours: how they are named and started, and the rate that they print of themselves."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from llama2_ref.cli.arguments import UsageError
from llama2_ref.errors import Llama2Error

NUMBER, UNIT = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", r"(?:tok(?:en)?s? ?/ ?s(?:ec(?:ond)?)?|tok(?:en)?s per second)"
RATE = re.compile(rf"{NUMBER}[ \t]*{UNIT}|{UNIT}[ \t]*[:=]?[ \t]*{NUMBER}", re.IGNORECASE)


class PeerError(Llama2Error):
    """Another program can't be measured."""


@dataclass(frozen=True)
class Peer:
    """Another program, and how to start it."""

    name: str
    command: tuple[str, ...]

    def takes(self, what: str) -> bool:
        """Does the command hold {what}?"""
        return any(f"{{{what}}}" in word for word in self.command)


def parse_peer(text: str) -> Peer:
    """A peer from NAME=COMMAND. Raises UsageError or PeerError if there is no such program."""
    name, equals, command = text.partition("=")
    try:
        arguments = tuple(shlex.split(command, posix=os.name == "posix"))
    except ValueError as error:  # a quotation that does not end
        raise UsageError(f"--peer {name}: the command can't be understood ({error})") from None
    if not (name and equals and arguments):
        raise UsageError(f"--peer must be NAME=COMMAND (got {text!r})")
    if shutil.which(arguments[0]) is None:
        raise PeerError(f"peer {name}: there is no program {arguments[0]!r}")
    return Peer(name, arguments)


def run_peer(peer: Peer, values: Mapping[str, str], environment: Mapping[str, str]) -> float:
    """The last rate that a program prints of itself; `values` are those of {model}, {steps} and so on."""
    command = [re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), word) for word in peer.command]
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, env=environment)
    except OSError as error:
        raise PeerError(f"peer {peer.name} can't be started ({error.strerror})") from None
    if done.returncode:
        raise PeerError(f"peer {peer.name} ended {how_it_ended(done)}")
    rate = find_rate((done.stdout + b"\n" + done.stderr).decode(errors="replace"))
    if not rate:
        raise PeerError(f"peer {peer.name} must print a rate, such as 'tok/s: 66.1' or '66.1 tokens per second'")
    return rate


def how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str:
    """How a process ended, and the last that it said."""
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with exit code {done.returncode}"
    return f"{how} ({said[-1][:200]})" if said else how


def find_rate(text: str) -> float | None:
    """The last rate in a text: "tok/s: 66.1", "66.1 tok/s", "66.1 tokens per second"."""
    rates = RATE.findall(text)
    return float(rates[-1][0] or rates[-1][1]) if rates else None
