"""Perplexity: how well a model predicts a text, as one number.

It is exp of the mean negative log-likelihood of a token, exp(-1/n sum_i log p(t_i | t_<i)), in float64, over all tokens
of the text but the first, each scored exactly once (Jelinek et al., J. Acoust. Soc. Am. 62, S63, 1977). A text that is
longer than the context is read in windows, each of which begins `stride` tokens behind the last one and scores what
that has not: with a smaller stride, tokens have more before them (at least `context` - `stride`), and the model is
run more often (Hugging Face, "Perplexity of fixed-length models"). BOS is part of the text, where there is one, and
of no other window than the first.
"""

from collections.abc import Callable, Iterator, Sequence
from math import exp, fsum, sqrt
from typing import Any, NamedTuple

from ..errors import PromptError
from ..sampler import Sampler

LOGITS = 2**23  # that are held at a time: those of a long text would take more memory than the model
Progress = Callable[[int, int, float], None]  # tokens done, all of them, perplexity of those that are done


class Perplexity(NamedTuple):
    """What a model makes of a text."""

    tokens: int  # that are predicted
    nll: float  # the sum of their negative log-likelihoods, natural logarithms
    mean: float  # nll / tokens
    error: float  # the standard error of the mean, as if tokens were independent; 0 of a single one

    @property
    def perplexity(self) -> float:
        """Exp of the mean; infinite where float64 can't hold it."""
        return exp(self.mean) if self.mean < 709 else float("inf")


def perplexity(
    transformer: Any,
    tokens: Sequence[int],
    context: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
    sampler: type[Sampler] = Sampler,
) -> Perplexity:
    """The perplexity of a text of two tokens or more, in windows of `context` tokens (default: the model's).

    `stride` is from 1 to `context` - 1 (default: half of `context`). `progress` is called as work goes on;
    `sampler` is that of the package in use, which knows its logits. Raises PromptError if there are too few tokens, or
    `context` or `stride` is out of range, and what `forward` raises.
    """
    if len(tokens) < 2:
        raise PromptError(f"a text must have at least 2 tokens to be predicted (got {len(tokens)})")
    context, stride = check_windows(context, stride, transformer.config.seq_len)
    nlls: list[float] = []
    for begin, first, end in windows(len(tokens), context, stride):
        for part in _scored(sampler, transformer, tokens[begin:end], first - begin):
            nlls += part
            if progress is not None:
                progress(len(nlls), len(tokens) - 1, _summary(nlls).perplexity)
    return _summary(nlls)


def check_windows(context: int | None, stride: int | None, seq_len: int) -> tuple[int, int]:
    """Both, or their defaults. Raises PromptError if one is out of range."""
    context = seq_len if context is None else context
    if not 2 <= context <= seq_len:
        raise PromptError(f"context must be in 2..{seq_len}, which is the model's (got {context})")
    stride = context // 2 if stride is None else stride
    if not 1 <= stride < context:
        raise PromptError(f"stride must be in 1..{context - 1}, below the context of {context} (got {stride})")
    return context, stride


def windows(count: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(begin, first, end) of each window of a text: of its tokens begin..end-1, it scores those from `first` on."""
    first = 1
    for begin in range(0, count, stride):
        end = min(begin + context, count)
        yield begin, first, end
        if end == count:
            return
        first = end


def _scored(sampler: type[Sampler], transformer: Any, window: Sequence[int], first: int) -> Iterator[list[float]]:
    """Negative log-likelihoods of the tokens of a window from `first` on, some at a time."""
    cache = transformer.new_cache()
    if first > 1:
        transformer.forward(window[: first - 1], cache)  # what is before; of its logits only the last are made
    step = max(1, LOGITS // transformer.config.vocab_size)
    for start in range(first - 1, len(window) - 1, step):
        end = min(start + step, len(window) - 1)
        logits = transformer.forward(window[start:end], cache, every=True)
        yield sampler.negative_log_likelihoods(logits, window[start + 1 : end + 1])


def _summary(nlls: Sequence[float]) -> Perplexity:
    count, total = len(nlls), fsum(nlls)
    mean = total / count
    variance = fsum((x - mean) ** 2 for x in nlls) / max(1, count - 1)
    return Perplexity(count, total, mean, sqrt(variance / count))
