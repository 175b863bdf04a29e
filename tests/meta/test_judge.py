"""The tests of the judge: comparisons, assertions and rules accept what is right up to the bound, and no more."""

import dataclasses
import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz.arithmetic import round32
from llama2_fast.conformance import judge
from llama2_fast.conformance.closed import Ball, ClosedKernels
from llama2_fast.conformance.compare import compare
from llama2_fast.conformance.judge import assert_close, assert_taps_within, assert_within
from llama2_fast.conformance.strategies import seeds
from llama2_fast.conformance.taps import compare_taps
from llama2_fast.conformance.topp import topp_accept
from llama2_ref.bounded import ETA, SLACK, Bounded, BoundedKernels
from llama2_ref.quantize import quantize_weights
from support.models import random_twins

f32, f64 = np.float32, np.float64


# ---------------------------------------------------------------------------------------------------------- comparisons


def ball(value, error):
    return Ball(np.array(value, f64), np.array(error, f64))


@given(st.floats(-1e30, 1e30), st.floats(1e-30, 1e30), st.sampled_from((-1, 1)))
def test_what_lies_on_the_bound_is_within_and_what_lies_beyond_is_not(value, error, sign):
    """Up to the slack of the float64 reference, and up to the roundings of value + error and of the distance."""
    blur = 4 * 2.0**-53 * (abs(value) + error) / error
    inside, outside = value + sign * error * max(1 - blur, 0), value + sign * error * (SLACK + 2 * blur)
    assert compare([inside], ball([value], [error])).within
    assert not compare([outside], ball([value], [error])).within


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("value", [1.0, -3.0, 2.0**-126, 2.0**100])
def test_one_ulp_beyond_the_bound_is_wrong(value, sign):
    """A bound of five ulps: five are right, six are not."""
    ulp = float(np.spacing(f32(abs(value))))
    for ulps, right in ((5, True), (6, False)):
        got = np.array([value + sign * ulps * ulp], f32)
        assert compare(got, ball([value], [5 * ulp])).within is right


def test_a_bound_of_zero_is_kept_by_equal_numbers_alone():
    zero = ball([0.0, 1.0], [0.0, 0.0])
    assert compare(np.array([-0.0, 1.0], f32), zero).within  # -0.0 equals 0.0: no kernel promises signs of zeros
    for got in ([ETA, 1.0], [0.0, 1 + 2.0**-23], [0.0, 1 - 2.0**-24]):
        found = compare(np.array(got, f32), zero)
        assert (found.within, found.ratio, found.wrong) == (False, np.inf, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_finite_is_right_only_where_float32_may_overflow(bad, place):
    got = np.ones(3, f32)
    got[place] = bad
    error = np.full(3, 1e30)
    found = compare(got, ball(np.ones(3), error))
    assert (found.within, found.index, found.wrong, found.ratio) == (False, (place,), 1, np.inf)
    error[place] = np.inf
    assert compare(got, ball(np.ones(3), error)).within
    error = np.full(3, np.inf)
    error[place] = 1e30  # an infinite bound elsewhere excuses nothing here
    assert not compare(got, ball(np.ones(3), error)).within


def test_a_bound_that_is_not_a_number_accepts_nothing_but_the_value():
    assert not compare(np.array([1.5], f32), ball([1.0], [np.nan])).within
    assert not compare(np.array([1.5], f32), ball([np.nan], [1.0])).within


def test_an_infinite_bound_comes_only_where_float32_may_overflow():
    """The largest number itself is no overflow; beyond it the bound promises nothing."""
    largest = float(np.finfo(f32).max)
    for kernels in (BoundedKernels(), ClosedKernels()):

        def errors(result):
            return result.error if isinstance(result, Ball) else np.array([x.error for x in result])

        assert np.isfinite(errors(kernels.add([largest / 2], [largest / 2.001]))).all()
        assert np.isinf(errors(kernels.add([largest], [largest / 2]))).all()
        assert np.isfinite(errors(kernels.matmul(np.array([[1e18, -1e18]]), [1e19, 1e19]))).all()
        assert np.isinf(errors(kernels.matmul(np.array([[1e19, -1e19]]), [2e19, 2e19]))).all()  # partial sums may
        assert np.isfinite(errors(kernels.swiglu([1e18], [1e19]))).all()
        assert np.isinf(errors(kernels.swiglu([1e20], [1e19]))).all()


SHAPES = {
    "a number is missing": (3,),
    "one too many": (5,),
    "a row more": (1, 4),
    "a column": (4, 1),
    "one number, which would stretch": (1,),
    "no axis at all": (),
    "nothing": (0,),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("expected", [[Bounded(0.0, 1.0)] * 4, ball(np.zeros(4), np.ones(4))], ids=["Bounded", "Ball"])
def test_shapes_must_be_equal(shape, expected):
    with pytest.raises(AssertionError, match=r"kernel: shape must be \(4,\) \(got \(.*\)\)"):
        assert_within(np.zeros(shape, f32), expected, "kernel")
    assert_within(np.zeros(4, f32), expected, "kernel")


@pytest.mark.parametrize("shape", [(2, 4), (4, 3), (12,), (1, 3, 4), (4,), (1, 4)])
def test_rows_must_be_as_many_and_as_long(shape):
    rows = [[Bounded(0.0, 1.0)] * 4] * 3
    with pytest.raises(AssertionError, match="shape must be"):
        assert_within(np.zeros(shape, f32), rows, "kernel")
    assert_within(np.zeros((3, 4), f32), rows, "kernel")


def test_close_needs_an_error_for_every_number():
    with pytest.raises(AssertionError):
        assert_close(np.ones(3, f32), np.ones(3), np.ones(1))


def test_numbers_are_compared_in_float64_whatever_their_type():
    """A float16 or integer result is taken for what it is, and no difference is lost in it."""
    for kind in (np.float16, np.int8, np.float32, np.float64):
        assert compare(np.array([3], kind), ball([3.0], [0.0])).within
        assert not compare(np.array([3], kind), ball([3 + 1e-9], [1e-10])).within
    assert not compare(np.array([-128], np.int8), ball([127.0], [200.0])).within  # 255 apart, which int8 can't hold


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_the_message_names_the_worst_place_and_its_ratio(rows, columns, data):
    place = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    got = np.full((rows, columns), 0.25, f32)
    got[place] = -3.0
    heard = []
    judge.listeners.append(lambda what, found: heard.append((what, found.index, found.ratio)))
    try:
        with pytest.raises(AssertionError) as error:
            assert_close(got, np.zeros((rows, columns)), np.full((rows, columns), 0.5), "kernel")
    finally:
        judge.listeners.pop()
    expected = f"kernel[{place[0]}, {place[1]}], 1 of {rows * columns} wrong: -3.0 should be 0.0 +- 0.5, is 6 times"
    assert str(error.value).startswith(expected)
    assert heard == [("kernel", place, 6.0)]


def test_every_wrong_number_is_counted():
    found = compare(np.array([0, 2, np.nan, 1, -5], f32), ball(np.zeros(5), np.ones(5)))
    assert (found.wrong, found.size) == (3, 5)


# ----------------------------------------------------------------------------------------------------------------- taps

CONFIG = llama2_ref.Config(16, 12, 2, 4, 2, 20, 8)
TOKENS = [1, 5, 7]


@pytest.fixture(params=[BoundedKernels, ClosedKernels])
def recorded(request):
    """Kernels, weights, and what numpy records of three tokens."""
    twins = random_twins(CONFIG, 3)
    taps = llama2_fast.Taps()
    transformer = llama2_fast.Transformer(CONFIG, twins.fast, backend="numpy")
    transformer.forward(TOKENS, transformer.new_cache(), every=True, taps=taps)
    kernels = request.param()
    weights = twins.fast if request.param is ClosedKernels else twins.ref
    assert_taps_within(CONFIG, weights, TOKENS, taps, kernels)
    return kernels, weights, taps


def copied(taps):
    return llama2_fast.Taps({key: [np.array(row) for row in rows] for key, rows in taps.items()})


def test_a_buffer_that_leaves_its_bound_is_named(recorded):
    """In every buffer of every layer; and a wrong one does not blame those that follow from it."""
    kernels, weights, taps = recorded
    for layer, name in taps:
        wrong = copied(taps)
        wrong[layer, name][1][3] += f32(1e-2)
        with pytest.raises(AssertionError, match=rf"^{name} of layer {layer}, token 1\[3\], 1 of \d+ wrong: .* times"):
            assert_taps_within(CONFIG, weights, TOKENS, wrong, kernels)


def test_a_buffer_that_is_missing_or_too_many_is_told(recorded):
    kernels, weights, taps = recorded

    def refused(change, match="a buffer is missing, or has another shape"):
        wrong = copied(taps)
        change(wrong)
        with pytest.raises(AssertionError, match=match):
            assert_taps_within(CONFIG, weights, TOKENS, wrong, kernels)

    for key in taps:
        refused(lambda wrong, key=key: wrong.pop(key))
        refused(lambda wrong, key=key: wrong[key].pop())
        refused(lambda wrong, key=key: wrong[key].append(wrong[key][-1]))
        refused(lambda wrong, key=key: wrong[key].__setitem__(0, wrong[key][0][:-1]))
        refused(lambda wrong, key=key: wrong[key].__setitem__(0, wrong[key][0][None]))
    refused(lambda wrong: wrong.update({(CONFIG.n_layers, "q"): [np.zeros(CONFIG.dim, f32)]}))


@pytest.mark.parametrize("name", ["att_norm", "q", "k", "v", "att", "x1", "ffn_norm", "gate", "out"])
def test_swapped_layers_are_noticed(recorded, name):
    kernels, weights, taps = recorded
    wrong = copied(taps)
    wrong[0, name], wrong[1, name] = wrong[1, name], wrong[0, name]
    with pytest.raises(AssertionError, match=rf"^{name} of layer 0, token 0\["):
        assert_taps_within(CONFIG, weights, TOKENS, wrong, kernels)


def test_swapped_tokens_and_other_tokens_are_noticed(recorded):
    kernels, weights, taps = recorded
    for key in taps:
        wrong = copied(taps)
        wrong[key][0], wrong[key][2] = wrong[key][2], wrong[key][0]
        with pytest.raises(AssertionError, match=f"^{key[1]} of layer {key[0]}, token 0"):
            assert_taps_within(CONFIG, weights, TOKENS, wrong, kernels)
    with pytest.raises(AssertionError, match=r"^att_norm of layer 0, token 1"):
        assert_taps_within(CONFIG, weights, [1, 6, 7], taps, kernels)


def test_taps_of_floats_are_no_taps_of_integers(recorded):
    kernels, weights, taps = recorded
    integers = dataclasses.replace(
        quantize_weights(random_twins(CONFIG, 3).ref, "int8"), token_embedding_table=weights.token_embedding_table
    )
    with pytest.raises(AssertionError, match=r"^q of layer 0, token 0"):
        assert_taps_within(CONFIG, integers, TOKENS, taps, kernels)


# ---------------------------------------------------------------------------------------------------------------- top-p


def sums_in_any_order(p):
    """Every float32 sum of all of p, over all trees."""
    if len(p) == 1:
        return {p[0]}
    found = set()
    for size in range(1, len(p) // 2 + 1):
        for part in itertools.combinations(range(len(p)), size):
            rest = [p[i] for i in range(len(p)) if i not in part]
            pairs = itertools.product(sums_in_any_order([p[i] for i in part]), sums_in_any_order(rest))
            found |= {round32(a + b) for a, b in pairs}
    return found


def tokens_of_samplers(p, topp, coin):
    """What the float32 samplers return that add in some order: each prefix in any, since trees may differ."""
    nucleus = 0 < topp < 1
    orders: list[Any] = [list(range(len(p)))]
    if nucleus:  # equal ones in any order
        orders = [
            o for o in itertools.permutations(range(len(p))) if all(p[a] >= p[b] for a, b in itertools.pairwise(o))
        ]
    found = set()
    for order in orders:
        sums = [sums_in_any_order([float(p[i]) for i in order[: k + 1]]) for k in range(len(p))]
        ends = [len(p) - 1]
        if nucleus:
            # It may end at k if a sum there exceeds top-p, and sums before need not.
            possible = [k for k in range(len(p)) if max(sums[k]) > topp]
            ends = [k for k in possible if all(min(sums[j]) <= topp for j in range(k))] or ends
        for end in ends:
            kept = {total for total in sums[end] if total > topp or not nucleus or end == len(p) - 1}
            for limit in {round32(coin * total) for total in kept} if nucleus else {coin}:
                for k in range(end + 1):
                    last = k == end
                    if (max(sums[k]) > limit or last) and all(min(sums[j]) <= limit for j in range(k)):
                        found.add(order[k])
    return found


def exact_tokens(p, topp, coin, margin):
    """What exact samplers return if top-p and the coin are off by a relative margin; ties within it, in any order."""
    p = [Fraction(float(x)) for x in p]
    nucleus, found = 0 < topp < 1, set()
    order = sorted(range(len(p)), key=lambda i: -p[i]) if nucleus else list(range(len(p)))
    sums = list(itertools.accumulate(p[i] for i in order))
    low, high = 1 - margin, 1 + margin

    def first_above(limit):
        return next((k for k, total in enumerate(sums) if total > limit), len(p) - 1)

    ends = range(first_above(topp * low), first_above(topp * high) + 1) if nucleus else [len(p) - 1]
    for end in ends:
        total = sums[end] if nucleus else 1
        for k in range(first_above(coin * total * low), min(first_above(coin * total * high), end) + 1):
            found |= {i for i in order if abs(p[i] - p[order[k]]) <= margin * p[order[k]]} if nucleus else {order[k]}
    return found


@st.composite
def small_draws(draw):
    """Few probabilities, and top-p and coins that lie at their prefix sums, or anywhere."""
    n = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(seeds))
    weights = {
        "flat": np.ones(n),
        "random": rng.random(n),
        "ties": rng.integers(1, 4, n),
        "steep": 10.0 ** -np.arange(n),
    }
    p = weights[draw(st.sampled_from(sorted(weights)))]
    p = (p / p.sum()).astype(f32)
    sums = np.cumsum(np.sort(p)[::-1]).astype(f32)
    near = st.sampled_from(sums.tolist()).map(lambda s: min(s, 1 - 2.0**-24))
    topp = draw(st.one_of(near, st.floats(0, 1, width=32), st.just(0.0)))
    coin = draw(
        st.one_of(st.integers(0, 2**24 - 1).map(lambda k: k / 2**24), near.map(lambda s: int(s * 2**24) / 2**24))
    )
    return p, topp, coin


@settings(max_examples=60)
@given(small_draws())
@example((np.array([0.6720977, 0.28466865, 0.0432337], f32), 0.6720976829528809, 1 - 2.0**-24))  # not the third
def test_every_token_of_some_order_of_summation_is_accepted_and_no_other_one(draw):
    p, topp, coin = draw
    accepted = {int(i) for i in np.flatnonzero(topp_accept(p, topp, coin))}
    assert tokens_of_samplers(p, topp, coin) <= accepted
    assert accepted <= exact_tokens(p, topp, coin, margin=Fraction(8 * len(p)) / 2**24)


@pytest.mark.parametrize(
    ("topp", "coin", "token"), [(0.9, 0.3, 0), (0.9, 0.7, 1), (0.4, 0.99, 0), (0, 0.99, 2), (1, 0.6, 1)]
)
def test_a_coin_in_the_middle_leaves_one_token(topp, coin, token):
    accepted = topp_accept(np.array([0.5, 0.3, 0.2], f32), topp, coin)
    assert np.flatnonzero(accepted).tolist() == [token]


@given(st.lists(st.integers(0, 64), min_size=1, max_size=8), st.integers(1, 63), st.integers(0, 63))
@example([32], 32, 0)
def test_on_a_grid_one_token_is_accepted_and_its_equals(cuts, topp, coin):
    """No sum rounds on multiples of 1/64 here, unless coin times the kept sum does: then the bounds say nothing new."""
    p = np.diff([0, *sorted(cuts), 64]).astype(f32) / 64
    accepted = {int(i) for i in np.flatnonzero(topp_accept(p, topp / 64, coin / 64))}
    exact = exact_tokens(p, Fraction(topp, 64), Fraction(coin, 64), margin=0)
    assert accepted == {i for i in range(len(p)) if any(p[i] == p[j] for j in exact) and p[i] > 0}


def test_errors_of_probabilities_widen_what_is_accepted():
    p = np.array([0.5, 0.3, 0.2], f32)
    assert np.flatnonzero(topp_accept(p, 0.0, 0.51)).tolist() == [1]
    assert np.flatnonzero(topp_accept(p, 0.0, 0.51, np.array([0.02, 0, 0]))).tolist() == [0, 1]
    assert np.flatnonzero(topp_accept(p, 0.9, 0.1, np.full(3, 0.11))).tolist() == [0, 1]  # may change places
    assert np.flatnonzero(topp_accept(p, 0.9, 0.1, np.full(3, 0.01))).tolist() == [0]


# --------------------------------------------------------------------------------------------------------------- bounds


def test_nothing_is_promised_where_float32_overflows():
    """On both sides of the largest float32 number, and by either derivation of the bounds."""
    large = np.full(1, 2e38, np.float32)
    for kernels in (BoundedKernels(), ClosedKernels()):
        assert_within(np.array([np.inf]), kernels.add(large, large))
        with pytest.raises(AssertionError):
            assert_within(np.array([np.inf]), kernels.add(large, large / 2))


def test_nothing_is_promised_where_a_divisor_may_be_zero():
    assert np.isinf((Bounded(1.0) / Bounded(0.5, 0.5)).error)
    assert np.isfinite((Bounded(1.0) / Bounded(0.5, 0.25)).error)


def test_a_bound_is_that_of_its_own_step(recorded):
    """The check goes on from what was recorded, so that bounds of later layers are as narrow as those of earlier."""
    kernels, weights, taps = recorded
    bounds = {0: 0.0, 1: 0.0}

    def found(layer, name, token, comparison):
        if name == "x1":
            bounds[layer] = max(bounds[layer], comparison.bound)

    compare_taps(CONFIG, weights, TOKENS, taps, found, kernels)
    assert 0 < bounds[1] < 10 * bounds[0]
