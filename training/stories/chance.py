"""Choices drawn from a seed, the same on every machine and Python version."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """A stream of choices fixed by its seed.

    Only ``random.Random.random`` is used: its algorithm is documented as stable, that of ``choice`` and
    ``shuffle`` is not.
    """

    def __init__(self, seed: int) -> None:
        """Begin the stream of ``seed``."""
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        """Return a whole number from 0 up to, not including, ``limit``."""
        return int(self._random() * limit)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of ``items``."""
        return items[int(self._random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return ``count`` different entries of ``items``, in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]

    def maybe(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._random() < probability
