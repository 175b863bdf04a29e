"""A checkpoint and its tokenizer in one object that makes text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from .config import Config
from .formats import registry
from .formats.lists import LISTS
from .formats.model_file import ModelFile
from .formats.session import Session
from .generation.chat import Conversation, Message, encode_chat
from .generation.params import TOPP, GenerationOptions, GenerationParams, check_count, check_logprobs
from .generation.perplexity import Perplexity, Progress, perplexity
from .generation.request import Request, end_of_text
from .generation.scheduler import Scheduler
from .generation.stream import TextStream, check_room, check_text, encode_prompt
from .quantize import quantize_weights
from .sampler import Sampler
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
        topp: float = TOPP,
        seed: int | None = None,
        *,
        session: Session | None = None,
        **options: Unpack[GenerationOptions],
    ) -> TextStream:
        """The prompt and its continuation, piece by piece, each made when it is asked for.

        An empty prompt begins from nothing. The text takes at most `steps` positions, prompt and BOS included; 0, or
        more than the context, means the whole context. It ends early where the model says so. `temperature`, `topp`,
        `seed` and the options `topk`, `minp`, `repetition_penalty`, `stop` and `logprobs` are told by
        GenerationParams; `top_p`, `top_k` and `min_p` are other spellings. Without a seed, every call gives another
        text. What is generated ends before the first `stop` string, which may be split over tokens: what may become
        one is held back. `logprobs` fills those of the TextStream, with that many alternatives for each token. A
        `session` brings the cache of an earlier text, and takes what this one puts into it.

        Raises PromptError if the prompt is not valid text or has no room, or a stop string is empty, SamplerError for
        values out of range, and, while it is iterated, NumericsError if a logit is not finite.
        """
        tokens = self._prompt_tokens(prompt)
        params = self._params(steps, temperature, topp, seed, options)
        return self._streams(tokens, [params.make_sampler(self._sampler)], params, session)[0]

    def samples(
        self,
        prompt: str = "",
        count: int = 1,
        steps: int = 256,
        temperature: float = 1.0,
        topp: float = TOPP,
        seed: int | None = None,
        *,
        session: Session | None = None,
        **options: Unpack[GenerationOptions],
    ) -> list[TextStream]:
        """Several continuations of one prompt, which is read once; then all of them go through the model together.

        Sample i, from 0 on, is what `generate` makes with the seed `seed` + i (modulo 2^64), bit for bit. Each can be
        iterated when you like: all go on whenever one has to.

        Raises PromptError if `count` is below 1, and what `generate` raises.
        """
        tokens = self._prompt_tokens(prompt)
        params = self._params(steps, temperature, topp, seed, options)
        samplers = [params.make_sampler(self._sampler)]
        for i in range(1, check_count(count)):
            samplers.append(replace(params, seed=(samplers[0].seed + i) % 2**64).make_sampler(self._sampler))
        return self._streams(tokens, samplers, params, session)

    def chat(
        self,
        messages: Sequence[Message],
        steps: int = 0,
        temperature: float = 1.0,
        topp: float = TOPP,
        seed: int | None = None,
        *,
        session: Session | None = None,
        **options: Unpack[GenerationOptions],
    ) -> TextStream:
        """The model's answer to messages such as [{"role": "user", "content": "Hello"}], piece by piece.

        The messages are those of `encode_chat`; everything else is as in `generate`.
        """
        tokens = encode_chat(self.tokenizer, messages, self.template)
        return self.conversation(steps, temperature, topp, seed, session=session, **options).answer(tokens)

    def conversation(
        self,
        steps: int = 0,
        temperature: float = 1.0,
        topp: float = TOPP,
        seed: int | None = None,
        *,
        session: Session | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Conversation:
        """A chat whose turns share one key/value cache, so that each turn only reads what is new."""
        params = self._params(steps, temperature, topp, seed, options)
        sampler = params.make_sampler(self._sampler)
        return Conversation(self.transformer, self.tokenizer, sampler, params, self.template, session)

    def perplexity(
        self,
        tokens: Sequence[int],
        context: int | None = None,
        stride: int | None = None,
        progress: Progress | None = None,
    ) -> Perplexity:
        """How well the model predicts the tokens of a text: see `generation.perplexity.perplexity`."""
        return perplexity(self.transformer, tokens, context, stride, progress, self._sampler)

    def _prompt_tokens(self, prompt: str) -> list[int]:
        check_room(check_text(prompt), self.tokenizer, self.config.seq_len)
        return encode_prompt(self.tokenizer, prompt)

    def _params(
        self, steps: int, temperature: float, topp: float, seed: int | None, options: GenerationOptions
    ) -> GenerationParams:
        check_logprobs(options.get("logprobs"), self.config.vocab_size)
        return GenerationParams.of(steps, temperature, topp, seed, options)

    def _streams(
        self, tokens: Sequence[int], samplers: Sequence[Sampler], params: GenerationParams, session: Session | None
    ) -> list[TextStream]:
        """A text for each sampler, from one prompt."""
        end = end_of_text(params.steps, self.config.seq_len, len(tokens))
        scheduler = Scheduler(self.transformer)
        requests = [Request(self.tokenizer, tokens, params, sampler, end) for sampler in samplers]
        scheduler.add(requests, session.begin(tokens) if session else None)
        return [TextStream(request, scheduler) for request in requests]


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
    own_tokenizer = read_tokenizer(file, tokenizer, Tokenizer)
    transformer = Transformer(file.config, quantize_weights(file.weights, quantize) if quantize else file.weights)
    return Model(own_tokenizer, transformer, template=file.chat_template, description=file.describe(), notes=file.notes)


def read_model(path: FilePath) -> ModelFile:
    """Sizes and weights of a model, and what comes with them, whichever program wrote it. As `load`."""
    return registry.read_model(path, LISTS)


def read_tokenizer(file: ModelFile, path: FilePath | None, tokenizer: type[Tokenizer]) -> Any:
    """The tokenizer that belongs to a model, or the one at `path`, which is read as `tokenizers.read.read_path`."""
    return file.tokenizer(tokenizer) if path is None else read_path(path, file.config.vocab_size, tokenizer)
