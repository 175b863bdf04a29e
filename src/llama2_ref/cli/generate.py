"""The verb `generate`: a prompt and its continuation, or several of them."""

import argparse
from types import ModuleType
from typing import Any

from .arguments import (
    STEPS,
    add_text_flags,
    load_model,
    open_session,
    sampling_options,
    save_session,
)
from .input import read_prompt
from .output import say_clipped, say_logprobs, say_rates, say_total_rates, write

HELP = "continue a prompt (the default verb)"
EXAMPLES = """\
  {prog}                                                a story by the bundled model
  {prog} stories15M.bin -i "One day" -t 0.8 -s 42       your model, with the same text every time
  {prog} --model stories42M                             a model by its name, fetched on first use (extra hub)
  {prog} stories15M.bin -t 0 -n 0                       always the likeliest token, to the end of the context
  echo "One day" | {prog} stories15M.bin -i -           the prompt from standard input
"""


def add_arguments(parser: argparse.ArgumentParser, llama2: ModuleType) -> None:
    """What can be said behind the verb."""
    add_text_flags(parser, llama2)
    samples = "several texts in one batch, with seeds from --seed on; each below a line that names it"
    parser.add_argument("--samples", type=int, metavar="N", help=samples)


def run(llama2: ModuleType, args: argparse.Namespace) -> None:
    """Write the text as it is made; sizes and rates beside it."""
    prompt = read_prompt(args) or ""
    model = load_model(llama2, args)
    steps = STEPS if args.steps is None else args.steps
    say_clipped(args.steps, model.config.seq_len)
    session = open_session(llama2, model, args)
    if args.samples is not None:
        _write_samples(model, prompt, steps, session, args)
        return
    stream = model.generate(prompt, steps, session=session, **sampling_options(args))
    try:
        write(stream)
        say_logprobs(stream, model.tokenizer)
        say_rates(stream)
    finally:
        save_session(session, stream)


def _write_samples(model: Any, prompt: str, steps: int, session: Any, args: argparse.Namespace) -> None:
    """Several texts, whole and in order, each below a line that says which it is."""
    streams = model.samples(prompt, args.samples, steps, session=session, **sampling_options(args))
    try:
        for number, stream in enumerate(streams, 1):
            print(f"--- sample {number} of {len(streams)}, seed {stream.sampler.seed} ---")
            write(stream)
            say_logprobs(stream, model.tokenizer)
        say_total_rates(streams)
    finally:
        save_session(session, streams[0])
