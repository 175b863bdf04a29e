"""The team of threads of the numpy engine: who works, at once or in turn, and how work is cut."""

import os
import threading
import time
from functools import partial

import pytest

from llama2_fast import ConfigError
from llama2_fast.engines.threads import Team, available_cores

SECONDS = 20  # after which nobody is coming any more


def test_all_threads_of_a_team_work_at_once():
    """Each task waits until as many run as there are threads; the calling one is one of them."""
    for threads in (2, 3):
        team, meeting, seen = Team(threads), threading.Barrier(threads), set()

        def task(meeting=meeting, seen=seen):
            meeting.wait(SECONDS)
            seen.add(threading.get_ident())

        team.run([task] * threads)
        assert len(seen) == threads
        assert threading.get_ident() in seen
        team.run([task] * threads)  # the same ones again
        assert len(seen) == threads


def test_a_team_is_never_more_than_its_threads():
    running, most, names = set(), [], set()

    def task():
        running.add(threading.get_ident())
        names.add(threading.current_thread().name)
        most.append(len(running))
        time.sleep(0.02)
        running.discard(threading.get_ident())

    Team(3).run([task] * 8)
    assert max(most) <= 3
    names.discard(threading.current_thread().name)
    assert names
    assert all(name.startswith("llama2") for name in names)


def test_a_forked_process_starts_new_threads_once(monkeypatch):
    """As it looks from within: another number of the process. The threads before are not waited for."""
    meeting, seen, team = threading.Barrier(2), [], Team(2)

    def task():
        meeting.wait(SECONDS)
        seen.append(threading.get_ident())

    team.run([task] * 2)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for _ in range(2):
        team.run([task] * 2)
    others = [sorted(set(seen[i : i + 2]) - {threading.get_ident()}) for i in (0, 2, 4)]
    assert others[0] != others[1] == others[2]


@pytest.mark.parametrize(("threads", "tasks"), [(1, 3), (4, 1), (4, 0)])
def test_a_team_of_one_and_a_single_task_start_no_thread(threads, tasks):
    before, done = threading.active_count(), []
    Team(threads).run([partial(lambda i: done.append((i, threading.get_ident())), i) for i in range(tasks)])
    assert done == [(i, threading.get_ident()) for i in range(tasks)]
    assert threading.active_count() == before


def test_the_first_task_s_error_waits_for_the_others():
    done, go = [], threading.Event()

    def fail():
        go.set()
        raise RuntimeError("in the calling thread")

    def work():
        go.wait(SECONDS)
        done.append(1)

    with pytest.raises(RuntimeError, match="in the calling thread"):
        Team(2).run([fail, work, work, work])
    assert done == [1, 1, 1]


@pytest.mark.parametrize(
    ("threads", "length", "smallest", "expected"),
    [
        (3, 10, 1, [(0, 3), (3, 6), (6, 10)]),
        (3, 2, 1, [(0, 1), (1, 2)]),
        (3, 8, 4, [(0, 4), (4, 8)]),
        (3, 7, 4, [(0, 7)]),
        (1, 7, 1, [(0, 7)]),
        (3, 0, 1, [(0, 0)]),
    ],
)
def test_work_is_cut_into_equal_parts(threads, length, smallest, expected):
    assert Team(threads).split(length, smallest) == [slice(*ends) for ends in expected]
    if smallest == 1:
        assert Team(threads).split(length) == [slice(*ends) for ends in expected]


def test_as_many_threads_as_cores_unless_told():
    assert Team(None).threads == available_cores() >= 1
    assert Team(1).threads == 1
    for wrong in (0, -1):
        with pytest.raises(ConfigError, match=f"threads must be at least 1 \\(got {wrong}\\)"):
            Team(wrong)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cores_that_this_process_may_not_use_do_not_count():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (1, 1), (None, 1)])
def test_cores_where_the_system_knows_no_affinity(monkeypatch, count, expected):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert available_cores() == expected
