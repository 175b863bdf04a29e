"""The forward pass as a library: errors, interruptions, kernels of others, threads."""

import dataclasses
import os
import signal
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.judge import assert_close, assert_taps_within
from support.models import random_twins, write_model

CONFIG = llama2_ref.Config(24, 40, 2, 6, 3, 50, 16)
TWINS = random_twins(CONFIG, seed=3)
TOKENS = [1, 7, 49, 0, 7]


@pytest.fixture
def transformer(llama2):
    weights = TWINS.ref if llama2 is llama2_ref else TWINS.fast
    return llama2.Transformer(CONFIG, weights)


@pytest.mark.parametrize("tokens", [[], [-1], [50], [1, 2, 50], [1] * 17])
def test_tokens_that_do_not_fit_are_refused(llama2, transformer, tokens):
    cache = transformer.new_cache()
    with pytest.raises(llama2.PromptError):
        transformer.forward(tokens, cache)
    assert cache.length == 0


def test_the_context_can_be_filled_but_not_exceeded(llama2, transformer):
    cache = transformer.new_cache()
    transformer.forward([1] * 15, cache)
    transformer.forward([2], cache)
    assert cache.length == 16
    with pytest.raises(llama2.PromptError, match="context of 16"):
        transformer.forward([3], cache)


def test_caches_do_not_know_of_each_other(transformer):
    one, other = transformer.new_cache(), transformer.new_cache()
    expected = [list(transformer.forward([token], one)) for token in TOKENS]
    third = transformer.new_cache()
    for token, logits in zip(TOKENS, expected, strict=True):
        transformer.forward([5], other)
        assert list(transformer.forward([token], third)) == logits


def test_an_interrupted_pass_leaves_no_trace(llama2):
    """A kernel that raises in the second layer: what the first one stored is overwritten, not added to."""
    weights = TWINS.ref if llama2 is llama2_ref else TWINS.fast
    calls = []

    def rmsnorm(x, w, eps):
        calls.append(1)
        if len(calls) == 7 + 3:
            raise KeyboardInterrupt
        return llama2.kernels.rmsnorm(x, w, eps)

    names = {name: getattr(llama2.kernels, name) for name in llama2.kernels.__all__}
    odd = llama2.Transformer(CONFIG, weights, SimpleNamespace(**names | {"rmsnorm": rmsnorm}))
    cache = odd.new_cache()
    odd.forward([1], cache)
    calls[:] = [1] * 7
    with pytest.raises(KeyboardInterrupt):
        odd.forward([7], cache)
    assert cache.length == 1
    calls[:] = [1] * 99
    fresh = odd.new_cache()
    odd.forward([1], fresh)
    assert list(odd.forward([9], cache)) == list(odd.forward([9], fresh))


def test_kernels_can_be_exchanged():
    """The reference's forward pass on numpy's kernels, and the other way round: every buffer keeps its bound."""
    for package, weights, kernels in (
        (llama2_ref, TWINS.ref, llama2_fast.kernels),
        (llama2_fast, TWINS.fast, llama2_ref.kernels),
    ):
        taps = package.Taps()
        transformer = package.Transformer(CONFIG, weights, kernels)
        transformer.forward(TOKENS, transformer.new_cache(), every=True, taps=taps)
        assert_taps_within(CONFIG, TWINS.ref, TOKENS, taps)


def test_int8_kernels_can_be_exchanged(tmp_path):
    llama2_fast.write_checkpoint(tmp_path / "model.bin", CONFIG, TWINS.fast, version=2)
    _, weights = llama2_fast.read_checkpoint(tmp_path / "model.bin")
    taps = llama2_fast.Taps()
    transformer = llama2_fast.Transformer(CONFIG, weights, llama2_ref.kernels)
    transformer.forward(TOKENS, transformer.new_cache(), every=True, taps=taps)
    assert_taps_within(CONFIG, llama2_ref.read_checkpoint(tmp_path / "model.bin")[1], TOKENS, taps)


def test_one_wrong_kernel_is_found_by_its_name():
    """A planted bug: keys of the wrong head. The check of the taps names the kernel's buffer."""

    def attention(q, keys, values, n_heads):
        return llama2_ref.kernels.attention(q, [row[::-1] for row in keys], values, n_heads)

    names = {name: getattr(llama2_ref.kernels, name) for name in llama2_ref.kernels.__all__}
    odd = llama2_fast.Transformer(CONFIG, TWINS.fast, SimpleNamespace(**names | {"attention": attention}))
    taps = llama2_fast.Taps()
    odd.forward(TOKENS, odd.new_cache(), every=True, taps=taps)
    with pytest.raises(AssertionError, match="att of layer 0, token 1"):
        assert_taps_within(CONFIG, TWINS.ref, TOKENS, taps)


@pytest.mark.parametrize("threads", [1, 2, 5, None])
@pytest.mark.parametrize("version", [0, 2])
def test_any_number_of_threads_keeps_the_bounds(tmp_path, version, threads):
    """Rows enough that attention and int8 products are really split."""
    config = llama2_ref.Config(96, 512, 1, 4, 2, 700, 200)
    twins = random_twins(config, seed=5)
    llama2_fast.write_checkpoint(tmp_path / "model.bin", config, twins.fast, version)
    _, weights = llama2_fast.read_checkpoint(tmp_path / "model.bin")
    tokens = np.random.default_rng(0).integers(0, 700, 150).tolist()
    taps = llama2_fast.Taps()
    transformer = llama2_fast.Transformer(config, weights, threads=threads, backend="numpy")
    transformer.forward(tokens, transformer.new_cache(), every=True, taps=taps)
    assert_taps_within(config, weights, tokens, taps, ClosedKernels())


def test_small_parts_are_put_together(monkeypatch, tmp_path):
    """Everything that can be split is, into as many parts as there are threads: more than rows, too."""
    monkeypatch.setattr("llama2_fast.engines.numpy_engine.SMALLEST_SHARE", 1)
    for version in (0, 2):
        llama2_fast.write_checkpoint(tmp_path / "model.bin", CONFIG, TWINS.fast, version)
        weights = llama2_fast.read_checkpoint(tmp_path / "model.bin")[1]
        for threads in (3, 100):
            transformer = llama2_fast.Transformer(CONFIG, weights, threads=threads, backend="numpy")
            taps = llama2_fast.Taps()
            cache = transformer.new_cache()
            transformer.forward(TOKENS[:4], cache, every=True, taps=taps)
            transformer.forward(TOKENS[4:], cache, every=True, taps=taps)
            assert_taps_within(CONFIG, weights, TOKENS, taps, ClosedKernels())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(tmp_path):
    """Those of its parent do not come along: waiting for them would never end."""
    config = llama2_ref.Config(96, 512, 1, 4, 2, 700, 200)
    transformer = llama2_fast.Transformer(config, random_twins(config, seed=5).fast, threads=2, backend="numpy")
    expected = transformer.forward([5] * 150, transformer.new_cache())
    child = os.fork()
    if not child:
        signal.alarm(20)
        same = np.array_equal(expected, transformer.forward([5] * 150, transformer.new_cache()))
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_matrices_of_one_model_may_be_of_different_kinds(llama2, tmp_path):
    """int8 but for the keys, and one more group size."""
    llama2_fast.write_checkpoint(tmp_path / "model.bin", CONFIG, TWINS.fast, version=2)
    _, weights = llama2.read_checkpoint(tmp_path / "model.bin")
    plain = TWINS.ref if llama2 is llama2_ref else TWINS.fast
    pairs = [[llama2.kernels.quantize_int8(np.asarray(row), 4) for row in w] for w in TWINS.fast.wv]
    other = [
        llama2.Int8Matrix(np.array([q for q, _ in rows], np.int8), np.array([s for _, s in rows], np.float32))
        for rows in pairs
    ]
    mixed = dataclasses.replace(weights, wk=plain.wk, wv=other)
    taps = llama2.Taps()
    transformer = llama2.Transformer(CONFIG, mixed)
    transformer.forward(TOKENS, transformer.new_cache(), every=True, taps=taps)
    recorded = {key: np.asarray(value, np.float32) for key, value in taps.items()}
    reference = llama2_ref.read_checkpoint(tmp_path / "model.bin")[1]
    exact = dataclasses.replace(reference, wk=TWINS.ref.wk, wv=other)
    if llama2 is llama2_fast:
        assert_taps_within(CONFIG, exact, TOKENS, recorded)


def test_threads_must_be_positive():
    with pytest.raises(llama2_fast.ConfigError, match="at least 1"):
        llama2_fast.Transformer(CONFIG, TWINS.fast, threads=0)


@pytest.mark.parametrize("version", [0, 2])
def test_overflow_in_threads_is_an_error_and_not_a_warning(tmp_path, version, backend):
    """Numbers grow beyond float32 in attention, products and the gate: nothing but the error is to be seen."""
    config = llama2_ref.Config(96, 512, 2, 4, 2, 700, 200)
    twins = random_twins(config, seed=5, distribution="large")
    for name in ("wq", "wk", "wv", "wo", "w1", "w3", "w2"):
        for array in getattr(twins.fast, name):
            array *= np.float32(1e30)
    llama2_fast.write_checkpoint(tmp_path / "model.bin", config, twins.fast, version)
    read = llama2_fast.read_checkpoint(tmp_path / "model.bin")
    transformer = llama2_fast.Transformer(*read, threads=3, backend=backend)
    with pytest.raises(llama2_fast.NumericsError, match="every weight is finite"):
        transformer.forward([5] * 150, transformer.new_cache())


def test_the_position_of_a_bad_logit_is_told(llama2):
    """Token 3 has an embedding that is not finite. Without `every` only the last logits are looked at.

    The cache keeps the tokens before the one that is told, and goes on with others.
    """
    twins = random_twins(CONFIG, seed=3, shared=False)
    twins.fast.token_embedding_table[3, 7] = np.nan
    weights = twins.ref if llama2 is llama2_ref else twins.fast
    transformer = llama2.Transformer(CONFIG, weights)
    for every, position in ((True, 4), (False, 6)):
        cache = transformer.new_cache()
        transformer.forward([1, 2], cache)
        with pytest.raises(llama2.NumericsError, match=rf"position {position}: token_embedding_table\[3\]\[7\] is nan"):
            transformer.forward([1, 2, 3, 5, 6], cache, every)
        assert cache.length == position


def test_the_reference_names_a_bad_number_of_an_array():
    """Its rows may be of any kind that holds numbers: the judge of `verify` is given the arrays of the fast twin."""
    twins = random_twins(CONFIG, seed=3)
    twins.fast.w2[1][3, 4] = np.inf
    transformer = llama2_ref.Transformer(CONFIG, twins.fast)
    with np.errstate(all="ignore"), pytest.raises(llama2_ref.NumericsError, match=r"w2\[1\]\[3\]\[4\] is inf"):
        transformer.forward([1], transformer.new_cache())


def test_an_error_in_a_thread_comes_through():
    from llama2_fast.engines.threads import Team

    done = []
    team = Team(3)

    def fail():
        raise RuntimeError("in a thread")

    with pytest.raises(RuntimeError, match="in a thread"):
        team.run([lambda: done.append(1), fail, lambda: done.append(2)])
    assert sorted(done) == [1, 2]
    assert team.split(10, 4) == [slice(0, 5), slice(5, 10)]
    assert team.split(2, 4) == [slice(0, 2)]


def test_int8_models_keep_their_bounds(tmp_path):
    """Every buffer of a version 2 model, whose integers come from recorded buffers, and are equal on both sides."""
    llama2_fast.write_checkpoint(tmp_path / "model.bin", CONFIG, TWINS.fast, version=2)
    read = {package: package.read_checkpoint(tmp_path / "model.bin")[1] for package in (llama2_ref, llama2_fast)}
    for package, weights in read.items():
        taps = package.Taps()
        transformer = package.Transformer(CONFIG, weights)
        transformer.forward(TOKENS, transformer.new_cache(), every=True, taps=taps)
        recorded = {key: np.asarray(value, np.float32) for key, value in taps.items()}
        if package is llama2_fast:
            assert_taps_within(CONFIG, read[llama2_ref], TOKENS, recorded)


def test_taps_change_no_bit(llama2, transformer):
    plain = transformer.forward(TOKENS, transformer.new_cache())
    tapped = transformer.forward(TOKENS, transformer.new_cache(), taps=llama2.Taps())
    assert list(plain) == list(tapped)


def test_a_large_context_costs_nothing_until_it_is_used(llama2):
    """32 layers x 131,072 x 1024 numbers overflow a 32-bit product in other programs: to 0, with nothing allocated."""
    config = llama2_ref.Config(1024, 4, 32, 8, 8, 4, 131072)
    tracemalloc.start()
    cache = llama2.KVCache(config)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    rows = np.arange(3 * 1024, dtype=np.float32).reshape(3, 1024)
    for position, row in enumerate(rows):
        for layer in (0, 31):
            value = row if llama2 is llama2_ref else row[None]
            cache.store(layer, position, value, -value)
    cache.length = 3
    for layer in (0, 31):
        assert np.array_equal(cache.keys[layer], rows)
        assert np.array_equal(cache.values[layer], -rows)


def test_the_cache_holds_what_the_taps_saw(llama2, transformer):
    taps, cache = llama2.Taps(), transformer.new_cache()
    transformer.forward(TOKENS, cache, taps=taps)
    for layer in range(CONFIG.n_layers):
        assert np.array_equal(cache.keys[layer], taps[layer, "k"])
        assert np.array_equal(cache.values[layer], taps[layer, "v"])
    assert_close(np.asarray(cache.keys[0]).shape, np.array([5, 12]), np.zeros(2))


def test_a_prompt_may_be_a_whole_number_of_chunks(backend):
    """The last token of the last full chunk is the last token of all."""
    from llama2_fast.engines.numpy_engine import CHUNK

    config = llama2_ref.Config(4, 4, 1, 1, 1, 7, CHUNK + 1)
    weights = random_twins(config, seed=1).fast
    model = llama2_fast.Transformer(config, weights, backend=backend)
    tokens = [i % 7 for i in range(CHUNK)]
    taps, cache = llama2_fast.Taps(), model.new_cache()
    last = model.forward(tokens, cache, taps=taps)
    assert cache.length == CHUNK
    assert np.array_equal(last, taps[1, "logits"][0])
    assert_taps_within(config, weights, tokens, taps, ClosedKernels(), every=False)


def test_taps_keep_copies():
    """What is recorded stays as it was, whatever becomes of the buffer."""
    taps, buffer = llama2_fast.Taps(), np.ones((2, 3), np.float32)
    assert taps.record(0, "q", buffer) is buffer
    buffer[:] = 7
    assert np.array_equal(taps[0, "q"], np.ones((2, 3)))
    taps.record(0, "q", buffer[:1])
    assert np.array_equal(taps[0, "q"], [[1, 1, 1], [1, 1, 1], [7, 7, 7]])


def test_load_passes_its_options_on(tmp_path):
    path = write_model(tmp_path, llama2_ref.Config(8, 8, 1, 2, 1, 300, 16))
    (tmp_path / "tokenizer.bin").rename(tmp_path / "other.bin")
    model = llama2_fast.load(path, tmp_path / "other.bin", "int8", threads=3, backend="numpy")
    assert (model.transformer.backend, model.transformer.threads) == ("numpy", 3)
    assert isinstance(model.transformer.weights.wq[0], llama2_fast.Int8Matrix)
    with pytest.raises(llama2_fast.ConfigError, match="cuda"):
        llama2_fast.load(path, tmp_path / "other.bin", backend="cuda")


@pytest.mark.parametrize("kernels", [llama2_fast.kernels, llama2_ref.kernels], ids=["own", "others"])
def test_many_queries_see_what_was_in_the_cache(kernels):
    """More of them than share a product, by kernels of numpy or by those of others."""
    config = llama2_ref.Config(4, 4, 1, 2, 1, 7, 120)
    weights, tokens = random_twins(config, seed=1).fast, [i * i % 7 for i in range(110)]
    model, taps = llama2_fast.Transformer(config, weights, kernels, backend="numpy"), llama2_fast.Taps()
    cache = model.new_cache()
    for part in (tokens[:20], tokens[20:]):
        model.forward(part, cache, every=True, taps=taps)
    assert_taps_within(config, weights, tokens, taps, ClosedKernels())


def test_a_cache_grows_by_doubling_up_to_the_context():
    """Room for what comes and for as many again: float32 keys and values, and nothing else."""
    cache = llama2_fast.KVCache(CONFIG)
    row = np.ones((1, CONFIG.kv_dim), np.float32)
    rooms = []
    for position in range(CONFIG.seq_len):
        cache.store(0, position, row, row)
        rooms.append(cache._rows.shape[2])
    assert rooms == [2, 2, 6, 6, 6, 6, 14, 14, 14, 14, 14, 14, 14, 14, 16, 16]
    assert cache._rows.nbytes == 2 * CONFIG.n_layers * 16 * CONFIG.kv_dim * 4


@pytest.mark.parametrize("count", [6, 7])
def test_long_prompts_go_through_in_chunks(monkeypatch, count):
    """Whole chunks, and a rest: every buffer keeps its bound, and the last logits are those of the last token."""
    monkeypatch.setattr("llama2_fast.engines.numpy_engine.CHUNK", 3)
    tokens = [1, 7, 49, 0, 7, 30, 2][:count]
    transformer, taps = llama2_fast.Transformer(CONFIG, TWINS.fast, backend="numpy"), llama2_fast.Taps()
    every = transformer.forward(tokens, transformer.new_cache(), every=True, taps=taps)
    assert_taps_within(CONFIG, TWINS.ref, tokens, taps)
    cache = transformer.new_cache()
    last = transformer.forward(tokens, cache)
    assert every.shape == (count, CONFIG.vocab_size)
    assert last.shape == (CONFIG.vocab_size,)
    assert cache.length == count
    assert np.argmax(last) == np.argmax(every[-1])


def test_kernels_of_others_are_called_by_one_thread(monkeypatch):
    """Whatever is asked for, since they need not bear more; this package's own are called by all."""
    for name in ("SMALLEST_SHARE", "QUERIES"):
        monkeypatch.setattr(f"llama2_fast.engines.numpy_engine.{name}", 1)
    threads = set()

    def attention(*args):
        threads.add(threading.get_ident())
        return llama2_fast.kernels.attention(*args)

    names = {name: getattr(llama2_fast.kernels, name) for name in llama2_fast.kernels.__all__}
    others = SimpleNamespace(**names | {"attention": attention})
    transformer = llama2_fast.Transformer(CONFIG, TWINS.fast, others, threads=3)
    transformer.forward(TOKENS, transformer.new_cache())
    assert threads == {threading.get_ident()}
    assert transformer.threads == 1
    assert llama2_fast.Transformer(CONFIG, TWINS.fast, threads=3, backend="numpy").threads == 3


@pytest.mark.parametrize("every", [False, True])
def test_a_batch_gives_what_its_sequences_give_alone(llama2, every):
    """In the order of the batch; each cache goes on from where it was."""
    knobs, weights = ({}, TWINS.ref) if llama2 is llama2_ref else ({"backend": "numpy"}, TWINS.fast)
    transformer = llama2.Transformer(CONFIG, weights, **knobs)
    batch, alone = ([([1, 7], transformer.new_cache()), ([49], transformer.new_cache())] for _ in range(2))
    for _ in range(2):
        got = transformer.forward_batch(batch, every)
        expected = [transformer.forward(tokens, cache, every) for tokens, cache in alone]
        assert [np.asarray(logits).tolist() for logits in got] == [np.asarray(logits).tolist() for logits in expected]
    assert [cache.length for _, cache in batch] == [4, 2]


def test_a_batch_is_checked_before_any_of_it_is_run():
    transformer = llama2_fast.Transformer(CONFIG, TWINS.fast, backend="numpy")
    caches = [transformer.new_cache(), transformer.new_cache()]
    with pytest.raises(llama2_fast.PromptError):
        transformer.forward_batch([([1], caches[0]), ([50], caches[1])])
    assert [cache.length for cache in caches] == [0, 0]


def int8_weights(folder):
    llama2_fast.write_checkpoint(folder / "model.bin", CONFIG, TWINS.fast, version=2)
    return llama2_fast.read_checkpoint(folder / "model.bin")[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_int8_prompts_of_every_length_keep_their_bounds(tmp_path, count):
    weights = int8_weights(tmp_path)
    transformer, taps = llama2_fast.Transformer(CONFIG, weights, backend="numpy"), llama2_fast.Taps()
    transformer.forward(TOKENS[:count], transformer.new_cache(), every=True, taps=taps)
    assert_taps_within(CONFIG, weights, TOKENS[:count], taps, ClosedKernels())
    assert {buffer.dtype for buffer in taps.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("share", [12, 24, 40, 48])
def test_parts_may_be_as_long_as_the_smallest_share(monkeypatch, tmp_path, version, share):
    """Where a row is just as long as what is worth a thread: the same bits as from one thread."""
    weights = TWINS.fast if version == 0 else int8_weights(tmp_path)
    logits = []
    for threads in (1, 3):
        transformer = llama2_fast.Transformer(CONFIG, weights, threads=threads, backend="numpy")
        for tokens in (TOKENS, TOKENS[:1]):
            logits.append(transformer.forward(tokens, transformer.new_cache()))
        monkeypatch.setattr("llama2_fast.engines.numpy_engine.SMALLEST_SHARE", share)
    assert np.array_equal(logits[0], logits[2])
    assert np.array_equal(logits[1], logits[3])


@pytest.mark.parametrize(
    ("name", "place", "text"),
    [
        ("token_embedding_table", np.s_[2:4, 5], r"token_embedding_table\[2\]\[5\] is nan"),
        ("wk", np.s_[3, 4:6], r"wk\[1\]\[3\]\[4\] is nan"),
        ("rms_ffn_weight", np.s_[1, 6:9], r"rms_ffn_weight\[1\]\[6\] is nan"),
        ("rms_final_weight", np.s_[8:10], r"rms_final_weight\[8\] is nan"),
    ],
)
def test_the_first_of_several_bad_weights_is_told(llama2, name, place, text):
    twins = random_twins(CONFIG, seed=3, shared=False)
    field = getattr(twins.fast, name)
    (field[1] if isinstance(field, list) else field)[place] = np.nan
    weights = twins.ref if llama2 is llama2_ref else twins.fast
    transformer = llama2.Transformer(CONFIG, weights)
    with pytest.raises(llama2.NumericsError, match=text):
        transformer.forward([2], transformer.new_cache())
