"""Sessions: a key/value cache in a file, with the tokens that are in it, so that a long prompt is read once.

A file is of safetensors: `tokens` (T), `keys` and `values` (L, T, K*E), and in its metadata the version of this format,
the fingerprint of the model, and a CRC-32 of the bytes of the three. Keys and values are float64 numbers where the
reference wrote them, float32 ones where llama2_fast did: whoever wrote them reads the same bits. Each package reads the
other's, too: float32 as it is, float64 rounded once.
"""

import os
from array import array
from collections.abc import Sequence
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

from ..config import Config
from ..errors import CheckpointError
from ..support.files import FilePath
from ..support.strict_json import shown
from ..weights import Weights
from .arrays import Arrays
from .lists import LISTS
from .safetensors import SafeTensors, TensorInfo, read_file, write_file
from .tensor_table import specs_of

FORMAT, VERSION = "llama2-twins session", "1"


class Session:
    """A file that may hold the cache of an earlier text, which is then read at once.

    `tokens` are those in the file; `cache` holds them until a text writes over them. `begin` tells what a prompt can
    use of it, `save` writes it anew.

    Raises CheckpointError if the file is no session, is damaged, or belongs to another model, and if there is neither
    such a file nor the folder of it.
    """

    arrays: ClassVar[Arrays] = LISTS  # those that a package's transformers and caches are made of

    def __init__(self, path: FilePath, transformer: Any) -> None:
        self.path, self.tokens, self.cache = path, list[int](), transformer.new_cache()
        self._intact = 0  # how many of tokens still have their rows in cache: a text may have overwritten the others
        self._config = transformer.config
        # The compiled engine keeps the weights as they came, and makes integers of them on the way to its own layout.
        self._model = fingerprint(self._config, transformer.weights, self.arrays, transformer.quantize)
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

    def _write(self, tokens: list[int]) -> None:
        shape = self._config.n_layers, len(tokens), self._config.kv_dim
        parts = {"keys": self.cache.keys, "values": self.cache.values}
        first = array("i", tokens).tobytes()
        checksum = crc32(first)
        for rows in parts.values():
            for chunk in self.arrays.cache_bytes(rows, len(tokens)):
                checksum = crc32(chunk, checksum)
        metadata = {"format": FORMAT, "version": VERSION, "model": self._model, "crc32": f"{checksum:08x}"}
        dtype, chunks = self.arrays.cache_dtype, self.arrays.cache_bytes
        tensors = [(name, dtype, shape, chunks(rows, len(tokens))) for name, rows in parts.items()]
        write_file(self.path, [*tensors, ("tokens", "I32", (len(tokens),), [first])], metadata)

    def _read(self) -> None:
        file = read_file(self.path)
        try:
            tokens, keys, values = check_session(file, self._config, self._model)
            self.arrays.fill_cache(self.cache, keys, values)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from None
        self.tokens, self.cache.length = tokens, len(tokens)
        self._intact = len(tokens)


def check_session(file: SafeTensors, config: Config, model: str) -> tuple[list[int], TensorInfo, TensorInfo]:
    """Tokens, keys and values of a file. Raises CheckpointError if it is no session of this model."""
    facts, tensors = file.metadata, file.tensors
    if facts.get("format") != FORMAT or set(tensors) != {"tokens", "keys", "values"}:
        raise CheckpointError("a session must be a file that --session has written (this is another one)")
    if facts.get("version") != VERSION:
        rule = f"a session must be of version {VERSION}"
        raise CheckpointError(f"{rule} (got {shown(facts.get('version'))}): remove it, and it is made anew")
    if facts.get("model") != model:
        rule = "a session must be of this model, with the same weights and quantization"
        raise CheckpointError(f"{rule} (this is another one's): use its model, or another file")
    tokens, keys, values = tensors["tokens"], tensors["keys"], tensors["values"]
    count = tokens.shape[0] if len(tokens.shape) == 1 else 0
    shape = config.n_layers, count, config.kv_dim
    right = tokens.dtype == "I32" and keys.dtype == values.dtype and keys.dtype in ("F32", "F64")
    if not (right and keys.shape == values.shape == shape and 1 <= count <= config.seq_len):
        got = ", ".join(f"{name} {info.dtype} {shown(list(info.shape))}" for name, info in tensors.items())
        raise CheckpointError(f"a session must hold tokens (T), keys and values (L, T, K*E) (got {got})")
    checksum = f"{crc32(values.data, crc32(keys.data, crc32(tokens.data))):08x}"
    numbers = list(tokens.data.cast("i"))
    if facts.get("crc32") != checksum or not all(0 <= token < config.vocab_size for token in numbers):
        raise CheckpointError("a session must be as it was written (this is damaged): remove it, and it is made anew")
    return numbers, keys, values


def fingerprint(config: Config, weights: Weights, arrays: Arrays, quantization: str | None) -> str:
    """A text that differs for models whose caches differ: made quickly, also for a large one.

    SHA-256 of the sizes and constants, of all norm weights, and of every matrix its kind and four of its rows, as they
    are after quantization: `Arrays.fingerprint_bytes` gives those. It does not see what changes only in other rows, nor
    the tokenizer; nor which engine runs the model, since the caches of all agree to within rounding.
    """
    hashed = sha256(repr(config).encode())
    for spec in specs_of(weights):
        field = getattr(weights, spec.name)
        hashed.update(spec.name.encode())
        if spec.is_vector:
            hashed.update(b"".join(array("f", vector).tobytes() for vector in (field if spec.per_layer else [field])))
            continue
        for matrix in field if spec.per_layer else [field]:
            hashed.update(b"".join(arrays.fingerprint_bytes(matrix, quantization)))
    return hashed.hexdigest()
