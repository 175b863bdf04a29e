"""Write a corpus: ``python -m stories --seed 1 --count 100000 --out DIR``."""

import argparse
import sys
from pathlib import Path

from stories.drills import drill
from stories.telling import story

SEPARATOR = "<|end|>"
VALID_EVERY = 50
DRILL_EVERY = 10  # one drill for so many stories
PROGRESS_EVERY = 5000


def write_corpus(seed: int, count: int, out: Path) -> None:
    """Write ``train.txt``, ``valid.txt`` and ``first.txt``: stories, and drills, each followed by a separator line.

    The files get their names only when they are complete.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "train.txt", out / "valid.txt", out / "first.txt"]
    parts = [path.with_suffix(".part") for path in paths]
    with (
        parts[0].open("w", encoding="ascii", newline="\n") as train,
        parts[1].open("w", encoding="ascii", newline="\n") as valid,
    ):
        for index in range(count):
            file = valid if index % VALID_EVERY == VALID_EVERY - 1 else train
            file.write(f"{story(seed * 1_000_000_000 + index)}\n{SEPARATOR}\n")
            if (index + 1) % PROGRESS_EVERY == 0 or index + 1 == count:
                print(f"\r{index + 1} of {count} stories", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    drills = (f"{drill(seed * 1_000_000_000 + index)}\n{SEPARATOR}\n" for index in range(count // DRILL_EVERY))
    parts[2].write_text("".join(drills), encoding="ascii", newline="\n")
    for part, path in zip(parts, paths, strict=True):
        part.replace(path)


def main() -> None:
    """Read the command line and write the corpus."""
    parser = argparse.ArgumentParser(prog="python -m stories", description="Write a corpus of children's stories.")
    parser.add_argument("--seed", type=int, default=1, help="corpora of different seeds share no story seeds")
    parser.add_argument("--count", type=int, default=100_000, help="number of stories, train and valid together")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.txt, valid.txt and first.txt")
    args = parser.parse_args()
    write_corpus(args.seed, args.count, args.out)


if __name__ == "__main__":
    main()
