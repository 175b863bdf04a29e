"""Equal bits, one way as another: by any number of threads, in parts, and beside other sequences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class BitIdentity:
    """What must give the same bits as all tokens at once do: `broken` says where they differ."""

    kind: str  # "threads", "parts" or "batch"
    number: int  # of threads, tokens in a part, or the number of the sequence
    broken: str | None

    @property
    def what(self) -> str:
        """As in "3 threads"."""
        if self.kind == "batch":
            return f"sequence {self.number} of a batch"
        return f"{'parts of ' * (self.kind == 'parts')}{self.number} {'token' if self.kind == 'parts' else 'thread'}s"


def first_difference(got: Array, expected: Array) -> str | None:
    """Where the bits of two tables of logits, (T, V), differ first; None if they are equal."""
    differ = np.argwhere(np.ascontiguousarray(got).view(np.uint32) != np.ascontiguousarray(expected).view(np.uint32))
    for token, index in differ[:1].tolist():
        two = float(got[token, index]), float(expected[token, index])
        return f"logits of token {token} differ at index {index} ({two[0]!r}, not {two[1]!r})"
    return None
