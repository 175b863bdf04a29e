"""Read Meta's own checkpoints: params.json, and consolidated.00.pth, consolidated.01.pth, ..., through PyTorch.

Those are pickles in zip archives. PyTorch reads them with `weights_only`: what holds more than tensors is refused, and
never run. Each file has a part of every matrix; parts belong one below the other, or side by side.
"""

import importlib
import re
from functools import partial
from pathlib import Path
from typing import Any

from ..config import Config, RopeScaling
from ..errors import CheckpointError, ConfigError, MissingExtraError
from ..support.files import FilePath
from ..support.strict_json import Settings, get_flag, get_number, get_size, read_json, shown
from ..tokenizers import read as tokenizers
from .arrays import Arrays
from .model_file import ModelFile, Source
from .safetensors import TensorInfo
from .tensor_table import EMBEDDING, META, collect_weights, dtypes_of

PARAMS = "params.json"
SIDE_BY_SIDE = (".wo.weight", ".w2.weight")  # columns are split over files; and embeddings of the older models
UNUSED = "rope.freqs"  # RoPE frequencies in older files: ignored, since they follow from params.json
KNOWN = {
    "dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "multiple_of", "ffn_dim_multiplier", "norm_eps",
    "rope_theta", "use_scaled_rope", "rope_scaling_factor", "rope_high_freq_factor", "max_seq_len", "max_batch_size",
}  # fmt: skip
DTYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}


def detect(source: Source) -> bool:
    """Is it a folder with params.json?"""
    return source.holds(PARAMS)


def read(source: Source, arrays: Arrays) -> ModelFile:
    """As `read_folder`."""
    return read_folder(source.path, arrays)


def read_folder(path: FilePath, arrays: Arrays) -> ModelFile:
    """What a folder holds. Weights of a model in one file are views of it; those of several are copies.

    Raises CheckpointError if a file is missing or damaged, holds more than tensors, or the model is another one than
    Llama's, and MissingExtraError without PyTorch.
    """
    folder = Path(path)
    params = read_json(folder / PARAMS)
    try:
        _check_known(params)
        dim = get_size(params, "dim")
    except ConfigError as error:
        raise CheckpointError(f"{folder / PARAMS}: {error}") from None
    files = sorted(folder.glob("consolidated.*.pth"))
    if not files:
        raise CheckpointError(f"{path}: weights must be in consolidated.00.pth (there is none)")
    try:
        tensors = _merged([_load(file) for file in files], dim)
        config, notes = _config(params, tensors)
        weights = collect_weights(META, config, False, tensors, arrays)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    label = f"PyTorch, {dtypes_of(tensors)}" + (f", {len(files)} files" if len(files) > 1 else "")
    tokenizer = partial(tokenizers.read_folder, folder, config.vocab_size)
    return ModelFile(path, config, weights, "meta", label, tokenizer, None, notes)


# ----------------------------------------------------------------------------------------------------------- parameters


def _check_known(params: Settings) -> None:
    """Raise ConfigError if params.json says something that may change what is computed."""
    unknown = sorted(params.keys() - KNOWN)
    if unknown:
        raise ConfigError(f"parameters must be those of a Llama model (got {shown(unknown[0])}, too): not supported")


def _config(params: Settings, tensors: dict[str, TensorInfo]) -> tuple[Config, tuple[str, ...]]:
    """The sizes, some of which only the tensors say, and what had to be taken for granted."""
    notes = []
    heads, theta = get_size(params, "n_heads"), get_number(params, "rope_theta", 10000.0)
    scaling, factor = None, params.get("rope_scaling_factor")
    if get_flag(params, "use_scaled_rope"):
        if factor is None:
            notes.append(f"{PARAMS} does not say by how much RoPE is scaled: 8 is taken, as for Llama 3.1")
        high = get_number(params, "rope_high_freq_factor", 4.0)
        scaling = RopeScaling("llama3", get_number(params, "rope_scaling_factor", 8.0), 1.0, high, 8192)
    context = 131072 if scaling else 8192 if theta > 10000 else 4096
    if params.get("max_seq_len") is None:
        notes.append(f"{PARAMS} does not say the context: {context} tokens are taken")
    config = Config(
        get_size(params, "dim"),
        _rows(tensors, META.name("w1")),
        get_size(params, "n_layers"),
        heads,
        get_size(params, "n_kv_heads", heads),
        _vocabulary(params, _rows(tensors, META.name(EMBEDDING))),
        get_size(params, "max_seq_len", context),
        get_number(params, "norm_eps", 1e-5),
        theta,
        rope_scaling=scaling,
    )
    return config, tuple(notes)


def _rows(tensors: dict[str, TensorInfo], name: str) -> int:
    if name not in tensors:
        raise CheckpointError(f"tensor {name} must be there (it is not)")
    return tensors[name].shape[0] if tensors[name].shape else 0


def _vocabulary(params: Settings, rows: int) -> int:
    """The size of the vocabulary, which -1 leaves to the tensors."""
    said = params.get("vocab_size")
    if said not in (None, -1) and get_size(params, "vocab_size") != rows:
        raise CheckpointError(f"{META.name(EMBEDDING)} must have the {said} rows that {PARAMS} says (got {rows})")
    return rows


# -------------------------------------------------------------------------------------------------------------- tensors


def _load(file: Path) -> dict[str, TensorInfo]:
    """The tensors of one file, as views of its memory map."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        rule = "PyTorch must be installed to read .pth files"
        raise MissingExtraError(f"{rule}: pip install 'llama2-twins[torch]', or use the model's safetensors") from None
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # of any kind: the file may hold anything
        rule = f"{file.name} must be an archive of PyTorch that holds nothing but tensors"
        raise CheckpointError(f"{rule} (got {_reason(error)}): nothing else is read, or run") from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{file.name} must hold tensors by their names (got {type(loaded).__name__})")
    return {name: _view(torch, file, name, tensor) for name, tensor in loaded.items() if name != UNUSED}


def _reason(error: Exception) -> str:
    """Why PyTorch refuses a file, without its advice, which is to run what is in it."""
    match = re.search(r"GLOBAL ([\w.]+)", str(error))
    return match[1] if match else shown((str(error).splitlines() or [type(error).__name__])[0])


def _view(torch: Any, file: Path, name: Any, tensor: Any) -> TensorInfo:
    """One tensor: its bytes where they are."""
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise CheckpointError(
            f"{file.name} must hold tensors by their names (got {type(tensor).__name__} {shown(name)})"
        )
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.is_contiguous()
    if str(tensor.dtype) not in DTYPES or not plain or not 1 <= tensor.dim() <= 2 or not tensor.numel():
        got = f"{tensor.dtype} {shown(list(tensor.shape))}, {'' if plain else 'not '}in one piece"
        raise CheckpointError(f"{shown(name)} must be a matrix of floats, or a vector (got {got})")
    data = tensor.detach().view(torch.uint8).numpy()
    return TensorInfo(DTYPES[str(tensor.dtype)], tuple(tensor.shape), memoryview(data).cast("B").toreadonly())


def _merged(files: list[dict[str, TensorInfo]], dim: int) -> dict[str, TensorInfo]:
    """The whole tensors of several files, each of which has a part of them."""
    if len(files) == 1:
        return files[0]
    merged = {}
    for name in dict.fromkeys(name for file in files for name in file):
        parts = [file[name] for file in files if name in file]
        if len(parts) < len(files) or len({(part.dtype, part.shape) for part in parts}) > 1:
            raise CheckpointError(f"{shown(name)} must have a part of the same shape in each file (it has not)")
        merged[name] = _joined(name, parts, dim)
    return merged


def _joined(name: str, parts: list[TensorInfo], dim: int) -> TensorInfo:
    dtype, shape, data = parts[0]
    if len(shape) == 1:  # norms: each file has all of it
        if any(part.data != data for part in parts):
            raise CheckpointError(f"{shown(name)} must be equal in all files (it is not)")
        return parts[0]
    rows, cols = shape
    if name.endswith(SIDE_BY_SIDE) or (name == META.name(EMBEDDING) and cols != dim):
        size = len(data) // rows
        pieces = (part.data[row * size : (row + 1) * size] for row in range(rows) for part in parts)
        return TensorInfo(dtype, (rows, cols * len(parts)), memoryview(b"".join(pieces)))
    return TensorInfo(dtype, (rows * len(parts), cols), memoryview(b"".join(part.data for part in parts)))
