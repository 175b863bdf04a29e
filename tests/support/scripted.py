"""Models that say what a test has planned, for texts that must end in a certain way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import llama2_fast
import llama2_ref
from support.models import vocabulary, write_tokenizer

NEXT = -1


class ScriptedTransformer:
    """Another transformer, whose passes are counted, and whose greatest logit is that of a planned token.

    `plan[n]` is the token behind the first n, `other` the one where nothing is planned. `failures[n]` is what is raised
    when token n is to be read, and `failures[NEXT]` when the next pass begins. `logits[n]` are the numbers that the
    transformer itself has found behind the first n. `held` are the tokens that each cache really holds, by the identity
    of the cache.
    """

    def __init__(self, inner: Any, plan: Mapping[int, int], other: int) -> None:
        self.inner, self.plan, self.other = inner, dict(plan), other
        self.failures: dict[int, BaseException] = {}
        self.logits: dict[int, list[float]] = {}
        self.held: dict[int, list[int]] = {}
        self.passes: list[list[int]] = []  # the number of tokens of each sequence, for each pass
        self._caches: list[Any] = []  # so that no identity is used twice

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def tokens_read(self) -> int:
        """By all passes."""
        return sum(map(sum, self.passes))

    def hold(self, cache: Any, tokens: Sequence[int]) -> None:
        """Tell what is in a cache that this transformer has not filled."""
        self._caches.append(cache)
        self.held[id(cache)] = list(tokens)

    def forward(self, tokens: Sequence[int], cache: Any, every: bool = False, **options: Any) -> Any:
        """As that of a transformer."""
        self.passes.append([len(tokens)])
        return self._read(tokens, cache, every, **options)

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As that of a transformer."""
        self.passes.append([len(tokens) for tokens, _ in batch])
        return [self._read(tokens, cache, every) for tokens, cache in batch]

    def _read(self, tokens: Sequence[int], cache: Any, every: bool, **options: Any) -> Any:
        if NEXT in self.failures:
            raise self.failures.pop(NEXT)
        if id(cache) not in self.held:
            assert cache.length == 0, "a cache must be empty, or its tokens told by `hold`"
            self.hold(cache, [])
        before = self.held[id(cache)]
        assert cache.length <= len(before), "a cache counts tokens that it has not read"
        del before[cache.length :]
        for place in range(cache.length, cache.length + len(tokens)):
            if place in self.failures:
                read = list(tokens[: place - cache.length])
                if read:
                    self.inner.forward(read, cache)
                    before += read
                raise self.failures.pop(place)
        found = self.inner.forward(tokens, cache, every, **options)
        before += tokens
        for i, row in enumerate(found if every else [found]):
            end = cache.length - (len(tokens) - 1 - i if every else 0)
            self.logits[end] = [float(x) for x in row]
        rows = [self._planned(row, cache.length - len(found) + 1 + i) for i, row in enumerate(found)] if every else []
        return rows if every else self._planned(found, cache.length)

    def _planned(self, logits: Any, end: int) -> Any:
        said = logits * 0 if hasattr(logits, "shape") else [0.0] * len(logits)
        said[self.plan.get(end, self.other)] = 1
        return said


class Counting(ScriptedTransformer):
    """Only counts: the model itself says what it does."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, {}, 0)

    def forward(self, tokens: Sequence[int], cache: Any, every: bool = False, **options: Any) -> Any:
        """As that of the model."""
        self.passes.append([len(tokens)])
        return self.inner.forward(tokens, cache, every, **options)

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """As that of the model."""
        self.passes.append([len(tokens) for tokens, _ in batch])
        found: list[Any] = self.inner.forward_batch(batch, every)
        return found


def write_chains(folder: Path, chains: Sequence[str], seq_len: int = 64) -> Path:
    """A model whose text is one of some, each as likely as the others: a chain of letters, a token each.

    A chain ends the text, or repeats itself for ever where it ends with "*". No letter may be in two chains, or twice,
    nor in a prompt.
    """
    letters = [letter for chain in chains for letter in chain.removesuffix("*")]
    tokens, scores = vocabulary(259)
    first, tokens = len(tokens), [*tokens, *(letter.encode() for letter in letters)]
    token_of = {letter: first + i for i, letter in enumerate(letters)}
    dim = 2 * ((len(letters) + 2) // 2)
    embeddings, classifier = np.zeros((2, len(tokens), dim), np.float32)
    embeddings[:first, 0] = 1
    for state, letter in enumerate(letters, 1):
        embeddings[token_of[letter], state] = 1
    for chain in chains:
        said = [token_of[letter] for letter in chain.removesuffix("*")]
        following = [*said, said[0] if chain.endswith("*") else llama2_ref.tokenizer.EOS]
        for state, token in zip([0, *(token - first + 1 for token in said)], following, strict=True):
            classifier[token, state] = 1
    square, ones = [np.zeros((dim, dim), np.float32)], np.ones((1, dim), np.float32)
    tall, wide = [np.zeros((2, dim), np.float32)], [np.zeros((dim, 2), np.float32)]
    weights = llama2_fast.Weights(
        embeddings, ones, square, square, square, square, ones, tall, wide, tall, ones[0], 1000 * classifier
    )
    config = llama2_ref.Config(dim, 2, 1, 1, 1, len(tokens), seq_len)
    llama2_fast.write_checkpoint(folder / "model.bin", config, weights)
    write_tokenizer(folder / "tokenizer.bin", tokens, [*scores, *[-1.0] * len(letters)])
    return folder / "model.bin"
