"""The verb `verify`: does this program compute rightly on this machine, and how far is each kernel from its bound?

Both twins run the same tokens. Wherever the reference records a buffer, that of the engine is held to the bound of this
one step (`bounded`), so that what is wrong names its kernel. With `--logits`, another program is looked at, too.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from llama2_ref.cli.main import UsageError, _files, _prompt, _say
from llama2_ref.errors import Llama2Error, PromptError
from llama2_ref.model import BUNDLED, read_tokenizer
from llama2_ref.quantize import LARGEST_GROUP, LAYERED, check_quantizable
from llama2_ref.support.files import FilePath, write_whole
from llama2_ref.tokenizer import BOS
from llama2_ref.transformer import check_tokens

from ..conformance.bits import BitIdentity
from ..conformance.buffers import Row, Tell
from ..conformance.logits import Divergence, Findings, Position
from ..engines.choose import engine_works
from ..engines.threads import available_cores
from ..model import read_model
from ..quantize import quantize_weights
from ..tokenizer import Tokenizer
from ..transformer import Transformer
from ..weights import BFloat16Matrix, Int8Matrix, IntegerMatrix, Weights
from .bench import _check_outputs, _processor, _suffix
from .checks import check_bit_identity, check_bounds, prompt_length
from .peer_logits import check_rows, compare_logits, read_logits, read_tokens
from .report import plot, text

HELP = "prove that this program computes rightly here, or find what does not; compare with another program's logits"
EXAMPLES = """\
  {prog} verify stories15M.bin                          every buffer of every layer, beside its bound
  {prog} verify stories15M.bin --quantize int8 --plot errors.png --json errors.json
  {prog} verify stories15M.bin -i "One day" --logits mine.npy
"""
ENGINES = ("numpy", "simd")
STEPS, FEWEST = 80, 8  # tokens: more than the 64 queries, and the 16 positions, that engines take at once
CLOSED_WORK = 4 * 10**9  # weights times tokens times engines: some 20 seconds
LOOPS_WORK = 2**22  # the same for the loops on number objects: some 5 seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said behind `verify CHECKPOINT`."""
    add = parser.add_argument
    add("-z", "--tokenizer", metavar="FILE", help="default: the one beside the checkpoint; needed for -i only")
    add(
        "-i", "--prompt", metavar="TEXT", help="the first tokens; - reads it from standard input (default: random ones)"
    )
    add("--tokens", metavar="FILE", help="the first tokens, as ids: a .npy file of integers, or a text of numbers")
    steps = f"tokens that are checked, random ones after those given (default {STEPS}, fewer for large models)"
    add("-n", "--steps", type=int, metavar="N", help=steps)
    add("--backend", choices=(*ENGINES, "all"), default="all", help="default: all that can be used here")
    kinds = "make integers of float32 weights first, or float32 numbers of a version 2 file's integers"
    add("--quantize", choices=("none", *LARGEST_GROUP, "float32"), help=kinds)
    add("--threads", type=int, metavar="N", help="default: one on each core (BLAS has its own setting)")
    bounds = (
        "the reference's loops on numbers that carry their error, or the same as formulas (default: loops if quick)"
    )
    add("--bounds", choices=("auto", "loops", "closed"), default="auto", help=bounds)
    add("--all", action="store_true", help="every row of the tables, however many there are")
    logits = "logits of another program, of any width: (T, V) for the tokens of -i or --tokens, or (V,) for the last"
    add("--logits", metavar="FILE.npy", help=logits)
    add("--json", metavar="FILE", help="everything that was found; - is standard output, instead of the tables")
    add("--plot", metavar="FILE", help="a picture: error and bound over the layers (extra plot)")


def run(args: argparse.Namespace) -> int:
    """Check, and tell it: 1 if anything is wrong. Everything that can be refused is refused before."""
    for name in ("threads", "steps"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be at least 1 (got {number})")
    _check_outputs(args)
    task = _Task(args)
    report = task.report()
    if args.json == "-":
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(text(report, args.all)))
    if args.json not in (None, "-"):
        write_whole(args.json, [json.dumps(report, indent=2).encode() + b"\n"])
    if args.plot is not None:
        write_whole(args.plot, [plot(report, _suffix(args.plot))])
    return 0 if report["right"] else 1


# ----------------------------------------------------------------------------------------------------------------- work


class _Task:
    """What is asked for: a model, tokens, engines."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        checkpoint, self._tokenizer = _files(args)
        self.path: FilePath = BUNDLED if checkpoint is None else checkpoint
        self._file = read_model(self.path)
        self.config, self._weights = self._file.config, self._file.weights
        self.engines, self.kinds = _engines(args.backend), self._kinds()
        given = self._given()
        self.logits = None if args.logits is None else read_logits(args.logits, self.config.vocab_size)
        if self.logits is not None:
            if given is None:
                raise UsageError("--logits needs the tokens that they belong to: -i TEXT, or --tokens FILE")
            where = "of -i" if args.tokens is None else f"of {args.tokens}"
            self.unused = check_rows(args.logits, self.logits, given, where)
        self.given = given or []
        self.steps = self._steps()
        self.tokens = _continued(self.given, self.config.vocab_size, self.steps)
        self.loops = args.bounds == "loops" or (args.bounds == "auto" and self._work() <= LOOPS_WORK)

    def _kinds(self) -> list[str]:
        """Which weights are checked: those of the file, and of the bundled model, which are int8, float32 ones too."""
        asked = self.args.quantize
        own = _kind(self._weights)
        if asked in LARGEST_GROUP:
            check_quantizable(self._weights, asked)
        if asked is None and self.path == BUNDLED and self.args.logits is None:
            return list(dict.fromkeys((own, "float32")))
        return [own if asked in (None, "none") else asked]

    def _as(self, kind: str) -> Weights:
        """The weights of a kind, made of those of the file if they are another."""
        if kind in LARGEST_GROUP and kind == self.args.quantize:
            return quantize_weights(self._weights, kind)
        return quantize_weights(self._weights, kind) if kind == "float32" else self._weights

    def _given(self) -> list[int] | None:
        """The tokens that the user names, if any."""
        args = self.args
        if args.prompt is not None and args.tokens is not None:
            raise UsageError("the tokens can be named by -i or by --tokens (got both)")
        given = None
        if args.tokens is not None:
            given = read_tokens(args.tokens)
        elif args.prompt is not None:
            text = _prompt(args) or ""
            given = self.vocabulary().encode(text)
        if given is not None:
            check_tokens(self.config, given, 0)
        return given

    def vocabulary(self) -> Any:
        """The tokenizer of the model."""
        return read_tokenizer(self._file, self._tokenizer, Tokenizer)

    def _steps(self) -> int:
        asked, room = self.args.steps, self.config.seq_len
        if asked is not None and asked > room:
            raise PromptError(f"--steps must be at most {room}, the context of this model (got {asked})")
        each = _size(self._weights) * len(self.engines) * len(self.kinds)
        return int(asked or min(room, max(FEWEST, min(STEPS, CLOSED_WORK // each))))

    def _work(self) -> int:
        return _size(self._weights) * self.steps * len(self.engines) * len(self.kinds)

    def _transformer(self, engine: str, weights: Weights, threads: int | None) -> Transformer:
        return Transformer(self.config, weights, threads=threads, backend=engine)

    def report(self) -> dict[str, Any]:
        """Run everything. Returns what JSON holds."""
        engines, logits = [], None
        with _Progress() as progress:
            for kind in self.kinds:
                weights = self._as(kind)
                engines += [self._check(engine, kind, weights, progress) for engine in self.engines]
                if self.logits is not None:
                    logits = self._compare(self.logits, weights, progress)
                del weights
        right = all(engine["right"] for engine in engines) and (logits is None or logits["right"])
        return {"right": right, **self._about(), "engines": engines, "logits": logits}

    def _about(self) -> dict[str, Any]:
        from .. import __version__

        machine = {"system": platform.platform(), "processor": _processor(), "cores": available_cores()}
        versions = {"llama2_fast": __version__, "python": platform.python_version(), "numpy": np.__version__}
        model = {"name": Path(self.path).name, "text": self._file.describe(), "config": asdict(self.config)}
        settings = {
            "quantize": self.args.quantize,
            "threads": self.args.threads,
            "bounds": "loops" if self.loops else "closed",
        }
        tokens = {"ids": self.tokens, "given": min(len(self.given), self.steps), "prompt": prompt_length(self.steps)}
        return {
            "model": model, "settings": settings, "tokens": tokens, "machine": machine, "versions": versions,
            "blas": _blas(),
        }  # fmt: skip

    def _check(self, engine: str, kind: str, weights: Weights, progress: "_Progress") -> dict[str, Any]:
        """One engine, with weights of one kind."""
        name = engine if len(self.kinds) == 1 else f"{engine}, {kind}"
        transformer = self._transformer(engine, weights, self.args.threads)
        rows = check_bounds(transformer, weights, self.tokens, self.loops, progress.part(f"{name}: bounds"))
        bits: list[BitIdentity] = []
        if engine == "simd":

            def make(threads: int) -> Transformer:
                return self._transformer(engine, weights, threads)

            bits = check_bit_identity(transformer, make, self.tokens, progress.part(f"{name}: same bits"))
        return {
            "name": name,
            "engine": engine,
            "weights": kind,
            "right": not any(row.wrong for row in rows) and not any(each.broken for each in bits),
            "rows": [_row(row) for row in rows],
            "promises": [{"what": each.what, **asdict(each)} for each in bits],
        }

    def _compare(self, logits: Any, weights: Weights, progress: "_Progress") -> dict[str, Any]:
        """The other program's logits, beside those of the engine that would run the model."""
        engine = self.engines[-1]
        transformer = self._transformer(engine, weights, self.args.threads)
        found = compare_logits(transformer, weights, self.given, logits, progress.part("logits"))
        name = Path(self.args.logits).name
        return {"name": name, "engine": engine, "unused": self.unused, **_logits_report(found, self._pieces(found))}

    def _pieces(self, found: Findings) -> dict[int, str]:
        """How the tokens read that matter, where there is a tokenizer."""
        try:
            vocabulary = self.vocabulary()
        except Llama2Error:
            return {}
        ids = {token for p in found.positions for token in (p.likeliest, p.their_likeliest)} | set(self.given)
        return {token: vocabulary.token_text(token) for token in ids}


class _Progress:
    """A line of a terminal that tells how much is done, and is gone afterwards."""

    def __init__(self) -> None:
        self._shown = ""
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            _say(" " * 78, end="\r")

    def part(self, what: str) -> Tell:
        """What tells of one part of the work."""

        def tell(share: float) -> None:
            if not self._terminal:
                return
            line = f"{what} [{'#' * int(40 * share):40}] {share:4.0%}"
            if line != self._shown:
                _say(f"{line[:78]:78}", end="\r")
                self._shown = line

        tell(0.0)
        return tell


def _engines(asked: str) -> list[str]:
    """The engines that can be used here; the one that is asked for, or what is the matter with it."""
    if asked == "numpy":
        return ["numpy"]
    works = engine_works(required=asked == "simd")
    return ["simd"] if asked == "simd" else list(ENGINES if works else ENGINES[:1])


def _continued(given: Sequence[int], vocab_size: int, count: int) -> list[int]:
    """The first tokens, then random ones: the same on every machine, so that its results can be compared."""
    first = list(given) or [BOS] * (vocab_size > BOS)
    more = np.random.default_rng(0).integers(0, vocab_size, max(0, count - len(first)))
    return [*first, *more.tolist()][:count]


def _matrices(weights: Weights) -> list[Any]:
    """The matrices that each token is multiplied by."""
    return [*(matrix for name in LAYERED for matrix in getattr(weights, name)), weights.wcls]


def _size(weights: Weights) -> int:
    """How many numbers there are in them."""
    return sum(int(np.prod(np.shape(m.q if isinstance(m, IntegerMatrix) else m))) for m in _matrices(weights))


def _kind(weights: Weights) -> str:
    """What a file holds: "float32" or "int8", else "stored": whatever another program's does."""
    kinds = {type(matrix) if isinstance(matrix, IntegerMatrix) else _dtype(matrix) for matrix in _matrices(weights)}
    known = {np.dtype(np.float32): "float32", Int8Matrix: "int8"}
    return known.get(kinds.pop(), "stored") if len(kinds) == 1 else "stored"


def _dtype(matrix: Any) -> Any:
    return BFloat16Matrix if isinstance(matrix, BFloat16Matrix) else matrix.dtype


def _blas() -> str:
    """The BLAS that numpy was built with, as far as it knows."""
    try:
        known: Any = np.show_config(mode="dicts")
        blas = known["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError, ValueError):
        return "an unknown BLAS"


# --------------------------------------------------------------------------------------------------------------- report


def _number(x: float) -> float | None:
    """A number as JSON has it: there is none for infinity and NaN."""
    return float(x) if isfinite(x) else None


def _row(row: Row) -> dict[str, Any]:
    worst = row.worst
    found: dict[str, Any] = {"layer": row.layer, "buffer": row.name, "kernel": row.kernel}
    for name in ("distance", "bound", "ratio", "got", "value"):
        found[name] = None if worst is None else _number(getattr(worst, name))
    found |= {"token": row.token, "index": worst.index[0]} if worst else {"token": None, "index": None}
    return found | {"numbers": row.numbers, "wrong": row.wrong}


def _logits_report(found: Findings, pieces: dict[int, str]) -> dict[str, Any]:
    worst, divergences = found.worst, found.divergences
    unexplained = [each for each in divergences if not each.explained]
    report: dict[str, Any] = {
        "right": not unexplained,
        "distance": _number(worst.theirs), "position": worst.position, "index": worst.index, "ours": found.ours,
        "rise": None, "parted": len(divergences), "unexplained": len(unexplained),
        "first": _divergence(divergences), "first_unexplained": _divergence(unexplained),
        "enough": [p.position for p in found.positions if p.could_diverge], "hints": found.hints,
        "pieces": {str(token): piece for token, piece in pieces.items()},
        "positions": [_plain(p) | {"times": _number(p.times)} for p in found.positions],
    }  # fmt: skip
    if found.rise is not None:
        position, before = found.rise
        report["rise"] = {"position": position.position, "before": before, "times": _number(position.times)}
    return report


def _divergence(divergences: Sequence[Divergence]) -> dict[str, Any] | None:
    """The first of them."""
    if not divergences:
        return None
    first = divergences[0]
    return _plain(first) | {"allowed": first.allowed, "explained": first.explained}


def _plain(found: Position | Divergence) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in asdict(found).items()}
