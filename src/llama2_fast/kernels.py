"""The kernels of llama2_ref on numpy arrays.

Everything is float32. Each kernel takes what its twin takes, and also arrays with more axes in front, as if it were
called for each of their vectors: that is how a whole prompt goes through at once. Formulas, special values, errors and
bounds are those of the twins.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llama2_ref.config import RopeScaling
from llama2_ref.kernels import check_head_size

from .quantize import dequantize_int8, matmul_int8, quantize_int4, quantize_int8

__all__ = [
    "add",
    "argmax",
    "attention",
    "dequantize_int8",
    "matmul",
    "matmul_int8",
    "quantize_int4",
    "quantize_int8",
    "rmsnorm",
    "rope",
    "rope_table",
    "silu",
    "softmax",
    "swiglu",
]

Array = NDArray[np.float32]


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Two float32 arrays whose vectors are equally long: numpy itself would stretch a vector of one number."""
    a, b = np.asarray(x, np.float32), np.asarray(y, np.float32)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vectors must be equally long (got {a.shape[-1]} and {b.shape[-1]})")
    return a, b


def matmul(w: ArrayLike, x: ArrayLike) -> Array:
    """Matrix times vectors: (m, n), (..., n) -> (..., m). As llama2_ref.kernels.matmul.

    One vector is a matrix-vector product, more are one matrix product.
    """
    matrix, vectors = _pair(w, x)
    if vectors.size == vectors.shape[-1]:
        one: Array = matrix @ vectors.reshape(-1)
        return one.reshape(*vectors.shape[:-1], -1)
    many: Array = vectors @ matrix.T
    return many


def add(x: ArrayLike, y: ArrayLike) -> Array:
    """The residual connection: (..., n), (..., n) -> (..., n). As llama2_ref.kernels.add."""
    a, b = _pair(x, y)
    return a + b


def rmsnorm(x: ArrayLike, w: ArrayLike, eps: float) -> Array:
    """Root mean square normalization: (..., n), (n), () -> (..., n). As llama2_ref.kernels.rmsnorm.

    The sum is float64: its own error does not count then, and it can't overflow.
    """
    vectors, weight = _pair(x, w)
    if not vectors.shape[-1]:
        raise ValueError("rmsnorm needs at least one number (got none)")
    wide = vectors.astype(np.float64)
    scale = (np.vecdot(wide, wide) / wide.shape[-1] + eps) ** -0.5
    wide *= scale[..., None]
    out: Array = wide.astype(np.float32)
    out *= weight
    return out


def rope_table(
    position: ArrayLike, head_size: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Array, Array]:
    """Cosines and sines of rotary position embedding: (...) -> (..., E/2), (..., E/2).

    As llama2_ref.kernels.rope_table. Angles are float64; the results are rounded once.
    """
    check_head_size(head_size)
    frequencies = theta ** (-np.arange(0, head_size, 2) / head_size)
    if scaling is not None:
        frequencies = np.array([scaling.scale(frequency) for frequency in frequencies.tolist()])
    angles = np.multiply.outer(np.asarray(position, np.float64), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rope(x: ArrayLike, cosines: ArrayLike, sines: ArrayLike) -> Array:
    """Rotate every pair of every head: (..., n), (..., E/2), (..., E/2) -> (..., n). As llama2_ref.kernels.rope."""
    vectors = np.asarray(x, np.float32)
    c, s = _pair(cosines, sines)
    if not c.shape[-1] or vectors.shape[-1] % (2 * c.shape[-1]):
        got = f"{vectors.shape[-1]} numbers, {c.shape[-1]} cosines"
        raise ValueError(f"rope needs whole heads of twice as many numbers as there are cosines (got {got})")
    turn = np.empty(c.shape, np.complex64)  # (a + bi)(c + si) is the rotation of a pair
    turn.real, turn.imag = c, s
    pairs = np.ascontiguousarray(vectors).view(np.complex64)
    turned = pairs.reshape(*vectors.shape[:-1], -1, c.shape[-1]) * turn[..., None, :]
    out: Array = turned.view(np.float32)
    return out.reshape(vectors.shape)


def softmax(x: ArrayLike) -> Array:
    """Weights that are positive and sum to 1: (..., n) -> (..., n). As llama2_ref.kernels.softmax."""
    logits = np.asarray(x, np.float32)
    weights: Array = logits - logits.max(-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(-1, keepdims=True)
    return weights


def attention(q: ArrayLike, keys: ArrayLike, values: ArrayLike, n_heads: int) -> Array:
    """Causal attention with grouped queries: (T, H*E) or (H*E), (S, K*E), (S, K*E) -> (T, H*E) or (H*E).

    As llama2_ref.kernels.attention. With T queries, the last one sees all S rows, and each one before it one row less.
    """
    query, key, value = (np.asarray(a, np.float32) for a in (q, keys, values))
    if not len(key) or key.shape != value.shape or query.shape[-1] % n_heads or query.shape[-1] % key.shape[-1]:
        got = f"query {query.shape} for {n_heads} heads, keys {key.shape}, values {value.shape}"
        raise ValueError(f"attention needs as many keys as values, at least one, and whole heads (got {got})")
    size, group = query.shape[-1] // n_heads, query.shape[-1] // key.shape[-1]
    count = query.size // query.shape[-1]
    query = query * np.float32(size**-0.5)
    heads = query.reshape(count, -1, group, size).transpose(1, 2, 0, 3).reshape(-1, group * count, size)
    scores = heads @ key.reshape(len(key), -1, size).transpose(1, 2, 0)  # (K, H/K * T, S)
    if count > 1:
        np.copyto(scores.reshape(-1, count, len(key)), np.float32(-np.inf), where=_later(count, len(key)))
    out = softmax(scores) @ value.reshape(len(value), -1, size).transpose(1, 0, 2)  # (K, H/K * T, E)
    return out.reshape(-1, group, count, size).transpose(2, 0, 1, 3).reshape(query.shape)


def _later(count: int, length: int) -> NDArray[np.bool_]:
    """(T, S): where query t must not look, at keys after its own."""
    own = np.arange(length - count, length)
    return np.arange(length) > own[:, None]


def silu(x: ArrayLike) -> Array:
    """Sigmoid linear unit: (..., n) -> (..., n). As llama2_ref.kernels.silu."""
    gate = np.asarray(x, np.float32)
    e: Array = np.abs(gate)
    np.exp(np.negative(e, out=e), out=e)
    out: Array = np.where(gate >= 0, gate, gate * e)
    out /= np.add(e, 1, out=e)
    return out


def swiglu(gate: ArrayLike, up: ArrayLike) -> Array:
    """The gated unit of the feed-forward network: (..., n), (..., n) -> (..., n). As llama2_ref.kernels.swiglu."""
    a, b = _pair(gate, up)
    out = silu(a)
    out *= b
    return out


def argmax(x: ArrayLike) -> Any:
    """Index of the largest number, the lowest such index on ties: (n) -> (). As llama2_ref.kernels.argmax."""
    return int(np.argmax(x))
