"""Mutation testing of llama2_fast, and of what judges it: python tests/meta/mutate.py [--module FILE ...].

Every mutant (see mutants.py) is run against the tests that execute its line, the fastest first, until one fails. A
mutant that no test notices survives: it needs a better test, or a reason why nobody can notice it (docs/mutation.md).

A process that has imported everything but llama2_fast forks for each mutant, so that one takes a second or two. Which
test executes which lines is found by tracing, once (--trace). Outcomes go into a file as they are found: a run can be
interrupted and goes on where it was. See --help.
"""

import argparse
import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy; and no thread may run when this process forks
ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "llama2_fast", ROOT / "tests"
BOUNDED = "llama2_ref/bounded.py"  # of the reference the one file that judges
sys.path[:0] = [str(ROOT / "src"), str(TESTS)]

import pytest  # noqa: E402

from meta.mutants import Mutant, mutants  # noqa: E402
from meta.plant import plant  # noqa: E402
from meta.planting import Bug, Server  # noqa: E402

MEMORY = 12 * 2**30  # bytes that a mutant may reserve
LONG = 1.6  # seconds, as traced: such tests are run if --long asks for them
PATIENCE = 4  # times its usual seconds that a test may run, and as many seconds more
FEW = 12  # examples while tests are traced, which makes them 5 times slower
TRACED = ("unit", "fuzz", "golden")  # folders of tests
TIMED = (
    "at_real_sizes",
    "closed_formulas",
    "grows_like",
    "ctrl_c",
    "every_float32",
    "takes_no_time",
    "wheel",
    "sentencepiece",
    "hub",
)  # not for this
BACKEND = os.environ.get("LLAMA2_BACKEND", "simd")  # whose modules are mutated
OTHERS = ("[llama2_ref", "[simd" if BACKEND == "numpy" else "[numpy")  # tests of something else


@dataclass(frozen=True)
class Suite:
    """The tests of modules whose users tracing does not see, or sees too slowly: always these, in this order."""

    files: tuple[str, ...]  # how the names of these modules begin
    tests: tuple[str, ...]  # those that find most come first
    but: tuple[str, ...] = ()  # what is left out of them but with --long: names with one of these words
    most: int | None = None  # examples; None, or with --long: as many as in `make test`
    long: tuple[str, ...] = ()  # what --long runs as well


_TRANSFORMER = "fuzz/test_transformer.py::test_every_buffer"
BITS = "fuzz/test_simd.py::test_bits"
KERNELS = Suite(
    ("engines/simd/kernels/", "engines/simd/tables.py", "engines/simd/packed_layout.py"),
    (
        "fuzz/test_simd.py::test_every_machine_finds_these_bits",
        "fuzz/test_simd.py::test_cos_and_sin",
        "fuzz/test_simd.py::test_exp_of_some_float32",
        "fuzz/test_simd.py::test_large_scores_in_any_block",
        f"{BITS}_do_not_depend_on_how_wide_rows_are_cut",
        f"{BITS}_do_not_depend_on_tiles",
        f"{_TRANSFORMER}_keeps_its_bound[simd]",
        f"{_TRANSFORMER}_of_a_quantized_model_keeps_its_bound[simd-int8]",
        f"{_TRANSFORMER}_of_a_quantized_model_keeps_its_bound[simd-int4]",
        f"{BITS}_do_not_depend_on_what_else_is_in_the_batch",
        f"{BITS}_depend_neither_on_threads_nor_on_how_a_prompt_is_cut",
        "unit/engines/test_simd.py::test_a_number_that_is_not_finite_is_reported_as_the_reference_does",
        "unit/engines/test_simd.py::test_the_place_of_a_number_that_is_not_finite_is_told",
        "unit/engines/test_simd.py::test_int4_groups_larger_than_16_bits_hold",
        "unit/engines/test_simd.py::test_only_vectors_that_are_too_small_for_a_scale_become_zeros",
        "unit/engines/test_simd.py::test_every_number_in_memory_is_read",
    ),
    most=20,
    long=("fuzz/test_simd.py::test_other_instruction_sets_find_these_bits",),
)
OF_PROCESSES = ("compiled_once", "two_processes", "no_place", "processors_get", "other_instruction")  # ten seconds each
ENGINE = Suite(
    ("engines/simd/",),
    (KERNELS.tests[0], "unit/engines/test_simd.py", *KERNELS.tests[4:]),
    (*TIMED, *OF_PROCESSES),
    KERNELS.most,
)
JUDGE = Suite(
    ("conformance/", BOUNDED),
    (
        "meta/test_judge.py",
        "fuzz/test_transformer.py::test_closed_formulas_and_number_objects_agree",
        "meta/test_bounds.py",
        "fuzz/test_kernels.py",
        "fuzz/test_quantize.py",
        "meta/test_strategies.py",
        "meta/test_reproduce.py",
        "meta/test_conformance.py",
    ),
    most=12,
)
BENCH = Suite(
    (
        *("tools/bench.py", "tools/bench_models.py", "tools/bench_peers.py", "tools/bench_report.py"),
        *("tools/bench_rounds.py", "tools/bench_worker.py", "tools/random_models.py", "tools/stored_weights.py"),
    ),
    ("unit/tools/test_bench.py",),
    ("everything_is_measured",),
)
VERIFY = Suite(
    (
        *("tools/verify.py", "tools/verify_task.py", "tools/verify_json.py", "tools/outputs.py", "tools/machine.py"),
        *("tools/checks.py", "tools/peer_logits.py", "tools/report.py"),
        *("conformance/bits.py", "conformance/buffers.py", "conformance/logits.py"),
    ),
    ("unit/conformance/test_bits.py", "unit/tools/test_checks.py", "unit/tools/test_verify.py"),
    ("coarser_for_good_reason", "wrong_blas_is_found", "stories260k"),
)
SUITES = (KERNELS, ENGINE, VERIFY, JUDGE, BENCH)  # the first that names a module counts
HANGS = 120  # seconds after which a mutant is ended that one of these tests has not ended


# ------------------------------------------------------------------------------------------------------------- a child


class Watch:
    """A plugin of pytest: runs what was chosen, in that order, and tells what is going on."""

    def __init__(self, chosen: Sequence[str] | None, tell: Any, lines: "Lines | None" = None) -> None:
        self._places = None if chosen is None else {node: i for i, node in enumerate(chosen)}
        self._tell, self._lines = tell, lines

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._places is None:
            items[:] = [item for item in items if not any(word in item.nodeid for word in (*TIMED, *OTHERS))]
        else:
            places = self._places
            items[:] = sorted((item for item in items if item.nodeid in places), key=lambda item: places[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._tell(start=item.nodeid)
        begin = time.monotonic()
        if self._lines:
            self._lines.begin()
        try:
            return (yield)
        finally:
            if self._lines:
                self._tell(traced=item.nodeid, seconds=time.monotonic() - begin, lines=self._lines.end())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tell(failed=report.nodeid, why=_last_line(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(failed="import", why=_last_line(report))


def _last_line(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return str(text).strip().splitlines()[0][:200] if str(text).strip() else ""


class Lines:
    """Which lines of llama2_fast are executed, in all threads."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, int]] = set()
        self._start, self._judge = f"{SOURCE}{os.sep}", f"{os.sep}conformance{os.sep}"
        threading.settrace(self._call)
        sys.settrace(self._call)

    def begin(self) -> None:
        self._seen = set()

    def end(self) -> dict[str, list[int]]:
        files: dict[str, list[int]] = {}
        for file, line in sorted(self._seen):
            files.setdefault(file.removeprefix(self._start), []).append(line)
        return files

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._start) or self._judge in frame.f_code.co_filename:
            return None  # most of the time goes into numbers with bounds, which all tests use alike
        file, seen = frame.f_code.co_filename, self._seen

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                self._seen.add((file, frame.f_lineno))
            return line

        seen.add((file, frame.f_lineno))
        return line


class Brief:
    """A plugin of pytest: hypothesis draws so many examples, always the same, and shrinks none."""

    def __init__(self, most: int) -> None:
        self._most = most

    def pytest_sessionstart(self) -> None:
        import hypothesis

        options: dict[str, Any] = {"database": None, "derandomize": True, "report_multiple_bugs": False}
        options |= {"phases": [hypothesis.Phase.explicit, hypothesis.Phase.generate], "max_examples": self._most}
        hypothesis.settings.register_profile("brief", parent=hypothesis.settings.default, **options)
        hypothesis.settings.load_profile("brief")


def run_pytest(files: Sequence[str], watch: Any, first_failure: bool, most: int = 100) -> int:
    """Run tests in this process, with the settings of the project but for workers, reports and shrinking."""
    words = ["-q", "-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:xdist"]
    words += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "--tb=line", "-s"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis has been imported before pytest began
    return int(pytest.main([*words, *(["-x"] if first_failure else []), *files], plugins=[watch, Brief(most)]))


@contextlib.contextmanager
def child(work: Any) -> Iterator[tuple[int, int]]:
    """Fork a process that calls work(tell): its number, and where to read lines of JSON, what it tells."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.setsid()
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # Linux: end with the parent, however that ends
        os.close(reading)
        null = os.open(os.environ.get("MUTATE_LOG", os.devnull), os.O_RDWR | os.O_CREAT | os.O_APPEND)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

        def tell(**facts: Any) -> None:
            line = json.dumps(facts).encode() + b"\n"
            while line:
                line = line[os.write(writing, line) :]

        try:
            tell(ended=work(tell))
        except BaseException as error:
            tell(error=repr(error))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        yield process, reading
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(reading)


def heard(process: int, source: int, seconds: Any) -> Iterator[dict[str, Any]]:
    """What a child tells, until it ends. {"timeout": True} comes last if it says nothing for seconds().

    Seconds in which it waits for a processor do not count.
    """
    rest, used, since = b"", 0.0, time.monotonic()
    while True:
        if select.select([source], [], [], 0.5)[0]:
            data = os.read(source, 2**16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(line) for line in lines)
            used, since = _state(process)[1], time.monotonic()
            continue
        sleeping, now = _state(process)
        if (time.monotonic() - since if sleeping else now - used) > seconds():
            yield {"timeout": True}
            return


def _state(process: int) -> tuple[bool, float]:
    """Does a process sleep, and how many seconds have all its threads run? (Where /proc tells.)"""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return True, 0.0
    return fields[0] == "S", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------------------------------- tracing

Trace = dict[str, dict[str, Any]]  # of each test: its seconds, and the lines that it executes in each file


def trace(files: Sequence[str]) -> Trace:
    """Run all tests of some files, and find what they execute."""

    def work(tell: Any) -> int:
        lines = Lines()
        return run_pytest(files, Watch(None, tell, lines), first_failure=False, most=FEW)

    found: Trace = {}
    failed: set[str] = set()
    with child(work) as (process, source):
        for facts in heard(process, source, lambda: 600):
            if "failed" in facts:
                print(f"left out, since it fails without any mutant: {facts['failed']} ({facts['why']})")
                failed.add(facts["failed"])
            if "error" in facts:
                sys.exit(f"tracing must work (got {facts['error']})")
            if "traced" in facts:
                found[facts["traced"]] = {"seconds": facts["seconds"], "lines": facts["lines"]}
    return {node: facts for node, facts in found.items() if node not in failed}


def tests_of(mutant: Mutant, traced: Trace, every: bool) -> list[str]:
    """The tests that can notice a mutant, in the order in which they should be run."""
    by_time = sorted(traced, key=lambda node: float(traced[node]["seconds"]))
    first, last = mutant.lines
    own = [
        node for node in by_time if any(first <= line <= last for line in traced[node]["lines"].get(mutant.file, ()))
    ]
    if not every:
        own = [node for node in own if float(traced[node]["seconds"]) < LONG] or own
    if mutant.function:
        return own
    signatures = [node for node in by_time if "test_twins" in node]  # which no line of a function shows
    touching = [node for node in by_time if mutant.file in traced[node]["lines"]]
    if not every:
        touching = [node for node in touching if Path(mutant.file).stem.strip("_") in node]
    return signatures + touching


# --------------------------------------------------------------------------------------------------------------- runs


def path_of(file: str) -> Path:
    """Where a module is that is named below llama2_fast, or by llama2_ref/..."""
    return ROOT / "src" / file if file.startswith("llama2_ref/") else SOURCE / file


def module_of(mutant: Mutant) -> str:
    path = path_of(mutant.file).relative_to(ROOT / "src")
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


class InPlace:
    """A plugin of pytest that, once all tests are collected, runs mutants in forks instead of the tests.

    A mutant changes one function's code in place, and whoever holds that function calls the changed one: nothing is
    imported or collected again. `run` is given what runs one mutant.
    """

    def __init__(self, run: Any) -> None:
        self._run, self._tell = run, lambda **facts: None
        self._failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}

        def judge(mutant: Mutant, traced: Trace, every: bool) -> dict[str, Any]:
            tests = [node for node in tests_of(mutant, traced, every) if node in items]  # others have gone since

            def work(tell: Any) -> int:
                self._tell = tell
                exchange(mutant)
                chosen = [items[node] for node in tests]
                for item, following in zip(chosen, [*chosen[1:], None], strict=True):
                    tell(start=item.nodeid)
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                return int(self._failed)

            return watched(tests, traced, work)

        self._run(judge)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = True
            self._tell(failed=report.nodeid, why=_last_line(report))


def exchange(mutant: Mutant) -> None:
    """Give a function that is loaded the code that it has in a mutant."""
    path = path_of(mutant.file)
    function: Any = sys.modules[module_of(mutant)]
    code = compile(mutant.apply(path.read_bytes()), str(path), "exec", dont_inherit=True)
    for name in mutant.function.split("."):
        function = vars(function)[name]
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
    for wrapper in ("fget", "__func__", "__wrapped__"):
        function = getattr(function, wrapper, function)
    function.__code__ = code


def can_be_exchanged(mutant: Mutant) -> bool:
    return bool(mutant.function) and mutant.file != "__main__.py"


def planted(mutant: Mutant, traced: Trace, every: bool) -> dict[str, Any]:
    """Run a mutant in a process that imports everything anew, as do those that its tests start."""
    tests = tests_of(mutant, traced, every)
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))

    def work(tell: Any) -> int:
        path = path_of(mutant.file)
        plant(folder / "hook", module_of(mutant), path, mutant.apply(path.read_bytes()).decode())
        files = list(dict.fromkeys(node.partition("::")[0] for node in tests))
        return run_pytest([str(ROOT / file) for file in files], Watch(tests, tell), first_failure=True)

    try:
        return watched(tests, traced, work)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def suite_of(mutant: Mutant) -> Suite | None:
    """The tests that a module always has, None if tracing finds them."""
    return next((suite for suite in SUITES if mutant.file.startswith(suite.files)), None)


def asked(server: Server, mutant: Mutant, every: bool) -> dict[str, Any]:
    """Run a mutant in a process of `planting`, which compiles only what it changes."""
    suite, begin = suite_of(mutant), time.monotonic()
    assert suite is not None
    text = path_of(mutant.file).read_bytes()
    edits = ((text.decode(), mutant.apply(text).decode()),)
    bug = Bug(mutant.id, path_of(mutant.file).relative_to(ROOT / "src").as_posix(), edits, suite.tests[0])
    tests, most = (suite.long + suite.tests, None) if every else (suite.tests, suite.most)
    answer = server.ask_any(bug, tests, TIMED if every else suite.but, most, HANGS * (1 + every))
    return outcome_of(answer) | {"tests": len(tests), "seconds": round(time.monotonic() - begin, 2)}


def outcome_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer of `planting` means."""
    said = answer.get("error", answer.get("said", "")).strip()
    if "error" in answer and "compiled" not in answer:
        sys.exit(f"the process that plants mutants must go on (got {said})")
    if not answer.get("compiled", True) or said.startswith(("TypingError", "LoweringError", "UnsupportedError")):
        return {"outcome": "incompetent", "by": "the compiler", "why": said[-200:]}
    if answer.get("status") == -signal.SIGKILL:
        return {"outcome": "timeout", "by": ""}
    if "error" in answer:
        return {"outcome": "killed", "by": "", "why": said[:200] if "status" in answer else said[-200:]}
    if answer["skipped"]:
        sys.exit(f"the tests of mutants must run on this machine (they skip: {answer['skipped']})")
    if answer["caught"]:
        return {"outcome": "killed", "by": answer["by"], "why": said}
    return {"outcome": "survived", "by": ""}


def watched(tests: Sequence[str], traced: Trace, work: Any) -> dict[str, Any]:
    """Fork a process that runs some tests until one fails: what came of it."""
    if not tests:
        return {"outcome": "survived", "by": "no test executes it", "tests": 0}
    current, begin = "import", time.monotonic()

    def patience() -> float:
        usual = traced[current]["seconds"] if current in traced else 5
        return float(PATIENCE * (usual + 1))

    found: dict[str, Any] = {"outcome": "killed", "by": "", "tests": len(tests)}
    with child(work) as (process, source):
        for facts in heard(process, source, patience):
            if "start" in facts:
                current = facts["start"]
            elif "failed" in facts:
                found |= {"by": facts["failed"], "why": facts["why"]}
                break
            elif "timeout" in facts:
                found |= {"outcome": "timeout", "by": current}
            elif facts.get("ended") == 0:
                found |= {"outcome": "survived"}
            else:
                found |= {"by": current, "why": facts.get("error", "pytest ended")}
    if found["outcome"] == "killed" and not found["by"]:
        found |= {"by": current, "why": "the process died"}
    return found | {"seconds": round(time.monotonic() - begin, 2)}


def chosen(args: argparse.Namespace) -> list[Mutant]:
    """The mutants that are asked for: all of some modules, or a sample that takes the same share of each."""
    files = args.module or [*(str(path.relative_to(SOURCE)) for path in sorted(SOURCE.rglob("*.py"))), BOUNDED]
    found = []
    for file in files:
        found += mutants(path_of(file).read_bytes(), file)
    if args.only:
        return [mutant for mutant in found if mutant.id in args.only]
    if args.sample and args.sample < len(found):
        order = random.Random(args.seed).sample(found, len(found))
        share, taken = args.sample / len(found), Counter[str]()
        sizes = Counter(mutant.file for mutant in found)
        some = []
        for mutant in order:
            if taken[mutant.file] < round(share * sizes[mutant.file]):
                taken[mutant.file] += 1
                some.append(mutant)
        return some
    return found


Records = dict[tuple[str, str], dict[str, Any]]  # by id, and by what is planted


@cache
def digest(file: str) -> str:
    return hashlib.sha256(path_of(file).read_bytes()).hexdigest()[:12]


def known(path: Path) -> Records:
    """The last outcome of each mutant of the modules as they are now."""
    if not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {(record["id"], record["new"]): record for record in records if record["source"] == _digest_of(record["id"])}


def _digest_of(name: str) -> str:
    return digest(name.partition(":")[0])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--module",
        nargs="+",
        metavar="FILE",
        help="such as kernels.py, engines/simd/kernels/step.py or llama2_ref/bounded.py (default: all)",
    )
    parser.add_argument("--only", nargs="+", metavar="ID", help="mutants by their ids")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, the same share of each module")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the sample (default: 1)")
    parser.add_argument("--again", action="store_true", help="run known survivors again, and nothing else")
    parser.add_argument("--long", action="store_true", help="also run tests that take long")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many mutants at once (default: 1)")
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    parser.add_argument("--report", action="store_true", help="show counts and survivors, and run nothing")
    parser.add_argument("--trace", nargs="*", metavar="TESTS", help="find what tests execute, of some files or of all")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutation", metavar="FOLDER", help="of outcomes")
    args = parser.parse_args(argv)
    if args.list:
        for mutant in chosen(args):
            print(f"{mutant.id:45} {mutant.old}  ->  {mutant.new}")
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    records = args.out / "outcomes.jsonl"
    if args.report:
        report(chosen(args), known(records))
        return 0
    todo = to_run(args, known(records))
    if args.trace is None:
        run_suites(todo, records, args.jobs, args.long)
    todo = [mutant for mutant in todo if suite_of(mutant) is None]
    if not todo and args.trace is None:
        return 0
    prepare()
    where = args.out / f"trace-{BACKEND}.json"
    traced: Trace = json.loads(where.read_text()) if where.exists() else {}
    if args.trace is not None or not traced:
        files = args.trace or [str(path) for folder in TRACED for path in sorted((TESTS / folder).glob("test_*.py"))]
        new = trace(files)
        renewed = {node.partition("::")[0] for node in new if not any("::" in file for file in files)}
        traced = {node: facts for node, facts in traced.items() if node.partition("::")[0] not in renewed} | new
        where.write_text(json.dumps(traced))
        print(f"traced {len(new)} tests")
        if args.trace is not None:
            return 0
    run(todo, traced, records, args.jobs, args.long)
    return 0


def to_run(args: argparse.Namespace, before: Records) -> list[Mutant]:
    """Of the mutants that are asked for those that have no outcome yet, or that survived."""
    if args.again:
        return [
            mutant for mutant in chosen(args) if before.get((mutant.id, mutant.new), {}).get("outcome") == "survived"
        ]
    return [mutant for mutant in chosen(args) if args.only or (mutant.id, mutant.new) not in before]


def prepare() -> None:
    """Import what all children need, but not what is mutated."""
    for name in ("numpy", "hypothesis.extra.numpy", "llvmlite.binding", "numba"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    os.environ["HYPOTHESIS_PROFILE"] = "ci"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(TESTS)])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(ROOT)


def run(todo: Sequence[Mutant], traced: Trace, records: Path, jobs: int, every: bool) -> None:
    """Run mutants: first those that are made in place, then those that need imports of their own."""
    quick = [mutant for mutant in todo if can_be_exchanged(mutant)]
    print(f"{len(todo)} mutants, {len(quick)} of them in place", flush=True)
    if quick:
        with child(lambda tell: serve(quick, traced, records, jobs, every)) as (process, source):
            for facts in heard(process, source, lambda: 10**6):
                print(facts, flush=True)
    run_jobs([mutant for mutant in todo if not can_be_exchanged(mutant)], traced, records, jobs, planted, every)


def run_suites(todo: Sequence[Mutant], records: Path, jobs: int, every: bool) -> None:
    """Run mutants of modules that have tests of their own, those of each job by a server of its own."""

    def judge(mutant: Mutant, traced: Trace, every: bool) -> dict[str, Any]:
        return asked(server, mutant, every)

    server = Server()  # starts its process when it is first asked: each job has one
    some = [mutant for mutant in todo if suite_of(mutant) is not None]
    run_jobs(some, {}, records, jobs, judge, every)
    server.close()


def serve(some: Sequence[Mutant], traced: Trace, records: Path, jobs: int, every: bool) -> int:
    """Collect all tests that some mutants need, and run these."""
    nodes = {node for mutant in some for node in tests_of(mutant, traced, every)}
    files = sorted({node.partition("::")[0] for node in nodes})
    server = InPlace(lambda judge: run_jobs(some, traced, records, jobs, judge, every))
    return run_pytest([str(ROOT / file) for file in files], server, first_failure=False)


def run_jobs(some: Sequence[Mutant], traced: Trace, records: Path, jobs: int, judge: Any, every: bool) -> None:
    """Run mutants in several processes: every one takes its share of them."""
    workers = []
    for job in range(1, jobs):
        worker = os.fork()
        if worker == 0:
            try:
                run_share(some[job::jobs], traced, records, judge, every)
            finally:
                os._exit(0)
        workers.append(worker)
    run_share(some[::jobs], traced, records, judge, every)
    for worker in workers:
        os.waitpid(worker, 0)


def run_share(some: Sequence[Mutant], traced: Trace, records: Path, judge: Any, every: bool) -> None:
    """Run mutants one by one, and write down what comes of each."""
    for mutant in some:
        facts = {"id": mutant.id, "old": mutant.old, "new": mutant.new, "source": digest(mutant.file)}
        facts |= judge(mutant, traced, every)
        with records.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def report(some: Sequence[Mutant], records: Records) -> None:
    """Counts of each module, and its survivors."""
    counts: dict[str, Counter[str]] = {}
    for mutant in some:
        counts.setdefault(mutant.file, Counter())[
            records.get((mutant.id, mutant.new), {}).get("outcome", "not run")
        ] += 1
    print(f"{'module':25} mutants  killed timeout survived  broken not run  score")
    for file, count in counts.items():
        caught = count["killed"] + count["timeout"]
        ran = caught + count["survived"]
        shown = (count[name] for name in ("killed", "timeout", "survived", "incompetent", "not run"))
        numbers = "{:7} {:7} {:7} {:8} {:7} {:7}".format(count.total(), *shown)
        print(f"{file:25} {numbers}  {100 * caught / ran if ran else 0:.1f}%")
    for mutant in some:
        if records.get((mutant.id, mutant.new), {}).get("outcome") == "survived":
            print(f"{mutant.id:45} {mutant.old}  ->  {mutant.new}")


if __name__ == "__main__":
    sys.exit(main())
