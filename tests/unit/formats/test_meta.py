"""Meta's own checkpoints, read through PyTorch: right ones, damaged ones, and pickles that would do harm."""

import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_ref
from llama2_ref import CheckpointError, Config, MissingExtraError
from llama2_ref.config import RopeScaling
from llama2_ref.formats.meta import read_folder
from support.models import random_twins
from support.seam import ARRAYS

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")

CONFIG = Config(dim=8, hidden_dim=12, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=10, seq_len=4096, norm_eps=1e-6)
TWINS = random_twins(CONFIG, seed=2, shared=False)
PARAMS = {"dim": 8, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": -1, "multiple_of": 4, "norm_eps": 1e-6}
NAMES = {
    "wq": "attention.wq", "wk": "attention.wk", "wv": "attention.wv", "wo": "attention.wo", "w1": "feed_forward.w1",
    "w2": "feed_forward.w2", "w3": "feed_forward.w3", "rms_att_weight": "attention_norm", "rms_ffn_weight": "ffn_norm",
}  # fmt: skip
Q = "layers.0.attention.wq.weight"


def tensors(dtype: Any = torch.float32) -> dict[str, Any]:
    """The model's tensors by Meta's names."""
    w = TWINS.fast
    found = {
        "tok_embeddings.weight": w.token_embedding_table,
        "norm.weight": w.rms_final_weight,
        "output.weight": w.wcls,
    }
    for layer in range(CONFIG.n_layers):
        for ours, theirs in NAMES.items():
            found[f"layers.{layer}.{theirs}.weight"] = getattr(w, ours)[layer]
    made = {name: torch.from_numpy(np.array(array)).to(dtype) for name, array in found.items()}
    return made | {"rope.freqs": torch.ones(1, dtype=dtype)}


def parts(count: int, newer: bool) -> list[dict[str, Any]]:
    """The files of a model on several devices. Older models cut embeddings by columns."""
    files: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, tensor in tensors().items():
        columns = name.endswith((".wo.weight", ".w2.weight")) or (name == "tok_embeddings.weight" and not newer)
        cut = [tensor] * count if tensor.dim() == 1 else tensor.chunk(count, int(columns))
        for file, part in zip(files, cut, strict=True):
            file[name] = part.clone()
    return files


def write(folder: Path, files: list[Any], **params: Any) -> Path:
    for i, file in enumerate(files):
        torch.save(file, folder / f"consolidated.{i:02}.pth")
    (folder / "params.json").write_text(json.dumps(PARAMS | params))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_folder(folder, ARRAYS[llama2_ref])
    line = str(error.value)
    assert line.isprintable()
    assert line.startswith(str(folder))
    return line.removeprefix(str(folder)).lstrip(":/ ")


def numbers(matrix: Any) -> np.ndarray:
    return (
        np.array([list(row) for row in matrix]) if isinstance(matrix, llama2_ref.weights.Matrix) else np.asarray(matrix)
    )


def assert_same(weights: Any, dtype: Any = torch.float32) -> None:
    for name, wanted in vars(TWINS.fast).items():
        got = getattr(weights, name)
        stacks = (
            np.stack([numbers(m) for m in field]) if isinstance(field, list) else numbers(field)
            for field in (got, wanted)
        )
        got, wanted = stacks
        assert np.array_equal(got, torch.from_numpy(np.array(wanted)).to(dtype).float().numpy()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_one_file(llama2: ModuleType, tmp_path: Path, dtype: Any) -> None:
    found = read_folder(write(tmp_path, [tensors(dtype)]), ARRAYS[llama2])
    assert found.config == CONFIG
    assert_same(found.weights, dtype)
    assert found.label == f"PyTorch, {({torch.float32: 'F32', torch.float16: 'F16'}).get(dtype, 'BF16')}"
    assert found.notes == ("params.json does not say the context: 4096 tokens are taken",)


@pytest.mark.parametrize("newer", [False, True])
def test_several_files(llama2: ModuleType, tmp_path: Path, newer: bool) -> None:
    found = read_folder(write(tmp_path, parts(2, newer), vocab_size=10), ARRAYS[llama2])
    assert_same(found.weights)
    assert found.label == "PyTorch, F32, 2 files"


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"n_kv_heads": 2, "max_seq_len": 99}, {"seq_len": 99}),
        ({"rope_theta": 500000}, {"rope_theta": 5e5, "seq_len": 8192}),
        (
            {"rope_theta": 500000.0, "use_scaled_rope": True},
            {"rope_theta": 5e5, "seq_len": 131072, "rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)},
        ),
        (
            {"use_scaled_rope": True, "rope_scaling_factor": 32, "rope_high_freq_factor": 3, "max_seq_len": 5},
            {"seq_len": 5, "rope_scaling": RopeScaling("llama3", 32.0, 1.0, 3.0, 8192)},
        ),
    ],
    ids=str,
)
def test_parameters(tmp_path: Path, params: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = read_folder(write(tmp_path, [tensors()], **params), ARRAYS[llama2_ref])
    assert found.config == replace(CONFIG, **wanted)
    guessed = ("use_scaled_rope" in params and "rope_scaling_factor" not in params) + ("max_seq_len" not in params)
    assert len(found.notes) == guessed


class Harm:
    """What a pickle may do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    model = tmp_path / "model"
    model.mkdir()
    rule = "consolidated.00.pth must be an archive of PyTorch that holds nothing but tensors (got "
    for content in (Harm(harm), {"norm.weight": Harm(harm)}, tensors() | {"more": Harm(harm)}):
        write(model, [content])
        assert refused(model) == f"{rule}posix.mkdir): nothing else is read, or run"
        for protocol in (0, 2, 5):
            (model / "consolidated.00.pth").write_bytes(pickle.dumps(content, protocol))
            assert refused(model).startswith(rule)
    assert not harm.exists()
    pickle.loads(pickle.dumps(Harm(harm)))
    assert harm.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(1)], "consolidated.00.pth must hold tensors by their names (got list)"),
        (torch.ones(1), "consolidated.00.pth must hold tensors by their names (got Tensor)"),
        ({1: torch.ones(1)}, "must hold tensors by their names (got Tensor 1)"),
        ({Q: 1}, "must hold tensors by their names (got int 'layers.0.attention.wq.weight')"),
        ({"model": {Q: torch.ones(1)}}, "must hold tensors by their names (got dict 'model')"),
        (
            {Q: torch.ones(2, 2, dtype=torch.int8)},
            "must be a matrix of floats, or a vector (got torch.int8 [2, 2], in one",
        ),
        ({Q: torch.ones(1).expand(2**20, 2**20)}, "(got torch.float32 [1048576, 1048576], not in one piece)"),
        ({Q: torch.ones(2, 3).T}, "(got torch.float32 [3, 2], not in one piece)"),
        ({Q: torch.ones(2, 3).to_sparse()}, "not in one piece)"),
        ({Q: torch.ones(1, 1, 1)}, "(got torch.float32 [1, 1, 1], in one piece)"),
        ({Q: torch.ones(())}, "(got torch.float32 [], in one piece)"),
        ({Q: torch.ones(0, 8)}, "(got torch.float32 [0, 8], in one piece)"),
        ({}, "tensor layers.0.feed_forward.w1.weight must be there (it is not)"),
    ],
)
def test_what_holds_no_model(tmp_path: Path, content: Any, says: str) -> None:
    assert says in refused(write(tmp_path, [content]))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        (
            {"moe": {"experts": 8}},
            "params.json: parameters must be those of a Llama model (got 'moe', too): not supported",
        ),
        ({"dim": "8"}, "params.json: dim must be a positive whole number below 2^63 (got '8')"),
        ({"dim": 16}, "must have the shape [10, 16] by params.json (got [10, 8])"),
        ({"n_layers": 2**62}, "tensor layers.2.attention.wq.weight must be there (it is not)"),
        ({"n_layers": 1}, "(got 'layers.1.attention.wq.weight', too): not supported"),
        ({"n_heads": 0}, "n_heads must be a positive whole number"),
        ({"n_heads": 3}, "n_heads must divide dim (got n_heads 3, dim 8)"),
        ({"vocab_size": 11}, "tok_embeddings.weight must have the 11 rows that params.json says (got 10)"),
        ({"vocab_size": -2}, "vocab_size must be a positive whole number"),
        ({"use_scaled_rope": 1}, "use_scaled_rope must be true or false (got 1)"),
        ({"use_scaled_rope": True, "rope_scaling_factor": "8"}, "rope_scaling_factor must be a number below 1e300"),
        ({"norm_eps": None, "rope_theta": 0.5}, "rope_theta must be finite and at least 1 (got 0.5)"),
    ],
    ids=str,
)
def test_what_params_json_must_not_say(tmp_path: Path, params: dict[str, Any], says: str) -> None:
    assert says in refused(write(tmp_path, [tensors()], **params))


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    one, two = parts(2, newer=True)
    write(tmp_path, [one, {name: part for name, part in two.items() if name != Q}])
    assert refused(tmp_path) == f"'{Q}' must have a part of the same shape in each file (it has not)"
    for wrong in (two[Q][:-1].clone(), two[Q].half()):
        write(tmp_path, [one, two | {Q: wrong}])
        assert "must have a part of the same shape in each file" in refused(tmp_path)
    write(tmp_path, [one, two | {"norm.weight": 2 * two["norm.weight"]}])
    assert refused(tmp_path) == "'norm.weight' must be equal in all files (it is not)"
    write(tmp_path, [one, two | {"more.weight": torch.ones(1)}])
    assert refused(tmp_path) == "'more.weight' must have a part of the same shape in each file (it has not)"


def test_files_that_are_damaged(tmp_path: Path) -> None:
    write(tmp_path, [tensors()])
    file = tmp_path / "consolidated.00.pth"
    whole = file.read_bytes()
    for data in (
        b"",
        b"PK\x03\x04",
        whole[:100],
        whole[:-30],
        whole[: len(whole) // 2],
        b"\x80\x02." + bytes(99),
        b"x" * 99,
    ):
        file.write_bytes(data)
        assert refused(tmp_path).startswith(
            "consolidated.00.pth must be an archive of PyTorch that holds nothing but t"
        )
    file.unlink()
    assert refused(tmp_path) == "weights must be in consolidated.00.pth (there is none)"


def test_without_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [tensors()])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as error:
        read_folder(tmp_path, ARRAYS[llama2_ref])
    rule = "PyTorch must be installed to read .pth files"
    assert str(error.value) == f"{rule}: pip install 'llama2-twins[torch]', or use the model's safetensors"
