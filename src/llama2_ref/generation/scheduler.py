"""Several continuations of one prompt, which go through the model together."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import PromptError
from .stream import TextStream


class Sample(TextStream):
    """One of several texts. Whichever is asked for its next piece, all of them go on, and keep theirs until asked."""

    def __init__(self, batch: "Batch", sampler: Any, *text: Any) -> None:
        """`text` is what TextStream takes behind the cache."""
        super().__init__(batch.transformer, batch.tokenizer, sampler, batch.cache, *text)
        self._batch = batch
        self._made: deque[str] = deque()
        self.over = False

    def __next__(self) -> str:
        while not self._made and not self.over:
            self._batch.go_on()
        if not self._made:
            raise StopIteration
        return self._made.popleft()

    @property
    def waits(self) -> bool:
        """Is its last token still to be read by the model?"""
        return not self.over and self._cache.length == len(self.tokens) - 1

    def go_on(self) -> None:
        """Make one more piece, or find that there is none."""
        piece = next(self._pieces, None)
        self.over = piece is None
        if piece is not None:
            self._made.append(piece)

    def take(self, cache: Any) -> None:
        """Go on from a cache that holds the prompt."""
        self._cache = cache

    def next_entry(self) -> tuple[Sequence[int], Any]:
        """What the model is to read next, as forward_batch takes it."""
        return self.tokens[-1:], self._cache

    def _next(self, token: int) -> int:
        return self._choose(self._forward([token]))

    def _forward(self, tokens: Sequence[int]) -> Any:
        return self._batch.forward(self, tokens)


class Batch:
    """What samples share: the prompt's cache until it is read, then the passes of the model."""

    def __init__(self, transformer: Any, tokenizer: Any, cache: Any) -> None:
        self.transformer, self.tokenizer, self.cache = transformer, tokenizer, cache
        self.samples: list[Sample] = []
        self._logits: dict[int, Any] = {}  # of samples, by their number, until they ask
        self._begun = False

    def start(
        self, samplers: Sequence[Any], prompt: Sequence[int], end: int, stop: str | Sequence[str], logprobs: int | None
    ) -> list[TextStream]:
        """A sample for each sampler."""
        self.samples = [Sample(self, sampler, prompt, end, True, stop, logprobs) for sampler in samplers]
        return list(self.samples)

    def go_on(self) -> None:
        """Each sample makes its next piece."""
        for sample in self.samples:
            if not sample.over:
                sample.go_on()

    def forward(self, sample: Sample, tokens: Sequence[int]) -> Any:
        """The logits behind the tokens of a sample, for which all that wait take part in one pass."""
        number = self.samples.index(sample)
        if not self._begun:
            logits = self.transformer.forward(tokens, self.cache)
            for other in self.samples[1:]:  # the first one keeps the prompt's own
                other.take(self.cache.copy())
            self._logits = dict.fromkeys(range(len(self.samples)), logits)
            self._begun = True
        elif number not in self._logits:
            waiting = {i: each.next_entry() for i, each in enumerate(self.samples) if each.waits}
            self._logits = dict(zip(waiting, self.transformer.forward_batch(list(waiting.values())), strict=True))
        return self._logits.pop(number)


def check_count(count: int) -> int:
    """The number of samples. Raises PromptError if it is none."""
    if not isinstance(count, int) or count < 1:
        raise PromptError(f"samples must be a whole number from 1 up (got {count!r})")
    return count
