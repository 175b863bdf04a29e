"""Small random models for both packages: the same numbers as memory views and as arrays, and as files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import llama2_fast
import llama2_ref
from llama2_fast.matrices.arrays import ARRAYS
from llama2_ref.formats.dtypes import DTYPES
from llama2_ref.formats.lists import LISTS
from llama2_ref.weights import Matrix

LAYER_FIELDS = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")
KINDS = ("normal", "large", "tiny", "subnormal", "cancelling", "sparse")


@dataclass(frozen=True, repr=False)
class Twins:
    """One model for both packages, and what it was made from."""

    config: llama2_ref.Config
    ref: llama2_ref.Weights  # views
    fast: llama2_fast.Weights  # arrays
    seed: int
    kind: str
    shared: bool

    def __repr__(self) -> str:
        return f"random_twins({self.config}, {self.seed}, {self.kind!r}, {self.shared})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis shows."""
        printer.text(repr(self))

    def transformers(self, backend: str | None = None) -> tuple[llama2_ref.Transformer, llama2_fast.Transformer]:
        fast = llama2_fast.Transformer(self.config, self.fast, backend=backend)
        return llama2_ref.Transformer(self.config, self.ref), fast


def random_matrix(rng: np.random.Generator, rows: int, cols: int, kind: str) -> np.ndarray:
    """(rows, cols) float32 numbers of one kind; each row has a norm of about 1, unless the kind says otherwise."""
    w = rng.standard_normal((rows, cols)).astype(np.float32) * np.float32(cols**-0.5)
    if kind == "large":
        w *= np.float32(100)
    elif kind == "tiny":
        w *= np.float32(2.0**-60)
    elif kind == "subnormal":
        w *= np.float32(2.0**-130)
    elif kind == "cancelling":  # neighbours that nearly cancel
        w[:, 1::2] = -w[:, : 2 * (cols // 2) : 2] * np.float32(1 + 2.0**-20)
    elif kind == "sparse":
        w[rng.random((rows, cols)) < 0.7] = 0
    return w


def ties(rng: np.random.Generator, count: int, size: int, largest: int, scale: np.ndarray) -> np.ndarray:
    """(count, size) numbers: most at (k + 1/2) steps of a scale, (count), |k| < largest, or one float32 number beside.

    Another order of operations than a division shows there, and among other numbers hardly ever. Some lie anywhere.
    """
    step = scale[:, None].astype(np.float32)
    x = (rng.integers(-largest, largest, (count, size)) + np.float32(0.5)) * step
    toward = rng.choice([-np.inf, 0, np.inf], x.shape).astype(np.float32)
    x = np.where(toward == 0, x, np.nextafter(x, toward))
    anywhere = rng.uniform(-largest, largest, x.shape) * step
    return np.where(rng.random(x.shape) < 0.2, anywhere, x).astype(np.float32)


def random_fields(config: llama2_ref.Config, seed: int, kind: str, shared: bool) -> dict[str, Any]:
    """The arrays of all weights, by their names. Norm weights are about 1."""
    rng = np.random.default_rng(seed)
    c = config
    shapes = {"wq": (c.q_dim, c.dim), "wk": (c.kv_dim, c.dim), "wv": (c.kv_dim, c.dim), "wo": (c.dim, c.q_dim)}
    shapes |= {"w1": (c.hidden_dim, c.dim), "w2": (c.dim, c.hidden_dim), "w3": (c.hidden_dim, c.dim)}
    fields: dict[str, Any] = {"token_embedding_table": random_matrix(rng, c.vocab_size, c.dim, kind)}
    for name in ("rms_att_weight", "rms_ffn_weight"):
        fields[name] = 1 + random_matrix(rng, c.n_layers, c.dim, "normal")
    for name, shape in shapes.items():
        fields[name] = [random_matrix(rng, *shape, kind) for _ in range(c.n_layers)]
    fields["rms_final_weight"] = 1 + random_matrix(rng, 1, c.dim, "normal")[0]
    fields["wcls"] = fields["token_embedding_table"] if shared else random_matrix(rng, c.vocab_size, c.dim, kind)
    return fields


def random_twins(config: llama2_ref.Config, seed: int, kind: str = "normal", shared: bool = True) -> Twins:
    """Weights of a kind, from a seed."""
    fields = random_fields(config, seed, kind, shared)
    return Twins(config, as_views(fields), llama2_fast.Weights(**fields), seed, kind, shared)


def file_bytes(rng: np.random.Generator, kind: str, rows: int, cols: int) -> bytes:
    """A random matrix as another program's file holds it, in one of llama2_ref.formats.dtypes.DTYPES."""
    numbers = random_matrix(rng, rows, cols, "normal")
    if kind in ("F32", "F16"):
        return numbers.astype("<f4" if kind == "F32" else "<f2").tobytes()
    if kind == "BF16":
        return (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    parts = [(rng.uniform(-1, 1, (rows, cols // 32, 1)) / 8 / cols**0.5).astype("<f2")]
    if kind == "Q4_1":
        parts.append((-8 * parts[0].astype(np.float32) * rng.uniform(0.8, 1.2, parts[0].shape)).astype("<f2"))
    integers = rng.integers(0, 256, (rows, cols // 32, 32 if kind == "Q8_0" else 16), np.uint8)
    integers[integers == 128] = 127  # -128 is no int8 of these files
    return np.concatenate([*(part.view(np.uint8) for part in parts), integers], axis=2).tobytes()


def random_file_twins(config: llama2_ref.Config, seed: int, kind: str, shared: bool = False) -> Twins:
    """Weights of one of formats.dtypes.DTYPES, or "mixed": each matrix of any of them. Sizes are whole blocks."""
    rng = np.random.default_rng(seed)
    fields = random_fields(config, seed, "normal", shared)
    made: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def decoded(array: np.ndarray) -> list[Any]:
        chosen = str(rng.choice(DTYPES)) if kind == "mixed" else kind
        data = memoryview(file_bytes(rng, chosen, *array.shape))
        return [arrays.matrix_from_bytes(chosen, data, *array.shape) for arrays in (LISTS, ARRAYS)]

    views = vars(as_views(fields))
    for name, field in fields.items():
        if name.startswith("rms"):
            pair = [views[name], field]
        elif isinstance(field, list):
            pair = [list(layers) for layers in zip(*(decoded(array) for array in field), strict=True)]
        else:
            pair = decoded(field)
        for one, matrix in zip(made, pair, strict=True):
            one[name] = one["token_embedding_table"] if shared and name == "wcls" else matrix
    return Twins(config, llama2_ref.Weights(**made[0]), llama2_fast.Weights(**made[1]), seed, kind, shared)


def as_views(fields: dict[str, Any]) -> llama2_ref.Weights:
    """The fields of arrays as the reference holds them: rows of memory views."""
    views: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, list):
            views[name] = [view(array) for array in field]
        else:
            views[name] = memoryview(field) if field.ndim == 1 else view(field)
    if fields["wcls"] is fields["token_embedding_table"]:
        views["wcls"] = views["token_embedding_table"]
    return llama2_ref.Weights(**views)


def view(array: np.ndarray) -> Matrix:
    return Matrix(memoryview(np.ascontiguousarray(array).reshape(-1)), *array.shape)


def vocabulary(size: int) -> tuple[list[bytes], list[float]]:
    """A plain vocabulary of a size from 3 up: unknown, BOS, EOS, the 256 bytes, then letters and pairs of letters."""
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    letters = [b" ", *(bytes([code]) for code in range(ord("a"), ord("z") + 1))]
    tokens += letters + [a + b for a in letters for b in letters]
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    if size > len(tokens):
        raise ValueError(f"at most {len(tokens)} tokens (got {size})")
    return tokens[:size], scores[:size]


def write_tokenizer(path: Path, tokens: list[bytes], scores: list[float]) -> Path:
    """A tokenizer.bin file."""
    parts = [np.uint32(max(map(len, tokens))).tobytes()]
    for token, score in zip(tokens, scores, strict=True):
        parts += [np.float32(score).tobytes(), np.int32(len(token)).tobytes(), token]
    path.write_bytes(b"".join(parts))
    return path


def write_model(folder: Path, config: llama2_ref.Config, seed: int = 0, version: int = 0, **kind: Any) -> Path:
    """A random model with its tokenizer beside it: `folder/model.bin` and `folder/tokenizer.bin`."""
    twins = random_twins(config, seed, **kind)
    path = folder / "model.bin"
    llama2_fast.write_checkpoint(path, config, twins.fast, version)
    write_tokenizer(folder / "tokenizer.bin", *vocabulary(config.vocab_size))
    return path
