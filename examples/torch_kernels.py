"""Kernels of PyTorch, on one thread of the CPU, in the type that LLAMA2_TORCH_DTYPE names: float32 unless it is set.

pytest tests/fuzz --impl examples.torch_kernels
LLAMA2_TORCH_DTYPE=bfloat16 pytest tests/fuzz --impl examples.torch_kernels    # what low precision looks like
"""

import os

try:
    import torch
except ImportError:
    raise ImportError("examples.torch_kernels needs PyTorch: pip install torch") from None

from torch.nn import functional

NAME = os.environ.get("LLAMA2_TORCH_DTYPE", "float32")
PRECISION = os.environ.get("LLAMA2_TORCH_PRECISION", "highest")  # of float32 matrix products
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
if NAME not in DTYPES:
    raise ImportError(f"LLAMA2_TORCH_DTYPE must be one of {', '.join(DTYPES)} (got {NAME!r})")
if PRECISION not in ("highest", "high", "medium"):
    raise ImportError(f"LLAMA2_TORCH_PRECISION must be one of highest, high, medium (got {PRECISION!r})")

DTYPE = DTYPES[NAME]
THREADS = 1
BACKEND = f"torch {torch.__version__}, {NAME}, {torch.backends.cpu.get_cpu_capability()}, matmul precision {PRECISION}"
torch.set_num_threads(THREADS)
torch.set_float32_matmul_precision(PRECISION)


def _tensor(x):
    """A copy in the type under test: what is in the array can't be changed through it."""
    return torch.tensor(x, dtype=DTYPE)


def _array(x):
    """numpy has no bfloat16; float64 holds every number of all four types."""
    return x.double().numpy()


def matmul(w, x):
    return _array(_tensor(w) @ _tensor(x))


def add(x, y):
    return _array(_tensor(x) + _tensor(y))


def rmsnorm(x, w, eps):
    return _array(functional.rms_norm(_tensor(x), x.shape, _tensor(w), eps))


def rope_table(position, head_size, theta):
    angles = position * theta ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    return _array(angles.cos().to(DTYPE)), _array(angles.sin().to(DTYPE))


def rope(x, cosines, sines):
    pairs = _tensor(x).reshape(-1, len(cosines), 2)
    a, b = pairs[..., 0], pairs[..., 1]
    c, s = _tensor(cosines), _tensor(sines)
    return _array(torch.stack((a * c - b * s, a * s + b * c), dim=-1).reshape(-1))


def softmax(x):
    return _array(functional.softmax(_tensor(x), dim=-1))


def attention(q, keys, values, n_heads):
    size = len(q) // n_heads
    query = _tensor(q).reshape(1, n_heads, 1, size)
    key, value = (_tensor(rows).reshape(1, len(rows), -1, size).transpose(1, 2) for rows in (keys, values))
    return _array(functional.scaled_dot_product_attention(query, key, value, enable_gqa=True).reshape(-1))


def silu(x):
    return _array(functional.silu(_tensor(x)))


def swiglu(gate, up):
    return _array(functional.silu(_tensor(gate)) * _tensor(up))


def argmax(x):
    return int(_tensor(x).argmax())
