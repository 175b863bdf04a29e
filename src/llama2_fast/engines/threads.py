"""A few threads for the work that numpy does on one core: everything but large float32 matrix products.

numpy releases the interpreter's lock inside its loops, so that plain Python threads do run at once. Handing work over
takes some 50 microseconds: what is shorter than that is not worth it.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context

from llama2_ref.errors import ConfigError


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Team:
    """The calling thread and `threads - 1` others, which are started when they are first needed.

    `threads` None means one for each core. Raises ConfigError if it is below 1.
    """

    def __init__(self, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1 (got {threads})")
        self.threads = threads or available_cores()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all tasks at once, and return when all have ended, even if one of them raised."""
        if self.threads == 1 or len(tasks) < 2:
            for task in tasks:
                task()
            return
        if self._pool is None or self._process != os.getpid():  # threads do not come along into a forked process
            self._process = os.getpid()
            self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="llama2")
        # In a copy of the caller's context each, which holds numpy's settings for what is not finite.
        futures = [self._pool.submit(copy_context().run, task) for task in tasks[1:]]
        try:
            tasks[0]()
        finally:
            wait(futures)
        for future in futures:
            future.result()

    def split(self, length: int, smallest: int = 1) -> list[slice]:
        """0..length in as many equal parts as there are threads, but none below `smallest`."""
        parts = max(1, min(self.threads, length // smallest))
        return [slice(length * i // parts, length * (i + 1) // parts) for i in range(parts)]
