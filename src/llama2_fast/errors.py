"""As llama2_ref.errors: the twins raise the very same classes, so that one `except` serves both."""

from llama2_ref.errors import (
    CheckpointError,
    ConfigError,
    Llama2Error,
    NumericsError,
    PromptError,
    SamplerError,
    TokenizerError,
)

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Llama2Error",
    "NumericsError",
    "PromptError",
    "SamplerError",
    "TokenizerError",
]
