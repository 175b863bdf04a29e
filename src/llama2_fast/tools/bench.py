"""The verb `bench`: how fast models run on this machine, and how much of what its memory allows that is.

Every configuration is measured in a process of its own, several rounds of them, in turns with other programs, so that a
noisy minute hits everybody.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from llama2_ref.cli.main import UsageError, _files, _say, _say_progress
from llama2_ref.errors import Llama2Error, MissingExtraError
from llama2_ref.formats.llama2c import map_checkpoint
from llama2_ref.formats.llama2c_header import Header, default_group_size
from llama2_ref.model import BUNDLED, find_tokenizer
from llama2_ref.quantize import LAYERED, matrix_group_size
from llama2_ref.support.files import is_special, write_whole

from ..engines.choose import BACKENDS, engine_works, installed
from ..engines.threads import available_cores
from ..matrices.files import read_checkpoint, write_checkpoint
from .bench_worker import Job
from .random_models import SHAPES, random_vocabulary, shape_header, write_random

HELP = "measure how fast models run here, next to other programs if you like"
EXAMPLES = """\
  {prog} bench stories15M.bin --backend all             both engines
  {prog} bench --shape 7B --quantize int4               random weights of a size
  {prog} bench --shape stories110M --quantize all --json rates.json --plot rates.png
  {prog} bench stories15M.bin --peer 'llama2.c=./run {{model}} -z {{tokenizer}} -t 0 -n {{steps}}'
"""
KINDS = ("none", "int8", "int4")
PROMPT, STEPS, ROUNDS = 256, 128, 3
READ_BYTES = 2**29
LARGEST_FILE = 2**31  # bytes of float32 weights that are written only to be quantized; larger ones are made in memory
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
NUMBER, UNIT = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", r"(?:tok(?:en)?s? ?/ ?s(?:ec(?:ond)?)?|tok(?:en)?s per second)"
RATE = re.compile(rf"{NUMBER}[ \t]*{UNIT}|{UNIT}[ \t]*[:=]?[ \t]*{NUMBER}", re.IGNORECASE)


class BenchError(Llama2Error):
    """Something can't be measured, or what was measured can't be written."""


@dataclass(frozen=True)
class Peer:
    """Another program, and how to start it."""

    name: str
    words: tuple[str, ...]

    def takes(self, what: str) -> bool:
        """Does the command hold {what}?"""
        return any(f"{{{what}}}" in word for word in self.words)


@dataclass
class Model:
    """What is measured: a checkpoint, or a shape, of which the files are there that are needed."""

    name: str
    header: Header
    shape: str | None = None
    files: dict[str, Path] = field(default_factory=dict)  # what stands for {model}, {int8} and {tokenizer}


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
        return [found[name] for found in self.rounds if found.get(name) is not None]

    def limit(self, bandwidth: float | None) -> float | None:
        """Tokens per second at which the weights alone take the whole bandwidth."""
        return bandwidth / self.bytes_per_token if bandwidth and self.bytes_per_token else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said behind `bench CHECKPOINT`."""
    shapes = f"random weights of a size, one of {', '.join(SHAPES)}; may be repeated"
    add = parser.add_argument
    add("--shape", action="append", default=[], choices=SHAPES, metavar="NAME", help=shapes)
    add("-z", "--tokenizer", metavar="FILE", help="for peers; default: the one beside the checkpoint, or a made-up one")
    add("--backend", choices=(*BACKENDS, "all"), help="default: simd where numba is installed, else numpy")
    kinds = "integers made of float32 weights; may be repeated (default none)"
    add("--quantize", action="append", choices=(*KINDS, "all"), help=kinds)
    add("--threads", type=int, metavar="N", help="also for BLAS, and for peers with OpenMP (default: all cores)")
    add("--prompt", type=int, default=PROMPT, metavar="N", help=f"tokens of the prompt (default {PROMPT})")
    steps = f"tokens decoded, from an empty cache (default {STEPS})"
    add("-n", "--steps", type=int, default=STEPS, metavar="N", help=steps)
    add("--rounds", type=int, default=ROUNDS, metavar="N", help=f"the best of so many counts (default {ROUNDS})")
    peer = "a program that prints tok/s, with {model}, {int8} (a version 2 file), {tokenizer}, {steps}; may be repeated"
    add("--peer", action="append", default=[], metavar="NAME=COMMAND", help=peer)
    add("--json", metavar="FILE", help="everything that was measured; - is standard output, instead of the table")
    add("--plot", metavar="FILE", help="a picture: decode rates, and what memory allows (extra plot)")


def run(args: argparse.Namespace) -> None:
    """Measure, and tell it: everything that can be refused is refused before."""
    for name in ("threads", "prompt", "steps", "rounds"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be at least 1 (got {number})")
    peers = [_peer(text) for text in args.peer]
    if len({peer.name for peer in peers}) < len(peers):
        raise UsageError(f"peers must have different names (got {', '.join(peer.name for peer in peers)})")
    _check_outputs(args)
    engine_works(required=args.backend == "simd")  # compiled now, lest it count as load time
    models = list(_models(args))
    kinds = [_kinds(args, model) for model in models]
    tables = []
    for model, some in zip(models, kinds, strict=True):
        tables.append((model, _measure_model(model, some, peers, args)))
    report = _report(tables, args)
    if args.json == "-":
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_table(report)))
    if args.json not in (None, "-"):
        write_whole(args.json, [json.dumps(report, indent=2).encode() + b"\n"])
    if args.plot is not None:
        write_whole(args.plot, [_plot(report, args.plot)])


# ------------------------------------------------------------------------------------------------------------ arguments


def _peer(text: str) -> Peer:
    name, equals, command = text.partition("=")
    try:
        words = tuple(shlex.split(command, posix=os.name == "posix"))
    except ValueError as error:  # a quotation that does not end
        raise UsageError(f"--peer {name}: the command can't be understood ({error})") from None
    if not (name and equals and words):
        raise UsageError(f"--peer must be NAME=COMMAND (got {text!r})")
    if shutil.which(words[0]) is None:
        raise BenchError(f"peer {name}: there is no program {words[0]!r}")
    return Peer(name, words)


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise what writing the files would raise: it would be a pity to learn it after everything is measured."""
    for path in (None if args.json == "-" else args.json, args.plot):
        if path is not None and (is_special(path) or not os.access(Path(os.path.realpath(path)).parent, os.W_OK)):
            raise BenchError(f"{path}: must be a regular file in a folder that can be written (this is none)")
    if args.plot is None:
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        rule = "matplotlib must be installed for --plot"
        raise MissingExtraError(f"{rule}: pip install 'llama2-twins[plot]', or leave it out") from None
    known = Figure().canvas.get_supported_filetypes()
    if _suffix(args.plot) not in known:
        raise UsageError(f"--plot must end in one of {', '.join(sorted(known))} (got {args.plot})")


def _suffix(path: str) -> str:
    return Path(path).suffix[1:].lower() or "png"


def _models(args: argparse.Namespace) -> Iterator[Model]:
    checkpoint, tokenizer = _files(args)
    own = {} if tokenizer is None else {"tokenizer": Path(tokenizer).absolute()}
    if checkpoint is not None or not args.shape:
        path = Path(BUNDLED if checkpoint is None else checkpoint)
        yield Model(path.name, map_checkpoint(path)[0], None, {"model": path.absolute(), **own})
    for name in args.shape:
        yield Model(name, shape_header(name, 0), name, dict(own))


def _kinds(args: argparse.Namespace, model: Model) -> list[str | None]:
    asked = [kind for each in args.quantize or ["none"] for kind in (KINDS if each == "all" else [each])]
    kinds = [None if kind == "none" else kind for kind in dict.fromkeys(asked)]
    if model.header.version != 2:
        return kinds
    if "all" not in (args.quantize or []) and kinds != [None]:
        raise UsageError(f"{model.name}: weights must be float32 to be quantized (they are int8 already)")
    return [None]


# -------------------------------------------------------------------------------------------------------------- measure


def _measure_model(
    model: Model, kinds: Sequence[str | None], peers: Sequence[Peer], args: argparse.Namespace
) -> list[Result]:
    """All configurations of a model, and the peers, in turns."""
    engines = (["numpy", "simd"] if installed() else ["numpy"]) if args.backend == "all" else [args.backend]
    with _folder() as folder:
        peers = _prepare_files(model, kinds, peers, folder)
        theirs = {peer: Result(peer.name, None, *_peer_weights(peer, model)) for peer in peers}
        ours = {(engine, kind): Result("llama2_fast", engine, "", None) for kind in kinds for engine in engines}
        turns: list[tuple[str, Result, Callable[[], dict[str, Any]]]] = []
        for peer, result in theirs.items():  # they come first: what is wrong with them is known at once
            turns.append((peer.name, result, partial(_run_peer, peer, model, args)))
        for (engine, kind), result in ours.items():
            turns.append((f"{engine or 'auto'} {kind or ''}", result, partial(_run_ours, model, engine, kind, args)))
        _take_turns(model, turns, args.rounds)
    for (_, kind), result in ours.items():
        result.backend = result.rounds[0]["backend"]
        result.weights = _weights(model.header, kind)
        result.bytes_per_token = bytes_per_token(model.header, kind, result.backend == "simd")
    return [*ours.values(), *theirs.values()]


def _take_turns(model: Model, turns: Sequence[tuple[str, Result, Callable[[], dict[str, Any]]]], rounds: int) -> None:
    """Measure everything once, and again. A line of a terminal tells what is measured now."""
    show = sys.stderr is not None and sys.stderr.isatty()
    try:
        for number in range(rounds):
            for name, result, measure in turns:
                if show:
                    _say(f"{f'round {number + 1} of {rounds}: {model.name}, {name}'[:78]:78}", end="\r")
                result.rounds.append(measure())
    finally:
        if show:
            _say(" " * 78, end="\r")


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for large files, which is gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="llama2-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BenchError(f"a temporary folder must be writable ({error.strerror}): set TMPDIR") from None
    with folder as name:
        yield Path(name)


def _prepare_files(model: Model, kinds: Sequence[str | None], peers: Sequence[Peer], folder: Path) -> Sequence[Peer]:
    """Write what is missing of the files. Returns the peers that have all they need: the others are told of."""
    if model.shape is not None and (None in kinds or _small(model)):
        model.files["model"] = _write(folder / "model.bin", model.header.file_bytes(), _random(model, 0))
    useful = []
    for peer in peers:
        try:
            _prepare_for(peer, model, folder)
            useful.append(peer)
        except BenchError as error:
            _say(f"note: {model.name} is measured without peer {peer.name}: {error}")
    return useful


def _prepare_for(peer: Peer, model: Model, folder: Path) -> None:
    if peer.takes("model") and "model" not in model.files:
        model.files["model"] = _write(folder / "model.bin", model.header.file_bytes(), _random(model, 0))
    if peer.takes("int8") and "int8" not in model.files:
        if model.header.version == 2:
            model.files["int8"] = model.files["model"]
        else:
            model.files["int8"] = _write(folder / "int8.bin", _int8_header(model).file_bytes(), _int8(model))
    if peer.takes("tokenizer") and "tokenizer" not in model.files:
        if model.shape is None:
            found = find_tokenizer(model.files["model"], model.header.config.vocab_size)
        else:
            found = folder / "tokenizer.bin"
            write_whole(found, [random_vocabulary(model.header.config.vocab_size)])
        model.files["tokenizer"] = found


def _write(path: Path, size: int, write: Callable[[Path], None]) -> Path:
    """Write a large file, if there is room for it."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        rule = f"a temporary file in {path.parent.parent} needs {size:,} bytes"
        raise BenchError(f"{rule} (got {free:,}): set TMPDIR to a larger disk, or leave it out")
    write(path)
    return path


def _random(model: Model, version: int) -> Callable[[Path], None]:
    return lambda path: write_random(path, shape_header(str(model.shape), version), _say_progress)


def _int8(model: Model) -> Callable[[Path], None]:
    """The same model as a file of version 2."""
    if model.shape is not None:
        return _random(model, 2)

    def write(path: Path) -> None:
        write_checkpoint(path, *read_checkpoint(model.files["model"]), version=2, progress=_say_progress)

    return write


def _int8_header(model: Model) -> Header:
    h = model.header
    return h if h.version == 2 else Header(2, h.config, h.shared_classifier, default_group_size(h.config))


def _run_ours(model: Model, engine: str | None, kind: str | None, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement of one configuration."""
    from_file = "model" in model.files and (model.shape is None or kind is None or _small(model))
    checkpoint = str(model.files["model"]) if from_file else None
    prompt, steps = _lengths(model, args)
    job = Job(checkpoint, model.shape, kind, engine, args.threads, prompt, steps, READ_BYTES, time.time())
    words = [sys.executable, "-m", f"{__package__}.bench_worker", json.dumps(asdict(job))]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment(args))
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"error": f"the process ended {_end(done)}"}
    if "error" in found:
        raise BenchError(f"{model.name}, {_weights(model.header, kind)}, {engine or 'auto'}: {found['error']}")
    return found


def _small(model: Model) -> bool:
    return model.header.file_bytes() <= LARGEST_FILE


def _lengths(model: Model, args: argparse.Namespace) -> tuple[int, int]:
    """Tokens of the prompt, and of what is decoded: no more than the context holds."""
    return min(args.prompt, model.header.config.seq_len), min(args.steps, model.header.config.seq_len)


def _environment(args: argparse.Namespace) -> dict[str, str]:
    """The environment, in which libraries with threads of their own find how many they may have."""
    return dict(os.environ) | ({name: str(args.threads) for name in THREAD_VARIABLES} if args.threads else {})


def _run_peer(peer: Peer, model: Model, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement of another program: the last rate that it prints of itself."""
    values = {**{name: str(path) for name, path in model.files.items()}, "steps": str(_lengths(model, args)[1])}
    words = [re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), word) for word in peer.words]
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "env": _environment(args)}
    try:
        done = subprocess.run(words, check=False, **options)
    except OSError as error:
        raise BenchError(f"peer {peer.name} can't be started ({error.strerror})") from None
    if done.returncode:
        raise BenchError(f"peer {peer.name} ended {_end(done)}")
    rate = find_rate((done.stdout + b"\n" + done.stderr).decode(errors="replace"))
    if not rate:
        raise BenchError(f"peer {peer.name} must print a rate, such as 'tok/s: 66.1' or '66.1 tokens per second'")
    return {"decode_rate": rate}


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    """How a process ended, and the last that it said."""
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with exit code {done.returncode}"
    return f"{how} ({said[-1][:200]})" if said else how


def find_rate(text: str) -> float | None:
    """The last rate in a text: "tok/s: 66.1", "66.1 tok/s", "66.1 tokens per second"."""
    found = RATE.findall(text)
    return float(found[-1][0] or found[-1][1]) if found else None


# --------------------------------------------------------------------------------------------------------------- report


def bytes_per_token(header: Header, kind: str | None, packed: bool) -> float:
    """Bytes of weights that one decoded token reads: all matrices of the layers, and the classifier.

    float32 takes 4 bytes, int8 1 and 4 for the scale of a group, int4 1/2 and 2 (numpy: 1 and 4). The cache, norms and
    one row of the embedding are left out: they are small next to that.
    """
    c, total = header.config, 0.0
    shapes = {**header.shapes(), "wcls": (1, c.vocab_size, c.dim)}
    for name in (*LAYERED, "wcls"):
        copies, rows, cols = shapes[name]
        group = matrix_group_size(cols, kind) if kind else header.group_size
        if not group or cols % group:  # a group of a file that spans rows: its numbers are expanded when they are read
            each = 4.0
        elif kind == "int4" and packed:
            each = 0.5 + 2 / group
        else:
            each = 1 + 4 / group
        total += copies * rows * cols * each
    return total


def _weights(header: Header, kind: str | None) -> str:
    return kind or ("int8" if header.version == 2 else "float32")


def _peer_weights(peer: Peer, model: Model) -> tuple[str, float | None]:
    """What a peer is given, and the bytes that it reads for a token: not known if it has a file of its own."""
    if peer.takes("int8"):
        return "int8", bytes_per_token(_int8_header(model), None, True)
    if peer.takes("model"):
        return _weights(model.header, None), bytes_per_token(model.header, None, True)
    return "?", None


def _report(tables: Sequence[tuple[Model, list[Result]]], args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was measured, as JSON holds it."""
    from .. import __version__

    machine = {"system": platform.platform(), "processor": _processor(), "cores": available_cores()}
    settings = {name: getattr(args, name) for name in ("prompt", "steps", "rounds", "threads")}
    models = [_model_report(model, results, args) for model, results in tables]
    return {"version": __version__, "machine": machine, "settings": settings, "models": models}


def _processor() -> str:
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _model_report(model: Model, results: list[Result], args: argparse.Namespace) -> dict[str, Any]:
    bandwidth = max((r.best("bandwidth") for r in results if r.best("bandwidth")), default=None)
    rates = {r.program: r.best("decode_rate") for r in results if r.backend is None}
    prompt, steps = _lengths(model, args)
    known = {"name": model.name, "config": vars(model.header.config), "prompt": prompt, "steps": steps}
    return known | {"results": [_result_report(result, bandwidth, rates) for result in results]}


def _result_report(result: Result, bandwidth: float | None, peers: dict[str, float]) -> dict[str, Any]:
    """A result's own bandwidth is that of its processes; peers are held to the best that was seen."""
    bandwidth, rate = result.best("bandwidth") or bandwidth, result.best("decode_rate")
    limit = result.limit(bandwidth)
    first = result.rounds[0]
    found: dict[str, Any] = {"program": result.program, "backend": result.backend, "weights": result.weights}
    found |= {"threads": first.get("threads"), "bandwidth_by": first.get("bandwidth_by")}
    for name in ("load", "first_token", "prompt_rate", "decode_rate"):
        found[name] = {"best": result.best(name), "median": result.median(name)}
    found |= {"peak_bytes": result.best("peak_bytes"), "bytes_per_token": result.bytes_per_token}
    found |= {"bandwidth": bandwidth, "limit": limit, "share": rate / limit if limit else None}
    return found | {"ratios": {name: rate / other for name, other in peers.items() if name != result.program}}


def _table(report: dict[str, Any]) -> list[str]:
    """The report for reading, and below it what the columns mean."""
    peers = [r["program"] for m in report["models"] for r in m["results"] if r["backend"] is None]
    peers = list(dict.fromkeys(peers))
    head = ["model", "program", "weights", "load", "first token", "prompt tok/s", "decode tok/s", "median"]
    rows = [[*head, "of read bandwidth", "peak memory", *(f"/ {peer}" for peer in peers)]]
    for model in report["models"]:
        for r in model["results"]:
            ratios = [_shown(r["ratios"].get(peer), "{:.2f}") for peer in peers]
            rows.append([model["name"], r["backend"] or r["program"], r["weights"], *_cells(r), *ratios])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{{:{'<' if column < 3 else '>'}{width}}}" for column, width in enumerate(widths)]
    lines = ["  ".join(form.format(cell) for form, cell in zip(forms, row, strict=True)).rstrip() for row in rows]
    return [*lines, "", *_legend(report)]


def _cells(r: dict[str, Any]) -> Iterator[str]:
    for name, form in (("load", "{:.2f} s"), ("first_token", "{:.2f} s"), ("prompt_rate", "{:.1f}")):
        yield _shown(r[name]["best"], form)
    yield _shown(r["decode_rate"]["best"], "{:.1f}")
    yield _shown(r["decode_rate"]["median"], "{:.1f}")
    yield "-" if r["share"] is None else f"{r['share']:.0%} of {r['bandwidth'] / 1e9:.1f} GB/s"
    yield _shown(r["peak_bytes"] and r["peak_bytes"] / 2**20, "{:.0f} MiB")


def _shown(number: float | None, form: str) -> str:
    return "-" if number is None else form.format(number)


def _legend(report: dict[str, Any]) -> Iterator[str]:
    s, own = report["settings"], [r for m in report["models"] for r in m["results"] if r["backend"]]
    lengths = dict.fromkeys(f"a prompt of {m['prompt']}; {m['steps']} tokens decoded" for m in report["models"])
    threads = dict.fromkeys(str(r["threads"]) for r in own)
    by = dict.fromkeys(r["bandwidth_by"] for r in own)
    yield f"{report['machine']['processor']}, {report['machine']['cores']} cores, threads: {', '.join(threads)}"
    rounds = "one round" if s["rounds"] == 1 else f"best of {s['rounds']} rounds"
    yield f"{rounds}; {', or '.join(lengths)} from an empty cache"
    yield "first token: from the start of the program, Python and the prompt included; load: file to model"
    yield f"bandwidth: what the same threads read from memory in the same process, by {', '.join(by)}"
    yield "share of it: a token reads all matrices (the key/value cache is not counted); small models are read from the"
    yield "processor's cache, and may have more than 100%"


def _plot(report: dict[str, Any], path: str) -> bytes:
    """Bars of decode rates, one picture for each model, with a line over each where the bandwidth ends."""
    from matplotlib.figure import Figure

    widths = [max(2, len(model["results"])) for model in report["models"]]
    figure = Figure(figsize=(2 + 1.1 * sum(widths), 4.5), layout="constrained")
    panels = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    for axes, model in zip(panels, report["models"], strict=True):
        results = model["results"]
        rates = [r["decode_rate"]["best"] for r in results]
        colors = ["tab:blue" if r["backend"] else "tab:gray" for r in results]
        bars = axes.bar(range(len(results)), rates, color=colors)
        axes.bar_label(bars, labels=[f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in rates], padding=2)
        limits = [(i, r["limit"]) for i, r in enumerate(results) if r["limit"]]
        axes.hlines([y for _, y in limits], [i - 0.45 for i, _ in limits], [i + 0.45 for i, _ in limits], "tab:red")
        axes.set_xticks(range(len(results)), [f"{r['backend'] or r['program']}\n{r['weights']}" for r in results])
        axes.set_title(model["name"])
        axes.margins(y=0.1)
    panels[0].set_ylabel("decoded tokens per second")
    limit = panels[0].collections[0]
    figure.legend([limit], ["where the measured read bandwidth ends"], loc="outside lower right", frameon=False)
    made = BytesIO()
    figure.savefig(made, format=_suffix(path), dpi=150)
    return made.getvalue()
