"""Small random models: the same numbers as rows of memory views and as arrays, for one implementation and another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.config import Config
from llama2_ref.weights import Matrix, Weights

Array = NDArray[np.float32]

DISTRIBUTIONS = ("normal", "large", "tiny", "subnormal", "cancelling", "sparse")  # of numbers


@dataclass(frozen=True, repr=False)
class Twins:
    """One model twice, and what it was made from."""

    config: Config
    ref: Weights  # matrices are rows of memory views
    fast: Weights  # matrices are arrays
    seed: int
    distribution: str
    shared: bool

    def __repr__(self) -> str:
        return f"random_twins({self.config}, {self.seed}, {self.distribution!r}, {self.shared})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis shows."""
        printer.text(repr(self))


def random_matrix(rng: np.random.Generator, rows: int, cols: int, distribution: str) -> Array:
    """(rows, cols) float32 numbers of a distribution, with rows of norm about 1 unless its name says otherwise."""
    w = rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(cols**-0.5)
    if distribution == "large":
        w *= np.float32(100)
    elif distribution == "tiny":
        w *= np.float32(2.0**-60)
    elif distribution == "subnormal":
        w *= np.float32(2.0**-130)
    elif distribution == "cancelling":  # neighbours that nearly cancel
        w[:, 1::2] = -w[:, : 2 * (cols // 2) : 2] * np.float32(1 + 2.0**-20)
    elif distribution == "sparse":
        w[rng.random((rows, cols)) < 0.7] = 0
    return w


def ties(rng: np.random.Generator, count: int, size: int, largest: int, scale: Array) -> Array:
    """(count, size) numbers, most of them halfway between two multiples of their row's scale, (count), or next to that.

    There x / scale and, say, x * (1 / scale) are often rounded to different integers, elsewhere hardly ever. Some
    numbers lie anywhere within `largest` times the scale.
    """
    step = scale[:, None].astype(np.float32)
    x = (rng.integers(-largest, largest, (count, size)) + np.float32(0.5)) * step
    toward = rng.choice([-np.inf, 0, np.inf], x.shape).astype(np.float32)
    x = np.where(toward == 0, x, np.nextafter(x, toward))
    anywhere = rng.uniform(-largest, largest, x.shape) * step
    return np.where(rng.random(x.shape) < 0.2, anywhere, x).astype(np.float32)


def random_fields(config: Config, seed: int, distribution: str, shared: bool) -> dict[str, Any]:
    """The arrays of all weights, by their names. Norm weights are about 1."""
    rng = np.random.default_rng(seed)
    c = config
    shapes = {"wq": (c.q_dim, c.dim), "wk": (c.kv_dim, c.dim), "wv": (c.kv_dim, c.dim), "wo": (c.dim, c.q_dim)}
    shapes |= {"w1": (c.hidden_dim, c.dim), "w2": (c.dim, c.hidden_dim), "w3": (c.hidden_dim, c.dim)}
    fields: dict[str, Any] = {"token_embedding_table": random_matrix(rng, c.vocab_size, c.dim, distribution)}
    for name in ("rms_att_weight", "rms_ffn_weight"):
        fields[name] = 1 + random_matrix(rng, c.n_layers, c.dim, "normal")
    for name, shape in shapes.items():
        fields[name] = [random_matrix(rng, *shape, distribution) for _ in range(c.n_layers)]
    fields["rms_final_weight"] = 1 + random_matrix(rng, 1, c.dim, "normal")[0]
    fields["wcls"] = (
        fields["token_embedding_table"] if shared else random_matrix(rng, c.vocab_size, c.dim, distribution)
    )
    return fields


def random_twins(config: Config, seed: int, distribution: str = "normal", shared: bool = True) -> Twins:
    """A model with weights of a distribution, from a seed; `shared`: the embedding table is the classifier, too."""
    fields = random_fields(config, seed, distribution, shared)
    return Twins(config, as_views(fields), Weights(**fields), seed, distribution, shared)


def as_views(fields: dict[str, Any]) -> Weights:
    """The fields of arrays as the reference holds them: rows of memory views."""
    views: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, list):
            views[name] = [_view(array) for array in field]
        else:
            views[name] = memoryview(field) if field.ndim == 1 else _view(field)
    if fields["wcls"] is fields["token_embedding_table"]:
        views["wcls"] = views["token_embedding_table"]
    return Weights(**views)


def _view(array: Array) -> Matrix:
    flat: Any = np.ascontiguousarray(array).reshape(-1)  # before Python 3.12 type checkers don't know it as a buffer
    return Matrix(memoryview(flat), *array.shape)


def vocabulary(size: int) -> tuple[list[bytes], list[float]]:
    """A plain vocabulary of a size from 3 up: unknown, BOS, EOS, the 256 bytes, then letters and pairs of letters."""
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    letters = [b" ", *(bytes([code]) for code in range(ord("a"), ord("z") + 1))]
    tokens += letters + [a + b for a in letters for b in letters]
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    if size > len(tokens):
        raise ValueError(f"at most {len(tokens)} tokens (got {size})")
    return tokens[:size], scores[:size]
