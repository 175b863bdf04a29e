"""The run of `make fuzz`: rounds until the time is up, or until something fails."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.run import LARGEST, main, next_size, summary
from support.commands import INTERRUPTIBLE, after

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path):
    """The words that fuzz one test on one core, and an environment in which nothing is kept."""
    words = [sys.executable, "tests/fuzz/run.py", "-n", "0", "-p", "no:cacheprovider"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HYPOTHESIS", "LLAMA2_FUZZ"))}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environment |= {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "examples")}
    return {"args": words, "cwd": ROOT, "env": environment, "text": True, "stdout": subprocess.PIPE}


def test_a_run_says_how_much_it_tried(command):
    command["args"] += ["--minutes", "0.05", "-k", "test_argmax"]
    done = subprocess.run(**command, check=False)
    assert done.returncode == 0, done.stdout
    sizes = [int(size) for size in re.findall(r"round \d+: (\d+) examples of each test, seed \d+, ", done.stdout)]
    total, count = re.search(r"([\d,]+) examples of 2 properties in (\d+) rounds, .* no failure", done.stdout).groups()
    assert int(count) == len(sizes)
    assert int(total.replace(",", "")) >= 2 * sum(sizes)


def test_rounds_go_on_until_the_time_is_up(monkeypatch, capsys):
    """By a clock of its own: an example of each test takes 0.2 seconds."""
    clock, sizes = [0.0], []

    def run_round(number, examples, left, pytest_args):
        sizes.append(examples)
        clock[0] += 0.2 * examples
        return 0, {"examples": 3 * examples, "properties": 3, "ratios": {}}

    monkeypatch.setattr("fuzz.run.run_round", run_round)
    monkeypatch.setattr("fuzz.run.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("sys.argv", ["run.py", "--minutes", "21"])
    assert main() == 0
    assert sizes == [50, 3000, 3000, 250]
    assert capsys.readouterr().out == "18,900 examples of 3 properties in 4 rounds, 21.0 minutes: no failure\n"


def test_the_first_failure_ends_it_and_says_how_to_see_it_again(command, tmp_path):
    (tmp_path / "wrong.py").write_text("def argmax(x):\n    return len(x) - 1\n")
    command["args"] += ["--minutes", "60", "-k", "test_argmax", "--impl", "wrong"]
    done = subprocess.run(**command, check=False)
    assert done.returncode == 1
    assert re.search(
        r"round 1 failed: HYPOTHESIS_PROFILE=regress replays it, and --hypothesis-seed=\d+ repeats it", done.stdout
    )
    assert "no failure" not in done.stdout


@pytest.mark.usefixtures("sigint_ignored")
def test_an_interrupt_is_one_line(command):
    command["args"] = after(INTERRUPTIBLE, [*command["args"], "--minutes", "60", "-k", "test_matmul"])
    with subprocess.Popen(**command, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline().startswith("round 1")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("interrupted\n")


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_times_that_are_none(command, minutes):
    command["args"] += [f"--minutes={minutes}"]
    done = subprocess.run(**command, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert "--minutes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_round_is_as_long_as_the_time_allows():
    assert next_size(50, seconds=20.0, left=100.0) == 250
    assert next_size(50, seconds=20.0, left=10_000.0) == 1500, "ten minutes at most"
    assert next_size(50, seconds=0.1, left=500.0) == LARGEST
    assert next_size(500, seconds=60.0, left=-5.0) < 0


def test_the_summary_has_the_largest_of_all_rounds():
    rounds = [{"examples": 1500, "properties": 3, "ratios": {"a": 0.5, "b": 0.1}}]
    rounds.append({"examples": 20, "properties": 2, "ratios": {"b": 0.75}})
    text = summary(rounds, 90.0)
    assert text.startswith("1,520 examples of 3 properties in 2 rounds, 1.5 minutes: no failure\n")
    assert text.endswith("largest part of a bound: b 0.75, a 0.5")
