"""The verb `quantize`: what is written, and what stays as it was."""

import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from support.command_line import CONFIG, Ask, complaint, linux, on_terminal, posix
from support.commands import run, small_disk
from support.models import random_twins, write_model


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
