"""Sessions: a key/value cache in a file, with the tokens that are in it, so that a long prompt is read once.

A file is of safetensors: `tokens` (T), `keys` and `values` (L, T, K*E), and in its metadata the version of this format,
the fingerprint of the model, and a CRC-32 of the bytes of the three. Keys and values are float64 numbers where the
reference wrote them, float32 ones where llama2_fast did: whoever wrote them reads the same bits. Each package reads the
other's, too: float32 as it is, float64 rounded once.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, takewhile
from math import isfinite
from pathlib import Path
from typing import Any
from zlib import crc32

from ..config import Config
from ..errors import CheckpointError
from ..quantize import LAYERED
from ..support.strict_json import shown
from ..weights import Int4OffsetMatrix, IntegerMatrix, Weights
from .safetensors import FilePath, SafeTensors, TensorInfo, read_file, write_file

FORMAT, VERSION = "llama2-twins session", "1"
NORMS = ("rms_att_weight", "rms_ffn_weight", "rms_final_weight")


class Session:
    """A file that may hold the cache of an earlier text, which is then read at once.

    `tokens` are those in the file; `cache` holds them until a text writes over them. `begin` tells what a prompt can
    use of it, `save` writes it anew.

    Raises CheckpointError if the file is no session, is damaged, or belongs to another model, and if there is neither
    such a file nor the folder of it.
    """

    _kind = "F64"  # of keys and values that are written

    def __init__(self, path: FilePath, transformer: Any) -> None:
        self.path, self.tokens, self.cache = path, list[int](), transformer.new_cache()
        self._intact = 0  # of the tokens, so many have their rows in the cache still: a text may have written over them
        self._config, self._model = transformer.config, self._fingerprint(transformer)
        if os.path.lexists(path):
            self._read()
        elif not Path(path).name or not Path(path).parent.is_dir():
            raise CheckpointError(f"{path}: a session must be a file, in a folder that is there")

    def begin(self, prompt: Sequence[int]) -> Any:
        """The cache, cut back to what it shares with a prompt: at most all but the last token, which is to be read."""
        pairs = zip(self.tokens[: self._intact], prompt[:-1], strict=False)
        self.cache.length = self._intact = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self.cache

    def save(self, tokens: Sequence[int]) -> None:
        """Write what the cache holds of `tokens`: those it has seen, some of them, or a text that begins so.

        A file that holds as much, or more of the same text, stays as it is.

        Raises CheckpointError if it can't be written; then the file is what it was.
        """
        known = list(tokens[: self.cache.length])
        if known != self.tokens[: len(known)]:
            self._write(known)
            self.tokens = known
        self._intact = len(known)

    def _fingerprint(self, transformer: Any) -> str:
        return fingerprint(transformer.config, transformer.weights, _matrix_bytes)

    def _chunks(self, rows: Any, count: int) -> Iterator[bytes]:
        """Keys or values of the first tokens in the cache, layer by layer."""
        for layer in rows:
            yield array("d", chain.from_iterable(layer[:count])).tobytes()

    def _fill(self, keys: TensorInfo, values: TensorInfo) -> None:
        """Put what a file holds into the cache. Raises CheckpointError if it is not finite."""
        for tensor, layers in ((keys, self.cache.keys), (values, self.cache.values)):
            numbers = tensor.data.cast("f") if tensor.kind == "F32" else tensor.data.cast("d")
            if not all(map(isfinite, numbers)):
                raise CheckpointError("keys and values of a session must be finite (these are not)")
            count, width = tensor.shape[1:]
            for layer, rows in enumerate(layers):
                starts = range(layer * count * width, (layer + 1) * count * width, width)
                rows[:] = [list(numbers[start : start + width]) for start in starts]

    def _write(self, tokens: list[int]) -> None:
        shape = self._config.n_layers, len(tokens), self._config.kv_dim
        parts = {"keys": self.cache.keys, "values": self.cache.values}
        first = array("i", tokens).tobytes()
        checksum = crc32(first)
        for rows in parts.values():
            for chunk in self._chunks(rows, len(tokens)):
                checksum = crc32(chunk, checksum)
        metadata = {"format": FORMAT, "version": VERSION, "model": self._model, "crc32": f"{checksum:08x}"}
        tensors = [(name, self._kind, shape, self._chunks(rows, len(tokens))) for name, rows in parts.items()]
        write_file(self.path, [*tensors, ("tokens", "I32", (len(tokens),), [first])], metadata)

    def _read(self) -> None:
        file = read_file(self.path)
        try:
            tokens, keys, values = check_session(file, self._config, self._model)
            self._fill(keys, values)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        self.tokens, self.cache.length = tokens, len(tokens)
        self._intact = len(tokens)


def check_session(file: SafeTensors, config: Config, model: str) -> tuple[list[int], TensorInfo, TensorInfo]:
    """Tokens, keys and values of a file. Raises CheckpointError if it is no session of this model."""
    facts, found = file.metadata, file.tensors
    if facts.get("format") != FORMAT or set(found) != {"tokens", "keys", "values"}:
        raise CheckpointError("a session must be a file that --session has written (this is another one)")
    if facts.get("version") != VERSION:
        rule = f"a session must be of version {VERSION}"
        raise CheckpointError(f"{rule} (got {shown(facts.get('version'))}): remove it, and it is made anew")
    if facts.get("model") != model:
        rule = "a session must be of this model, with the same weights and quantization"
        raise CheckpointError(f"{rule} (this is another one's): use its model, or another file")
    tokens, keys, values = found["tokens"], found["keys"], found["values"]
    count = tokens.shape[0] if len(tokens.shape) == 1 else 0
    shape = config.n_layers, count, config.kv_dim
    right = tokens.kind == "I32" and keys.kind == values.kind and keys.kind in ("F32", "F64")
    if not (right and keys.shape == values.shape == shape and 1 <= count <= config.seq_len):
        got = ", ".join(f"{name} {each.kind} {shown(list(each.shape))}" for name, each in found.items())
        raise CheckpointError(f"a session must hold tokens (T), keys and values (L, T, K*E) (got {got})")
    checksum = f"{crc32(values.data, crc32(keys.data, crc32(tokens.data))):08x}"
    numbers = list(tokens.data.cast("i"))
    if facts.get("crc32") != checksum or not all(0 <= token < config.vocab_size for token in numbers):
        raise CheckpointError("a session must be as it was written (this is damaged): remove it, and it is made anew")
    return numbers, keys, values


def fingerprint(config: Config, weights: Weights, matrix_bytes: Callable[[Any], Iterable[bytes]]) -> str:
    """A text that differs for models whose caches differ: made quickly, also for a large one.

    SHA-256 of the sizes and constants, of all norm weights, and of every matrix its kind and four of its rows, as they
    are after quantization: `matrix_bytes` gives those. It does not see what changes only in other rows, nor the
    tokenizer; nor which engine runs the model, since the caches of all agree to within rounding.
    """
    found = sha256(repr(config).encode())
    for name, field in vars(weights).items():
        found.update(name.encode())
        if name in NORMS:
            rows = [field] if name == "rms_final_weight" else field
            found.update(b"".join(array("f", row).tobytes() for row in rows))
            continue
        for matrix in field if name in LAYERED else [field]:
            found.update(b"".join(matrix_bytes(matrix)))
    return found.hexdigest()


def some_rows(count: int) -> list[int]:
    """The rows of a matrix that a fingerprint sees."""
    return sorted({0, count // 3, 2 * count // 3, count - 1})


def kind_of(matrix: Any) -> bytes:
    """What a fingerprint calls a kind of matrix. Floats of any width are one kind: they are exact in float32."""
    return type(matrix).__name__.encode() if isinstance(matrix, IntegerMatrix) else b"float"


def _matrix_bytes(matrix: Any) -> Iterator[bytes]:
    yield kind_of(matrix)
    parts = [("f", matrix)]
    if isinstance(matrix, IntegerMatrix):
        parts = [("b", matrix.q), ("f", matrix.scale)]
    if isinstance(matrix, Int4OffsetMatrix):
        parts.append(("f", matrix.offset))
    for code, part in parts:
        for row in some_rows(len(part)):
            yield array(code, part[row]).tobytes()
