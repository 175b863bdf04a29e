"""Continuous integration runs the Makefile's commands, on the versions that the package says it is for."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
RUN, ASSIGNED = re.compile(r"run:\s*(.*)"), re.compile(r"\b([A-Z][A-Z0-9_]*)=")

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")


def commands(path: Path) -> list[str]:
    return [match[1] for line in path.read_text().splitlines() if (match := RUN.search(line.partition(" #")[0]))]


def jobs(path: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (huggingface-hub brings it: extra dev)")
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def versions() -> set[str]:
    """Those of the classifiers in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_a_target_of_the_makefile(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert commands(path)
    for command in commands(path):
        make, target, *_ = command.split()
        assert make == "make", command
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), command
        for variable in ASSIGNED.findall(command):
            assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), command


def test_all_that_the_script_runs_is_run() -> None:
    """.ci/run is for a machine that has the real checkpoints; but for those, the workflow does the same."""
    script = [
        line[line.index("make ") :] for line in (ROOT / ".ci" / "run").read_text().splitlines() if "make " in line
    ]
    workflow = {re.sub(r" PYTHON=python(\$\{\{.*?\}\}|\S*)", "", command) for command in commands(FOLDER / "ci.yml")}
    assert script
    assert workflow >= set(script)


def test_the_tests_run_on_every_version() -> None:
    tested = jobs(FOLDER / "ci.yml")["test"]["strategy"]["matrix"]["python"]
    assert set(tested) == versions()
    assert len(tested) == len(set(tested)) >= 3


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_job_uses_the_python_that_it_sets_up(path: Path) -> None:
    for name, job in jobs(path).items():
        (asked,) = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
        assert asked in versions() or asked == "${{ matrix.python }}", name
        for step in job["steps"]:
            if "run" in step:
                assert f"PYTHON=python{asked}" in step["run"], name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_given_little(path: Path) -> None:
    """Read permission, an end, no branch or tag that someone else can move."""
    text = path.read_text()
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE)
    assert "concurrency:" in text
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    for name, job in jobs(path).items():
        assert job["timeout-minutes"] < 360, name
        assert "permissions" not in job, name


def test_a_night_that_fails_keeps_its_database() -> None:
    """It is restored before fuzzing, and saved whatever happened, where hypothesis has it."""
    steps = jobs(FOLDER / "nightly.yml")["fuzz"]["steps"]
    uses = [step.get("uses", step.get("run", "")).partition("@")[0] for step in steps]
    restore, save = uses.index("actions/cache/restore"), uses.index("actions/cache/save")
    fuzz = next(i for i, step in enumerate(steps) if "make fuzz" in step.get("run", ""))
    assert restore < fuzz < save
    assert steps[save]["if"] == "always()"
    for step in (steps[restore], steps[save]):
        assert step["with"]["path"] == ".hypothesis"
        assert step["with"]["key"].startswith(steps[restore]["with"]["restore-keys"])
        assert "github.run_id" in step["with"]["key"]


def test_the_readme_s_commands_come_first() -> None:
    """On a machine that has nothing else yet: what the script installs later must not be needed."""
    readme = re.findall(r"^    (make \w+)", (ROOT / "README.md").read_text(), re.MULTILINE)[:2]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    script = [line.strip() for line in lines if not line.startswith("#")]
    assert readme == ["make run", "make test"]
    first = next(i for i, line in enumerate(script) if "make " in line or "install" in line)
    assert script[first : first + 2] == readme
    assert any(line.startswith("unset LLAMA2_DATA ") for line in script[:first])
