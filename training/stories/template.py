"""Story lines with slots and alternatives.

A line is plain text with three kinds of marks:

* ``{toy}`` is filled with the plain form of the thing or character in the role "toy", ``{h.his}`` with
  another form of it;
* ``[big|small|]`` stands for one of the alternatives, which may be empty and may hold marks themselves;
* ``[:soon]`` stands for one of the phrases named "soon" in ``phrases.py``.
"""

import re
import textwrap
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from stories.phrases import PHRASES


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one form of a role."""

    role: str
    form: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A place for one of several alternatives."""

    options: tuple["Line", ...]


Node: TypeAlias = str | Slot | Choice
Line: TypeAlias = tuple[Node, ...]

_TOKEN = re.compile(r"\[:\w+\]|\{\w+(?:\.\w+)?\}|[\[\]|]|[^\[\]|{}]+")
# What stands before a name in `"Yes," said X`, before a subject, and before a name after a quoted question; and what
# follows a subject (but not in "X and Y"), and a speaker. After a quoted question only a speaker may become "he".
_TAG = re.compile(r'" (said|asked|called|cried|whispered) $')
_SUBJECT = re.compile(r'(^|[.,]"? |[!?] )$')
_QUESTION = re.compile(r'[!?]" $')
_VERB = re.compile(r" (?!and \Z)\w")
_TAG_VERB = re.compile(r" (said|asked|called|cried|whispered|shouted|sang|told)\b")
_named: dict[str, Choice] = {}


def beat(block: str) -> Choice:
    """Read a block of text: each line is one way to tell a beat, an indented line continues the one above."""
    joined = re.sub(r"\n +", " ", textwrap.dedent(block).strip())
    return Choice(tuple(parse(line) for line in joined.split("\n")))


@cache
def parse(text: str) -> Line:
    """Read one line."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise ValueError(f"stray mark in line: {text}")
    tokens.reverse()
    return _parse_until(tokens, "")


def _parse_until(tokens: list[str], stops: str) -> Line:
    """Read nodes from the end of ``tokens`` until one of the characters ``stops``, which is left there."""
    nodes: list[Node] = []
    while tokens and tokens[-1] not in tuple(stops):
        nodes.append(_parse_node(tokens))
    return tuple(nodes)


def _parse_node(tokens: list[str]) -> Node:
    token = tokens.pop()
    if token.startswith("[:"):
        return named(token[2:-1])
    if token == "[":
        return _parse_choice(tokens)
    if token in ("]", "|"):
        raise ValueError(f"unexpected {token!r} in a story line")
    if token.startswith("{"):
        role, _, form = token[1:-1].partition(".")
        return Slot(role, form)
    return token


def _parse_choice(tokens: list[str]) -> Choice:
    options = [_parse_until(tokens, "|]")]
    while tokens:
        if tokens.pop() == "]":
            return Choice(tuple(options))
        options.append(_parse_until(tokens, "|]"))
    raise ValueError("open bracket in a story line")


def named(name: str) -> Choice:
    """Return the shared choice called ``name``."""
    if name not in _named:
        _named[name] = Choice(tuple(parse(phrase) for phrase in PHRASES[name]))
    return _named[name]


@cache
def starting_with(choice: Choice, role: str) -> Choice:
    """Return the choice narrowed to the lines in which ``role`` is the first person to be named."""
    return Choice(tuple(line for line in choice.options if _first_name(line) == Slot(role, "")))


def _first_name(line: Line) -> Node:
    found = first_slot(line, "hfpn")
    return "" if found is None else line[found]


def first_slot(line: Line, roles: Container[str]) -> int | None:
    """Return where the first slot of one of ``roles`` is, not looking into alternatives."""
    return next((index for index, node in enumerate(line) if isinstance(node, Slot) and node.role in roles), None)


def with_pronoun(line: Line, index: int) -> Line:
    """Put a pronoun for the name at ``index`` if that is the subject of a sentence; "said X" becomes "he said"."""
    slot = line[index]
    before = line[index - 1] if index else ""
    after = line[index + 1] if index + 1 < len(line) else ""
    if not (isinstance(slot, Slot) and isinstance(before, str) and isinstance(after, str)) or "they" in before:
        return line
    pronoun = Slot(slot.role, "he")
    if tag := _TAG.search(before):
        return (*line[: index - 1], before[: tag.start(1)], pronoun, " " + tag[1], *line[index + 1 :])
    if (_SUBJECT.search(before) and _VERB.match(after)) or (_QUESTION.search(before) and _TAG_VERB.match(after)):
        return (*line[:index], pronoun, *line[index + 1 :])
    return line
