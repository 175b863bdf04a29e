"""The tests of the tests: mistakes that people make in such programs, planted one at a time, must all be caught.

`bugs` is the table of them, `planting` says how they are planted. A test that lets one pass is not worth its time,
however green it is. `python tests/meta/report.py` tells which test caught which, and after how many examples.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta import listing
from meta.bugs import BUGS
from meta.planting import SOURCE, TESTS, Bug, Outcome, Server, runs_here

pytestmark = pytest.mark.skipif(not runs_here(), reason="needs fork")
WITHOUT_LOGIC = {"__init__", "protocol"}  # these only take names from elsewhere, or say what others must have


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def skip_if_skipped(outcome: Outcome) -> None:
    """A test that skips can't catch anything; where all packages and data must be there, it may not skip."""
    if outcome.skipped and os.environ.get("LLAMA2_REQUIRE_DATA"):
        pytest.fail(f"a test of planted bugs skips: {outcome.skipped}")
    if outcome.skipped:
        pytest.skip(f"not planted, for its test skips: {outcome.skipped}")


# A quarter of them, so that people run the tests; continuous integration plants all.
PLANTED = BUGS if os.environ.get("LLAMA2_PLANTED") == "all" else BUGS[::4]


@pytest.mark.parametrize("bug", [pytest.param(bug, id=f"{bug.module}: {bug.name}") for bug in PLANTED])
def test_a_planted_bug_is_caught(server: Server, bug: Bug) -> None:
    if why := bug.absent():
        pytest.skip(why)
    outcome = server.ask(bug)
    skip_if_skipped(outcome)
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
    skip_if_skipped(outcome)
    assert not outcome.caught, outcome.said


def test_every_bug_s_test_is_there() -> None:
    """Also where its file skips, and where only some bugs are planted."""
    for bug in BUGS:
        file, _, name = bug.test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (TESTS / file).read_text(encoding="utf-8"), bug.test


def test_the_document_lists_these_bugs() -> None:
    """`make format` writes the table."""
    text = listing.DOCUMENT.read_text("utf-8")
    assert listing.written(text) == text


def test_every_module_with_logic_has_bugs() -> None:
    planted = {bug.file for bug in BUGS}
    modules = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "llama2_fast").rglob("*.py")}
    empty = {name for name in modules if Path(name).stem in WITHOUT_LOGIC}
    assert modules - planted - empty == set()


# ----------------------------------------------------------------------------------------------------- tests that skip

SKIPS = {
    "of a file, by a package": "import pytest\npytest.importorskip('no_package', reason='WHY')\ndef test(): pass\n",
    "of a file, by hand": "import pytest\npytest.skip('WHY', allow_module_level=True)\ndef test(): pass\n",
    "of a file, by a mark": "import pytest\npytestmark = pytest.mark.skipif(True, reason='WHY')\ndef test(): pass\n",
    "of a test, by a mark": "import pytest\n@pytest.mark.skip(reason='WHY')\ndef test(): pass\n",
    "in a test": "import pytest\ndef test(): pytest.importorskip('no_such_package', reason='WHY')\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('WHY')\ndef test(f): pass\n",
    "of each parameter": "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test(n): pytest.skip('WHY')\n",
    "of an example": (
        "import pytest\nfrom hypothesis import given, strategies\n"
        "@given(strategies.integers())\ndef test(n): pytest.skip('WHY')\n"
    ),
}
HARMLESS = ("def argmax(", "def  argmax(")


@pytest.mark.parametrize("text", SKIPS.values(), ids=SKIPS)
def test_a_test_that_skips_neither_catches_nor_fails(server: Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    outcome = server.ask_without([str(tmp_path / "test_it.py::test")], 1)
    assert (outcome.caught, outcome.said, outcome.skipped) == (False, "", "WHY")


def test_a_bug_whose_test_skips_is_not_planted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SKIPS["of a file, by a package"])
    outcome = server.ask(Bug("harmless", "llama2_fast/kernels.py", (HARMLESS,), str(tmp_path / "test_it.py::test")))
    assert (outcome.caught, outcome.said, outcome.skipped) == (False, "", "WHY")


@pytest.mark.parametrize("kind", ["of a file, by a package", "in a test"])
def test_what_skips_does_not_keep_others_from_running(server: Server, tmp_path: Path, kind: str) -> None:
    (tmp_path / "test_it.py").write_text(SKIPS[kind])
    (tmp_path / "test_other.py").write_text("def test(): pass\n\ndef test_wrong(): assert 1 == 2\n")
    skips, other = str(tmp_path / "test_it.py::test"), str(tmp_path / "test_other.py")
    for tests, caught in ([skips, f"{other}::test"], False), ([f"{other}::test", skips], False), ([skips, other], True):
        outcome = server.ask_without(tests, 1)
        assert (outcome.caught, outcome.skipped) == (caught, "")


def test_a_bug_that_makes_its_test_skip_is_not_caught(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import llama2_fast, pytest\n"
        "def test():\n    if not hasattr(llama2_fast.kernels, 'argmax'): pytest.skip('WHY')\n"
    )
    edits = (("def argmax(", "def argmax_of("),)
    outcome = server.ask(Bug("renamed", "llama2_fast/kernels.py", edits, str(tmp_path / "test_it.py::test")))
    assert (outcome.caught, outcome.skipped) == (False, "")


def test_a_test_that_is_not_there_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test(): pass\n")
    with pytest.raises(RuntimeError, match="could not be run"):
        server.ask_without([str(tmp_path / "test_it.py::test_other")], 1)
