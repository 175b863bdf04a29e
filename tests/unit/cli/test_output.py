"""What goes to terminals and pipes, and what becomes of it after Ctrl-C, or where nobody reads it."""

import re
import signal
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from support.command_line import FULL, complaint, linux, on_terminal, posix
from support.commands import ENV, INTERRUPTIBLE, SECONDS, run, start, write_scripted

CONTROLS = "=\x1b[31m\x07\x08\x7f\x9b\r\n\té\x00"


@posix
def test_a_terminal_gets_no_control_characters(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [CONTROLS.encode()])
    bad = "\ufffd"
    assert on_terminal(llama2, path) == f"={bad}[31m{bad * 4}{bad}\n\té{bad}\n"


@posix
def test_a_pipe_gets_what_the_model_said(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [CONTROLS.encode()])
    assert run(llama2, path).stdout.decode() == CONTROLS + "\n"


# -------------------------------------------------------------------------------------------------- Ctrl-C, lost output


@posix
@pytest.mark.usefixtures("sigint_ignored")
@pytest.mark.parametrize("argv", [["-n", "0"], ["-m", "chat", "-i", "1"]], ids=["generate", "chat"])
def test_ctrl_c_ends_the_line_of_a_text_that_is_under_way(llama2: ModuleType, endless: Path, argv: list[str]) -> None:
    with start(llama2, endless, *argv, first=INTERRUPTIBLE) as process:
        begin = process.stdout.read(30)  # text comes while the rest is being made
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=SECONDS)
    assert re.fullmatch(rb"(Assistant: )?[ab]+\n", begin + rest)
    assert (process.returncode, len(err.splitlines())) == (130, 1)  # the model's description


@posix
@pytest.mark.usefixtures("sigint_ignored")
def test_ctrl_c_ends_the_line_that_waits_for_a_question(llama2: ModuleType, endless: Path) -> None:
    with start(llama2, "chat", endless, first=INTERRUPTIBLE, stdin=subprocess.PIPE) as process:
        assert process.stdout.read(6) == b"User: "
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stdout.read() == b"\n"
        assert len(process.stderr.read().splitlines()) == 1


@posix
@pytest.mark.parametrize("argv", [["-n", "0"], ["-m", "chat", "-i", "1"]], ids=["generate", "chat"])
def test_reader_that_goes_away(llama2: ModuleType, endless: Path, argv: list[str]) -> None:
    """As with `| head -c 1`."""
    with start(llama2, endless, *argv) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 2
    assert "standard output was closed" in complaint(err, llama2)


LOST_OUTPUT = {"full": FULL + "os.dup2(fd, 1)", "closed": "os.close(1)"}


@linux
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("how", LOST_OUTPUT)
@pytest.mark.parametrize("verb", [[], ["chat"], ["info"], ["tokenize", "-i", "1"], ["-h"], ["--version"]], ids=str)
def test_output_that_cannot_be_written(
    llama2: ModuleType, model: Path, verb: list[str], how: str, unbuffered: str
) -> None:
    path = [] if verb[:1] in (["-h"], ["--version"]) else [model]
    done = run(llama2, *verb, *path, first=LOST_OUTPUT[how], env=ENV | {"PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == 2
    says = {"full": "can't be written (No space left on device)", "closed": "must be open"}
    assert f"standard output {says[how]}" in complaint(done.stderr, llama2)


LOST_ERRORS = {"full": FULL + "os.dup2(fd, 2)", "closed": "os.close(2)"}


@linux
@pytest.mark.parametrize("how", LOST_ERRORS)
def test_standard_error_may_be_lost(llama2: ModuleType, model: Path, how: str) -> None:
    """The text, the exit code and the files are what they would be, and nothing else is on standard output."""
    argv = [model, "-t", "0", "-n", "30"]
    lost = run(llama2, *argv, first=LOST_ERRORS[how])
    assert (lost.returncode, lost.stdout) == (0, run(llama2, *argv).stdout)
    output = model.with_name("quantized.bin")
    done = run(llama2, "quantize", model, output, first=LOST_ERRORS[how])
    assert (done.returncode, done.stdout, output.exists()) == (0, b"", True)
    bad = run(llama2, "no such file", first=LOST_ERRORS[how])
    assert (bad.returncode, bad.stdout) == (2, b"")


@posix
@pytest.mark.parametrize("argv", [["-i", "-"], ["chat"]], ids=["generate", "chat"])
@pytest.mark.parametrize(
    ("how", "says"),
    [("os.close(0)", "must be open"), ("os.dup2(os.open(os.devnull, os.O_WRONLY), 0)", "must be readable")],
    ids=["closed", "write-only"],
)
def test_standard_input_must_be_readable(llama2: ModuleType, model: Path, argv: list[str], how: str, says: str) -> None:
    done = run(llama2, *argv, model, first=how)
    assert done.returncode == 2
    assert f"standard input {says}" in complaint(done.stderr, llama2)
