"""What keeps contributors from slips: `make help`, the hooks of git, one place for the version."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import llama2_fast
import llama2_ref

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".pre-commit-config.yaml"
in_repository = pytest.mark.skipif(not CONFIG.exists(), reason="a source distribution has no hooks")


def test_the_version_is_one() -> None:
    assert llama2_fast.__version__ == llama2_ref.__version__ == version("llama2-twins")
    places = [path for path in (ROOT / "src").rglob("*.py") if re.search(r"__version__ = ", path.read_text())]
    assert places == [ROOT / "src" / "llama2_ref" / "__init__.py"]
    newest = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest in (llama2_ref.__version__, "Unreleased")


def test_help_tells_of_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = re.findall(r"^make ([a-z-]+) +\S.*\.$", done.stdout, re.MULTILINE)
    assert told == re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


@in_repository
def test_hooks_run_what_lint_runs_and_fetch_nothing() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (huggingface-hub brings it: extra dev)")
    (repository,) = yaml.safe_load(CONFIG.read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    wanted = [line.strip().removesuffix(" .").replace("$(BIN)", ".venv/bin") for line in lint[1].splitlines()]
    assert entries == [*wanted, ".ci/subject"]


@in_repository
@pytest.mark.skipif(sys.platform == "win32", reason="a script of the shell")
@pytest.mark.parametrize(("length", "code"), [(1, 0), (72, 0), (73, 1)])
def test_subjects_of_commits_are_short(tmp_path: Path, length: int, code: int) -> None:
    comment = "# a comment of git's may be longer than a subject" + 50 * "."
    (tmp_path / "message").write_text(f"{comment}\n{'x' * length}\n\n{'why, at length ' * 20}\n")
    done = subprocess.run([ROOT / ".ci" / "subject", tmp_path / "message"], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr == (
        "the subject must have at most 72 characters (got 73): say why in the body\n" if code else ""
    )
