"""A checkpoint and its tokenizer in one object that makes text."""

from collections.abc import Sequence
from typing import Any, Unpack

from .config import Config
from .formats import registry
from .formats.lists import LISTS
from .formats.model_file import ModelFile
from .formats.session import Session
from .generation.chat import Conversation, Message, encode_chat
from .generation.scheduler import Batch, check_count
from .generation.stream import TextStream, check_room, check_text, encode_prompt, end_of_text
from .quantize import quantize_weights
from .sampler import Sampler, Sampling
from .support.files import FilePath
from .support.hub import BUNDLED, find_model
from .tokenizer import Tokenizer
from .tokenizers.read import find_tokenizer, read_path
from .transformer import Transformer

__all__ = ["BUNDLED", "Model", "find_model", "find_tokenizer", "load", "read_model"]


class Model:
    """Everything that is needed to make text. `load` makes one."""

    def __init__(
        self,
        tokenizer: Any,
        transformer: Any,
        sampler: type[Sampler] = Sampler,
        template: str | None = None,
        *,
        description: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        """`tokenizer` is a Tokenizer, or has all that is public of one; `template` is that of `encode_chat`."""
        self.config: Config = transformer.config
        self.template = template or None  # an empty one is none
        self.description, self.notes = description, notes  # of the file, a line each
        self.tokenizer, self.transformer, self._sampler = tokenizer, transformer, sampler

    def generate(
        self,
        prompt: str = "",
        steps: int = 256,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = None,
        *,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        session: Session | None = None,
        **sampling: Unpack[Sampling],
    ) -> TextStream:
        """The prompt and its continuation, piece by piece, each made when it is asked for.

        An empty prompt begins from nothing. The text takes at most `steps` positions, prompt and BOS included; 0, or
        more than the context, means the whole context. It ends early where the model says so. `temperature`, `topp`,
        `seed` and what `sampling` names (`topk`, `minp`, `repetition_penalty`) are those of Sampler; without a seed,
        every call gives another text. What is generated ends before the first `stop` string, which may be split over
        tokens: what may become one is held back. `logprobs` fills those of the TextStream, with that many alternatives
        for each token. A `session` brings the cache of an earlier text, and takes what this one puts into it.

        Raises PromptError if the prompt is not valid text or has no room, or a stop string is empty, SamplerError for
        values out of range, and, while it is iterated, NumericsError if a logit is not finite.
        """
        check_room(check_text(prompt), self.tokenizer, self.config.seq_len)
        tokens = encode_prompt(self.tokenizer, prompt)
        end = end_of_text(steps, self.config.seq_len, len(tokens))
        sampler, cache = self._sampler(temperature, topp, seed, **sampling), self._cache(tokens, session)
        return TextStream(self.transformer, self.tokenizer, sampler, cache, tokens, end, True, stop, logprobs)

    def samples(
        self,
        prompt: str = "",
        count: int = 1,
        steps: int = 256,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = None,
        *,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        session: Session | None = None,
        **sampling: Unpack[Sampling],
    ) -> list[TextStream]:
        """Several continuations of one prompt, which is read once; then all of them go through the model together.

        Sample i, from 0 on, is what `generate` makes with the seed `seed` + i (modulo 2^64), bit for bit. Each can be
        iterated when you like: all go on whenever one has to.

        Raises PromptError if `count` is below 1, and what `generate` raises.
        """
        check_room(check_text(prompt), self.tokenizer, self.config.seq_len)
        tokens = encode_prompt(self.tokenizer, prompt)
        end = end_of_text(steps, self.config.seq_len, len(tokens))
        samplers = [self._sampler(temperature, topp, seed, **sampling)]
        for i in range(1, check_count(count)):
            samplers.append(self._sampler(temperature, topp, (samplers[0].seed + i) % 2**64, **sampling))
        batch = Batch(self.transformer, self.tokenizer, self._cache(tokens, session))
        return batch.start(samplers, tokens, end, stop, logprobs)

    def chat(
        self,
        messages: Sequence[Message],
        steps: int = 0,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = None,
        *,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        session: Session | None = None,
        **sampling: Unpack[Sampling],
    ) -> TextStream:
        """The model's answer to messages such as [{"role": "user", "content": "Hello"}], piece by piece.

        The messages are those of `encode_chat`; everything else is as in `generate`.
        """
        tokens = encode_chat(self.tokenizer, messages, self.template)
        how: dict[str, Any] = {"stop": stop, "logprobs": logprobs, "session": session, **sampling}
        return self.conversation(steps, temperature, topp, seed, **how).answer(tokens)

    def conversation(
        self,
        steps: int = 0,
        temperature: float = 1.0,
        topp: float = 0.9,
        seed: int | None = None,
        *,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        session: Session | None = None,
        **sampling: Unpack[Sampling],
    ) -> Conversation:
        """A chat whose turns share one key/value cache, so that each turn only reads what is new."""
        sampler = self._sampler(temperature, topp, seed, **sampling)
        return Conversation(self.transformer, self.tokenizer, sampler, steps, self.template, stop, logprobs, session)

    def _cache(self, tokens: Sequence[int], session: Session | None) -> Any:
        return session.begin(tokens) if session else self.transformer.new_cache()


def load(checkpoint: FilePath | None = None, tokenizer: FilePath | None = None, quantize: str | None = None) -> Model:
    """The model in a checkpoint of llama2.c, a GGUF file or a folder, with its tokenizer; without a path, the bundled.

    A folder holds Hugging Face's config.json and safetensors, or Meta's params.json and consolidated.*.pth. It brings a
    tokenizer, and so does a GGUF file. Beside a checkpoint lies `tok<vocab_size>.bin`, else `tokenizer.bin`.

    `quantize` makes "int8", "int4" or "float32" numbers of the weights, as `quantize_weights`.

    Raises CheckpointError or TokenizerError if a file is missing, damaged, or does not fit the other one,
    MissingExtraError if it takes a package that is not installed, and what `quantize_weights` raises.
    """
    path = BUNDLED if checkpoint is None else checkpoint
    file = read_model(path)
    words = read_tokenizer(file, tokenizer, Tokenizer)
    transformer = Transformer(file.config, quantize_weights(file.weights, quantize) if quantize else file.weights)
    return Model(words, transformer, template=file.chat_template, description=file.describe(), notes=file.notes)


def read_model(path: FilePath) -> ModelFile:
    """Sizes and weights of a model, and what comes with them, whichever program wrote it. As `load`."""
    return registry.read_model(path, LISTS)


def read_tokenizer(file: ModelFile, path: FilePath | None, tokenizer: type[Tokenizer]) -> Any:
    """The tokenizer that belongs to a model, or the one at `path`, which is read as `tokenizers.read.read_path`."""
    return file.tokenizer(tokenizer) if path is None else read_path(path, file.config.vocab_size, tokenizer)
