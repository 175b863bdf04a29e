"""What the fuzz tests add to pytest: --impl, known deviations, counts of examples, and scripts that show a failure."""

import ast
import contextlib
import functools
import json
import os
import tomllib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from llama2_ref.errors import MissingExtraError

from . import judge, reproduce
from .compare import Comparison
from .implementation import NAMES, OURS, Implementation, Refusal, load, refused

try:
    import hypothesis
    import pytest
    from hypothesis import HealthCheck
except ImportError as error:
    raise MissingExtraError(f"the suite needs the {error.name} package: pip install 'llama2-twins[dev]'") from None

MAX_REFUSED = 100  # examples that are all refused: no more are tried
DEVIATIONS = "deviations.toml"
FOREIGN = pytest.StashKey[bool]()  # is somebody else's implementation under test?
IMPLEMENTATIONS = pytest.StashKey[list[Implementation]]()
KNOWN = pytest.StashKey[list["Deviation"]]()


@dataclass(frozen=True)
class Deviation:
    """A test that an implementation is known to fail."""

    impl: str  # a pattern for its name
    test: str  # a pattern for the test, FILE::NAME
    reason: str


@dataclass
class Tally:
    """What a test has tried: how many examples, and the largest part of its bound that each result came to."""

    examples: int = 0
    ratios: dict[str, float] | None = None


tally = Tally()
failed: list[str] = []  # the last comparison that broke its bound


class Hooks:
    """What the tests tell this plugin, in their conftest.py."""

    @pytest.hookspec(firstresult=True)
    def pytest_conformance_folder(self) -> Path | None:
        """The folder of the tests of implementations, which holds deviations.toml as well."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let a conftest.py answer the questions of Hooks."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that choose what is tested, and what is told of it."""
    group = parser.getgroup("llama2 twins")
    text = "kernels under test: importable modules, separated by commas (default: $LLAMA2_IMPL, else both of ours)"
    group.addoption("--impl", default=os.environ.get("LLAMA2_IMPL", ""), metavar="MODULES", help=text)
    text = f"known deviations, with a reason each (default: {DEVIATIONS} beside the fuzz tests)"
    group.addoption("--deviations", metavar="FILE", help=text)
    text = "run only tests that try examples"
    group.addoption("--only-properties", action="store_true", help=text)
    text = "write what was tried to a file, in JSON"
    group.addoption("--fuzz-report", metavar="FILE", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Load the implementations and the known deviations. Raises pytest.UsageError, in one line."""
    asked = [name.strip() for name in config.getoption("impl").split(",") if name.strip()]
    config.addinivalue_line("markers", "kernel(name): the test is about this kernel of an implementation")
    config.stash[FOREIGN] = bool(asked) and not set(asked) <= set(OURS)
    config.stash[IMPLEMENTATIONS] = [load(name) for name in dict.fromkeys(asked or OURS)]
    folder = config.hook.pytest_conformance_folder()
    if folder is None:
        raise pytest.UsageError("a conftest.py must name the folder of the tests: def pytest_conformance_folder()")
    config.stash[KNOWN] = _read_deviations(Path(config.getoption("deviations") or folder / DEVIATIONS), folder)
    judge.listeners.append(_listen)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before tests are collected: of what somebody's kernels refuse it is told here how much it was."""
    if session.config.stash[FOREIGN]:
        profile = _settings()
        checks = [*profile.suppress_health_check, HealthCheck.filter_too_much, HealthCheck.data_too_large]
        hypothesis.settings.register_profile("refusing", profile, suppress_health_check=checks)
        hypothesis.settings.load_profile("refusing")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of a kernel that an implementation does not have."""
    impl, mark = _impl(item), item.get_closest_marker("kernel")
    if impl is not None and mark is not None and mark.args[0] not in impl.names:
        pytest.skip(f"not tested: {impl.name} has no {mark.args[0]}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell what is tested."""
    return [impl.description() for impl in config.stash[IMPLEMENTATIONS]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `impl` for every implementation."""
    if "impl" in metafunc.fixturenames:
        implementations = metafunc.config.stash[IMPLEMENTATIONS]
        metafunc.parametrize("impl", implementations, ids=repr, scope="session")


# ---------------------------------------------------------------------------------------------------------- collection


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not test the implementation that was asked for; mark known deviations; count examples."""
    for item in items:
        for deviation in config.stash[KNOWN]:
            if _matches(deviation, item):
                item.add_marker(pytest.mark.xfail(reason=f"known deviation: {deviation.reason}"))
        function = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(function):
            _count_examples(function)
    if config.stash[FOREIGN]:
        _keep(config, items, lambda item: _impl(item) is not None)
    if config.getoption("only_properties"):
        _keep(config, items, lambda item: hypothesis.is_hypothesis_test(getattr(item, "obj", None)))


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def _impl(item: pytest.Item) -> Implementation | None:
    return item.callspec.params.get("impl") if hasattr(item, "callspec") else None


def _read_deviations(path: Path, folder: Path) -> list[Deviation]:
    """[[deviation]] tables of impl, test and reason, of tests in a folder. Raises pytest.UsageError, in one line."""
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("deviation", [])
        deviations = [Deviation(**table) for table in tables]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        rule = "must be a TOML file of [[deviation]] tables with impl, test and reason"
        raise pytest.UsageError(f"--deviations {path}: {rule} ({error})") from None
    for deviation in deviations:
        if not all(isinstance(text, str) and text.strip() for text in vars(deviation).values()):
            raise pytest.UsageError(f"--deviations {path}: impl, test and reason must be texts (got {deviation})")
        if not any(fnmatch(name, deviation.test) for name in _tests_of_implementations(folder)):
            rule = "must be FILE::NAME of a test that takes an implementation"
            raise pytest.UsageError(f"--deviations {path}: test {rule} (got {deviation.test!r}, which matches none)")
    return deviations


def _matches(deviation: Deviation, item: pytest.Item) -> bool:
    impl = _impl(item)
    return impl is not None and fnmatch(impl.name, deviation.impl) and fnmatch(_name(item), deviation.test)


def _name(item: pytest.Item) -> str:
    """FILE::NAME, without folders and parameters."""
    return f"{item.path.name}::{getattr(item, 'originalname', None) or item.name}"


def _tests_of_implementations(folder: Path) -> list[str]:
    """FILE::NAME of every test in a folder that takes `impl`, whatever is collected."""
    names = []
    for path in folder.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "impl" in [arg.arg for arg in node.args.args]:
                names.append(f"{path.name}::{node.name}")
    return names


# ------------------------------------------------------------------------------------------------------------ examples


def _count_examples(function: Any) -> None:
    """Let a property count its examples, and climb towards its bound where the profile says so."""
    inner = function.hypothesis.inner_test
    if hasattr(inner, "counts_examples"):
        return

    @functools.wraps(inner)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if tally.examples >= MAX_REFUSED:
            _skip_unless_tried()
        tally.examples += 1
        nearest: dict[str, float] = {}
        with _listening(nearest), _keeping_the_script():
            result = inner(*args, **kwargs)
        if hypothesis.Phase.target in _settings().phases:
            for what, ratio in nearest.items():
                hypothesis.target(ratio, label=what)
        return result

    counted.counts_examples = True  # type: ignore[attr-defined]
    function.hypothesis.inner_test = counted


def _settings() -> hypothesis.settings:
    """Those of the profile that is loaded."""
    assert hypothesis.settings.default is not None
    return hypothesis.settings.default


@contextlib.contextmanager
def _listening(nearest: dict[str, float]) -> Iterator[None]:
    def listen(what: str, comparison: Comparison) -> None:
        if comparison.within:
            nearest[what] = max(nearest.get(what, 0.0), comparison.ratio)

    judge.listeners.append(listen)
    try:
        yield
    finally:
        judge.listeners.remove(listen)


@contextlib.contextmanager
def _keeping_the_script() -> Iterator[None]:
    """Of every example that fails: hypothesis goes on to others, and then tells one of those that have failed."""
    reproduce.current_script = None
    failed.clear()
    try:
        yield
    except Exception as error:
        error.script_and_comparisons = reproduce.current_script, tuple(failed)  # type: ignore[attr-defined]
        raise


def _listen(what: str, comparison: Comparison) -> None:
    if not comparison.within:
        failed[:] = [f"{what}{comparison}"]
    elif tally.ratios is not None:
        tally.ratios[what] = max(tally.ratios.get(what, 0.0), comparison.ratio)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count what a test tries, from nothing on. A test whose every example was refused is skipped."""
    global tally
    tally, reproduce.current_script = Tally(ratios={}), None
    failed.clear()
    refused.clear()
    try:
        result = yield
    except (hypothesis.errors.Unsatisfiable, hypothesis.errors.UnsatisfiedAssumption):
        if not refused:
            raise
        result = None
    _skip_unless_tried()
    return result


def _tried() -> int:
    """How many examples the kernels have not refused."""
    count: int = tally.examples - sum(refusal.count for refusal in refused.values())
    return count


def _skip_unless_tried() -> None:
    """What refuses everything has not passed."""
    if refused and _tried() <= 0:
        pytest.skip(f"not tested: {', '.join(_refusals(refused))}")


def _refusals(by_kernel: dict[str, Refusal]) -> list[str]:
    return [f"{name} refused {it.count:,} examples ({it.reason})" for name, it in sorted(by_kernel.items())]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what was counted with the report, and the script of a failure."""
    report = yield
    if report.when == "call":
        refusals = {name: (refusal.reason, refusal.count) for name, refusal in refused.items()}
        report.user_properties += [("examples", _tried()), ("ratios", tally.ratios), ("refused", refusals)]
        if report.failed and call.excinfo is not None and (script := _script(call.excinfo.value)):
            report.sections.append(("to see this without the suite, run", script))
    return report


def _script(error: BaseException) -> str | None:
    """Of the example whose failure is told: of the first, where there are several."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    make, comparisons = getattr(error, "script_and_comparisons", (reproduce.current_script, failed))
    return make and "\n".join([make(), *(f"# {line}" for line in comparisons)])


# ------------------------------------------------------------------------------------------------------------- summary


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell what was tried, what was refused, and how near to the bounds it came."""
    stats = terminalreporter.stats
    reports = [report for name in ("passed", "failed", "xfailed", "skipped") for report in stats.get(name, [])]
    tests = [dict(report.user_properties) for report in reports if report.when == "call"]
    _write_refusals(terminalreporter.write_line, tests)
    examples = sum(test.get("examples", 0) for test in tests)
    if not examples or hasattr(config, "workerinput"):  # the workers of xdist write no summary
        return
    ratios: dict[str, float] = {}
    for test in tests:
        for what, ratio in (test.get("ratios") or {}).items():
            ratios[what] = max(ratios.get(what, 0.0), ratio)
    properties = sum(1 for test in tests if test.get("examples"))
    terminalreporter.write_line(f"{examples:,} examples of {properties} properties")
    if config.stash[FOREIGN]:
        _write_verdict(terminalreporter.write_line, config.stash[IMPLEMENTATIONS], ratios)
    if config.getoption("fuzz_report"):
        report = {"examples": examples, "properties": properties, "ratios": ratios}
        Path(config.getoption("fuzz_report")).write_text(json.dumps(report), "utf-8")


def _write_refusals(write: Callable[[str], None], tests: list[dict[str, Any]]) -> None:
    total: dict[str, Refusal] = {}
    for test in tests:
        for name, (reason, count) in test.get("refused", {}).items():
            total.setdefault(name, Refusal(reason)).count += count
    for line in _refusals(total):
        write(line)


def _write_verdict(write: Callable[[str], None], impls: list[Implementation], ratios: dict[str, float]) -> None:
    """What of each implementation was not tested, and how far they are from their bounds."""
    for impl in impls:
        missing = [name for name in NAMES if name not in impl.names]
        write(f"{impl.name}: not tested, since missing: {', '.join(missing) or 'nothing'}")
    if ratios:
        nearest = sorted(ratios.items(), key=lambda item: -item[1])
        write("largest part of a bound: " + ", ".join(f"{what} {ratio:.2g}" for what, ratio in nearest))
