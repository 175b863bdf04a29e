"""What the verb `verify` has found, as a text for reading and as a picture: both are made of what JSON holds."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby
from typing import Any

COMPACT = 12  # layers above which only the worst of each buffer is shown
SHOWN = 16  # positions above which only those are shown at which something happens
WRONG = "<-- WRONG"
DECADES = 1.5  # that a panel of the picture shows at least


def text(report: dict[str, Any], every: bool) -> Iterator[str]:
    """The report for reading."""
    yield from _head(report)
    for engine in report["engines"]:
        if report["logits"] is None or every or not engine["right"]:
            yield ""
            yield from _engine_table(engine, report["model"]["config"]["n_layers"], every)
    yield ""
    for engine in report["engines"]:
        yield from _engine_summary(engine)
    if report["logits"] is not None:
        yield ""
        yield from _logits_text(report["logits"], report["tokens"], every)
    yield ""
    yield _summary(report)


def _head(report: dict[str, Any]) -> Iterator[str]:
    quantize, tokens, versions = report["settings"]["quantize"], report["tokens"], report["versions"]
    yield report["model"]["text"] + (f", as {quantize}" if quantize not in (None, "none") else "")
    yield f"{report['machine']['processor']}, {report['machine']['cores']} cores"
    yield f"numpy {versions['numpy']} with {report['blas']}, Python {versions['python']}"
    count, given = len(tokens["ids"]), tokens["given"]
    origins = [f"{given} given"] * bool(given) + [f"{count - given} random"] * (count > given)
    yield f"tokens: {count} ({', '.join(origins)}), {tokens['prompt']} of them at once, the others one by one"
    loops = "the reference's own loops, on numbers that carry their error"
    yield f"bounds: {loops if report['settings']['bounds'] == 'loops' else 'closed formulas, without BLAS'}"


def _engine_table(engine: dict[str, Any], n_layers: int, every: bool) -> Iterator[str]:
    rows = engine["rows"]
    if n_layers > COMPACT and not every:
        yield f"{engine['name']}: of each buffer the layer that is nearest to its bound (--all shows every one)"
        rows = _worst_layers(rows)
    else:
        yield f"{engine['name']}:"
    cells = [["layer", "buffer", "kernel", "error", "bound", "ratio", "where", ""]]
    for row in rows:
        layer = "-" if row["layer"] == n_layers else str(row["layer"])
        where = f"token {row['token']}, index {row['index']}"
        numbers = [_shown(row["distance"], ".2e"), _shown(row["bound"], ".2e"), _shown(row["ratio"], ".3f")]
        if not row["numbers"]:
            where, numbers = "not reached", ["-", "-", "-"]
        cells.append([layer, row["buffer"], row["kernel"], *numbers, where, WRONG * bool(row["wrong"])])
    yield from _columns(cells, right=(0, 3, 4, 5))


def _worst_layers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each buffer the first row that breaks its bound, else the one that is nearest to it."""
    chosen: dict[str, dict[str, Any]] = {}
    for row in rows:
        best = chosen.setdefault(row["buffer"], row)
        if not best["wrong"] and (row["wrong"] or _ratio(row) > _ratio(best)):
            chosen[row["buffer"]] = row
    return list(chosen.values())


def _ratio(row: dict[str, Any]) -> float:
    if not row["numbers"]:  # not reached
        return -1.0
    return float("inf") if row["ratio"] is None else float(row["ratio"])


def _engine_summary(engine: dict[str, Any]) -> Iterator[str]:
    name, rows, identities = engine["name"], engine["rows"], engine["promises"]
    wrong = [row for row in rows if row["wrong"]]
    if wrong:
        yield f"{name}: WRONG: {_first_wrong_text(wrong[0])}; {len(wrong)} of {len(rows)} buffers break their bounds"
    else:
        worst = max(rows, key=_ratio)
        nearest = f"at most {_ratio(worst):.0%} of it, in {_place(worst)}"
        yield f"{name}: every buffer keeps its bound ({len(rows)} buffers, {_total(rows):,} numbers): {nearest}"
    if engine["engine"] == "numpy":
        yield f"{name}: equal bits are not promised, since BLAS adds in an order of its own"
        return
    for identity in identities:
        if identity["broken"]:
            yield f"{name}: WRONG: not the same bits: {identity['what']}: {identity['broken']}"
    kept = [_kept(list(group)) for _, group in groupby(identities, lambda identity: identity["kind"])]
    if any(kept):
        yield f"{name}: the same bits {'; '.join(filter(None, kept))}"


def _kept(identities: Sequence[dict[str, Any]]) -> str:
    """The promises of one kind that are kept, as in "with 1, 2 or 3 threads"."""
    numbers = [str(identity["number"]) for identity in identities if not identity["broken"]]
    if not numbers:
        return ""
    few = " or ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))
    return {
        "threads": f"with {few} threads",
        "parts": f"in parts of {few} tokens",
        "batch": f"as sequence {few} of a batch",
    }[identities[0]["kind"]]


def _first_wrong_text(row: dict[str, Any]) -> str:
    """The first buffer in the order of the model that breaks its bound: what makes it is wrong."""
    numbers = f"{_shown(row['got'], '.9g')}, must be {_shown(row['value'], '.9g')} +- {_shown(row['bound'], '.2g')}"
    return f"{_place(row)} ({row['kernel']}) first: {numbers}, at token {row['token']}, index {row['index']}"


def _place(row: dict[str, Any]) -> str:
    return row["buffer"] if row["buffer"] in ("final_norm", "logits") else f"{row['buffer']} of layer {row['layer']}"


def _total(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["numbers"] for row in rows)


def _summary(report: dict[str, Any]) -> str:
    """One line that says it all."""
    problems = []
    for engine in report["engines"]:
        wrong = next((row for row in engine["rows"] if row["wrong"]), None)
        broken = next((identity for identity in engine["promises"] if identity["broken"]), None)
        if wrong is not None:
            problems.append(f"{engine['name']} breaks the bound of {_place(wrong)} ({wrong['kernel']})")
        elif broken is not None:
            problems.append(f"{engine['name']} gives other bits with {broken['what']}")
    logits = report["logits"]
    if logits is not None and not logits["right"]:
        where = logits["first_unexplained"]["position"]
        problems.append(f"{logits['name']} parts at position {where}, which is not explained")
    if problems:
        return f"WRONG: {'; '.join(problems)}"
    engines = " and ".join(dict.fromkeys(engine["engine"] for engine in report["engines"]))
    right = f"right: {engines}, on {report['model']['name']}"
    if logits is None:
        return right
    divergence = "parts where that is explained" if logits["first"] else "never parts"
    times = f"{logits['distance'] / logits['ours']:.3g} times" if logits["ours"] else "not"
    return f"{right}; {logits['name']} {divergence}, and is off by {times} what rounding does"


def _logits_text(logits: dict[str, Any], tokens: dict[str, Any], every: bool) -> Iterator[str]:
    """What was found about another program's logits."""
    positions, name = logits["positions"], logits["name"]
    yield f"{name}, beside the float64 value and {logits['engine']}:"
    yield from _positions_table(logits, every)
    yield ""
    where = f"at position {logits['position']}, token {_token(logits, logits['index'])}"
    times = _times(logits["distance"], logits["ours"])
    yield f"{name}: off by at most {_shown(logits['distance'], '.2e')}, {where}: {times}"
    if len(positions) > 1:
        theirs, ours = positions[0]["theirs"], positions[0]["ours"]
        yield f"  at position {positions[0]['position']}: off by {_shown(theirs, '.2e')}, {_times(theirs, ours)}"
    rise = logits["rise"]
    if rise is not None:
        times = f"from {rise['before']:.3g} to {_shown(rise['times'], '.3g')} times"
        yield f"  rises most at position {rise['position']}: {times} what {logits['engine']} is off by there"
    for hint in logits["hints"]:
        yield f"  {hint}"
    if logits["unused"]:
        yield f"  note: {logits['unused']} more rows than tokens, which are not compared (--tokens FILE names all ids)"
    yield from _divergences_text(logits)


def _positions_table(logits: dict[str, Any], every: bool) -> Iterator[str]:
    positions = logits["positions"]
    chosen = set(range(len(positions)))
    if len(positions) > SHOWN and not every:
        first = positions[0]["position"]
        marks = [
            p["position"] - first for p in (logits["rise"], logits["first"], logits["first_unexplained"], logits) if p
        ]
        chosen = {0, 1, 2, len(positions) - 1} | {m + step for m in marks for step in (-1, 0, 1)}
    cells = [["position", "error", logits["engine"], "times", "likeliest", "theirs", "margin"]]
    for i, p in enumerate(positions):
        if i in chosen:
            numbers = [_shown(p["theirs"], ".2e"), _shown(p["ours"], ".2e"), _shown(p["times"], ".3g")]
            same = p["likeliest"] == p["their_likeliest"] and p["finite"]
            other = "the same" if same else _token(logits, p["their_likeliest"]) if p["finite"] else "not finite"
            margin = "-" if same else _shown(p["margin"], ".2e")
            cells.append([str(p["position"]), *numbers, _token(logits, p["likeliest"]), other, margin])
    yield from _columns(cells, right=(0, 1, 2, 3, 6))
    if len(chosen) < len(positions):
        yield f"({len(cells) - 1} of {len(positions)} positions; --all shows every one)"


def _divergences_text(logits: dict[str, Any]) -> Iterator[str]:
    """Where the two part first, and where they part first without an explanation."""
    count, could_diverge = len(logits["positions"]), logits["enough"]
    if not logits["first"]:
        yield f"{logits['name']}: never parts: the likeliest token is the same at {_many(count, 'position')}"
        if could_diverge:
            places = f"{len(could_diverge)} of them, first at position {could_diverge[0]}"
            yield f"  but it is off by enough to part at {places}"
        return
    differ = f"{logits['parted']} of {count} positions differ, {logits['unexplained']} of them without explanation"
    yield from _divergence_text(logits, logits["first"], "they part", differ)
    later = logits["first_unexplained"]
    if later and later != logits["first"]:
        yield from _divergence_text(logits, later, "they part again", "the first that is not explained")


def _divergence_text(logits: dict[str, Any], divergence: dict[str, Any], what: str, note: str) -> Iterator[str]:
    ours, theirs = _token(logits, divergence["likeliest"]), _token(logits, divergence["their_likeliest"])
    if not divergence["finite"]:
        yield f"{what} at position {divergence['position']}: token {theirs} is not finite ({note})"
        return
    margin, engine, allowed = divergence["margin"], logits["engine"], f"twice {divergence['allowed'] / 2:.2e}"
    yield f"{what} at position {divergence['position']}: ours is {ours}, theirs {theirs} ({note})"
    below = f"theirs is {margin:.2e} below ours"
    yield f"  top-2 margin {divergence['top2']:.2e}; {below}; {engine} is off by {divergence['ours']:.2e}"
    if margin <= 2 * divergence["ours"]:
        yield f"  explained by float32 rounding: the margin is at most {allowed}"
    elif divergence["explained"]:
        coarse = f"it was {divergence['coarseness']:.3g} times as coarse as {engine}, or more, at every position before"
        yield f"  explained by coarser arithmetic: {coarse}: the margin is at most {allowed}"
    else:
        yield f"  NOT explained by rounding: the margin is more than {allowed}"
        if margin <= 2 * (divergence["before"] or 0.0):
            yield f"  it was off by {divergence['before']:.2e} before, but not at every position: look where it rises"


def _times(theirs: float | None, ours: float) -> str:
    """A distance in units of ours."""
    if theirs is None:
        return "not finite"
    return f"{theirs / ours:.3g} times what float32 rounding does here ({ours:.2e})" if ours else "where ours is exact"


def _token(logits: dict[str, Any], token: int) -> str:
    text = logits["pieces"].get(str(token))
    return str(token) if text is None else f"{text!r} ({token})"


def _many(count: int, what: str) -> str:
    return f"the only {what}" if count == 1 else f"all {count} {what}s"


def _shown(number: float | None, form: str) -> str:
    return "inf" if number is None else f"{number:{form}}"


def _columns(cells: Sequence[Sequence[str]], right: Sequence[int]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        parts = [f"{c:>{w}}" if i in right else f"{c:{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(parts).rstrip()


def plot(report: dict[str, Any], form: str) -> bytes:
    """Error and bound over the layers, on a logarithmic scale: a panel for each buffer, a colour for each engine."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    *panels, last = figure.subplots(3, 4).flat
    engines = report["engines"]
    names = dict.fromkeys(row["buffer"] for row in engines[0]["rows"])
    colors = [f"tab:{name}" for name in ("blue", "orange", "green", "purple")]
    for axes, name in zip(panels, names, strict=True):
        for number, (engine, color) in enumerate(zip(engines, colors, strict=False)):
            shift = 0.08 * (number - (len(engines) - 1) / 2)
            _draw(axes, [row for row in engine["rows"] if row["buffer"] == name], color, shift, engine["name"])
        _set_axes(axes, _title(name, engines), report["model"]["config"]["n_layers"])
    panels[0].set_ylabel("distance from the right value", fontsize=8)
    last.axis("off")
    last.legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.suptitle(f"{report['model']['name']}: of each buffer the number that is nearest to its bound")
    made = BytesIO()
    figure.savefig(made, format=form, dpi=150)
    return made.getvalue()


def _title(name: str, engines: Sequence[dict[str, Any]]) -> str:
    """A buffer, and the kernels that make it in each engine."""
    rows = [row for engine in engines for row in engine["rows"] if row["buffer"] == name]
    kernel, *others = dict.fromkeys(row["kernel"] for row in rows if row["layer"] == rows[-1]["layer"])
    return f"{name} ({kernel.replace('_int8', '').replace('matmul', 'matmul(_int8)') if others else kernel})"


def _draw(axes: Any, rows: Sequence[dict[str, Any]], color: str, shift: float, engine: str) -> None:
    """Errors as dots, bounds as a dashed line; a red cross where a bound is broken."""
    nothing = float("nan")  # 0 and infinity have no place on this scale
    layers = [row["layer"] + shift for row in rows]
    bounds, errors = ([row[name] or nothing for row in rows] for name in ("bound", "distance"))
    axes.plot(layers, bounds, "_--", color=color, alpha=0.8, markersize=9, label=f"{engine}: bound")
    axes.plot(layers, errors, "o-", color=color, markersize=4, label=f"{engine}: error")
    wrong = [i for i, row in enumerate(rows) if row["wrong"]]
    if wrong:
        marks = [rows[i]["distance"] or bounds[i] for i in wrong]
        axes.plot([layers[i] for i in wrong], marks, "x", color="red", markersize=10, markeredgewidth=2)


def _set_axes(axes: Any, title: str, n_layers: int) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    middle, half = (low * high) ** 0.5, max((high / low) ** 0.55, 10 ** (DECADES / 2))
    axes.set_ylim(middle / half, middle * half)
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.tick_params(labelsize=8)
    axes.grid(True, axis="y", alpha=0.3)
    if axes.get_xlim()[0] > n_layers - 0.5:  # what comes after the last layer
        axes.set_xlim(n_layers - 0.5, n_layers + 0.5)
        axes.set_xticks([])
    else:
        axes.set_xlim(-0.5, n_layers - 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("layer", fontsize=8)
