"""What can be asked of a text: how long it is, how its tokens are chosen, where it ends, what is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Self, TypedDict

from ..errors import PromptError, SamplerError
from ..sampler import Sampler
from .stop import stop_strings

SPELLINGS = {"top_p": "topp", "top_k": "topk", "min_p": "minp"}  # how others write it: how it is written here


class DefaultNumber(float):
    """The default of a parameter, which can be told from the same number where a caller has given that."""


TOPP = DefaultNumber(0.9)


class GenerationOptions(TypedDict, total=False):
    """Keywords of `Model.generate` and its like that have no place among the positional ones: see GenerationParams."""

    topk: int
    minp: float
    repetition_penalty: float
    stop: str | Sequence[str]
    logprobs: int | None
    top_p: float  # top_p, top_k, min_p: other spellings; giving both of a pair is an error
    top_k: int
    min_p: float


@dataclass(frozen=True)
class GenerationParams:
    """All that may be asked of one text, checked. How the sampler's numbers work together is told by Sampler."""

    steps: int = 256
    """Positions that the text may take, prompt and BOS included: a whole number from 0 up; 0, or more than the context,
    is the whole context. PromptError."""

    temperature: float = 1.0
    """What logits are divided by: finite, from 0 up; 0 always takes the likeliest token. SamplerError."""

    topp: float = 0.9
    """Keep the fewest likeliest tokens whose probabilities exceed it together: finite, from 0 up; 0, and anything from
    1 up, keeps all. Also spelled `top_p`. SamplerError."""

    seed: int | None = None
    """What the random numbers begin from: in 0..2^64-1; None takes another one each time. SamplerError."""

    topk: int = 0
    """Keep that many of the likeliest tokens: in 0..2^64-1; 0 keeps all. Also spelled `top_k`. SamplerError."""

    minp: float = 0.0
    """Keep tokens of at least that part of the largest probability: in 0..1; 0 keeps all. Also spelled `min_p`.
    SamplerError."""

    repetition_penalty: float = 1.0
    """Above 1, tokens of the text so far become less likely: in 0.001..1000; 1 is off. SamplerError."""

    stop: str | Sequence[str] = ()
    """One string, or several, before the first of which what is generated ends: none of them empty. Kept as a tuple.
    PromptError."""

    logprobs: int | None = None
    """How many of the likeliest tokens are told, with their log-probabilities, beside each token: in 0..V; None tells
    nothing, not even that of the token itself. SamplerError."""

    def __post_init__(self) -> None:
        """Raise PromptError or SamplerError, as the fields say, for a value that is out of range."""
        object.__setattr__(self, "steps", _check_steps(self.steps))
        object.__setattr__(self, "stop", stop_strings(self.stop))
        self.make_sampler(Sampler)  # which checks its numbers
        check_logprobs(self.logprobs)

    @classmethod
    def of(cls, steps: int, temperature: float, topp: float, seed: int | None, options: GenerationOptions) -> Self:
        """The parameters that a method of Model was called with, in whichever of two spellings.

        Raises SamplerError if one is given in both, TypeError for an option that there is not, and as the class.
        """
        named: dict[str, Any] = dict(options)
        if not isinstance(topp, DefaultNumber):
            named["topp"] = topp
        for spelling, name in SPELLINGS.items():
            if spelling in named and name in named:
                raise SamplerError(f"{name} and {spelling} are the same parameter: give one of them (got both)")
            if spelling in named:
                named[name] = named.pop(spelling)
        return cls(steps, temperature, seed=seed, **named)

    def make_sampler(self, sampler: type[Sampler]) -> Sampler:
        """A sampler with a random stream of its own, which begins from the seed."""
        return sampler(self.temperature, self.topp, self.seed, self.topk, self.minp, self.repetition_penalty)


def check_logprobs(count: int | None, vocab_size: int | None = None) -> None:
    """Raise SamplerError unless `count` is None or a whole number in 0..vocab_size (without it: from 0 up)."""
    whole = isinstance(count, int) and count >= 0
    if count is not None and not (whole and (vocab_size is None or count <= vocab_size)):
        most = "V, the size of the vocabulary" if vocab_size is None else vocab_size
        raise SamplerError(f"logprobs must be a whole number of tokens in 0..{most} (got {count!r})")


def check_count(count: int) -> int:
    """The number of samples. Raises PromptError unless it is a whole number from 1 up."""
    if not isinstance(count, int) or count < 1:
        raise PromptError(f"samples must be a whole number from 1 up (got {count!r})")
    return count


def _check_steps(steps: int) -> int:
    try:
        whole = index(steps)
    except TypeError:
        raise PromptError(f"steps must be a whole number from 0 up (got {steps!r})") from None
    if whole < 0:
        raise PromptError(f"steps must not be negative (got {steps}); 0 means the whole context")
    return whole
