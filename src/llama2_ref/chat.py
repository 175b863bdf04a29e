"""Llama-2 chat: messages to tokens, in the format that its chat models were trained on.

A turn is BOS, `[INST] question [/INST]`, the answer, EOS; the system message stands inside the first question (Touvron
et al., arXiv:2307.09288, section 3.3; llama2.c's chat mode).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import PromptError
from .generate import TextStream, check_text, end_of_text

Message = Mapping[str, str]


def encode_chat(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Tokens of a conversation whose last message is the user's, ready for the model to answer.

    `messages` are mappings with "role" and "content": at most one "system" first, then "user" and "assistant" in turns.

    Raises PromptError if the roles come in another order, or a content is empty or no text.
    """
    system, turns = _split(messages)
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


class Conversation:
    """Turns that share one key/value cache."""

    def __init__(self, transformer: Any, tokenizer: Any, sampler: Any, steps: int) -> None:
        self._transformer, self._tokenizer, self._sampler, self._steps = transformer, tokenizer, sampler, steps
        self._cache = transformer.new_cache()
        self._last: TextStream | None = None

    def say(self, content: str, system: str | None = None) -> TextStream:
        """The model's answer to the next question. `system` is for the first one.

        Raises PromptError if `content` is empty or no text, or the conversation has filled the context.
        """
        turn = question(_content({"content": content}), system)
        so_far = self._last.tokens + self._tokenizer.encode("", bos=False, eos=True) if self._last else []
        return self.answer(so_far + self._tokenizer.encode(turn))

    def answer(self, tokens: list[int]) -> TextStream:
        """The model's answer to tokens that begin with those of all turns so far."""
        end = end_of_text(self._steps, self._transformer.config.seq_len, len(tokens), "conversation")
        parts = self._transformer, self._tokenizer, self._sampler, self._cache
        self._last = TextStream(*parts, tokens, end, echo=False)
        return self._last


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
