"""How good a checkpoint is, through llama2_fast: its loss on held-out texts, and stories as Markdown, unpicked.

python evaluate.py CHECKPOINT CORPUS --texts 100 --stories 10
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import llama2_fast
from tokenizer import BOS, list_files, read_texts


def main() -> None:
    """Read the command line and print the numbers and the stories."""
    summary, _, details = str(__doc__).partition("\n\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=details, formatter_class=form)
    parser.add_argument("checkpoint", type=Path, help="with its tokenizer beside it")
    parser.add_argument("corpus", type=Path, help="folder with valid*.txt")
    parser.add_argument("--texts", type=int, help="the first so many (default: all)")
    parser.add_argument("--stories", type=int, default=0, help="a greedy one, and one of each seed from 1 up")
    parser.add_argument("--temperature", type=float, default=1.0, help="of those (default %(default)s)")
    parser.add_argument("--topp", type=float, default=0.9, help="of those (default %(default)s)")
    args = parser.parse_args()
    model = llama2_fast.load(args.checkpoint)
    print_loss(model, list(islice(read_texts(list_files(args.corpus).valid), args.texts)))
    if args.stories:
        print_story(model, "greedy", temperature=0.0)
    for seed in range(1, args.stories + 1):
        print_story(model, f"seed {seed}", temperature=args.temperature, topp=args.topp, seed=seed)


def print_loss(model: llama2_fast.Model, texts: list[str]) -> None:
    """Mean loss of every token of the texts, the BOS that ends each of them included."""
    rows = [[*model.tokenizer.encode(text), BOS] for text in texts]
    total = sum(loss(model.transformer, row) for row in rows)
    tokens, size = sum(len(row) - 1 for row in rows), sum(len(text.encode()) for text in texts)
    numbers = f"{total / tokens:.4f} nats per token, {total / size:.4f} per byte"
    print(f"{len(texts)} texts, {tokens:,} tokens, {size:,} bytes: {numbers}")


def loss(transformer: Any, row: list[int]) -> float:
    """-sum of log softmax(logits)[next token], in nats: (T) -> ()."""
    logits = np.asarray(transformer.forward(row[:-1], transformer.new_cache(), every=True), np.float64)
    top = logits.max(axis=-1)
    logs = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return float((logs - logits[np.arange(len(logits)), row[1:]]).sum())


def print_story(model: llama2_fast.Model, title: str, **sampling: Any) -> None:
    """A story as a quotation, under how it was made, how long it is, and whether it ended by itself."""
    stream = model.generate(**sampling)
    text = "".join(stream)
    end = "" if len(stream.tokens) <= 256 else ", cut off"
    print(f"\n**{title}** ({stream.generated} tokens{end})\n")
    print("\n>\n".join(f"> {line}" for line in text.splitlines()))


if __name__ == "__main__":
    main()
