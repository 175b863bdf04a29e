"""Errors that a caller can cause. Each says, in one line, what must hold, what came, and what to do about it."""


class Llama2Error(Exception):
    """The base of every error that both packages raise on purpose: catch this one to catch them all."""


class ConfigError(Llama2Error):
    """The sizes of a model contradict each other, or are not sizes at all."""


class CheckpointError(Llama2Error):
    """A checkpoint or session can't be read or written: missing, damaged, truncated, of another format, disk full."""


class TokenizerError(Llama2Error):
    """A tokenizer file can't be read or does not belong to the checkpoint, or a token id is outside the vocabulary."""


class PromptError(Llama2Error):
    """A prompt or a list of messages can't be used: empty, too long for the context, not valid text."""


class DownloadError(Llama2Error):
    """A model can't be fetched by its name: no network, no such name, or not the file that is expected."""


class MissingExtraError(Llama2Error):
    """Something needs a package that is not installed. The message names the extra that brings it."""


class SamplerError(Llama2Error):
    """A parameter of the sampler (temperature, top-p, top-k, seed, ...) is outside its range."""


class NumericsError(Llama2Error):
    """NaN or infinity where only finite numbers have a meaning. The message names the place."""
