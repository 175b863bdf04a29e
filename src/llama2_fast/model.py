"""A checkpoint and its tokenizer in one object that makes text. As llama2_ref.model, from this package's parts."""

from llama2_ref.formats import registry
from llama2_ref.formats.model_file import ModelFile
from llama2_ref.model import BUNDLED, Model, find_model, read_tokenizer
from llama2_ref.support.files import FilePath

from .matrices.arrays import ARRAYS
from .sampler import Sampler
from .tokenizer import Tokenizer
from .transformer import Transformer

__all__ = ["Model", "find_model", "load", "read_model"]


def load(
    checkpoint: FilePath | None = None,
    tokenizer: FilePath | None = None,
    quantize: str | None = None,
    *,
    threads: int | None = None,
    backend: str | None = None,
) -> Model:
    """The model in a checkpoint of llama2.c, a GGUF file or a folder, with its tokenizer. As llama2_ref.load.

    `threads` and `backend` are those of Transformer.
    """
    path = BUNDLED if checkpoint is None else checkpoint
    file = read_model(path)
    own_tokenizer = read_tokenizer(file, tokenizer, Tokenizer)
    transformer = Transformer(file.config, file.weights, threads=threads, backend=backend, quantize=quantize)
    return Model(own_tokenizer, transformer, Sampler, file.chat_template, description=file.describe(), notes=file.notes)


def read_model(path: FilePath) -> ModelFile:
    """Sizes and weights of a model, and what comes with them. As llama2_ref.read_model, with arrays."""
    return registry.read_model(path, ARRAYS)
