"""Tests that send SIGINT also pass where it is ignored from the start, as in `make test &`: they all try just that."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FIXTURE = "sigint_ignored"


def senders(path: Path) -> Iterator[ast.FunctionDef]:
    """Tests whose text names SIGINT, or what makes processes listen to it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            code = ast.unparse(node)
            if "SIGINT" in code or "INTERRUPTIBLE" in code or "interrupt_main" in code:
                yield node


FOUND = [(path, node) for path in sorted(TESTS.rglob("test_*.py")) if path != Path(__file__) for node in senders(path)]


def test_they_are_found() -> None:
    assert len(FOUND) >= 7
    assert "test_interrupts.py" not in {path.name for path, _ in FOUND}


@pytest.mark.parametrize("node", [pytest.param(node, id=f"{path.name}::{node.name}") for path, node in FOUND])
def test_a_test_that_sends_sigint_runs_where_it_is_ignored(node: ast.FunctionDef) -> None:
    uses = [ast.unparse(decorator) for decorator in node.decorator_list] + [a.arg for a in node.args.args]
    assert f"pytest.mark.usefixtures('{FIXTURE}')" in uses or FIXTURE in uses
