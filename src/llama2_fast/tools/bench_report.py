"""What `bench` has found: in JSON, as a table, and as a picture."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from .bench_models import BenchModel
from .bench_rounds import Result, lengths
from .machine import describe_machine


def make_report(tables: Sequence[tuple[BenchModel, list[Result]]], args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was measured, as JSON holds it."""
    from .. import __version__

    settings = {name: getattr(args, name) for name in ("prompt", "steps", "rounds", "threads")}
    models = [_model_report(model, results, args) for model, results in tables]
    return {"version": __version__, "machine": describe_machine(), "settings": settings, "models": models}


def _model_report(model: BenchModel, results: list[Result], args: argparse.Namespace) -> dict[str, Any]:
    bandwidth = max((r.best("bandwidth") for r in results if r.best("bandwidth")), default=None)
    rates = {r.program: r.best("decode_rate") for r in results if r.backend is None}
    prompt, steps = lengths(model, args)
    known = {"name": model.name, "config": asdict(model.config), "prompt": prompt, "steps": steps}
    return known | {"results": [_result_report(result, bandwidth, rates) for result in results]}


def _result_report(result: Result, bandwidth: float | None, peers: dict[str, float]) -> dict[str, Any]:
    """A result's own bandwidth is that of its processes; peers are held to the best that was seen."""
    bandwidth, rate = result.best("bandwidth") or bandwidth, result.best("decode_rate")
    limit = result.limit(bandwidth)
    first = result.rounds[0]
    row: dict[str, Any] = {"program": result.program, "backend": result.backend, "weights": result.weights}
    row |= {"threads": first.get("threads"), "bandwidth_by": first.get("bandwidth_by")}
    for name in ("load", "first_token", "prompt_rate", "decode_rate"):
        row[name] = {"best": result.best(name), "median": result.median(name)}
    row |= {"peak_bytes": result.best("peak_bytes"), "bytes_per_token": result.bytes_per_token}
    row |= {"bandwidth": bandwidth, "limit": limit, "share": rate / limit if limit else None}
    return row | {"ratios": {name: rate / other for name, other in peers.items() if name != result.program}}


def table(report: dict[str, Any]) -> list[str]:
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


def plot(report: dict[str, Any], form: str) -> bytes:
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
    figure.savefig(made, format=form, dpi=150)
    return made.getvalue()
