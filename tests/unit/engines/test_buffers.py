"""Every buffer of the engines against every sequence of sizes: nothing is read or written where there is no room."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.judge import assert_taps_within
from support.models import random_file_twins, random_twins

Config = llama2_ref.Config
CACHED = Config(12, 8, 2, 3, 3, 9, 240)
SEQUENCES = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 70), st.integers(100, 200)), min_size=1, max_size=7)
MATRICES = (None, "int8", "int4", "Q4_1", "F16", "mixed")


def up_to(most, sizes):
    """Sizes that fit together."""
    kept = []
    for size in sizes:
        kept.append(min(size, most - sum(kept)))
    return [size for size in kept if size]


def new_cache(backend, config):
    return llama2_fast.Transformer(config, random_twins(config, 1).fast, backend=backend).new_cache()


@given(sizes=SEQUENCES)
@example(sizes=[1, 199])
@example(sizes=[1, 31, 200])
@example(sizes=[240])
@example(sizes=[1] * 17)
def test_a_cache_has_room_for_what_is_stored(backend, sizes):
    """However many tokens come at a time, in every layer: what is read is what was written."""
    c, cache = CACHED, new_cache(backend, CACHED)
    rng, length = np.random.default_rng(sum(sizes)), 0
    stored = np.zeros((2, c.n_layers, 0, c.kv_dim), np.float32)
    for size in up_to(c.seq_len, sizes):
        more = rng.standard_normal((2, c.n_layers, size, c.kv_dim)).astype(np.float32)
        if backend == "simd":
            cache.reserve(length + size)  # what a pass asks for, before compiled code writes there
            assert cache.room[2] >= length + size
        for layer in range(c.n_layers):
            cache.store(layer, length, *more[:, layer])
        length += size
        cache.length = length
        stored = np.concatenate((stored, more), axis=2)
        assert np.array_equal(cache.keys, stored[0])
        assert np.array_equal(cache.values, stored[1])
        cache = cache.copy() if size % 2 else cache  # has room for its tokens and no more


@given(sizes=SEQUENCES)
@example(sizes=[1, 199])
def test_a_cache_takes_no_more_than_twice_its_tokens(backend, sizes):
    """Up to whole blocks. Each time that it grows it is copied: twice as much makes that rare."""
    c, cache, length = CACHED, new_cache(backend, CACHED), 0
    grown, place = 0, None
    for size in up_to(c.seq_len, sizes):
        row = np.zeros((size, c.kv_dim), np.float32)
        cache.store(0, length, row, row)
        length += size
        room = cache.room[2] if backend == "simd" else cache._rows.shape[2]
        assert length <= room <= min(2 * length, c.seq_len) + 15
        grown, place = grown + (room != place), room
    assert grown <= 1 + np.ceil(np.log2(length + 1))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_what_python_copies_is_a_cache_of_its_own(backend, duplicate):
    """A pass writes into the arrays of the cache that it is given, not into those that were copied."""
    model = llama2_fast.Transformer(CACHED, random_twins(CACHED, 1).fast, backend=backend)
    cache = model.new_cache()
    model.forward([1, 2, 3], cache)
    other, seen = duplicate(cache), (np.copy(cache.keys), np.copy(cache.values))
    assert np.array_equal(model.forward([4], other), model.forward([4], cache.copy()))
    other.length = 1
    model.forward([5, 6], other)
    assert np.array_equal((cache.keys, cache.values), seen)
    assert not np.array_equal((other.keys, other.values), seen)


def weights_of(kind, config):
    if kind in ("Q4_1", "F16", "mixed"):
        return random_file_twins(config, 5, kind).fast
    return random_twins(config, 5).fast


def compiled(kind, threads, config):
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    from support.compiled_pass import watch

    quantize = kind if kind in ("int8", "int4") else None
    model = llama2_fast.Transformer(
        config, weights_of(kind, config), threads=threads, backend="simd", quantize=quantize
    )
    return model, watch(model)


SIZES = {"even": Config(96, 320, 1, 2, 1, 33, 240), "odd": Config(36, 43, 2, 6, 2, 31, 240)}


@pytest.mark.parametrize("kind", MATRICES)
@settings(max_examples=25)
@given(sizes=SEQUENCES, threads=st.sampled_from([1, 2, 7]), every=st.booleans(), odd=st.booleans())
@example(sizes=[1, 199], threads=1, every=False, odd=False)
@example(sizes=[1, 199], threads=7, every=True, odd=True)
@example(sizes=[2, 2, 1, 3, 200, 1, 30], threads=7, every=False, odd=True)
def test_buffers_of_a_pass_hold_what_it_takes(kind, sizes, threads, every, odd):
    """Fewer tokens than threads, more than before, fewer again: each pass finds its room, and the same bits."""
    config = SIZES["odd" if odd and kind in (None, "int8", "int4") else "even"]
    sizes = up_to(config.seq_len, sizes)
    tokens = np.random.default_rng(len(sizes)).integers(0, config.vocab_size, sum(sizes)).tolist()
    model, passes = compiled(kind, threads, config)
    cache, taps, start, found = model.new_cache(), llama2_fast.Taps(), 0, []
    for number, size in enumerate(sizes):
        listens = taps if number % 2 else None
        found.append(model.forward(tokens[start : start + size], cache, every=every, taps=listens))
        start += size
    assert passes == sizes
    other, _ = compiled(kind, 1, config)
    whole = other.forward(tokens, other.new_cache(), every=True)
    ends = np.cumsum(sizes)
    wanted = whole if every else whole[ends - 1]
    assert np.array_equal(np.concatenate(found) if every else np.array(found), wanted)


@settings(max_examples=25)
@given(
    rounds=st.lists(st.lists(st.integers(0, 90), min_size=3, max_size=3), min_size=1, max_size=4),
    threads=st.sampled_from([1, 7]),
)
@example(rounds=[[1, 1, 0], [1, 80, 1], [1, 0, 0]], threads=7)
def test_buffers_of_a_batch_hold_what_it_takes(rounds, threads):
    """Sequences that are long and short, and some that wait: buffers are those of all of them together."""
    config = dataclasses.replace(SIZES["odd"], seq_len=400)
    model, passes = compiled("int8", threads, config)
    alone, _ = compiled("int8", 1, config)
    caches, others = ([each.new_cache() for _ in range(3)] for each in (model, alone))
    for sizes in rounds:
        asked = [(i, [(7 * i + j) % 31 for j in range(size)]) for i, size in enumerate(sizes) if size]
        found = model.forward_batch([(tokens, caches[i]) for i, tokens in asked])
        for (i, tokens), logits in zip(asked, found, strict=True):
            assert np.array_equal(logits, alone.forward(tokens, others[i]))
    assert passes == [sum(sizes) for sizes in rounds if sum(sizes)]


@pytest.mark.parametrize("sizes", [[1, 199], [1, 1, 70, 128], [3, 64, 65, 1, 67]], ids=str)
def test_numpy_keeps_its_bounds_however_many_tokens_come(sizes):
    config = Config(12, 8, 2, 3, 3, 9, 200)
    weights, taps = random_twins(config, 4).fast, llama2_fast.Taps()
    tokens = np.random.default_rng(1).integers(0, 9, 200).tolist()
    model, start = llama2_fast.Transformer(config, weights, backend="numpy", threads=2), 0
    cache = model.new_cache()
    for size in sizes:
        model.forward(tokens[start : start + size], cache, every=True, taps=taps)
        start += size
    assert_taps_within(config, weights, tokens, taps, ClosedKernels())


@pytest.mark.parametrize("lengths", [(1, 16, 5), (15, 2, 40), (17, 1, 200)], ids=str)
def test_buffers_of_a_pass_hold_what_it_takes_in_copied_caches(lengths):
    """A cache that goes on from another one writes into its own arrays, however long both become."""
    model, _ = compiled(None, 2, SIZES["odd"])
    tokens = [(5 * i) % 31 for i in range(sum(lengths))]
    cache = model.new_cache()
    model.forward(tokens[: lengths[0]], cache)
    copies = [cache.copy() for _ in range(3)]
    want = model.forward(tokens, model.new_cache())
    ends = np.cumsum(lengths)
    for each in (*copies, cache):
        model.forward(tokens[lengths[0] : ends[1]], each)
        assert np.array_equal(model.forward(tokens[ends[1] :], each), want)
