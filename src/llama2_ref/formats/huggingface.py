"""Read and write folders of Hugging Face: config.json, safetensors in one file or several, tokenizer files.

Their RoPE turns number i of a head with number i + E/2; here it is 2i with 2i + 1, so that rows of wq and wk change
places when they are read, and again when they are written.
"""

import json
import shutil
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import isfinite, prod
from pathlib import Path
from typing import Any

from ..config import Config, RopeScaling
from ..errors import CheckpointError, ConfigError, NumericsError
from ..quantize import float_rows
from ..support.files import is_file, whole_folder, write_whole
from ..support.strict_json import Settings, get_flag, get_number, get_size, is_text, read_json, shown
from ..weights import Weights
from .dtypes import row_bytes
from .llama2c_header import Header
from .model_file import Decode, ModelFile
from .safetensors import FilePath, TensorInfo, read_file, write_file
from .tensor_table import HUGGING_FACE, NORMS, collect_weights, half_split, kinds_of, reordered

CONFIG, ONE_FILE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
GENERATION = "generation_config.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", GENERATION,
)  # fmt: skip
UNUSED = "rotary_emb.inv_freq"  # older files hold frequencies, which the config says, too
LARGEST = {"float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119}  # from here on numbers round to infinity
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SCALING_FIELDS = {
    "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings", "partial_rotary_factor",
}  # fmt: skip

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
    found, files = _tensors(folder)
    tensors = {name: info for name, info in found.items() if not name.endswith(UNUSED)}
    try:
        weights = collect_weights(HUGGING_FACE, config, tied, tensors, decode)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    name = f"safetensors, {kinds_of(tensors)}" + (f", {files} files" if files > 1 else "")
    return ModelFile(config, weights, name, partial(_tokenizer, folder, config.vocab_size), _template(folder))


def _tokenizer(folder: Path, vocab_size: int) -> Any:
    from ..tokenizers import read as _tokenizers

    return _tokenizers.read_folder(folder, vocab_size)


def _template(folder: Path) -> str | None:
    from ..tokenizers import read as _tokenizers

    return _tokenizers.folder_template(folder)


# --------------------------------------------------------------------------------------------------------------- config


def _config(path: Path) -> tuple[Config, bool]:
    """The sizes, and whether the classifier is the embedding table."""
    settings = read_json(path)
    try:
        _check_kind(settings)
        heads, context = get_size(settings, "num_attention_heads"), get_size(settings, "max_position_embeddings", 2048)
        theta, scaling = _rope(settings, context)
        config = Config(
            get_size(settings, "hidden_size"),
            get_size(settings, "intermediate_size"),
            get_size(settings, "num_hidden_layers"),
            heads,
            get_size(settings, "num_key_value_heads", heads),
            get_size(settings, "vocab_size"),
            context,
            get_number(settings, "rms_norm_eps", 1e-6),
            theta,
            get_size(settings, "head_dim", 0),
            scaling,
        )
        return config, get_flag(settings, "tie_word_embeddings")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _check_kind(settings: Settings) -> None:
    """Raise ConfigError unless it is a model that is computed as Llama is."""
    if settings.get("model_type") != "llama":
        raise ConfigError(f"model_type must be 'llama' (got {shown(settings.get('model_type'))})")
    if settings.get("hidden_act", "silu") not in ("silu", "swish"):
        raise ConfigError(f"hidden_act must be 'silu' (got {shown(settings['hidden_act'])})")
    for name in ("attention_bias", "mlp_bias"):
        if get_flag(settings, name):
            raise ConfigError(f"{name} must be false (got true): models with biases are not supported")
    if settings.get("quantization_config") is not None:
        got = shown(settings["quantization_config"])
        raise ConfigError(
            f"weights must not be quantized (got quantization_config {got}): use the model it was made of"
        )
    if get_number(settings, "partial_rotary_factor", 1.0) != 1:
        raise ConfigError(f"partial_rotary_factor must be 1 (got {shown(settings['partial_rotary_factor'])})")


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
    thetas = {get_number(place, "rope_theta") for place in (settings, fields) if place.get("rope_theta") is not None}
    kinds = {shown(fields[name]) for name in ("rope_type", "type") if name in fields}
    if len(thetas) > 1 or len(kinds) > 1:
        got = ", ".join(sorted(map(str, thetas if len(thetas) > 1 else kinds)))
        raise ConfigError(f"RoPE's theta and scaling must be said once (got {got})")
    if get_number(fields, "partial_rotary_factor", 1.0) != 1:
        raise ConfigError(f"partial_rotary_factor must be 1 (got {shown(fields['partial_rotary_factor'])})")
    return next(iter(thetas), 10000.0), _scaling(
        fields, fields.get("rope_type", fields.get("type", "default")), context
    )


def _scaling(fields: Settings, kind: Any, context: int) -> RopeScaling | None:
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", get_number(fields, "factor"))
    if kind != "llama3":
        rule = "rope_type must be default, linear or llama3"
        raise ConfigError(f"{rule} (got {shown(kind)}): other scalings are not supported")
    low, high = get_number(fields, "low_freq_factor"), get_number(fields, "high_freq_factor")
    original = get_size(fields, "original_max_position_embeddings", context)
    return RopeScaling("llama3", get_number(fields, "factor"), low, high, original)


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


# -------------------------------------------------------------------------------------------------------------- writing


def write_folder(
    path: FilePath,
    config: Config,
    weights: Weights,
    dtype: str = "float32",
    progress: Progress | None = None,
    tokenizer: FilePath | None = None,
    encode: Encode | None = None,
    special: Settings | None = None,
) -> tuple[str, ...]:
    """Write a folder that transformers reads: beside `path`, then renamed. Returns notes, a line each.

    Integers are expanded; numbers become `dtype`: float32, float16 or bfloat16. `tokenizer` is a folder, or a file in
    one, whose tokenizer files are copied. `progress(done, total)` is called with bytes after each tensor.
    `encode` makes bytes of a matrix, as `encode_rows` does. `special` are `bos_token_id` and `eos_token_id`, where the
    tokenizer files have no generation_config.json; None for those of llama2.c's vocabularies.

    Raises CheckpointError if `path` is a file or a folder that is not empty, or can't be written, ConfigError if
    transformers can't have such a model, and NumericsError if a number is beyond `dtype`.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"numbers can be written as {', '.join(DTYPES)} (got {dtype!r})")
    if config.dim % config.n_heads:
        raise ConfigError(f"n_heads must divide dim in {CONFIG} (got n_heads {config.n_heads}, dim {config.dim})")
    with whole_folder(path) as beside:
        notes = _copy_tokenizer(tokenizer, beside)
        _fill(beside, path, config, weights, dtype, progress, encode or encode_rows, special)
    return notes


def _fill(
    beside: Path,
    path: FilePath,
    config: Config,
    weights: Weights,
    dtype: str,
    progress: Progress | None,
    encode: Encode,
    special: Settings | None,
) -> None:
    """Write config and weights into the folder beside `path`, whose name errors must not tell."""
    try:
        settings = _settings(config, weights.shared_classifier, dtype)
        settings |= _special_ids(beside / GENERATION, special)
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


def _special_ids(generation: Path, given: Settings | None) -> Settings:
    """BOS and EOS as config.json has them: those of a generation_config.json, else those that are given."""
    found = {"bos_token_id": 1, "eos_token_id": 2} if given is None else given
    if is_file(generation):
        found = (given or {}) | read_json(generation)
    return {name: found[name] for name in ("bos_token_id", "eos_token_id") if name in found}


def _settings(config: Config, tied: bool, dtype: str) -> Settings:
    """What config.json says. Older and newer versions of transformers understand these names."""
    return {
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
        norm = name in NORMS
        shape = shapes[name][2:] if norm else shapes[name][1:]
        done += size * prod(shape)
        tell = partial(progress, done, total) if progress else None
        chunks = _chunks(theirs, encode([matrix] if norm else matrix, kind), orders.get(name), tell)
        tensors.append((theirs, kind, shape, chunks))
    return tensors


def _named(config: Config, weights: Weights) -> Iterator[tuple[str, str, Any]]:
    """Their name of each tensor, ours, and the matrix, or the vector of norm weights."""
    yield HUGGING_FACE.embeddings, "token_embedding_table", weights.token_embedding_table
    for layer in range(config.n_layers):
        for name in HUGGING_FACE.parts:
            yield HUGGING_FACE.name(layer, name), name, getattr(weights, name)[layer]
    yield HUGGING_FACE.final_norm, "rms_final_weight", weights.rms_final_weight
    if not weights.shared_classifier:
        yield HUGGING_FACE.classifier, "wcls", weights.wcls


def _chunks(
    name: str, chunks: Iterable[bytes], order: list[int] | None, tell: Callable[[], None] | None
) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor, its rows in another order where there is one."""
    try:
        if order is None:
            yield from chunks
        else:
            yield reordered(memoryview(b"".join(chunks)), order)
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
