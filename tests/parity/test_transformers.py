"""Hugging Face's transformers beside both packages: random small models, read from what it saves, and written for it.

Every buffer that transformers makes is held to the float32 bound of its own step, as those of llama2_fast are
(tests/fuzz/test_transformer.py); its cosines and sines have a bound of their own, `angle_error`.
"""

import contextlib
import importlib.util
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.judge import assert_taps_within, assert_within
from llama2_ref import Config
from llama2_ref.bounded import TABLE_REL, Bounded, BoundedKernels, U
from llama2_ref.config import RopeScaling
from llama2_ref.formats.huggingface import read_folder, write_folder
from llama2_ref.formats.tensor_table import interleaved
from support.models import random_twins
from support.seam import ARRAYS

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra dev)")
transformers = pytest.importorskip(
    "transformers", "5", "transformers 5 is not installed (extra dev)"
)  # rope_parameters
modeling = pytest.importorskip("transformers.models.llama.modeling_llama")

WRITE = {package: partial(write_folder, arrays=arrays) for package, arrays in ARRAYS.items()}
SCALINGS = {
    "none": None,
    "linear": RopeScaling("linear", 2.5),
    "llama3": RopeScaling("llama3", 8.0, 1.0, 4.0, 24),  # so short that some frequencies change, and some do not
}
HEADS = {"own": (4, 4), "grouped": (4, 2), "one": (4, 1)}
# Each pair of choices is in some model: rows of an orthogonal array of strength two, with 3, 3, 2, 2, 2, 2 choices.
GRID = [
    ((heads, scaling, (i + j) % 2, i % 2, j % 2), (i * j + i + 1) % 2)
    for (i, heads), (j, scaling) in itertools.product(enumerate(HEADS), enumerate(SCALINGS))
]
GRID += [(("grouped", "llama3", 1, 1, 1), 1), (("own", "linear", 0, 1, 0), 1), (("one", "none", 1, 0, 1), 0)]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """No progress bars and advice on stderr; no thread of its own for each core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    torch.set_num_threads(threads)


def config_of(heads: str, scaling: str, theta: int, eps: int, head_size: int) -> Config:
    """A small model of some kind."""
    n_heads, n_kv_heads = HEADS[heads]
    return Config(
        16, 24, 2, n_heads, n_kv_heads, 19, 64, (1e-5, 1e-6)[eps], (10000.0, 500000.0)[theta], (4, 6)[head_size],
        SCALINGS[scaling],
    )  # fmt: skip


def their_config(config: Config, tied: bool) -> Any:
    """The same in transformers' words."""
    scaling = config.rope_scaling
    rope: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_type": scaling.kind if scaling else "default"}
    if scaling:
        rope["factor"] = scaling.factor
        if scaling.kind == "llama3":
            rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
            rope["original_max_position_embeddings"] = scaling.original_seq_len
    return transformers.LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.hidden_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.head_size,
        max_position_embeddings=config.seq_len,
        rms_norm_eps=config.norm_eps,
        rope_parameters=rope,
        tie_word_embeddings=tied,
        initializer_range=0.25,
    )


def random_model(config: Config, tied: bool, seed: int = 0) -> Any:
    """A model of transformers with random weights, norms included."""
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(their_config(config, tied)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    return model


def read(folder: Path) -> tuple[Any, Any]:
    """What the two packages read of a folder."""
    return read_folder(folder, ARRAYS[llama2_ref]), read_folder(folder, ARRAYS[llama2_fast])


def angle_error(config: Config) -> np.ndarray:
    """How far the angles of transformers may be off, relatively, for each pair: everything is float32 there.

    theta^-x with x = 2i/E: theta and x are rounded, which costs x u and x ln(theta) u; pow errs by 1 ulp, or 2 u, and
    its reciprocal by u. Linear scaling divides by a rounded factor, perhaps through its reciprocal (3 u). Scaling of
    the kind llama3 takes its share of turns from this frequency, by 8 operations more, and multiplies errors by at most
    `sensitivity`. The product with the position rounds once.
    """
    x = np.arange(0, config.head_size, 2) / config.head_size
    relative = (x * (1 + math.log(config.rope_theta)) + 3) * U
    scaling = config.rope_scaling
    if scaling:
        relative = scaling.sensitivity * (relative + (3 if scaling.kind == "linear" else 8) * U)
    return relative + U + TABLE_REL


class TransformersKernels(BoundedKernels):
    """The bounds of float32, with angles in float32, and their cosines and sines by functions that err by 1 ulp."""

    def __init__(self, config: Config) -> None:
        self.errors = angle_error(config)

    def rope_table(self, position: int, *rope: Any) -> Any:
        cosines, sines = llama2_ref.kernels.rope_table(position, *rope)
        frequencies = np.array([rope[1] ** (-i / rope[0]) for i in range(0, rope[0], 2)])
        if len(rope) > 2:
            frequencies = np.array([rope[2].scale(frequency) for frequency in frequencies.tolist()])
        moved = position * frequencies * self.errors
        return tuple(
            [Bounded(value, 2 * U * abs(value) + error) for value, error in zip(table, moved.tolist(), strict=True)]
            for table in (cosines, sines)
        )


@contextlib.contextmanager
def recording(model: Any, config: Config, taps: Any) -> Iterator[None]:
    """Inside, what the modules of a model take and make is recorded under the names of Taps."""
    rotate, rotated, handles = modeling.apply_rotary_pos_emb, [], []

    def keep(layer: int, name: str, buffer: Any) -> None:
        for row in buffer.reshape(-1, buffer.shape[-1]).detach().numpy():
            taps.record(layer, name, row.copy())

    def rows(heads: Any) -> Any:  # (1, heads, T, E) -> (T, heads * E), pairs side by side
        flat = heads[0].transpose(0, 1).reshape(heads.shape[2], -1)
        return flat[:, interleaved(flat.shape[1], heads.shape[1])]

    def rotary(*args: Any, **options: Any) -> Any:
        q, k = rotate(*args, **options)
        rotated.append(None)
        keep(len(rotated) - 1, "q", rows(q))
        keep(len(rotated) - 1, "k", rows(k))
        return q, k

    def made(module: Any, layer: int, name: str) -> None:
        handles.append(module.register_forward_hook(lambda module, args, out: keep(layer, name, out)))

    def taken(module: Any, layer: int, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda module, args: keep(layer, name, args[0])))

    for i, layer in enumerate(model.model.layers):
        made(layer.input_layernorm, i, "att_norm")
        made(layer.self_attn.v_proj, i, "v")
        taken(layer.self_attn.o_proj, i, "att")
        taken(layer.post_attention_layernorm, i, "x1")
        made(layer.post_attention_layernorm, i, "ffn_norm")
        taken(layer.mlp.down_proj, i, "gate")
        made(layer, i, "out")
    made(model.model.norm, config.n_layers, "final_norm")
    made(model.lm_head, config.n_layers, "logits")
    modeling.apply_rotary_pos_emb = rotary
    try:
        yield
    finally:
        modeling.apply_rotary_pos_emb = rotate
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("kind", "tied"), GRID, ids=str)
def test_every_buffer_of_transformers_keeps_its_bound(tmp_path: Path, attention: str, kind: Any, tied: int) -> None:
    config = config_of(*kind)
    model = random_model(config, bool(tied))
    model.save_pretrained(tmp_path)
    model.set_attn_implementation(attention)
    found, _ = read(tmp_path)
    assert found.config == config
    assert found.weights.shared_classifier == bool(tied)
    tokens = np.random.default_rng(1).integers(0, config.vocab_size, 7).tolist()
    taps = llama2_ref.Taps()
    with torch.no_grad(), recording(model, config, taps):
        model(torch.tensor([tokens]))
    assert_taps_within(config, found.weights, tokens, taps, TransformersKernels(config))


MISTAKES: dict[str, Any] = {
    "theta": {"rope_theta": 10100.0},
    "eps": {"norm_eps": 1.1e-5},
    "no scaling": {"rope_scaling": None},
    "factor": {"rope_scaling": RopeScaling("llama3", 8.01, 1.0, 4.0, 24)},
    "low": {"rope_scaling": RopeScaling("llama3", 8.0, 1.01, 4.0, 24)},
    "high": {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.01, 24)},
    "context": {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 25)},
    "linear": {"rope_scaling": RopeScaling("linear", 8.0)},
}


@pytest.mark.parametrize("name", [*MISTAKES, "order of queries", "order of keys", "gate"])
def test_a_mistake_would_show(tmp_path: Path, name: str) -> None:
    """The same comparison, with a constant that is a little off, or tensors that are not where they belong."""
    config = config_of("grouped", "llama3", 0, 0, 1)
    model = random_model(config, tied=False)
    taps, tokens = llama2_ref.Taps(), [1, 5, 3, 2, 18, 7]
    with torch.no_grad(), recording(model, config, taps):
        model(torch.tensor([tokens]))
    model.save_pretrained(tmp_path)
    weights = read(tmp_path)[0].weights
    assert_taps_within(config, weights, tokens, taps, TransformersKernels(config))
    wrong = replace(config, **MISTAKES.get(name, {}))
    if name == "gate":
        weights = replace(weights, w1=weights.w3, w3=weights.w1)
    elif name.startswith("order"):
        field = {"order of queries": "wq", "order of keys": "wk"}[name]
        weights = replace(weights, **{field: [matrix[::-1] for matrix in getattr(weights, field)]})
    with pytest.raises(AssertionError):
        assert_taps_within(wrong, weights, tokens, taps, TransformersKernels(wrong))


@pytest.mark.parametrize("scaling", [*SCALINGS, "3.1"])
@pytest.mark.parametrize("theta", [10000.0, 500000.0])
def test_angles_up_to_the_end_of_a_long_context(scaling: str, theta: float) -> None:
    """Cosines and sines of transformers keep the bound that `angle_error` gives them, and no wider one is needed."""
    kind = SCALINGS.get(scaling, RopeScaling("llama3", 8.0, 1.0, 4.0, 8192))
    config = Config(256, 8, 1, 2, 2, 8, 131072, 1e-5, theta, 128, kind)
    positions = [*range(40), *(2**power + delta for power in range(6, 18) for delta in (-1, 0, 1))][:-2]
    rotary = modeling.LlamaRotaryEmbedding(their_config(config, tied=False))
    cosines, sines = rotary(torch.zeros(1), torch.tensor([positions]))
    kernels = TransformersKernels(config)
    for i, position in enumerate(positions):
        wanted = kernels.rope_table(position, *config.rope)
        assert_within(cosines[0, i, :64].numpy(), wanted[0], f"cosines at {position}")
        assert_within(sines[0, i, :64].numpy(), wanted[1], f"sines at {position}")


def engines(config: Config, ref: Any, fast: Any) -> dict[str, Any]:
    """The reference, and all engines of llama2_fast that can be used here."""
    found: dict[str, Any] = {"reference": llama2_ref.Transformer(config, ref)}
    for backend in ("numpy", "simd") if importlib.util.find_spec("numba") else ("numpy",):
        found[backend] = llama2_fast.Transformer(config, fast, backend=backend)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("kind", "tied"), GRID[1::4], ids=str)
def test_all_engines_compute_what_transformers_computes(tmp_path: Path, kind: Any, tied: int, dtype: str) -> None:
    """Weights in shards, of 32 or 16 bits, which transformers expands first: logits from end to end, with no buffer
    taken over, and every buffer of each engine beside the same bounds.
    """
    config = replace(config_of(*kind), n_layers=1)
    random_model(config, bool(tied)).to(getattr(torch, dtype)).save_pretrained(tmp_path, max_shard_size="3KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = [3, 1, 4, 1, 5]
    with torch.no_grad():
        results = {"transformers": model(torch.tensor([tokens])).logits[0].numpy()}
    ref, fast = (package.read_model(tmp_path) for package in (llama2_ref, llama2_fast))
    assert ref.config == fast.config == config
    for name, engine in engines(config, ref.weights, fast.weights).items():
        taps = llama2_ref.Taps() if name == "reference" else llama2_fast.Taps()
        results[name] = engine.forward(tokens, engine.new_cache(), every=True, taps=taps)
        assert_taps_within(config, ref.weights, tokens, taps)
    bounded = llama2_ref.Transformer(config, ref.weights, TransformersKernels(config))
    bounds = bounded.forward(tokens, bounded.new_cache(), every=True)
    # Worst cases that add up over a model: wide, but not so wide that logits of another token would pass.
    assert max(logit.error for row in bounds for logit in row) < np.std(results["transformers"]) / 4
    for name, rows in results.items():
        for row, wanted in zip(rows, bounds, strict=True):
            assert_within(row, wanted, f"logits of {name}")


def parameters(model: Any) -> dict[str, np.ndarray]:
    return {name: parameter.detach().float().numpy() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("kind", "tied"), GRID[::4], ids=str)
def test_what_is_written_transformers_reads(tmp_path: Path, kind: Any, tied: int, dtype: str) -> None:
    """A model of transformers, read and written again by both packages, is the same model for it."""
    config = config_of(*kind)
    random_model(config, bool(tied)).to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs")
    for package, found in zip((llama2_ref, llama2_fast), read(tmp_path / "theirs"), strict=True):
        folder = tmp_path / package.__name__
        WRITE[package](folder, found.config, found.weights, dtype)
        again, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), info
        assert again.dtype == model.dtype
        assert again.config.tie_word_embeddings == bool(tied)
        assert again.config.rope_parameters == {**model.config.rope_parameters, **again.config.rope_parameters}
        same = ("hidden_size", "intermediate_size", "num_key_value_heads", "head_dim", "rms_norm_eps", "vocab_size")
        for name in (*same, "max_position_embeddings", "num_attention_heads", "num_hidden_layers"):
            assert getattr(again.config, name) == getattr(model.config, name), name
        wanted, got = parameters(model), parameters(again)
        assert wanted.keys() == got.keys()
        for name, array in wanted.items():
            assert np.array_equal(got[name], array), name
        tokens = torch.tensor([[1, 2, 3]])
        with torch.no_grad():
            assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_a_model_of_this_project_keeps_its_bounds_in_transformers(tmp_path: Path) -> None:
    """Written here, from weights that never were transformers': every buffer that it then makes."""
    config = config_of("grouped", "llama3", 1, 0, 1)
    twins = random_twins(config, seed=8, shared=False)
    WRITE[llama2_fast](tmp_path / "model", config, twins.fast)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    taps, tokens = llama2_ref.Taps(), [1, 5, 3, 2, 18, 7]
    with torch.no_grad(), recording(model, config, taps):
        model(torch.tensor([tokens]))
    assert_taps_within(config, twins.ref, tokens, taps, TransformersKernels(config))
