"""A text as an iterator, whose pieces are made when they are asked for; and what a prompt must be."""

from collections.abc import Iterator
from typing import Any

from ..errors import PromptError
from ..sampler import TokenLogprob
from ..tokenizer import check_unicode
from .request import Request
from .scheduler import Scheduler


def check_text(text: str, what: str = "prompt") -> str:
    """The text itself. Raises PromptError if it holds NUL or a lone surrogate, which are no text."""
    check_unicode(text, what)
    if "\0" in text:
        raise PromptError(f"{what} must not contain NUL (character {text.index(chr(0))} is one)")
    return text


def check_room(text: str, tokenizer: Any, seq_len: int) -> None:
    """Raise PromptError if a text is too long for the context however it is cut: before the work of cutting it."""
    least = tokenizer.min_tokens(text)
    if least > seq_len:
        raise PromptError(f"prompt must fit into the context of {seq_len} tokens (got at least {least}): shorten it")


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt. Raises PromptError if there is none, and no token from which a text can begin."""
    tokens: list[int] = tokenizer.encode(prompt)
    if tokens or tokenizer.start is not None:
        return tokens or [tokenizer.start]
    raise PromptError("prompt must not be empty: this model has no token that begins a text")


class TextStream(Iterator[str]):
    """Pieces of a text, each made when it is asked for, and what it took to make them: a view of a Request.

    Whoever asks for a piece that is not there yet makes the scheduler take its next step, in which all texts go on
    that it has. If that is interrupted, the stream can be asked again.
    """

    def __init__(self, request: Request, scheduler: Scheduler) -> None:
        """`request` is one that `scheduler` has been given."""
        self.request, self._scheduler = request, scheduler

    def __next__(self) -> str:
        while (piece := self.request.next_piece()) is None:
            self._scheduler.step()
        return piece

    @property
    def tokens(self) -> list[int]:
        """The prompt's tokens, then those generated so far; `prompt_length` tells them apart."""
        return self.request.tokens

    @property
    def prompt_length(self) -> int:
        """How many tokens the prompt has."""
        return self.request.prompt_length

    @property
    def prompt_read(self) -> int:
        """How many tokens of the prompt the model has to read: those that the cache did not hold."""
        return self.request.prompt_read

    @property
    def prompt_seconds(self) -> float:
        """The time from the prompt to the first new token: of a pass that is shared, the part of its tokens."""
        return self.request.prompt_seconds

    @property
    def seconds(self) -> float:
        """The time of the `passes`."""
        return self.request.seconds

    @property
    def passes(self) -> int:
        """Passes of the model after the prompt, each of which makes one more token, or finds that the text ends."""
        return self.request.passes

    @property
    def generated(self) -> int:
        """How many tokens have been generated so far."""
        return self.request.generated

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """One for each token generated so far, where they are asked for."""
        return self.request.logprobs

    @property
    def sampler(self) -> Any:
        """What chooses the tokens; its `seed` can be read."""
        return self.request.sampler

    def close(self) -> None:
        """Let the cache go to another text: this one can't go on, unless it is finished."""
        self._scheduler.cancel(self.request)
