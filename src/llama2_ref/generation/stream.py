"""From a prompt to text: the loop of forward pass and sampler, as an iterator that works when it is asked."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from time import perf_counter
from typing import Any

from ..errors import PromptError, SamplerError
from ..sampler import TokenLogprob
from ..tokenizer import check_unicode
from .stop import stop_strings, until_stop


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
    """Pieces of text, each made when it is asked for, and what it took to make them.

    `tokens` holds the prompt's tokens, then those generated so far: `prompt_length` tells them apart.
    `prompt_seconds` is the time from the prompt to the first new token, in which `prompt_read` of its tokens are read,
    those that the cache did not hold; `seconds` is that of the `passes` of the model after it, each of which makes one
    more token. `logprobs` holds a TokenLogprob for each token generated so far, where
    they are asked for.
    """

    def __init__(
        self,
        transformer: Any,
        tokenizer: Any,
        sampler: Any,
        cache: Any,
        prompt: Sequence[int],
        end: int,
        echo: bool,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
    ) -> None:
        """`cache` may hold the first tokens of `prompt`; `end` is that of `end_of_text`; `echo`: the prompt, too.

        What is generated ends before the first `stop` string, if there is one; its tokens stay in `tokens`. `logprobs`
        is how many of the most likely tokens are told beside each, None for nothing. Raises PromptError if a stop
        string is empty, or no text, and SamplerError if `logprobs` is not in 0..V.
        """
        self.tokens = list(prompt)
        self.prompt_length, self.prompt_read = len(prompt), len(prompt) - cache.length
        self.prompt_seconds = self.seconds = 0.0
        self.passes = 0
        self.sampler = sampler
        self.logprobs: list[TokenLogprob] = []
        self._count = _check_count(logprobs, transformer.config.vocab_size)
        self._transformer, self._cache, self._end = transformer, cache, end
        self._closed = False
        self._stop = tokenizer.stop
        self._pieces = self._text(tokenizer, echo, stop_strings(stop))

    def __next__(self) -> str:
        return next(self._pieces)

    def _text(self, tokenizer: Any, echo: bool, stops: Sequence[str]) -> Iterator[str]:
        # BOS stands for a prompt that is not shown, so that the answer too loses its leading space.
        hidden = [] if tokenizer.bos is None else [tokenizer.bos]
        shown = self.tokens[:] if echo else hidden
        pieces: Iterator[str] = tokenizer.pieces(chain(shown, self._new_tokens()))
        if not stops:
            return pieces
        return chain(islice(pieces, len(shown)), until_stop(pieces, stops))  # there is a piece for each token

    @property
    def generated(self) -> int:
        """How many tokens have been generated so far."""
        return len(self.tokens) - self.prompt_length

    def close(self) -> None:
        """Let the cache go to another text: this one can't go on."""
        self._closed = True

    def _check_open(self, length: int) -> None:
        if self._closed or self._cache.length != length:
            raise PromptError(
                "an answer can't go on once the conversation has: begin it with a conversation of its own"
            )

    def _new_tokens(self) -> Iterator[int]:
        """Read the prompt, then sample token after token, until the text ends by itself or has no room."""
        self._check_open(self._cache.length)
        start = perf_counter()
        token = self._choose(self._forward(self.tokens[self._cache.length :]))
        self.prompt_seconds = perf_counter() - start
        while token not in self._stop:
            self._keep(token)
            yield token
            if len(self.tokens) > self._end:  # the last token needs no position: nothing follows it
                return
            start = perf_counter()
            token = self._next(token)
            self.seconds += perf_counter() - start
            self.passes += 1

    def _next(self, token: int) -> int:
        self._check_open(len(self.tokens) - 1)
        return self._choose(self._forward([token]))

    def _forward(self, tokens: Sequence[int]) -> Any:
        return self._transformer.forward(tokens, self._cache)

    def _choose(self, logits: Any) -> int:
        self._logits = logits  # until the token is kept
        token: int = self.sampler.sample(logits, self.tokens)
        return token

    def _keep(self, token: int) -> None:
        self.tokens.append(token)
        if self._count is not None:
            self.logprobs.append(self.sampler.logprob(self._logits, token, self._count))


def _check_count(logprobs: int | None, vocab_size: int) -> int | None:
    if logprobs is not None and not (isinstance(logprobs, int) and 0 <= logprobs <= vocab_size):
        raise SamplerError(f"logprobs must be a whole number of tokens in 0..{vocab_size} (got {logprobs!r})")
    return logprobs


def end_of_text(steps: int, seq_len: int, prompt_length: int, what: str = "prompt") -> int:
    """The number of positions that a text may take: `steps`, the whole context where that is 0 or more than it.

    Raises PromptError if `steps` is negative, or the prompt (or `what` it is) does not fit.
    """
    if steps < 0:
        raise PromptError(f"steps must not be negative (got {steps}); 0 means the whole context")
    if prompt_length > seq_len:
        raise PromptError(f"{what} must fit into the context of {seq_len} tokens (got {prompt_length}): shorten it")
    end = min(steps or seq_len, seq_len)
    if prompt_length > end:
        need = f"{prompt_length} tokens of the {what}, BOS included"
        raise PromptError(f"steps must be at least the {need} (got {steps})")
    return end
