"""Texts that go through the model together: one pass after another, for whichever of them are ready.

Each text comes out as if it were alone, bit for bit, since no engine's numbers depend on what else is in a batch, and
prompts are cut at the same places whatever runs beside them. (One that was interrupted is cut at another place, too:
the simd engine and the reference give the same bits for it, the numpy engine rounds products of matrices in its own
way.)
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from ..errors import Llama2Error, PromptError
from .request import MOVED_ON, Request

BUDGET = 512  # tokens: what engines take through their layers at once


class Scheduler:
    """Runs the model for requests, which may be added and cancelled between any two steps.

    `budget` is how many tokens of prompts one step reads at most: a longer prompt is read in chunks of so many, between
    which other texts get their tokens. (The engine also finds the logits behind each chunk, which only the last one
    needs: a token's worth of the classifier in `budget` tokens.)
    """

    def __init__(self, transformer: Any, budget: int = BUDGET) -> None:
        """Raises PromptError if `budget` is below 1."""
        if budget < 1:
            raise PromptError(f"a step must be allowed at least 1 token of a prompt (got {budget})")
        self._transformer, self.budget = transformer, budget
        self._sequences: list[_Sequence] = []

    @property
    def requests(self) -> list[Request]:
        """Those that are not finished, in the order in which they came."""
        return [request for sequence in self._sequences for request in sequence.requests]

    def add(self, requests: Sequence[Request], cache: Any = None) -> None:
        """Take requests on. Several must have the same prompt: it is read once, and its cache is copied for each.

        `cache` may hold the first tokens of the prompt, though not the last one; None is an empty one. What the model
        refuses, an id that is none or a prompt that is too long, is told by the request itself, as any error of it.

        Raises ValueError if there is no request, or the prompts differ.
        """
        if len({tuple(request.tokens) for request in requests}) != 1:
            raise ValueError("requests that are added together must be one or more, of the same prompt")
        cache = self._transformer.new_cache() if cache is None else cache
        for request in requests:
            request.prompt_read = request.prompt_length - cache.length
        self._sequences.append(_Sequence(list(requests), cache))

    def cancel(self, request: Request) -> None:
        """Let a request go: it makes no more tokens. One that is finished stays what it is."""
        request.cancelled = not request.finished
        self._drop_ended()

    def step(self) -> None:
        """Run the model once: a token for each text that is being made, and chunks of prompts.

        What is wrong with one request ends that one (see Request.error). Whatever else this raises, KeyboardInterrupt
        among it, leaves texts and caches as they should be: the next step goes on from there.
        """
        self._drop_ended()  # if the last step was interrupted before it did
        try:
            start, chunks = perf_counter(), self._next_chunks()
            if chunks:
                self._read(chunks)
            self._split_sequences()
            for sequence in self._sequences:
                if sequence.logits_pending:
                    sequence.requests[0].choose(sequence.logits)
            self._note_seconds(chunks, perf_counter() - start)
        finally:
            self._drop_ended()

    def _next_chunks(self) -> "list[_Chunk]":
        """What this step is to read. The first prompt that waits always fits."""
        room, chunks = self.budget, []
        for sequence in self._sequences:
            if not 0 <= sequence.cache.length - sequence.held <= sequence.unnoted:
                sequence.fail(PromptError(MOVED_ON))  # another text of a session has taken the cache
            elif not sequence.logits_pending:
                tokens, generating = sequence.next_tokens(self.budget), sequence.generating
                if generating or len(tokens) <= room:
                    chunks.append((sequence, tokens, generating))
                    sequence.unnoted = len(tokens)
                    room -= 0 if generating else len(tokens)
        return chunks

    def _read(self, chunks: "Sequence[_Chunk]") -> None:
        try:
            if len(chunks) == 1:  # forward has less overhead than forward_batch
                (sequence, tokens, _) = chunks[0]
                sequence.logits = self._transformer.forward(tokens, sequence.cache)
            else:
                all_logits = self._transformer.forward_batch(
                    [(tokens, sequence.cache) for sequence, tokens, _ in chunks]
                )
                for (sequence, _, _), logits in zip(chunks, all_logits, strict=True):
                    sequence.logits = logits
        except Llama2Error as error:
            if len(chunks) == 1:
                chunks[0][0].fail(error)
            else:
                self._read_one_by_one(chunks)
        finally:
            for sequence, _, _ in chunks:
                sequence.held, sequence.unnoted = sequence.cache.length, 0

    def _read_one_by_one(self, chunks: "Sequence[_Chunk]") -> None:
        """Repeat a pass that went wrong, each sequence alone, so that the error comes to the one that has it."""
        for sequence, tokens, _ in chunks:
            sequence.cache.length = sequence.held
            try:
                sequence.logits = self._transformer.forward(tokens, sequence.cache)
            except Llama2Error as error:
                sequence.fail(error)

    def _split_sequences(self) -> None:
        """Give each request whose prompt is read a sequence of its own, where they shared one."""
        for place, sequence in enumerate(self._sequences):
            if len(sequence.requests) > 1 and sequence.logits_pending:
                self._sequences[place : place + 1] = sequence.split()

    def _note_seconds(self, chunks: "Sequence[_Chunk]", seconds: float) -> None:
        """Each text has the share of a step that its tokens have; of a prompt that is shared, all have the whole."""
        total = max(1, sum([len(tokens) for _, tokens, _ in chunks]))  # 0 of a prompt that the model has refused
        for sequence, tokens, generating in chunks:
            share = seconds * len(tokens) / total
            for request in sequence.requests:
                if generating:
                    request.seconds += share
                else:
                    request.prompt_seconds += share

    def _drop_ended(self) -> None:
        for sequence in self._sequences:
            if not (sequence.requests and all(request.active for request in sequence.requests)):
                break
        else:
            return
        for sequence in self._sequences:
            sequence.requests = [request for request in sequence.requests if request.active]
        self._sequences = [sequence for sequence in self._sequences if sequence.requests]


class _Sequence:
    """What is read into one cache: a prompt, for one request or several, or the text of a single one."""

    def __init__(self, requests: list[Request], cache: Any, logits: Any = None) -> None:
        self.requests, self.cache, self.logits = requests, cache, logits
        # cache.length after the last step: if it has changed, another text has used the cache, or, for up to `unnoted`
        # tokens, the step was interrupted before it could note it.
        self.held, self.unnoted = cache.length, 0

    @property
    def generating(self) -> bool:
        """Is its prompt read, so that it is a text that is being made?"""
        request = self.requests[0]
        return len(request.tokens) > request.prompt_length

    @property
    def logits_pending(self) -> bool:
        """Are there logits, behind the last token, by which no token has been chosen yet?"""
        return self.logits is not None and self.cache.length == len(self.requests[0].tokens)

    def next_tokens(self, most: int) -> Sequence[int]:
        """Tokens to be read next. Where all are, but their logits were lost by an interruption, the last one again."""
        tokens = self.requests[0].tokens
        self.held = self.cache.length = min(self.cache.length, len(tokens) - 1)
        self.logits = None
        return tokens[self.held : self.held + most]

    def split(self) -> "list[_Sequence]":
        """A sequence for each request: the first keeps the cache, the others have copies."""
        caches = [self.cache, *(self.cache.copy() for _ in self.requests[1:])]
        pairs = zip(self.requests, caches, strict=True)
        return [_Sequence([request], cache, self.logits) for request, cache in pairs]

    def fail(self, error: Llama2Error) -> None:
        """Fail every request of this sequence: they share its tokens."""
        self.logits = None
        for request in self.requests:
            request.fail(error)


# (sequence, the tokens that it reads in this step, is its prompt read already?)
_Chunk = tuple[_Sequence, Sequence[int], bool]
