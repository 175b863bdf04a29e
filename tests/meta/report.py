"""A table of the planted bugs, in Markdown: python tests/meta/report.py > table.md

Which test caught which bug, and after how many examples: those written beside the test, then those that hypothesis
draws (- for a test that takes none). Words behind the command choose modules: python tests/meta/report.py kernels simd
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

from meta.bugs import BUGS
from meta.planting import Bug, Server, runs_here


def main(words: Sequence[str]) -> int:
    if not runs_here():
        print("bugs are planted in forked processes: there must be fork (this system has none)", file=sys.stderr)
        return 2
    chosen = [bug for bug in BUGS if not words or any(word in bug.module for word in words)]
    server = Server()
    try:
        rows, missed = [], 0
        for number, bug in enumerate(chosen, 1):
            print(f"{number} of {len(chosen)}: {bug.module}, {bug.name}", file=sys.stderr)
            *row, caught = _row(server, bug)
            rows.append(tuple(row))
            missed += not caught
    finally:
        server.close()
    print("\n".join(_table(rows)))
    print(f"\n{len(chosen)} bugs, {missed} missed.")
    return 1 if missed else 0


def _row(server: Server, bug: Bug) -> tuple[str, str, str, str, bool]:
    """Module, bug, test, examples, and whether all is well."""
    if why := bug.absent():
        return bug.module, bug.name, "", f"not planted here: {why}", True
    try:
        outcome = server.ask(bug)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return bug.module, bug.name, bug.test, "the test could not be run", False
    if outcome.skipped:
        return bug.module, bug.name, "", f"not planted here: its test skips ({outcome.skipped})", True
    examples = str(outcome.examples or "-") if outcome.caught else f"missed after {outcome.examples}"
    return bug.module, bug.name, bug.test.replace("::", " "), examples, outcome.caught


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| module | bug | caught by | examples |"
    yield "| --- | --- | --- | ---: |"
    for module, name, test, examples in sorted(rows, key=lambda row: row[0]):
        yield f"| `{module}` | {name} | {test.replace('|', ' ')} | {examples} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
