"""The compiled engine's promise: the same bits for any threads, cut of a prompt, batch, and instruction set."""

import dataclasses
import hashlib
import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_fast.conformance import reproduce
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.judge import assert_taps_within
from llama2_fast.conformance.strategies import models, prompts
from llama2_fast.weights import BFloat16Matrix
from llama2_ref.quantize import map_matrices
from support.models import random_file_twins, random_twins, ties

pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")

from llama2_fast.engines.numpy_engine import CHUNK
from llama2_fast.engines.simd import EXP_ULPS
from llama2_fast.engines.simd.compiler.library import library

Config = llama2_ref.Config
KINDS = (None, "int8", "int4")


def compiled(twins, kind, threads=None):
    return llama2_fast.Transformer(twins.config, twins.fast, threads=threads, backend="simd", quantize=kind)


def bits(logits):
    return np.ascontiguousarray(logits).view(np.int32)


@given(models(longest=70), st.sampled_from(KINDS), st.integers(1, 5), st.data())
def test_bits_depend_neither_on_threads_nor_on_how_a_prompt_is_cut(twins, kind, threads, data):
    tokens = data.draw(prompts(twins.config, long=True), label="tokens")
    one = compiled(twins, kind, threads=1)
    whole = one.forward(tokens, one.new_cache(), every=True)
    other, parts = compiled(twins, kind, threads), []
    cache, cuts = other.new_cache(), []
    reproduce.current_script = lambda: reproduce.bits(twins, tokens, cuts, kind, threads)
    while cache.length < len(tokens):
        cuts.append(data.draw(st.integers(1, len(tokens) - cache.length), label="part"))
        parts.append(other.forward(tokens[cache.length : cache.length + cuts[-1]], cache, every=True))
    assert np.array_equal(bits(np.concatenate(parts)), bits(whole))
    assert np.array_equal(bits(one.forward(tokens, one.new_cache())), bits(whole[-1]))


@settings(max_examples=60)
@given(models(longest=24), st.sampled_from(KINDS), st.integers(1, 3), st.data())
def test_bits_do_not_depend_on_what_else_is_in_the_batch(twins, kind, threads, data):
    """Several sequences, each fed by a schedule of its own: prompts and single steps in any mixture."""
    some = st.lists(prompts(twins.config, long=True), min_size=1, max_size=5)
    sequences = data.draw(some, label="sequences")
    alone, together = compiled(twins, kind, threads=1), compiled(twins, kind, threads)
    expected = [alone.forward(tokens, alone.new_cache(), every=True) for tokens in sequences]
    caches = [together.new_cache() for _ in sequences]
    found = [[] for _ in sequences]
    while any(cache.length < len(tokens) for cache, tokens in zip(caches, sequences, strict=True)):
        batch = []
        for i, (cache, tokens) in enumerate(zip(caches, sequences, strict=True)):
            left = len(tokens) - cache.length
            size = data.draw(st.integers(0 if batch else min(1, left), left), label="part")  # somebody goes on
            if size:
                batch.append((i, (tokens[cache.length : cache.length + size], cache)))
        for (i, _), logits in zip(batch, together.forward_batch([part for _, part in batch], True), strict=True):
            found[i].append(logits)
    last = together.forward_batch([(tokens, together.new_cache()) for tokens in sequences])
    for got, one, want in zip(found, last, expected, strict=True):
        assert np.array_equal(bits(np.concatenate(got)), bits(want))
        assert np.array_equal(bits(one), bits(want[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_tiles(kind):
    """More tokens than a pass takes, sizes that leave remainders everywhere, and more threads than cores."""
    twins = random_twins(Config(36, 43, 2, 6, 2, 31, 700), seed=3)
    tokens = np.random.default_rng(1).integers(0, 31, CHUNK + 71).tolist()
    one, many = compiled(twins, kind, threads=1), compiled(twins, kind, threads=7)
    cache = one.new_cache()
    steps = np.array([one.forward([token], cache) for token in tokens])
    assert np.array_equal(bits(many.forward(tokens, many.new_cache(), every=True)), bits(steps))


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_bits_of_small_floats_are_those_of_float32(kind):
    twins = random_file_twins(Config(36, 43, 2, 6, 2, 31, 40), 5, kind)
    tokens = np.random.default_rng(2).integers(0, 31, 40).tolist()
    small, large = compiled(twins, None), compiled(twins, "float32")
    assert small.forward([3], small.new_cache()).dtype == np.float32
    assert np.array_equal(bits(small.forward(tokens, small.new_cache(), True)),
                          bits(large.forward(tokens, large.new_cache(), True)))  # fmt: skip


# SHA-256 of the logits of every token of a fixed model: every machine must find these.
FIXED = {
    None: "c2676bd0dac890ea8e94309f5cb4f90657c1dbd66e37f9ac3f6364f4b60de0d5",
    "int8": "f56a860e1a6af55235967de7e90fc6c846974c67765b1bf0f48e8ee2b2f6b587",
    "int4": "d612ef7c4fe2a462444b70f234b90cd09f67d04a13e6498929b4b55d05237388",
    "F16": "20388a912d7302bd61369040b5cb1cc15e60dae2313720bc905e5cb19c954068",
    "BF16": "cfe287b04bb8f594a0b0281796c88051efedf5cbb55fc0bb7516a0f517f758c4",
    "Q4_1": "28e62655561a5e7c206740423492e91b92b6e17cd9332fc5eea69a9aaa4e2da3",
}


def with_offsets(matrix):
    """Groups of four numbers, with scales and offsets that differ."""
    q = (matrix * 2**26).astype(np.int32) >> 18 & 15
    scale, offset = ((matrix[:, i::4] / 4).astype(np.float16) for i in (0, 1))
    return llama2_fast.Int4OffsetMatrix(q.astype(np.int8), scale, offset)


SMALL = {
    "F16": lambda matrix: matrix.astype(np.float16),
    "BF16": lambda matrix: BFloat16Matrix((matrix.view(np.uint32) >> 16).astype(np.uint16)),
    "Q4_1": with_offsets,
}
SCRIPT = """
import hashlib
from fuzz.test_simd import FIXED, fixed_logits, logit_of_a_float16
from llama2_fast.engines.simd.compiler import target
from llama2_fast.engines.simd.kernels import byte_dots
print(*target.processor(), byte_dots._AVX2, byte_dots._SSSE3, sep=":")
for kind in FIXED:
    print(hashlib.sha256(fixed_logits(kind).tobytes()).hexdigest())
print(*map(logit_of_a_float16, ("inf", "nan")))
"""


def logit_of_a_float16(name):
    """What a logit is whose row holds a float16 number that is none: NaN or infinite, as its error says."""
    twins = random_file_twins(Config(32, 32, 1, 2, 1, 7, 4), 1, "F16")
    table = twins.fast.wcls.copy()
    table[5, 31] = float(name)
    weights = dataclasses.replace(twins.fast, wcls=table)
    transformer = llama2_fast.Transformer(twins.config, weights, backend="simd")
    try:
        return f"finite:{transformer.forward([1], transformer.new_cache())[5]}"
    except llama2_fast.NumericsError as error:
        return str(error).split("token 5 has ")[1].split(")")[0].lstrip("-")


def fixed_logits(kind):
    """Whole numbers over a power of two as weights, so that they are the same with every version of numpy."""
    config = Config(80, 148, 2, 5, 1, 101, 64)
    state = 88172645463325252

    def draw(*shape):
        nonlocal state
        numbers = []
        for _ in range(int(np.prod(shape))):
            state ^= (state << 13) & (2**64 - 1)
            state ^= state >> 7
            state ^= (state << 17) & (2**64 - 1)
            numbers.append((state >> 40) - 2**23)
        return (np.array(numbers, np.float32) / np.float32(2**26)).reshape(shape)

    c = config
    norms = [1 + draw(c.n_layers, c.dim) for _ in range(2)]
    shapes = [(c.dim, c.dim), (c.kv_dim, c.dim), (c.kv_dim, c.dim), (c.dim, c.dim)]
    shapes += [(c.hidden_dim, c.dim), (c.dim, c.hidden_dim), (c.hidden_dim, c.dim)]
    matrices: list[Any] = [[draw(*shape) for _ in range(c.n_layers)] for shape in shapes]
    tables: Any = (
        4 * draw(c.vocab_size, c.dim), norms[0], *matrices[:4], norms[1], *matrices[4:], 1 + draw(c.dim),
        draw(c.vocab_size, c.dim),
    )  # fmt: skip
    weights = llama2_fast.Weights(*tables)
    if kind in SMALL:
        weights, kind = map_matrices(weights, SMALL[kind]), None
    transformer = llama2_fast.Transformer(config, weights, backend="simd", quantize=kind)
    return transformer.forward([(7 * i + 3) % c.vocab_size for i in range(50)], transformer.new_cache(), every=True)


@pytest.mark.parametrize("kind", FIXED)
def test_every_machine_finds_these_bits(kind):
    assert hashlib.sha256(fixed_logits(kind).tobytes()).hexdigest() == FIXED[kind]


@pytest.mark.skipif(sys.platform == "win32", reason="code for processors without fma calls the C library's")
@pytest.mark.parametrize(
    ("name", "features"),
    [("x86-64", ""), ("x86-64", "+ssse3,+sse4.1,+sse4.2"), ("x86-64-v3", "+avx2,+fma,+ssse3,+sse4.2,+bmi,+bmi2,+f16c")],
    ids=["sse2", "sse4.2", "avx2"],
)
def test_other_instruction_sets_find_these_bits(tmp_path, name, features):
    """The same kernels, compiled for lesser processors, run on this one."""
    if platform.machine() != "x86_64":
        pytest.skip("these are processors of the x86-64 kind")
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "LLAMA2_CACHE": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    which, *found = done.stdout.split()
    assert which == f"{name}:{features}:{'+avx2' in features}:{'+ssse3' in features}"
    assert found == [*FIXED.values(), "inf", "nan"]


def test_cos_and_sin():
    """Against the system's, which are right to an ulp: at most 2^-52 off up to 2^20, 2^-51 up to 2^31."""
    rng = np.random.default_rng(1)
    small, large = rng.uniform(0, 2**20, 2**18), rng.uniform(0, 2**31, 2**18)
    near = np.arange(2**16) * (np.pi / 2)  # where one of the two nearly vanishes
    for x, off in ((np.concatenate((small, near, np.arange(4096.0))), 2.0**-52), (large, 2.0**-51)):
        got = np.empty((len(x), 2))
        library().run_cos_sin(x.ctypes.data, got.ctypes.data, len(x))
        assert np.abs(got - np.stack((np.cos(x), np.sin(x)), -1)).max() <= off


def test_exp_of_every_float32():
    """All 2^32 numbers: at most EXP_ULPS units in the last place from the exact value, NaN for NaN."""
    size, run, worst = 2**22, library().run_exp, 0.0
    got = np.empty(size, np.float32)
    for start in range(0, 2**32, size):
        x = np.arange(start, start + size, dtype=np.uint32).view(np.float32)
        run(x.ctypes.data, got.ctypes.data, size)
        low, high = sorted((x[0], x[-1]))
        if np.isnan(x[-1]):  # infinity is the first of its block
            assert np.isnan(got[1:]).all()
            assert np.isnan(x[0]) or got[0] == (np.inf if x[0] > 0 else 0)
        elif low >= 128 or high <= -128:
            assert np.all(got == (np.inf if low > 0 else 0))
        elif max(-low, high) < 2.0**-26:
            assert np.all(got == 1)
        else:
            worst = max(worst, ulps(got, np.exp(x.astype(np.float64))))
    assert worst <= EXP_ULPS


def ulps(got, exact):
    """The greatest distance, in units in the last place of the exact values, which are float64."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = exact.astype(np.float32)
    finite = np.isfinite(rounded)
    assert np.array_equal(np.isinf(got), ~finite)
    return float((np.abs(got[finite] - exact[finite]) / np.spacing(rounded[finite])).max(initial=0))


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_how_wide_rows_are_cut(kind):
    """Rows of more columns than a stretch, more tokens than stay in the cache with them, heads of many numbers."""
    config = Config(144, 2100, 1, 2, 1, 31, 64)
    twins = random_twins(config, seed=3)
    tokens = np.random.default_rng(1).integers(0, 31, 40).tolist()
    one, many = compiled(twins, kind, threads=1), compiled(twins, kind, threads=2)
    cache, taps = one.new_cache(), llama2_fast.Taps()
    steps = np.array([one.forward([token], cache, every=True, taps=taps)[0] for token in tokens])
    assert np.array_equal(bits(many.forward(tokens, many.new_cache(), every=True)), bits(steps))
    weights = llama2_fast.quantize_weights(twins.fast, kind) if kind else twins.fast
    assert_taps_within(config, weights, tokens, taps, ClosedKernels())


LEFT_OVER = {  # rows left over by fours, of matrices of more columns than a portion of the prompt has vectors for
    "1 and 3": Config(528, 5, 1, 2, 1, 7, 260),
    "2 and 1": Config(528, 18, 1, 2, 1, 33, 260),
    "3 and none": Config(528, 3, 1, 2, 1, 20, 260),
    "2 of w2": Config(10, 530, 1, 1, 1, 9, 260),
    "2 of rows wider than the cache": Config(6, 5470, 1, 1, 1, 5, 30),
}


@pytest.mark.parametrize("count", [29, 133, 251])
@pytest.mark.parametrize("kind", [*KINDS, "F16", "BF16"])
@pytest.mark.parametrize("left", LEFT_OVER)
def test_every_row_of_every_portion_is_its_own_product(left, kind, count):
    """Portions of a prompt that stay in the cache, one, two or three of them, and whatever threes and fours leave."""
    config = LEFT_OVER[left]
    weights = random_twins(config, seed=3, shared=False).fast
    if kind in SMALL:
        weights, kind = map_matrices(weights, SMALL[kind]), None
    one, many = (
        llama2_fast.Transformer(config, weights, threads=threads, backend="simd", quantize=kind) for threads in (1, 2)
    )
    tokens = np.random.default_rng(count).integers(0, config.vocab_size, min(count, config.seq_len - 1)).tolist()
    single, together = llama2_fast.Taps(), llama2_fast.Taps()
    cache = one.new_cache()
    for token in tokens:
        one.forward([token], cache, every=True, taps=single)
    many.forward(tokens, many.new_cache(), every=True, taps=together)
    assert single.keys() == together.keys()
    for key, rows in together.items():
        assert np.array_equal(bits(rows), bits(single[key])), key


def quantizer(vectors, size, matrix):
    """A model whose layer i quantizes the vector i, and whose values are then the integers times their scales.

    Each token is a vector of ones, and stays one: what is added to it is 0. Its norm's weights are the vector.
    """
    layers, dim = vectors.shape
    config = Config(dim, 1, layers, 1, 1, 2, 4, norm_eps=1e-30)
    unit = matrix(np.eye(dim, dtype=np.int8), np.ones((dim, dim // size), np.float32))
    nothing, one = np.zeros((dim, dim), np.float32), np.ones((1, dim), np.float32)
    w = llama2_fast.Weights(
        np.ones((2, dim), np.float32), vectors, [nothing] * layers, [nothing] * layers, [unit] * layers,
        [nothing] * layers, np.ones_like(vectors), [one] * layers, [one.T * 0] * layers, [one] * layers,
        np.ones(dim, np.float32), np.ones((2, dim), np.float32),
    )  # fmt: skip
    return config, w


@pytest.mark.parametrize(
    ("kind", "size"), [*(("int8", n) for n in (1, 5, 16, 20, 40, 80)), *(("int4", n) for n in (5, 16, 20))]
)
def test_ties_are_quantized_as_by_the_reference(kind, size):
    """Numbers at half a step, and next to that: by compiled code, for one vector at a time and for several."""
    rng, layers, dim = np.random.default_rng(size), 120, 80
    count = layers * dim // size
    peak = np.exp(rng.uniform(-9, 9, count)).astype(np.float32)
    x = ties(rng, count, size, 127, peak / np.float32(127))
    x[np.arange(count), rng.integers(0, size, count)] = peak
    vectors = x.reshape(layers, dim)
    config, weights = quantizer(vectors, size, llama2_fast.Int8Matrix if kind == "int8" else llama2_fast.Int4Matrix)
    q, scale = llama2_ref.kernels.quantize_int8(vectors.reshape(-1).tolist(), size)
    wanted = (np.array(q, np.float64).reshape(-1, size) * np.array(scale)[:, None]).astype(np.float32)
    for tokens in ([1], [0, 1, 0]):
        model, taps = llama2_fast.Transformer(config, weights, backend="simd"), llama2_fast.Taps()
        model.forward(tokens, model.new_cache(), taps=taps)
        for token in range(len(tokens)):
            assert all(np.array_equal(taps[layer, "att_norm"][token], vectors[layer]) for layer in range(layers))
            found = np.array([taps[layer, "v"][token] for layer in range(layers)])
            assert np.array_equal(bits(found), bits(wanted.reshape(found.shape)))


def test_large_scores_in_any_block():
    """Scores far apart: softmax overflows unless it takes off the greatest, wherever among 64 positions that is."""
    config = Config(8, 8, 1, 1, 1, 40, 64)
    twins = random_twins(config, seed=5, distribution="large")
    tokens = np.random.default_rng(2).integers(0, 40, 64).tolist()
    transformer, taps = compiled(twins, None, threads=1), llama2_fast.Taps()
    transformer.forward(tokens, transformer.new_cache(), every=True, taps=taps)
    scores = np.asarray(taps[0, "q"]) @ np.asarray(taps[0, "k"]).T / 8**0.5
    best = [int(np.argmax(row[: i + 1])) // 16 for i, row in enumerate(scores)]
    assert scores.max() > 1000
    assert set(best) == {0, 1, 2, 3}
    assert_taps_within(config, twins.fast, tokens, taps, ClosedKernels())


def test_exp_of_some_float32():
    """One in 1021 of all numbers whose power is neither 0 nor infinite: the same bound, in a moment."""
    positive = np.arange(0, np.float32(88.7).view(np.int32), 1021, dtype=np.int32).view(np.float32)
    negative = -np.arange(0, np.float32(103.9).view(np.int32), 1021, dtype=np.int32).view(np.float32)
    x = np.concatenate((positive, negative))
    x = np.concatenate((x, np.zeros(-len(x) % 16, np.float32)))
    got = np.empty_like(x)
    library().run_exp(x.ctypes.data, got.ctypes.data, len(x))
    assert ulps(got, np.exp(x.astype(np.float64))) <= EXP_ULPS
