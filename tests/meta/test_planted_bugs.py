"""The tests of the tests: mistakes that people make in such programs, planted one at a time, must all be caught.

`bugs` is the table of them, `planting` says how they are planted. A test that lets one pass is not worth its time,
however green it is. `python tests/meta/report.py` tells which test caught which, and after how many examples.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama2_fast
from meta.bugs import BUGS
from meta.planting import SOURCE, Bug, Server, runs_here

pytestmark = pytest.mark.skipif(not runs_here(), reason="needs fork")
SIMD = Path(llama2_fast.__file__).parent / "engines" / "simd"
RE_EXPORTS = {"__init__", "chat", "cli", "config", "errors", "generate"}  # no logic of their own


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


# A quarter of them, so that people run the tests; continuous integration plants all.
PLANTED = BUGS if os.environ.get("LLAMA2_PLANTED") == "all" else BUGS[::4]


@pytest.mark.parametrize("bug", [pytest.param(bug, id=f"{bug.module}: {bug.name}") for bug in PLANTED])
def test_a_planted_bug_is_caught(server: Server, bug: Bug) -> None:
    if why := bug.absent():
        pytest.skip(why)
    outcome = server.ask(bug)
    assert outcome.caught, f"{bug.test} lets it pass, after {outcome.examples} examples"


FILES = sorted({bug.test.partition("::")[0] for bug in BUGS})
FEW = 10  # examples: `make test` gives these tests all of theirs


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_caught_where_nothing_is_planted(server: Server, file: str) -> None:
    """In the same kind of process, with the same kind of code: a test that fails there anyway would catch any bug."""
    bugs = [bug for bug in BUGS if bug.test.startswith(file) and not bug.absent()]
    if not bugs:
        pytest.skip("no bugs can be planted for this file here")
    tests = sorted({bug.test for bug in bugs})
    outcome = server.ask_without(tests, FEW)
    assert not outcome.caught, outcome.said


def test_every_module_with_logic_has_bugs() -> None:
    planted = {bug.file for bug in BUGS}
    modules = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "llama2_fast").rglob("*.py")}
    empty = {name for name in modules if Path(name).stem in RE_EXPORTS and Path(name).parent.name != "_simd"}
    assert modules - planted - empty - {"llama2_fast/engines/simd/__init__.py"} == set()
