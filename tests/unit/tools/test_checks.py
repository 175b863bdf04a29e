"""What `verify` says of an engine: which kernels make each buffer."""

import pytest

import llama2_fast
import llama2_ref
from llama2_fast.tools.checks import check_bounds
from support.models import random_file_twins

CONFIG = llama2_ref.Config(dim=32, hidden_dim=32, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=9, seq_len=4)


@pytest.mark.parametrize(
    ("dtype", "product", "row"),
    [
        ("F32", "matmul", "embedding"),
        ("BF16", "matmul", "embedding"),
        ("Q8_0", "matmul_int8", "dequantize_int8"),
        ("Q4_0", "matmul_int8", "dequantize_int8"),
        ("Q4_1", "matmul_int8", "dequantize_int8"),  # whose matrices are integers, but no kind of int8
    ],
)
def test_the_kernels_are_those_of_the_matrices(dtype: str, product: str, row: str) -> None:
    twins = random_file_twins(CONFIG, 0, dtype)
    engine = llama2_fast.Transformer(CONFIG, twins.fast, backend="numpy")
    rows = check_bounds(engine, twins.fast, [1, 2, 3], False, lambda share: None)
    assert {row.name: row.kernel for row in rows} == {
        "att_norm": f"{row}, rmsnorm",
        **dict.fromkeys(("q", "k"), f"{product}, rope"),
        "v": product,
        "att": "attention",
        "x1": f"{product}, add",
        "ffn_norm": "rmsnorm",
        "gate": f"{product}, swiglu",
        "out": f"{product}, add",
        "final_norm": "rmsnorm",
        "logits": product,
    }
    assert not any(row.wrong for row in rows)
