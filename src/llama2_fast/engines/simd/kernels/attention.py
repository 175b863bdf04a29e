"""Attention of one query head over the keys and values of a cache."""

import numpy as np

from ..compiler.jit import jit
from ..tables import FLOAT_BYTES, LANES, VECTOR_BYTES
from .elementary import exp
from .rows import copy
from .vectors import choose, first_lanes, float_at, fma, largest, less, load, put_float, splat, store, total, zero

_LOWEST = np.float32(-np.inf)
_AT_ONCE = 4  # vectors of a head's values that are added up together


@jit
def value_bytes(size):
    """Bytes of a head's value in the cache: whole vectors."""
    return (size + LANES - 1) // LANES * VECTOR_BYTES


@jit
def attend(q, cache, size, scale, scores, out):
    """One query head of `size` numbers on the keys and values of its cache: softmax(q k / sqrt(E)) v.

    Keys are blocks of (E, LANES): a lane is a position. Values are rows of E numbers, padded. `scores` has room for E
    numbers and, behind them, for the positions and one more vector, `out` for E numbers and no more.
    """
    width = value_bytes(size)
    query, weights = scores, scores + width
    for i in range(size):
        put_float(query + i * FLOAT_BYTES, float_at(q + i * FLOAT_BYTES) * scale)
    top = _scores(query, cache.keys, cache.length, size, weights)
    _normalize(weights, cache.length, top)
    _weighted_sum(weights, cache.values, cache.length, size, width, query)
    copy(query, size, out)


@jit
def _scores(query, keys, length, size, out):
    """q k of every position, and the greatest of them. Lanes behind the last one become -infinity."""
    top = splat(_LOWEST)
    for start in range(0, length, 2 * LANES):
        a, b = zero(), zero()
        block = keys + start * size * FLOAT_BYTES
        more = start + LANES < length
        second = block + size * VECTOR_BYTES if more else block
        for i in range(size):
            v = splat(float_at(query + i * FLOAT_BYTES))
            a = fma(v, load(block + i * VECTOR_BYTES), a)
            b = fma(v, load(second + i * VECTOR_BYTES), b)
        a = choose(first_lanes(length - start), a, splat(_LOWEST))
        b = choose(first_lanes(length - start - LANES), b, splat(_LOWEST))
        store(out + start * FLOAT_BYTES, a)
        store(out + start * FLOAT_BYTES + VECTOR_BYTES, b)
        a = choose(less(a, b), b, a)
        top = choose(less(top, a), a, top)
    return largest(top)


@jit
def _normalize(weights, length, top):
    """exp(score - top), over their sum."""
    so_far = zero()
    for i in range(0, length * FLOAT_BYTES, VECTOR_BYTES):
        e = exp(load(weights + i) - splat(top))
        store(weights + i, e)
        so_far = so_far + e
    whole = splat(total(so_far))
    for i in range(0, length * FLOAT_BYTES, VECTOR_BYTES):
        store(weights + i, load(weights + i) / whole)


@jit
def _weighted_sum(weights, values, length, size, width, out):
    """The sum of all values, each by its weight."""
    i = 0
    while i + _AT_ONCE * LANES <= size:
        v = values + i * FLOAT_BYTES
        a, b, c, d = zero(), zero(), zero(), zero()
        for t in range(length):
            p = splat(float_at(weights + t * FLOAT_BYTES))
            a = fma(p, load(v), a)
            b = fma(p, load(v + VECTOR_BYTES), b)
            c = fma(p, load(v + 2 * VECTOR_BYTES), c)
            d = fma(p, load(v + 3 * VECTOR_BYTES), d)
            v += width
        store(out + i * FLOAT_BYTES, a)
        store(out + i * FLOAT_BYTES + VECTOR_BYTES, b)
        store(out + i * FLOAT_BYTES + 2 * VECTOR_BYTES, c)
        store(out + i * FLOAT_BYTES + 3 * VECTOR_BYTES, d)
        i += _AT_ONCE * LANES
    while i < size:
        v = values + i * FLOAT_BYTES
        a = zero()
        for t in range(length):
            a = fma(splat(float_at(weights + t * FLOAT_BYTES)), load(v), a)
            v += width
        store(out + i * FLOAT_BYTES, a)
        i += LANES
