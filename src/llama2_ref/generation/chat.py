"""Chat: messages to tokens, in the format that a model was trained on.

That of Llama-2: a turn is BOS, `[INST] question [/INST]`, the answer, EOS; the system message stands inside the first
question (Touvron et al., arXiv:2307.09288, section 3.3; llama2.c's chat mode). Other models bring a template of theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import PromptError
from .chat_template import compile_template, render_template
from .params import GenerationParams
from .request import Request, end_of_text
from .scheduler import Scheduler
from .stop import until_stop
from .stream import TextStream, check_text

Message = Mapping[str, str]


def encode_chat(tokenizer: Any, messages: Sequence[Message], template: str | None = None) -> list[int]:
    """Tokens of a conversation whose last message is the user's, ready for the model to answer.

    `messages` are mappings with "role" and "content": at most one "system" first, then "user" and "assistant" in turns.
    `template` is the model's own, in Jinja; without one, the format is Llama-2's.

    Raises PromptError if the roles come in another order, a content is empty or no text, or the template refuses them;
    TokenizerError if it is damaged, and MissingExtraError if it can't be used without jinja2.
    """
    system, turns = _split(messages)
    if template is not None:
        return _encode_rendered(tokenizer, messages, template)
    tokens: list[int] = []
    for i, content in enumerate(turns):
        if i % 2 == 0:
            tokens += tokenizer.encode(question(content, system if i == 0 else None))
        else:
            tokens += tokenizer.encode(content, bos=False, eos=True)
    return tokens


def question(content: str, system: str | None = None) -> str:
    """The text of a user's turn."""
    return f"[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{content} [/INST]" if system else f"[INST] {content} [/INST]"


def _encode_rendered(tokenizer: Any, messages: Sequence[Message], template: str) -> list[int]:
    """Tokens of messages as a template has them. The names of special tokens mean those tokens, in messages too."""
    names = {token: name for name, token in tokenizer.special.items()}
    bos, eos = names.get(tokenizer.start, ""), names.get(tokenizer.eos, "")
    text = render_template(template, messages, bos, eos)
    system = messages[0]["content"].strip() if messages[0]["role"] == "system" else ""
    if system not in text:
        raise PromptError("the model's chat template has no place for a system message: leave it out")
    tokens: list[int] = tokenizer.encode_special(check_text(text, "what the model's chat template makes"))
    if not tokens:
        raise PromptError("the model's chat template makes nothing of this conversation")
    return tokens


class Conversation:
    """Turns that share one key/value cache."""

    def __init__(
        self,
        transformer: Any,
        tokenizer: Any,
        sampler: Any,
        params: GenerationParams,
        template: str | None = None,
        session: Any = None,
    ) -> None:
        """`sampler` chooses the tokens of all turns; `params.steps` are positions of the whole conversation.

        `template` is that of `encode_chat`, which says what is raised if it can't be used. `session`, a Session, may
        bring the cache of an earlier conversation.
        """
        if template is not None:
            compile_template(template)
        self._transformer, self._tokenizer = transformer, tokenizer
        self._sampler, self._params, self._template, self._session = sampler, params, template, session
        self._scheduler, self._cache = Scheduler(transformer), transformer.new_cache()
        self._messages: list[Message] = []  # up to the last question
        self._last: TextStream | None = None

    def say(self, content: str, system: str | None = None) -> TextStream:
        """The model's answer to the next question. `system` is for the first one.

        Raises PromptError if `content` is empty or no text, or the conversation has filled the context.
        """
        if self._template is not None:
            return self._say_by_template(content, system, self._template)
        turn = question(_content({"content": content}), system)
        so_far = self._last.tokens + self._tokenizer.encode("", bos=False, eos=True) if self._last else []
        return self.answer(so_far + self._tokenizer.encode(turn))

    def _say_by_template(self, content: str, system: str | None, template: str) -> TextStream:
        """All turns are rendered anew: a template may write what was said before in another way than at first."""
        messages = [*self._messages, *self._answered()] if self._last else []
        if system and not messages:
            messages = [{"role": "system", "content": system}]
        messages = [*messages, {"role": "user", "content": _content({"content": content})}]
        stream = self.answer(_encode_rendered(self._tokenizer, messages, template))
        self._messages = messages
        return stream

    def _answered(self) -> list[Message]:
        """The last answer, as far as it went, up to a stop string."""
        tokens = self._last.tokens[self._last.prompt_length :] if self._last else []
        hidden = [] if self._tokenizer.bos is None else [self._tokenizer.bos]
        text = self._tokenizer.decode(hidden + tokens)
        return [{"role": "assistant", "content": "".join(until_stop([text], self._params.stop))}]

    def answer(self, tokens: list[int]) -> TextStream:
        """The model's answer to tokens. As far as they are those of the last turns, they are not read again."""
        end = end_of_text(self._params.steps, self._transformer.config.seq_len, len(tokens), "conversation")
        if self._last is not None:
            self._last.close()
            self._cache.length = _agreeing(self._last.tokens[: self._cache.length], tokens[:-1])
        elif self._session is not None:
            self._cache = self._session.begin(tokens)
        request = Request(self._tokenizer, tokens, self._params, self._sampler, end, echo=False)
        self._scheduler.add([request], self._cache)
        self._last = TextStream(request, self._scheduler)
        return self._last


def _agreeing(some: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens two lists begin with together."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(some), len(others)))


def _split(messages: Sequence[Message]) -> tuple[str | None, list[str]]:
    """The system message, if there is one, and the contents of the others, in turns."""
    roles = [message.get("role") for message in messages]
    contents = [_content(message) for message in messages]
    start = 1 if roles[:1] == ["system"] else 0
    expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(roles) - start)]
    if roles[start:] != expected or not len(expected) % 2:
        rule = "roles must be user, assistant, user, ..., after one system message at most, and end with user"
        raise PromptError(f"{rule} (got {', '.join(map(str, roles)) or 'none'})")
    return (contents[0] if start else None), contents[start:]


def _content(message: Message) -> str:
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise PromptError(f"content of a message must be a text that is not empty (got {content!r})")
    return check_text(content, "content of a message").strip()
