"""What docs/design.md says of the files is what they say of themselves."""

import re
from pathlib import Path
from pkgutil import resolve_name

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


def documents() -> list[Path]:
    """All but a report of a day, which keeps the names of that day."""
    found = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return [document for document in found if document.name != "mutation.md"]


def test_files_that_documents_name_exist() -> None:
    """Paths below src/ in backquotes, wherever a document tells where something is."""
    for document in documents():
        for name in re.findall(r"`((?:llama2_ref|llama2_fast|tests)/[\w/.]+)`", document.read_text("utf-8")):
            place = ROOT if name.startswith("tests") else ROOT / "src"
            assert (place / name).exists(), f"{document.name}: {name}"


def test_modules_and_names_that_documents_name_exist() -> None:
    """Dotted names: of modules, or of what is in them. planted-bugs.md is made anew by tests/meta/report.py."""
    for document in documents():
        if document.name != "planted-bugs.md":
            for name in re.findall(r"\bllama2_(?:ref|fast)(?:\.\w+)+", document.read_text("utf-8")):
                assert is_there(name), f"{document.name}: {name}"


def is_there(name: str) -> bool:
    """Is there a module of that name? If not, something in one? Modules need not be imported: some need numba."""
    path = (ROOT / "src").joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_names_that_are_not_there_are_found() -> None:
    assert is_there("llama2_ref.tokenizer.Tokenizer")
    assert not is_there("llama2_ref.tokenizer.Tokeniser")
    assert not is_there("llama2_ref.no_such_module")
