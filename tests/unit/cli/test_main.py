"""The dispatcher: verbs are found by name, imported when they are needed, and run; the script `llama2`."""

import inspect
import io
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
from llama2_ref import cli
from llama2_ref.cli.arguments import Parser
from llama2_ref.cli.main import main, verbs_of
from support.command_line import Ask
from support.commands import ENV, SECONDS, run

VERBS = {
    "llama2_ref": ["generate", "chat", "info", "tokenize", "quantize", "convert", "perplexity"],
    "llama2_fast": ["generate", "chat", "info", "tokenize", "quantize", "convert", "perplexity", "verify", "bench"],
}


# ------------------------------------------------------------------------------------------------------------- protocol


def test_the_help_has_every_verb(llama2: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(verbs_of(llama2)) == VERBS[llama2.__name__]
    assert main(llama2, ["--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for name, module in verbs_of(llama2).items():
        assert f" {name} {import_module(module).HELP} " in words


@pytest.mark.parametrize("name", VERBS["llama2_fast"])
def test_a_verb_has_four_names(name: str) -> None:
    verb = import_module(verbs_of(llama2_fast)[name])
    assert "\n" not in verb.HELP
    assert all(line.startswith("  ") and "{prog}" in line for line in verb.EXAMPLES.splitlines())
    assert list(inspect.signature(verb.add_arguments).parameters) == ["parser", "llama2"]
    assert list(inspect.signature(verb.run).parameters) == ["llama2", "args"]


Add = Callable[[Any], list[Any]]


@pytest.fixture
def add_verb(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Make a verb `shout` that ends with a given result; what it is called with goes into a list."""

    def add(result: Any) -> list[Any]:
        calls: list[Any] = []
        module: Any = ModuleType("a_verb_of_its_own")
        module.HELP, module.EXAMPLES = "say it aloud", "  {prog} shout it\n"
        module.add_arguments = lambda parser, llama2: parser.add_argument("word", help=llama2.__name__)
        module.run = lambda llama2, args: calls.append((llama2, args.word)) or result
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.VERBS, "shout", module.__name__)
        return calls

    return add


def test_a_verb_is_one_module(llama2: ModuleType, add_verb: Add, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else names it; its help and its errors are like all others."""
    calls = add_verb(None)
    assert main(llama2, ["shout", "it"]) == 0
    assert calls == [(llama2, "it")]
    assert main(llama2, ["shout", "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: python -m {llama2.__name__} shout [-h] word\n\nsay it aloud\n" in out
    assert f"examples:\n  python -m {llama2.__name__} shout it\n" in out
    assert main(llama2, ["shout"]) == 2
    assert f"see python -m {llama2.__name__} shout --help" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (2, 2)])
def test_the_exit_code_of_a_verb_is_that_of_the_program(
    llama2: ModuleType, add_verb: Add, result: int | None, code: int
) -> None:
    add_verb(result)
    assert main(llama2, ["shout", "it"]) == code


def test_a_prompt_that_is_named_as_a_verb_needs_the_verb(
    llama2: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first word alone may be a verb: behind another one it is a file."""
    monkeypatch.chdir(tmp_path)
    assert main(llama2, ["generate", "info"]) == 2
    assert "info: a checkpoint must be" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["generate", "info", "perplexity"])
def test_a_verb_imports_no_other(llama2: ModuleType, name: str) -> None:
    """So that the program starts no more slowly with every verb that is added."""
    code = (
        f"import sys, {llama2.__name__} as llama2; from llama2_ref.cli.main import main, verbs_of; "
        f"main(llama2, ['{name}', '--help']); known = set(verbs_of(llama2).values()); "
        "print('imported', *sorted(known & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout.splitlines()[-1] == f"imported llama2_ref.cli.{name}", done.stderr


def test_the_version_needs_no_verb(llama2: ModuleType) -> None:
    code = (
        f"import sys, {llama2.__name__} as llama2; from llama2_ref.cli.main import main, verbs_of; "
        "main(llama2, ['--version']); assert not set(verbs_of(llama2).values()) & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, f"{llama2.__name__} {llama2.__version__}\n"), done.stderr


# ----------------------------------------------------------------------------------------------------------------- help

EXAMPLES = [import_module(name).EXAMPLES for name in cli.VERBS.values()]


def test_version(llama2: ModuleType) -> None:
    assert run(llama2, "--version").stdout.decode().split() == [llama2.__name__, llama2.__version__]


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
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

SPELLINGS = {
    ("-p", "--topp", "--top-p"): ("topp", "0.25", 0.25),
    ("-k", "--topk", "--top-k"): ("topk", "7", 7),
    ("--minp", "--min-p"): ("minp", "0.5", 0.5),
    ("--repetition-penalty", "--repeat-penalty"): ("repetition_penalty", "2", 2.0),
    ("-t", "--temperature"): ("temperature", "0.75", 0.75),
    ("-s", "--seed"): ("seed", "3", 3),
    ("-n", "--steps"): ("steps", "9", 9),
    ("-i", "--prompt"): ("prompt", "One", "One"),
    ("-z", "--tokenizer"): ("tokenizer", "a.bin", "a.bin"),
    ("-y", "--system"): ("system", "Be", "Be"),
    ("-m", "--mode"): ("mode", "chat", "chat"),
}
EACH_SPELLING = [(flag, *told) for flags, told in SPELLINGS.items() for flag in flags]


@pytest.mark.parametrize(("flag", "name", "text", "value"), EACH_SPELLING, ids=[flag for flag, *_ in EACH_SPELLING])
def test_every_spelling_of_a_flag(llama2: ModuleType, flag: str, name: str, text: str, value: Any) -> None:
    for verb in ("generate", "chat"):
        parser = Parser(verb)
        import_module(verbs_of(llama2)[verb]).add_arguments(parser, llama2)
        assert getattr(parser.parse_args([flag, text]), name) == value


# --------------------------------------------------------------------------------------------------------------- script


def call_script(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run what `pip install` has put beside Python."""
    script = Path(sys.executable).with_name("llama2.exe" if sys.platform == "win32" else "llama2")
    if not script.exists():
        pytest.skip("the script llama2 is not installed beside this Python (pip install .)")
    return subprocess.run([script, *argv], env=ENV, capture_output=True, text=True, timeout=SECONDS)


def test_the_script_is_there() -> None:
    done = call_script("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"llama2_fast {llama2_fast.__version__}\n", "")


def test_errors_of_the_script() -> None:
    """They have its name, and so has the help; the exit code is that of the program."""
    done = call_script("missing.bin")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("llama2: missing.bin: ")
    assert "see llama2 info --help" in call_script("info", "--checkpoint").stderr
    assert call_script("info", "--help").stdout.startswith("usage: llama2 info ")
    assert "\n  llama2 stories15M.bin -i " in call_script("--help").stdout


def test_the_script_makes_text() -> None:
    first, second = call_script("-s", "1", "-n", "8", "--backend", "numpy"), subprocess.run(
        [sys.executable, "-m", "llama2_fast", "-s", "1", "-n", "8", "--backend", "numpy"],
        env=ENV, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert (first.returncode, first.stdout) == (0, second.stdout)
    assert len(first.stdout) > 8
