"""Read the model in a GGUF file of the architecture "llama", as llama.cpp's converters write them.

Its q and k are for interleaved pairs already, as here. `gguf_container` says what the bytes mean.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isclose, isfinite
from typing import Any

from ..config import Config, RopeScaling
from ..errors import CheckpointError, ConfigError, MissingExtraError, NumericsError
from ..tokenizers.gguf import PREFIX, from_gguf
from ..weights import TensorSpec, Weights
from .arrays import Arrays
from .dtypes import BLOCK, DTYPES, FLOATS
from .ggml_blocks import GROUPS, INT8_MOST
from .gguf_container import MAGIC, Container, Tensor, is_whole, parse, shown
from .model_file import ModelFile, Source
from .tensor_table import CLASSIFIER, EMBEDDING, GGUF, float32_bytes, make_weights

DIVISORS = "rope_freqs.weight"
FLOAT32_DIVISORS = 2**-16  # how far divisors err that were computed in float32, in several steps
LLAMA3_CONTEXTS = (8192, *(2**k for k in range(10, 18)))  # that may be meant by divisors of frequencies


def detect(source: Source) -> bool:
    """Does a file begin with the letters GGUF?"""
    return source.data is not None and source.data[: len(MAGIC)] == MAGIC


def read(source: Source, arrays: Arrays) -> ModelFile:
    """The model in a GGUF file of architecture "llama".

    Types of numbers that models don't keep in memory become int8 in groups of 32 (Q8_0); `notes` tell of it.

    Raises CheckpointError if the file is damaged, or is of another model, and MissingExtraError without the gguf
    package where that is needed: for tables of IQ1 to IQ3 here, for all such types in llama2_fast.
    """
    assert source.data is not None
    try:
        container = parse(source.data)
        config = _config(container)
        weights = _weights(container, config, partial(_matrix, arrays=arrays))
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{source.path}: {error}") from None
    except MissingExtraError as error:
        raise MissingExtraError(f"{source.path}: {error}") from None
    template = container.metadata.get("tokenizer.chat_template")
    return ModelFile(
        source.path,
        config,
        weights,
        "gguf",
        f"GGUF version {container.version}, {', '.join(sorted(_ggml_types(container)))}",
        tokenizer=partial(from_gguf, container.metadata, config.vocab_size),
        chat_template=template if isinstance(template, str) else None,
        notes=_notes(container),
        special_ids=_special_ids(container.metadata),
        contents=container,
    )


def _special_ids(metadata: dict[str, Any]) -> dict[str, Any]:
    """BOS and EOS as config.json has them."""
    usual = {"bos_token_id": 1, "eos_token_id": 2} if metadata.get(PREFIX + "model") == "llama" else {}
    names = ("bos_token_id", "eos_token_id")
    return usual | {name: metadata[PREFIX + name] for name in names if type(metadata.get(PREFIX + name)) is int}


def _ggml_types(container: Container) -> set[str]:
    """Types of the matrices."""
    return {tensor.ggml_type for tensor in container.tensors.values() if len(tensor.shape) == 2}


def _notes(container: Container) -> tuple[str, ...]:
    foreign = sorted(_ggml_types(container) - {*DTYPES})
    return (f"{', '.join(foreign)} weights have become int8, in groups of 32",) if foreign else ()


def _config(container: Container) -> Config:
    """The sizes that a file tells. Raises CheckpointError or ConfigError if they are missing, or of another model."""
    get = _Metadata(container.metadata)
    architecture = get.metadata.get("general.architecture")
    if architecture != "llama":
        raise CheckpointError(f"general.architecture must be 'llama' (got {shown(architecture)})")
    n_heads = get.size("attention.head_count")
    config = Config(
        get.size("embedding_length"),
        get.size("feed_forward_length"),
        get.size("block_count"),
        n_heads,
        get.size("attention.head_count_kv", n_heads),
        _shape(container, GGUF.name(EMBEDDING))[0],
        get.size("context_length"),
        get.number("attention.layer_norm_rms_epsilon"),
        get.number("rope.freq_base", 10000.0),
        get.size("attention.key_length", 0),
    )
    for key in ("attention.value_length", "rope.dimension_count"):
        if (size := get.size(key, config.head_size)) != config.head_size:
            raise CheckpointError(f"llama.{key} must be the size of a head, {config.head_size} (got {size})")
    if experts := get.size("expert_count", 0):
        raise CheckpointError(f"models of experts are not supported (llama.expert_count is {experts})")
    return replace(config, rope_scaling=_scaling(get) or _scaling_of_divisors(container, config))


class _Metadata:
    """Entries of the architecture, checked."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.metadata = metadata

    def get(self, key: str, default: Any) -> Any:
        value = self.metadata.get(f"llama.{key}", default)
        if value is None:
            raise CheckpointError(f"metadata must have llama.{key} (there is none): this is no whole model")
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number. Where a layer each has one, they must be the same."""
        value = self.get(key, default)
        if isinstance(value, list) and value and all(one == value[0] for one in value):
            value = value[0]
        if not is_whole(value):
            raise CheckpointError(f"llama.{key} must be one whole number (got {shown(value)})")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        """A number as it was meant: the shortest one that is the float32 number of the file."""
        value = self.get(key, default)
        if not isinstance(value, float):
            raise CheckpointError(f"llama.{key} must be a number (got {shown(value)})")
        return _shortest(value)


def _shortest(value: float) -> float:
    """The shortest decimal number that is the same float32 number: 1e-5, where a file can only say 9.99999975e-06."""
    if not isfinite(value):
        return value
    texts = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((near for near in texts if _packed(near) == _packed(value)), value)


def _packed(value: float) -> bytes:
    """The bytes of a float32 number, or of a float64 one beyond its range."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<d", value)


def _scaling(get: _Metadata) -> RopeScaling | None:
    """The scaling of RoPE that the metadata tells."""
    rope_type = get.get("rope.scaling.type", "linear" if "llama.rope.scaling.factor" in get.metadata else "none")
    if rope_type == "none":
        old = get.number("rope.scale_linear", 1.0)
        return RopeScaling("linear", old) if old != 1 else None
    if rope_type != "linear":
        raise CheckpointError(f"llama.rope.scaling.type must be 'none' or 'linear' (got {shown(rope_type)})")
    factor = get.number("rope.scaling.factor", 1.0)
    return RopeScaling("linear", factor) if factor not in (0, 1) else None


def _scaling_of_divisors(container: Container, config: Config) -> RopeScaling | None:
    """The scaling of Llama 3, of which a file only tells by what each pair's frequency is divided.

    Raises CheckpointError if no context gives these divisors.
    """
    name, pairs = DIVISORS, config.head_size // 2
    if name not in container.tensors:
        return None
    ggml_type, shape, data = container.tensors[name]
    if ggml_type != "F32" or shape != (pairs,):
        raise CheckpointError(f"{name} must be ({pairs},) F32 (got {shape} {ggml_type})")
    divisors = struct.unpack(f"<{pairs}f", data)
    if all(divisor == 1 for divisor in divisors):
        return None
    factor = _shortest(max(divisors))
    original = container.metadata.get("llama.rope.scaling.original_context_length")
    for length in (original, *LLAMA3_CONTEXTS) if is_whole(original) else LLAMA3_CONTEXTS:
        scaling = RopeScaling("llama3", factor, original_seq_len=length)
        frequencies = [config.rope_theta ** (-2 * i / config.head_size) for i in range(pairs)]
        wanted = [frequency / scaling.scale(frequency) for frequency in frequencies]
        if all(isclose(a, b, rel_tol=FLOAT32_DIVISORS) for a, b in zip(divisors, wanted, strict=True)):
            return scaling
    raise CheckpointError(f"{name} must be the scaling of Llama 3 (these are other divisors, up to {factor:g})")


def _shape(container: Container, name: str) -> tuple[int, int]:
    """Rows and columns of a matrix that must be there."""
    tensor = container.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2:
        got = "there is none" if tensor is None else f"got shape {tensor.shape}"
        raise CheckpointError(f"{name} must be a matrix in the file ({got})")
    return tensor.shape[0], tensor.shape[1]


def _weights(container: Container, config: Config, matrix: Callable[[str, Tensor], Any]) -> Weights:
    """All tensors, after their names and shapes are those of the config."""
    if config.n_layers > len(container.tensors):  # before anything is made of so many
        got = f"got {config.n_layers}, and {len(container.tensors)} tensors"
        raise CheckpointError(f"llama.block_count must be that of the tensors ({got})")
    tensors, fields = container.tensors, dict[str, Any]()
    specs = [spec for spec in GGUF.specs() if GGUF.name(spec.name) in tensors or not _may_lack(spec)]
    _check_names(container, config, specs)
    for spec in specs:
        tensors_of_spec = [tensors[name] for name in _names(spec, config)]
        if spec.is_vector:
            vectors = _vectors(tensors_of_spec, matrix)
            fields[spec.name] = vectors if spec.per_layer else vectors[0]
        else:
            matrices = [
                matrix(name, tensor) for name, tensor in zip(_names(spec, config), tensors_of_spec, strict=True)
            ]
            fields[spec.name] = matrices if spec.per_layer else matrices[0]
    return make_weights(fields)


def _may_lack(spec: TensorSpec) -> bool:
    """May a file be without it? A classifier that is missing is the embedding table."""
    return spec.optional or spec.name == CLASSIFIER


def _names(spec: TensorSpec, config: Config) -> list[str]:
    """The names of a tensor: one for each layer that has it."""
    return [GGUF.name(spec.name, layer) for layer in range(config.n_layers if spec.per_layer else 1)]


def _check_names(container: Container, config: Config, specs: list[TensorSpec]) -> None:
    """Raise CheckpointError if a tensor is missing, of another shape, or of another model than this one."""
    shapes = {name: spec.shape(config) for spec in specs for name in _names(spec, config)}
    for name, shape in shapes.items():
        if name not in container.tensors:
            raise CheckpointError(f"{name} must be in the file (it is missing)")
        if container.tensors[name].shape != shape:
            got = container.tensors[name].shape
            raise CheckpointError(f"{name} must have the shape {shape} that the metadata says (got {got})")
    for name in container.tensors:
        if name not in shapes and name != DIVISORS:
            raise CheckpointError(f"tensor {shown(name)} belongs to no Llama model: models like this are not supported")


def _vectors(tensors: list[Tensor], matrix: Callable[[str, Tensor], Any]) -> Any:
    """Vectors, such as norms, as the rows of one float32 matrix."""
    for tensor in tensors:
        if tensor.ggml_type not in FLOATS:
            raise CheckpointError(f"norms must be F32, F16 or BF16 (got {tensor.ggml_type})")
    rows = b"".join(float32_bytes(tensor.ggml_type, tensor.data) for tensor in tensors)
    shape = len(tensors), tensors[0].shape[0]
    return matrix("norms", Tensor("F32", shape, memoryview(rows)))


def _matrix(name: str, tensor: Tensor, arrays: Arrays) -> Any:
    """A matrix of floats or integers. Types that models don't keep in memory become int8."""
    rows, cols = tensor.shape
    if tensor.ggml_type in DTYPES:
        return arrays.matrix_from_bytes(tensor.ggml_type, tensor.data, rows, cols)
    if tensor.ggml_type not in GROUPS:
        raise CheckpointError(f"{name} must be of a type that models are made of (got {tensor.ggml_type})")
    if cols % BLOCK:
        raise CheckpointError(
            f"rows of {name} must be blocks of {BLOCK} to become int8 (got {cols}, {tensor.ggml_type})"
        )
    try:
        return arrays.matrix_from_blocks(tensor.ggml_type, tensor.data, rows, cols)
    except NumericsError:
        raise CheckpointError(f"{name} must hold finite numbers below {INT8_MOST:g} (it is damaged)") from None
