"""Read and write folders of Hugging Face: config.json, safetensors in one file or several, tokenizer files.

Theirs: tensor model.layers.N.self_attn.q_proj.weight is wq of layer N, and so on (LAYER). Their RoPE turns number i of
a head with number i + E/2; here it is 2i with 2i + 1, so that rows of wq and wk change places when they are read.
"""

import json
import os
import shutil
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import isfinite, prod
from pathlib import Path
from secrets import token_hex
from typing import Any

from ._decode import row_bytes
from ._files import is_file, write_whole
from ._format import Header
from ._json import is_count, is_text, parse_object, shown
from ._model_file import Decode, ModelFile
from ._safetensors import FilePath, TensorInfo, read_file, write_file
from .config import Config, RopeScaling
from .errors import CheckpointError, ConfigError, NumericsError
from .quantize import float_rows
from .weights import Expanding, Weights

CONFIG, ONE_FILE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
GENERATION = "generation_config.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", GENERATION,
)  # fmt: skip
LONGEST_JSON = 100_000_000  # bytes
EMBEDDINGS, FINAL_NORM, CLASSIFIER = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
LAYER = {
    "rms_att_weight": "input_layernorm",
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "rms_ffn_weight": "post_attention_layernorm",
    "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
NORMS = ("rms_att_weight", "rms_ffn_weight")
ALL_NORMS = (*NORMS, "rms_final_weight")
UNUSED = "rotary_emb.inv_freq"  # older files hold frequencies, which the config says, too
FLOATS = ("F32", "F16", "BF16")
LARGEST = {"float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119}  # from here on numbers round to infinity
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SCALING_FIELDS = {
    "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings", "partial_rotary_factor",
}  # fmt: skip

Settings = dict[str, Any]
Progress = Callable[[int, int], None]
Encode = Callable[[Any, str], Iterable[bytes]]  # a matrix, a type -> its bytes, in chunks of whole rows


def read_folder(path: FilePath, decode: Decode) -> ModelFile:
    """What a folder holds. Weights are views of its files, which stay mapped; rows of wq and wk are copies.

    Raises CheckpointError if a file is missing or damaged, or if the model is another one than Llama's.
    """
    folder = Path(path)
    if not is_file(folder / CONFIG):
        raise CheckpointError(f"{path}: a model's folder must hold {CONFIG}, or Meta's params.json (it has neither)")
    config, tied = _config(folder / CONFIG)
    tensors, files = _tensors(folder)
    kinds = sorted({info.kind for name, info in tensors.items() if not name.endswith(UNUSED)})
    try:
        weights = _weights(config, tied, tensors, decode)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    name = f"safetensors, {' and '.join(kinds)}" + (f", {files} files" if files > 1 else "")
    return ModelFile(config, weights, name, partial(_tokenizer, folder, config.vocab_size), _template(folder))


def _tokenizer(folder: Path, vocab_size: int) -> Any:
    from . import _tokenizers

    return _tokenizers.read_folder(folder, vocab_size)


def _template(folder: Path) -> str | None:
    from . import _tokenizers

    return _tokenizers.folder_template(folder)


# --------------------------------------------------------------------------------------------------------------- config


def read_json(path: Path) -> Settings:
    """A JSON object in a file. Raises CheckpointError."""
    try:
        if not is_file(path):
            raise CheckpointError(f"{path}: must be a file (there is none)")
        size = path.stat().st_size
        if size > LONGEST_JSON:
            raise CheckpointError(f"{path}: must have at most {LONGEST_JSON} bytes (got {size})")
        return parse_object(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: must be readable ({error.strerror})") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _config(path: Path) -> tuple[Config, bool]:
    """The sizes, and whether the classifier is the embedding table."""
    settings = read_json(path)
    try:
        _check_kind(settings)
        heads, context = _size(settings, "num_attention_heads"), _size(settings, "max_position_embeddings", 2048)
        theta, scaling = _rope(settings, context)
        config = Config(
            _size(settings, "hidden_size"),
            _size(settings, "intermediate_size"),
            _size(settings, "num_hidden_layers"),
            heads,
            _size(settings, "num_key_value_heads", heads),
            _size(settings, "vocab_size"),
            context,
            _number(settings, "rms_norm_eps", 1e-6),
            theta,
            _size(settings, "head_dim", 0),
            scaling,
        )
        return config, _flag(settings, "tie_word_embeddings")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _check_kind(settings: Settings) -> None:
    """Raise ConfigError unless it is a model that is computed as Llama is."""
    if settings.get("model_type") != "llama":
        raise ConfigError(f"model_type must be 'llama' (got {shown(settings.get('model_type'))})")
    if settings.get("hidden_act", "silu") not in ("silu", "swish"):
        raise ConfigError(f"hidden_act must be 'silu' (got {shown(settings['hidden_act'])})")
    for name in ("attention_bias", "mlp_bias"):
        if _flag(settings, name):
            raise ConfigError(f"{name} must be false (got true): models with biases are not supported")
    if settings.get("quantization_config") is not None:
        got = shown(settings["quantization_config"])
        raise ConfigError(
            f"weights must not be quantized (got quantization_config {got}): use the model it was made of"
        )
    if _number(settings, "partial_rotary_factor", 1.0) != 1:
        raise ConfigError(f"partial_rotary_factor must be 1 (got {shown(settings['partial_rotary_factor'])})")


def _size(settings: Settings, name: str, default: int | None = None) -> int:
    """A positive number; the default where it is missing or null, if there is one."""
    value = settings.get(name)
    if value is None and default is not None:
        return default
    if not is_count(value) or value == 0:
        raise ConfigError(f"{name} must be a positive whole number below 2^63 (got {shown(value)})")
    return value


def _number(settings: Settings, name: str, default: float | None = None) -> float:
    value = settings.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ConfigError(f"{name} must be a number below 1e300 (got {shown(value)})")
    return float(value)


def _flag(settings: Settings, name: str) -> bool:
    value = settings.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false (got {shown(value)})")
    return bool(value)


def _rope(settings: Settings, context: int) -> tuple[float, RopeScaling | None]:
    """Theta, and the scaling: `rope_theta` and `rope_scaling`, or the newer `rope_parameters`, which has both."""
    old, new = settings.get("rope_scaling"), settings.get("rope_parameters")
    if old is not None and new is not None and old != new:
        raise ConfigError(f"rope_scaling must equal rope_parameters (got {shown(old)}, {shown(new)})")
    found = old if new is None else new
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"rope_scaling and rope_parameters must be objects (got {shown(found)})")
    fields: Settings = {name: value for name, value in (found or {}).items() if value is not None}
    unknown = sorted(fields.keys() - SCALING_FIELDS)
    if unknown:
        raise ConfigError(f"fields of RoPE's scaling must be known ones (got {shown(unknown[0])}): not supported")
    thetas = {_number(place, "rope_theta") for place in (settings, fields) if place.get("rope_theta") is not None}
    kinds = {shown(fields[name]) for name in ("rope_type", "type") if name in fields}
    if len(thetas) > 1 or len(kinds) > 1:
        got = ", ".join(sorted(map(str, thetas if len(thetas) > 1 else kinds)))
        raise ConfigError(f"RoPE's theta and scaling must be said once (got {got})")
    if _number(fields, "partial_rotary_factor", 1.0) != 1:
        raise ConfigError(f"partial_rotary_factor must be 1 (got {shown(fields['partial_rotary_factor'])})")
    return next(iter(thetas), 10000.0), _scaling(
        fields, fields.get("rope_type", fields.get("type", "default")), context
    )


def _scaling(fields: Settings, kind: Any, context: int) -> RopeScaling | None:
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", _number(fields, "factor"))
    if kind != "llama3":
        rule = "rope_type must be default, linear or llama3"
        raise ConfigError(f"{rule} (got {shown(kind)}): other scalings are not supported")
    low, high = _number(fields, "low_freq_factor"), _number(fields, "high_freq_factor")
    original = _size(fields, "original_max_position_embeddings", context)
    return RopeScaling("llama3", _number(fields, "factor"), low, high, original)


# -------------------------------------------------------------------------------------------------------------- weights


def _tensors(folder: Path) -> tuple[dict[str, TensorInfo], int]:
    """Every tensor of a folder, and the number of its files."""
    if is_file(folder / ONE_FILE):
        return read_file(folder / ONE_FILE).tensors, 1
    if not is_file(folder / INDEX):
        pickled = any(folder.glob("*.bin"))
        got = "pickles, which are never read: save the model as safetensors" if pickled else "neither"
        raise CheckpointError(f"{folder}: weights must be in {ONE_FILE}, or in files that {INDEX} names (got {got})")
    placed = _weight_map(folder / INDEX)
    tensors: dict[str, TensorInfo] = {}
    shards = sorted(set(placed.values()))
    for shard in shards:
        for name, info in read_file(folder / shard).tensors.items():
            if placed.get(name) != shard:
                got = f"{shown(name)} in {shard}, {shown(placed.get(name))} in the index"
                raise CheckpointError(f"{folder}: tensors must be where {INDEX} says (got {got})")
            tensors[name] = info
    missing = next((name for name in placed if name not in tensors), None)
    if missing is not None:
        raise CheckpointError(f"{folder / placed[missing]}: must hold tensor {shown(missing)}, as {INDEX} says")
    return tensors, len(shards)


def _weight_map(path: Path) -> dict[str, str]:
    """tensor -> file: plain names, which can't lead out of the folder."""
    placed = read_json(path).get("weight_map")
    if not isinstance(placed, dict):
        raise CheckpointError(f"{path}: weight_map must be an object (got {shown(placed)})")
    for name in placed.values():
        plain = is_text(name) and name.isprintable() and name.endswith(".safetensors") and not set(name) & set("/\\:")
        if not plain:
            raise CheckpointError(
                f"{path}: files must be names ending in .safetensors, without folder (got {shown(name)})"
            )
    return placed


def _weights(config: Config, tied: bool, tensors: dict[str, TensorInfo], decode: Decode) -> Weights:
    """Weights of all tensors, which must be exactly those of the config. They are taken out of `tensors`."""
    shapes = Header(1, config, tied).shapes()
    dim = config.dim
    fields: dict[str, Any] = {name: [] for name in LAYER}
    heads = {"wq": config.n_heads, "wk": config.n_kv_heads}

    def matrix(name: str, tensor: str) -> Any:
        rows, cols = shapes[name][1:]
        kind, _, data = _take(tensors, tensor, (rows, cols))
        if name in heads:
            data = _reordered(data, interleaved(rows, heads[name]))
        return decode(kind, data, rows, cols)

    embeddings = tensors.get(EMBEDDINGS)
    table = matrix("token_embedding_table", EMBEDDINGS)
    for layer in range(config.n_layers):  # a number that the file makes up ends at the first tensor that is missing
        for name, theirs in LAYER.items():
            tensor = f"model.layers.{layer}.{theirs}.weight"
            fields[name].append(_norm(tensors, tensor, dim) if name in NORMS else matrix(name, tensor))
    for name in NORMS:
        fields[name] = decode("F32", memoryview(b"".join(fields[name])), config.n_layers, dim)
    final = decode("F32", memoryview(_norm(tensors, FINAL_NORM, dim)), 1, dim)[0]
    if tied and tensors.pop(CLASSIFIER, embeddings) != embeddings:
        raise CheckpointError(f"{CLASSIFIER} must equal {EMBEDDINGS} where tie_word_embeddings is true (it does not)")
    classifier = table if tied else matrix("wcls", CLASSIFIER)
    left = next((name for name in tensors if not name.endswith(UNUSED)), None)
    if left is not None:
        raise CheckpointError(f"tensors must be those of a Llama model (got {shown(left)}, too): not supported")
    return Weights(token_embedding_table=table, rms_final_weight=final, wcls=classifier, **fields)


def _take(tensors: dict[str, TensorInfo], name: str, shape: tuple[int, ...]) -> TensorInfo:
    """Take a tensor out, if it is what it must be."""
    info = tensors.pop(name, None)
    if info is None:
        raise CheckpointError(f"tensor {name} must be there (it is not)")
    if info.shape != shape:
        raise CheckpointError(
            f"{name} must have the shape {shown(list(shape))} by {CONFIG} (got {shown(list(info.shape))})"
        )
    if info.kind not in FLOATS:
        raise CheckpointError(f"{name} must be {', '.join(FLOATS[:-1])} or {FLOATS[-1]} (got {info.kind})")
    return info


def _norm(tensors: dict[str, TensorInfo], name: str, dim: int) -> bytes:
    """The bytes of a vector of norm weights, as float32 numbers."""
    kind, _, data = _take(tensors, name, (dim,))
    return bytes(data) if kind == "F32" else Expanding(data, kind)[:].tobytes()


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


def _reordered(data: memoryview, order: list[int]) -> memoryview:
    """Rows in another order, as a copy."""
    size = len(data) // len(order)
    return memoryview(b"".join(data[row * size : (row + 1) * size] for row in order))


# -------------------------------------------------------------------------------------------------------------- writing


def write_folder(
    path: FilePath,
    config: Config,
    weights: Weights,
    dtype: str = "float32",
    progress: Progress | None = None,
    tokenizer: FilePath | None = None,
    encode: Encode | None = None,
) -> tuple[str, ...]:
    """Write a folder that transformers reads: beside `path`, then renamed. Returns notes, a line each.

    Integers are expanded; numbers become `dtype`: float32, float16 or bfloat16. `tokenizer` is a folder, or a file in
    one, whose tokenizer files are copied. `progress(done, total)` is called with bytes after each tensor.
    `encode` makes bytes of a matrix, as `encode_rows` does.

    Raises CheckpointError if `path` is a file or a folder that is not empty, or can't be written, ConfigError if
    transformers can't have such a model, and NumericsError if a number is beyond `dtype`.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"numbers can be written as {', '.join(DTYPES)} (got {dtype!r})")
    if config.dim % config.n_heads:
        raise ConfigError(f"n_heads must divide dim in {CONFIG} (got n_heads {config.n_heads}, dim {config.dim})")
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise CheckpointError(f"{path}: must be a new or an empty folder (there is something): name another one")
        beside = target.with_name(f".{token_hex(8)}.part")
        try:
            beside.mkdir()
            notes = _copy_tokenizer(tokenizer, beside)
            _fill(beside, path, config, weights, dtype, progress, encode or encode_rows)
            if target.exists():
                target.rmdir()
            beside.rename(target)
        finally:  # after the rename there is nothing to remove; after an error or Ctrl-C there is
            shutil.rmtree(beside, ignore_errors=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: can't be written ({reason})") from None
    return notes


def _fill(
    beside: Path,
    path: FilePath,
    config: Config,
    weights: Weights,
    dtype: str,
    progress: Progress | None,
    encode: Encode,
) -> None:
    """Write config and weights into the folder beside `path`, whose name errors must not tell."""
    try:
        settings = _settings(config, weights.shared_classifier, dtype, beside / GENERATION)
        write_whole(beside / CONFIG, [json.dumps(settings, indent=2).encode() + b"\n"])
        tensors = _written(config, weights, DTYPES[dtype], encode, progress)
        write_file(beside / ONE_FILE, tensors, {"format": "pt"})  # which transformers asks for
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(beside), str(path))) from None


def _copy_tokenizer(source: FilePath | None, folder: Path) -> tuple[str, ...]:
    """Copy what belongs to a tokenizer, if there is any."""
    place = None if source is None else Path(source) if Path(source).is_dir() else Path(source).parent
    found = [name for name in TOKENIZER_FILES if place is not None and is_file(place / name)]
    for name in found:
        shutil.copyfile(Path(str(place)) / name, folder / name)
    if any(name.startswith("tokenizer.") for name in found):
        return ()
    return ("no tokenizer was written: the model's own is in no format of Hugging Face",)


def _settings(config: Config, tied: bool, dtype: str, generation: Path) -> Settings:
    """What config.json says. Older and newer versions of transformers understand these names."""
    settings: Settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size,
        "max_position_embeddings": config.seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _scaling_settings(config.rope_scaling),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
    }
    special = read_json(generation) if is_file(generation) else {"bos_token_id": 1, "eos_token_id": 2}
    return settings | {name: special[name] for name in ("bos_token_id", "eos_token_id") if name in special}


def _scaling_settings(scaling: RopeScaling | None) -> Settings | None:
    if scaling is None:
        return None
    fields: Settings = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "linear":
        return fields | {"type": "linear"}  # its older name
    fields |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    return fields | {"original_max_position_embeddings": scaling.original_seq_len}


def _written(config: Config, weights: Weights, kind: str, encode: Encode, progress: Progress | None) -> list[Any]:
    """Every tensor as `write_file` takes it."""
    shapes = Header(1, config, weights.shared_classifier).shapes()
    size = row_bytes(kind, 1)
    total = size * sum(copies * rows * cols for copies, rows, cols in shapes.values())
    orders = {"wq": half_split(config.q_dim, config.n_heads), "wk": half_split(config.kv_dim, config.n_kv_heads)}
    tensors, done = [], 0
    for theirs, name, matrix in _named(config, weights):
        norm = name in ALL_NORMS
        shape = shapes[name][2:] if norm else shapes[name][1:]
        done += size * prod(shape)
        tell = partial(progress, done, total) if progress else None
        chunks = _chunks(theirs, encode([matrix] if norm else matrix, kind), orders.get(name), tell)
        tensors.append((theirs, kind, shape, chunks))
    return tensors


def _named(config: Config, weights: Weights) -> Iterator[tuple[str, str, Any]]:
    """Their name of each tensor, ours, and the matrix, or the vector of norm weights."""
    yield EMBEDDINGS, "token_embedding_table", weights.token_embedding_table
    for layer in range(config.n_layers):
        for name, theirs in LAYER.items():
            yield f"model.layers.{layer}.{theirs}.weight", name, getattr(weights, name)[layer]
    yield FINAL_NORM, "rms_final_weight", weights.rms_final_weight
    if not weights.shared_classifier:
        yield CLASSIFIER, "wcls", weights.wcls


def _chunks(
    name: str, chunks: Iterable[bytes], order: list[int] | None, tell: Callable[[], None] | None
) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor, its rows in another order where there is one."""
    try:
        if order is None:
            yield from chunks
        else:
            yield _reordered(memoryview(b"".join(chunks)), order)
    except NumericsError as error:
        raise NumericsError(f"{name}: {error}") from None
    if tell:
        tell()


def encode_rows(matrix: Any, kind: str) -> Iterator[bytes]:
    """The rows of a matrix of any kind as bytes. Raises NumericsError if a number becomes infinite that was not."""
    for row in float_rows(matrix):
        bits = bytes(row) if isinstance(row, memoryview) and row.format == "f" else array("f", row).tobytes()
        if kind == "F32":
            yield bits
        elif kind == "F16":
            yield _float16s(memoryview(bits).cast("f"))
        else:
            yield _bfloat16s(memoryview(bits).cast("I"))


def _float16s(row: "memoryview[float]") -> bytes:
    try:
        return struct.pack(f"<{len(row)}e", *row)
    except OverflowError:
        raise too_large("float16", next(x for x in row if isfinite(x) and abs(x) >= LARGEST["float16"])) from None


def _bfloat16s(row: memoryview) -> bytes:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even; NaN stays NaN."""
    out = array("H")
    for bits in row:
        magnitude = bits & 0x7FFFFFFF
        if 0x7F7F8000 <= magnitude < 0x7F800000:
            raise too_large("bfloat16", struct.unpack("<f", struct.pack("<I", bits))[0])
        out.append(bits >> 16 | 0x40 if magnitude > 0x7F800000 else bits + 0x7FFF + (bits >> 16 & 1) >> 16)
    return out.tobytes()


def too_large(dtype: str, number: float) -> NumericsError:
    """What to raise where a finite number would become infinite."""
    return NumericsError(f"numbers must be below {LARGEST[dtype]:g} to become {dtype} (got {number:g})")
