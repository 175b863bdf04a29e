"""int8 and int4 groups: every bit of numbers and scales is the reference's, and products lie within their bound.

Tests that take `impl` run for every implementation under test (--impl).
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_fast.conformance.judge import assert_close, assert_within
from llama2_fast.conformance.strategies import numbers, seeds
from llama2_fast.quantize import LARGEST_FLOAT32_GROUP, quantize_matrix
from llama2_ref.bounded import BoundedKernels, U
from support.models import random_twins, ties

fast, ref, bounded = llama2_fast.kernels, llama2_ref.kernels, BoundedKernels()

groups = st.tuples(st.integers(1, 6), st.one_of(st.integers(1, 9), st.sampled_from([16, 32, 48, 64])))  # count, size
SMALLEST = 127 * 2.0**-126


@st.composite
def near_ties(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Groups whose numbers lie at (k + 1/2) steps, or next to that: another order of operations shows."""
    count, size = draw(groups)
    rng = np.random.default_rng(draw(seeds))
    peak = rng.uniform(0.5, 2, (count, 1)).astype(np.float32)
    x = (rng.integers(-127, 127, (count, size)) + np.float32(0.5)) * (peak / np.float32(127))
    x = np.nextafter(x, rng.choice([-9, 9, 0], x.shape).astype(np.float32) * x.astype(np.float32)).astype(np.float32)
    x[:, 0] = peak[:, 0]
    return x.reshape(-1), size


@pytest.mark.kernel("quantize_int8")
@given(st.one_of(near_ties(), groups.flatmap(lambda g: numbers(g[0] * g[1]).map(lambda x: (x, g[1])))))
@example((np.zeros(4, np.float32), 2))
@example((np.array([127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5], np.float32), 8))  # ties go to even
@example((np.array([SMALLEST, SMALLEST / 254, -SMALLEST], np.float32), 3))
@example((np.array([np.nextafter(np.float32(SMALLEST), np.float32(0)), 0, 0], np.float32), 3))
@example((np.full(2, 180 * 2.0**-149, np.float32), 2))  # a subnormal scale would give q = 180
@example((np.full(2, np.finfo(np.float32).max, np.float32), 1))
def test_quantize_is_equal_bit_for_bit(impl, vector):
    x, size = vector
    q, scale = impl.quantize_int8(x, size)
    q_ref, scale_ref = ref.quantize_int8(x.tolist(), size)
    assert np.asarray(q).tolist() == q_ref
    assert bits(scale) == bits(scale_ref)
    assert max(map(abs, q_ref)) <= 127


def bits(scale):
    """Of float32 numbers: other types must hold such."""
    rounded = np.asarray(scale, np.float32)
    assert np.array_equal(np.asarray(scale, np.float64), rounded)
    return rounded.view(np.int32).tolist()


SPECIAL = st.sampled_from((0.0, 1.0, float("nan"), float("inf"), -float("inf"), 2.0**19, -3e38, 1e300))


@given(st.lists(st.lists(SPECIAL, min_size=6, max_size=6), min_size=1, max_size=3), st.sampled_from((1, 2, 3, 6)))
@example([[1e30, 0.0, 0.0, float("nan"), 0.0, 0.0]], 3)
@pytest.mark.parametrize("name", ["quantize_int8", "quantize_int4"])
def test_of_several_bad_numbers_the_same_one_is_named(name, rows, size):
    """The reference looks at one number after the other, and the twin at all of them."""
    outcomes = []
    for quantize in (lambda: [getattr(ref, name)(row, size) for row in rows], lambda: getattr(fast, name)(rows, size)):
        try:
            quantize()
            outcomes.append("no refusal")
        except llama2_ref.NumericsError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(groups.flatmap(lambda g: numbers(g[0] * g[1]).map(lambda x: (x, g[1]))))
def test_quantize_errs_by_half_a_step(vector):
    """|scale q - x| <= scale (1/2 + 128 u), as the docstring says; what is too small for a scale becomes 0."""
    x, size = vector
    q, scale = ref.quantize_int8(x.tolist(), size)
    value = np.array(q, np.float64).reshape(-1, size) * np.array(scale)[:, None]
    error = np.where(np.array(scale) > 0, np.array(scale) * (0.5 + 128 * U), SMALLEST)
    assert_close(x.reshape(-1, size), value, np.broadcast_to(error[:, None], value.shape).copy(), "quantize_int8")


@pytest.mark.kernel("quantize_int4")
@given(st.one_of(near_ties(), groups.flatmap(lambda g: numbers(g[0] * g[1]).map(lambda x: (x, g[1])))))
@example((np.zeros(4, np.float32), 2))
@example((np.array([-8.0, 0.5, 1.5, 2.5, -0.5, -1.5, 7.5, 8.0], np.float32), 8))  # ties go to even, 8 becomes 7
@example((np.array([8.0, -8.0], np.float32), 2))  # the first of two greatest gives the sign
@example((np.array([8.003, 8.003], np.float32), 2))  # the scale is rounded down: -8.003 steps become -8
@example((np.array([2.0**-21, -(2.0**-22)], np.float32), 1))  # the least scale, and none
@example((np.full(2, 524_000, np.float32), 1))
def test_quantize_int4_is_equal_bit_for_bit_and_errs_by_half_a_step(impl, vector):
    x, size = vector
    x = np.clip(x, -524_000, 524_000)
    q, scale = (np.asarray(part) for part in impl.quantize_int4(x, size))
    q_ref, scale_ref = ref.quantize_int4(x.tolist(), size)
    assert q.tolist() == q_ref
    assert bits(scale) == bits(scale_ref)
    assert np.array_equal(scale.astype(np.float16), scale)
    groups, step = x.astype(np.float64).reshape(-1, size), scale.astype(np.float64)[:, None]
    steps = np.divide(groups, step, out=np.zeros_like(groups), where=step != 0)
    expected, got = np.clip(steps, -8, 7), q.reshape(-1, size)
    assert np.all(np.abs(got - expected) <= np.where(got == expected, 0, 0.5 + 8 * U))


def test_what_is_too_large_for_int4(llama2):
    with pytest.raises(llama2.NumericsError, match=r"below 2\^19 to become int4 \(got 600000"):
        llama2.kernels.quantize_int4(np.array([1, -6e5], np.float32), 2)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_weights_are_quantized_alike(kind):
    """Every matrix, in groups of the largest size that divides its rows; what is shared stays shared."""
    twins = random_twins(llama2_ref.Config(36, 43, 2, 6, 2, 31, 8), 1)
    ours, theirs = llama2_ref.quantize_weights(twins.ref, kind), llama2_fast.quantize_weights(twins.fast, kind)
    assert ours.shared_classifier
    assert theirs.shared_classifier
    assert theirs.rms_att_weight is twins.fast.rms_att_weight
    sizes = {"wq": 36, "w1": 36, "w2": 43} if kind == "int8" else {"wq": 18, "w1": 18, "w2": 1}
    for name, size in sizes.items():
        a, b = getattr(ours, name)[1], getattr(theirs, name)[1]
        assert type(a) is type(b) is (llama2_ref.Int4Matrix if kind == "int4" else llama2_ref.Int8Matrix)
        assert (a.group_size, b.group_size) == (size, size)
        assert b.q.tolist() == a.q
        assert b.scale.tolist() == a.scale


def test_what_can_not_be_quantized(llama2):
    twins = random_twins(llama2_ref.Config(4, 4, 1, 2, 1, 5, 8), 1)
    weights = twins.fast if llama2 is llama2_fast else twins.ref
    with pytest.raises(llama2.ConfigError, match="int8 or int4 \\(got 'int2'\\)"):
        llama2.quantize_weights(weights, "int2")
    with pytest.raises(llama2.ConfigError, match="token_embedding_table holds integers already"):
        llama2.quantize_weights(llama2.quantize_weights(weights, "int8"), "int4")


@st.composite
def integers(draw: st.DrawFn, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(draw(seeds))
    return rng.integers(-127, 128, shape).astype(np.int8) * np.int8(draw(st.sampled_from((0, 1, 1, 1))))


@st.composite
def products(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """w_q, w_scale, x_q, x_scale for some vectors."""
    count, size = draw(groups)
    rows, vectors = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    w_scale, x_scale = draw(numbers(rows, count, positive=True)), draw(numbers(vectors, count, positive=True))
    return draw(integers(rows, count * size)), w_scale, draw(integers(vectors, count * size)), x_scale


@pytest.mark.kernel("matmul_int8")
@given(products())
def test_matmul_int8(impl, args):
    w_q, w_scale, x_q, x_scale = args[0], args[1], args[2][0], args[3][0]
    expected = bounded.matmul_int8(w_q, w_scale, x_q.tolist(), x_scale.tolist())
    assert_within(impl.matmul_int8(w_q, w_scale, x_q, x_scale), expected, "matmul_int8")


@given(products())
def test_matmul_int8_of_many_vectors(args):
    w_q, w_scale, x_q, x_scale = args
    expected = [bounded.matmul_int8(w_q, w_scale, q.tolist(), s.tolist()) for q, s in zip(x_q, x_scale, strict=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        assert_within(fast.matmul_int8(*args), expected, "matmul_int8")


@given(products(), st.data())
def test_groups_with_offsets(args: Any, data: Any) -> None:
    """Products and numbers of matrices as GGUF's Q4_1, for one vector and for several."""
    w_q, w_scale, x_q, x_scale = args
    offset = data.draw(numbers(*w_scale.shape), label="offset")
    expected = [
        bounded.matmul_int8(w_q, w_scale, q.tolist(), s.tolist(), offset) for q, s in zip(x_q, x_scale, strict=True)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        assert_within(fast.matmul_int8(w_q, w_scale, x_q, x_scale, offset), expected, "matmul_int8")
        assert_within(fast.matmul_int8(w_q, w_scale, x_q[0], x_scale[0], offset), expected[0], "matmul_int8")
    expected = [bounded.dequantize_int8(*rows) for rows in zip(w_q, w_scale, offset, strict=True)]
    assert_within(fast.dequantize_int8(w_q, w_scale, offset), expected, "dequantize_int8")


@pytest.mark.parametrize("size", [LARGEST_FLOAT32_GROUP, LARGEST_FLOAT32_GROUP + 1, 40_001])
@pytest.mark.parametrize("vectors", [1, 3])
def test_integer_sums_are_exact_in_large_groups(size, vectors):
    """All products are positive, so that a sum beyond 2^24 that went through float32 would show."""
    rng = np.random.default_rng(size)
    w, x = (rng.integers(64, 128, (rows, size)).astype(np.int8) for rows in (2, vectors))
    w[0] = x[0] = 127  # the largest sum that there can be
    got = fast.matmul_int8(w, np.ones((2, 1), np.float32), x, np.ones((vectors, 1), np.float32))
    assert np.array_equal(got, (x.astype(int) @ w.T.astype(int)).astype(np.float32))


def test_blocks_of_rows_are_put_together():
    """More rows than are widened at a time."""
    rng = np.random.default_rng(0)
    w, x = rng.integers(-127, 128, (3000, 128)).astype(np.int8), rng.integers(-127, 128, (2, 128)).astype(np.int8)
    ones = np.ones((3000, 2), np.float32), np.ones((2, 2), np.float32)
    exact = x.astype(int) @ w.T.astype(int)
    assert np.array_equal(fast.matmul_int8(w, ones[0], x, ones[1]), exact)
    assert np.array_equal(fast.matmul_int8(w, ones[0], x[0], ones[1][0]), exact[0])


@pytest.mark.kernel("dequantize_int8")
@given(groups.flatmap(lambda g: st.tuples(integers(g[0] * g[1]), numbers(g[0], positive=True))))
def test_dequantize_rounds_once(impl, vector):
    q, scale = vector
    exact = np.array(ref.dequantize_int8(q.tolist(), scale.tolist()), np.float64)  # 7 + 24 bits: exact in float64
    with np.errstate(over="ignore"):
        got = np.asarray(impl.dequantize_int8(q, scale)).astype(np.float32)
        assert got.tolist() == exact.astype(np.float32).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(llama2, bad):
    x = np.array([1, 2, bad, 4], np.float32)
    with pytest.raises(llama2.NumericsError, match="index 2"):
        llama2.kernels.quantize_int8(x, 2)


def test_numbers_beyond_float32_are_refused(llama2):
    with pytest.raises(llama2.NumericsError, match="index 1"):
        llama2.kernels.quantize_int8([0.0, 1e300], 2)


@st.composite
def near_ties_of_int4(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """As near_ties, for steps of a float16 scale."""
    count, size = draw(groups)
    rng = np.random.default_rng(draw(seeds))
    scale = rng.uniform(0.01, 100, (count, 1)).astype(np.float16).astype(np.float32)
    x = (rng.integers(-7, 7, (count, size)) + np.float32(0.5)) * scale
    x = np.nextafter(x, rng.choice([-9, 9, 0], x.shape).astype(np.float32) * np.abs(x))
    x[:, 0] = -8 * scale[:, 0]
    return x.astype(np.float32).reshape(-1), size


@given(near_ties_of_int4())
def test_quantize_int4_is_equal_next_to_ties(vector):
    x, size = vector
    q, scale = fast.quantize_int4(x, size)
    q_ref, scale_ref = ref.quantize_int4(x.tolist(), size)
    assert q.tolist() == q_ref
    assert scale.tolist() == scale_ref


@pytest.mark.parametrize("size", [1, 5, 16, 32, 64])
@pytest.mark.parametrize("name", ["quantize_int8", "quantize_int4"])
def test_many_ties_are_equal_bit_for_bit(name, size):
    """Some ten thousand of them, and as many numbers beside: a reciprocal in place of a division moves some hundred."""
    rng, count = np.random.default_rng(size), 40_000 // size
    peak = np.exp(rng.uniform(-9, 9, count)).astype(np.float32)
    steps, largest = (127, 127) if name == "quantize_int8" else (-8, 7)
    scale = (peak / np.float32(steps)).astype(np.float32 if steps > 0 else np.float16)
    x = ties(rng, count, size, largest, scale)
    if size > 1:
        x[np.arange(count), rng.integers(0, size, count)] = peak
    q, found = getattr(fast, name)(x, size)
    q_ref, scale_ref = getattr(ref, name)(x.reshape(-1).tolist(), size)
    assert np.array_equal(q.reshape(-1), q_ref)
    assert bits(found.reshape(-1)) == bits(scale_ref)


def test_one_group_that_is_too_large_for_int4_is_enough(llama2):
    with pytest.raises(llama2.NumericsError, match=r"below 2\^19 to become int4 \(got 600000"):
        llama2.kernels.quantize_int4(np.array([1, 2, 1, -6e5], np.float32), 2)


@pytest.mark.parametrize("size", [3, 0, -1])
@pytest.mark.parametrize("name", ["quantize_int8", "quantize_int4"])
def test_groups_that_do_not_divide_a_vector_are_refused_by_name(llama2, name, size):
    with pytest.raises(ValueError, match="group_size must divide"):
        getattr(llama2.kernels, name)(np.ones(4, np.float32), size)


def test_numpy_s_settings_of_the_caller_do_not_matter_to_int4():
    """float16 scales that underflow are nothing to be told of."""
    x = np.array([2.0**-149, 0, 2.0**-40, 2.0**-24, 0, 0, 1, -1e-20], np.float32)
    with np.errstate(all="raise"):
        got = fast.quantize_int4(x, 2)
    for mine, theirs in zip(got, ref.quantize_int4(x.tolist(), 2), strict=True):
        assert mine.tolist() == theirs


@pytest.mark.parametrize(("vectors", "size", "groups"), [(1, 64, 2**12 + 1), (2, 1, 2**17 + 1)])
def test_rows_longer_than_a_block(vectors, size, groups):
    """One row is widened at a time then; all sums are exact."""
    rng = np.random.default_rng(0)
    w, x = (rng.integers(-1, 2, (n, size * groups)).astype(np.int8) for n in (3, vectors))
    got = fast.matmul_int8(w, np.ones((3, groups), np.float32), x, np.ones((vectors, groups), np.float32))
    assert np.array_equal(got, x.astype(int) @ w.T.astype(int))


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_matrices_are_quantized_some_rows_at_a_time(monkeypatch, kind):
    """Even where a single row has more numbers than are taken at once."""
    w = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    whole = quantize_matrix(w, kind)
    assert (whole.q.dtype, whole.scale.dtype) == (np.int8, np.float32)
    for chunk in (4, 16, 32, 48):
        monkeypatch.setattr("llama2_fast.quantize.CHUNK", chunk)
        parts = quantize_matrix(w, kind)
        assert np.array_equal(parts.q, whole.q)
        assert np.array_equal(parts.scale, whole.scale)


@pytest.mark.parametrize("size", [1032, 1033, 1040, 1056, 2064])
@pytest.mark.parametrize("vectors", [1, 3])
def test_sums_of_another_program_s_minus_128_are_exact(size, vectors):
    """No partial sum of up to 1032 products of -128 and 127 leaves the whole numbers of float32; more need float64."""
    rng = np.random.default_rng(size)
    w, x = (
        rng.integers(-128, -120, (300, size)).astype(np.int8),
        rng.integers(120, 128, (vectors, size)).astype(np.int8),
    )
    got = fast.matmul_int8(w, np.ones((300, 1), np.float32), x, np.ones((vectors, 1), np.float32))
    assert np.array_equal(got, (x.astype(int) @ w.T.astype(int)).astype(np.float32))


def test_numpy_s_settings_of_the_caller_do_not_matter_to_scales_of_a_damaged_file():
    """127 times a large scale overflows, 0 times infinity is invalid: the model finds what is not finite."""
    with np.errstate(all="raise"):
        got = fast.dequantize_int8(np.array([127, 0], np.int8), np.array([3e38, np.inf], np.float32))
    assert got[0] == np.inf
    assert np.isnan(got[1])
