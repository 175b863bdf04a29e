"""What `verify` has found, as JSON holds it."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from ..conformance.buffers import Row
from ..conformance.logits import Divergence, Findings, Position


def _number(x: float) -> float | None:
    """A number as JSON has it: there is none for infinity and NaN."""
    return float(x) if isfinite(x) else None


def row_report(row: Row) -> dict[str, Any]:
    """A buffer of a layer: the number that comes nearest to its bound."""
    worst = row.worst
    report: dict[str, Any] = {"layer": row.layer, "buffer": row.name, "kernel": row.kernel}
    for name in ("distance", "bound", "ratio", "got", "value"):
        report[name] = None if worst is None else _number(getattr(worst, name))
    report |= {"token": row.token, "index": worst.index[0]} if worst else {"token": None, "index": None}
    return report | {"numbers": row.numbers, "wrong": row.wrong}


def logits_report(findings: Findings, pieces: dict[int, str]) -> dict[str, Any]:
    """Everything about another program's logits. `pieces` are how tokens read."""
    worst, divergences = findings.worst, findings.divergences
    unexplained = [divergence for divergence in divergences if not divergence.explained]
    report: dict[str, Any] = {
        "right": not unexplained,
        "distance": _number(worst.theirs), "position": worst.position, "index": worst.index, "ours": findings.ours,
        "rise": None, "parted": len(divergences), "unexplained": len(unexplained),
        "first": _divergence(divergences), "first_unexplained": _divergence(unexplained),
        "enough": [p.position for p in findings.positions if p.could_diverge], "hints": findings.hints,
        "pieces": {str(token): piece for token, piece in pieces.items()},
        "positions": [_plain(p) | {"times": _number(p.times)} for p in findings.positions],
    }  # fmt: skip
    if findings.rise is not None:
        position, before = findings.rise
        report["rise"] = {"position": position.position, "before": before, "times": _number(position.times)}
    return report


def _divergence(divergences: Sequence[Divergence]) -> dict[str, Any] | None:
    """The first of them."""
    if not divergences:
        return None
    first = divergences[0]
    return _plain(first) | {"allowed": first.allowed, "explained": first.explained}


def _plain(record: Position | Divergence) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in asdict(record).items()}
