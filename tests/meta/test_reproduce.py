"""Scripts that tell a failure run where nothing of the suite is there, and give exactly what failed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_ref
from fuzz import test_checkpoint, test_sampler, test_tokenizer
from llama2_fast.conformance import reproduce
from support.models import random_twins, vocabulary

ROOT = Path(__file__).parents[2]


def run(script, folder):
    """What a script prints, in a process that can't import the tests."""
    paths = os.pathsep.join(path for path in sys.path if Path(path) != ROOT / "tests")
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "value",
    [
        np.array([1e-45, -0.0, 3.4e38, 0.1], np.float32),
        np.random.default_rng(1).standard_normal((70, 3)).astype(np.float32),
        np.array([[1, -128]], np.int8),
        np.array([np.nan, np.inf], np.float32),
        bytes(range(256)),
        b"short",
        [b"a", 1.5, None, "\U0001f600"],
        np.float32(0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_literals_are_exact(value):
    import base64
    import zlib

    got = eval(reproduce.literal(value), {"np": np, "base64": base64, "zlib": zlib})
    assert type(got) is type(value)
    if isinstance(value, np.ndarray):
        assert got.dtype == value.dtype
        assert got.shape == value.shape
        assert got.tobytes() == value.tobytes()
        assert got.flags.writeable
    else:
        assert got == value


def test_a_call_of_a_kernel(tmp_path):
    w: Any = np.eye(3, dtype=np.float32) / 3
    x: Any = np.array([1, 2, 3], np.float32)
    script = reproduce.call("llama2_ref.kernels", "matmul", (w, x))
    assert run(script, tmp_path) == f"{llama2_ref.kernels.matmul(w, x)}\n"


def test_a_model(tmp_path):
    """Nothing is printed where nothing is wrong; a wrong kernel's buffer is."""
    twins = random_twins(llama2_ref.Config(8, 6, 2, 2, 1, 9, 8), 5, "large", shared=False)
    for knobs in ({"backend": "numpy"}, {"backend": "numpy", "quantize": "int8", "threads": 2}):
        assert run(reproduce.model(twins, [[1, 2], [3]], **knobs), tmp_path) == ""
    (tmp_path / "wrong.py").write_text("def add(x, y):\n    return x - y\n")
    script = reproduce.model(twins, [[1, 2], [3]], reproduce.kernels_of("wrong", ["add"]))
    assert run(script, tmp_path).startswith("x1 of layer 0, token 0[")


def test_bits(tmp_path):
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    twins = random_twins(llama2_ref.Config(8, 6, 2, 2, 1, 9, 8), 5)
    script = reproduce.bits(twins, [1, 2, 3, 4], [1, 3], "int8", threads=2)
    assert run(script, tmp_path) == "[]\n"
    other = script.replace("'int8'", "'int4'", 1)
    assert run(other, tmp_path) != "[]\n"


def test_the_scripts_of_the_other_tests(tmp_path):
    words = vocabulary(300)
    encode = reproduce.script(test_tokenizer.ENCODE, words=words, text="a bé", bos=True, eos=False)
    one, other = run(encode, tmp_path).splitlines()
    assert one == other
    assert one.endswith(" 'a bé'")
    assert run(reproduce.script(test_tokenizer.DECODE, words=words, ids=[1, 260, 261]), tmp_path) == "'ab'\n'ab'\n"
    assert "bytes" in run(reproduce.script(test_tokenizer.READ, data=b"\0" * 3), tmp_path)
    assert "bytes" in run(reproduce.script(test_checkpoint.READ, data=b"\0" * 3), tmp_path)
    values = {"logits": np.array([0, 50], np.float32), "temperature": 1.0, "topp": 0.9, "seed": 1}
    assert run(reproduce.script(test_sampler.DRAW, **values), tmp_path) == "1\n1\n"
