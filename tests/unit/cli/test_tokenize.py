"""The verb `tokenize`."""

from pathlib import Path
from types import ModuleType

import pytest

from support.command_line import Ask


@pytest.mark.parametrize("by", ["checkpoint", "tokenizer"])
def test_tokenize_shows_each_token(llama2: ModuleType, ask: Ask, model: Path, by: str) -> None:
    file = [model] if by == "checkpoint" else ["-z", model.with_name("tokenizer.bin")]
    out, err = ask(llama2, "tokenize", *file, "-i", "ab é")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [int(token) for token, _ in rows] == llama2.load(model).tokenizer.encode("ab é")
    assert rows[-1] == [str(3 + 0xA9), "'<0xA9>'"]
    assert err == f"{len(rows)} tokens, BOS included\n"
