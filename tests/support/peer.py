"""Another program: a Llama-2 of its own, in float32, with mistakes to choose from."""

from dataclasses import dataclass

import numpy as np

import llama2_ref


@dataclass(frozen=True)
class Peer:
    """Each field is a mistake that programs have made, or a way in which they differ for good reason."""

    eps: float = 1e-5
    theta: float = 10000.0
    half_split: bool = False  # RoPE pairs (i, i + E/2), for weights that are stored as neighbours
    scale: bool = True  # are scores divided by sqrt(E)?
    stale: int | None = None  # from this position on, keys are not written: the last one before it stays
    half: bool = False  # weights rounded to float16

    def logits(self, config: llama2_ref.Config, weights: llama2_ref.Weights, tokens: list[int]) -> np.ndarray:
        """(T, V) float32."""
        c, w = config, weights
        x = np.stack([self._weight(w.token_embedding_table)[token] for token in tokens])
        for layer in range(c.n_layers):
            h = self._norm(x, w.rms_att_weight[layer])
            q, k, v = (h @ self._weight(m[layer]).T for m in (w.wq, w.wk, w.wv))
            x = x + self._attention(c, q, k, v) @ self._weight(w.wo[layer]).T
            h = self._norm(x, w.rms_ffn_weight[layer])
            gate, up = (h @ self._weight(m[layer]).T for m in (w.w1, w.w3))
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self._weight(w.w2[layer]).T
        return self._norm(x, w.rms_final_weight) @ self._weight(w.wcls).T

    def _weight(self, w: np.ndarray) -> np.ndarray:
        return w.astype(np.float16).astype(np.float32) if self.half else w

    def _norm(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + np.float32(self.eps)) * w

    def _attention(self, c: llama2_ref.Config, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        count, size = len(q), c.head_size
        q, k, v = (a.reshape(count, -1, size).transpose(1, 0, 2) for a in (q, k, v))
        q, k = self._turn(q), self._turn(k)
        if self.stale is not None:
            k[:, self.stale :] = k[:, self.stale - 1, None]
        k, v = (np.repeat(a, c.n_heads // c.n_kv_heads, axis=0) for a in (k, v))
        scores = q @ k.transpose(0, 2, 1)
        scores = scores / np.float32(np.sqrt(size)) if self.scale else scores
        scores = np.where(np.tri(count, dtype=bool), scores, np.float32(-np.inf))
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        out = powers / powers.sum(-1, keepdims=True) @ v
        return out.transpose(1, 0, 2).reshape(count, -1)

    def _turn(self, x: np.ndarray) -> np.ndarray:
        size = x.shape[-1]
        angles = np.outer(np.arange(x.shape[1]), self.theta ** (-np.arange(0, size, 2) / size))
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = slice(0, None, 2), slice(1, None, 2)
        if self.half_split:
            first, second = slice(size // 2), slice(size // 2, None)
        a, b, out = x[..., first], x[..., second], np.empty_like(x)
        out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
        return out
