"""The forward pass: embedding, then attention and feed-forward in each block, then logits."""

from collections.abc import Iterator, Sequence
from copy import copy
from math import isfinite
from types import ModuleType
from typing import Any

from . import kernels as reference_kernels
from .config import Config
from .errors import NumericsError, PromptError
from .weights import Weights, matrix_of


class KVCache:
    """Keys and values of the tokens that one sequence has seen so far.

    `keys[layer]` and `values[layer]` hold a row of K*E numbers for each token; `length` is the number of tokens.
    """

    def __init__(self, config: Config) -> None:
        self.length = 0
        self.keys: list[list[Any]] = [[] for _ in range(config.n_layers)]
        self.values: list[list[Any]] = [[] for _ in range(config.n_layers)]

    def store(self, layer: int, position: int, key: Any, value: Any) -> None:
        """Put the rows of a token at its position. What an interrupted pass left behind it there, and after, goes."""
        self.keys[layer][position:] = [key]
        self.values[layer][position:] = [value]

    def copy(self) -> "KVCache":
        """A cache of its own that holds the same tokens."""
        other = copy(self)  # rows are never changed, only replaced
        other.keys = [rows[: self.length] for rows in self.keys]
        other.values = [rows[: self.length] for rows in self.values]
        return other


class Taps(dict[tuple[int, str], Any]):
    """Every buffer of a forward pass: `taps[layer, name][t]` is the one of token t.

    Names in a layer are att_norm (D), q (H*E) and k (K*E) after RoPE, v (K*E), att (H*E), x1 (D), ffn_norm (D), gate
    (F) and out (D); after the last layer, under layer L, final_norm (D) and logits (V) where those were asked for.
    """

    def record(self, layer: int, name: str, value: Any) -> Any:
        """Keep a buffer. The forward pass goes on with what this returns, so that a subclass may put in another."""
        self.setdefault((layer, name), []).append(value)
        return value


class Transformer:
    """A Llama-2 model (Touvron et al., arXiv:2302.13971 and arXiv:2307.09288).

    `kernels` is any module, or object, with the names of `llama2_ref.kernels`.
    """

    def __init__(self, config: Config, weights: Weights, kernels: ModuleType | Any = reference_kernels) -> None:
        self.config, self.weights, self.kernels = config, weights, kernels
        self.quantize: str | None = None  # weights already are what is computed with (see protocol.Engine)

    def new_cache(self) -> KVCache:
        """An empty key/value cache, for one sequence."""
        return KVCache(self.config)

    def forward(self, tokens: Sequence[int], cache: KVCache, every: bool = False, taps: Taps | None = None) -> Any:
        """Append T tokens to a sequence: logits of the last one, (V), or with `every` of all of them, (T, V).

        `taps` also records every buffer of every layer. If this raises or is interrupted, the cache keeps the tokens
        that were complete.

        Raises PromptError if there is no token, an id is outside the vocabulary, or the context is too short, and
        NumericsError if a logit is not finite, with the first weight that is not, if there is one.
        """
        check_tokens(self.config, tokens, cache.length)
        logits = []
        for i, token in enumerate(tokens):
            try:
                x = self._blocks(token, cache, taps)
                if every or i == len(tokens) - 1:
                    logits.append(self._logits(x, taps))
            except NumericsError as error:
                raise with_cause(error, cache.length, first_not_finite(self.weights)) from None
            cache.length += 1
        return logits if every else logits[-1]

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]], every: bool = False) -> list[Any]:
        """Append tokens to several sequences, each with a cache of its own: the results of `forward`, one for each.

        [(tokens, cache), ...]: prompts and single tokens in any mixture. Raises what `forward` raises, PromptError
        before any work is done, and ValueError if two sequences share a cache. After a NumericsError the caches keep
        what was complete.
        """
        check_batch(self.config, batch)
        return [self.forward(tokens, cache, every) for tokens, cache in batch]

    def _blocks(self, token: int, cache: KVCache, taps: Taps | None) -> Any:
        """From a token to the residual stream after the last layer: () -> (D)."""
        x = matrix_of(self.weights.token_embedding_table).row(self.kernels, token)
        for layer in range(self.config.n_layers):
            x = self._attention(layer, x, cache, taps)
            x = self._feed_forward(layer, x, taps)
        return x

    def _attention(self, layer: int, x: Any, cache: KVCache, taps: Taps | None) -> Any:
        """x + wo attention(rope(wq h), rope(wk h), wv h), h = rmsnorm(x): (D) -> (D)."""
        w, k, c = self.weights, self.kernels, self.config
        table = k.rope_table(cache.length, *c.rope)
        h = tap(taps, layer, "att_norm", k.rmsnorm(x, w.rms_att_weight[layer], c.norm_eps))
        query = tap(taps, layer, "q", k.rope(self._product(w.wq[layer], h), *table))
        key = tap(taps, layer, "k", k.rope(self._product(w.wk[layer], h), *table))
        value = tap(taps, layer, "v", self._product(w.wv[layer], h))
        cache.store(layer, cache.length, key, value)
        att = tap(taps, layer, "att", k.attention(query, cache.keys[layer], cache.values[layer], c.n_heads))
        return tap(taps, layer, "x1", k.add(x, self._product(w.wo[layer], att)))

    def _feed_forward(self, layer: int, x: Any, taps: Taps | None) -> Any:
        """x + w2 swiglu(w1 h, w3 h), h = rmsnorm(x): (D) -> (D)."""
        w, k = self.weights, self.kernels
        h = tap(taps, layer, "ffn_norm", k.rmsnorm(x, w.rms_ffn_weight[layer], self.config.norm_eps))
        gate = tap(taps, layer, "gate", k.swiglu(self._product(w.w1[layer], h), self._product(w.w3[layer], h)))
        return tap(taps, layer, "out", k.add(x, self._product(w.w2[layer], gate)))

    def _logits(self, x: Any, taps: Taps | None) -> Any:
        """wcls rmsnorm(x): (D) -> (V)."""
        w, top = self.weights, self.config.n_layers
        h = tap(taps, top, "final_norm", self.kernels.rmsnorm(x, w.rms_final_weight, self.config.norm_eps))
        logits = tap(taps, top, "logits", self._product(w.wcls, h))
        for token, logit in enumerate(logits):
            if not isfinite(logit):
                raise NumericsError(f"logits must be finite (token {token} has {logit})")
        return logits

    def _product(self, w: Any, x: Any) -> Any:
        """Matrix times vector, in integers where the matrix holds integers."""
        matrix = matrix_of(w)
        return matrix.multiply(self.kernels, matrix.prepare(self.kernels, x))


def tap(taps: Taps | None, layer: int, name: str, value: Any) -> Any:
    """The value itself, or what the taps make of it."""
    return value if taps is None else taps.record(layer, name, value)


def check_tokens(config: Config, tokens: Sequence[int], length: int) -> None:
    """Raise PromptError unless `tokens` can follow `length` others."""
    if not len(tokens):
        raise PromptError("there must be at least one token (got none)")
    if length + len(tokens) > config.seq_len:
        got = f"{length} + {len(tokens)}" if length else len(tokens)
        raise PromptError(f"tokens must fit into the context of {config.seq_len} (got {got})")
    for token in tokens:
        if not 0 <= token < config.vocab_size:
            raise PromptError(f"token ids must be in 0..{config.vocab_size - 1} (got {token})")


def check_batch(config: Config, batch: Sequence[tuple[Sequence[int], Any]]) -> None:
    """Raise PromptError unless the tokens can follow what is in their caches, ValueError if a cache occurs twice."""
    for tokens, cache in batch:
        check_tokens(config, tokens, cache.length)
    if len({id(cache) for _, cache in batch}) < len(batch):
        raise ValueError("each sequence of a batch needs a cache of its own")


def with_cause(error: NumericsError, position: int, cause: str | None) -> NumericsError:
    """The same error, with the position of the token and the weight that is to blame."""
    cause = cause or "every weight is finite, but numbers in between overflowed"
    return NumericsError(f"{error}, at position {position}: {cause}")


def first_not_finite(weights: Weights) -> str | None:
    """The first weight that is NaN or infinite, as in "wq[2][0][7] is nan"."""
    for name, field in weights.tensors():
        for index, value in _numbers(field):
            if not isfinite(value):
                return f"{name}{''.join(f'[{i}]' for i in index)} is {value}"
    return None


def _numbers(field: Any) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every number of a tensor, with its index. Of integers only the scales and offsets can be other than finite."""
    if not hasattr(field, "__len__") and not hasattr(field, "parts"):  # a number of any kind
        yield (), field
        return
    for part in matrix_of(field).float_parts:
        for i, item in enumerate(part):
            yield from (((i, *index), value) for index, value in _numbers(item))
