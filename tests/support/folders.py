"""Folders of Hugging Face for the tests, made without the code that is tested."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import llama2_ref

PARTS = {
    "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj",
    "rms_att_weight": "input_layernorm", "rms_ffn_weight": "post_attention_layernorm",
}  # fmt: skip
Arrays = dict[str, np.ndarray]


def settings(config: llama2_ref.Config, tied: bool = False) -> dict[str, Any]:
    """What config.json says of such a model, in newer words."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        rope |= {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            rope |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
            rope |= {"original_max_position_embeddings": scaling.original_seq_len}
    return {
        "model_type": "llama", "hidden_size": config.dim, "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers, "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads, "head_dim": config.head_size, "vocab_size": config.vocab_size,
        "max_position_embeddings": config.seq_len, "rms_norm_eps": config.norm_eps, "tie_word_embeddings": tied,
        "rope_parameters": rope,
    }  # fmt: skip


def tensors_of(config: llama2_ref.Config, weights: Any, tied: bool = False) -> Arrays:
    """The arrays of a model under Hugging Face's names, rows of queries and keys in its order."""
    found = {"model.embed_tokens.weight": weights.token_embedding_table, "model.norm.weight": weights.rms_final_weight}
    for layer in range(config.n_layers):
        for ours, theirs in PARTS.items():
            array = getattr(weights, ours)[layer]
            if ours in ("wq", "wk"):  # (heads, pairs, 2, D) -> (heads, 2, pairs, D)
                pairs = array.reshape(-1, config.head_size // 2, 2, config.dim)
                array = pairs.transpose(0, 2, 1, 3).reshape(array.shape)
            found[f"model.layers.{layer}.{theirs}.weight"] = array
    return found if tied else found | {"lm_head.weight": weights.wcls}


def packed(array: np.ndarray, kind: str) -> bytes:
    """Its numbers as F32, F16 or BF16 (cut off)."""
    if kind == "BF16":
        return np.ascontiguousarray(array, np.float32).view(np.uint16).reshape(-1)[1::2].tobytes()
    return array.astype({"F32": np.float32, "F16": np.float16}[kind]).tobytes()


def safetensors(tensors: Arrays, kind: str = "F32") -> bytes:
    """A file of these tensors."""
    header, data = {}, b""
    for name, array in tensors.items():
        part = packed(array, kind)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data


def write_tensors(folder: Path, tensors: Arrays, kind: str = "F32", shards: int = 1) -> None:
    """The weights of a folder, in one file, or in several with their index."""
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors(tensors, kind))
        return
    names, placed = list(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        (folder / file).write_bytes(safetensors(part, kind))
        placed |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def write_hf_folder(
    folder: Path, config: Any, weights: Any, kind: str = "F32", shards: int = 1, tied: bool = False
) -> Path:
    """A whole folder, which is made if it is not there."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings(config, tied)))
    write_tensors(folder, tensors_of(config, weights, tied), kind, shards)
    return folder
