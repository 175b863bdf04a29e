"""Kernels on any sequences and any numbers, and what they do with wrong ones."""

from array import array
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref

ref, fast = llama2_ref.kernels, llama2_fast.kernels

SEQUENCES = {
    "list": lambda x: x,
    "tuple": tuple,
    "array": lambda x: array("f", x),
    "memoryview": lambda x: memoryview(array("f", x)),
    "numpy": lambda x: np.array(x, np.float32),
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_any_sequence_will_do(llama2, kind):
    make, k = SEQUENCES[kind], llama2.kernels
    x, w = make([1.0, -2.0, 3.0, 0.5]), [make([1.0, 0.0, 2.0, 4.0]), make([0.0, 1.0, -1.0, 2.0])]
    assert list(k.matmul(w, x)) == [9.0, -4.0]
    assert list(k.add(x, x)) == [2.0, -4.0, 6.0, 1.0]
    assert list(k.rope(x, make([0.0]), make([1.0]))) == [2.0, 1.0, -0.5, 3.0]
    assert k.argmax(x) == 2
    assert list(k.rmsnorm(make([3.0, -4.0]), make([2.0, 1.0]), 3.5)) == [1.5, -1.0]
    assert list(k.softmax(make([5.0, 5.0]))) == [0.5, 0.5]
    assert list(k.attention(make([1.0, 0.0]), [make([0.0, 1.0])] * 2, [make([2.0, 4.0]), make([4.0, 0.0])], 1)) == [
        3.0,
        2.0,
    ]
    assert list(k.swiglu(make([0.0, 1000.0]), make([5.0, 0.5]))) == [0.0, 500.0]
    q, _ = k.quantize_int8(x, 2)
    assert list(q) == [64, -127, 127, 21]
    assert list(k.dequantize_int8([2, -4], make([0.5]))) == [1.0, -2.0]


@pytest.mark.parametrize("make", [list, tuple, lambda x: array("b", x), lambda x: np.array(x, np.int8)])
def test_integer_products_do_not_overflow(llama2, make):
    q = make([127] * 1000)
    assert list(llama2.kernels.matmul_int8([q], [[0.5]], q, [2.0])) == [127.0 * 127 * 1000]


def test_fractions_stay_exact():
    third = Fraction(1, 3)
    assert ref.matmul([[third, 2 * third]], [third, third]) == [third]
    assert ref.add([third], [third]) == [2 * third]
    assert ref.rope([third, 0], [Fraction(3, 5)], [Fraction(4, 5)]) == [Fraction(1, 5), Fraction(4, 15)]
    assert ref.dequantize_int8([3], [third]) == [1]
    assert ref.matmul_int8([[1, 2]], [[third]], [1, 1], [third]) == [third]


def test_arrays_with_more_axes_are_many_vectors():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 8)).astype(np.float32), rng.standard_normal((5, 8)).astype(np.float32)
    assert fast.matmul(w, x).shape == (2, 3, 5)
    assert fast.rmsnorm(x, x[0, 0], 1e-5).shape == x.shape
    assert np.array_equal(fast.softmax(x)[1, 2], fast.softmax(x[1, 2]))
    assert np.array_equal(fast.silu(x)[0, 1], fast.silu(x[0, 1]))
    assert [part.shape for part in fast.quantize_int8(x, 4)] == [(2, 3, 8), (2, 3, 2)]
    assert [part.shape for part in fast.rope_table(np.arange(7), 6, 1e4)] == [(7, 3), (7, 3)]


def test_results_are_float32_whatever_is_given():
    x = np.array([1.0, -2.0, 3.0, 0.5])
    results = [fast.matmul([x], x), fast.add(x, x), fast.rmsnorm(x, x, 1e-5), *fast.rope_table(3, 4, 1e4)]
    results += [fast.rope(x, x[:2], x[:2]), fast.softmax(x), fast.attention(x, [x], [x], 2), fast.silu(x)]
    results += [fast.swiglu(x, x), fast.quantize_int8(x, 2)[1], fast.quantize_int4(x, 2)[1]]
    lists: Any = fast  # which are not said to be taken
    results += [lists.dequantize_int8([1, 2], [0.5]), lists.matmul_int8([[1, 2]], [[0.5]], [1, 2], [0.5])]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


V, W = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0]
BAD_CALLS: dict[str, Any] = {
    "matmul": [([V], W), ([W], V)],
    "add": [(V, W), (V, [1.0])],
    "rmsnorm": [(V, W, 1e-5), (V, [1.0], 1e-5), ([], [], 1e-5)],
    "rope": [(V, [], []), (V[:3], W[:1], W[:1]), (V, W, W[:1]), ([1.0, 2.0], W, W)],
    "softmax": [([],)],
    "argmax": [([],)],
    "attention": [
        *((V, [], [], 2), (V, [W], [W], 3), (V, [[1.0, 2.0, 3.0]], [V], 1)),
        *((V, [V], [W], 1), (V, [W], [V], 1), (V, [V, V], [V], 1)),
    ],
    "rope_table": [(1, 3, 1e4), (1, 0, 1e4)],
    "swiglu": [(V, W), (V, [1.0])],
    "quantize_int8": [(V, 3), (V, 0), (V, -1)],
    "dequantize_int8": [([1, 2, 3], W)],
    "matmul_int8": [
        *(([[1, 2]], [W], [1, 2, 3, 4], W), ([[1, 2, 3, 4]], [W, W], [1, 2, 3, 4], W)),
        ([[1, 2, 3, 4]], [V], [1, 2, 3, 4], W),
    ],
}


@pytest.mark.parametrize(("name", "args"), [(name, args) for name, calls in BAD_CALLS.items() for args in calls])
def test_wrong_lengths_are_refused(llama2, name, args):
    """numpy would stretch a vector of one number, and zip would stop at the shorter one: neither may happen."""
    with pytest.raises(ValueError):
        getattr(llama2.kernels, name)(*args)


inf, nan = float("inf"), float("nan")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("softmax", ([0.0, 0.0, -inf],), [0.5, 0.5, 0.0]),
        ("softmax", ([1.0, nan, 2.0],), [nan] * 3),
        ("softmax", ([inf, 1.0],), [nan] * 2),
        ("softmax", ([-inf, -inf],), [nan] * 2),
        ("silu", ([-inf, inf, nan, -1000.0, 0.0],), [nan, inf, nan, -0.0, 0.0]),
        ("matmul", ([[inf, 1.0]], [0.0, 1.0]), [nan]),
        ("add", ([inf, inf], [-inf, 1.0]), [nan, inf]),
        ("rmsnorm", ([nan, 1.0], [1.0, 1.0], 1e-5), [nan, nan]),
        ("rmsnorm", ([0.0, 0.0], [1.0, 1.0], 1e-5), [0.0, 0.0]),
    ],
)
def test_special_values(llama2, name, args, expected):
    """As the docstrings say."""
    got = np.array(getattr(llama2.kernels, name)(*args), np.float64)
    assert np.array_equal(got, expected, equal_nan=True)


def test_nothing_overflows_in_silu(llama2):
    """exp(710) is an OverflowError in Python: a pure-Python port fails here."""
    assert list(llama2.kernels.silu([-1e30, -1000.0, 1e30])) == [
        -0.0,
        -0.0,
        np.float32(1e30) if llama2 is llama2_fast else 1e30,
    ]


DOUBLE = np.array([0.1, -0.2, 0.3, 0.4]) * (1 + 2.0**-40)  # float64 numbers that float32 has not
CALLS: dict[str, Any] = {
    "matmul": ([DOUBLE, DOUBLE], DOUBLE),
    "add": (DOUBLE, DOUBLE),
    "rmsnorm": (DOUBLE, DOUBLE, 1e-5),
    "rope": (DOUBLE, DOUBLE[:2], DOUBLE[2:]),
    "softmax": (DOUBLE,),
    "silu": (DOUBLE,),
    "swiglu": (DOUBLE, DOUBLE),
    "attention": (DOUBLE, [DOUBLE, DOUBLE], [DOUBLE, -DOUBLE], 2),
    "dequantize_int8": ([1, 2, 3, 4], DOUBLE[:2]),
    "matmul_int8": ([[1, 2, 3, 4]], [DOUBLE[:2]], [5, 6, 7, 8], DOUBLE[2:]),
}


@pytest.mark.parametrize("name", CALLS)
def test_everything_is_float32(name):
    """What comes in is rounded to float32 first, each argument of its own: the same bits as from float32 numbers."""
    kernel, args = getattr(fast, name), CALLS[name]
    expected = kernel(*(np.asarray(arg, np.float32) if np.ndim(arg) else arg for arg in args))
    for i in range(len(args)):
        some = [arg if i == j or not np.ndim(arg) else np.asarray(arg, np.float32) for j, arg in enumerate(args)]
        got = kernel(*some)
        assert got.dtype == np.float32
        assert np.array_equal(got, expected)
        assert np.shape(got) == np.shape(expected)


def test_many_vectors_of_no_numbers_are_refused():
    none = np.empty((3, 0), np.float32)
    with pytest.raises(ValueError, match="at least one number"):
        fast.rmsnorm(none, none[0], 1e-5)
    with pytest.raises(ValueError, match="whole heads"):
        fast.rope(np.ones((3, 4), np.float32), none, none)


@pytest.mark.parametrize("args", [(V[:3], W[:1], W[:1]), (V + W, W, W), (V, [], [])])
def test_parts_of_heads_are_refused_by_name(llama2, args):
    """Not by whatever stumbles over them later."""
    with pytest.raises(ValueError, match="whole heads"):
        llama2.kernels.rope(*args)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_attention_weighs_values_by_softmax_of_scores(size):
    """Bit for bit, where nothing rounds before or behind: 1 / sqrt(E) is a power of two, values are 0 or 1."""
    rng = np.random.default_rng(size)
    q, keys = rng.integers(-8, 9, size).astype(np.float32), rng.integers(-8, 9, (size, size)).astype(np.float32)
    scores = keys @ q / np.float32(size**0.5)
    assert np.array_equal(fast.attention(q, keys, np.eye(size, dtype=np.float32), 1), fast.softmax(scores))


@pytest.mark.parametrize("args", BAD_CALLS["matmul_int8"])
def test_integer_rows_of_another_length_are_refused_by_name(args):
    with pytest.raises(ValueError, match="rows must be as long as the vector"):
        fast.matmul_int8(*args)


@pytest.mark.parametrize("args", [([1, 2, 3], W), ([1, 2], []), ([[1, 2]] * 2, [[1.0]]), ([[1, 2]] * 2, [[], []])])
def test_scales_that_do_not_fit_are_refused_by_name(args):
    q, scale = args
    with pytest.raises(ValueError, match="scales must divide the vector evenly"):
        fast.dequantize_int8(q, scale)
