"""The verb `convert`: a model in another format, through the command line, with nothing half-written."""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref import Config
from llama2_ref.cli.convert import CONVERT
from llama2_ref.cli.main import main
from llama2_ref.formats.gguf_container import read_container
from support.command_line import complaint, on_terminal, posix
from support.commands import run, small_disk
from support.gguf_bytes import Of, by_name, config_entries, gguf_of, model_tensors, opened
from support.models import write_model

pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")

CONFIG = Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=64)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path, CONFIG)


Ask = Callable[..., list[str]]


@pytest.fixture
def done(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run `convert` in this process: what a call that must succeed says on standard error, line by line."""

    def done(llama2: ModuleType, *argv: str | Path) -> list[str]:
        code = main(llama2, ["convert", *map(str, argv)])
        captured = capsys.readouterr()
        assert (code, captured.out) == (0, ""), captured.err
        return captured.err.splitlines()

    return done


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The complaint about a call that must fail."""

    def refused(llama2: ModuleType, *argv: str | Path) -> str:
        assert main(llama2, ["convert", *map(str, argv)]) == 2
        captured = capsys.readouterr()
        assert not captured.out
        return complaint(captured.err.encode(), llama2)

    return refused


def folder_of(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


# ------------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0"])
def test_both_packages_write_the_same_gguf_file(model: Path, kind: str) -> None:
    outputs = [model.with_name("ref.gguf"), model.with_name("fast.gguf")]
    for llama2, output in zip((llama2_ref, llama2_fast), outputs, strict=True):
        found = run(llama2, "convert", model, output, "--type", kind)
        assert (found.returncode, found.stdout) == (0, b""), found.stderr.decode()
        assert found.stderr.decode() == f"{output}: {output.stat().st_size:,} bytes\n"
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert read_container(outputs[0]).tensors["blk.0.attn_q.weight"].ggml_type == kind.upper()
    assert folder_of(model) == {"model.bin", "tokenizer.bin", "ref.gguf", "fast.gguf"}


@pytest.mark.parametrize("version", [0, 1])
def test_floats_come_back_bit_for_bit(done: Ask, llama2: ModuleType, model: Path, version: int) -> None:
    there, back, same = (model.with_name(name) for name in ("a.gguf", "b.bin", "c.bin"))
    done(llama2, model, there)
    lines = done(llama2, there, back, "--version", str(version))
    assert lines[0] == "note: no tokenizer was written: llama2.c's files have theirs beside them"
    assert done(llama2, model, same, "--version", str(version)) == [f"{same}: {same.stat().st_size:,} bytes"]
    assert back.read_bytes() == same.read_bytes()
    if version == 0:  # that of the source
        assert back.read_bytes() == model.read_bytes()


def test_integers_of_llama2_c_are_written_from_a_gguf_file(done: Ask, llama2: ModuleType, model: Path) -> None:
    there, back, same = (model.with_name(name) for name in ("a.gguf", "b.bin", "c.bin"))
    done(llama2, model, there)
    done(llama2, there, back, "--version", "2")
    done(llama2, model, same, "--version", "2")
    assert back.read_bytes() == same.read_bytes()


def test_a_gguf_file_keeps_its_blocks_and_its_tokenizer(done: Ask, llama2: ModuleType, tmp_path: Path) -> None:
    entries = config_entries(CONFIG) | {"tokenizer.ggml.model": Of("s", "gpt2"), "tokenizer.ggml.x": Of("H", [1, 2])}
    (tmp_path / "a.gguf").write_bytes(gguf_of(entries, model_tensors(CONFIG, "Q8_0")))
    done(llama2, tmp_path / "a.gguf", tmp_path / "b", "--to", "gguf", "--type", "q8_0")
    found, wanted = read_container(tmp_path / "b"), read_container(tmp_path / "a.gguf")
    assert {name: bytes(tensor.data) for name, tensor in found.tensors.items()} == {
        name: bytes(tensor.data) for name, tensor in wanted.tensors.items()
    }
    for key in ("tokenizer.ggml.model", "tokenizer.ggml.x"):
        assert (found.metadata[key], found.types[key]) == (wanted.metadata[key], wanted.types[key])


def test_a_folder_of_hugging_face_there_and_back(done: Ask, llama2: ModuleType, model: Path) -> None:
    """Through safetensors, whose rows of queries and keys are in another order, and back: the same numbers."""
    folder, back, same = (model.with_name(name) for name in ("folder", "b.bin", "c.bin"))
    done(llama2, model, folder)
    assert (folder / "config.json").is_file()
    done(llama2, folder, back)
    done(llama2, model, same)
    assert back.read_bytes() == same.read_bytes()
    done(llama2, folder, folder.with_suffix(".gguf"), "-z", model.with_name("tokenizer.bin"))
    done(llama2, model, folder.with_name("direct.gguf"))
    assert folder.with_suffix(".gguf").read_bytes() == folder.with_name("direct.gguf").read_bytes()


def test_stories_there_and_back(done: Ask, llama2: ModuleType, data: Path, tmp_path: Path) -> None:
    """Version 0 again, byte for byte, but for tables that nobody reads: llama2.c computed them in float32."""
    stories = data / "stories260K.bin"
    done(llama2, stories, tmp_path / "a.gguf")  # with the tokenizer beside it, tok512.bin
    done(llama2, tmp_path / "a.gguf", tmp_path / "b.bin", "--version", "0")
    tables = 2 * 512 * (8 // 2) * 4
    original, written = stories.read_bytes(), (tmp_path / "b.bin").read_bytes()
    assert len(written) == len(original)
    assert written[:-tables] == original[:-tables]
    done(llama2, stories, tmp_path / "c.bin", "--version", "0")
    assert written == (tmp_path / "c.bin").read_bytes()


def test_a_gguf_file_tells_the_same_story(llama2: ModuleType, done: Ask, data: Path, tmp_path: Path) -> None:
    """With the tokenizer that is in it, and nothing beside it."""
    done(llama2, data / "stories260K.bin", tmp_path / "a.gguf")
    model = llama2.load(tmp_path / "a.gguf")
    words = llama2.Tokenizer.read(data / "tok512.bin")
    for text in ("", "Once upon a time", "1 \u20ac  <s>\n"):
        assert model.tokenizer.encode(text) == words.encode(text)
    told = "".join(model.generate(steps=200 if llama2 is llama2_fast else 60, temperature=0))
    story = (data / "stories260K.greedy-200.txt").read_text()
    assert story.startswith(told)
    assert len(told) > 100


def test_llama_cpp_tells_the_same_story(done: Ask, data: Path, tmp_path: Path) -> None:
    """Greedy, 150 tokens: LLAMA2_LLAMA_CPP is llama.cpp's example program `llama-simple`."""
    program = os.environ.get("LLAMA2_LLAMA_CPP")
    if not program:
        pytest.skip("LLAMA2_LLAMA_CPP names no llama-simple of llama.cpp")
    done(llama2_fast, data / "stories260K.bin", tmp_path / "a.gguf")
    told = subprocess.run(
        [program, "-m", tmp_path / "a.gguf", "-n", "150", "Once upon a time"], capture_output=True, check=True
    )
    theirs = told.stdout.decode().strip().removeprefix("<s>").strip()
    ours = "".join(llama2_fast.load(data / "stories260K.bin").generate("Once upon a time", steps=154, temperature=0))
    assert len(theirs) > 300
    assert ours.startswith(theirs)


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["o.txt"], "the format must be one of gguf, safetensors, llama2c (o.txt ends neither in .gguf nor in .bin"),
        (["o.gguf", "--to", "onnx"], "the format must be one of gguf, safetensors, llama2c (got 'onnx')"),
        (["o.gguf", "--type", "q4_k"], "the type must be one of f32, q8_0, q4_0 (got 'q4_k')"),
        (["o.bin", "--version", "3"], "the version must be one of 0, 1, 2 (got 3)"),
        (["o.bin", "--version", "x"], "argument --version: invalid int value: 'x'"),
        (["o.bin", "--type", "f32"], "a type can be told only for gguf (got f32 for llama2c)"),
        (["o.gguf", "--version", "1"], "a version can be told only for llama2c (got 1 for gguf)"),
        (["o.bin", "-z", "t.bin"], "a tokenizer can be told only for gguf (got t.bin for llama2c)"),
        (["folder", "--version", "0"], "a version can be told only for llama2c (got 0 for safetensors)"),
        (["o.gguf", "-z", "t.bin"], "t.bin: a tokenizer must be a readable file (No such file or directory)"),
        ([], "the following arguments are required: OUTPUT"),
    ],
)
def test_arguments_that_do_not_fit(
    refused: Callable[..., str], llama2: ModuleType, model: Path, argv: list[str], says: str
) -> None:
    assert says in refused(llama2, model, *argv)
    assert folder_of(model) == {"model.bin", "tokenizer.bin"}


def test_a_model_without_a_tokenizer(refused: Callable[..., str], llama2: ModuleType, model: Path) -> None:
    model.with_name("tokenizer.bin").unlink()
    assert "a tokenizer must lie beside it" in refused(llama2, model, model.with_name("o.gguf"))


def test_a_folder_s_tokenizer_cannot_be_told(
    done: Ask, refused: Callable[..., str], llama2: ModuleType, model: Path
) -> None:
    done(llama2, model, model.with_name("folder"))
    line = refused(llama2, model.with_name("folder"), model.with_name("o.gguf"))
    assert line.endswith("or a tokenizer.bin (this is a folder): name one by -z")


def test_a_tokenizer_that_no_gguf_file_can_hold(refused: Callable[..., str], llama2: ModuleType, model: Path) -> None:
    words = model.with_name("tokenizer.bin")
    words.write_bytes(words.read_bytes().replace(b"\1\0\0\0a", b"\1\0\0\0\xff"))
    line = refused(llama2, model, model.with_name("o.gguf"))
    assert line.endswith(rf"{words}: tokens of a GGUF file must be UTF-8 (token 260 is b'\xff')")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            replace(CONFIG, rope_theta=5e5),
            "imply norm_eps 1e-05 and rope_theta 10000.0 (got norm_eps 1e-05, rope_theta",
        ),
        (replace(CONFIG, norm_eps=1e-6), "imply norm_eps 1e-05 and rope_theta 10000.0 (got norm_eps 1e-06, rope_theta"),
        (replace(CONFIG, head_size=16), "imply a head size of dim / n_heads (got head_size 16"),
    ],
)
def test_models_that_llama2_c_s_files_cannot_hold(
    refused: Callable[..., str], llama2: ModuleType, tmp_path: Path, config: Config, says: str
) -> None:
    (tmp_path / "a.gguf").write_bytes(gguf_of(config_entries(config), model_tensors(config)))
    assert says in refused(llama2, tmp_path / "a.gguf", tmp_path / "b.bin")
    assert [file.name for file in tmp_path.iterdir()] == ["a.gguf"]


def test_sources_that_are_none(refused: Callable[..., str], llama2: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(gguf_of(config_entries(CONFIG), model_tensors(CONFIG))[:-5000])
    assert "must lie inside the file" in refused(llama2, tmp_path / "cut.gguf", tmp_path / "b.bin")
    assert "No such file" in refused(llama2, tmp_path / "gone.bin", tmp_path / "b.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["cut.gguf"]


# ------------------------------------------------------------------------------------------- nothing half-written


@posix
@pytest.mark.parametrize("name", ["o.gguf", "o.bin"])
def test_a_full_disk_leaves_the_old_file(llama2: ModuleType, model: Path, name: str) -> None:
    """A limit on the size of files stands for the disk."""
    output = model.with_name(name)
    output.write_text("old")
    found = run(llama2, "convert", model, output, first=small_disk(20_000))
    assert (found.returncode, found.stdout) == (2, b"")
    assert f"{output}: can't be written (File too large)" in complaint(found.stderr, llama2)
    assert (output.read_text(), folder_of(model)) == ("old", {"model.bin", "tokenizer.bin", name})


@pytest.mark.parametrize("name", ["o.gguf", "o.bin", "folder"])
def test_ctrl_c_leaves_nothing(
    llama2: ModuleType, model: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(part: int, total: int) -> None:
        if 2 * part > total:
            raise KeyboardInterrupt

    monkeypatch.setattr("llama2_ref.cli.convert.say_progress", interrupt)
    assert main(llama2, ["convert", str(model), str(model.with_name(name))]) == 130
    assert "interrupted: nothing is written" in capsys.readouterr().err
    assert folder_of(model) == {"model.bin", "tokenizer.bin"}


@posix
def test_progress_is_shown_on_a_terminal(llama2: ModuleType, model: Path) -> None:
    written = on_terminal(llama2, "convert", model, model.with_name("o.gguf"), stream="stderr")
    shares = [int(share) for share in re.findall(r"(\d+)% of [\d,]+ bytes[\r\n]", written)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 100


@pytest.mark.parametrize("where", ["missing/o.gguf", "model.bin/o.gguf"])
def test_a_place_is_needed(refused: Callable[..., str], llama2: ModuleType, model: Path, where: str) -> None:
    assert f"{model.parent / where}: can't be written" in refused(llama2, model, model.parent / where)


def test_notes_are_said(done: Ask, tmp_path: Path) -> None:
    config = Config(256, 256, 1, 2, 1, 20, 16)
    (tmp_path / "a.gguf").write_bytes(gguf_of(config_entries(config), model_tensors(config, "Q4_K")))
    lines = done(llama2_fast, tmp_path / "a.gguf", tmp_path / "b.gguf", "--type", "q8_0")
    assert lines[0] == "note: Q4_K weights have become int8, in groups of 32"
    found, wanted = (by_name(opened(llama2_fast, tmp_path / name).weights) for name in ("b.gguf", "a.gguf"))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_the_library_converts_as_the_command_line(llama2: ModuleType, model: Path) -> None:
    convert: Callable[..., tuple[str, ...]] = import_module(CONVERT[llama2.__name__]).convert
    told: list[tuple[int, int]] = []
    output = model.with_name("o.gguf")
    assert convert(model, output, progress=lambda *both: told.append(both)) == ()
    assert told[-1] == (output.stat().st_size,) * 2
