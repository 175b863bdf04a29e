"""From logits to a token: temperature, softmax, top-p, and the random numbers of llama2.c."""

from collections.abc import Sequence
from math import isfinite, isnan
from operator import index
from secrets import randbits
from typing import Any

from . import kernels
from .errors import NumericsError, SamplerError

MASK64 = 2**64 - 1
SEED_FOR_ZERO = 0x9E3779B97F4A7C15  # xorshift would stay at 0 for ever; llama2.c takes the clock instead


class Sampler:
    """Picks a token from logits. The same seed gives the same tokens, and those of llama2.c.

    `temperature` divides the logits before softmax; 0 is argmax. `topp` keeps the fewest most probable tokens whose sum
    exceeds it; 0, and anything from 1 up, keeps all (Holtzman et al., arXiv:1904.09751, section 3.1). `seed` starts
    the random numbers; None asks the system for one. The seed in use can be read back.

    Raises SamplerError if `temperature` or `topp` is negative, NaN or infinite, or `seed` is not in 0..2^64-1.
    """

    def __init__(self, temperature: float = 1.0, topp: float = 0.9, seed: int | None = 0) -> None:
        self.temperature, self.topp = _limit("temperature", temperature), _limit("topp", topp)
        self.seed = randbits(64) if seed is None else _seed(seed)
        self._state = self.seed or SEED_FOR_ZERO

    def sample(self, logits: Sequence[Any]) -> int:
        """The next token: (V) -> (). -infinity rules a token out.

        Raises NumericsError if a logit is NaN or +infinity, or all are -infinity.
        """
        check_logits(logits)
        if self.temperature == 0:
            return kernels.argmax(logits)
        return sample_topp(self.probabilities(logits), self.topp, self._coin())

    def probabilities(self, logits: Sequence[Any]) -> list[Any]:
        """Softmax of the logits over the temperature: (V) -> (V)."""
        peak = float(max(logits))  # taken off first: what is left can't overflow upwards, however small the temperature
        return kernels.softmax([(float(logit) - peak) / self.temperature for logit in logits])

    def _coin(self) -> float:
        self._state, coin = random_f32(self._state)
        return coin


def _limit(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not (isfinite(number) and number >= 0):
        raise SamplerError(f"{name} must be finite and not negative (got {value!r})")
    return number


def _seed(value: Any) -> int:
    try:
        seed = index(value)
    except TypeError:
        seed = -1
    if not 0 <= seed <= MASK64:
        raise SamplerError(f"seed must be a whole number in 0..2^64-1 (got {value!r})")
    return seed


def check_logits(logits: Sequence[Any]) -> None:
    """Raise NumericsError at the first logit that is NaN or +infinity, or if none is finite."""
    for token, logit in enumerate(logits):
        if isnan(logit) or logit == float("inf"):
            raise NumericsError(f"logits must not be NaN or infinite (token {token} has {logit})")
    if not len(logits) or max(logits) == float("-inf"):
        raise NumericsError("logits must not all be -infinity: no token is left to choose")


def random_f32(state: int) -> tuple[int, float]:
    """The next state of the generator, which is not 0, and a number in [0, 1) of 24 random bits.

    xorshift64* (Vigna, ACM Trans. Math. Softw. 42(4), 2016, section 3), of which llama2.c keeps bits 40 to 63.
    """
    state ^= state >> 12
    state ^= state << 25 & MASK64
    state ^= state >> 27
    return state, ((state * 0x2545F4914F6CDD1D & MASK64) >> 40) / 2**24


def sample_mult(probabilities: Sequence[Any], coin: float) -> int:
    """The first token whose running sum exceeds `coin`, the last token if none does: (V), () -> ()."""
    total = 0.0
    for token, probability in enumerate(probabilities):
        total = total + probability
        if coin < total:
            return token
    return len(probabilities) - 1


def sample_topp(probabilities: Sequence[Any], topp: float, coin: float) -> int:
    """A token from the most probable ones whose sum first exceeds `topp`: (V), (), () -> ().

    Tokens are sorted by falling probability, ties by index. Those after the first whose running sum exceeds `topp` are
    dropped; at least one is kept. `coin` in [0, 1) then picks by the running sum, scaled to the sum of those kept.
    """
    if not 0 < topp < 1:
        return sample_mult(probabilities, coin)
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    kept: list[Any] = []
    total = 0.0
    for token in order:
        kept.append(probabilities[token])
        total = total + probabilities[token]
        if total > topp:
            break
    return order[sample_mult(kept, coin * total)]
