"""The rounds of `bench`: every configuration in a process of its own, in turns with other programs."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any

from llama2_ref.cli.output import StatusLine

from ..engines.choose import installed
from .bench_models import BenchError, BenchModel, prepare_files, temporary_folder
from .bench_peers import Peer, how_it_ended, run_peer
from .bench_worker import Job
from .stored_weights import bytes_per_token

READ_BYTES = 2**29
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class Result:
    """One configuration, or one peer, and what each round found."""

    program: str
    backend: str | None
    weights: str
    bytes_per_token: float | None
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def best(self, name: str) -> Any:
        """The best of the rounds: the highest rate, the shortest time, the most memory. None where there is none."""
        known = self._known(name)
        return (min if name in ("load", "first_token") else max)(known) if known else None

    def median(self, name: str) -> Any:
        """The median of the rounds."""
        known = self._known(name)
        return median(known) if known else None

    def _known(self, name: str) -> list[Any]:
        return [measurement[name] for measurement in self.rounds if measurement.get(name) is not None]

    def limit(self, bandwidth: float | None) -> float | None:
        """Tokens per second at which the weights alone take the whole bandwidth."""
        return bandwidth / self.bytes_per_token if bandwidth and self.bytes_per_token else None


Turn = tuple[str, Result, Callable[[], dict[str, Any]]]  # a name, what it belongs to, and one measurement


def measure_model(
    model: BenchModel, quantizations: Sequence[str | None], peers: Sequence[Peer], args: argparse.Namespace
) -> list[Result]:
    """All configurations of a model, and the peers, in turns."""
    engines = (["numpy", "simd"] if installed() else ["numpy"]) if args.backend == "all" else [args.backend]
    with temporary_folder() as folder:
        peers = prepare_files(model, quantizations, peers, folder)
        theirs = {peer: Result(peer.name, None, *_peer_weights(peer, model)) for peer in peers}
        ours = {
            (engine, quantization): Result("llama2_fast", engine, "", None)
            for quantization in quantizations
            for engine in engines
        }
        turns: list[Turn] = []
        for peer, result in theirs.items():  # they come first: what is wrong with them is known at once
            turns.append((peer.name, result, partial(_run_peer, peer, model, args)))
        for (engine, quantization), result in ours.items():
            turns.append(
                (
                    f"{engine or 'auto'} {quantization or ''}",
                    result,
                    partial(_run_ours, model, engine, quantization, args),
                )
            )
        _take_turns(model, turns, args.rounds)
    for (_, quantization), result in ours.items():
        result.backend = result.rounds[0]["backend"]
        result.weights = model.weights(quantization)
        result.bytes_per_token = bytes_per_token(model.matrices_as(quantization), result.backend == "simd")
    return [*ours.values(), *theirs.values()]


def _take_turns(model: BenchModel, turns: Sequence[Turn], rounds: int) -> None:
    """Measure everything once, and again. A line of a terminal tells what is measured now."""
    with StatusLine() as status:
        for number in range(rounds):
            for name, result, measure in turns:
                status.show(f"round {number + 1} of {rounds}: {model.name}, {name}")
                result.rounds.append(measure())


def _run_ours(
    model: BenchModel, engine: str | None, quantization: str | None, args: argparse.Namespace
) -> dict[str, Any]:
    """One measurement of one configuration."""
    from_file = "model" in model.files and (model.shape is None or quantization is None or model.is_small)
    checkpoint = str(model.files["model"]) if from_file else None
    prompt, steps = lengths(model, args)
    job = Job(checkpoint, model.shape, quantization, engine, args.threads, prompt, steps, READ_BYTES, time.time())
    command = [sys.executable, "-m", f"{__package__}.bench_worker", json.dumps(asdict(job))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment(args))
    try:
        measurement: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        measurement = {"error": f"the process ended {how_it_ended(done)}"}
    if "error" in measurement:
        raise BenchError(f"{model.name}, {model.weights(quantization)}, {engine or 'auto'}: {measurement['error']}")
    return measurement


def _run_peer(peer: Peer, model: BenchModel, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement of another program."""
    values = {**{name: str(path) for name, path in model.files.items()}, "steps": str(lengths(model, args)[1])}
    return {"decode_rate": run_peer(peer, values, _environment(args))}


def lengths(model: BenchModel, args: argparse.Namespace) -> tuple[int, int]:
    """Tokens of the prompt, and of what is decoded: no more than the context holds."""
    return min(args.prompt, model.config.seq_len), min(args.steps, model.config.seq_len)


def _environment(args: argparse.Namespace) -> dict[str, str]:
    """The environment, in which libraries with threads of their own find how many they may have."""
    return dict(os.environ) | ({name: str(args.threads) for name in THREAD_VARIABLES} if args.threads else {})


def _peer_weights(peer: Peer, model: BenchModel) -> tuple[str, float | None]:
    """What a peer is given, and the bytes that it reads for a token: not known if it has a file of its own."""
    if peer.takes("int8"):
        return "int8", bytes_per_token(model.int8_matrices, True)
    if peer.takes("model"):
        return model.weights(None), bytes_per_token(model.matrices, True)
    return "?", None
