"""The verb `chat`: turns, their end, and the mode of llama2.c."""

import re
from pathlib import Path
from types import ModuleType

from support.command_line import RATES, Ask
from support.commands import run, write_scripted


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
