"""The mutator itself: what it changes, what it leaves alone, and that mutants are judged as they should be."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llama2_fast
from meta.mutants import mutants

SOURCE = Path(llama2_fast.__file__).parent
MUTATE = Path(__file__).parent / "mutate.py"


def edits(text):
    return {f"{mutant.old} -> {mutant.new.strip('()')}" for mutant in mutants(text.encode(), "some.py")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", {"a < b -> a <= b", "a < b -> a >= b"}),
        ("a == b", {"a == b -> a != b"}),
        ("a not in b", {"a not in b -> a in b"}),
        ("a + b", {"a + b -> a - b"}),
        ("a // b", {"a // b -> a / b"}),
        ("a and b", {"a and b -> a or b"}),
        ("not a", {"not a -> a"}),
        ("-a", {"-a -> a"}),
        ("3", set()),  # a text that stands alone, such as a docstring, is left alone
        ("a = 3", {"3 -> 4", "3 -> 2"}),
        ("a = 0.5", {"0.5 -> 1.0", f"0.5 -> {0.5 * 1.000001}"}),
        ("a = True", {"True -> False"}),
        ("a = 'wq'", {"'wq' -> 'not_wq'"}),
        ("a = 'some words'", set()),
        ("f(a, b)", {"f(a, b) -> f(b, a"}),
        ("f(a, 'of another kind')", set()),
        ("f(a, b=c)", {"f(a, b=c) -> f(a"}),
        ("a[b:c]", {"b -> b + 1", "b -> b - 1", "c -> c + 1", "c -> c - 1"}),
        ("if a: b", {"a -> not a"}),
        ("[a for a in b if a]", {"a -> not a"}),
        ("np.float32", {"np.float32 -> np.float64"}),
        ("def f(a=1): return a", {"1 -> 2", "1 -> 0", "return a -> return None"}),
        ("def f(a): a = b", {"a = b -> pass"}),
        ("def f(): a = b", set()),  # the name would only be missing
        ("def f():\n g()", {"g() -> pass"}),
        ("def f(a): a += b", {"a += b -> a -= b", "a += b -> pass"}),
        ("def f(): raise E('text', 1 + 2)", {"raise E('text', 1 + 2) -> pass"}),
        ("def f(a: int | str) -> int | str: return a", {"return a -> return None"}),
        ("f'{a + 1}'", set()),
        ("__all__ = ['a']", set()),
        ("import a", set()),
    ],
)
def test_edits(text, expected):
    assert edits(text) == expected


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_mutant_is_another_program_of_as_many_lines(path):
    text = path.read_bytes()
    found = mutants(text, path.name)
    assert len({mutant.id for mutant in found}) == len(found)
    whole = ast.dump(ast.parse(text))
    for mutant in found[:: 1 + len(found) // 10]:
        changed = mutant.apply(text)
        assert ast.dump(ast.parse(changed)) != whole
        assert changed.count(b"\n") == text.count(b"\n")


def run(out, *words):
    command = [sys.executable, str(MUTATE), "--out", str(out), *words]
    return subprocess.run(command, env=os.environ | {"LLAMA2_BACKEND": "numpy"}, check=True, capture_output=True)


def test_a_mistake_is_caught_and_what_changes_nothing_survives(tmp_path):
    """From end to end, with the tests of one small module."""
    run(tmp_path, "--trace", str(MUTATE.parents[1] / "unit" / "engines" / "test_threads.py"))
    found = mutants((SOURCE / "engines" / "threads.py").read_bytes(), "engines/threads.py")
    wrong = next(each for each in found if each.old == "length // smallest" and "/" in each.new)
    worse = next(each for each in found if (each.old, each.new) == ("i + 1", "(i - 1)"))
    same = next(each for each in found if each.old == "self._process = os.getpid()")  # set again before it is used
    run(tmp_path, "--only", worse.id, wrong.id, same.id)
    lines = (tmp_path / "outcomes.jsonl").read_text().splitlines()
    outcomes = {record["id"]: record for record in map(json.loads, lines)}
    assert {name: record["outcome"] for name, record in outcomes.items()} == {
        worse.id: "killed",
        wrong.id: "killed",
        same.id: "survived",
    }
    assert "test_threads.py::test_work_is_cut" in outcomes[worse.id]["by"]
    report = run(tmp_path, "--report", "--module", "engines/threads.py").stdout.decode()
    assert "66.7%" in report
    assert same.id in report
    assert worse.id not in report


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"caught": True, "by": "a test", "said": "AssertionError", "skipped": ""}, "killed"),
        ({"caught": False, "by": "", "said": "", "skipped": ""}, "survived"),
        ({"caught": True, "by": "a test", "said": "TypingError: no such operation"}, "incompetent"),
        ({"error": "Traceback", "compiled": False}, "incompetent"),
        ({"error": "Traceback", "compiled": True}, "killed"),  # tests that can't be imported
        ({"error": "exit code -11", "status": -11, "compiled": True}, "killed"),
        ({"error": "exit code -6", "status": -6, "compiled": False}, "incompetent"),
        ({"error": "exit code -9", "status": -9, "compiled": True}, "timeout"),
    ],
)
def test_what_the_server_that_plants_says(answer, outcome):
    mutate = pytest.importorskip("meta.mutate", reason="needs fork")
    assert mutate.outcome_of(answer)["outcome"] == outcome


def test_tests_that_skip_tell_nothing_about_a_mutant():
    mutate = pytest.importorskip("meta.mutate", reason="needs fork")
    with pytest.raises(SystemExit, match="no numba"):
        mutate.outcome_of({"caught": False, "by": "", "said": "", "skipped": "no numba"})


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("llama2_ref/bounded.py", "llama2_ref.bounded"),
        ("kernels.py", "llama2_fast.kernels"),
        ("conformance/__init__.py", "llama2_fast.conformance"),
    ],
)
def test_modules_of_both_packages_can_be_named(file, module):
    mutate = pytest.importorskip("meta.mutate", reason="needs fork")
    (mutant, *_) = mutants(b"a = 1 + b", file)
    assert mutate.module_of(mutant) == module
    assert mutate.path_of(file).is_file()


def test_lists_of_tests_are_of_modules_and_files_that_exist():
    mutate = pytest.importorskip("meta.mutate", reason="needs fork")
    modules = [*(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")), mutate.BOUNDED]
    assert all(mutate.path_of(module).is_file() for module in modules)
    for suite in mutate.SUITES:
        assert all(any(module.startswith(name) for module in modules) for name in suite.files)
        for test in (*suite.tests, *suite.long):
            file, _, name = test.partition("::")
            text = (MUTATE.parents[1] / file).read_text()
            assert f"def {name.partition('[')[0]}" in text
    first = mutants((SOURCE / "engines/simd/kernels/step.py").read_bytes(), "engines/simd/kernels/step.py")[0]
    assert "fuzz/test_simd.py" in mutate.suite_of(first).tests[0]
