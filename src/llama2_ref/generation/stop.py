"""Texts that end before a stop string, wherever the pieces that they come in are cut."""

from collections.abc import Iterable, Iterator, Sequence

from ..errors import PromptError
from ..tokenizer import check_unicode


def stop_strings(stop: str | Sequence[str]) -> tuple[str, ...]:
    """One stop string, or several. Raises PromptError if one is empty, or no text."""
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for string in strings:
        if not isinstance(string, str) or not string:
            raise PromptError(f"a stop string must be a text that is not empty (got {string!r})")
        check_unicode(string, "a stop string")
    return strings


class StopFilter:
    """Lets a text through up to where its first stop string begins, piece by piece.

    What may still become a stop string is held back, and comes with a later piece if it has not. Of two that overlap
    the one that begins first counts, also where the other one is complete before it: how a text is cut into pieces
    makes no difference. `stopped` tells whether a stop string has been found.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held = stops, ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """What can be shown once the next piece of the text is known. Nothing follows when it is `stopped`."""
        if not self._stops:
            return piece
        held = self._held + piece
        stop, doubt = _first_stop(held, self._stops), _first_doubt(held, self._stops)
        self.stopped = stop <= doubt and stop < len(held)
        shown = stop if self.stopped else doubt
        self._held = held[shown:]
        return held[:shown]

    def finish(self) -> str:
        """What is left to be shown of a text that has ended."""
        return "" if self.stopped else self._held[: _first_stop(self._held, self._stops)]


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to where the first stop string of their text begins, or all of them. See StopFilter."""
    stop_filter = StopFilter(stops)
    for piece in pieces:
        yield stop_filter.feed(piece)
        if stop_filter.stopped:
            return
    yield stop_filter.finish()


def _first_stop(text: str, stops: Sequence[str]) -> int:
    """Where the first stop string begins; the text's length where there is none."""
    starts = [text.find(stop) for stop in stops]
    return min((place for place in starts if place >= 0), default=len(text))


def _first_doubt(text: str, stops: Sequence[str]) -> int:
    """The first place from which on all that there is begins a stop string, without being one yet; else the length."""
    for place in range(max(0, len(text) - max(map(len, stops)) + 1), len(text)):
        if any(len(stop) > len(text) - place and stop.startswith(text[place:]) for stop in stops):
            return place
    return len(text)
