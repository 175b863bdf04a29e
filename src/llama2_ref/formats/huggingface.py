"""Read and write folders of Hugging Face: config.json, safetensors in one file or several, tokenizer files.

Their RoPE turns number i of a head with number i + E/2; here it is 2i with 2i + 1, so that rows of wq and wk change
places when they are read, and again when they are written.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from ..config import Config, RopeScaling
from ..errors import CheckpointError, ConfigError, NumericsError
from ..support.files import FilePath, is_file, whole_folder, write_whole
from ..support.strict_json import Settings, get_flag, get_number, get_size, is_text, read_json, shown
from ..tokenizers import read as tokenizers
from ..weights import Weights
from .arrays import Arrays
from .dtypes import row_bytes
from .lists import LISTS
from .model_file import ModelFile, Progress, Source, WriteOptions
from .safetensors import TensorInfo, read_file, write_file
from .tensor_table import HUGGING_FACE, collect_weights, count_parameters, dtypes_of, parts, reordered

CONFIG, ONE_FILE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
GENERATION = "generation_config.json"
SPECIAL_IDS = ("bos_token_id", "eos_token_id")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", GENERATION,
)  # fmt: skip
UNUSED = "rotary_emb.inv_freq"  # RoPE frequencies in older files: ignored, since they follow from the config
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SCALING_FIELDS = {
    "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
    "original_max_position_embeddings", "partial_rotary_factor",
}  # fmt: skip


def detect(source: Source) -> bool:
    """Is it a folder with config.json?"""
    return source.holds(CONFIG)


def read(source: Source, arrays: Arrays) -> ModelFile:
    """As `read_folder`."""
    return read_folder(source.path, arrays)


def write(
    path: FilePath, file: ModelFile, options: WriteOptions, arrays: Arrays, progress: Progress | None
) -> tuple[str, ...]:
    """Write a folder, with the tokenizer of the folder that was read. Raises what `write_folder` raises."""
    beside = file.path if Path(file.path).is_dir() else None
    special = file.special_ids
    return write_folder(path, file.config, file.weights, "float32", progress, beside, arrays, special)


def read_folder(path: FilePath, arrays: Arrays) -> ModelFile:
    """What a folder holds. Weights are views of its files, which stay mapped; rows of wq and wk are copies.

    Raises CheckpointError if a file is missing or damaged, or if the model is another one than Llama's.
    """
    folder = Path(path)
    settings = read_json(folder / CONFIG)
    config, tied = _config(folder / CONFIG, settings)
    all_tensors, files = _tensors(folder)
    tensors = {name: info for name, info in all_tensors.items() if not name.endswith(UNUSED)}
    try:
        weights = collect_weights(HUGGING_FACE, config, tied, tensors, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    label = f"safetensors, {dtypes_of(tensors)}" + (f", {files} files" if files > 1 else "")
    tokenizer = partial(tokenizers.read_folder, folder, config.vocab_size)
    template = tokenizers.folder_template(folder)
    ids = {name: settings[name] for name in SPECIAL_IDS if name in settings}
    return ModelFile(path, config, weights, "safetensors", label, tokenizer, template, special_ids=ids)


# --------------------------------------------------------------------------------------------------------------- config


def _config(path: Path, settings: Settings) -> tuple[Config, bool]:
    """The sizes, and whether the classifier is the embedding table."""
    try:
        _check_computable(settings)
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


def _check_computable(settings: Settings) -> None:
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
    scaling = old if new is None else new
    if scaling is not None and not isinstance(scaling, dict):
        raise ConfigError(f"rope_scaling and rope_parameters must be objects (got {shown(scaling)})")
    fields: Settings = {name: value for name, value in (scaling or {}).items() if value is not None}
    unknown = sorted(fields.keys() - SCALING_FIELDS)
    if unknown:
        raise ConfigError(f"fields of RoPE's scaling must be known ones (got {shown(unknown[0])}): not supported")
    thetas = {get_number(place, "rope_theta") for place in (settings, fields) if place.get("rope_theta") is not None}
    types = {shown(fields[name]) for name in ("rope_type", "type") if name in fields}
    if len(thetas) > 1 or len(types) > 1:
        got = ", ".join(sorted(map(str, thetas if len(thetas) > 1 else types)))
        raise ConfigError(f"RoPE's theta and scaling must be said once (got {got})")
    if get_number(fields, "partial_rotary_factor", 1.0) != 1:
        raise ConfigError(f"partial_rotary_factor must be 1 (got {shown(fields['partial_rotary_factor'])})")
    return next(iter(thetas), 10000.0), _scaling(
        fields, fields.get("rope_type", fields.get("type", "default")), context
    )


def _scaling(fields: Settings, rope_type: Any, context: int) -> RopeScaling | None:
    if rope_type == "default":
        return None
    if rope_type == "linear":
        return RopeScaling("linear", get_number(fields, "factor"))
    if rope_type != "llama3":
        rule = "rope_type must be default, linear or llama3"
        raise ConfigError(f"{rule} (got {shown(rope_type)}): other scalings are not supported")
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
    arrays: Arrays = LISTS,
    special: Settings | None = None,
) -> tuple[str, ...]:
    """Write a folder that transformers reads: beside `path`, then renamed. Returns notes, a line each.

    Integers are expanded; numbers become `dtype`: float32, float16 or bfloat16. `tokenizer` is a folder, or a file in
    one, whose tokenizer files are copied. `progress(done, total)` is called with bytes after each tensor.
    `arrays` are those that the weights are made of. `special` are `bos_token_id` and `eos_token_id`, where the
    tokenizer files have no generation_config.json; None for those of llama2.c's vocabularies.

    Raises CheckpointError if `path` is a file or a folder that is not empty, or can't be written, ConfigError if
    transformers can't have such a model, and NumericsError if a number is beyond `dtype`.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"numbers can be written as {', '.join(DTYPES)} (got {dtype!r})")
    if config.dim % config.n_heads:
        raise ConfigError(f"n_heads must divide dim in {CONFIG} (got n_heads {config.n_heads}, dim {config.dim})")
    HUGGING_FACE.check_places(weights)
    with whole_folder(path) as beside:
        notes = _copy_tokenizer(tokenizer, beside)
        _fill(beside, path, config, weights, dtype, progress, arrays, special)
    return notes


def _fill(
    beside: Path,
    path: FilePath,
    config: Config,
    weights: Weights,
    dtype: str,
    progress: Progress | None,
    arrays: Arrays,
    special: Settings | None,
) -> None:
    """Write config and weights into the folder beside `path`, whose name errors must not tell."""
    try:
        settings = _settings(config, weights.shared_classifier, dtype)
        settings |= _special_ids(beside / GENERATION, special)
        write_whole(beside / CONFIG, [json.dumps(settings, indent=2).encode() + b"\n"])
        tensors = _written(config, weights, DTYPES[dtype], arrays, progress)
        write_file(beside / ONE_FILE, tensors, {"format": "pt"})  # which transformers asks for
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(beside), str(path))) from None


def _copy_tokenizer(source: FilePath | None, folder: Path) -> tuple[str, ...]:
    """Copy what belongs to a tokenizer, if there is any."""
    place = None if source is None else Path(source) if Path(source).is_dir() else Path(source).parent
    names = [name for name in TOKENIZER_FILES if place is not None and is_file(place / name)]
    for name in names:
        shutil.copyfile(Path(str(place)) / name, folder / name)
    if any(name.startswith("tokenizer.") for name in names):
        return ()
    return ("no tokenizer was written: the model's own is in no format of Hugging Face",)


def _special_ids(generation: Path, given: Settings | None) -> Settings:
    """BOS and EOS as config.json has them: those of a generation_config.json, else those that are given."""
    ids = {"bos_token_id": 1, "eos_token_id": 2} if given is None else given
    if is_file(generation):
        ids = (given or {}) | read_json(generation)
    return {name: ids[name] for name in SPECIAL_IDS if name in ids}


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


def _written(config: Config, weights: Weights, dtype: str, arrays: Arrays, progress: Progress | None) -> list[Any]:
    """Every tensor as `write_file` takes it."""
    total = row_bytes(dtype, count_parameters(config, weights))
    tensors, done = [], 0
    for spec, name, matrix in parts(config, weights, HUGGING_FACE, HUGGING_FACE.specs(vectors_last=True)):
        shape = spec.shape(config)
        done += row_bytes(dtype, prod(shape))
        tell = partial(progress, done, total) if progress else None
        data = arrays.matrix_to_bytes([matrix] if spec.is_vector else matrix, dtype)
        tensors.append((name, dtype, shape, _chunks(name, data, HUGGING_FACE.to_file_order(spec, config), tell)))
    return tensors


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
