"""One text that is being made: what it needs, what there is of it, and how it goes on from logits."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import Llama2Error, PromptError
from ..sampler import TokenLogprob
from .params import GenerationParams
from .stop import StopFilter


class Request:
    """A text that is asked for. A Scheduler runs the model for it; it picks tokens from logits by itself.

    `tokens` are the prompt's, of which there are `prompt_length`, then those generated so far, which end at `end`
    positions at the latest. `sampler` has the random stream of this text alone. `pieces` are those of its text that
    nobody has taken yet. It is `finished` when it has all its tokens, or an `error`, which belongs to this text alone.
    """

    def __init__(
        self, tokenizer: Any, tokens: Sequence[int], params: GenerationParams, sampler: Any, end: int, echo: bool = True
    ) -> None:
        """`tokenizer` makes text of tokens; `end` is that of `end_of_text`; `echo`: the text holds the prompt, too."""
        self.tokens, self.prompt_length, self.end = list(tokens), len(tokens), end
        self.params, self.sampler = params, sampler
        self.finished = self.cancelled = False
        self.error: Llama2Error | None = None
        self.prompt_read = len(tokens)  # those of the prompt that its cache does not hold at first
        self.prompt_seconds = self.seconds = 0.0
        self.passes = 0
        self.logprobs: list[TokenLogprob] = []
        self._tokenizer, self._end_tokens = tokenizer, tokenizer.stop
        # BOS stands for a prompt that is not shown, so that the answer too loses its leading space.
        hidden = [] if tokenizer.bos is None else [tokenizer.bos]
        self._shown = self.tokens[:] if echo else hidden
        self.pieces = deque(self._decode())

    @property
    def generated(self) -> int:
        """How many tokens have been generated so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def active(self) -> bool:
        """Is there more to be made of it?"""
        return not (self.finished or self.cancelled)

    def choose(self, logits: Any) -> None:
        """Add the next token, by the logits behind the last one, and its piece of text; or find that the text ends.

        If this is interrupted, it can be called again, and finds what it would have found.
        """
        before = dict(vars(self.sampler)), len(self.tokens), self.passes, len(self.pieces)
        try:
            self._choose(logits)
        except BaseException:
            self._undo(*before)
            raise

    def _choose(self, logits: Any) -> None:
        try:
            token: int = self.sampler.sample(logits, self.tokens)
            logprob = self._logprob(logits, token)
        except Llama2Error as error:
            self.fail(error)
            return
        self.passes += len(self.tokens) > self.prompt_length
        if token in self._end_tokens:
            self._finish()
            return
        self.tokens.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        self.pieces.append(self._stop_filter.feed(self._decoder.feed(token)))
        if self._stop_filter.stopped:
            self.finished = True
        elif len(self.tokens) > self.end:  # the last token needs no position: nothing follows it
            self._finish()

    def _undo(self, random_state: dict[str, Any], length: int, passes: int, pieces: int) -> None:
        """Be what it was before a choice that was interrupted, at whatever place."""
        vars(self.sampler).update(random_state)
        self.finished, self.error, self.passes = False, None, passes
        del self.tokens[length:], self.logprobs[length - self.prompt_length :]
        while len(self.pieces) > pieces:
            self.pieces.pop()
        self._decode()

    def _decode(self) -> list[str]:
        """The pieces of all tokens so far, by a decoder and a filter which then go on from there."""
        self._decoder, self._stop_filter = _TextDecoder(self._tokenizer), StopFilter(self.params.stop)
        shown = [self._decoder.feed(token) for token in self._shown]
        return shown + [
            self._stop_filter.feed(self._decoder.feed(token)) for token in self.tokens[self.prompt_length :]
        ]

    def fail(self, error: Llama2Error) -> None:
        """End with an error, which whoever asks for the text is told."""
        self.error, self.finished = error, True

    def next_piece(self) -> str | None:
        """The next piece of the text; None where the model must make it first. Raises StopIteration at the end.

        Raises the error that the text has ended with, and PromptError if it has been cancelled.
        """
        if self.pieces:
            return self.pieces.popleft()
        if self.error is not None:
            raise self.error
        if self.finished:
            raise StopIteration
        if self.cancelled:
            raise PromptError(MOVED_ON)
        return None

    def _logprob(self, logits: Any, token: int) -> TokenLogprob | None:
        count = self.params.logprobs
        if count is None or token in self._end_tokens:
            return None
        logprob: TokenLogprob = self.sampler.logprob(logits, token, count)
        return logprob

    def _finish(self) -> None:
        last = self._stop_filter.feed(self._decoder.finish())
        self.pieces += [last] if self._stop_filter.stopped else [last, self._stop_filter.finish()]
        self.finished = True


MOVED_ON = "an answer can't go on once the conversation has: begin it with a conversation of its own"


class _TextDecoder:
    """The text of tokens that come one by one."""

    def __init__(self, tokenizer: Any) -> None:
        self._next: deque[int] = deque()
        self._pieces: Iterator[str] = tokenizer.pieces(iter(self._take, None))

    def feed(self, token: int) -> str:
        """The piece that a token completes."""
        self._next.append(token)
        return next(self._pieces)

    def finish(self) -> str:
        """What is left where no token follows."""
        return "".join(self._pieces)

    def _take(self) -> int | None:
        return self._next.popleft() if self._next else None


def end_of_text(steps: int, seq_len: int, prompt_length: int, what: str = "prompt") -> int:
    """The number of positions that a text may take: `steps`, the whole context where that is 0 or more than it.

    Raises PromptError if the prompt (or `what` it is) does not fit.
    """
    if prompt_length > seq_len:
        raise PromptError(f"{what} must fit into the context of {seq_len} tokens (got {prompt_length}): shorten it")
    end = min(steps or seq_len, seq_len)
    if prompt_length > end:
        need = f"{prompt_length} tokens of the {what}, BOS included"
        raise PromptError(f"steps must be at least the {need} (got {steps})")
    return end
