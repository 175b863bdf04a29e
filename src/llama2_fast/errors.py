"""As llama2_ref.errors: the twins raise the very same classes, so that one `except` serves both."""

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

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DownloadError",
    "Llama2Error",
    "MissingExtraError",
    "NumericsError",
    "PromptError",
    "SamplerError",
    "TokenizerError",
]
