"""Write GGUF files that llama.cpp reads: the gguf package writes what comes before the numbers, and quantizes them."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

from ..config import Config
from ..errors import CheckpointError, ConfigError, NumericsError, TokenizerError
from ..support.files import FilePath, write_whole
from ..tokenizer import BOS, EOS, UNK, Tokenizer
from ..weights import Int4Matrix, Int8Matrix, TensorSpec, Weights
from .arrays import Arrays
from .gguf_container import Container
from .gguf_read import DIVISORS, import_gguf
from .model_file import ModelFile, Progress, WriteOptions
from .tensor_table import GGUF, parts, row_of

FILE_DTYPES = {"f32": "F32", "q8_0": "Q8_0", "q4_0": "Q4_0"}
FILE_TYPES = {"F32": 0, "Q4_0": 2, "Q8_0": 7}  # llama.cpp's numbers for what most tensors are
BLOCK = 32  # numbers that share a scale
SIZES = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len", "head_size")
UINT32_MOST, FLOAT32_LEAST, FLOAT32_MOST = 2**32 - 1, 2.0**-126, 2.0**128 - 2.0**104
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of tokens

Entries = Callable[[Any, Any], None]  # given a GGUFWriter and the gguf package, adds entries


class Part(NamedTuple):
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]
    kind: str
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
    path: FilePath, config: Config, weights: Weights, kind: str, vocabulary: Entries, arrays: Arrays,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Write a GGUF file of architecture "llama", beside `path` and then renamed.

    Matrices become `kind`, "f32", "q8_0" or "q4_0": integers of such blocks keep every bit, all others are quantized
    from floats. Norms are float32. `vocabulary` adds the entries of the tokenizer, `progress(done, total)` is called
    with bytes after each tensor.

    Raises ConfigError for another kind, or if rows are not whole blocks; CheckpointError if the file can't be written
    or can't hold the config; NumericsError if a number is not finite, or too large for a block; MissingExtraError
    without the gguf package.
    """
    if kind not in FILE_DTYPES:
        raise ConfigError(f"numbers of a GGUF file can become {', '.join(FILE_DTYPES)} (got {kind!r})")
    _check(config)
    GGUF.check_places(weights)
    np, gguf = import_gguf("writing GGUF files")
    tensors = [*_parts(config, weights, FILE_DTYPES[kind])]
    start = _start(gguf, np, config, tensors, FILE_DTYPES[kind], vocabulary)
    sizes = [_bytes(part) for part in tensors]
    total, done = len(start) + sum(map(_padded, sizes)), len(start)

    def file() -> Iterator[bytes]:
        nonlocal done
        yield start
        for part, size in zip(tensors, sizes, strict=True):
            yield from _numbers(np, gguf, part, arrays)
            yield bytes(_padded(size) - size)
            done += _padded(size)
            if progress:
                progress(done, total)

    write_whole(path, file())


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


def _parts(config: Config, weights: Weights, kind: str) -> Iterator[Part]:
    """Every tensor, in the order of llama.cpp's own files."""
    for spec, name, matrix in parts(config, weights, GGUF, sorted(GGUF.specs(), key=_place)):
        shape = spec.shape(config)
        yield Part(name, shape, "F32", [matrix]) if spec.is_vector else Part(name, shape, kind, matrix)
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


def _start(gguf: Any, np: Any, config: Config, parts: Iterable[Part], kind: str, vocabulary: Entries) -> bytes:
    """Everything before the numbers, as the gguf package writes it."""
    writer = gguf.GGUFWriter(None, "llama")
    _add_config(writer, gguf, config)
    writer.add_file_type(FILE_TYPES[kind])
    if kind != "F32":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    vocabulary(writer, gguf)
    for part in parts:
        kinds, rows = gguf.GGMLQuantizationType, part.shape[:-1]
        floats = part.kind == "F32"
        shape = part.shape if floats else (*rows, part.shape[-1] // BLOCK * gguf.GGML_QUANT_SIZES[kinds[part.kind]][1])
        dtype = np.dtype(np.float32 if floats else np.uint8)
        writer.add_tensor_info(part.name, shape, dtype, _bytes(part), kinds[part.kind])
    file = BytesIO()  # in place of the file that it would open itself
    writer.fout, writer.state = [file], gguf.gguf_writer.WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return file.getvalue() + bytes(_padded(file.tell()) - file.tell())


def _add_config(writer: Any, gguf: Any, config: Config) -> None:
    c = config
    writer.add_context_length(c.seq_len)
    writer.add_embedding_length(c.dim)
    writer.add_block_count(c.n_layers)
    writer.add_feed_forward_length(c.hidden_dim)
    writer.add_head_count(c.n_heads)
    writer.add_head_count_kv(c.n_kv_heads)
    writer.add_key_length(c.head_size)
    writer.add_value_length(c.head_size)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_dimension_count(c.head_size)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_vocab_size(c.vocab_size)
    if c.rope_scaling is not None and c.rope_scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(c.rope_scaling.factor)
    elif c.rope_scaling is not None:
        writer.add_rope_scaling_orig_ctx_len(c.rope_scaling.original_seq_len)


def copied_vocabulary(container: Container) -> Entries:
    """The entries of the tokenizer that another file has, as they are there."""

    def add(writer: Any, gguf: Any) -> None:
        for key, value in container.metadata.items():
            if key.startswith("tokenizer.") and value not in ("", []):
                kind, item = map(gguf.GGUFValueType, container.types[key])
                writer.add_key_value(key, value, kind, item if isinstance(value, list) else None)

    return add


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

    def add(writer: Any, gguf: Any) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(texts)
        writer.add_token_scores([float(score) for score in tokenizer.scores])
        writer.add_token_types(types)
        writer.add_unk_token_id(UNK)
        writer.add_bos_token_id(BOS)
        writer.add_eos_token_id(EOS)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(True)

    return add


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
    numbers, cols = 1, part.shape[-1]
    for size in part.shape:
        numbers *= size
    if part.kind == "F32":
        return numbers * 4
    if cols % BLOCK:
        rule = f"rows must be whole blocks of {BLOCK} numbers to become {part.kind}"
        raise ConfigError(f"{rule} (those of {part.name} have {cols}): they can be f32")
    return numbers // BLOCK * (34 if part.kind == "Q8_0" else 18)


def _padded(size: int) -> int:
    return -(-size // 32) * 32


def _numbers(np: Any, gguf: Any, part: Part, arrays: Arrays) -> Iterator[bytes]:
    """The bytes of a tensor, some rows at a time."""
    if _fits(np, part):
        yield from _blocks_of_integers(np, part)
        return
    for floats in arrays.float_parts(part.matrix):
        rows = np.asarray(floats, np.float32)
        if part.kind == "F32":
            yield rows.tobytes()
            continue
        with np.errstate(all="ignore"):
            blocks = gguf.quantize(rows, gguf.GGMLQuantizationType[part.kind])
        width = 34 if part.kind == "Q8_0" else 18
        scales = blocks.reshape(-1, width)[:, :2].copy().view(np.float16)
        if not (np.isfinite(rows).all() and np.isfinite(scales).all()):
            most = 127 * 65504 if part.kind == "Q8_0" else 8 * 65504
            rule = f"numbers must be finite, and at most {most}, to become {part.kind}"
            raise NumericsError(f"{part.name}: {rule} (got {rows.flat[np.abs(rows).argmax()]})")
        yield blocks.tobytes()


def _fits(np: Any, part: Part) -> bool:
    """Are these integers of the very blocks that are to be written?"""
    wanted = {"Q8_0": Int8Matrix, "Q4_0": Int4Matrix}.get(part.kind)
    if type(part.matrix) is not wanted or part.matrix.group_size != BLOCK:
        return False
    with np.errstate(all="ignore"):
        for scales in part.matrix.scale:
            row = np.asarray(scales, np.float32)
            if not np.array_equal(row.astype(np.float16).astype(np.float32), row):
                return False
    return True


def _blocks_of_integers(np: Any, part: Part) -> Iterator[bytes]:
    """Blocks as GGML has them: a scale, then bytes; of 4-bit integers, i in the lower half, i + 16 in the upper one."""
    for q, scales in zip(part.matrix.q, part.matrix.scale, strict=True):
        integers = np.asarray(q, np.int8).reshape(-1, BLOCK)
        if part.kind == "Q4_0":
            halves = (integers + 8).astype(np.uint8)
            integers = halves[:, :16] | halves[:, 16:] << 4
        halves = np.asarray(scales, np.float32).astype("<f2").reshape(-1, 1).view(np.uint8)
        yield np.hstack([halves, integers.view(np.uint8)]).tobytes()
