"""Llama-2 inference that says what the right answer is: plain Python loops, standard library only.

`import llama2_ref as llama2` and `import llama2_fast as llama2` are the whole switch between the two packages: the same
names, signatures and errors.

The oracle is nine files, which import nothing but each other, in this order of reading: errors.py, config.py,
weights.py, quantize.py, kernels.py, transformer.py, tokenizer.py, sampler.py, bounded.py. Around it stands the program
that both packages share: formats, tokenizers, generation, support, cli.
"""

from . import kernels
from .config import Config, RopeScaling
from .errors import (
    CheckpointError,
    ConfigError,
    DownloadError,
    Llama2Error,
    MissingExtraError,
    NumericsError,
    PromptError,
    SamplerError,
    TokenizerError,
)
from .formats.llama2c import read_checkpoint, write_checkpoint
from .formats.session import Session
from .generation.chat import Conversation, encode_chat
from .generation.stream import TextStream
from .model import Model, find_model, load, read_model
from .quantize import quantize_weights
from .sampler import Sampler
from .tokenizer import Tokenizer
from .transformer import KVCache, Taps, Transformer
from .weights import Int4Matrix, Int4OffsetMatrix, Int8Matrix, Weights

__version__ = "0.2.0"  # of both packages, and of the distribution: pyproject.toml reads it here

__all__ = [
    "CheckpointError",
    "Config",
    "ConfigError",
    "Conversation",
    "DownloadError",
    "Int4Matrix",
    "Int4OffsetMatrix",
    "Int8Matrix",
    "KVCache",
    "Llama2Error",
    "MissingExtraError",
    "Model",
    "NumericsError",
    "PromptError",
    "RopeScaling",
    "Sampler",
    "SamplerError",
    "Session",
    "Taps",
    "TextStream",
    "Tokenizer",
    "TokenizerError",
    "Transformer",
    "Weights",
    "encode_chat",
    "find_model",
    "kernels",
    "load",
    "quantize_weights",
    "read_checkpoint",
    "read_model",
    "write_checkpoint",
]
