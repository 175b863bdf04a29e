"""GGUF files from nothing but `struct`: also those that no writer would write."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import llama2_ref
from llama2_ref.formats.gguf_container import GGML_TYPES, NUMBERS
from llama2_ref.formats.model_file import ModelFile

TYPES = {letter: number for number, letter in NUMBERS.items()} | {"?": 7, "s": 8}  # as struct has them, and strings
TYPE_NUMBERS = {name: number for number, (name, _, _) in GGML_TYPES.items()}


@dataclass(frozen=True)
class Of:
    """A value with its type: `Of("I", 7)`, `Of("s", "text")`, `Of("f", [1.0, 2.0])`."""

    type: str
    value: Any


@dataclass(frozen=True)
class Raw:
    """A tensor: rows first in `shape`; an offset that is None is the next one that is free."""

    name: str | bytes
    kind: str | int
    shape: tuple[int, ...]
    data: bytes
    offset: int | None = None


def gguf_of(
    entries: Mapping[str, Of] | Iterable[tuple[str | bytes, Of]], tensors: Iterable[Raw], alignment: int = 32,
    **header: Any,
) -> bytes:  # fmt: skip
    """A file. `header` may name another `magic`, `version`, `tensor_count` or `entry_count` than what is right."""
    pairs = list(entries.items() if isinstance(entries, Mapping) else entries)
    listed, data = list(tensors), b""
    infos = []
    for tensor in listed:
        offset = len(data) if tensor.offset is None else tensor.offset
        kind = TYPE_NUMBERS[tensor.kind] if isinstance(tensor.kind, str) else tensor.kind
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape[::-1])
        infos.append(string(tensor.name) + shape + struct.pack("<IQ", kind, offset))
        data = _padded(data + tensor.data, alignment) if tensor.offset is None else data
    start = header.get("magic", b"GGUF") + struct.pack("<I", header.get("version", 3))
    start += struct.pack("<QQ", header.get("tensor_count", len(listed)), header.get("entry_count", len(pairs)))
    start += b"".join(string(key) + entry(value) for key, value in pairs) + b"".join(infos)
    return _padded(start, alignment) + data


def string(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def entry(of: Of) -> bytes:
    """The type of a value, and the value."""
    if not isinstance(of.value, list):
        return struct.pack("<I", TYPES[of.type]) + _value(of.type, of.value)
    body = b"".join(_value(of.type, value) for value in of.value)
    return struct.pack("<IIQ", 9, TYPES[of.type], len(of.value)) + body


def _value(letter: str, value: Any) -> bytes:
    return string(value) if letter == "s" else struct.pack("<" + letter, value)


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)


# --------------------------------------------------------------------------------------------------------------- models


def config_entries(config: llama2_ref.Config) -> dict[str, Of]:
    """What llama.cpp's converters write of a config without scaling."""
    c = config
    return {
        "general.architecture": Of("s", "llama"),
        "llama.block_count": Of("I", c.n_layers),
        "llama.context_length": Of("I", c.seq_len),
        "llama.embedding_length": Of("I", c.dim),
        "llama.feed_forward_length": Of("I", c.hidden_dim),
        "llama.attention.head_count": Of("I", c.n_heads),
        "llama.attention.head_count_kv": Of("I", c.n_kv_heads),
        "llama.attention.layer_norm_rms_epsilon": Of("f", c.norm_eps),
        "llama.rope.freq_base": Of("f", c.rope_theta),
        "llama.rope.dimension_count": Of("I", c.head_size),
        "llama.attention.key_length": Of("I", c.head_size),
        "llama.attention.value_length": Of("I", c.head_size),
    }


def model_tensors(config: llama2_ref.Config, kind: str = "F32", seed: int = 0, shared: bool = True) -> list[Raw]:
    """Random tensors: matrices of a kind, where their rows are whole blocks; all others are float32."""
    rng = np.random.default_rng(seed)
    c = config
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (c.vocab_size, c.dim), "output_norm": (c.dim,)}
    for layer in range(c.n_layers):
        of_layer = {
            "attn_norm": (c.dim,), "ffn_norm": (c.dim,), "attn_q": (c.q_dim, c.dim), "attn_k": (c.kv_dim, c.dim),
            "attn_v": (c.kv_dim, c.dim), "attn_output": (c.dim, c.q_dim), "ffn_gate": (c.hidden_dim, c.dim),
            "ffn_up": (c.hidden_dim, c.dim), "ffn_down": (c.dim, c.hidden_dim),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in of_layer.items()}
    if not shared:
        shapes["output"] = (c.vocab_size, c.dim)
    return [_random(rng, name, shape, kind) for name, shape in shapes.items()]


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...], kind: str) -> Raw:
    if len(shape) == 1:
        return Raw(f"{name}.weight", "F32", shape, (1 + rng.standard_normal(shape) / 8).astype(np.float32).tobytes())
    kind = "F32" if shape[1] % GGML_TYPES[TYPE_NUMBERS[kind]][1] else kind
    return Raw(f"{name}.weight", kind, shape, random_blocks(rng, kind, *shape))


def random_blocks(rng: np.random.Generator, kind: str, rows: int, cols: int) -> bytes:
    """A matrix of a kind, some of whose bytes are scales: those are small, so that every number is one."""
    numbers = rng.standard_normal((rows, cols)) * cols**-0.5
    if kind == "F32":
        return bytes(numbers.astype(np.float32).tobytes())
    if kind == "F16":
        return bytes(numbers.astype(np.float16).tobytes())
    if kind == "BF16":
        return bytes((numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes())
    _, block, size = GGML_TYPES[TYPE_NUMBERS[kind]]
    blocks = rng.integers(0, 256, (rows, cols // block, size), np.uint8)
    for place in SCALES[kind]:
        scale = rng.uniform(0.25, 1, blocks.shape[:2]).astype(np.float16) * np.float16(LARGEST[kind])
        blocks[..., place : place + 2] = scale.astype("<f2")[..., None].view(np.uint8)
    return blocks.tobytes()


# Where the float16 scales of a block stand, and of what size they are, so that weights are about 1 / 16.
SCALES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,)}
SCALES |= {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,)}
LARGEST = {"Q8_0": 2**-11, "Q4_0": 2**-7, "Q4_1": 2**-8, "Q5_0": 2**-8, "Q5_1": 2**-9, "Q2_K": 2**-9, "Q3_K": 2**-10}
LARGEST |= {"Q4_K": 2**-13, "Q5_K": 2**-14, "Q6_K": 2**-16, "IQ4_NL": 2**-11, "IQ4_XS": 2**-15}


# -------------------------------------------------------------------------------------------------------- what is read


def opened(llama2: ModuleType, path: Path) -> ModelFile:
    """As the package itself opens it."""
    return llama2.read_model(path)


def numbers(matrix: Any) -> np.ndarray:
    """A matrix of any kind as float32 numbers: (rows, cols)."""
    if hasattr(matrix, "q"):
        q, scale = _array(matrix.q), _array(matrix.scale)
        wide = q.reshape(*scale.shape, -1) * scale[..., None]
        if hasattr(matrix, "offset"):
            wide += _array(matrix.offset)[..., None]
        return wide.reshape(q.shape)
    if hasattr(matrix, "bits"):
        return (np.asarray(matrix.bits).astype(np.uint32) << 16).view(np.float32)
    return _array(matrix)


def _array(rows: Any) -> np.ndarray:
    return np.asarray(rows if hasattr(rows, "dtype") else [list(row) for row in rows], np.float32)


PARTS = {
    "wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output", "w1": "ffn_gate", "w2": "ffn_down",
    "w3": "ffn_up", "rms_att_weight": "attn_norm", "rms_ffn_weight": "ffn_norm",
}  # fmt: skip


def by_name(weights: Any) -> dict[str, np.ndarray]:
    """Every tensor under its name in a file."""
    found = {"token_embd.weight": numbers(weights.token_embedding_table), "output.weight": numbers(weights.wcls)}
    found["output_norm.weight"] = np.asarray(weights.rms_final_weight, np.float32)
    for field, name in PARTS.items():
        layers = getattr(weights, field)
        for layer, matrix in enumerate(numbers(layers) if field.startswith("rms") else map(numbers, layers)):
            found[f"blk.{layer}.{name}.weight"] = matrix
    return found


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].shape == values.shape, name
        assert np.array_equal(found[name], values), name
