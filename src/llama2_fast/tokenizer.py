"""Text to token ids and back, as llama2_ref.tokenizer, at a cost that grows like n log n.

Two neighbouring characters that stand side by side in no token are never joined, nor is anything across them. A text
is therefore cut there into parts, mostly words, which are encoded one by one; those seen before are looked up. Inside a
part a heap holds the pairs that can be joined.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise

from llama2_ref import tokenizer as reference

LONGEST_REMEMBERED = 32  # characters in a part that is worth remembering
MOST_REMEMBERED = 2**16  # parts
GONE = -1  # where a token was joined to the one on its left


class Tokenizer(reference.Tokenizer):
    """A vocabulary, and the rule that cuts a text into its tokens. As llama2_ref.Tokenizer."""

    def __init__(
        self, tokens: Sequence[bytes], scores: Sequence[float], special_tokens: reference.SpecialTokens | None = None
    ) -> None:
        super().__init__(tokens, scores, special_tokens)
        texts = (token.decode(errors="ignore") for token in self._ids)
        self._neighbours = {left + right for text in texts for left, right in pairwise(text)}
        self._remembered: dict[str, list[int]] = {}

    def _encode(self, text: str) -> list[int]:
        """As llama2_ref.Tokenizer, part by part."""
        ids: list[int] = []
        for part in self._split(text):
            ids += self._remembered.get(part) or self._encode_part(part)
        return ids

    def _split(self, text: str) -> Iterator[str]:
        """Cut a text between characters that no token holds side by side."""
        start = 0
        for i in range(1, len(text)):
            if text[i - 1 : i + 1] not in self._neighbours:
                yield text[start:i]
                start = i
        yield text[start:]

    def _encode_part(self, part: str) -> list[int]:
        ids = self._merge(self._characters(part))
        if len(part) <= LONGEST_REMEMBERED and len(self._remembered) < MOST_REMEMBERED:
            self._remembered[part] = ids
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """As llama2_ref.Tokenizer: the best pair first. Tokens are a linked list, whose pairs wait in a heap."""
        end = len(ids)
        ids, after, before = [*ids, GONE], [*range(1, end + 1), end], [*range(-1, end)]
        heap: list[tuple[float, int, int, int, int]] = []
        for i in range(end - 1):
            self._push(heap, i, ids[i], ids[i + 1])
        while heap:
            _, i, joined, left, right = heappop(heap)
            j = after[i]
            if ids[i] != left or ids[j] != right:  # one of the two has been joined to another meanwhile
                continue
            ids[i], ids[j] = joined, GONE
            after[i] = after[j]
            before[after[i]] = i
            if before[i] >= 0:
                self._push(heap, before[i], ids[before[i]], joined)
            self._push(heap, i, joined, ids[after[i]])
        return [token for token in ids if token != GONE]

    def _push(self, heap: list[tuple[float, int, int, int, int]], i: int, left: int, right: int) -> None:
        """Put a pair that can be joined into the heap: higher scores first, then lower positions."""
        joined = None if right == GONE else self._joined(left, right)  # the list ends with one that is gone
        if joined is not None:
            heappush(heap, (-self.scores[joined], i, joined, left, right))
