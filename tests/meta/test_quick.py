"""`make quick` chooses tests that exist, and enough of them."""

from pathlib import Path

import pytest

import quick
from meta.bugs import BUGS

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in quick.PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)


@pytest.mark.parametrize("file", MODULES)
def test_every_module_has_tests_that_exist(file: str) -> None:
    chosen = quick.tests_of([file])
    assert chosen
    assert all((ROOT / name.partition("::")[0]).exists() for name in chosen)


def test_what_catches_the_bugs_of_a_module_is_chosen() -> None:
    for bug in BUGS:
        chosen = quick.tests_of([f"src/{bug.file}"])
        file = f"tests/{bug.test.partition('::')[0]}"
        assert chosen & {f"tests/{bug.test}", file, quick.UNIT}, bug


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ([], set()),
        (["tests/unit/test_config.py"], {"tests/unit/test_config.py"}),
        (["tests/unit/test_that_is_gone.py"], {"tests/unit"}),
        (["pyproject.toml"], {"tests/unit"}),
        (["tests/conftest.py", "tests/unit/test_config.py"], {"tests/unit"}),
        (["src/llama2_ref/__init__.py"], {"tests/unit"}),
        (["src/llama2_ref/new_module.py"], {"tests/unit"}),
        (["training/train.py"], set()),
        ([".ci/run"], {"tests/unit/project/test_workflows.py"}),
    ],
)
def test_what_can_not_be_told_is_all_unit_tests(changed: list[str], chosen: set[str]) -> None:
    assert quick.tests_of(changed) >= chosen
    assert bool(chosen) == bool(quick.tests_of(changed))
    assert (quick.UNIT in chosen) == (quick.UNIT in quick.tests_of(changed))


def test_a_file_stands_for_its_tests() -> None:
    chosen = quick.tests_of(["src/llama2_ref/formats/gguf_container.py"])
    assert "tests/unit/formats/test_gguf_container.py" in chosen
    assert not any(name.startswith("tests/unit/formats/test_gguf_container.py::") for name in chosen)


def test_users_of_what_tests_share_are_found_through_others() -> None:
    """support.gguf_bytes is imported by fuzz.readers, and that by test_checkpoint.py."""
    assert "tests/fuzz/test_checkpoint.py" in quick.tests_of(["tests/support/gguf_bytes.py"])


def test_git_tells_what_has_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(quick, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert quick.changes(None) is None, "there is no repository"
    git = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for name in ("old", "edited"):
        (tmp_path / name).write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        assert quick._git(*git, *words) is not None
    (tmp_path / "edited").write_text("2")
    (tmp_path / "new").write_text("3")
    assert quick.changes(None) == ["edited", "new"]
