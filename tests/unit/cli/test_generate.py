"""The verb `generate`: its flags, its text, and where everything about it goes."""

import os
import re
from pathlib import Path
from types import ModuleType

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from llama2_ref.model import BUNDLED
from support.command_line import CONFIG, RATES, Ask
from support.commands import ENV, run, write_scripted
from support.models import write_model


@pytest.mark.slow
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
