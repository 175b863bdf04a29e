"""Small random models for both packages: those of the conformance suite, with their transformers, and as files."""

from pathlib import Path
from typing import Any

import numpy as np

import llama2_fast
import llama2_ref
from llama2_fast.conformance.random_models import (
    Twins,
    as_views,
    random_fields,
    random_matrix,
    random_twins,
    ties,
    vocabulary,
)
from llama2_fast.matrices.arrays import ARRAYS
from llama2_ref.formats.dtypes import DTYPES
from llama2_ref.formats.lists import LISTS

__all__ = [
    "Twins", "as_views", "file_bytes", "random_fields", "random_file_twins", "random_twins", "ties",
    "transformers", "vocabulary", "write_model", "write_tokenizer",
]  # fmt: skip


def transformers(twins: Twins, backend: str | None = None) -> tuple[llama2_ref.Transformer, llama2_fast.Transformer]:
    """The reference's transformer of a model, and an engine's."""
    fast = llama2_fast.Transformer(twins.config, twins.fast, backend=backend)
    return llama2_ref.Transformer(twins.config, twins.ref), fast


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


def write_tokenizer(path: Path, tokens: list[bytes], scores: list[float]) -> Path:
    """A tokenizer.bin file."""
    parts = [np.uint32(max(map(len, tokens))).tobytes()]
    for token, score in zip(tokens, scores, strict=True):
        parts += [np.float32(score).tobytes(), np.int32(len(token)).tobytes(), token]
    path.write_bytes(b"".join(parts))
    return path


def write_model(folder: Path, config: llama2_ref.Config, seed: int = 0, version: int = 0, **options: Any) -> Path:
    """A random model with its tokenizer beside it: `folder/model.bin` and `folder/tokenizer.bin`."""
    twins = random_twins(config, seed, **options)
    path = folder / "model.bin"
    llama2_fast.write_checkpoint(path, config, twins.fast, version)
    write_tokenizer(folder / "tokenizer.bin", *vocabulary(config.vocab_size))
    return path
