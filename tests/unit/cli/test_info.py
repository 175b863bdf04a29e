"""The verb `info`."""

import os
from pathlib import Path
from types import ModuleType

import pytest

import llama2_fast
import llama2_ref
from support.command_line import CONFIG, Ask, linux
from support.commands import run
from support.models import write_model


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
