"""What docs/design.md says of the files is what they say of themselves."""

import re
from pathlib import Path

import pytest

import design_tree

ROOT = Path(__file__).parents[3]
DESIGN = ROOT / "docs" / "design.md"

pytestmark = pytest.mark.skipif(not DESIGN.exists(), reason="a source distribution may come without docs")


def test_the_list_of_files_is_that_of_their_docstrings() -> None:
    """`make format` writes it."""
    text = DESIGN.read_text("utf-8")
    assert design_tree.written(text) == text


def test_every_module_says_what_it_is_in_a_line() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        line = design_tree.first_line(path)
        assert 10 < len(line) <= 115, f"{path}: {line!r}"


def test_files_that_documents_name_exist() -> None:
    """Paths below src/ in backquotes, wherever a document tells where something is."""
    for document in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        if document.name == "mutation.md":  # a report of a day: it keeps the names of that day
            continue
        for name in re.findall(r"`((?:llama2_ref|llama2_fast|tests)/[\w/.]+)`", document.read_text("utf-8")):
            place = ROOT if name.startswith("tests") else ROOT / "src"
            assert (place / name).exists(), f"{document.name}: {name}"
