"""Random weights of the sizes of published models: speed depends on sizes, not on what the numbers are."""

from typing import Any

import numpy as np

from llama2_ref.config import Config
from llama2_ref.formats.llama2c_header import ROPE_TABLES, Header, default_group_size
from llama2_ref.formats.model_file import Progress
from llama2_ref.formats.tensor_table import row_of
from llama2_ref.quantize import INT4_MIN, Q_MAX, map_matrices, matrix_group_size
from llama2_ref.support.files import FilePath
from llama2_ref.tokenizer import BOS

from ..matrices.files import write_checkpoint
from ..weights import Int4Matrix, Int8Matrix, Weights

SHAPES = {
    "stories15M": Config(288, 768, 6, 6, 6, 32000, 1024),
    "stories42M": Config(512, 1376, 8, 8, 8, 32000, 1024),
    "stories110M": Config(768, 2048, 12, 12, 12, 32000, 1024),
    "1.1B": Config(2048, 5632, 22, 32, 4, 32000, 2048),
    "7B": Config(4096, 11008, 32, 32, 32, 32000, 4096),
    "13B": Config(5120, 13824, 40, 40, 40, 32000, 4096),
}


def shape_header(name: str, version: int) -> Header:
    """The header of a file of a shape. The small ones use their embedding table as the classifier, too."""
    config = SHAPES[name]
    return Header(version, config, name.startswith("stories"), default_group_size(config) if version == 2 else 0)


def random_weights(header: Header, quantization: str | None = None) -> Weights:
    """Weights of a model, float32, or "int8" or "int4".

    All matrices are views of one buffer, so that a large model takes little memory before someone copies it: into a
    file, or into the layout of the compiled engine. The rows of BOS and EOS are small ones, so that neither is ever the
    likeliest token, and no text ends early.
    """
    shapes = {name: shape for name, shape in header.shapes().items() if name != ROPE_TABLES}
    rng, dim = np.random.default_rng(0), header.config.dim
    count, ends = max(rows * cols for _, rows, cols in shapes.values()), slice(BOS * dim, (BOS + 2) * dim)
    numbers: Any
    if quantization is None:
        numbers = rng.standard_normal(count, np.float32) * np.float32(dim**-0.5)
        numbers[ends] /= 100
    else:
        numbers = rng.integers(
            *((INT4_MIN, -INT4_MIN) if quantization == "int4" else (-Q_MAX, Q_MAX + 1)), count, np.int8
        )
        numbers[ends] = np.sign(numbers[ends])
    scale = np.float16(dim**-0.5 / numbers.std(dtype=np.float64)) if quantization else 1.0

    def matrix(rows: int, cols: int) -> Any:
        view = numbers[: rows * cols].reshape(rows, cols)
        if quantization is None:
            return view
        scales = np.full((rows, cols // matrix_group_size(cols, quantization)), scale, np.float32)
        return (Int4Matrix if quantization == "int4" else Int8Matrix)(view, scales)

    fields: dict[str, Any] = {}
    for name, (copies, rows, cols) in shapes.items():
        if row_of(name).spec.is_vector:
            fields[name] = np.ones((rows, cols), np.float32)
        else:
            one = matrix(rows, cols)
            fields[name] = one if name in ("token_embedding_table", "wcls") else [one] * copies
    fields["rms_final_weight"] = fields["rms_final_weight"][0]
    return Weights(**({"wcls": fields["token_embedding_table"]} | fields))


def own_copies(weights: Weights) -> Weights:
    """Integer weights in which each matrix has memory of its own, for an engine that makes no copies itself."""
    return map_matrices(weights, lambda matrix: type(matrix)(matrix.q.copy(), matrix.scale))


def write_random(path: FilePath, header: Header, progress: Progress | None = None) -> None:
    """Write a checkpoint with random weights: int8 for version 2, else float32."""
    weights = random_weights(header, "int8" if header.version == 2 else None)
    write_checkpoint(path, header.config, weights, header.version, progress)


def random_vocabulary(size: int) -> bytes:
    """A tokenizer.bin file of so many tokens, for programs that want one: bytes, then words that mean nothing."""
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    tokens += [b"t%d" % i for i in range(len(tokens), size)]
    parts = [np.uint32(max(map(len, tokens[:size]))).tobytes()]
    for i, token in enumerate(tokens[:size]):
        parts += [np.float32(-i).tobytes(), np.int32(len(token)).tobytes(), token]
    return b"".join(parts)
