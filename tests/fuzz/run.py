"""Fuzz with new inputs for some minutes: python tests/fuzz/run.py --minutes 10 [pytest arguments].

Rounds of all properties follow each other, each with a seed of its own, on all cores. The first round is short; the
others are as long as the time allows, so that every test gets its share and the run ends when it should. The first
failure ends it: what failed is kept in the database of examples (.hypothesis, or $LLAMA2_FUZZ_DB), from which
HYPOTHESIS_PROFILE=regress replays it, here or on another machine.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FIRST, LARGEST = 50, 5000  # examples of each test in a round
LONGEST = 10 * 60  # seconds of a round: a failure should not be told much later than it is found
SMALLEST = 10  # examples for which a round is worth its start
PYTEST_FAILED = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, metavar="M", help="when to end (default 10)")
    args, pytest_args = parser.parse_known_args()
    if not 0 < args.minutes < float("inf"):
        parser.error(f"--minutes must be positive (got {args.minutes})")
    start = time.monotonic()
    end = start + 60 * args.minutes
    rounds: list[dict[str, Any]] = []
    examples = FIRST
    try:
        while examples >= SMALLEST:
            began = time.monotonic()
            code, report = run_round(len(rounds) + 1, examples, end - began, pytest_args)
            if code:
                return code
            rounds.append(report)
            now = time.monotonic()
            examples = next_size(examples, now - began, end - now)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(summary(rounds, time.monotonic() - start))
    return 0


def run_round(number: int, examples: int, left: float, pytest_args: list[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and report of one run of pytest."""
    seed = secrets.randbits(32)
    print(f"round {number}: {examples} examples of each test, seed {seed}, {left / 60:.1f} minutes left", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report"
        command = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent), f"--hypothesis-seed={seed}"]
        command += ["--only-properties", f"--fuzz-report={path}", *pytest_args]
        environment = {"HYPOTHESIS_PROFILE": "nightly"} | os.environ | {"LLAMA2_FUZZ_EXAMPLES": str(examples)}
        code = subprocess.run(command, env=environment).returncode
        if code == PYTEST_FAILED:
            print(
                f"round {number} failed: HYPOTHESIS_PROFILE=regress replays it, and --hypothesis-seed={seed} repeats it"
            )
        return code, json.loads(path.read_text()) if path.exists() else {"examples": 0, "properties": 0, "ratios": {}}


def next_size(examples: int, seconds: float, left: float) -> int:
    """How many examples of each test fit into the next round, if the last one took so many seconds."""
    return min(LARGEST, int(examples * min(LONGEST, left) / seconds))


def summary(rounds: list[dict[str, Any]], seconds: float) -> str:
    """One line on the whole run, and one on how near the bounds it came."""
    examples = sum(each["examples"] for each in rounds)
    properties = max(each["properties"] for each in rounds)
    ratios: dict[str, float] = {}
    for each in rounds:
        for what, ratio in each["ratios"].items():
            ratios[what] = max(ratio, ratios.get(what, 0.0))
    nearest = sorted(ratios.items(), key=lambda item: -item[1])
    tried = f"{examples:,} examples of {properties} properties in {len(rounds)} rounds"
    lines = [f"{tried}, {seconds / 60:.1f} minutes: no failure"]
    if nearest:
        lines.append("largest part of a bound: " + ", ".join(f"{what} {ratio:.2g}" for what, ratio in nearest))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
