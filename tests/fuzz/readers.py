"""Both packages' readers of files, judged on any bytes at all, and files to begin from: for coverage.py and examples.

A file must be refused by both packages with the same line, or read by both to the same numbers, with little memory.
What was read must then bear use: a forward step, quantizing, writing and reading again, the command line.
"""

import contextlib
import io
import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

import numpy as np

import llama2_fast
import llama2_ref
import llama2_ref.formats.huggingface
from llama2_fast.engines.choose import installed
from llama2_fast.matrices.files import convert
from llama2_ref.cli.main import main
from llama2_ref.config import RopeScaling
from llama2_ref.formats.gguf_read import read as read_gguf
from llama2_ref.formats.huggingface import read_folder, write_folder
from llama2_ref.formats.llama2c_header import FOREIGN, ROPE_TABLES, Header, default_group_size, parse_header
from llama2_ref.formats.model_file import Source
from llama2_ref.formats.safetensors import read_file as read_safetensors
from llama2_ref.formats.safetensors import write_file as write_safetensors
from llama2_ref.support.files import map_regular
from llama2_ref.weights import Expanding, IntegerMatrix
from support.folders import safetensors, settings, tensors_of
from support.gguf_bytes import Of, Raw, config_entries, gguf_of, model_tensors, numbers
from support.models import random_twins, vocabulary
from support.seam import ARRAYS

PACKAGES = (llama2_ref, llama2_fast)
SELDOM = 16  # one input in so many also takes what is slow: counted memory, the command line
MEMORY = 2**18, 512  # bytes that reading may take: so many, and so many for each byte of the file
CONTEXT = 64  # positions above which version 0, which has tables of them, is not written

Judge = Callable[[Path], None]


@dataclass(frozen=True)
class Refused:
    """One package's answer: what it raised."""

    kind: type[Exception]
    line: str


def answers(act: Callable[[ModuleType], Any], *refusals: type[Exception]) -> list[Any] | None:
    """What both packages return, or None if both refuse, which they must do with the same line. Others come through."""
    found: list[Any] = []
    for package in PACKAGES:
        try:
            found.append(act(package))
        except refusals as error:
            found.append(Refused(type(error), str(error)))
    refused = [answer if isinstance(answer, Refused) else "no refusal" for answer in found]
    assert refused[0] == refused[1], f"llama2_ref: {refused[0]}; llama2_fast: {refused[1]}"
    if not isinstance(found[0], Refused):
        return found
    assert len(found[0].line.splitlines()) == 1, f"a refusal must be one line (got {found[0].line!r})"
    return None


@contextlib.contextmanager
def little_memory(file_bytes: int) -> Iterator[None]:
    """Fail if more memory than that file is worth is taken at any time."""
    most = MEMORY[0] + MEMORY[1] * file_bytes
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak <= most, f"reading {file_bytes} bytes may take {most} (took {peak})"
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------- checkpoints


def judge_checkpoint(path: Path) -> None:
    """Read a checkpoint with both packages, and use it. Raises what is wrong, AssertionError above all."""
    data = path.read_bytes()
    seldom = crc32(data) % SELDOM == 0
    with little_memory(len(data)) if seldom else contextlib.nullcontext():
        found = answers(lambda package: package.read_checkpoint(path), llama2_ref.CheckpointError)
    if seldom:
        _command(path, "info", str(path))
    if found is None:
        return
    (config, ref), (config_too, fast) = found
    assert config == config_too
    assert_same_numbers(ref, fast)
    read = dict(zip(PACKAGES, (ref, fast), strict=True))
    _forward(config, read, data[-1])
    _write_again(path, data, parse_header(data), read)
    for kind in ("int8", "int4"):
        _quantize(config, read, kind, data[-1])


def assert_same_numbers(ref: Any, fast: Any) -> None:
    """Every tensor of both packages holds the same bytes, whatever kind of NaN."""
    for name in vars(ref):
        assert contents(getattr(ref, name)) == contents(getattr(fast, name)), name
    assert ref.shared_classifier == fast.shared_classifier


def contents(field: Any) -> list[bytes]:
    """The bytes of every tensor of a field of Weights, numbers and scales for integers."""
    if isinstance(field, list):
        return [data for layer in field for data in contents(layer)]
    if isinstance(field, IntegerMatrix):
        return [_bytes(getattr(field, part)) for part in ("q", "scale", "offset") if hasattr(field, part)]
    if isinstance(getattr(field, "data", None), Expanding) or hasattr(field, "bits"):
        return [_bytes(numbers(field))]
    return [_bytes(field)]


def _bytes(table: Any) -> bytes:
    """The bytes of rows of int8 or float32 numbers, with one kind of NaN."""
    numbers = np.asarray(table.data if isinstance(table, llama2_ref.weights.Matrix) else table)
    if numbers.dtype.kind == "i":
        return numbers.astype(np.int8).tobytes()
    return np.where(np.isnan(numbers), np.nan, numbers).astype(np.float32).tobytes()


def _forward(config: Any, read: dict[ModuleType, Any], choice: int) -> None:
    """One step: logits are finite, or NumericsError tells of the same weight."""
    causes = set()
    for transformer in _transformers(config, read):
        try:
            logits = transformer.forward([choice % config.vocab_size], transformer.new_cache())
        except llama2_ref.NumericsError as error:
            causes.add(str(error).partition(" at position 0: ")[2])
        else:
            assert len(logits) == config.vocab_size
            assert all(isfinite(logit) for logit in logits)
    assert "" not in causes
    assert len(causes) <= 1, causes


def _transformers(config: Any, read: dict[ModuleType, Any]) -> Iterator[Any]:
    yield llama2_ref.Transformer(config, read[llama2_ref])
    simd = installed() and os.environ.get("LLAMA2_BACKEND") != "numpy"
    for backend in ("numpy", "simd") if simd else ("numpy",):
        with contextlib.suppress(llama2_ref.ConfigError):  # simd can't have some mixtures of groups
            yield llama2_fast.Transformer(config, read[llama2_fast], backend=backend, threads=1)


def _write_again(path: Path, data: bytes, header: Header, read: dict[ModuleType, Any]) -> None:
    """Both write the same bytes or refuse, in the file's own version; what they wrote is read, and written alike."""
    if header.version == 0 and header.config.seq_len > CONTEXT:
        return
    again = path.with_name("again.bin")

    def write(package: ModuleType) -> bytes:
        package.write_checkpoint(again, header.config, read[package], header.version)
        return again.read_bytes()

    written = answers(write, llama2_ref.NumericsError)
    if written is None:
        return
    assert written[0] == written[1], "both must write the same bytes"
    if header.version < 2 or header.group_size == default_group_size(header.config):
        assert len(written[0]) == len(data)
        assert _read_bytes(header, written[0]) == _read_bytes(header, data), "every number must be read"
    for package in PACKAGES:
        config, weights = package.read_checkpoint(again)
        assert config == header.config
        package.write_checkpoint(again, config, weights, header.version)
        assert again.read_bytes() == written[0]


def _read_bytes(header: Header, data: bytes) -> list[bytes]:
    """The parts of a file that are read: all but the padding of its header, and the tables of angles."""
    found = []
    for tensor in header.tensors():
        if tensor.name != ROPE_TABLES:
            found.append(data[tensor.offset : tensor.offset + header.tensor_bytes(tensor.name)])
    return found


def _quantize(config: Any, read: dict[ModuleType, Any], kind: str, choice: int) -> None:
    """The same integers, or the same refusal."""
    refusals = llama2_ref.ConfigError, llama2_ref.NumericsError
    found = answers(lambda package: package.quantize_weights(read[package], kind), *refusals)
    if found is not None:
        assert_same_numbers(*found)
        _forward(config, dict(zip(PACKAGES, found, strict=True)), choice)


# ----------------------------------------------------------------------------------------------------------- tokenizers


def _read_tokenizer(path: Path, asked: int, package: Any) -> Any:
    return package.Tokenizer.read(path, asked)


def judge_tokenizer(path: Path) -> None:
    """Read a tokenizer with both packages, for any vocabulary and for a given one, and use it. As judge_checkpoint."""
    data = path.read_bytes()
    seldom = crc32(data) % SELDOM == 0
    with little_memory(len(data)) if seldom else contextlib.nullcontext():
        found = answers(lambda package: package.Tokenizer.read(path), llama2_ref.TokenizerError)
    size = 3 if found is None else found[0].vocab_size
    for asked in (size, size + 1):
        right = answers(partial(_read_tokenizer, path, asked), llama2_ref.TokenizerError)
        assert (right is None) == (found is None or asked != size)
    if seldom:
        _command(path, "tokenize", "-z", str(path), "-i", "a bad cab")
    if found is None:
        return
    ref, fast = found
    assert ref.tokens == fast.tokens
    assert ref.scores == fast.scores
    assert tokenizer_of(ref.tokens, ref.scores, struct.unpack_from("<I", data)[0]) == data, "every byte must be read"
    for text in _texts(ref.tokens, data):
        ids = ref.encode(text, eos=True)
        assert fast.encode(text, eos=True) == fast.encode(text, eos=True) == ids
        assert fast.decode(ids) == ref.decode(ids)
        assert text == ref.decode(ids) or 0 in ids
    anything = [byte * len(data) % size for byte in data[:32]]
    assert fast.decode(anything) == ref.decode(anything)


def _texts(tokens: list[bytes], data: bytes) -> Iterator[str]:
    yield "a bad cab \u2581\u20ac\0"
    pieces = [tokens[(7 * i + byte) % len(tokens)][:16] for i, byte in enumerate(data[-8:])]
    yield b"".join(pieces).decode(errors="ignore")


def _command(path: Path, *argv: str) -> None:
    """The command line of both packages: the same text and exit code 0, or one line and 2."""
    told = []
    for package in PACKAGES:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(package, list(argv))
        out.flush()
        assert code in (0, 2)
        assert len(err.getvalue().splitlines()) <= 1
        told.append((code, out.buffer.getvalue(), err.getvalue().replace(package.__name__, "llama2")))
    assert told[0] == told[1]


# ----------------------------------------------------------------------------------------------------------- GGUF files


def judge_gguf(path: Path) -> None:
    """Read a model's GGUF file with both packages, and its tokenizer, and use them. As judge_checkpoint."""
    data = path.read_bytes()
    seldom = crc32(data) % SELDOM == 0
    with little_memory(len(data)) if seldom else contextlib.nullcontext():
        found = answers(
            lambda package: read_gguf(Source(path, map_regular(path, "a GGUF file")), ARRAYS[package]),
            llama2_ref.CheckpointError,
        )
    if seldom and data[:4] == b"GGUF":
        _command(path, "info", str(path))
    if found is None:
        return
    ref, fast = found
    for name in ("config", "format", "label", "notes", "chat_template"):
        assert getattr(ref, name) == getattr(fast, name)
    assert_same_numbers(ref.weights, fast.weights)
    _forward(ref.config, {llama2_ref: ref.weights, llama2_fast: fast.weights}, data[-1])
    _words(ref, fast, data)
    if seldom:
        _convert_again(path, ref)


def _words(ref: Any, fast: Any, data: bytes) -> None:
    """Both make the same tokenizer, or refuse with the same line."""
    files = {llama2_ref: ref, llama2_fast: fast}
    found = answers(lambda package: files[package].tokenizer(package.Tokenizer), llama2_ref.TokenizerError)
    if found is not None:
        text = "a bad cab \u2581\u20ac\0" + data[-40:].decode(errors="ignore")
        ids = found[0].encode(text)
        assert found[1].encode(text) == ids
        assert found[1].decode(ids) == found[0].decode(ids)


def _convert_again(path: Path, file: Any) -> None:
    """A file of floats that is written of this one is the same model."""
    again = path.with_name("again.gguf")
    try:
        convert(path, again, dtype="f32")
    except (llama2_ref.CheckpointError, llama2_ref.TokenizerError) as error:
        assert "can't be written" not in str(error)
        return
    found = llama2_fast.read_model(again)
    assert found.config == file.config
    floats = llama2_ref.quantize_weights(file.weights, "float32")
    assert_same_numbers(floats, found.weights)


# ------------------------------------------------------------------------------------ safetensors, Hugging Face folders


def judge_safetensors(path: Path) -> None:
    """Read a file of tensors, and write it again. Its own program, where it is installed, must find the same in it."""
    data = path.read_bytes()
    with little_memory(len(data)) if crc32(data) % SELDOM == 0 else contextlib.nullcontext():
        try:
            found = read_safetensors(path)
        except llama2_ref.CheckpointError as error:
            assert len(str(error).splitlines()) == 1
            return
    if find_spec("safetensors"):
        from safetensors import deserialize

        theirs = {name: (each["dtype"], tuple(each["shape"]), bytes(each["data"])) for name, each in deserialize(data)}
        assert theirs == {name: (kind, shape, bytes(part)) for name, (kind, shape, part) in found.tensors.items()}
    again = path.with_name("again.safetensors")
    tensors = [(name, kind, shape, [part]) for name, (kind, shape, part) in found.tensors.items()]
    write_safetensors(again, tensors, found.metadata)
    written = read_safetensors(again)
    assert written.metadata == found.metadata
    assert written.tensors == found.tensors


def judge_folder(path: Path) -> None:
    """Read a folder with both packages, and use it. As judge_checkpoint. The input holds its files: `folder_of`."""
    data = path.read_bytes()
    folder, again = path.with_name("folder"), path.with_name("again")
    for place in (folder, again):
        shutil.rmtree(place, ignore_errors=True)
    folder.mkdir()
    for name, content in files_of(data).items():
        (folder / name).write_bytes(content)
    seldom = crc32(data) % SELDOM == 0
    refusals = llama2_ref.CheckpointError, llama2_ref.TokenizerError
    with little_memory(len(data)) if seldom else contextlib.nullcontext():
        found = answers(lambda package: read_folder(folder, ARRAYS[package]), *refusals)
    if seldom:
        _command(folder, "info", str(folder))
    if found is None:
        return
    ref, fast = found
    for name in ("config", "format", "label", "notes", "chat_template"):
        assert getattr(ref, name) == getattr(fast, name)
    assert_same_numbers(ref.weights, fast.weights)
    read = {llama2_ref: ref.weights, llama2_fast: fast.weights}
    _forward(ref.config, read, data[-1])
    _write_folder_again(again, ref.config, read, ("float32", "float16", "bfloat16")[data[-1] % 3])


def _write_folder_again(again: Path, config: Any, read: dict[ModuleType, Any], dtype: str) -> None:
    """Both write the same folder, whatever kind of NaN, or refuse with the same line; it holds the same model."""

    def write(package: ModuleType) -> tuple[bytes, Any]:
        folder = again / package.__name__
        write_folder(folder, config, read[package], dtype, arrays=ARRAYS[package])
        return (folder / "config.json").read_bytes(), read_folder(folder, ARRAYS[llama2_fast])

    again.mkdir()
    written = answers(write, llama2_ref.NumericsError, llama2_ref.ConfigError)
    if written is not None:
        (said, ref), (said_too, fast) = written
        assert said == said_too
        assert ref.config == fast.config == config
        assert_same_numbers(ref.weights, fast.weights)
        if dtype == "float32":
            assert_same_numbers(fast.weights, llama2_ref.quantize_weights(read[llama2_ref], "float32"))


FOLDER_FILES = {
    b"c": "config.json", b"i": "model.safetensors.index.json", b"m": "model.safetensors", b"a": "a.safetensors",
    b"b": "b.safetensors", b"t": "tokenizer_config.json",
}  # fmt: skip


def folder_of(files: dict[bytes, bytes]) -> bytes:
    """The files of a folder as one input: a letter of FOLDER_FILES, the length, the bytes of each."""
    return b"".join(letter + struct.pack("<I", len(data)) + data for letter, data in files.items())


def parts_of(data: bytes) -> dict[bytes, bytes]:
    """The files of an input by their letters. Any bytes are an input: what a length says ends with them."""
    found, place = {}, 0
    while place + 5 <= len(data):
        length = struct.unpack_from("<I", data, place + 1)[0]
        if data[place : place + 1] in FOLDER_FILES:
            found[data[place : place + 1]] = data[place + 5 : place + 5 + length]
        place += 5 + length
    return found


def files_of(data: bytes) -> dict[str, bytes]:
    return {FOLDER_FILES[letter]: content for letter, content in parts_of(data).items()}


JUDGES: dict[str, Judge] = {
    "checkpoint": judge_checkpoint, "tokenizer": judge_tokenizer, "gguf": judge_gguf,
    "safetensors": judge_safetensors, "folder": judge_folder,
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- files to begin from


def checkpoint_of(header: Header, seed: int = 0) -> bytes:
    """A file with random numbers, of any header: group sizes that no writer of this project makes, too."""
    rng = np.random.default_rng(seed)
    parts = [header.pack()]
    for tensor in header.tensors():
        count = tensor.rows * tensor.cols
        if tensor.quantized:
            parts.append(rng.integers(-128, 128, count, np.int8).tobytes())
            parts.append((rng.random(count // header.group_size, np.float32) / 127).tobytes())
        else:
            parts.append(rng.standard_normal(count).astype(np.float32).tobytes())
    return b"".join(parts)


def tokenizer_of(tokens: list[bytes], scores: list[float], longest: int | None = None) -> bytes:
    """A tokenizer.bin file."""
    parts = [struct.pack("<I", max(map(len, tokens), default=0) if longest is None else longest)]
    for token, score in zip(tokens, scores, strict=True):
        parts += [struct.pack("<fi", score, len(token)), token]
    return b"".join(parts)


def checkpoint_seeds() -> list[bytes]:
    """Tiny models of each version, classifiers shared and not, grouped heads, groups that span rows; other formats."""
    shapes = [(2, 1, 1, 1, 1, 3, 1), (4, 2, 2, 2, 1, 5, 8), (12, 9, 1, 6, 3, 7, 4), (8, 12, 2, 2, 2, 4, 2)]
    files = []
    for sizes in shapes:
        config = llama2_ref.Config(*sizes)
        for shared in (True, False):
            for version, group in ((0, 0), (1, 0), *((2, group) for group in (1, 2, 3, 4, 6, 9))):
                header = Header(version, config, shared, group)
                counts = [rows * cols for name, (_, rows, cols) in header.shapes().items() if header.quantized(name)]
                if not any(count % group for count in counts):
                    files.append(checkpoint_of(header, len(files)))
    return [*files, *(start.ljust(40, b"\0") for start in FOREIGN)]


def tokenizer_seeds() -> list[bytes]:
    """Plain vocabularies of both layouts and without bytes; joins, ties, twice the same; the oldest layout."""
    letters = [b" ", b"a", b"b", b"ab", b" a", b"aa", b"ab", "\u20ac".encode(), "\u20aca".encode(), b"\xff", b"bab"]
    special = [b"<unk>", b"<s>", b"</s>"]
    newer, older = vocabulary(259)[0], special + [chr(byte).encode() for byte in range(256)]
    files = [struct.pack("<I", 0), tokenizer_of(*vocabulary(300))]
    for start in (special, newer, older, newer[:100]):
        tokens = start + letters
        files.append(tokenizer_of(tokens, [0.0] * len(start) + [-float(i % 3) for i in range(len(letters))]))
    files.append(b"".join(struct.pack("<i", len(token)) + token for token in special + letters))
    return files


def gguf_seeds() -> list[bytes]:
    """Tiny models of each kind, with scalings, tied and not, both kinds of vocabularies; entries of every type."""
    plain = llama2_ref.Config(2, 1, 1, 1, 1, 3, 4)
    wide = llama2_ref.Config(32, 2, 1, 2, 1, 6, 8, head_size=2)
    files = [gguf_of({}, []), gguf_of({}, [], version=2), gguf_of({}, [], version=1)]
    for i, kind in enumerate(("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0")):
        config = wide if kind.startswith("Q") else plain
        words = WORDS if i % 3 else PAIRS
        files.append(gguf_of(config_entries(config) | words, model_tensors(config, kind, i, shared=i % 2 == 0)))
    scaled = config_entries(wide) | {"llama.rope.scaling.factor": Of("f", 2.0), "general.alignment": Of("I", 8)}
    files.append(gguf_of(scaled, model_tensors(wide, "F16"), 8))
    divisors = Raw("rope_freqs.weight", "F32", (1,), struct.pack("<f", 1.0))
    files.append(gguf_of(config_entries(plain) | TYPES, [*model_tensors(plain), divisors]))
    return files


TYPES = {f"a.{letter}": Of(letter, 1) for letter in "BbHhIiQqfd?"} | {"a.s": Of("s", ["", "\u20ac"])}
TYPES |= {f"b.{letter}": Of(letter, [0, 1]) for letter in "BbHhIiQqfd?"}
WORDS = {
    "tokenizer.ggml.model": Of("s", "llama"), "tokenizer.ggml.tokens": Of("s", ["<unk>", "<s>", "</s>"]),
    "tokenizer.ggml.scores": Of("f", [0.0, 0.0, 0.0]), "tokenizer.ggml.token_type": Of("i", [2, 3, 3]),
    "tokenizer.ggml.bos_token_id": Of("I", 1), "tokenizer.chat_template": Of("s", "{{ x }}"),
}  # fmt: skip
PAIRS = {
    "tokenizer.ggml.model": Of("s", "gpt2"), "tokenizer.ggml.tokens": Of("s", ["a", "b", "ab"]),
    "tokenizer.ggml.merges": Of("s", ["a b"]), "tokenizer.ggml.add_bos_token": Of("?", False),
}  # fmt: skip


def safetensors_seeds() -> list[bytes]:
    """No tensor, one of each type and of no size, several, metadata; a model."""
    files = [b"\2" + bytes(7) + b"{}", safetensors({"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)})]
    sizes = {"F64": 8, "I64": 8, "I32": 4, "F16": 2, "BF16": 2, "U8": 1, "BOOL": 1}
    for kind, size in sizes.items():
        header = {"__metadata__": {"format": "pt"}, "a": {"dtype": kind, "shape": [3], "data_offsets": [0, 3 * size]}}
        header["b"] = {"dtype": kind, "shape": [2, 0], "data_offsets": [3 * size, 3 * size]}
        text = json.dumps(header).encode()
        files.append(len(text).to_bytes(8, "little") + text + b"\1" * (3 * size))
    twins = random_twins(llama2_ref.Config(2, 1, 1, 1, 1, 3, 4), 1)
    return [*files, safetensors(tensors_of(twins.config, twins.fast, tied=True))]


def folder_seeds() -> list[bytes]:
    """Tiny models of each type, tied and not, in one file and in two, with each kind of scaling; older words."""
    plain = llama2_ref.Config(2, 1, 1, 1, 1, 3, 4)
    grouped = llama2_ref.Config(4, 3, 1, 2, 1, 3, 9, head_size=4, rope_scaling=RopeScaling("linear", 2.0))
    scaled = replace(grouped, rope_scaling=RopeScaling("llama3", 8.0, 1.0, 4.0, 16), rope_theta=5e5)
    files = []
    for i, kind in enumerate(("F32", "F16", "BF16") * 2):
        config, tied = (plain, grouped, scaled)[i % 3], i % 2 == 0
        twins = random_twins(config, i, shared=tied)
        tensors, said = tensors_of(config, twins.fast, tied), settings(config, tied)
        if i >= 3:
            said["rope_scaling"], said["rope_theta"] = said.pop("rope_parameters"), config.rope_theta
        parts = {b"c": json.dumps(said).encode()}
        halves = {b"a": list(tensors)[::2], b"b": list(tensors)[1::2]} if i % 2 else {b"m": list(tensors)}
        for letter, names in halves.items():
            parts[letter] = safetensors({name: tensors[name] for name in names}, kind)
        if i % 2:
            placed = {name: FOLDER_FILES[letter] for letter, names in halves.items() for name in names}
            parts[b"i"] = json.dumps({"metadata": {}, "weight_map": placed}).encode()
        if i == 0:
            parts[b"t"] = b'{"chat_template": "{{ x }}"}'
        files.append(folder_of(parts))
    return files


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "checkpoint": checkpoint_seeds, "tokenizer": tokenizer_seeds, "gguf": gguf_seeds,
    "safetensors": safetensors_seeds, "folder": folder_seeds,
}  # fmt: skip
