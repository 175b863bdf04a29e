"""The tensors of a model by their names in each format, and in which order of rows.

`weights.TENSORS` says which there are and which shapes a config gives them; a row here adds what files call them. What
reads or writes a format asks this table, and knows no tensor itself: a new one is a row in each of the two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from ..config import Config
from ..errors import CheckpointError
from ..support.strict_json import shown
from ..weights import TENSORS, Expanding, TensorSpec, Weights
from .arrays import Arrays
from .dtypes import FLOATS
from .safetensors import TensorInfo

Tensors = dict[str, TensorInfo]


class Row(NamedTuple):
    """One tensor. In names, {} is the number of a layer; None is for formats that have no place for it."""

    spec: TensorSpec
    hugging_face: str | None
    meta: str | None
    gguf: str | None
    llama2c: bool = True  # has a place there, by its order alone


_SPECS = {spec.name: spec for spec in TENSORS}
_LAYER, _BLOCK = "model.layers.{}.", "blk.{}."
TABLE = (
    Row(_SPECS["token_embedding_table"], "model.embed_tokens.weight", "tok_embeddings.weight", "token_embd.weight"),
    Row(_SPECS["rms_att_weight"], _LAYER + "input_layernorm.weight", "layers.{}.attention_norm.weight",
        _BLOCK + "attn_norm.weight"),
    Row(_SPECS["wq"], _LAYER + "self_attn.q_proj.weight", "layers.{}.attention.wq.weight", _BLOCK + "attn_q.weight"),
    Row(_SPECS["wk"], _LAYER + "self_attn.k_proj.weight", "layers.{}.attention.wk.weight", _BLOCK + "attn_k.weight"),
    Row(_SPECS["wv"], _LAYER + "self_attn.v_proj.weight", "layers.{}.attention.wv.weight", _BLOCK + "attn_v.weight"),
    Row(_SPECS["wo"], _LAYER + "self_attn.o_proj.weight", "layers.{}.attention.wo.weight",
        _BLOCK + "attn_output.weight"),
    Row(_SPECS["rms_ffn_weight"], _LAYER + "post_attention_layernorm.weight", "layers.{}.ffn_norm.weight",
        _BLOCK + "ffn_norm.weight"),
    Row(_SPECS["w1"], _LAYER + "mlp.gate_proj.weight", "layers.{}.feed_forward.w1.weight", _BLOCK + "ffn_gate.weight"),
    Row(_SPECS["w2"], _LAYER + "mlp.down_proj.weight", "layers.{}.feed_forward.w2.weight", _BLOCK + "ffn_down.weight"),
    Row(_SPECS["w3"], _LAYER + "mlp.up_proj.weight", "layers.{}.feed_forward.w3.weight", _BLOCK + "ffn_up.weight"),
    Row(_SPECS["rms_final_weight"], "model.norm.weight", "norm.weight", "output_norm.weight"),
    Row(_SPECS["wcls"], "lm_head.weight", "output.weight", "output.weight"),
)  # fmt: skip
EMBEDDING, CLASSIFIER = "token_embedding_table", "wcls"


@dataclass(frozen=True)
class Layout:
    """What a format has of its own: the column of its names, and what goes with them."""

    column: str
    title: str
    says_shapes: str  # what says which shapes tensors must have, for errors
    half_split: bool = False  # RoPE turns number i of a head with i + E/2, instead of 2i with 2i + 1

    def name(self, field: str, layer: int = 0) -> str:
        """The name of a field's tensor, in a layer where each has one."""
        return str(getattr(row_of(field), self.column)).format(layer)

    def specs(self, vectors_last: bool = False) -> list[TensorSpec]:
        """The tensors that have a place in this format, in the order of Weights; or a layer's vectors behind all."""
        specs = [row.spec for row in TABLE if getattr(row, self.column)]
        return sorted(specs, key=lambda spec: spec.per_layer and spec.is_vector) if vectors_last else specs

    def check_places(self, weights: Weights) -> None:
        """Raise CheckpointError if the weights have a tensor for which this format has no place."""
        places = {spec.name for spec in self.specs()}
        for spec in specs_of(weights):
            if spec.name not in places:
                raise CheckpointError(f"{spec.name} has no place in {self.title} files: write another format")

    def to_file_order(self, spec: TensorSpec, config: Config) -> list[int] | None:
        """Which row of a matrix here becomes each row in the file; None where they are in the same order."""
        return self._order(spec, config, half_split)

    def from_file_order(self, spec: TensorSpec, config: Config) -> list[int] | None:
        """Which row in the file becomes each row of a matrix here; None where they are in the same order."""
        return self._order(spec, config, interleaved)

    def _order(self, spec: TensorSpec, config: Config, order: Callable[[int, int], list[int]]) -> list[int] | None:
        rows = spec.shape(config)[0]
        return order(rows, rows // config.head_size) if self.half_split and spec.rotated else None


LLAMA2C = Layout("llama2c", "llama2.c", "the header")
HUGGING_FACE = Layout("hugging_face", "Hugging Face's", "config.json", half_split=True)
META = Layout("meta", "Meta's", "params.json")
GGUF = Layout("gguf", "GGUF", "the metadata")


def specs_of(weights: Weights) -> list[TensorSpec]:
    """The tensors that a model has, in the order of Weights: also a classifier that is shared."""
    return [row.spec for row in TABLE if getattr(weights, row.spec.name) is not None]


def row_of(field: str) -> Row:
    """The row of a field of Weights."""
    return next(row for row in TABLE if row.spec.name == field)


def parts(config: Config, weights: Weights, layout: Layout, specs: list[TensorSpec]) -> Iterator[tuple[Any, ...]]:
    """What a file with names holds: (spec, name, matrix or vector) of each tensor of `specs` that the weights have.

    First what comes before the layers, then layer by layer, then the rest.
    A shared classifier is left out: it is the embedding table.
    """
    own = [spec for spec in specs if spec.name != CLASSIFIER or not weights.shared_classifier]
    own = [spec for spec in own if getattr(weights, spec.name) is not None]
    for spec in own:
        if spec.name == EMBEDDING:
            yield spec, layout.name(spec.name), weights.token_embedding_table
    for layer in range(config.n_layers):
        for spec in own:
            if spec.per_layer:
                yield spec, layout.name(spec.name, layer), getattr(weights, spec.name)[layer]
    for spec in own:
        if not spec.per_layer and spec.name != EMBEDDING:
            yield spec, layout.name(spec.name), getattr(weights, spec.name)


def count_parameters(config: Config, weights: Weights) -> int:
    """How many numbers a model has learned: shared ones count once."""
    own = [spec for spec in specs_of(weights) if spec.name != CLASSIFIER or not weights.shared_classifier]
    return sum(prod(spec.shape(config)) * (config.n_layers if spec.per_layer else 1) for spec in own)


def dtypes_of(tensors: Tensors) -> str:
    """The types of tensors, as in "BF16 and F32"."""
    return " and ".join(sorted({info.dtype for info in tensors.values()}))


def collect_weights(layout: Layout, config: Config, tied: bool, tensors: Tensors, arrays: Arrays) -> Weights:
    """Weights of tensors, which must be exactly those of the config.

    Raises CheckpointError if one is missing, of another shape or type, or too many, or if the classifier is there and
    not equal to the embedding table although the two are `tied`.
    """
    unclaimed = _UnclaimedTensors(layout, config, dict(tensors), arrays)
    fields: dict[str, Any] = {}
    for spec in layout.specs(vectors_last=True):
        if not ((tied and spec.name == CLASSIFIER) or (spec.optional and not unclaimed.holds(spec))):
            fields[spec.name] = unclaimed.take(spec)
    if tied:
        unclaimed.check_tied(tensors[layout.name(EMBEDDING)])
    unclaimed.check_empty()
    return make_weights(fields)


def make_weights(fields: dict[str, Any]) -> Weights:
    """Weights of what a file holds: where there is no classifier, it is the embedding table."""
    return Weights(**{CLASSIFIER: fields[EMBEDDING]} | fields)


class _UnclaimedTensors:
    """The tensors of a file that nobody has taken yet."""

    def __init__(self, layout: Layout, config: Config, tensors: Tensors, arrays: Arrays) -> None:
        self._layout, self._config, self._tensors, self._arrays = layout, config, tensors, arrays

    def holds(self, spec: TensorSpec) -> bool:
        """Is a tensor there, in the first layer where each has one?"""
        return self._layout.name(spec.name) in self._tensors

    def take(self, spec: TensorSpec) -> Any:
        """What becomes the field of Weights."""
        if not spec.per_layer:
            return self._vectors(spec, 1)[0] if spec.is_vector else self._matrix(spec, 0)
        layers = self._config.n_layers
        if spec.is_vector:
            return self._vectors(spec, layers)
        return [self._matrix(spec, layer) for layer in range(layers)]  # ends at the first tensor that is missing

    def _matrix(self, spec: TensorSpec, layer: int) -> Any:
        dtype, (rows, cols), data = self._claim(spec, layer)
        return self._arrays.matrix_from_bytes(dtype, self._in_order(spec, data), rows, cols)

    def _vectors(self, spec: TensorSpec, count: int) -> Any:
        """One row a layer, of float32 numbers."""
        rows = []
        for layer in range(count):
            dtype, _, data = self._claim(spec, layer)
            rows.append(float32_bytes(dtype, self._in_order(spec, data)))
        return self._arrays.matrix_from_bytes("F32", memoryview(b"".join(rows)), count, *spec.shape(self._config))

    def _in_order(self, spec: TensorSpec, data: memoryview) -> memoryview:
        """The rows of a tensor whose shape is known to be right, in their order here."""
        order = self._layout.from_file_order(spec, self._config)
        return data if order is None else reordered(data, order)

    def _claim(self, spec: TensorSpec, layer: int) -> TensorInfo:
        """Take a tensor out, if it is what it must be."""
        name, shape = self._layout.name(spec.name, layer), spec.shape(self._config)
        info = self._tensors.pop(name, None)
        if info is None:
            raise CheckpointError(f"tensor {name} must be there (it is not)")
        if info.shape != shape:
            rule = f"{name} must have the shape {shown(list(shape))} by {self._layout.says_shapes}"
            raise CheckpointError(f"{rule} (got {shown(list(info.shape))})")
        if info.dtype not in FLOATS:
            raise CheckpointError(f"{name} must be {', '.join(FLOATS[:-1])} or {FLOATS[-1]} (got {info.dtype})")
        return info

    def check_tied(self, embeddings: TensorInfo) -> None:
        """Raise CheckpointError if a classifier is there that is not the embedding table."""
        names = self._layout.name(CLASSIFIER), self._layout.name(EMBEDDING)
        if self._tensors.pop(names[0], embeddings) != embeddings:
            raise CheckpointError(f"{names[0]} must equal {names[1]} where the two are tied (it does not)")

    def check_empty(self) -> None:
        """Raise CheckpointError if a tensor is left."""
        for name in self._tensors:
            raise CheckpointError(f"tensors must be those of a Llama model (got {shown(name)}, too): not supported")


def float32_bytes(dtype: str, data: memoryview) -> bytes:
    """Floats of any type as float32 numbers: exact."""
    return bytes(data) if dtype == "F32" else Expanding(data, dtype)[:].tobytes()


def interleaved(rows: int, heads: int) -> list[int]:
    """The row of Hugging Face's wq or wk that becomes each row here.

    >>> interleaved(8, heads=2)
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    size = rows // heads
    half = size // 2
    return [start + i + part for start in range(0, rows, size) for i in range(half) for part in (0, half)]


def half_split(rows: int, heads: int) -> list[int]:
    """The row of wq or wk here that becomes each row of Hugging Face's: the inverse of `interleaved`.

    >>> half_split(12, heads=2)
    [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    """
    size = rows // heads
    return [start + i for start in range(0, rows, size) for part in (0, 1) for i in range(part, size, 2)]


def reordered(data: memoryview, order: list[int]) -> memoryview:
    """Rows in another order, as a copy."""
    size = len(data) // len(order)
    return memoryview(b"".join(data[row * size : (row + 1) * size] for row in order))
