"""The judge apart from the judged: what decides right and wrong imports the reference and numpy, and no engine."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama2_fast import conformance

FOLDER = Path(conformance.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
DRAWS = {"implementation.py", "plugin.py", "strategies.py"}  # these draw inputs, and are part of the tests
ALLOWED = {"llama2_ref", "numpy", *sys.stdlib_module_names}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_judge_imports_nothing_that_it_judges(path: Path) -> None:
    allowed = ALLOWED | ({"hypothesis", "pytest"} if path.name in DRAWS else set())
    for line, name in imported(path):
        beside = name.startswith(".") and not name.startswith("..")  # another file of the judge
        assert beside or name.split(".")[0] in allowed, f"{path.name}:{line} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_private_names_stay_in_their_files(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not [name.name for name in node.names if name.name.startswith("_")], f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("file", "missing"), [*((file, "hypothesis") for file in sorted(DRAWS)), ("implementation.py", "pytest")]
)
def test_a_package_that_is_missing_is_named(file: str, missing: str) -> None:
    name = f"llama2_fast.conformance.{file.removesuffix('.py')}"
    code = f"""
import sys

sys.modules[{missing!r}] = None
from llama2_ref.errors import MissingExtraError

try:
    import {name}
except MissingExtraError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert f"the {missing} package: pip install 'llama2-twins[dev]'\n" in said
