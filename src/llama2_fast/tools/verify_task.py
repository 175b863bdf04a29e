"""The work of `verify`: which weights, tokens and engines are checked, and everything that is found about them."""

import argparse
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llama2_ref.cli.arguments import UsageError, model_files
from llama2_ref.cli.input import read_prompt
from llama2_ref.cli.output import StatusLine
from llama2_ref.errors import Llama2Error, PromptError
from llama2_ref.model import BUNDLED, read_tokenizer
from llama2_ref.quantize import LARGEST_GROUP, check_quantizable
from llama2_ref.support.files import FilePath
from llama2_ref.tokenizer import BOS
from llama2_ref.transformer import check_tokens

from ..conformance.bits import BitIdentity
from ..conformance.buffers import Tell
from ..conformance.logits import Findings
from ..engines.choose import engine_works
from ..model import read_model
from ..quantize import quantize_weights
from ..tokenizer import Tokenizer
from ..transformer import Transformer
from ..weights import Weights
from .checks import check_bit_identity, check_bounds, prompt_length
from .machine import describe_machine
from .peer_logits import check_rows, compare_logits, read_logits, read_tokens
from .stored_weights import dtype_names, stored_matrices
from .verify_json import logits_report, row_report

ENGINES = ("numpy", "simd")
STEPS, MIN_STEPS = 80, 8  # tokens: more than the 64 queries, and the 16 positions, that engines take at once
CLOSED_WORK = 4 * 10**9  # weights times tokens times engines: some 20 seconds
LOOPS_WORK = 2**22  # the same for the loops on number objects: some 5 seconds


class VerifyTask:
    """What is asked for: a model, tokens, engines."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        checkpoint, self._tokenizer = model_files(args)
        self.path: FilePath = BUNDLED if checkpoint is None else checkpoint
        self._file = read_model(self.path)
        self.config, self._weights = self._file.config, self._file.weights
        self.engines, self.quantizations = _engines(args.backend), self._quantizations()
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

    def _quantizations(self) -> list[str]:
        """Which weights are checked: those of the file, and of the bundled model, which are int8, float32 ones too."""
        asked = self.args.quantize
        own = _own_quantization(self._weights)
        if asked in LARGEST_GROUP:
            check_quantizable(self._weights, asked)
        if asked is None and self.path == BUNDLED and self.args.logits is None:
            return list(dict.fromkeys((own, "float32")))
        return [own if asked in (None, "none") else asked]

    def _as(self, quantization: str) -> Weights:
        """The weights of a kind, made of those of the file if they are another."""
        if quantization in LARGEST_GROUP and quantization == self.args.quantize:
            return quantize_weights(self._weights, quantization)
        return quantize_weights(self._weights, quantization) if quantization == "float32" else self._weights

    def _given(self) -> list[int] | None:
        """The tokens that the user names, if any."""
        args = self.args
        if args.prompt is not None and args.tokens is not None:
            raise UsageError("the tokens can be named by -i or by --tokens (got both)")
        given = None
        if args.tokens is not None:
            given = read_tokens(args.tokens)
        elif args.prompt is not None:
            text = read_prompt(args) or ""
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
        work = _size(self._weights) * len(self.engines) * len(self.quantizations)
        return int(asked or min(room, max(MIN_STEPS, min(STEPS, CLOSED_WORK // work))))

    def _work(self) -> int:
        return _size(self._weights) * self.steps * len(self.engines) * len(self.quantizations)

    def _transformer(self, engine: str, weights: Weights, threads: int | None) -> Transformer:
        return Transformer(self.config, weights, threads=threads, backend=engine)

    def report(self) -> dict[str, Any]:
        """Run everything. Returns what JSON holds."""
        engines, logits = [], None
        with StatusLine() as status:
            for quantization in self.quantizations:
                weights = self._as(quantization)
                engines += [self._check(engine, quantization, weights, status) for engine in self.engines]
                if self.logits is not None:
                    logits = self._compare(self.logits, weights, status)
                del weights
        right = all(engine["right"] for engine in engines) and (logits is None or logits["right"])
        return {"right": right, **self._about(), "engines": engines, "logits": logits}

    def _about(self) -> dict[str, Any]:
        from .. import __version__

        versions = {"llama2_fast": __version__, "python": platform.python_version(), "numpy": np.__version__}
        model = {"name": Path(self.path).name, "text": self._file.describe(), "config": asdict(self.config)}
        settings = {
            "quantize": self.args.quantize,
            "threads": self.args.threads,
            "bounds": "loops" if self.loops else "closed",
        }
        tokens = {"ids": self.tokens, "given": min(len(self.given), self.steps), "prompt": prompt_length(self.steps)}
        return {
            "model": model, "settings": settings, "tokens": tokens, "machine": describe_machine(),
            "versions": versions, "blas": _blas(),
        }  # fmt: skip

    def _check(self, engine: str, quantization: str, weights: Weights, status: StatusLine) -> dict[str, Any]:
        """One engine, with weights of one kind."""
        name = engine if len(self.quantizations) == 1 else f"{engine}, {quantization}"
        transformer = self._transformer(engine, weights, self.args.threads)
        rows = check_bounds(transformer, weights, self.tokens, self.loops, _share_of(status, f"{name}: bounds"))
        bits: list[BitIdentity] = []
        if engine == "simd":

            def make(threads: int) -> Transformer:
                return self._transformer(engine, weights, threads)

            bits = check_bit_identity(transformer, make, self.tokens, _share_of(status, f"{name}: same bits"))
        return {
            "name": name,
            "engine": engine,
            "weights": quantization,
            "right": not any(row.wrong for row in rows) and not any(identity.broken for identity in bits),
            "rows": [row_report(row) for row in rows],
            "promises": [{"what": identity.what, **asdict(identity)} for identity in bits],
        }

    def _compare(self, logits: Any, weights: Weights, status: StatusLine) -> dict[str, Any]:
        """The other program's logits, beside those of the engine that would run the model."""
        engine = self.engines[-1]
        transformer = self._transformer(engine, weights, self.args.threads)
        findings = compare_logits(transformer, weights, self.given, logits, _share_of(status, "logits"))
        name = Path(self.args.logits).name
        return {
            "name": name,
            "engine": engine,
            "unused": self.unused,
            **logits_report(findings, self._pieces(findings)),
        }

    def _pieces(self, findings: Findings) -> dict[int, str]:
        """How the tokens read that matter, where there is a tokenizer."""
        try:
            vocabulary = self.vocabulary()
        except Llama2Error:
            return {}
        ids = {token for p in findings.positions for token in (p.likeliest, p.their_likeliest)} | set(self.given)
        return {token: vocabulary.token_text(token) for token in ids}


def _share_of(status: StatusLine, part: str) -> Tell:
    """What tells of one part of the work."""

    def tell(share: float) -> None:
        status.show(f"{part} [{'#' * int(40 * share):40}] {share:4.0%}")

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


def _size(weights: Weights) -> int:
    """How many numbers each token is multiplied by."""
    return sum(matrix.rows * matrix.cols for matrix in stored_matrices(weights))


def _own_quantization(weights: Weights) -> str:
    """What a file holds: "float32" or "int8", else "stored": whatever another program's does."""
    names = dtype_names(stored_matrices(weights))
    return names if names in ("float32", "int8") else "stored"


def _blas() -> str:
    """The BLAS that numpy was built with, as far as it knows."""
    try:
        known: Any = np.show_config(mode="dicts")
        blas = known["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError, ValueError):
        return "an unknown BLAS"
