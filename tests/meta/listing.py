"""Write the table of docs/planted-bugs.md: the bugs, and which test must catch each. `make format` runs this."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

from meta.bugs import BUGS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "planted-bugs.md"
BEGIN = "## The table\n"


def written(text: str) -> str:
    """The document with the table as it is now."""
    before, begin, _ = text.partition(BEGIN)
    rows = sorted((bug.module, bug.name, bug.test.replace("::", " ").replace("|", " ")) for bug in BUGS)
    counts = f"{len(rows):,} bugs in {len({module for module, *_ in rows})} modules."
    lines = [f"| `{module}` | {name} | {test} |" for module, name, test in rows]
    return "\n".join(
        [before + begin, counts, "", "| module | bug | must be caught by |", "| --- | --- | --- |", *lines, ""]
    )


if __name__ == "__main__":
    text = DOCUMENT.read_text("utf-8")
    if (new := written(text)) != text:
        DOCUMENT.write_text(new, "utf-8")
        print("docs/planted-bugs.md: the table is new", file=sys.stderr)
