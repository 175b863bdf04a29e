"""The registry of formats: which format a path is of, that it is opened once, and what all readers tell alike."""

import json
import mmap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.formats import registry
from llama2_ref.formats.model_file import open_source
from support.folders import settings, write_hf_folder
from support.gguf_bytes import config_entries, gguf_of, model_tensors
from support.models import random_twins, write_model
from support.seam import ARRAYS

CONFIG = llama2_ref.Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=64)


def gguf(folder: Path) -> Path:
    path = folder / "model.bin"  # what it is called does not matter
    path.write_bytes(gguf_of(config_entries(CONFIG), model_tensors(CONFIG, "F32")))
    return path


def hugging_face(folder: Path) -> Path:
    return write_hf_folder(folder / "model", CONFIG, random_twins(CONFIG, seed=1, shared=False).fast)


def llama2c(folder: Path) -> Path:
    return write_model(folder, CONFIG, seed=1, version=2)


MODELS: dict[str, Callable[[Path], Path]] = {"gguf": gguf, "safetensors": hugging_face, "llama2c": llama2c}


@pytest.mark.parametrize("name", MODELS)
def test_each_format_is_detected_and_read(llama2: ModuleType, name: str, tmp_path: Path) -> None:
    path = MODELS[name](tmp_path)
    assert registry.detect(open_source(path)).name == name
    file = llama2.read_model(path)
    assert (file.path, file.format, file.config.dim) == (path, name, 32)
    assert file.describe().startswith(f"{path.name}: {file.parameters:,} parameters, {file.label}, dim 32, ")
    files = path.iterdir() if path.is_dir() else [path]
    assert file.file_bytes == sum(len(each.read_bytes()) for each in files)
    assert file.group_size == (32 if name == "llama2c" else 0)
    assert (file.tokenizer_path is not None) == (name == "llama2c")


def test_the_format_is_that_of_the_bytes_or_files_not_of_a_name(tmp_path: Path) -> None:
    path = llama2c(tmp_path).rename(tmp_path / "model.gguf")
    assert registry.detect(open_source(path)).name == "llama2c"


def test_folders(tmp_path: Path) -> None:
    """config.json has the first word, as in folders that have both."""
    with pytest.raises(llama2_ref.CheckpointError, match=r"must hold config\.json, or Meta's params\.json"):
        registry.detect(open_source(tmp_path))
    (tmp_path / "params.json").write_text("{}")
    assert registry.detect(open_source(tmp_path)).name == "meta"
    (tmp_path / "config.json").write_text(json.dumps(settings(CONFIG)))
    assert registry.detect(open_source(tmp_path)).name == "safetensors"


def test_names_and_suffixes_differ() -> None:
    names = [known.name for known in registry.FORMATS]
    suffixes = [known.suffix for known in registry.WRITTEN]
    assert len(set(names)) == len(names)
    assert len(set(suffixes)) == len(suffixes)
    assert None not in suffixes


@pytest.mark.parametrize("name", MODELS)
def test_a_file_is_mapped_once(llama2: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = MODELS[name](tmp_path)
    maps: list[int] = []
    plain = mmap.mmap

    def counted(*args: Any, **kwargs: Any) -> mmap.mmap:
        maps.append(args[0])
        return plain(*args, **kwargs)

    monkeypatch.setattr(mmap, "mmap", counted)
    file = llama2.read_model(path)
    file.describe()
    assert len(maps) == 1


@pytest.mark.parametrize("name", ["safetensors", "llama2c"])
def test_llama2_c_s_tokenizer_is_of_the_package_s_class(llama2: ModuleType, name: str, tmp_path: Path) -> None:
    """Also one that lies in a folder of Hugging Face; none is built of another one."""
    path = MODELS[name](tmp_path)
    words = llama2c(tmp_path).with_name("tokenizer.bin")
    if path.is_dir():
        words.rename(path / "tokenizer.bin")
    assert type(llama2.load(path).tokenizer) is llama2.Tokenizer


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_one_message_for_what_is_no_regular_file(make: Callable[[Path], Any], tmp_path: Path) -> None:
    from llama2_ref.support.files import open_regular

    path = tmp_path / "x"
    make(path)
    with pytest.raises(llama2_ref.TokenizerError) as error, open_regular(path, "a file", llama2_ref.TokenizerError):
        pass
    assert str(error.value) == f"{path}: is not a regular file"


@pytest.mark.parametrize("matrix", ["F32", "F16", "BF16"])
def test_floats_become_the_bytes_that_they_were(matrix: str) -> None:
    data = memoryview(bytes(range(16)) * 8)
    cols = 8 if matrix == "F32" else 16
    for arrays in ARRAYS.values():
        read = arrays.matrix_from_bytes(matrix, data, 4, cols)
        assert b"".join(arrays.matrix_to_bytes(read, matrix)) == data


def test_both_packages_keep_groups_of_llama2_c() -> None:
    q, scale = memoryview(bytes(range(128))), memoryview(bytes(range(1, 33)))
    for arrays in ARRAYS.values():
        matrix = arrays.matrix_from_groups(q, scale, 32, 16)
        assert b"".join(arrays.matrix_to_groups(matrix, 16)) == bytes(q) + bytes(scale)


def test_caches_are_written_as_far_as_they_are_asked_for() -> None:
    made = {}
    for llama2, arrays in ARRAYS.items():
        cache: Any = llama2.KVCache(CONFIG)
        twins = random_twins(CONFIG, seed=1)
        knobs: dict[str, Any] = {"backend": "numpy"} if llama2 is llama2_fast else {}
        weights = twins.fast if llama2 is llama2_fast else twins.ref
        llama2.Transformer(CONFIG, weights, **knobs).forward([1, 2, 3], cache)
        size = {"F32": 4, "F64": 8}[arrays.cache_dtype]
        chunks = list(arrays.cache_bytes(cache.keys, 2))
        assert [len(chunk) for chunk in chunks] == [2 * CONFIG.kv_dim * size] * CONFIG.n_layers
        made[llama2] = chunks
    assert len(made) == 2
