"""Write GGUF files that llama.cpp reads."""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from ..config import Config
from ..errors import CheckpointError, ConfigError, NumericsError, TokenizerError
from ..support.files import FilePath, write_whole
from ..tokenizer import BOS, EOS, UNK, Tokenizer
from ..weights import TensorSpec, Weights
from .arrays import Arrays
from .dtypes import BLOCKS
from .gguf_container import BOOL, FLOAT32, INT32, STRING, UINT32, Container, Entry, padded, start_of_file
from .gguf_read import DIVISORS
from .model_file import ModelFile, Progress, WriteOptions
from .tensor_table import GGUF, parts, row_of

FILE_DTYPES = {"f32": "F32", "q8_0": "Q8_0", "q4_0": "Q4_0"}
FILE_TYPES = {"F32": 0, "Q4_0": 2, "Q8_0": 7}  # llama.cpp's numbers for what most tensors are
QUANTIZATION_VERSION = 2  # of GGML's blocks
SIZES = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len", "head_size")
UINT32_MOST, FLOAT32_LEAST, FLOAT32_MOST = 2**32 - 1, 2.0**-126, 2.0**128 - 2.0**104
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of tokens

Entries = dict[str, Entry]


class Part(NamedTuple):
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]
    ggml_type: str
    matrix: Any  # rows


def write(
    path: FilePath, file: ModelFile, options: WriteOptions, arrays: Arrays, progress: Progress | None
) -> tuple[str, ...]:
    """Write a GGUF file with the tokenizer that came with the model. Raises what `write_gguf` raises."""
    vocabulary = _vocabulary(file, options.tokenizer)
    write_gguf(path, file.config, file.weights, options.dtype or "f32", vocabulary, arrays, progress)
    return ()


def _vocabulary(file: ModelFile, tokenizer: FilePath | None) -> Entries:
    """What a GGUF file says of the tokenizer. Raises TokenizerError if that can't be told."""
    if tokenizer is None and isinstance(file.contents, Container):
        return copied_vocabulary(file.contents)
    if tokenizer is None and file.tokenizer_path is None:
        rule = "a GGUF file can be given the tokenizer of a GGUF file, or a tokenizer.bin"
        raise TokenizerError(f"{file.path}: {rule} (this is a folder): name one by -z")
    path = file.tokenizer_path() if tokenizer is None and file.tokenizer_path else tokenizer
    assert path is not None
    try:
        return sentencepiece_vocabulary(Tokenizer.read(path, file.config.vocab_size))
    except TokenizerError as error:
        raise error if str(error).startswith(str(path)) else TokenizerError(f"{path}: {error}") from None


def write_gguf(
    path: FilePath, config: Config, weights: Weights, dtype: str, vocabulary: Entries, arrays: Arrays,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Write a GGUF file of architecture "llama", beside `path` and then renamed.

    Matrices become `dtype`, "f32", "q8_0" or "q4_0": integers of such blocks keep every bit, all others are quantized
    from floats. Norms are float32. `vocabulary` are the entries of the tokenizer. `progress(done, total)` is called
    with bytes after each tensor.

    Raises ConfigError for another one, or if rows are not whole blocks; CheckpointError if the file can't be written
    or can't hold the config; NumericsError if a number is not finite, or too large for a block.
    """
    if dtype not in FILE_DTYPES:
        raise ConfigError(f"numbers of a GGUF file can become {', '.join(FILE_DTYPES)} (got {dtype!r})")
    _check(config)
    GGUF.check_places(weights)
    tensors = [*_parts(config, weights, FILE_DTYPES[dtype])]
    entries = _config_entries(config) | {"general.file_type": Entry(UINT32, FILE_TYPES[FILE_DTYPES[dtype]])}
    if dtype != "f32":
        entries["general.quantization_version"] = Entry(UINT32, QUANTIZATION_VERSION)
    start = start_of_file(
        entries | vocabulary, [(part.name, part.shape, part.ggml_type, _bytes(part)) for part in tensors]
    )
    write_whole(path, _file(start, tensors, arrays, progress))


def _file(start: bytes, tensors: list[Part], arrays: Arrays, progress: Progress | None) -> Iterator[bytes]:
    """The bytes of a file, some rows at a time."""
    sizes = [_bytes(part) for part in tensors]
    total, done = len(start) + sum(map(padded, sizes)), len(start)
    yield start
    for part, size in zip(tensors, sizes, strict=True):
        yield from _numbers(part, arrays)
        yield bytes(padded(size) - size)
        done += padded(size)
        if progress:
            progress(done, total)


def _check(config: Config) -> None:
    """Raise CheckpointError if no file can tell these numbers."""
    for name in SIZES:
        if (size := getattr(config, name)) > UINT32_MOST:
            raise CheckpointError(f"sizes in a GGUF file must be at most {UINT32_MOST} (got {name} {size})")
    scaling = config.rope_scaling
    floats = {"norm_eps": config.norm_eps, "rope_theta": config.rope_theta}
    for name, number in floats.items() if scaling is None else (floats | {"factor": scaling.factor}).items():
        if not FLOAT32_LEAST <= number <= FLOAT32_MOST:
            raise CheckpointError(f"numbers in a GGUF file must be float32 (got {name} {number})")


def _parts(config: Config, weights: Weights, ggml_type: str) -> Iterator[Part]:
    """Every tensor, in the order of llama.cpp's own files."""
    for spec, name, matrix in parts(config, weights, GGUF, sorted(GGUF.specs(), key=_place)):
        shape = spec.shape(config)
        yield Part(name, shape, "F32", [matrix]) if spec.is_vector else Part(name, shape, ggml_type, matrix)
    if config.rope_scaling is not None and config.rope_scaling.kind == "llama3":
        yield Part(DIVISORS, (config.head_size // 2,), "F32", [_divisors(config)])


def _place(spec: TensorSpec) -> str:
    """By what tensors of a layer are sorted: their names in Hugging Face's files, from which llama.cpp converts."""
    row = row_of(spec.name)
    return (row.hugging_face or str(row.gguf)) if spec.per_layer else ""


def _divisors(config: Config) -> list[float]:
    """By what the frequency of each pair is divided: all that a file says of Llama 3's scaling."""
    scaling = config.rope_scaling
    assert scaling is not None
    if (scaling.low_freq_factor, scaling.high_freq_factor) != (1, 4):
        got = f"{scaling.low_freq_factor}, {scaling.high_freq_factor}"
        raise CheckpointError(f"GGUF files imply the frequency factors 1 and 4 of Llama 3's scaling (got {got})")
    frequencies = [config.rope_theta ** (-i / config.head_size) for i in range(0, config.head_size, 2)]
    return [frequency / scaling.scale(frequency) for frequency in frequencies]


# ------------------------------------------------------------------------------------------------------------- metadata


def _config_entries(config: Config) -> Entries:
    """The sizes and constants, in llama.cpp's order."""
    c = config
    sizes = {
        "context_length": c.seq_len, "embedding_length": c.dim, "block_count": c.n_layers,
        "feed_forward_length": c.hidden_dim, "attention.head_count": c.n_heads, "attention.head_count_kv": c.n_kv_heads,
        "attention.key_length": c.head_size, "attention.value_length": c.head_size,
    }  # fmt: skip
    entries = {name: Entry(UINT32, size) for name, size in sizes.items()}
    entries["attention.layer_norm_rms_epsilon"] = Entry(FLOAT32, c.norm_eps)
    entries["rope.dimension_count"] = Entry(UINT32, c.head_size)
    entries["rope.freq_base"] = Entry(FLOAT32, c.rope_theta)
    entries["vocab_size"] = Entry(UINT32, c.vocab_size)
    scaling = c.rope_scaling
    if scaling is not None and scaling.kind == "linear":
        entries["rope.scaling.type"] = Entry(STRING, "linear")
        entries["rope.scaling.factor"] = Entry(FLOAT32, scaling.factor)
    elif scaling is not None:
        entries["rope.scaling.original_context_length"] = Entry(UINT32, scaling.original_seq_len)
    architecture = {"general.architecture": Entry(STRING, "llama")}
    return architecture | {f"llama.{name}": entry for name, entry in entries.items()}


def copied_vocabulary(container: Container) -> Entries:
    """The entries of the tokenizer that another file has, as they are there."""
    entries = {key: value for key, value in container.metadata.items() if key.startswith("tokenizer.")}
    entries = {key: value for key, value in entries.items() if value not in ("", [])}
    return {key: Entry(container.types[key][1], value) for key, value in entries.items()}


def sentencepiece_vocabulary(tokenizer: Tokenizer) -> Entries:
    """The entries of a vocabulary of llama2.c: llama.cpp's SentencePiece kind, which cuts texts alike.

    Raises TokenizerError if a token is no text, or is there twice, which llama.cpp does not take.
    """
    texts = [_text(tokenizer, token) for token in range(tokenizer.vocab_size)]
    seen: dict[str, int] = {}
    for token, text in enumerate(texts):
        if text in seen:
            raise TokenizerError(f"tokens of a GGUF file must differ ({seen[text]} and {token} are both {text!r})")
        seen[text] = token
    types = [BYTE if token in tokenizer.byte_of else NORMAL for token in range(len(texts))]
    types[UNK], types[BOS], types[EOS] = UNKNOWN, CONTROL, CONTROL

    entries = {
        "model": Entry(STRING, "llama"),
        "tokens": Entry(STRING, texts),
        "scores": Entry(FLOAT32, [float(score) for score in tokenizer.scores]),
        "token_type": Entry(INT32, types),
        "unknown_token_id": Entry(UINT32, UNK),
        "bos_token_id": Entry(UINT32, BOS),
        "eos_token_id": Entry(UINT32, EOS),
        "add_bos_token": Entry(BOOL, True),
        "add_eos_token": Entry(BOOL, False),
        "add_space_prefix": Entry(BOOL, True),
    }
    return {f"tokenizer.ggml.{name}": entry for name, entry in entries.items()}


def _text(tokenizer: Tokenizer, token: int) -> str:
    """A token as SentencePiece writes it."""
    if token in (UNK, BOS, EOS):
        return {UNK: "<unk>", BOS: "<s>", EOS: "</s>"}[token]
    if token in tokenizer.byte_of:
        return f"<0x{tokenizer.byte_of[token]:02X}>"
    try:
        return tokenizer.tokens[token].decode().replace(" ", "\u2581")
    except UnicodeDecodeError:
        got = tokenizer.tokens[token]
        raise TokenizerError(f"tokens of a GGUF file must be UTF-8 (token {token} is {got!r})") from None


# -------------------------------------------------------------------------------------------------------------- numbers


def _bytes(part: Part) -> int:
    """Size of a tensor in the file. Raises ConfigError if its rows are not whole blocks."""
    numbers, size = BLOCKS[part.ggml_type]
    if part.shape[-1] % numbers:
        rule = f"rows must be whole blocks of {numbers} numbers to become {part.ggml_type}"
        raise ConfigError(f"{rule} (those of {part.name} have {part.shape[-1]}): they can be f32")
    return prod(part.shape) // numbers * size


def _numbers(part: Part, arrays: Arrays) -> Iterator[bytes]:
    """The bytes of a tensor, some rows at a time."""
    try:
        write = arrays.matrix_to_bytes if part.ggml_type == "F32" else arrays.matrix_to_blocks
        yield from write(part.matrix, part.ggml_type)
    except NumericsError as error:
        raise NumericsError(f"{part.name}: {error}") from None
