"""Threads that run one compiled pass together, and sleep between passes.

Plain Python threads: compiled code lets go of the interpreter's lock. Within a pass they meet at spinning barriers; a
pass that cannot go on (Ctrl-C before all had begun) is aborted, which lets those out who already wait for the others.
"""

import os
from _thread import LockType, allocate_lock
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from llama2_ref.errors import ConfigError

MOST_THREADS = 1024
Work = Callable[[int], None]
Tasks = SimpleQueue[tuple[Work | None, LockType] | None]


class Team:
    """The calling thread and `threads - 1` others, which are started when they are first needed.

    Raises ConfigError unless there are 1 to MOST_THREADS, and from `run`, if the system does not start so many.
    """

    def __init__(self, threads: int) -> None:
        self._queues: list[Tasks] = []
        self._process = os.getpid()
        if threads < 1:
            raise ConfigError(f"threads must be at least 1 (got {threads})")
        if threads > MOST_THREADS:
            raise ConfigError(f"threads must be at most {MOST_THREADS} (got {threads})")
        self.threads = threads

    def run(self, work: Work, abort: Callable[[], None]) -> None:
        """Call work(0) ... work(threads - 1) at once, and return when all have returned. Only work(0) may raise.

        If this thread is interrupted, `abort` must make the others come to an end.
        """
        try:
            done = [_put(tasks, work) for tasks in self._started()]
            work(0)
            for lock in done:
                lock.acquire()
        except BaseException:
            abort()
            self._settle()
            raise

    def _settle(self) -> None:
        """Return when all others sleep: a task that does nothing is done after all that were given before it."""
        try:
            for lock in [_put(tasks, None) for tasks in self._queues]:
                lock.acquire()
        except KeyboardInterrupt:  # again: the others still use the buffers of the pass, so keep waiting
            self._settle()

    def _started(self) -> list[Tasks]:
        if self._process != os.getpid():  # threads do not come along into a forked process
            self._process, self._queues = os.getpid(), []
        while len(self._queues) < self.threads - 1:
            tasks: Tasks = SimpleQueue()
            number = len(self._queues) + 1
            try:
                Thread(target=_serve, args=(tasks, number), name=f"llama2-{number}", daemon=True).start()
            except RuntimeError:
                rule = f"threads must be at most {number} here, since the system starts no more"
                raise ConfigError(f"{rule} (got {self.threads})") from None
            self._queues.append(tasks)
        return self._queues

    def __del__(self) -> None:
        if self._process == os.getpid():
            for tasks in self._queues:
                tasks.put(None)


def _put(tasks: Tasks, work: Work | None) -> LockType:
    """Give a task to a thread. The lock that is returned can be had when it is done."""
    lock = allocate_lock()
    lock.acquire()
    tasks.put((work, lock))
    return lock


def _serve(tasks: Tasks, number: int) -> None:
    while (task := tasks.get()) is not None:
        work, done = task
        if work is not None:
            work(number)
        done.release()
