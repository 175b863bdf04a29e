"""Run the tests that matter for what has changed: python tests/quick.py [--base REF] [--all] [pytest's options]

What has changed is what git says, from REF (the newest commit that is in main, too) to the files as they are now. A
module is tested by the unit tests of its name, by those that import it, by those that catch its planted bugs, and by
its doctests. Where none can be told, all unit tests run. Tests marked as slow are left out, and hypothesis draws few
inputs: `make test` before every commit tries everything.
"""

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS), str(ROOT / "src")]

from meta.bugs import BUGS  # noqa: E402

UNIT = "tests/unit"
PACKAGES = ("src/llama2_ref/", "src/llama2_fast/")
OPTIONS = ("-m", "not slow", "-q")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", metavar="REF", help="what has changed since then (else: since main)")
    parser.add_argument("--all", action="store_true", help="all unit tests")
    args, more = parser.parse_known_args()
    changed = None if args.all else changes(args.base)
    chosen = {UNIT} if changed is None else tests_of(changed)
    if not chosen:
        print("quick: no test depends on what has changed")
        return 0
    print(f"quick: {told(chosen)}, for {'all' if changed is None else len(changed)} changed files", flush=True)
    os.environ.setdefault("HYPOTHESIS_PROFILE", "dev")
    return subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, *more, *sorted(chosen)], cwd=ROOT).returncode


def told(chosen: set[str]) -> str:
    return ", ".join(sorted({name.partition("::")[0].removeprefix("tests/") for name in chosen}))


# ----------------------------------------------------------------------------------------------------- what has changed


def changes(base: str | None) -> list[str] | None:
    """Files that differ from a commit, and new ones. None where git can't tell."""
    since = base or _git("merge-base", "HEAD", "origin/main") or _git("merge-base", "HEAD", "main") or ["HEAD"]
    differ, new = _git("diff", "--name-only", *since), _git("ls-files", "--others", "--exclude-standard")
    return None if differ is None or new is None else sorted({*differ, *new})


def _git(*words: str) -> list[str] | None:
    """The lines that it says, None if it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


# --------------------------------------------------------------------------------------------------- which tests matter


def tests_of(changed: Iterable[str]) -> set[str]:
    """Files and names for pytest. All unit tests if there is a file whose tests are not known."""
    chosen: set[str] = set()
    for file in changed:
        found = tests_of_file(file)
        if found is None:
            return {UNIT}
        chosen |= found
    files = {name for name in chosen if "::" not in name}
    return files | {name for name in chosen if name.partition("::")[0] not in files}


def tests_of_file(file: str) -> set[str] | None:
    """Those that matter for one file, None if that can't be told."""
    path = Path(file)
    if file.startswith(PACKAGES) and path.suffix == ".py" and path.stem not in ("__init__", "__main__"):
        return _of_module(file)
    if file.startswith("tests/") and path.suffix == ".py" and path.name != "conftest.py":
        users = _users(_name(file))
        return ({file} if path.name.startswith("test_") and (ROOT / file).exists() else users) or None
    if file.startswith(("docs/", ".ci/", ".github/", "examples/")) or path.suffix == ".md" or path.name == "Makefile":
        return _that_mention(path.name)
    return set() if file.startswith("training/") else None  # make test-training


def _of_module(file: str) -> set[str] | None:
    parts = Path(file).with_suffix("").parts[2:]
    twins = [f"{name}/{'/'.join(parts)}.py" for name in ("llama2_ref", "llama2_fast")]
    mirrors = [Path(UNIT, *parts[:i], f"test_{parts[i]}.py") for i in range(len(parts))]
    found = {str(path) for path in mirrors if (ROOT / path).exists()}
    found |= {f"tests/{bug.test}" for bug in BUGS if bug.file in twins}
    found |= {user for user in _users(_name(file)) if user.startswith(UNIT)}
    return (
        found | ({file} if (ROOT / file).exists() and ">>> " in (ROOT / file).read_text() else set()) if found else None
    )


def _that_mention(name: str) -> set[str]:
    """Unit tests that read a document, say."""
    return {str(path.relative_to(ROOT)) for path in (ROOT / UNIT).rglob("test_*.py") if name in path.read_text()}


# -------------------------------------------------------------------------------------------------------- who uses whom


def _name(file: str) -> str:
    """llama2_ref.kernels, or support.models: as it is imported."""
    return ".".join(Path(file).with_suffix("").parts[1:])


def _users(module: str) -> set[str]:
    """Tests that import a module by its name, or a module of the tests that does."""
    found, seen, left = set(), {module}, [module]
    while left:
        target = left.pop()
        for file, imported in _imports().items():
            if target in imported and _name(file) not in seen:
                seen.add(_name(file))
                left.append(_name(file))
                found |= {file} if Path(file).name.startswith("test_") else set()
    return found


@cache
def _imports() -> dict[str, set[str]]:
    """What each module of the tests imports."""
    files = sorted(TESTS.rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): {*_imported(path)} for path in files}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


if __name__ == "__main__":
    sys.exit(main())
