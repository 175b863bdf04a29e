"""The tests of the strategies: each reaches what it promises, and makes nothing that is not allowed."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import llama2_ref
from fuzz.test_kernels import attentions
from fuzz.test_quantize import groups, integers, near_ties, products
from fuzz.test_sampler import coins, distributions, grid_distributions, topps
from fuzz.test_transformer import runs
from llama2_fast.conformance import strategies
from llama2_fast.conformance.random_models import DISTRIBUTIONS, random_matrix
from llama2_fast.conformance.strategies import (
    configs,
    encodings,
    file_configs,
    grids,
    heads,
    lengths,
    models,
    numbers,
    prompts,
    special_tokens_of,
    vocabularies,
)

# Examples: three times as many as a test has by default. hypothesis also draws constants of the modules that are
# imported, so that others come each time that one changes: what is rare must be looked for among more.
COUNT = 300


@cache
def examples(strategy):
    """What the strategy makes, the same each time."""
    found = []

    @settings(
        max_examples=COUNT,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


def share(found, condition):
    return sum(map(bool, map(condition, found))) / len(found)


def test_lengths_are_small_and_around_the_widths_of_lanes():
    found = set(examples(lengths))
    assert found >= set(range(1, 10)) | {15, 16, 17, 31, 32, 33, 63, 64, 65, 67}
    assert max(found) == 67  # test_matmul_is_exact_on_a_grid counts on it


SIZE = 16
VECTORS = numbers(SIZE)
KINDS_OF_NUMBERS = {
    "moderate": lambda x: 1e-3 < np.abs(x).max() < 2.0**20,
    "all equal": lambda x: len(set(x.tolist())) == 1,
    "all zero": lambda x: not x.any(),
    "subnormal": lambda x: 0 < np.abs(x).max() < 2.0**-126,
    "huge, so that squares overflow": lambda x: 2.0**64 > np.abs(x).max() > 2.0**58,
    "next to the largest, so that sums overflow": lambda x: np.abs(x).sum(dtype=np.float64) > 3.4028234663852886e38,
    "cancelling": lambda x: np.abs(x[0] + x[1]) < 1e-5 * np.abs(x[0]) and x[0] + x[1] != 0,
    "of both signs": lambda x: (x < 0).any() and (x > 0).any(),
    "negative zero": lambda x: (np.signbit(x) & (x == 0)).any(),
    "of many sizes": lambda x: np.abs(x).max() / 1e6 > np.abs(x).min() > 0,
    "all different": lambda x: len(set(x.tolist())) == SIZE,
}


@pytest.mark.parametrize("kind", KINDS_OF_NUMBERS)
def test_every_kind_of_numbers_comes_up(kind):
    assert share(examples(VECTORS), KINDS_OF_NUMBERS[kind]) >= 0.01


def test_numbers_are_finite_float32_of_the_shape_asked_for():
    for shape in ((1,), (67,), (3, 5)):
        for x in examples(numbers(*shape)):
            assert x.shape == shape
            assert x.dtype == np.float32
            assert np.isfinite(x).all()
    assert all((x >= 0).all() for x in examples(numbers(SIZE, positive=True)))


def test_sums_on_grids_are_exact_in_any_order():
    """All products are multiples of one power of two, and the sum of their sizes is below 2^24 of it."""
    w, x = examples(grids(67, largest=500)), examples(grids(67, largest=500))
    for a, b in zip(w, reversed(x), strict=True):
        products = a.astype(np.float64) * b
        size = np.abs(products[products != 0])
        if size.size:
            unit = min(2.0 ** odd_exponent(s) for s in size.tolist())
            assert size.sum() < 2.0**24 * unit
    assert share(w, lambda a: np.abs(a).max() > 0) > 0.9
    assert share(w, lambda a: len(set(np.abs(a).tolist())) > 5) > 0.1


def odd_exponent(x):
    """k, if x is an odd multiple of 2^k."""
    top, bottom = x.as_integer_ratio()
    return (top & -top).bit_length() - 1 if bottom == 1 else 1 - bottom.bit_length()


def test_heads_are_alone_grouped_and_shared_by_all():
    found = examples(heads())
    assert all(h % k == 0 and e % 2 == 0 and h and e for h, k, e in found)
    for condition in (
        lambda s: s[0] == s[1] == 1,
        lambda s: s[0] == s[1] > 1,
        lambda s: s[0] > s[1] == 1,
        lambda s: s[0] > s[1] > 1,  # where h // group and h % K differ
        lambda s: s[2] == 2,
        lambda s: s[2] > 4,
    ):
        assert share(found, condition) >= 0.03


def test_attention_sees_one_key_and_many_in_groups_and_alone():
    found = examples(attentions())
    assert {1, 2, 9} <= {len(keys) for _, keys, _, _ in found} <= set(range(1, 10))
    assert share(found, lambda a: len(a[0]) > a[1].shape[1] > len(a[0]) // a[3]) >= 0.03
    assert share(found, lambda a: a[3] == 1) >= 0.03


def test_models_reach_the_edges_of_their_sizes():
    found = [twins.config for twins in examples(models())]
    for condition in (
        lambda c: c.n_layers == 1,
        lambda c: c.n_layers == 3,
        lambda c: c.hidden_dim == 1,
        lambda c: c.hidden_dim > 32,
        lambda c: c.vocab_size == 1,
        lambda c: c.seq_len == 1,
        lambda c: c.seq_len > 8,
        lambda c: c.n_heads > c.n_kv_heads > 1,
        lambda c: c.norm_eps == 1e-2,
        lambda c: c.rope_theta == 500000.0,
    ):
        assert share(found, condition) >= 0.01
    assert all(c.vocab_size >= 259 for c in examples(configs(smallest_vocab=259)))
    assert all((c.norm_eps, c.rope_theta) == (1e-5, 10000.0) for c in examples(configs(norms=False)))


def test_models_share_their_classifier_or_not_and_are_the_same_for_both_packages():
    shared = Counter(twins.fast.wcls is twins.fast.token_embedding_table for twins in examples(models()))
    assert min(shared[True], shared[False]) > COUNT // 10
    for twins in examples(models())[:20]:
        assert (twins.ref.wcls is twins.ref.token_embedding_table) == (
            twins.fast.wcls is twins.fast.token_embedding_table
        )
        for name in ("token_embedding_table", "wcls"):
            assert [list(row) for row in getattr(twins.ref, name)] == getattr(twins.fast, name).tolist()
        for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3"):
            rows = [[list(row) for row in matrix] for matrix in getattr(twins.ref, name)]
            assert rows == [matrix.tolist() for matrix in getattr(twins.fast, name)]


LOOKS = {
    "normal": lambda w: 0.5 < np.linalg.norm(w, axis=1).mean() < 2,
    "large": lambda w: 50 < np.linalg.norm(w, axis=1).mean() < 200,
    "tiny": lambda w: np.abs(w).max() < 2.0**-50,
    "subnormal": lambda w: 0 < np.abs(w).max() < 2.0**-126,
    "cancelling": lambda w: np.all(np.abs(w[:, 0] + w[:, 1]) < 2.0**-18 * np.abs(w[:, 0])),
    "sparse": lambda w: 0.5 < np.mean(w == 0) < 0.9,
}


def test_weights_look_like_their_kind():
    assert set(LOOKS) == set(DISTRIBUTIONS)
    for kind in DISTRIBUTIONS:
        w = random_matrix(np.random.default_rng(0), 20, 30, kind)
        assert w.shape == (20, 30)
        assert w.dtype == np.float32
        also = {"subnormal": {"tiny"}, "cancelling": {"normal"}, "sparse": {"normal"}}.get(kind, set())
        assert {kind} <= {other for other, look in LOOKS.items() if look(w)} <= {kind} | also
    largest = [max(np.abs(twins.fast.w1[0]).max(), 0) for twins in examples(models())]
    assert share(largest, lambda x: x < 2.0**-126) >= 0.03  # subnormal
    assert share(largest, lambda x: x > 30) >= 0.03


def test_prompts_fit_the_context_and_fill_it():
    config = llama2_ref.Config(4, 4, 1, 2, 1, 5, 6)
    found = examples(prompts(config))
    assert {len(tokens) for tokens in found} == set(range(1, 7))
    assert {token for tokens in found for token in tokens} == set(range(5))


def test_runs_feed_prompts_whole_and_in_parts():
    found = examples(runs())
    assert all(sum(parts) == len(tokens) <= twins.config.seq_len for twins, tokens, parts in found)
    assert share(found, lambda run: len(run[2]) == 1 < len(run[1])) >= 0.03
    assert share(found, lambda run: len(run[2]) > 2) >= 0.03
    assert share(found, lambda run: len(run[1]) == run[0].config.seq_len > 1) >= 0.03


def test_vocabularies_have_ties_doubles_and_bytes_or_not():
    found = examples(vocabularies())
    for tokens, scores in found:
        assert len(tokens) == len(scores)
        llama2_ref.Tokenizer(tokens, scores)
    for condition in (
        lambda v: b"<0x41>" in v[0],
        lambda v: chr(0xE9).encode() in v[0][3:259],
        lambda v: len(v[0]) < 60,  # no bytes
        lambda v: len(set(v[0])) < len(v[0]),
        lambda v: any(count > 1 for score, count in Counter(v[1]).items() if score),  # ties
        lambda v: any(len(token.decode(errors="ignore")) > 4 for token in v[0][259:]),  # joins of joins
        lambda v: any(token and token[0] > 127 for token in v[0][259:]),
    ):
        assert share(found, condition) >= 0.03


def test_encodings_have_something_to_join_and_something_unknown():
    found = examples(encodings())
    counts = []
    for (tokens, scores), text in found:
        ids = llama2_ref.Tokenizer(tokens, scores).encode(text, bos=False)
        counts.append((len(text) + 1, len(ids), ids.count(0)))
    assert share(counts, lambda c: 1 < c[1] < c[0] - 2) >= 0.1
    assert share(counts, lambda c: c[2]) >= 0.02
    assert share(found, lambda f: f[1] == "") >= 0.01
    for _, text in found:
        text.encode()  # surrogates are no text


def test_near_ties_are_near_ties():
    """Nearly all lie within three units in the last place of a half step, some on it, some on either side."""
    away = []
    for x, size in examples(near_ties()):
        rows = x.astype(np.float64).reshape(-1, size)
        _, scale = llama2_ref.kernels.quantize_int8(x.tolist(), size)
        steps = (rows / np.array(scale)[:, None])[:, 1:]  # the first is the peak
        steps = steps[np.abs(steps) < 126.9]
        away += ((steps - np.floor(steps) - 0.5) / np.spacing(np.abs(steps).astype(np.float32))).tolist()
    distance = np.abs(away)
    assert len(away) > 1000
    assert np.mean(distance <= 3) > 0.95
    assert np.mean(np.array(away) > 0.1) > 0.1
    assert np.mean(np.array(away) < -0.1) > 0.1
    assert {size for _, size in examples(near_ties())} >= {1, 2, 16, 64}


def test_groups_integers_and_scales():
    assert {count for count, _ in examples(groups)} == set(range(1, 7))
    found = examples(integers(3, 8))
    assert all(q.dtype == np.int8 and q.shape == (3, 8) and np.abs(q.astype(int)).max() <= 127 for q in found)
    assert share(found, lambda q: not q.any()) >= 0.03
    for w_q, w_scale, x_q, x_scale in examples(products()):
        assert w_q.shape[1] == x_q.shape[1]
        assert w_q.shape[1] % w_scale.shape[1] == 0
        assert w_scale.shape[1] == x_scale.shape[1]
        assert (w_scale >= 0).all()
    assert share(examples(products()), lambda a: len(a[2]) == 1) >= 0.03
    assert share(examples(products()), lambda a: len(a[2]) > 1 < a[1].shape[1]) >= 0.1


def test_distributions_sum_to_one_and_have_ties_and_zeros():
    found = examples(distributions())
    assert all(abs(p.sum(dtype=np.float64) - 1) < 1e-5 for p in found)
    assert share(found, lambda p: len(p) == 1) >= 0.01
    assert share(found, lambda p: len(p) > 3 and len(set(p.tolist())) == 1) >= 0.03  # flat
    assert share(found, lambda p: len(p) > 3 and 1 < len(set(p.tolist())) < len(p) / 2) >= 0.03
    assert share(found, lambda p: (p == 0).any()) >= 0.03
    assert share(found, lambda p: len(p) > 3 and p.max() > 0.99) >= 0.03  # peaked
    for p in examples(grid_distributions()):
        assert p.sum() == 1
        assert np.all(p * 64 % 1 == 0)
        assert np.all(p >= 0)


def test_coins_and_top_p():
    assert all(0 <= coin < 1 and coin * 2**24 % 1 == 0 for coin in examples(coins))
    for condition in (lambda c: c == 0, lambda c: c > 0.5, lambda c: 0.1 < c < 0.9):
        assert share(examples(coins), condition) > 0
    assert {0.0, 0.5, 0.9, 1.0, 1.5, 1e-30, 0.999999} <= set(examples(topps))


def test_sizes_of_other_programs_models_are_not_those_of_llama2_c():
    found = examples(file_configs())
    assert share(found, lambda c: c.q_dim != c.dim) >= 0.3
    for kind in ("linear", "llama3"):
        assert share(found, lambda c, kind=kind: c.rope_scaling and c.rope_scaling.kind == kind) >= 0.1
    assert share(found, lambda c: c.n_kv_heads < c.n_heads) >= 0.1
    assert all(n % 32 == 0 for c in found for n in (c.dim, c.q_dim, c.hidden_dim))


def test_tokens_are_for_all_that_they_can_be():
    words = [b"a", b"b", b"c", b"d", b"e"], [0.0] * 5
    found = examples(special_tokens_of(words))
    for name in ("stop", "control", "byte_of", "user_defined", "adds_bos", "space_prefix", "trims", "bos"):
        assert 0.1 <= share(found, lambda special_tokens, name=name: getattr(special_tokens, name)) <= 0.95, name
    assert not any(special_tokens.user_defined & special_tokens.control for special_tokens in found)


def test_every_strategy_is_looked_at_here():
    """A new strategy gets a test of what it promises."""
    public = {
        name for name, value in vars(strategies).items() if getattr(value, "__module__", "") == strategies.__name__
    }
    assert {name for name in public if name[0].islower()} == {
        "configs", "encodings", "file_configs", "grids", "heads", "models", "numbers", "prompts", "special_tokens_of",
        "vocabularies",
    }  # fmt: skip
