"""Plant a bug in a copy of the source, run one test on it, and tell what came of that.

Each bug has a process of its own, forked off a server that has imported what is large, and has compiled the kernels,
once: `Server().ask(bug)`. The test is run by pytest, with as many inputs as in `make test`, up to the first that fails;
failures are not shrunk.
"""

import importlib
import importlib.util
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from meta.recompile import Engine, NotIncremental, avx2, choose_processor

TESTS = Path(__file__).resolve().parents[1]
SOURCE = TESTS.parent / "src"
PACKAGES = ("llama2_ref", "llama2_fast")
OURS = (*PACKAGES, "fuzz", "support")  # what a process imports anew
SECONDS = 300  # after which a test is not waited for


@dataclass(frozen=True)
class Bug:
    """A mistake: the text of the source that it replaces, the wrong text, and the test that must notice."""

    name: str
    file: str  # below src/
    edits: tuple[tuple[str, str], ...]  # right, wrong; each right text stands once in the file
    test: str  # pytest's name for it, below tests/
    needs: str = ""  # "numba", or a feature of processors that numba must be told of, or nothing

    @property
    def module(self) -> str:
        """llama2_fast.kernels, say."""
        return self.file.removesuffix(".py").replace("/", ".")

    def absent(self) -> str:
        """Why this one can't be planted here, nothing if it can."""
        if self.needs and importlib.util.find_spec("numba") is None:
            return "the simd backend needs numba (extra jit)"
        if self.needs == "avx2" and not avx2():
            return "is a bug in instructions of AVX2"
        return ""

    def plant(self, source: Path) -> None:
        """Change a copy of the source. Raises ValueError if the right text is not there once."""
        path = source / self.file
        text = path.read_text(encoding="utf-8")
        for right, _ in self.edits:
            if text.count(right) != 1:
                found = f"{right!r} stands there {text.count(right)} times"
                raise ValueError(f"{self.name}: the right text must stand once in {self.file} ({found})")
        for right, wrong in sorted(self.edits, key=lambda edit: -text.index(edit[0])):  # the last first: places stay
            place = text.index(right)
            text = text[:place] + wrong + text[place + len(right) :]
        path.unlink()
        path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What a test made of a bug."""

    caught: bool
    examples: int  # inputs that the test was called with; 0 for one that takes none
    seconds: float  # of the processor
    said: str  # how it failed, in a line
    by: str = ""  # which test
    skipped: str = ""  # why no test ran at all: a package is missing, say. Such a bug counts as not planted


def runs_here() -> bool:
    """Bugs are planted in processes that are forked off one that has imported what is large."""
    return hasattr(os, "fork")


# ---------------------------------------------------------------------------------------------- in a process of its own


class Counting:
    """A plugin of pytest: counts the inputs of a test, leaves out shrinking, and remembers how it failed or skipped."""

    def __init__(self, most: int | None) -> None:
        self.examples, self.failed, self.ran, self.said, self.by, self._most = 0, False, 0, "", "", most
        self.skipped = ""  # the first reason
        self.skipped_files: set[Path] = set()  # those that skip as a whole

    def pytest_sessionstart(self) -> None:
        import hypothesis

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        options: dict[str, Any] = {"phases": phases, "report_multiple_bugs": False}
        options |= {"max_examples": self._most} if self._most else {}
        hypothesis.settings.register_profile("planted", parent=hypothesis.settings.default, **options)
        hypothesis.settings.load_profile("planted")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            handle = getattr(item.obj, "hypothesis", None)
            if handle is not None and not hasattr(handle.inner_test, "tells_failures"):  # by an earlier parameter
                handle.inner_test = self._counted(handle.inner_test)

    def _counted(self, test: Any) -> Any:
        @wraps(test)
        def counted(*args: Any, **named: Any) -> Any:
            self.examples += not self.failed
            try:
                return test(*args, **named)
            except Exception as error:
                if type(error).__module__ != "hypothesis.errors" and not self.failed:  # such as that of `assume`
                    self.failed, self.said = True, _line(f"{type(error).__name__}: {error}")
                raise

        counted.tells_failures = True  # type: ignore[attr-defined]
        counted.__signature__ = inspect.signature(test)  # type: ignore[attr-defined] # inputs depend on it
        return counted

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: Any) -> Iterator[None]:
        report: Any = yield
        if report.skipped:
            self.skipped = self.skipped or _line(report.longrepr[2]).removeprefix("Skipped: ")
            self.skipped_files.add(collector.path.resolve())
        return report

    def pytest_runtest_makereport(self, call: Any) -> None:
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception) and not self.said:
            self.said = _line(call.excinfo.exconly())

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped = self.skipped or _line(report.longrepr[2]).removeprefix("Skipped: ")
        else:
            self.ran += report.when == "call"
        if report.failed and not self.by:
            self.by = report.nodeid


def _line(text: str) -> str:
    return text.strip().split("\n")[0][:200]


def run_tests(tests: Sequence[str], most: int | None, folder: Path, but: Sequence[str] = ()) -> dict[str, Any]:
    """Run tests on the packages in folder/src, in this process, with at most so many examples, up to a failure.

    Tests with one of the words of `but` in their names are left out. Where all others skip, "skipped" says why.
    """
    os.chdir(folder)
    counting = Counting(most)
    options = ["-o", "addopts=", "--import-mode=importlib", "--assert=plain", "--tb=native", "-x", "-q"]
    options += ["-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider"]
    options += ["-k", f"not ({' or '.join(but)})"] if but else []
    where = [f"--rootdir={TESTS.parent}", "-c", str(TESTS.parent / "pyproject.toml"), f"--basetemp={folder / 'tmp'}"]

    def run() -> int:
        return int(pytest.main([*options, *where, *(str(TESTS / test) for test in tests)], plugins=[counting]))

    code = run()
    if code == pytest.ExitCode.USAGE_ERROR and counting.skipped_files:
        # A file that skips as a whole has no test of the name that was asked for, and then pytest runs no test at all.
        tests = [test for test in tests if _file(test) not in counting.skipped_files]
        code = run() if tests else 0
    skipped = counting.skipped if code in (0, pytest.ExitCode.NO_TESTS_COLLECTED) and not counting.ran else ""
    if not skipped and (code not in (0, 1) or not (counting.ran or counting.said)):
        raise RuntimeError(f"{', '.join(tests)} could not be run (pytest's exit code is {code})")
    found = {"caught": code == 1, "examples": counting.examples, "said": counting.said, "by": counting.by}
    return found | {"skipped": skipped}


def _file(test: str) -> Path:
    """That of a test's name."""
    return (TESTS / test.partition("::")[0]).resolve()


def enter(folder: Path) -> None:
    """Let this process, and those that it starts, import the packages of folder/src, and nothing that was before."""
    for name in list(sys.modules):
        if name.split(".")[0] in OURS:
            del sys.modules[name]
    paths = [str(folder / "src"), str(TESTS)]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in (*paths, str(SOURCE)))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["LLAMA2_CACHE"] = str(folder / "cache")
    os.environ["HYPOTHESIS_PROFILE"] = "ci"
    os.environ.pop("LLAMA2_BACKEND", None)
    assert importlib.util.find_spec("llama2_fast").origin == str(folder / "src" / "llama2_fast" / "__init__.py")


def copy_source(folder: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(SOURCE / package, folder / "src" / package)


def try_tests(
    bug: Bug | None, tests: Sequence[str], most: int | None, folder: Path, engine: Any, but: Sequence[str] = ()
) -> dict[str, Any]:
    """Plant a bug in a copy in `folder`, or none, and run tests on it. A file "compiled" tells that there is code."""
    copy_source(folder)
    if bug is not None:
        bug.plant(folder / "src")
    code = _code_for(folder / "src" / "llama2_fast" / "engines" / "simd", engine) if engine is not None else None
    (folder / "compiled").touch()
    enter(folder)
    if code:
        from llama2_fast.engines.simd.compiler import library

        library._write(folder / "cache" / f"kernels-{library._digest()}.o", *code)
    return run_tests(tests, most, folder, but)


def _code_for(kernels: Path, engine: Any) -> Any:
    """Code for a copy of the kernels, None where it must be compiled as always."""
    try:
        return engine.code_of(kernels)
    except NotIncremental:
        return None


# --------------------------------------------------------------------------------------------------------------- server


class Server:
    """A process that plants bugs. It is started when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, bug: Bug) -> Outcome:
        """Plant a bug, and tell what its test says.

        It has skipped only if it skips without the bug, too: a bug that makes its test skip has not been caught.
        """
        outcome = self._answer({"bug": asdict(bug), "tests": [bug.test], "most": None})
        if outcome.skipped and not self.ask_without([bug.test], 1).skipped:
            return replace(outcome, skipped="")
        return outcome

    def ask_without(self, tests: Sequence[str], most: int) -> Outcome:
        """Plant nothing, and tell what some tests say after so many examples."""
        return self._answer({"bug": None, "tests": tests, "most": most})

    def ask_any(
        self, bug: Bug, tests: Sequence[str], but: Sequence[str], most: int | None, seconds: float
    ) -> dict[str, Any]:
        """Plant a bug, and run tests up to the first that fails: an Outcome's fields, or how this went wrong.

        That is an "error", the "status" of the process if it has died, and whether the kernels could be "compiled".
        """
        question = {"bug": asdict(bug), "tests": tests, "but": but, "most": most, "limit": seconds}
        return self._told(question)

    def _answer(self, question: dict[str, Any]) -> Outcome:
        answer = self._told(question)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Outcome(**answer)

    def _told(self, question: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="llama2-planted-", ignore_cleanup_errors=True) as folder:
            print(json.dumps(question | {"folder": folder}), file=self._running().stdin, flush=True)
            answer: dict[str, Any] = json.loads(
                self._running().stdout.readline() or '{"error": "the server has ended"}'
            )
        return answer

    def _running(self) -> Any:
        if self._process is None:
            paths = os.pathsep.join([str(SOURCE), str(TESTS)])
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "NUMBA_CPU_"))}
            environment |= {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._process = subprocess.Popen([sys.executable, "-m", "meta.planting"], env=environment, **options)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()


def serve() -> None:
    """Answer questions, one a line, until there are no more: see Server."""
    for large in ("numpy", "hypothesis.extra.numpy"):  # imported once, for all
        importlib.import_module(large)

    engine = _engine()
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line), engine)), flush=True)


def _engine() -> Any:
    """All kernels, compiled once. None where numba is not installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    choose_processor()
    return Engine()


def _fork(question: dict[str, Any], engine: Any) -> dict[str, Any]:
    """What a process of its own finds."""
    folder = Path(question["folder"])
    answer, log = folder / "answer.json", folder / "log"
    child = os.fork()
    if not child:
        try:
            os.setpgid(0, 0)
            with open(log, "w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                answer.write_text(json.dumps(_work(question, folder, engine)))
        finally:
            os._exit(0)
    status, seconds = _wait(child, question.get("limit", SECONDS))
    compiled = (folder / "compiled").exists()
    if not answer.exists():
        said = f"the process ended with exit code {status}: {log.read_text()[-2000:]}"
        return {"error": said, "status": status, "compiled": compiled}
    found: dict[str, Any] = json.loads(answer.read_text())
    return found | ({"compiled": compiled} if "error" in found else {"seconds": seconds})


def _work(question: dict[str, Any], folder: Path, engine: Any) -> dict[str, Any]:
    try:
        bug = question["bug"] and Bug(**question["bug"])
        return try_tests(bug, question["tests"], question["most"], folder, engine, question.get("but", ()))
    except BaseException:
        return {"error": traceback.format_exc()}


def _wait(child: int, limit: float) -> tuple[int, float]:
    """The exit code of a process, and the time that it took of the processor.

    It is ended, with those that it has started, when it takes more seconds than `limit`.
    """
    end, done = time.monotonic() + limit, 0
    while not done:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if not done and time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    serve()
