"""The tensors of a Llama model by the names of other programs: which they are, and in which order of rows."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..errors import CheckpointError
from ..support.strict_json import shown
from ..weights import Expanding, Weights
from .llama2c_header import Header
from .model_file import Decode
from .safetensors import TensorInfo

FLOATS = ("F32", "F16", "BF16")
NORMS = ("rms_att_weight", "rms_ffn_weight", "rms_final_weight")

Tensors = dict[str, TensorInfo]


@dataclass(frozen=True)
class Layout:
    """The names of one program."""

    config: str  # the file that says which shapes they must have
    embeddings: str
    final_norm: str
    classifier: str
    layers: str  # what all tensors of layers begin with
    parts: dict[str, str]  # field of Weights -> tensor of a layer
    half_split: bool  # RoPE turns number i of a head with i + E/2, instead of 2i with 2i + 1

    def name(self, layer: int, field: str) -> str:
        """The tensor of a layer."""
        return f"{self.layers}.{layer}.{self.parts[field]}.weight"


HUGGING_FACE = Layout(
    "config.json", "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers",
    {
        "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
        "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj",
        "rms_att_weight": "input_layernorm", "rms_ffn_weight": "post_attention_layernorm",
    },
    half_split=True,
)  # fmt: skip
META = Layout(
    "params.json", "tok_embeddings.weight", "norm.weight", "output.weight", "layers",
    {
        "wq": "attention.wq", "wk": "attention.wk", "wv": "attention.wv", "wo": "attention.wo",
        "w1": "feed_forward.w1", "w2": "feed_forward.w2", "w3": "feed_forward.w3",
        "rms_att_weight": "attention_norm", "rms_ffn_weight": "ffn_norm",
    },
    half_split=False,
)  # fmt: skip


def kinds_of(tensors: Tensors) -> str:
    """The types of tensors, as in "BF16 and F32"."""
    return " and ".join(sorted({info.kind for info in tensors.values()}))


def collect_weights(layout: Layout, config: Config, tied: bool, tensors: Tensors, decode: Decode) -> Weights:
    """Weights of tensors, which must be exactly those of the config.

    Raises CheckpointError if one is missing, of another shape or type, or too many, or if the classifier is there and
    not equal to the embedding table although the two are `tied`.
    """
    left = _Left(layout, config, tied, dict(tensors), decode)
    table = left.matrix("token_embedding_table", layout.embeddings)
    fields: dict[str, list[Any]] = {field: [] for field in layout.parts}
    for layer in range(config.n_layers):  # a number that a file makes up ends at the first tensor that is missing
        for field, made in fields.items():
            name = layout.name(layer, field)
            made.append(left.norm(name) if field in NORMS else left.matrix(field, name))
    norms = {field: left.norms(fields[field]) for field in fields if field in NORMS}
    final = left.norms([left.norm(layout.final_norm)])[0]
    if tied:
        left.check_tied(tensors[layout.embeddings])
    classifier = table if tied else left.matrix("wcls", layout.classifier)
    left.check_empty()
    return Weights(**fields | norms, token_embedding_table=table, rms_final_weight=final, wcls=classifier)


class _Left:
    """The tensors of a file that nobody has taken yet."""

    def __init__(self, layout: Layout, config: Config, tied: bool, tensors: Tensors, decode: Decode) -> None:
        self._layout, self._config, self._tensors, self._decode = layout, config, tensors, decode
        self._shapes = Header(1, config, tied).shapes()
        self._heads = {"wq": config.n_heads, "wk": config.n_kv_heads} if layout.half_split else {}

    def matrix(self, field: str, name: str) -> Any:
        rows, cols = self._shapes[field][1:]
        kind, _, data = _take(self._layout, self._tensors, name, (rows, cols))
        if field in self._heads:
            data = reordered(data, interleaved(rows, self._heads[field]))
        return self._decode(kind, data, rows, cols)

    def norm(self, name: str) -> bytes:
        """float32 numbers."""
        kind, _, data = _take(self._layout, self._tensors, name, (self._config.dim,))
        return bytes(data) if kind == "F32" else Expanding(data, kind)[:].tobytes()

    def norms(self, made: list[bytes]) -> Any:
        return self._decode("F32", memoryview(b"".join(made)), len(made), self._config.dim)

    def check_tied(self, embeddings: TensorInfo) -> None:
        names = self._layout.classifier, self._layout.embeddings
        if self._tensors.pop(names[0], embeddings) != embeddings:
            raise CheckpointError(f"{names[0]} must equal {names[1]} where the two are tied (it does not)")

    def check_empty(self) -> None:
        for name in self._tensors:
            raise CheckpointError(f"tensors must be those of a Llama model (got {shown(name)}, too): not supported")


def _take(layout: Layout, tensors: Tensors, name: str, shape: tuple[int, ...]) -> TensorInfo:
    """Take a tensor out, if it is what it must be."""
    info = tensors.pop(name, None)
    if info is None:
        raise CheckpointError(f"tensor {name} must be there (it is not)")
    if info.shape != shape:
        got = shown(list(info.shape))
        raise CheckpointError(f"{name} must have the shape {shown(list(shape))} by {layout.config} (got {got})")
    if info.kind not in FLOATS:
        raise CheckpointError(f"{name} must be {', '.join(FLOATS[:-1])} or {FLOATS[-1]} (got {info.kind})")
    return info


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
