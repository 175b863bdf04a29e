"""One measurement of one model, in a process of its own, so that peak memory and caches are its own.

`python -m llama2_fast.tools.bench_worker JOB`, with a Job in JSON, prints what it found in JSON, or
{"error": a line}. It is what the verb `bench` runs.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama2_ref.errors import Llama2Error
from llama2_ref.formats.llama2c_header import Header
from llama2_ref.tokenizer import BOS

from .. import kernels
from ..engines.choose import choose_backend, engine_works
from ..engines.threads import Team
from ..model import read_model
from ..transformer import Transformer
from .random_models import own_copies, random_weights, shape_header

READS = 5  # of the same memory, of which the fastest counts
LINE = 64  # bytes
STRIDE = 256  # bytes that the compiled loop reads at a time


@dataclass(frozen=True)
class Job:
    """What to measure."""

    checkpoint: str | None  # a file or folder of any format; None: the weights of the shape are made in memory
    shape: str | None
    quantize: str | None
    backend: str | None
    threads: int | None
    prompt: int
    steps: int
    read_bytes: int  # of memory, to find its bandwidth: more than caches hold
    started: float  # the time when the process was started


def measure(job: Job) -> dict[str, Any]:
    """Seconds, tokens per second and bytes. The first pass is a warm-up of the others.

    First token: from the start of the process, Python's own included, to the logits behind the prompt. Neither it nor
    the load time says anything where weights are made in memory.
    """
    measured, threads = _rates(job)
    # The model is gone now: memory for it and for what follows need not be there at once.
    bandwidth, by = read_bandwidth(threads, job.read_bytes)
    return measured | {"threads": threads, "bandwidth": bandwidth, "bandwidth_by": by}


def _rates(job: Job) -> tuple[dict[str, Any], int]:
    """What can be told of the model, and its number of threads."""
    transformer, load = _load(job)
    vocab_size = transformer.config.vocab_size
    tokens = [BOS % vocab_size] + [(7 * i + 3) % vocab_size for i in range(job.prompt - 1)]
    transformer.forward(tokens, transformer.new_cache())
    first_token = time() - job.started
    cache = transformer.new_cache()
    prompt = _seconds(lambda: transformer.forward(tokens, cache))
    _decode(transformer, min(2, job.steps))
    decode = _seconds(lambda: _decode(transformer, job.steps))
    measured = {"backend": transformer.backend, "load": load, "first_token": first_token if job.checkpoint else None}
    measured |= {"prompt_rate": job.prompt / prompt, "decode_rate": job.steps / decode, "peak_bytes": peak_memory()}
    return measured, transformer.threads


def _load(job: Job) -> tuple[Transformer, float | None]:
    """The model, and how long it took to load it."""
    start = perf_counter()
    if job.checkpoint is not None:
        file = read_model(job.checkpoint)
        knobs = {"threads": job.threads, "backend": job.backend, "quantize": job.quantize}
        return Transformer(file.config, file.weights, **knobs), perf_counter() - start  # type: ignore[arg-type]
    header: Header = shape_header(str(job.shape), 1)
    weights = random_weights(header, job.quantize)
    backend = choose_backend(job.backend, True, weights)
    weights = own_copies(weights) if backend == "numpy" else weights
    return Transformer(header.config, weights, threads=job.threads, backend=backend), None


def _seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _decode(transformer: Transformer, steps: int) -> None:
    """The likeliest text from an empty cache."""
    cache, token = transformer.new_cache(), BOS % transformer.config.vocab_size
    for _ in range(steps):
        token = kernels.argmax(transformer.forward([token], cache))


# ------------------------------------------------------------------------------------------------------------ bandwidth


def read_bandwidth(threads: int, count: int) -> tuple[float, str]:
    """Bytes per second that so many threads read, and by what: compiled code, where numba is installed."""
    whole = np.ones(count // 4 + LINE, np.float32)
    start = -whole.ctypes.data % LINE // 4
    data = whole[start : start + count // 4]
    compiled = engine_works(required=False)
    read = (_compiled_reader if compiled else _numpy_reader)(data, threads)
    return data.nbytes / min(_seconds(read) for _ in range(READS)), "compiled code" if compiled else "numpy"


def _compiled_reader(data: NDArray[np.float32], threads: int) -> Callable[[], None]:
    from ..engines.simd.compiler.library import library
    from ..engines.simd.thread_team import Team

    workers = Team(threads)
    run, address = library().run_read, data.ctypes.data
    share = data.nbytes // workers.threads // STRIDE * STRIDE
    out = np.zeros((workers.threads + 1) * LINE, np.uint8)
    place = out.ctypes.data + -out.ctypes.data % LINE

    def part(thread: int, _keep: Any = (data, out)) -> None:
        run(address + thread * share, share, place + thread * LINE)

    return partial(workers.run, part, lambda: None)


def _numpy_reader(data: NDArray[np.float32], threads: int) -> Callable[[], None]:
    workers = Team(threads)
    return partial(workers.run, [partial(np.sum, data[part]) for part in workers.split(len(data))])


# --------------------------------------------------------------------------------------------------------------- memory


def peak_memory() -> int | None:
    """The most memory that this process has had, in bytes, the touched pages of its files included; None: not known.

    Linux has it in two places, of which getrusage's also counts the process that started this one.
    """
    if sys.platform == "win32":
        return _peak_on_windows()
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_on_windows() -> int | None:
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS"""

        _fields_ = [
            ("size", wintypes.DWORD), ("faults", wintypes.DWORD), ("peak", ctypes.c_size_t),
            *((f"other{i}", ctypes.c_size_t) for i in range(7)),
        ]  # fmt: skip

    counters = Counters(size=ctypes.sizeof(Counters))
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    ask = kernel32.K32GetProcessMemoryInfo
    ask.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    good = ask(kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.size)
    return int(counters.peak) if good else None


def main() -> int:
    """Measure, and print what is found."""
    try:
        measured = measure(Job(**json.loads(sys.argv[1])))
    except Llama2Error as error:
        measured = {"error": str(error)}
    except MemoryError:
        measured = {"error": "there is not enough memory for this model and context"}
    print(json.dumps(measured))
    return 2 if "error" in measured else 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
