"""A checkpoint and its tokenizer in one object that makes text. As llama2_ref.model, from this package's parts."""

from llama2_ref.checkpoint import FilePath
from llama2_ref.model import BUNDLED, Model, find_model, find_tokenizer

from .checkpoint import read_checkpoint
from .sampler import Sampler
from .tokenizer import Tokenizer
from .transformer import Transformer

__all__ = ["Model", "find_model", "load"]


def load(
    checkpoint: FilePath | None = None,
    tokenizer: FilePath | None = None,
    quantize: str | None = None,
    *,
    threads: int | None = None,
    backend: str | None = None,
) -> Model:
    """The model in a llama2.c checkpoint, and the tokenizer beside it. As llama2_ref.load.

    `threads` and `backend` are those of Transformer.
    """
    path = BUNDLED if checkpoint is None else checkpoint
    config, weights = read_checkpoint(path)
    vocabulary = find_tokenizer(path, config.vocab_size) if tokenizer is None else tokenizer
    words = Tokenizer.read(vocabulary, config.vocab_size)
    return Model(words, Transformer(config, weights, threads=threads, backend=backend, quantize=quantize), Sampler)
