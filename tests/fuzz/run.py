"""Fuzz with new inputs for some minutes: python tests/fuzz/run.py --minutes 10 [pytest arguments].

Rounds of all fuzz tests follow each other, each with a seed of its own, until the time is up. The first failure ends
the run; its seed repeats it: pytest tests/fuzz --hypothesis-seed=SEED, with HYPOTHESIS_PROFILE=nightly.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, metavar="M", help="no round is begun after this time")
    args, pytest_args = parser.parse_known_args()
    environment = {"HYPOTHESIS_PROFILE": "nightly"} | os.environ
    end, rounds = time.monotonic() + 60 * args.minutes, 0
    while not rounds or time.monotonic() < end:
        rounds += 1
        seed = secrets.randbits(32)
        print(f"round {rounds}, seed {seed}, {max(0, end - time.monotonic()) / 60:.1f} minutes left", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent), f"--hypothesis-seed={seed}"]
        code = subprocess.run([*command, *pytest_args], env=environment).returncode
        if code:
            print(f"round {rounds} failed: repeat it with HYPOTHESIS_PROFILE=nightly and --hypothesis-seed={seed}")
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
