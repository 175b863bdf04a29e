"""Verbs that take a model take it in every format: a GGUF file, a folder of Hugging Face, a checkpoint of llama2.c."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from support.folders import write_hf_folder
from support.gguf_bytes import config_entries, gguf_of, model_tensors
from support.models import random_fields, vocabulary, write_model, write_tokenizer

CONFIG = llama2_ref.Config(32, 64, 2, 4, 2, 300, 24)
FORMATS = ["q4_0.gguf", "f16.gguf", "folder", "model.bin"]
Ask = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random models of all formats, and tokenizer.bin."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder, CONFIG)
    write_tokenizer(folder / "tokenizer.bin", *vocabulary(CONFIG.vocab_size))
    for kind in ("Q4_0", "F16"):
        data = gguf_of(config_entries(CONFIG), model_tensors(CONFIG, kind))
        (folder / f"{kind.lower()}.gguf").write_bytes(data)
    weights = llama2_fast.Weights(**random_fields(CONFIG, 0, "normal", True))
    write_hf_folder(folder / "folder", CONFIG, weights, "BF16", tied=True)
    return folder


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Standard output and error of a call that must succeed."""

    def ask(llama2: ModuleType, *argv: Any) -> tuple[str, str]:
        code = main(llama2, [str(word) for word in argv])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return ask


@pytest.mark.parametrize("name", FORMATS)
def test_perplexity(ask: Ask, models: Path, tmp_path: Path, name: str) -> None:
    """Both packages predict a text equally well."""
    (tmp_path / "text").write_text("a b c a b c")
    z = ["-z", models / "tokenizer.bin"]
    found = [
        float(ask(llama2, "perplexity", models / name, tmp_path / "text", *z)[0].rsplit(" ", 1)[1])
        for llama2 in (llama2_ref, llama2_fast)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_convert(llama2: ModuleType, ask: Ask, models: Path, tmp_path: Path, name: str) -> None:
    """To a checkpoint, which is then quantized, and to a folder."""
    ask(llama2, "convert", models / name, tmp_path / "x.bin")
    assert "float32, version 1, dim 32" in ask(llama2, "info", tmp_path / "x.bin")[0]
    ask(llama2, "quantize", tmp_path / "x.bin", tmp_path / "q.bin")
    ask(llama2, "convert", models / name, tmp_path / "new")
    assert (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_generate_and_tokenize(llama2: ModuleType, ask: Ask, models: Path, name: str) -> None:
    z = ["-z", models / "tokenizer.bin"]
    assert ask(llama2, models / name, *z, "-n", "8", "-t", "0", "-i", "a b")[0].startswith("a b")
    assert ask(llama2, "tokenize", models / name, *z, "-i", "a")[1] == "2 tokens, BOS included\n"


@pytest.mark.parametrize("name", FORMATS)
def test_verify(ask: Ask, models: Path, name: str) -> None:
    out, _ = ask(llama2_fast, "verify", models / name, "--backend", "numpy", "-n", "5", "--json", "-")
    report, weights = json.loads(out), "float32" if name == "model.bin" else "stored"
    (engine,) = report["engines"]
    assert (report["right"], report["model"]["name"], engine["weights"]) == (True, name, weights)
    assert all(row["numbers"] for row in engine["rows"])
    products = {"q4_0.gguf": "matmul_int8"}.get(name, "matmul")
    assert {row["kernel"] for row in engine["rows"] if row["buffer"] == "v"} == {products}


def test_verify_takes_a_prompt_of_a_file_without_a_tokenizer(ask: Ask, models: Path) -> None:
    argv = ["--backend", "numpy", "-n", "4", "-i", "a", "-z", models / "tokenizer.bin", "--json", "-"]
    assert json.loads(ask(llama2_fast, "verify", models / "q4_0.gguf", *argv)[0])["tokens"]["given"] == 2


@pytest.mark.parametrize("verb", ["info", "verify", "bench", "perplexity", "convert", "generate", "tokenize"])
def test_what_is_no_model(
    llama2: ModuleType, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """A damaged file and a folder without a model: one line, whatever the verb."""
    if verb in ("verify", "bench") and llama2 is llama2_ref:
        pytest.skip("a verb of llama2_fast")
    (tmp_path / "text").write_text("a b c")
    (tmp_path / "cut.gguf").write_bytes((models / "q4_0.gguf").read_bytes()[:-1000])
    (tmp_path / "empty").mkdir()
    known: dict[str, list[Any]] = {
        "perplexity": [tmp_path / "text"],
        "convert": [tmp_path / "x.bin"],
        "tokenize": ["-i", "a"],
    }
    more = known.get(verb, [])
    for name in ("cut.gguf", "empty"):
        assert main(llama2, [verb, str(tmp_path / name), *(str(word) for word in more)]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert name in captured.err
