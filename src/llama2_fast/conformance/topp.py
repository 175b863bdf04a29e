"""Which tokens a correct sampler may return."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.bounded import SLACK, U

Array = NDArray[Any]


def topp_accept(p: Array, topp: float, coin: float, dp: Array | float = 0.0) -> Array:
    """Which tokens a correct sampler may return, as a mask: see `docs/design.md`, "Discrete choices".

    `p` are exact probabilities and `dp` how far those of the implementation may be off. Prefix sums of k terms err by
    gamma_k. The nucleus may end at any index that the sums allow, for top-p as it is or rounded to float32; no token
    behind the last such index is ever drawn. Tokens whose probabilities lie closer than their errors may come in any
    order. Where all of p are multiples of 2^-24, sums are exact, and so is the rule, up to ties.
    """
    p = np.asarray(p, np.float64)
    n, nucleus = len(p), 0 < topp < 1
    dp = np.broadcast_to(np.asarray(dp, np.float64), p.shape)
    grid = bool(not np.any(dp) and np.all(p * 2**24 % 1 == 0) and np.sum(p) <= 1)
    g = np.zeros(n + 1) if grid else np.arange(n + 1.0) * U / (1 - np.arange(n + 1.0) * U) * SLACK
    tiny = 0.0 if grid else n * 2.0**-50
    if nucleus:
        r, low, high, inside = _nucleus_range(p, dp, g, tiny, topp, coin)
    else:
        sums, off = np.cumsum(p), np.cumsum(dp)
        r, low, high, inside = (coin, coin), np.maximum(sums - p - off, 0), sums + off, np.ones(n, bool)
    if grid and np.float32(r[0]) == r[0]:
        accept = (low <= r[0]) & (r[0] < high)
    else:
        accept = (r[1] * (1 + U) >= low * (1 - g[-1]) - tiny) & (r[0] * (1 - U) <= high * (1 + g[-1]) + tiny)
    if not nucleus and coin >= (np.sum(p) - np.sum(dp)) * (1 - g[-1]):
        accept[-1] = True  # the token that is left when rounding leaves the sum below the coin
    accepted: Array = accept & inside
    return accepted


def _nucleus_range(p: Array, dp: Array, g: Array, tiny: float, topp: float, coin: float) -> Any:
    """What the errors leave open: the range of coin times the kept sum, and three numbers for each token.

    These are the mass that surely comes before it, the mass that possibly does with its own, and whether it may be
    kept: no more tokens surely come before it than before the last that may be.
    """
    n = len(p)
    c, d = np.cumsum(np.sort(p)[::-1]), np.cumsum(np.sort(dp)[::-1])
    d = d * SLACK + g[:-1] * (c + d) + tiny
    least, most = sorted((topp, float(np.float32(topp))))
    first, last = (int(np.argmax(over)) if over.any() else n - 1 for over in (c + d > least, c - d > most))
    up, down = np.sort(p + dp), np.sort(np.maximum(p - dp, 0))
    before = np.searchsorted(down, p + dp, "right")
    low = np.sum(down) - np.concatenate([[0], np.cumsum(down)])[before]
    high = np.sum(up) - np.concatenate([[0], np.cumsum(up)])[np.searchsorted(up, p - dp, "left")]
    return (coin * (c[first] - d[first]), coin * (c[last] + d[last])), low, high, n - before <= last
