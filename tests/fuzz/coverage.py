"""Fuzz the readers of files by coverage, with atheris: python tests/fuzz/coverage.py --minutes 60 [--reader tokenizer].

Inputs that reach new code are kept, and changed again, until the time is up. What fails ends the run: the input is
written to a file, which repeats it: python tests/fuzz/coverage.py --reader checkpoint FILE. Needs Linux, and atheris.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from hashlib import sha1
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # not this folder, where coverage.py would hide the package of that name, but the one above
    sys.path[0] = str(HERE.parent)

CORPUS = HERE.parents[1] / ".hypothesis" / "coverage"
READERS = ("checkpoint", "tokenizer", "gguf", "safetensors", "folder")
LONGEST = 6000  # bytes of an input
SECONDS = 120  # that one input may take
MEMORY = 2**29  # bytes of address space that one input may take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, metavar="M", help="how long, for all readers together")
    parser.add_argument("--reader", choices=READERS, help="the reader of these files only")
    parser.add_argument("--corpus", type=Path, default=CORPUS, metavar="DIR", help="where inputs are kept")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="judge these inputs, and do nothing else")
    args = parser.parse_args()
    wrong = complaint(args)
    if wrong:
        print(f"coverage.py: {wrong}", file=sys.stderr)
        return 2
    if args.files:
        return replay(args.reader, args.files)
    readers = [args.reader] if args.reader else READERS
    for reader in readers:
        code = watch(reader, args.minutes / len(readers), args.corpus / reader)
        if code:
            return code
    return 0


def complaint(args: argparse.Namespace) -> str | None:
    """What is wrong with a call, in one line."""
    if args.files and args.reader is None:
        return "--reader must say what FILE is"
    for file in args.files:
        if not file.is_file():
            return f"FILE must be an input that was found (got {file})"
    if not args.files and not args.minutes > 0:
        return f"--minutes must be positive (got {args.minutes:g})"
    if not args.files and find_spec("atheris") is None:
        return "atheris must be installed to fuzz by coverage (Linux): pip install 'llama2-twins[dev]'"
    return None


def replay(reader: str, files: list[Path]) -> int:
    """Judge inputs without atheris. What is wrong with one comes through."""
    from fuzz.readers import JUDGES

    for file in files:
        with folder() as place:
            _judge(JUDGES[reader], file.read_bytes(), place)
        print(f"{file}: read alike, or refused alike")
    return 0


def folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the input, in memory where that can be: thousands are written each minute."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)


def _judge(judge: Callable[[Path], None], data: bytes, place: str) -> None:
    path = Path(place) / "input.bin"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(path)


def watch(reader: str, minutes: float, corpus: Path) -> int:
    """Fuzz in a process of its own, which never returns, and say how to repeat what it found."""
    corpus.mkdir(parents=True, exist_ok=True)
    finds = corpus.with_name(f"{reader}-finds")
    finds.mkdir(exist_ok=True)
    earlier = set(finds.iterdir())
    print(f"{reader}: {minutes:g} minutes, {len(list(corpus.iterdir()))} inputs in {corpus}", flush=True)
    with folder() as place:
        call = f"coverage.fuzz({reader!r}, {minutes}, {str(corpus)!r}, {str(finds)!r}, {place!r})"
        code = f"import sys; sys.path[0] = {str(HERE.parent)!r}; from fuzz import coverage; {call}"
        done = subprocess.run([sys.executable, "-c", code])
    print(f"{reader}: {len(list(corpus.iterdir()))} inputs in {corpus}, exit code {done.returncode}", flush=True)
    for find in sorted(set(finds.iterdir()) - earlier):
        print(f"{reader}: found {find}: python tests/fuzz/coverage.py --reader {reader} {find}", flush=True)
    return done.returncode


def fuzz(reader: str, minutes: float, corpus: str, finds: str, place: str) -> None:
    """Let atheris feed a reader, from the seeds on. Does not return."""
    import atheris

    with atheris.instrument_imports(include=["llama2_ref", "llama2_fast"], exclude=_compiled()):
        from fuzz.mutators import MUTATORS
        from fuzz.readers import JUDGES, SEEDS

    judge, mutate = JUDGES[reader], MUTATORS[reader]
    for seed in SEEDS[reader]():
        Path(corpus, sha1(seed).hexdigest()).write_bytes(seed)
        with contextlib.suppress(Exception):  # which is found again; this compiles what is to be compiled
            _judge(judge, seed, place)

    def judge_one(data: bytes) -> None:
        _limit_memory()
        _judge(judge, data, place)

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        return mutate(data, longest, random.Random(seed), atheris.Mutate)

    options = [f"-max_total_time={max(1, round(60 * minutes))}", f"-max_len={LONGEST}", "-len_control=0"]
    options += [f"-timeout={SECONDS}", f"-report_slow_units={SECONDS}", "-rss_limit_mb=4096"]
    options += ["-print_final_stats=1", f"-artifact_prefix={finds}/"]
    atheris.Setup([sys.argv[0], *options, corpus], judge_one, custom_mutator=mutator)
    atheris.Fuzz()


def _compiled() -> list[str]:
    """Modules of the compiled engine: numba reads their bytecode, which must be as it was written."""
    spec = find_spec("llama2_fast")
    assert spec and spec.origin
    source = Path(spec.origin).parents[1]
    paths = (source / "llama2_fast" / "engines" / "simd").rglob("*.py")
    return [".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def _limit_memory() -> None:
    """No more address space than the process has now, and half a gigabyte: what asks for more gets a MemoryError."""
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
