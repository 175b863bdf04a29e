"""The verb `chat`: a conversation, turn by turn."""

import argparse
from collections.abc import Iterator
from itertools import chain
from types import ModuleType

from ..errors import PromptError
from ..generation.stream import check_text
from .arguments import UsageError, add_text_flags, load_model, open_session, sampling_options, save_session
from .input import decode_text, read_input, read_prompt
from .output import say_clipped, say_logprobs, say_rates, write

HELP = "talk to a model that was trained on Llama-2 chat prompts"
EXAMPLES = """\
  {prog} chat llama2_7b_chat.bin -y "Be brief."         a conversation; an empty line or Ctrl-D ends it
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add_text_flags(parser, llama2)
    parser.set_defaults(samples=None)  # for -m generate


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """Answer the prompt, then lines of standard input."""
    if args.samples is not None:
        raise UsageError("--samples is for texts: a chat has one answer to each question")
    first = read_prompt(args)
    if first == "":
        raise PromptError("prompt must not be empty in a chat (leave it out to be asked)")
    system = check_text(decode_text(args.system, "system message"), "system message") if args.system else None
    model = load_model(llama2, args)
    session = open_session(llama2, model, args)
    conversation = model.conversation(args.steps or 0, session=session, **sampling_options(args))
    say_clipped(args.steps, model.config.seq_len)
    stream = None
    try:
        for content in _questions(first):
            stream = conversation.say(content, system)
            system = None
            write(chain(["Assistant: "], stream))
            say_logprobs(stream, model.tokenizer)
            say_rates(stream)
    finally:
        save_session(session, stream)


def _questions(first: str | None) -> Iterator[str]:
    """The user's turns: the prompt, then lines of standard input, up to an empty one or its end."""
    if first is not None:
        yield first
    while True:
        line = ""
        try:
            print("User: ", end="", flush=True)
            line = read_input(whole=False).strip()
        finally:
            if not line:  # end the line that "User: " began
                print(flush=True)
        if not line:
            return
        yield line
