"""A checkpoint and its tokenizer in one object that makes text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._files import is_file
from ._hub import BUNDLED, find_model
from .chat import Conversation, Message, encode_chat
from .checkpoint import FilePath, read_checkpoint
from .config import Config
from .errors import TokenizerError
from .generate import TextStream, check_room, check_text, encode_prompt, end_of_text
from .quantize import quantize_weights
from .sampler import Sampler
from .tokenizer import Tokenizer
from .transformer import Transformer

__all__ = ["BUNDLED", "Model", "find_model", "find_tokenizer", "load"]


class Model:
    """Everything that is needed to make text. `load` makes one."""

    def __init__(self, tokenizer: Tokenizer, transformer: Any, sampler: type[Sampler] = Sampler) -> None:
        self.config: Config = transformer.config
        self.tokenizer, self.transformer, self._sampler = tokenizer, transformer, sampler

    def generate(
        self, prompt: str = "", steps: int = 256, temperature: float = 1.0, topp: float = 0.9, seed: int | None = None
    ) -> TextStream:
        """The prompt and its continuation, piece by piece, each made when it is asked for.

        An empty prompt begins from nothing. The text takes at most `steps` positions, prompt and BOS included; 0, or
        more than the context, means the whole context. It ends early where the model says so. `temperature`, `topp`
        and `seed` are those of Sampler; without a seed, every call gives another text.

        Raises PromptError if the prompt is not valid text or has no room, SamplerError for values out of range, and,
        while it is iterated, NumericsError if a logit is not finite.
        """
        check_room(check_text(prompt), self.tokenizer, self.config.seq_len)
        tokens = encode_prompt(self.tokenizer, prompt)
        end = end_of_text(steps, self.config.seq_len, len(tokens))
        sampler, cache = self._sampler(temperature, topp, seed), self.transformer.new_cache()
        return TextStream(self.transformer, self.tokenizer, sampler, cache, tokens, end, echo=True)

    def chat(
        self,
        messages: Sequence[Message],
        steps: int = 0,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = None,
    ) -> TextStream:
        """The model's answer to messages such as [{"role": "user", "content": "Hello"}], piece by piece.

        The messages are those of `encode_chat`; everything else is as in `generate`.
        """
        tokens = encode_chat(self.tokenizer, messages)
        return self.conversation(steps, temperature, topp, seed).answer(tokens)

    def conversation(
        self, steps: int = 0, temperature: float = 1.0, topp: float = 0.9, seed: int | None = None
    ) -> Conversation:
        """A chat whose turns share one key/value cache, so that each turn only reads what is new."""
        return Conversation(self.transformer, self.tokenizer, self._sampler(temperature, topp, seed), steps)


def load(checkpoint: FilePath | None = None, tokenizer: FilePath | None = None, quantize: str | None = None) -> Model:
    """The model in a llama2.c checkpoint, and the tokenizer beside it; the bundled model where there is no path.

    Beside `checkpoint` this means `tok<vocab_size>.bin`, else `tokenizer.bin`, in the same folder.

    `quantize` makes int8 or int4 numbers of float32 weights, as `quantize_weights`.

    Raises CheckpointError or TokenizerError if a file is missing, damaged, or does not fit the other one,
    and what `quantize_weights` raises.
    """
    path = BUNDLED if checkpoint is None else checkpoint
    config, weights = read_checkpoint(path)
    vocabulary = find_tokenizer(path, config.vocab_size) if tokenizer is None else tokenizer
    words = Tokenizer.read(vocabulary, config.vocab_size)
    return Model(words, Transformer(config, quantize_weights(weights, quantize) if quantize else weights))


def find_tokenizer(checkpoint: FilePath, vocab_size: int) -> Path:
    """The tokenizer file beside a checkpoint. Raises TokenizerError if there is none."""
    names = (f"tok{vocab_size}.bin", "tokenizer.bin")
    for name in names:
        path = Path(checkpoint).parent / name
        if is_file(path):
            return path
    raise TokenizerError(f"{checkpoint}: a tokenizer must lie beside it ({' or '.join(names)}), or be named")
