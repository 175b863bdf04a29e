"""Llama-2 inference at the speed of the machine: the modules at its top are twins of those in llama2_ref.

`import llama2_ref as llama2` and `import llama2_fast as llama2` are the whole switch between the two packages: the same
names, signatures and errors.
"""

from llama2_ref import __version__ as __version__
from llama2_ref.config import Config, RopeScaling
from llama2_ref.errors import (
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
from llama2_ref.generation.chat import Conversation, encode_chat
from llama2_ref.generation.stream import TextStream

from . import kernels
from .matrices.files import Session, read_checkpoint, write_checkpoint
from .model import Model, find_model, load, read_model
from .quantize import quantize_weights
from .sampler import Sampler
from .tokenizer import Tokenizer
from .transformer import KVCache, Taps, Transformer
from .weights import Int4Matrix, Int4OffsetMatrix, Int8Matrix, Weights

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
