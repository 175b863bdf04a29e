"""The same token for the same coin, unless the acceptance rule says that both are right."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_fast import sampler as fast
from llama2_fast.conformance import reproduce
from llama2_fast.conformance.strategies import lengths, numbers, seeds
from llama2_fast.conformance.topp import topp_accept
from llama2_ref import sampler as ref
from llama2_ref.bounded import Bounded, BoundedKernels, U

# What a failure is told by.
DRAW = """\
for package in (llama2_ref, llama2_fast):
    print(package.Sampler(temperature, topp, seed).sample(logits))"""
FILTERED = """\
for package in (llama2_ref, llama2_fast):
    print(package.Sampler(temperature, topp, seed, topk, minp, penalty).sample(logits, tokens))"""

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
    reproduce.current_script = lambda: reproduce.script(
        DRAW, logits=logits, temperature=temperature, topp=topp, seed=seed
    )
    with np.errstate(over="ignore"):
        tokens = [module.Sampler(temperature, topp, seed).sample(logits) for module in (llama2_ref, llama2_fast)]
        z = (logits.astype(np.float64) - logits.max()) / temperature
    # Two roundings, of the difference and of the quotient; below -1e4 every power is 0 on both sides.
    p = BoundedKernels().softmax([Bounded(x, 2 * U * abs(x)) for x in np.maximum(z, -1e4)])
    coin = ref.random_f32(seed or ref.SEED_FOR_ZERO)[1]
    accepted = topp_accept(np.array([x.value for x in p]), topp, coin, np.array([x.error for x in p]))
    assert all(accepted[token] for token in tokens), (tokens, np.flatnonzero(accepted))


# ------------------------------------------------------------------------------- repetition penalty, top-k and min-p

penalties = st.one_of(st.sampled_from((1.0, 1.1, 1.3, 0.8, 2.0, 1e-3, 1e3)), st.floats(1e-3, 1e3))
ties = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40)
some_tokens = st.lists(st.integers(0, 39), max_size=30)


@given(lengths.flatmap(numbers), st.lists(st.integers(0, 66), max_size=12), penalties)
def test_penalties_are_equal_bit_for_bit(logits, tokens, penalty):
    tokens = [token % len(logits) for token in tokens]
    expected = logits.astype(np.float64)
    for token in set(tokens):
        expected[token] *= 1 / penalty if logits[token] > 0 else penalty
    slow, quick = ref.penalize(logits.tolist(), tokens, penalty), fast.penalize(logits, tokens, penalty)
    assert np.array_equal(slow, quick)
    assert np.allclose(quick, expected, rtol=2.0**-51, atol=0)  # two roundings more


def test_a_penalty_makes_a_token_less_likely_whatever_its_sign():
    """Once, however often it was there; of the paper's formula a negative logit would gain."""
    for module, make in ((ref, list), (fast, lambda x: np.array(x, np.float32))):
        scores = module.penalize(make([2.0, -2.0, 0.0, 3.0]), [0, 1, 1, 1, 2, 0], 2.0)
        assert list(scores) == [1.0, -4.0, 0.0, 3.0]
        assert list(module.penalize(make([2.0, -2.0]), [0, 1], 0.5)) == [4.0, -1.0]


@pytest.mark.parametrize("token", [-1, 3, 2**70])
def test_a_token_without_a_logit_is_refused(llama2, token):
    with pytest.raises(llama2.SamplerError, match=rf"in 0..2 \(got {token}\)"):
        llama2.Sampler(repetition_penalty=2).sample([1.0, 2.0, 3.0], [0, token])


@given(st.one_of(lengths.flatmap(numbers), ties.map(lambda x: np.array(x, np.float32))), st.integers(0, 70))
@example(np.array([1, 2, 2, 2, 0], np.float32), 2)  # of equal ones the first stay
@example(np.array([-np.inf, -np.inf, 1], np.float32), 2)
def test_top_k_keeps_the_same_tokens(logits, k):
    order = np.lexsort((np.arange(len(logits)), -logits.astype(np.float64)))
    expected = sorted(order[: k or None])
    assert list(ref.top_k(logits.tolist(), k)) == list(fast.top_k(logits, k)) == expected


@given(
    grid_distributions(),
    st.integers(0, 64).map(lambda k: k / 64),
    st.one_of(st.just(0.0), st.integers(0, 66).map(lambda k: k / 64)),
    st.integers(0, 63).map(lambda k: k / 64),
)
@example(np.array([0.5, 0.25, 0.25], np.float32), 0.5, 0.0, 0.75)  # a part that is reached stays
@example(np.array([0.25, 0.125, 0.125, 0.5], np.float32), 0.5, 0.0, 0.3125)  # the coin is scaled to 3/4
@example(np.array([0.25, 0.5, 0.25], np.float32), 1.0, 0.0, 0.9)  # only the largest
@example(np.array([0.25, 0.5, 0.25], np.float32), 0.75, 0.75, 0.9)  # min-p is stricter than top-p
@example(np.array([0.125, 0.5, 0.375], np.float32), 0.5, 0.25, 0.9)  # top-p is stricter than min-p
def test_min_p_is_equal_on_a_grid(p, minp, topp, coin):
    """No number rounds here but the coin times the sum that is left, which is exact, too."""
    token = ref.sample_minp(p.tolist(), minp, topp, coin)
    assert fast.sample_minp(p, minp, topp, coin) == token
    order = np.argsort(-p, kind="stable") if 0 < topp < 1 else np.arange(len(p))
    if 0 < topp < 1:
        order = order[: int(np.argmax(np.append(np.cumsum(p[order]) > topp, True))) + 1]
    order = order[p[order] >= minp * p.max()]
    sums = np.cumsum(p[order])
    assert token == order[int(np.argmax(sums > coin * sums[-1]))]


@given(
    lengths.flatmap(numbers),
    some_tokens,
    st.sampled_from((1.0, 0.1, 0.7, 3.0, 1e30)),
    topps,
    st.sampled_from((0, 1, 2, 5, 40)),
    st.one_of(st.sampled_from((0.0, 0.05, 0.5, 1.0)), st.floats(0, 1)),
    penalties,
    seeds,
)
def test_samplers_draw_accepted_tokens_whatever_is_filtered(
    logits, tokens, temperature, topp, topk, minp, penalty, seed
):
    """Penalty and top-k are exact; the rest is right if it is for one of the sets that min-p may leave."""
    tokens = [token % len(logits) for token in tokens]
    told = {"logits": logits, "tokens": tokens, "temperature": temperature, "topp": topp, "topk": topk}
    reproduce.current_script = lambda: reproduce.script(FILTERED, **told, minp=minp, penalty=penalty, seed=seed)
    arguments = temperature, topp, seed, topk, minp, penalty
    with np.errstate(over="ignore"):
        drawn = [module.Sampler(*arguments).sample(logits, tokens) for module in (llama2_ref, llama2_fast)]
    scores = np.array(ref.penalize(logits.tolist(), tokens, penalty))
    candidates = np.array(ref.top_k(scores.tolist(), topk))
    with np.errstate(over="ignore"):
        z = (scores[candidates] - scores[candidates].max()) / temperature
    p = BoundedKernels().softmax([Bounded(x, 2 * U * abs(x)) for x in np.maximum(z, -1e4)])
    accepted = minp_accept(np.array([x.value for x in p]), minp, topp, coin_of(seed), np.array([x.error for x in p]))
    assert set(drawn) <= set(candidates[accepted]), (drawn, candidates[accepted])


def coin_of(seed: int) -> float:
    return ref.random_f32(seed or ref.SEED_FOR_ZERO)[1]


def minp_accept(p: np.ndarray, minp: float, topp: float, coin: float, dp: np.ndarray) -> np.ndarray:
    """Which tokens a correct sampler may return: those of topp_accept for any set that errors allow min-p to leave.

    Equal probabilities stay or go together. Where top-p is off the coin is scaled to the sum that is left, which is as
    if the probabilities were scaled to 1.
    """
    peak, off = p.max(), dp[p.argmax()]
    surely, possibly = p - dp >= minp * (peak + off), p + dp >= minp * (peak - off)
    surely[p.argmax()] = True
    accepted = np.zeros(len(p), bool)
    for least in {*p[possibly & ~surely], p[surely].min()}:
        kept = surely | (possibly & (p >= least))
        q, dq = p[kept], dp[kept]
        if not 0 < topp < 1 and not kept.all():
            total, loss = q.sum(), dq.sum()
            q, dq = q / total, (dq + q * loss / total) / total * 1.01 + 2.0**-50
        accepted[kept] |= topp_accept(q, topp, coin, dq)
    return accepted


def test_each_step_comes_in_its_turn(llama2):
    """Numbers that say another token in every other order; the coin of seed 1 is near 0.5."""
    sampler = llama2.Sampler(0.0, repetition_penalty=4.0)
    assert sampler.sample([3.0, 1.0, 2.0], [0]) == 2  # also without temperature
    sampler = llama2.Sampler(1.0, 0.0, 1, topk=1, repetition_penalty=4.0)
    assert [sampler.sample([3.0, 1.0, 2.0], [0]) for _ in range(5)] == [2] * 5  # before top-k
    logits = np.log([0.4, 0.3, 0.2, 0.1]).astype(np.float32)
    coins = [k / 64 for k in range(64)]
    # Top-p counts in what top-k leaves: 4/7 of it exceed 0.5, which 0.4 would not.
    assert draws(llama2.Sampler(1.0, 0.5, topk=2), logits, coins) == {0}
    assert draws(llama2.Sampler(1.0, 0.5), logits, coins) == {0, 1}
    # Min-p is measured by the likeliest token after temperature: 0.1 is 1/4 of it, at 0.5 a sixteenth.
    assert draws(llama2.Sampler(1.0, 0.0, minp=0.2), logits, coins) == {0, 1, 2, 3}
    assert draws(llama2.Sampler(0.5, 0.0, minp=0.2), logits, coins) == {0, 1, 2}
    # Top-p counts all, not what min-p leaves: 0.4 of 0.7 would exceed 0.5.
    assert draws(llama2.Sampler(1.0, 0.5, minp=0.7), logits, coins) == {0, 1}


def draws(sampler, logits, coins):
    """The tokens that these coins bring."""
    coin = iter(coins)
    sampler._coin = lambda: next(coin)
    return {sampler.sample(logits) for _ in coins}


def test_filters_that_are_off_change_nothing(llama2):
    rng = np.random.default_rng(3)
    plain = llama2.Sampler(0.8, 0.9, 5)
    others = [llama2.Sampler(0.8, 0.9, 5, 0, 0.0, 1.0), llama2.Sampler(0.8, 0.9, 5, topk=60)]
    for _ in range(200):
        logits = rng.standard_normal(50).astype(np.float32) * 3
        assert {sampler.sample(logits, [1, 2]) for sampler in others} == {plain.sample(logits)}


def test_transformers_keeps_the_same_tokens(llama2):
    """An independent judge: the logits processors of Hugging Face's transformers, in the order that it runs them in."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    processors = pytest.importorskip("transformers", reason="transformers is not installed").generation.logits_process
    rng, count = np.random.default_rng(11), 256
    coins = [k / count for k in range(count)]
    for _ in range(25):
        logits = rng.standard_normal(30).astype(np.float32) * 4
        tokens = rng.integers(0, 30, 12).tolist()
        temperature, topp, penalty = rng.uniform(0.3, 2), rng.choice([1.0, rng.uniform(0.1, 1)]), rng.uniform(0.7, 1.8)
        topk, minp = int(rng.choice([0, int(rng.integers(1, 30))])), float(rng.choice([0.0, rng.uniform(0, 0.5)]))
        scores = torch.from_numpy(logits.astype(np.float64))[None]
        for make, value in (
            (processors.RepetitionPenaltyLogitsProcessor, penalty),
            (processors.TemperatureLogitsWarper, temperature),
            (processors.TopKLogitsWarper, topk or None),
            (processors.TopPLogitsWarper, topp),
            (processors.MinPLogitsWarper, minp),
        ):
            scores = scores if value is None else make(value)(torch.tensor([tokens]), scores)
        expected = scores.softmax(-1)[0].numpy()
        coin = iter(coins)
        sampler = llama2.Sampler(temperature, topp, 0, topk, minp, penalty)
        sampler._coin = lambda coin=coin: next(coin)
        shares = np.bincount([sampler.sample(logits, tokens) for _ in coins], minlength=30) / count
        # Of evenly spread coins, as many fall into an interval as its length says, but for one at its ends.
        assert np.all(np.abs(shares - expected) <= 1 / count + 1e-5)
        assert not shares[expected == 0].any()


# ------------------------------------------------------------------------------------------ logarithms of probabilities


@given(lengths.flatmap(numbers), st.lists(st.integers(0, 66), max_size=5))
@example(np.array([3.0], np.float32), [])
@example(np.array([0.0, 88.0, 3.4e38, -3.4e38], np.float32), [3])
def test_log_probabilities_keep_their_bound(logits, ruled_out):
    """Against 60 decimals, each twin; -infinity stays what it is."""
    for token in ruled_out:
        if token < len(logits) - 1:
            logits[token] = -np.inf
    with localcontext(prec=60, Emin=-(10**6), Emax=10**6):
        exact = [Decimal(float(x)) for x in logits]
        peak = max(exact)
        total = sum(((x - peak).exp() for x in exact if x - peak > -2000), Decimal()).ln()
        expected = [float(x - peak - total) for x in exact]
    z = np.abs(logits.astype(np.float64) - float(peak))
    bound = (len(logits) + 4 + z + np.abs(expected)) * 2.0**-52
    for found in (ref.log_probabilities(logits.tolist()), fast.log_probabilities(logits)):
        finite = np.isfinite(expected)
        assert np.array_equal(np.isneginf(found), ~finite)
        assert np.all(np.abs(np.array(found)[finite] - np.array(expected)[finite]) <= bound[finite])


@given(st.one_of(lengths.flatmap(numbers), ties.map(lambda x: np.array(x, np.float32))), st.integers(0, 70), seeds)
@example(np.array([1e-30, 2e-30, 10], np.float32), 3, 0)  # whose logarithms are equal: the larger logit comes first
def test_the_same_tokens_are_told(logits, count, seed):
    token = seed % len(logits)
    slow, quick = (m.Sampler(0.3, topk=1).logprob(logits, token, count) for m in (llama2_ref, llama2_fast))
    order = np.lexsort((np.arange(len(logits)), -logits.astype(np.float64)))[:count]
    logprobs = ref.log_probabilities(logits.tolist())
    assert slow == (token, logprobs[token], tuple((t, logprobs[t]) for t in order))
    assert [t for t, _ in quick.top] == list(order)
    assert quick.token == token
    assert np.allclose([quick.logprob, *(x for _, x in quick.top)], [slow.logprob, *(x for _, x in slow.top)], 1e-12)


def test_log_probabilities_of_many_vectors():
    logits = np.random.default_rng(1).standard_normal((3, 2, 9)).astype(np.float32)
    for i in np.ndindex(3, 2):
        assert np.array_equal(fast.log_probabilities(logits)[i], fast.log_probabilities(logits[i]))


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
