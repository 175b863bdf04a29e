"""Write the list of files in docs/design.md, of the first lines of their docstrings. `make format` runs this."""

import ast
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DESIGN = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- files: made by tests/design_tree.py -->\n", "<!-- end of files -->\n"
PACKAGES = ("llama2_ref", "llama2_fast")
WIDTH, COLUMN = 120, 34
ORACLE = ("errors", "config", "weights", "quantize", "kernels", "transformer", "tokenizer", "sampler", "bounded")


def first_line(path: Path) -> str:
    """What a module says of itself, up to the end of its first line."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.split("\n")[0].rstrip(".")


def listed(folder: Path, depth: int) -> Iterator[str]:
    """A folder, its files, then its folders."""
    yield from entry(f"{'  ' * depth}{folder.name}/", first_line(folder / "__init__.py"))
    files = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith("__")]
    files.sort(key=lambda path: ORACLE.index(path.stem) if depth == 0 and path.stem in ORACLE else len(ORACLE))
    for path in files:
        yield from entry(f"{'  ' * (depth + 1)}{path.name}", first_line(path))
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        yield from listed(inner, depth + 1)


def entry(name: str, text: str) -> Iterator[str]:
    """A name, and beside it what it is, on as many lines as that takes."""
    for number, line in enumerate(textwrap.wrap(text, WIDTH - COLUMN - 4) or [""]):
        yield f"    {'' if number else name:{COLUMN}}{line}".rstrip()


def section() -> str:
    """What stands between the marks."""
    lines = [line for package in PACKAGES for line in listed(ROOT / "src" / package, 0)]
    return "\n" + "\n".join(lines) + "\n\n"


def written(text: str) -> str:
    """The document with the list as it is now. Raises ValueError if it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/design.md must have the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + section() + end + after


if __name__ == "__main__":
    text = DESIGN.read_text("utf-8")
    if (new := written(text)) != text:
        DESIGN.write_text(new, "utf-8")
        print("docs/design.md: the list of files is new", file=sys.stderr)
