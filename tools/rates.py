"""Prompt and decode rates of both packages, and the memory that they take, on real and random weights.

python tools/rates.py                          stories260K (from $LLAMA2_DATA), random weights of 15M and 110M shape
python tools/rates.py --peer './run {model} -z {tokenizer} -t 0 -n {steps}'   another program, in turns with ours
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import llama2_fast
from llama2_fast import Config, Weights

SHAPES = {
    "stories15M": Config(288, 768, 6, 6, 6, 32000, 1024),
    "stories42M": Config(512, 1376, 8, 8, 8, 32000, 1024),
    "stories110M": Config(768, 2048, 12, 12, 12, 32000, 1024),
}
STEPS = 128  # decoded from an empty cache, by everyone
MEASURE = """
import json, resource, sys, time
import {package} as llama2
config, weights = llama2.read_checkpoint(sys.argv[1])
transformer = llama2.Transformer(config, weights)
prompt, decode = int(sys.argv[2]), int(sys.argv[3])
tokens = [1] + [(7 * i + 3) % config.vocab_size for i in range(prompt - 1)]
transformer.forward(tokens[:2], transformer.new_cache())
seconds = []
for _ in range({rounds}):
    cache = transformer.new_cache()
    start = time.perf_counter()
    transformer.forward(tokens, cache)
    cache = transformer.new_cache()
    middle = time.perf_counter()
    for _ in range(decode):
        transformer.forward([5], cache)
    seconds.append((middle - start, time.perf_counter() - middle))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(prompt / min(s[0] for s in seconds), decode / min(s[1] for s in seconds), peak)
"""


def random_weights(config: Config, seed: int) -> Weights:
    """Weights of a freshly initialized model, with a shared classifier."""
    rng = np.random.default_rng(seed)

    def matrices(rows: int, cols: int) -> list[np.ndarray]:
        return [rng.standard_normal((rows, cols), np.float32) * np.float32(cols**-0.5) for _ in range(config.n_layers)]

    d, f, kv = config.dim, config.hidden_dim, config.kv_dim
    norms = np.ones((config.n_layers, d), np.float32)
    table = rng.standard_normal((config.vocab_size, d), np.float32) * np.float32(0.02)
    attention = (matrices(d, d), matrices(kv, d), matrices(kv, d), matrices(d, d))
    feed_forward = (matrices(f, d), matrices(d, f), matrices(f, d))
    return Weights(table, norms, *attention, norms, *feed_forward, np.ones(d, np.float32), table)


def measure(package: str, model: Path, prompt: int, decode: int, rounds: int) -> tuple[float, float, int]:
    """Prompt and decode rate, in tokens per second, and peak memory in bytes, in a process of its own."""
    script = MEASURE.format(package=package, rounds=rounds)
    command = [sys.executable, "-c", script, str(model), str(prompt), str(decode)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1]), int(out[2]) * (1 if sys.platform == "darwin" else 1024)


def measure_peer(command: str, model: Path, tokenizer: Path, steps: int) -> float:
    """The rate that another program prints of itself."""
    words = [word.format(model=model, tokenizer=tokenizer, steps=steps) for word in command.split()]
    done = subprocess.run(words, check=True, capture_output=True, text=True, errors="replace")
    return float(re.findall(r"tok/s:?\s*([0-9.]+)", done.stdout + done.stderr)[-1])


def rows(name: str, model: Path, args: argparse.Namespace, tokenizer: Path | None) -> None:
    size = model.stat().st_size
    reference = {"stories260K": (64, 64), "stories15M": (3, 2), "stories110M": (2, 1)}.get(name, (2, 1))
    best: dict[str, tuple[float, float, int]] = {}
    peer = 0.0
    for _ in range(args.rounds):  # in turns, so that a noisy minute hits everyone
        for package, (prompt, decode), rounds in (("llama2_fast", (256, STEPS), 3), ("llama2_ref", reference, 1)):
            if package == "llama2_fast" or package not in best:
                new = measure(package, model, min(prompt, args.prompt), decode, rounds)
                old = best.get(package, (0.0, 0.0, new[2]))
                best[package] = (max(new[0], old[0]), max(new[1], old[1]), new[2])
        if args.peer and tokenizer:
            peer = max(peer, measure_peer(args.peer, model, tokenizer, STEPS))
    for package, (prompt_rate, decode_rate, peak) in best.items():
        ratio = f"{decode_rate / peer:8.2f}" if peer else f"{'-':>8}"
        memory = f"{peak / 2**20:8.0f} {size / 2**20:8.0f}"
        print(f"{name:12} {package:12} {prompt_rate:10.1f} {decode_rate:10.1f} {ratio} {memory}")
    if peer:
        print(f"{name:12} {'peer':12} {'-':>10} {peer:10.1f} {1:8.2f}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=["stories15M", "stories110M"], choices=SHAPES)
    parser.add_argument("--prompt", type=int, default=256, metavar="T", help="tokens in the prompt")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the best of so many counts")
    parser.add_argument("--peer", metavar="COMMAND", help="with {model}, {tokenizer}, {steps}; must print tok/s")
    args = parser.parse_args()
    data = Path(os.environ.get("LLAMA2_DATA", "../shared/data"))
    print(
        f"{'model':12} {'package':12} {'prompt/s':>10} {'decode/s':>10} {'/ peer':>8} {'peak MiB':>8} {'file MiB':>8}"
    )
    if (data / "stories260K.bin").exists():
        rows("stories260K", data / "stories260K.bin", args, data / "tok512.bin")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.shapes:
            model = Path(folder) / f"{name}.bin"
            llama2_fast.write_checkpoint(model, SHAPES[name], random_weights(SHAPES[name], seed=0), version=0)
            rows(name, model, args, data / "tokenizer.bin")
            model.unlink()


if __name__ == "__main__":
    main()
