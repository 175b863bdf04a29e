"""The command line, as a user meets it: verbs and flags, streams, terminals, Ctrl-C, lost output."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli import VERBS
from llama2_ref.cli.main import main
from llama2_ref.model import BUNDLED
from support.commands import ENV, INTERRUPTIBLE, SECONDS, run, small_disk, start, write_scripted
from support.models import random_twins, write_model

posix = pytest.mark.skipif(os.name != "posix", reason="needs the file descriptors, signals and terminals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, or file names of any bytes, as Linux has")

CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64)
EXAMPLES = [import_module(name).EXAMPLES for name in VERBS.values()]
RATES = r"prompt: (\d+) tokens, [\d.]+ tok/s; generated: (\d+) tokens, [\d.]+ tok/s; seed (\d+)"
FULL = "fd = os.open('/dev/full', os.O_WRONLY); "  # code to run before the command line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says "ab" a million times."""
    return write_scripted(tmp_path_factory.mktemp("endless"), [b"a", b"b"], loop=True, seq_len=2_000_000)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Run the command line in this process: standard output and error of a call that must succeed."""

    def ask(llama2: ModuleType, *argv: str | Path, stdin: bytes = b"") -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(llama2, [str(word) for word in argv])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return ask


Ask = Callable[..., tuple[str, str]]


def complaint(stderr: bytes, llama2: ModuleType) -> str:
    """The one line on standard error, behind the model's description."""
    lines = [line for line in stderr.decode().splitlines() if " parameters, " not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"python -m {llama2.__name__}: ")
    return lines[0]


# ---------------------------------------------------------------------------------------------------------------- help


def test_version(llama2: ModuleType) -> None:
    assert run(llama2, "--version").stdout.decode().split() == [llama2.__name__, llama2.__version__]


@pytest.mark.parametrize("verb", ["", *VERBS])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_examples(llama2: ModuleType, ask: Ask, verb: str, flag: str) -> None:
    out, err = ask(llama2, *verb.split(), flag)
    assert f"examples:\n  python -m {llama2.__name__}" in out
    assert not err


@pytest.mark.parametrize("line", [line.strip() for text in EXAMPLES for line in text.splitlines()][1:])
def test_examples_are_understood(
    llama2: ModuleType, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their files are missing here, or can't be fetched, and that is all that is wrong. The first needs none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA2_CACHE", str(tmp_path))
    monkeypatch.setenv("LLAMA2_TOKENIZER_URL", (tmp_path / "none").as_uri())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One day\n")))
    words = shlex.split(line.split("  ")[0].split(" | ")[-1])
    assert words[0] == "{prog}"
    assert main(llama2, words[1:]) == 2
    assert "No such file or directory" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------- flags


def test_the_bundled_model_has_a_temperature_of_its_own(
    llama2: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.5 where none is asked for, by no name or by its name; the same file elsewhere takes llama2.c's 1.0."""
    for name in ("tiny.bin", "tok1024.bin"):
        (tmp_path / name).write_bytes((BUNDLED.parent / name).read_bytes())

    def text(*argv: str) -> str:
        assert main(llama2, [*argv, "-s", "3", "-n", "8"]) == 0
        return capsys.readouterr().out

    assert text() == text("--model", "tiny") == text("-t", "0.5")
    assert text(str(tmp_path / "tiny.bin")) == text("-t", "1") != text()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_same_seed_same_text(ask: Ask, tmp_path: Path, version: int) -> None:
    path = write_model(tmp_path, CONFIG, version=version)
    texts = {ask(llama2, path, "-s", "42")[0] for llama2 in (llama2_ref, llama2_fast) for _ in range(2)}
    assert len(texts) == 1


def test_other_seed_other_text(llama2: ModuleType, model: Path, ask: Ask) -> None:
    assert ask(llama2, model, "-s", "1")[0] != ask(llama2, model, "-s", "2")[0]


def test_without_a_seed_the_one_in_use_is_told(llama2: ModuleType, model: Path, ask: Ask) -> None:
    out, err = ask(llama2, model)
    again, _ = ask(llama2, model, "-s", re.findall(r"; seed (\d+)\n", err)[0])
    assert out == again


def test_temperature_0_needs_no_seed(llama2: ModuleType, model: Path, ask: Ask) -> None:
    assert ask(llama2, model, "-t", "0")[0] == ask(llama2, model, "-t", "0")[0]


@pytest.mark.parametrize("verb", ["generate", "chat"])
def test_short_and_long_flags_are_the_same(llama2: ModuleType, model: Path, ask: Ask, verb: str) -> None:
    values = {"temperature": "0.7", "topp": "0.5", "seed": "7", "steps": "60", "prompt": "a b", "mode": verb}
    values |= {"tokenizer": str(model.with_name("tokenizer.bin")), "system": "c"}
    short = {"temperature": "t", "topp": "p", "seed": "s", "steps": "n", "prompt": "i", "mode": "m"}
    short |= {"tokenizer": "z", "system": "y"}
    briefly = ask(llama2, model, *(word for name in values for word in (f"-{short[name]}", values[name])))
    at_length = ask(llama2, "--checkpoint", model, *(w for name in values for w in (f"--{name}", values[name])))
    assert briefly[0] == at_length[0] != ask(llama2, verb, model, "-i", "a b", "-s", "8", "-n", "60")[0]


def test_tokenizer_may_lie_elsewhere(llama2: ModuleType, model: Path, ask: Ask, tmp_path: Path) -> None:
    moved = tmp_path / "only.bin"
    moved.write_bytes(model.read_bytes())
    tokenizer = model.with_name("tokenizer.bin")
    assert ask(llama2, moved, "-z", tokenizer, "-t", "0")[0] == ask(llama2, model, "-t", "0")[0]


@pytest.mark.parametrize(("steps", "said"), [(1, 1), (7, 7), (20, 20), (0, 20), (21, 20), (10**30, 20)])
def test_steps_are_positions(llama2: ModuleType, ask: Ask, tmp_path: Path, steps: int, said: int) -> None:
    """0 is the whole context; more than that is clipped, and told."""
    path = write_scripted(tmp_path, [b"x", b"y"], loop=True, seq_len=20)
    out, err = ask(llama2, path, "-n", str(steps))
    assert out == ("xy" * 10)[:said] + "\n"
    assert f"generated: {said} tokens" in err
    assert (f"note: {steps} steps are more than the context, which ends after 20" in err) == (steps > 20)


def test_default_steps_need_no_note(llama2: ModuleType, ask: Ask, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"x"], loop=True, seq_len=20)
    assert "note:" not in ask(llama2, path)[1]


# -------------------------------------------------------------------------------------------------------------- streams


def test_text_goes_to_stdout_and_facts_to_stderr(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b" x", b"!"])
    done = run(llama2, path, "-i", "1+1", "-s", "7")
    assert (done.returncode, done.stdout) == (0, f"1+1 x!{os.linesep}".encode())
    facts, rates = done.stderr.decode().splitlines()
    assert facts.startswith("model.bin: ")
    assert all(word in facts for word in ("parameters", "float32", "version 1", "dim 4", "n_layers 1", "seq_len 64"))
    assert re.fullmatch(RATES, rates).groups() == ("5", "2", "7")


@pytest.mark.parametrize(
    ("stdin", "prompt"), [(b"1", "1"), (b"1\n", "1"), (b"1\r\n", "1"), (b"1\n\n", "1\n"), (b"1\n2\r", "1\n2\r")]
)
def test_one_line_end_of_the_prompt_is_dropped(
    llama2: ModuleType, ask: Ask, tmp_path: Path, stdin: bytes, prompt: str
) -> None:
    path = write_scripted(tmp_path, [b"x"])
    assert ask(llama2, path, "-i", "-", stdin=stdin)[0] == f"{prompt}x\n"


@pytest.mark.parametrize(
    "locale",
    [
        {},
        {"LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=lambda locale: " ".join(f"{k}={v}" for k, v in locale.items()) or "none",
)
def test_text_is_utf8_in_every_locale(llama2: ModuleType, tmp_path: Path, locale: dict[str, str]) -> None:
    """The prompt has characters that take several byte tokens, and so has what the model says."""
    emoji = "😀".encode()
    path = write_scripted(tmp_path, [b"=", emoji[:1], emoji[1:3], emoji[3:]])
    for stdin in ("naïve 😀".encode(), b""):
        prompt = "-" if stdin else "naïve 😀"
        words = "-i", prompt.encode() if os.name == "posix" else prompt
        done = run(llama2, path, *words, stdin=stdin, env=ENV | locale)
        assert done.stdout.decode().rstrip() == "naïve 😀=😀"


def test_half_a_character_is_replaced(llama2: ModuleType, ask: Ask, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"=", b"\xf0\x9f", b"+", b"\xf0"])
    assert ask(llama2, path)[0] == "=\ufffd+\ufffd\n"


# ------------------------------------------------------------------------------------------------------------ terminals


def on_terminal(llama2: ModuleType, *argv: str | Path, stream: str = "stdout") -> str:
    """What a terminal gets that is one of the streams of the command line."""
    pty, tty = pytest.importorskip("pty", reason="needs a pseudo-terminal"), pytest.importorskip("tty")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # or the terminal would add a CR to every line
    written = b""
    try:
        with start(llama2, *argv, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}) as p:
            os.close(theirs)
            while chunk := _read(ours):
                written += chunk
            assert p.wait(SECONDS) == 0
    finally:
        os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # how Linux says that nobody has the other end open
        return b""


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


# ------------------------------------------------------------------------------------------------- Ctrl-C, lost output


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


# ----------------------------------------------------------------------------------------------------------------- chat


def test_lines_are_turns_and_the_end_of_input_ends_a_chat(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b" x", b"!"], seq_len=200)
    done = run(llama2, "chat", path, stdin=b"1\r\n2")
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == ["User: Assistant: x!"] * 2 + ["User: "]
    assert done.stderr.decode().count("tok/s") == 2 * 2


def test_empty_line_ends_a_chat(llama2: ModuleType, ask: Ask, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"x"])
    assert ask(llama2, "chat", path, stdin=b"1\n \n2\n")[0] == "User: Assistant: x\nUser: \n"


def test_chat_is_the_librarys(llama2: ModuleType, ask: Ask, model: Path, tmp_path: Path) -> None:
    """The first question has the system message, and the second follows the first answer."""
    path = write_scripted(tmp_path, [b"x", b"?"], seq_len=300)
    system, question, next_question = (
        {"role": role, "content": content} for role, content in (("system", "s"), ("user", "1"), ("user", "2"))
    )
    tokenizer = llama2.load(path).tokenizer
    first = len(llama2.encode_chat(tokenizer, [system, question]))
    second = first + len(["x", "?", "EOS"]) + len(llama2.encode_chat(tokenizer, [next_question]))
    out, err = ask(llama2, "chat", path, "-y", "s", "-i", "1", stdin=b"2\n")
    assert out == "Assistant: x?\nUser: Assistant: x?\nUser: \n"
    assert [int(prompt) for prompt, _, _ in re.findall(RATES, err)] == [first, second]


def test_mode_chat_is_the_verb(llama2: ModuleType, ask: Ask, tmp_path: Path) -> None:
    """Its default of steps, too: the whole context."""
    path = write_scripted(tmp_path, [b"x"], loop=True, seq_len=300)
    verb, mode = ask(llama2, "chat", path, "-i", "1"), ask(llama2, path, "-m", "chat", "-i", "1")
    assert verb[0] == mode[0]
    assert verb[0].count("x") > 256


def test_mode_wins_over_the_verb(llama2: ModuleType, ask: Ask, model: Path) -> None:
    assert ask(llama2, "chat", model, "-m", "generate", "-t", "0")[0] == ask(llama2, model, "-t", "0")[0]


def test_full_context_ends_a_chat_with_one_line(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"x"], loop=True, seq_len=50)
    done = run(llama2, "chat", path, stdin=b"1\n2\n")
    assert done.returncode == 2
    assert done.stdout.count(b"Assistant:") == 1
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(f"python -m {llama2.__name__}: conversation must fit into the context of 50 tokens (got ")


# ------------------------------------------------------------------------------------------------------- info, tokenize


@pytest.mark.parametrize("version", [0, 1, 2])
def test_info_tells_what_is_in_a_file(ask: Ask, tmp_path: Path, version: int) -> None:
    path = write_model(tmp_path, CONFIG, version=version)
    out, err = ask(llama2_ref, "info", path)
    assert ask(llama2_fast, "info", "--checkpoint", path) == (out, err)
    facts = dict(line.split(maxsplit=1) for line in out.splitlines()[1:] if "size" not in line.split()[1])
    assert all(facts[name] == str(value) for name, value in vars(CONFIG).items())
    assert f"{path.stat().st_size:,} bytes" in out
    assert str(tmp_path / "tokenizer.bin") in out
    assert ("int8 in groups of 16" if version == 2 else "float32 weights") in out


def test_info_needs_no_tokenizer(llama2: ModuleType, ask: Ask, model: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.bin"
    alone.write_bytes(model.read_bytes())
    assert "none beside it" in ask(llama2, "info", alone)[0]


@linux
def test_file_names_may_be_no_text(llama2: ModuleType, model: Path) -> None:
    name = os.fsencode(model.parent) + b"/\xff.bin"
    Path(os.fsdecode(name)).write_bytes(model.read_bytes())
    done = run(llama2, "info", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"\udcff.bin: ")


@pytest.mark.parametrize("by", ["checkpoint", "tokenizer"])
def test_tokenize_shows_each_token(llama2: ModuleType, ask: Ask, model: Path, by: str) -> None:
    file = [model] if by == "checkpoint" else ["-z", model.with_name("tokenizer.bin")]
    out, err = ask(llama2, "tokenize", *file, "-i", "ab é")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [int(token) for token, _ in rows] == llama2.load(model).tokenizer.encode("ab é")
    assert rows[-1] == [str(3 + 0xA9), "'<0xA9>'"]
    assert err == f"{len(rows)} tokens, BOS included\n"


# ------------------------------------------------------------------------------------------------------------- quantize


def folder_of(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


@pytest.mark.parametrize("version", [0, 1])
def test_quantized_file_serves_both_packages(ask: Ask, tmp_path: Path, version: int) -> None:
    """The twins write the same bytes, which hold the same text."""
    path = write_model(tmp_path, CONFIG, version=version)
    outputs = [tmp_path / "ref.bin", tmp_path / "fast.bin"]
    for llama2, output in zip((llama2_ref, llama2_fast), outputs, strict=True):
        out, err = ask(llama2, "quantize", path, output)
        assert not out
        assert f"{output}: {output.stat().st_size:,} bytes, " in err
        assert "int8 in groups of 16, version 2" in ask(llama2, "info", output)[0]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert len({ask(llama2, outputs[0], "-s", "3")[0] for llama2 in (llama2_ref, llama2_fast)}) == 1
    assert folder_of(path) == {"model.bin", "tokenizer.bin", "ref.bin", "fast.bin"}


@posix
def test_quantize_shows_progress_on_a_terminal(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    written = on_terminal(llama2, "quantize", model, tmp_path / "q.bin", stream="stderr")
    shares = [int(share) for share in re.findall(r"(\d+)% of [\d,]+ bytes[\r\n]", written)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 100


def test_quantize_shows_no_progress_elsewhere(llama2: ModuleType, ask: Ask, model: Path, tmp_path: Path) -> None:
    assert len(ask(llama2, "quantize", model, tmp_path / "q.bin")[1].splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows does not replace a file that is mapped")
def test_quantize_onto_its_own_input(llama2: ModuleType, ask: Ask, tmp_path: Path) -> None:
    path = write_model(tmp_path, CONFIG)
    ask(llama2, "quantize", path, tmp_path / "other.bin")
    ask(llama2, "quantize", path, path)
    assert path.read_bytes() == (tmp_path / "other.bin").read_bytes()


@posix
def test_quantize_onto_a_link_keeps_the_link(llama2: ModuleType, ask: Ask, model: Path, tmp_path: Path) -> None:
    (tmp_path / "link.bin").symlink_to(tmp_path / "file.bin")
    ask(llama2, "quantize", model, tmp_path / "link.bin")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "file.bin").is_file()


def refused(llama2: ModuleType, capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """The complaint about a call that must fail."""
    assert main(llama2, [str(word) for word in argv]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    return complaint(captured.err.encode(), llama2)


def test_quantize_refuses_what_is_quantized(
    llama2: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_model(tmp_path, CONFIG, version=2)
    assert "must be of version 0 or 1 (this is version 2" in refused(llama2, capsys, "quantize", path, tmp_path / "q")
    assert folder_of(path) == {"model.bin", "tokenizer.bin"}


@pytest.mark.parametrize("where", ["missing/q.bin", "model.bin/q.bin", "."])
def test_quantize_needs_a_place(
    llama2: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    path = write_model(tmp_path, CONFIG)
    assert str(tmp_path / where) in refused(llama2, capsys, "quantize", path, tmp_path / where)
    assert folder_of(path) == {"model.bin", "tokenizer.bin"}


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write into every folder")
def test_quantize_into_a_read_only_folder(
    llama2: ModuleType, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    assert "can't be written (Permission denied)" in refused(llama2, capsys, "quantize", model, tmp_path / "q.bin")


@linux
@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_quantize_replaces_no_device(
    llama2: ModuleType, model: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    assert "is not a regular file" in refused(llama2, capsys, "quantize", model, device)
    assert not Path(device).is_file()


def test_weights_that_cannot_be_quantized_leave_the_old_file(
    llama2: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twins = random_twins(CONFIG, seed=1)
    twins.fast.w2[1][3, 5] = np.inf
    path, output = tmp_path / "model.bin", tmp_path / "q.bin"
    llama2_fast.write_checkpoint(path, CONFIG, twins.fast)
    output.write_text("old")
    assert "w2 of layer 1: numbers must be finite" in refused(llama2, capsys, "quantize", path, output)
    assert (output.read_text(), folder_of(path)) == ("old", {"model.bin", "q.bin"})


@posix
def test_full_disk_leaves_the_old_file(llama2: ModuleType, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    path, output = write_model(tmp_path, CONFIG), tmp_path / "q.bin"
    output.write_text("old")
    done = run(llama2, "quantize", path, output, first=small_disk(5000))
    assert (done.returncode, done.stdout) == (2, b"")
    assert "can't be written (File too large)" in complaint(done.stderr, llama2)
    assert (output.read_text(), folder_of(path)) == ("old", {"model.bin", "tokenizer.bin", "q.bin"})


def test_ctrl_c_leaves_the_old_file(llama2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, total: int) -> None:
        if 2 * done > total:
            raise KeyboardInterrupt

    monkeypatch.setattr("llama2_ref.cli.quantize.say_progress", interrupt)
    path, output = write_model(tmp_path, CONFIG), tmp_path / "q.bin"
    output.write_text("old")
    assert main(llama2, ["quantize", str(path), str(output)]) == 130
    assert (output.read_text(), folder_of(path)) == ("old", {"model.bin", "tokenizer.bin", "q.bin"})
