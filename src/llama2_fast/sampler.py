"""From logits to a token, as llama2_ref.sampler, without sorting what top-p is going to drop."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llama2_ref import sampler as reference
from llama2_ref.errors import NumericsError

from . import kernels


class Sampler(reference.Sampler):
    """Picks a token from logits. As llama2_ref.Sampler."""

    def sample(self, logits: ArrayLike) -> int:
        """The next token: (V) -> (). As llama2_ref.Sampler.sample."""
        array = np.asarray(logits, np.float32)
        check_logits(array)
        if self.temperature == 0:
            return int(kernels.argmax(array))
        return sample_topp(self.probabilities(array), self.topp, self._coin())

    def probabilities(self, logits: ArrayLike) -> Any:
        """Softmax of the logits over the temperature: (V) -> (V). As llama2_ref.Sampler.probabilities."""
        array = np.asarray(logits, np.float32)
        # Divided in float64: a temperature below float32's range is legal.
        return kernels.softmax((array - array.max()) / np.float64(self.temperature))


def check_logits(logits: NDArray[np.float32]) -> None:
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
