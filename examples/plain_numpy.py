"""Kernels in plain numpy, as people write them. Three of them are wrong, each in a classic way.

    pytest tests/fuzz --impl examples.plain_numpy

docs/conformance.md, "Worked examples", shows how the suite names each.
"""

import numpy as np


def matmul(w, x):
    return w @ x


def add(x, y):
    return x + y


def rmsnorm(x, w, eps):
    return x / (np.sqrt(np.mean(x**2)) + eps) * w


def rope_table(position, head_size, theta):
    angles = position * theta ** (-np.arange(0, head_size, 2) / head_size)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rope(x, cosines, sines):
    pairs = x.reshape(-1, len(cosines), 2)
    a, b = pairs[..., 0], pairs[..., 1]
    return np.stack([a * cosines - b * sines, a * sines + b * cosines], axis=-1).reshape(-1)


def softmax(x):
    powers = np.exp(x)
    return powers / powers.sum()


def attention(q, keys, values, n_heads):
    size = len(q) // n_heads
    n_kv_heads = keys.shape[1] // size
    repeats = (1, n_heads // n_kv_heads, 1)
    keys = np.tile(keys.reshape(-1, n_kv_heads, size), repeats)
    values = np.tile(values.reshape(-1, n_kv_heads, size), repeats)
    scores = np.einsum("he,the->ht", q.reshape(n_heads, size), keys) / np.float32(np.sqrt(size))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = powers / powers.sum(axis=1, keepdims=True)
    return np.einsum("ht,the->he", weights, values).reshape(-1)


def silu(x):
    return x / (1 + np.exp(-x))  # exp may overflow: x / infinity is 0, and right to within 2^-126


def swiglu(gate, up):
    return silu(gate) * up


def argmax(x):
    return int(np.argmax(x))


def quantize_int8(x, group_size):
    groups = x.reshape(-1, group_size)
    peaks = np.abs(groups).max(axis=1)
    scales = np.where(peaks < np.float32(127 * 2.0**-126), np.float32(0), peaks / np.float32(127))
    q = np.rint(groups / np.where(scales == 0, np.float32(np.inf), scales)[:, None])
    return q.astype(np.int8).reshape(-1), scales


def dequantize_int8(q, scales):
    return (q.reshape(len(scales), -1) * scales[:, None]).reshape(-1)


def matmul_int8(w_q, w_scales, x_q, x_scales):
    groups = len(x_scales)
    w, x = w_q.reshape(len(w_q), groups, -1).astype(np.int32), x_q.reshape(groups, -1).astype(np.int32)
    sums = np.einsum("mgi,gi->mg", w, x).astype(np.float32)
    return (sums * w_scales * x_scales).sum(axis=1)


def sample_mult(probabilities, coin):
    sums = np.cumsum(probabilities)
    return min(int(np.searchsorted(sums, coin, side="right")), len(sums) - 1)


def sample_topp(probabilities, topp, coin):
    if not 0 < topp < 1:
        return sample_mult(probabilities, coin)
    order = np.argsort(-probabilities, kind="stable")
    sums = np.cumsum(probabilities[order])
    kept = min(int(np.searchsorted(sums, topp, side="right")) + 1, len(sums))
    return int(order[sample_mult(probabilities[order[:kept]], coin * sums[kept - 1])])
