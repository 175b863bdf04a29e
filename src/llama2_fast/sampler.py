"""From logits to a token, as llama2_ref.sampler, without sorting what top-p is going to drop."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llama2_ref import sampler as reference
from llama2_ref.errors import NumericsError
from llama2_ref.sampler import TokenLogprob, seen_tokens, token_logprob

from . import kernels

Array = NDArray[Any]


class Sampler(reference.Sampler):
    """Picks a token from logits. As llama2_ref.Sampler."""

    def sample(self, logits: ArrayLike, tokens: Iterable[int] = ()) -> int:
        """The next token: (V) -> (). As llama2_ref.Sampler.sample."""
        scores = penalize(np.asarray(logits, np.float32), tokens, self.repetition_penalty)
        check_logits(scores)
        if self.temperature == 0:
            return int(kernels.argmax(scores))
        candidates = top_k(scores, self.topk)
        probabilities = self._softmax(scores[candidates])
        return int(candidates[sample_minp(probabilities, self.minp, self.topp, self._coin())])

    def probabilities(self, logits: ArrayLike) -> Any:
        """Softmax of the logits over the temperature: (V) -> (V). As llama2_ref.Sampler.probabilities."""
        return self._softmax(np.asarray(logits, np.float32))

    def logprob(self, logits: ArrayLike, token: int, count: int) -> TokenLogprob:
        """The logarithm of a token's probability, and the `count` most likely ones. As llama2_ref.Sampler.logprob."""
        array = np.asarray(logits, np.float32)
        return token_logprob(log_probabilities(array), array, top_k(array, count) if count else (), token)

    @staticmethod
    def negative_log_likelihoods(logits: ArrayLike, following: Sequence[int]) -> list[float]:
        """-log p of each of T tokens: (T, V), (T) -> (T). As llama2_ref.Sampler.negative_log_likelihoods."""
        logprobs = log_probabilities(np.asarray(logits, np.float32))
        return [-float(x) for x in logprobs[np.arange(len(following)), list(following)]]

    def _softmax(self, scores: Array) -> Array:
        # Divided in float64: a temperature below float32's range is legal.
        with np.errstate(over="ignore"):  # what is too small for float32 is -infinity, whose exp is 0, too
            return kernels.softmax((scores - scores.max()) / np.float64(self.temperature))


def log_probabilities(logits: Array) -> Array:
    """log softmax, in float64. As llama2_ref.sampler.log_probabilities, also for many vectors: (..., V) -> (..., V)."""
    shifted: Array = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def penalize(logits: Array, tokens: Iterable[int], penalty: float) -> Array:
    """Logits of which those of `tokens` are smaller. As llama2_ref.sampler.penalize, bit for bit: in float64."""
    if penalty == 1:
        return logits
    scores, seen = logits.astype(np.float64), seen_tokens(tokens, len(logits))
    some = scores[seen]
    scores[seen] = np.where(some > 0, some / penalty, some * penalty)
    return scores


def top_k(scores: Array, k: int) -> Array:
    """The `k` tokens of the largest numbers, in the order of the vocabulary. As llama2_ref.sampler.top_k."""
    if not 0 < k < len(scores):
        return np.arange(len(scores))
    least = np.partition(scores, -k)[-k]
    above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
    return np.sort(np.concatenate((above, equal[: k - len(above)])))


def check_logits(logits: Array) -> None:
    """As llama2_ref.sampler.check_logits."""
    bad = np.isnan(logits) | np.isposinf(logits)
    if bad.any():
        token = int(bad.argmax())
        raise NumericsError(f"logits must not be NaN or infinite (token {token} has {logits[token]})")
    if np.isneginf(logits).all():
        raise NumericsError("logits must not all be -infinity: no token is left to choose")


def sample_mult(probabilities: NDArray[np.float32], coin: float) -> int:
    """The first token whose running sum exceeds `coin`, else the last. As llama2_ref.sampler.sample_mult."""
    sums = np.cumsum(probabilities, dtype=np.float64)
    return min(int(np.searchsorted(sums, coin, side="right")), len(sums) - 1)


def sample_topp(probabilities: NDArray[np.float32], topp: float, coin: float) -> int:
    """A token from the most probable ones whose sum first exceeds `topp`. As llama2_ref.sampler.sample_topp.

    Tokens below `(sum - topp) / V` are not even sorted: all of them together weigh less than `sum - topp`, so that
    the others exceed `topp` by themselves. (llama2.c drops those below `(1 - topp) / (V - 1)`, which can be all.)
    """
    if not 0 < topp < 1:
        return sample_mult(probabilities, coin)
    wide = probabilities.astype(np.float64)
    cutoff = (wide.sum() - topp) / len(wide) * (1 - 1e-3)  # a little less, for the rounding of sums
    candidates = np.flatnonzero(wide >= cutoff)
    order = candidates[np.argsort(-wide[candidates], kind="stable")]
    sums = np.cumsum(wide[order])
    kept = min(int(np.searchsorted(sums, topp, side="right")) + 1, len(sums))
    chosen = int(np.searchsorted(sums[:kept], coin * sums[kept - 1], side="right"))
    return int(order[min(chosen, kept - 1)])


def sample_minp(probabilities: NDArray[np.float32], minp: float, topp: float, coin: float) -> int:
    """A token from what both top-p and min-p keep. As llama2_ref.sampler.sample_minp."""
    if not minp:
        return sample_topp(probabilities, topp, coin)
    wide = probabilities.astype(np.float64)
    likely = np.flatnonzero(wide >= minp * wide.max())
    if len(likely) == len(wide):
        return sample_topp(probabilities, topp, coin)
    kept = probabilities[likely]
    if not 0 < topp < 1:
        return int(likely[sample_mult(kept, coin * float(wide[likely].sum()))])
    return int(likely[sample_topp(kept, topp, coin)])
