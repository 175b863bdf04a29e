"""The same token for the same coin, unless the acceptance rule says that both are right."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz import reproduce
from fuzz.strategies import lengths, numbers, seeds
from fuzz.topp import topp_accept
from llama2_fast import sampler as fast
from llama2_fast._bounds.bounded import Bounded, BoundedKernels, U
from llama2_ref import sampler as ref

# What a failure is told by.
DRAW = """\
for package in (llama2_ref, llama2_fast):
    print(package.Sampler(temperature, topp, seed).sample(logits))"""

coins = st.integers(0, 2**24 - 1).map(lambda k: k / 2**24)
topps = st.one_of(st.floats(0, 1), st.sampled_from((0.0, 0.5, 0.9, 1.0, 1.5, 1e-30, 0.999999)))


@st.composite
def distributions(draw: st.DrawFn) -> np.ndarray:
    """Float32 probabilities whose sum is about 1: peaked, flat, with ties, with zeros."""
    n = draw(st.integers(1, 40))
    shape = draw(st.sampled_from(("flat", "random", "peaked", "ties")))
    rng = np.random.default_rng(draw(seeds))
    if shape == "flat":
        p = np.ones(n)
    elif shape == "ties":
        p = rng.integers(0, 4, n) + np.eye(1, n)[0]
    else:
        p = np.exp(rng.standard_normal(n) * (1 if shape == "random" else 20))
    return (p / p.sum()).astype(np.float32)


@st.composite
def grid_distributions(draw: st.DrawFn) -> np.ndarray:
    """Multiples of 1/64 whose sum is 1: every running sum is exact, and coins and top-p can hit it."""
    cuts = sorted(draw(st.lists(st.integers(0, 64), max_size=20)))
    return np.diff([0, *cuts, 64]).astype(np.float32) / 64


@pytest.mark.kernel("sample_topp")
@given(distributions(), topps, coins)
def test_tokens_are_accepted(impl, p, topp, coin):
    token = impl.sample_topp(p, topp, coin)
    assert 0 <= token < len(p)
    assert topp_accept(p, topp, coin)[token]


def test_topp_may_be_rounded_to_float32():
    """0.3 becomes more than 0.3, and the first token alone no longer exceeds it: the second, too, is right."""
    p = np.array([0.3, 0.25, 0.25, 0.2], np.float32)
    assert topp_accept(p, 0.3, 0.9).tolist() == [True, True, True, False]
    assert topp_accept(p, float(p[0]) * (1 - 2.0**-20), 0.9).tolist() == [True, False, False, False]


@pytest.mark.kernel("sample_mult")
@given(distributions(), coins)
def test_tokens_of_all_are_accepted(impl, p, coin):
    token = impl.sample_mult(p, coin)
    assert 0 <= token < len(p)
    assert topp_accept(p, 1.0, coin)[token]


@pytest.mark.kernel("sample_topp")
@given(grid_distributions(), st.integers(0, 66).map(lambda k: k / 64), st.integers(0, 63).map(lambda k: k / 64))
@example(np.array([0.25, 0.25, 0.25, 0.25], np.float32), 0.25, 0.0)  # the sum of one does not exceed top-p
@example(np.array([0.25, 0.25, 0.25, 0.25], np.float32), 0.1, 0.99)  # llama2.c's filter keeps none of these
@example(np.array([0.5, 0.25, 0.25], np.float32), 0.5, 0.75)  # the sum must exceed top-p: two tokens stay
@example(np.array([0.25, 0.75], np.float32), 1.0, 0.0)  # top-p is off: nothing is sorted
@example(np.array([0.5, 0.5], np.float32), 1.0, 0.5)  # the coin must lie below the sum: the second token
def test_tokens_are_equal_on_a_grid(impl, p, topp, coin):
    """No sum rounds here, so that > for >= and < for <= would show; ties go to the lower index."""
    token = ref.sample_topp(p.tolist(), topp, coin)
    assert impl.sample_topp(p, topp, coin) == token
    if 0 < topp < 1:
        order = np.argsort(-p, kind="stable")
        sums = np.cumsum(p[order])
        kept = int(np.argmax(sums > topp)) + 1
        assert token == order[int(np.argmax(sums > coin * sums[kept - 1]))]
    else:
        assert token == int(np.argmax(np.cumsum(p) > coin))


@given(lengths.flatmap(numbers), st.sampled_from((1.0, 0.1, 0.7, 3.0, 1e-30, 1e-300, 1e30)), topps, seeds)
def test_samplers_draw_accepted_tokens(logits, temperature, topp, seed):
    """From logits: each twin's token is one that a correct sampler may draw from softmax with its float32 error."""
    reproduce.told = lambda: reproduce.script(DRAW, logits=logits, temperature=temperature, topp=topp, seed=seed)
    with np.errstate(over="ignore"):
        tokens = [module.Sampler(temperature, topp, seed).sample(logits) for module in (llama2_ref, llama2_fast)]
        z = (logits.astype(np.float64) - logits.max()) / temperature
    # Two roundings, of the difference and of the quotient; below -1e4 every power is 0 on both sides.
    p = BoundedKernels().softmax([Bounded(x, 2 * U * abs(x)) for x in np.maximum(z, -1e4)])
    coin = ref.random_f32(seed or ref.SEED_FOR_ZERO)[1]
    accepted = topp_accept([x.value for x in p], topp, coin, np.array([x.error for x in p]))
    assert all(accepted[token] for token in tokens), (tokens, np.flatnonzero(accepted))


@given(seeds, st.integers(1, 50))
def test_coins_are_those_of_llama2_c(seed, count):
    """Against the generator written in another way: numpy's 64-bit integers wrap by themselves, as C's do."""
    state, other = seed or ref.SEED_FOR_ZERO, np.array([seed or ref.SEED_FOR_ZERO], np.uint64)
    for _ in range(count):
        state, coin = ref.random_f32(state)
        other ^= other >> np.uint64(12)
        other ^= other << np.uint64(25)
        other ^= other >> np.uint64(27)
        u32 = (other * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)
        assert coin == float((u32[0] >> np.uint64(8)) / 16777216)
        assert 0 <= coin < 1


@given(seeds, st.integers(1000, 3000), st.floats(0, 1), st.sampled_from((0.0, 0.5, 0.9)))
def test_running_sums_are_float64(seed, n, place, topp):
    """Coins on both sides of a running sum, as near as there are any: sums in float32 would be farther off."""
    p = np.random.default_rng(seed).random(n)
    p = (p / p.sum()).astype(np.float32)
    order = np.argsort(-p, kind="stable") if topp else np.arange(n)
    sums = np.cumsum(p[order], dtype=np.float64)
    kept = int(np.argmax(sums > topp)) + 1 if topp else n
    i = int(place * (kept - 2))
    below = int(sums[i] / (sums[kept - 1] if topp else 1) * 2**24)
    for coin, token in ((below / 2**24, order[i]), ((below + 1) / 2**24, order[i + 1])):
        assert fast.sample_topp(p, topp, coin) == ref.sample_topp(p.tolist(), topp, coin) == token


@given(st.integers(17, 200), st.floats(0.01, 0.99), coins)
def test_ties_go_to_the_lower_index_however_many_there_are(n, topp, coin):
    """numpy's sorts are stable by themselves only below 17 numbers."""
    p = np.full(n, 2.0**-8, np.float32)
    p[-1] = 0.5
    order = [n - 1, *range(n - 1)]
    kept = int(np.argmax(np.append(np.cumsum(p[order]) > topp, True))) + 1
    sums = np.cumsum(p[order[: min(kept, n)]])
    expected = order[int(np.argmax(sums > coin * sums[-1]))]
    assert fast.sample_topp(p, topp, coin) == ref.sample_topp(p.tolist(), topp, coin) == expected


@pytest.mark.parametrize("topp", [0.0, 1.0, 1.5])
def test_tokens_are_not_sorted_where_none_is_dropped(topp):
    """The running sum goes over tokens as they come; a coin beyond all of it takes the last one."""
    for module, make in ((ref, list), (fast, lambda x: np.array(x, np.float32))):
        p = make([0.25, 0.5, 0.125])
        tokens = [module.sample_topp(p, topp, coin) for coin in (0.0, 0.125, 0.25, 0.75, 0.875, 0.9)]
        assert tokens == [0, 0, 1, 2, 2, 2]


def test_logits_are_float32():
    """Whatever kind of numbers they are, they are rounded first: two that differ by less are equal."""
    logits = np.array([999.99999, 1000.0, 1000.00002, 999.00002])
    assert llama2_fast.Sampler(0.0).sample(logits) == llama2_fast.Sampler(0.0).sample(logits.tolist()) == 0
    sampler = llama2_fast.Sampler(0.7)
    assert np.array_equal(sampler.probabilities(logits), sampler.probabilities(logits.astype(np.float32)))
