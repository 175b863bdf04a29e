"""From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, and the random numbers of llama2.c."""

from collections.abc import Iterable, Sequence
from math import exp, fsum, isfinite, isnan, log
from operator import index
from secrets import randbits
from typing import Any, NamedTuple

from . import kernels
from .errors import NumericsError, SamplerError

MASK64 = 2**64 - 1
SEED_FOR_ZERO = 0x9E3779B97F4A7C15  # xorshift would stay at 0 for ever; llama2.c takes the clock instead
PENALTIES = 1e-3, 1e3  # no logit of a float32 model overflows in this range


class TokenLogprob(NamedTuple):
    """The natural logarithm of a token's probability, as the model gives it: before penalty, temperature and filters.

    `top` are the most likely tokens with theirs, likeliest first, lower ids first where they are equal.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampler:
    """Picks a token from logits.

    The same seed gives the same tokens, and, where only temperature and top-p are used, those of llama2.c.

    The steps, in this order (that of Hugging Face's transformers):

    1. `repetition_penalty` divides the positive logits of all tokens of the text so far, prompt included, and
       multiplies the negative ones, each once; 1 is off (Keskar et al., arXiv:1909.05858, section 4.1, which divides
       them all: a negative logit would gain).
    2. `temperature` divides the logits; 0 is argmax, and ends here.
    3. `topk` keeps that many tokens of the largest logits, ties by index; 0 is off. Softmax is over those.
    4. `topp` keeps the fewest most probable tokens whose sum exceeds it; 0, and anything from 1 up, keeps all (Holtzman
       et al., arXiv:1904.09751, section 3.1).
    5. `minp` keeps tokens of at least that part of the largest probability; 0 is off (Nguyen et al., arXiv:2407.01082,
       section 3).

    One of those left is drawn. `seed` starts the random numbers; None asks the system for one. The seed in use can be
    read back.

    Raises SamplerError if `temperature` or `topp` is negative, NaN or infinite, `seed` is not in 0..2^64-1, `topk` is
    no whole number from 0 up, `minp` is not in 0..1, or `repetition_penalty` not in 0.001..1000.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = 0,
        topk: int = 0,
        minp: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> None:
        self.temperature, self.topp = _limit("temperature", temperature), _limit("topp", topp)
        self.seed = randbits(64) if seed is None else _whole("seed", seed, MASK64, "2^64-1")
        self.topk = _whole("topk", topk, MASK64, "2^64-1; 0 is off")
        self.minp = _in_range("minp", minp, 0, 1, "0..1; 0 is off")
        self.repetition_penalty = _in_range(
            "repetition_penalty", repetition_penalty, *PENALTIES, "0.001..1000; 1 is off"
        )
        self._state = self.seed or SEED_FOR_ZERO

    def sample(self, logits: Sequence[Any], tokens: Iterable[int] = ()) -> int:
        """The next token: (V) -> (). -infinity rules a token out. `tokens` are those of the text so far.

        Raises NumericsError if a logit is NaN or +infinity, or all are -infinity, and SamplerError if one of `tokens`
        has no logit.
        """
        scores = penalize(logits, tokens, self.repetition_penalty)
        check_logits(scores)
        if self.temperature == 0:
            return kernels.argmax(scores)
        candidates = top_k(scores, self.topk)
        probabilities = self.probabilities([scores[token] for token in candidates])
        return candidates[sample_minp(probabilities, self.minp, self.topp, self._coin())]

    def probabilities(self, logits: Sequence[Any]) -> list[Any]:
        """Softmax of the logits over the temperature: (V) -> (V)."""
        peak = float(max(logits))  # taken off first: what is left can't overflow upwards, however small the temperature
        return kernels.softmax([(float(logit) - peak) / self.temperature for logit in logits])

    def logprob(self, logits: Sequence[Any], token: int, count: int) -> TokenLogprob:
        """The logarithm of a token's probability, and the `count` most likely ones: (V), (), () -> ()."""
        likely = top_k(logits, count) if count else ()
        return token_logprob(log_probabilities(logits), logits, likely, token)

    @staticmethod
    def negative_log_likelihoods(logits: Sequence[Any], following: Sequence[int]) -> list[float]:
        """-log p of each of T tokens, by the logits behind the token before it: (T, V), (T) -> (T)."""
        return [-log_probabilities(row)[token] for row, token in zip(logits, following, strict=True)]

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


def _in_range(name: str, value: Any, least: float, most: float, rule: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not least <= number <= most:
        raise SamplerError(f"{name} must be in {rule} (got {value!r})")
    return number


def _whole(name: str, value: Any, most: int, rule: str) -> int:
    try:
        number = index(value)
    except TypeError:
        number = -1
    if not 0 <= number <= most:
        raise SamplerError(f"{name} must be a whole number in 0..{rule} (got {value!r})")
    return number


def check_logits(logits: Sequence[Any]) -> None:
    """Raise NumericsError at the first logit that is NaN or +infinity, or if none is finite."""
    for token, logit in enumerate(logits):
        if isnan(logit) or logit == float("inf"):
            raise NumericsError(f"logits must not be NaN or infinite (token {token} has {logit})")
    if not len(logits) or max(logits) == float("-inf"):
        raise NumericsError("logits must not all be -infinity: no token is left to choose")


def log_probabilities(logits: Sequence[Any]) -> Sequence[Any]:
    """log softmax(x), x_i - max(x) - log(sum_j exp(x_j - max(x))), in float64: (V) -> (V).

    Error bound: |y_i - y~_i| <= (V + 4 + |x_i - max(x)|) 2^-52 + 2^-52 |y_i|: each power errs by at most
    |x_j - max(x)| exp(x_j - max(x)) 2^-53 < 2^-54 and its own rounding, and the sum, which is at least 1, by V 2^-53.
    """
    peak = float(max(logits))
    shifted = [float(logit) - peak for logit in logits]
    total = log(fsum(exp(x) for x in shifted))
    return [x - total for x in shifted]


def token_logprob(logprobs: Any, logits: Any, likely: Iterable[int], token: int) -> TokenLogprob:
    """What is told of a token; `likely` are those to be told beside it, which come in the order of their logits."""
    ordered = sorted(likely, key=lambda other: (-logits[other], other))
    return TokenLogprob(token, float(logprobs[token]), tuple((int(t), float(logprobs[t])) for t in ordered))


def penalize(logits: Sequence[Any], tokens: Iterable[int], penalty: float) -> Sequence[Any]:
    """Logits of which those of `tokens` are smaller, where `penalty` is above 1: (V) -> (V).

    x / penalty if x > 0, else x * penalty, once for each token.
    """
    if penalty == 1:
        return logits
    scores = [float(logit) for logit in logits]
    for token in seen_tokens(tokens, len(scores)):
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    return scores


def seen_tokens(tokens: Iterable[int], vocab_size: int) -> list[int]:
    """Each of the tokens once. Raises SamplerError if one is not in 0..vocab_size-1."""
    seen = sorted(set(tokens))
    for token in (*seen[:1], *seen[-1:]):
        if not 0 <= token < vocab_size:
            raise SamplerError(f"tokens to be penalized must be in 0..{vocab_size - 1} (got {token})")
    return seen


def top_k(scores: Sequence[Any], k: int) -> Sequence[int]:
    """The `k` tokens of the largest numbers, lower ones first where numbers are equal; all where `k` is 0: (V) -> (k).

    They come in the order of the vocabulary.
    """
    everything = range(len(scores))
    if not 0 < k < len(scores):
        return everything
    return sorted(sorted(everything, key=lambda token: -scores[token])[:k])


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


def sample_minp(probabilities: Sequence[Any], minp: float, topp: float, coin: float) -> int:
    """A token from what both top-p and min-p keep: (V), (), (), () -> ().

    Tokens of less than `minp` times the largest probability are dropped. (To drop them first is the same: either rule
    keeps the most probable tokens, so that the stricter one decides, and no probability is scaled in between.)
    """
    least = minp * max(probabilities)
    likely = [token for token, probability in enumerate(probabilities) if probability >= least]
    if len(likely) == len(probabilities):
        return sample_topp(probabilities, topp, coin)
    kept = [probabilities[token] for token in likely]
    if not 0 < topp < 1:
        return likely[sample_mult(kept, coin * fsum(kept))]
    return likely[sample_topp(kept, topp, coin)]
