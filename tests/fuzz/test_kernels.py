"""Kernels against the loops of llama2_ref, within the bound that those loops carry along.

Tests that take `impl` run for every implementation under test (--impl), by default for both of ours; the others are
about what llama2_fast promises beyond the contract (docs/conformance.md).
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_ref
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.implementation import load
from llama2_fast.conformance.judge import assert_close, assert_within
from llama2_fast.conformance.strategies import grids, heads, lengths, numbers, seeds
from llama2_fast.kernels import rope_table as fast_rope_table
from llama2_ref.bounded import BoundedKernels, U

fast, ref, bounded = load("llama2_fast.kernels"), llama2_ref.kernels, BoundedKernels()
sizes = st.tuples(lengths, lengths)


@pytest.mark.kernel("matmul")
@given(sizes.flatmap(lambda s: st.tuples(numbers(*s), numbers(s[1]))))
def test_matmul(impl, arrays):
    w, x = arrays
    assert_within(impl.matmul(w, x), bounded.matmul(w, x), "matmul")


@pytest.mark.kernel("matmul")
@given(sizes.flatmap(lambda s: st.tuples(grids(*s, largest=500), grids(s[1], largest=500))))
def test_matmul_is_exact_on_a_grid(impl, arrays):
    """67 * 500^2 < 2^24: no order of summation rounds, so a dropped term shows at any length."""
    w, x = arrays
    assert np.asarray(impl.matmul(w, x)).tolist() == ref.matmul(w.tolist(), x.tolist())


@given(st.tuples(st.integers(1, 5), lengths, lengths).flatmap(lambda s: st.tuples(numbers(*s[:2]), numbers(*s[1:]))))
def test_matmul_of_many_vectors(arrays):
    x, w = arrays[0], arrays[1].T
    assert_within(fast.matmul(w, x), [bounded.matmul(w, row) for row in x], "matmul")


@pytest.mark.kernel("add")
@given(lengths.flatmap(lambda n: st.tuples(numbers(n), numbers(n))))
def test_add(impl, arrays):
    assert_within(impl.add(*arrays), bounded.add(*arrays), "add")


@pytest.mark.kernel("rmsnorm")
@given(lengths.flatmap(lambda n: st.tuples(numbers(n), numbers(n))), st.sampled_from((1e-5, 1e-6, 1e-2)))
def test_rmsnorm(impl, arrays, eps):
    x, w = arrays
    assert_within(impl.rmsnorm(x, w, eps), bounded.rmsnorm(x, w, eps), "rmsnorm")


@given(lengths.flatmap(lambda n: st.tuples(numbers(n), numbers(n))), st.sampled_from((1e-5, 1e-6, 1e-2)))
@example((np.full(3, 2.0**70, np.float32), np.ones(3, np.float32)), 1e-5)  # its squares overflow float32
def test_rmsnorm_sums_in_float64(arrays, eps):
    """The promise of the docstring: 4 u for any length, which also shows an eps that is off by a factor."""
    x, w = arrays
    value = np.array(ref.rmsnorm(x.tolist(), w.tolist(), eps))
    scale = 1 / np.sqrt(np.mean(np.square(x, dtype=np.float64)) + eps)
    error = 4.0001 * U * np.abs(value) + 2.0**-149 * (2 + np.abs(w, dtype=np.float64) + scale)
    error[np.abs(value) * (1 + 8 * U) > np.finfo(np.float32).max] = np.inf
    assert_close(fast.rmsnorm(x, w, eps), value, error, "rmsnorm")


@given(lengths.flatmap(lambda n: st.tuples(numbers(n), numbers(n))), st.sampled_from((1e-5, 1e-6, 1e-2)))
@example((np.full(1, 9e-44, np.float32), np.full(1, 0.8984375, np.float32)), 1e-5)  # w x keeps five bits
@example((np.full(1, 1e18, np.float32), np.full(1, 1e30, np.float32)), 1e-5)  # w x overflows, the result does not
def test_the_factors_of_rmsnorm_may_go_in_any_order(arrays, eps):
    """gcc -Ofast multiplies w x first, which may underflow."""
    x, w = arrays
    with np.errstate(all="ignore"):
        scale = (1 / np.sqrt(np.mean(np.square(x, dtype=np.float64)) + eps)).astype(np.float32)
        products = w * (x * scale), (w * x) * scale, (w * scale) * x
    for product in products:
        assert_within(product, bounded.rmsnorm(x, w, eps), "rmsnorm in another order")
        assert_within(product, ClosedKernels().rmsnorm(x, w, eps), "rmsnorm in another order")


positions = st.one_of(st.integers(0, 20), st.integers(0, 100_000))
thetas = st.sampled_from((10000.0, 500000.0, 10.0))


SCALINGS = st.one_of(
    st.builds(llama2_ref.RopeScaling, st.just("linear"), st.floats(1, 64)),
    st.builds(
        llama2_ref.RopeScaling, st.just("llama3"), st.floats(1, 64), st.floats(0.5, 2), st.floats(2.5, 8),
        st.sampled_from((16, 2048, 8192)),
    ),
)  # fmt: skip


@given(st.integers(0, 100_000), st.integers(1, 64), st.sampled_from((10.0, 10000.0, 500000.0)), SCALINGS)
def test_rope_table_of_scaled_frequencies(position, half, theta, scaling):
    expected = bounded.rope_table(position, 2 * half, theta, scaling)
    for got, should in zip(fast_rope_table(position, 2 * half, theta, scaling), expected, strict=True):
        assert_within(got, should, "rope_table")


@pytest.mark.kernel("rope_table")
@given(positions, st.integers(1, 40), thetas)
@example(2**24 + 1, 1, 10.0)  # float32 has no such number
def test_rope_table(impl, position, half, theta):
    expected = bounded.rope_table(position, 2 * half, theta)
    for got, should in zip(impl.rope_table(position, 2 * half, theta), expected, strict=True):
        assert_within(got, should, "rope_table")


@pytest.mark.kernel("rope")
@given(heads().flatmap(lambda s: numbers(s[0] * s[2]).map(lambda x: (x, s[2]))), positions, thetas)
def test_rope(impl, vector, position, theta):
    x, head_size = vector
    table = np.array(ref.rope_table(position, head_size, theta), np.float32)
    assert_within(impl.rope(x, *table), bounded.rope(x, *table), "rope")


@pytest.mark.kernel("softmax")
@given(lengths.flatmap(numbers))
@example(np.array([-1e30, 88, 89, 1000, 1e30], np.float32))
def test_softmax(impl, x):
    got = np.asarray(impl.softmax(x))
    assert_within(got, bounded.softmax(x), "softmax")
    assert (got >= 0).all()


@st.composite
def attentions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Arguments of attention for one token."""
    n_heads, n_kv_heads, size = draw(heads())
    seen = draw(st.integers(1, 9))
    shape = seen, n_kv_heads * size
    return draw(numbers(n_heads * size)), draw(numbers(*shape)), draw(numbers(*shape)), n_heads


@pytest.mark.kernel("attention")
@given(attentions())
def test_attention(impl, args):
    assert_within(impl.attention(*args), bounded.attention(*args), "attention")


@given(heads(), st.integers(0, 4), st.integers(1, 5), st.data())
def test_attention_of_many_queries_is_causal(sizes, before, count, data):
    n_heads, n_kv_heads, size = sizes
    q = data.draw(numbers(count, n_heads * size), label="q")
    shape = before + count, n_kv_heads * size
    keys, values = data.draw(numbers(*shape), label="keys"), data.draw(numbers(*shape), label="values")
    seen = [slice(before + i + 1) for i in range(count)]
    expected = [bounded.attention(row, keys[s], values[s], n_heads) for row, s in zip(q, seen, strict=True)]
    assert_within(fast.attention(q, keys, values, n_heads), expected, "attention")


@pytest.mark.kernel("silu")
@given(lengths.flatmap(numbers))
@example(np.array([-1000, -88, -1e-30, 0, 89, 1e30], np.float32))
def test_silu(impl, x):
    assert_within(impl.silu(x), bounded.silu(x), "silu")


@pytest.mark.kernel("swiglu")
@given(lengths.flatmap(lambda n: st.tuples(numbers(n), numbers(n))))
@example((np.array([-1000, -89, 89, 1000], np.float32), np.array([1, 2, -3, 4], np.float32)))
def test_swiglu(impl, arrays):
    assert_within(impl.swiglu(*arrays), bounded.swiglu(*arrays), "swiglu")


@pytest.mark.kernel("argmax")
@given(st.lists(st.one_of(st.integers(-2, 2).map(float), st.floats(allow_nan=False, width=32)), min_size=1))
@example([-0.0, 0.0])
@example([1.0, 2.0, 2.0])
@example([-3.0, -1.0])
def test_argmax(impl, x):
    """The same index, ties included: there is nothing to round."""
    assert impl.argmax(np.array(x, np.float32)) == ref.argmax(x)


@pytest.mark.kernel("attention")
@given(heads(), st.sampled_from((4, 16)), st.data())
def test_attention_s_weights_are_those_of_exact_scores(impl, sizes, size, data):
    """Scores that no order of summation rounds: what is left is softmax, whose bound shows a scale 1e-6 off.

    q and keys are small whole numbers, the root of the head size is a power of two, and value t is the unit vector t,
    so that the result holds the weights themselves.
    """
    n_heads, n_kv_heads, _ = sizes
    seen = data.draw(st.integers(1, size), label="seen")
    rng = np.random.default_rng(data.draw(seeds, label="seed"))
    q = rng.integers(-8, 9, (n_heads, size)).astype(np.float32)
    keys = rng.integers(-8, 9, (seen, n_kv_heads, size)).astype(np.float32)
    values = np.repeat(np.eye(seen, size, dtype=np.float32)[:, None], n_kv_heads, axis=1)
    result = impl.attention(q.reshape(-1), keys.reshape(seen, -1), values.reshape(seen, -1), n_heads)
    weights = np.reshape(result, (n_heads, size))
    shared = keys[:, np.arange(n_heads) // (n_heads // n_kv_heads)]
    scores = np.einsum("he,the->ht", q, shared) * size**-0.5
    assert_within(weights[:, :seen], [bounded.softmax(row) for row in scores], "attention")
    assert not weights[:, seen:].any()


@pytest.mark.parametrize("n", [288, 768, 2048, 11008])
def test_long_sums_are_exact_on_a_grid(n):
    """Where a bound may hide a dropped term: it covers every order of summation, and grows faster than sums."""
    rng = np.random.default_rng(n)
    w, x = (rng.integers(-30, 31, shape).astype(np.float32) for shape in ((3, n), (n,)))  # 11008 * 30^2 < 2^24
    assert fast.matmul(w, x).tolist() == (w.astype(int) @ x.astype(int)).tolist()
    seen, size = 1 << (n.bit_length() - 1), 8  # weights of 1/seen, which is a power of two
    values = rng.integers(-1000, 1001, (seen, size)).astype(np.float32)
    out = fast.attention(np.zeros(2 * size, np.float32), np.ones_like(values), values, 2)
    assert out.tolist() == 2 * (values.astype(int).sum(0) / seen).tolist()
