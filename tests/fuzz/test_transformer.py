"""Whole models: every buffer of llama2_fast within the bound of its own step, however a prompt is fed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from llama2_fast.conformance import reproduce
from llama2_fast.conformance.closed import ClosedKernels
from llama2_fast.conformance.implementation import SAMPLING
from llama2_fast.conformance.judge import assert_close, assert_taps_within
from llama2_fast.conformance.strategies import file_configs, models, prompts, seeds
from llama2_ref.bounded import SLACK, BoundedKernels
from llama2_ref.formats.dtypes import DTYPES
from support.models import Twins, as_views, random_file_twins, random_twins, transformers

Config = llama2_ref.Config


@st.composite
def runs(draw: st.DrawFn) -> tuple[Twins, list[int], list[int]]:
    """A model, a prompt, and sizes of the parts in which the prompt is fed, one after the other."""
    twins = draw(models())
    tokens = draw(prompts(twins.config))
    parts = []
    while sum(parts) < len(tokens):
        parts.append(draw(st.integers(1, len(tokens) - sum(parts))))
    return twins, tokens, parts


def cut(tokens, sizes):
    """The parts of a prompt."""
    ends = np.cumsum(sizes).tolist()
    return [tokens[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def forward_in_parts(transformer, tokens, sizes):
    """Taps and logits of every token."""
    cache, taps, logits = transformer.new_cache(), llama2_fast.Taps(), []
    for part in cut(tokens, sizes):
        logits.append(transformer.forward(part, cache, every=True, taps=taps))
    assert cache.length == len(tokens)
    return taps, np.concatenate(logits)


@given(run=runs())
def test_every_buffer_keeps_its_bound(backend, run):
    twins, tokens, parts = run
    reproduce.current_script = lambda: reproduce.model(twins, cut(tokens, parts), backend=backend)
    taps, logits = forward_in_parts(transformers(twins, backend)[1], tokens, parts)
    assert np.array_equal(logits, taps[twins.config.n_layers, "logits"])
    assert_taps_within(twins.config, twins.ref, tokens, taps)


@given(run=runs())
def test_every_buffer_keeps_its_bound_with_kernels_of_others(impl, run):
    """The forward pass on the kernels under test; where one is missing, the reference's stands in."""
    twins, tokens, parts = run
    if set(impl.names) <= {"argmax", "silu", "softmax", *SAMPLING}:
        pytest.skip(f"not tested: {impl.name} has no kernel of a forward pass")
    lines = reproduce.kernels_of(impl.name, impl.names)
    transformer = llama2_fast.Transformer(twins.config, twins.fast, kernels=impl.with_others())
    taps, _ = forward_in_parts(transformer, tokens, parts)
    reproduce.current_script = lambda: reproduce.model(twins, cut(tokens, parts), lines)
    assert_taps_within(twins.config, twins.ref, tokens, taps)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@given(twins=models(norms=False), data=st.data())
def test_every_buffer_of_a_quantized_model_keeps_its_bound(backend, kind, twins, data):
    """Integers come from recorded buffers, and are then equal on both sides: only their products are bounded."""
    tokens = data.draw(prompts(twins.config), label="tokens")
    threads = data.draw(st.integers(1, 3), label="threads")
    transformer = llama2_fast.Transformer(twins.config, twins.fast, threads=threads, backend=backend, quantize=kind)
    taps, cache = llama2_fast.Taps(), transformer.new_cache()
    first = data.draw(st.integers(1, len(tokens)), label="first")
    parts = list(filter(None, (tokens[:first], tokens[first:])))
    reproduce.current_script = lambda: reproduce.model(twins, parts, backend=backend, quantize=kind, threads=threads)
    for part in parts:
        transformer.forward(part, cache, every=True, taps=taps)
    assert_taps_within(twins.config, llama2_ref.quantize_weights(twins.ref, kind), tokens, taps)


@pytest.mark.parametrize("kind", [*DTYPES, "mixed"])
@settings(max_examples=10)
@given(config=file_configs(), seed=seeds, shared=st.booleans(), data=st.data())
def test_every_buffer_of_another_program_s_model_keeps_its_bound(backend, kind, config, seed, shared, data):
    """Weights as they lie in GGUF and safetensors files, heads of any size, scaled RoPE."""
    twins = random_file_twins(config, seed, kind, shared)
    tokens = data.draw(prompts(config), label="tokens")
    threads = data.draw(st.integers(1, 3), label="threads")
    transformer = llama2_fast.Transformer(config, twins.fast, threads=threads, backend=backend)
    taps, cache = llama2_fast.Taps(), transformer.new_cache()
    first = data.draw(st.integers(1, len(tokens)), label="first")
    for part in filter(None, (tokens[:first], tokens[first:])):
        transformer.forward(part, cache, every=True, taps=taps)
    assert_taps_within(config, twins.ref, tokens, taps)


@settings(max_examples=30)
@given(twins=models(longest=4), data=st.data())
def test_a_tiny_model_keeps_its_bound_from_end_to_end(backend, twins, data):
    """Without taps: nothing is taken from the other side, so that even the wiring of the taps is not trusted."""
    tokens = data.draw(prompts(twins.config), label="tokens")
    ref, fast = llama2_ref.Transformer(twins.config, twins.ref, BoundedKernels()), transformers(twins, backend)[1]
    expected = ref.forward(tokens, ref.new_cache())
    got = fast.forward(tokens, fast.new_cache())
    assert_close(got, np.array([x.value for x in expected]), np.array([x.error for x in expected]), "logits")


@given(twins=models(), data=st.data())
def test_only_the_last_logits_are_made_unless_every_one_is_asked_for(backend, twins, data):
    tokens = data.draw(prompts(twins.config), label="tokens")
    top = twins.config.n_layers
    transformer: Any
    for package, transformer in zip((llama2_ref, llama2_fast), transformers(twins, backend), strict=True):
        taps = package.Taps()
        last = transformer.forward(tokens, transformer.new_cache(), taps=taps)
        assert len(taps[top, "logits"]) == len(taps[top, "final_norm"]) == 1
        assert np.array_equal(taps[top, "logits"][0], last)
        assert len(taps[0, "out"]) == len(tokens)
    assert_taps_within(twins.config, twins.ref, tokens, taps, every=False)


SHAPES = {
    # The opposites of the shapes that hide bugs: heads not grouped by one, sizes that are no multiple of 16, more than
    # one block of queries, more than one chunk of a prompt.
    "odd": (Config(36, 43, 2, 6, 2, 31, 700), 700, True),
    "stories260K": (Config(64, 172, 5, 8, 4, 512, 512), 24, True),
    "stories15M": (Config(288, 768, 6, 6, 6, 32000, 256), 5, False),
    "long": (Config(96, 96, 1, 4, 1, 50, 600), 530, True),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_buffer_keeps_its_bound_at_real_sizes(backend, name):
    config, count, shared = SHAPES[name]
    twins = random_twins(config, seed=7, shared=shared)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, config.vocab_size, count).tolist()
    taps, _ = forward_in_parts(transformers(twins, backend)[1], tokens, [count])
    assert_taps_within(config, twins.fast, tokens, taps, ClosedKernels())


@given(seeds)
@settings(max_examples=10)
def test_closed_formulas_and_number_objects_agree(seed):
    """Two derivations of the same bounds: the values are equal, the bounds of one size."""
    rng = np.random.default_rng(seed)
    closed, bounded, n = ClosedKernels(), BoundedKernels(), 24
    x, y, w, k = (rng.standard_normal(shape).astype(np.float32) for shape in ((n,), (n,), (5, n), (6, n)))
    table = closed.rope_table(7, 6, 10000.0), bounded.rope_table(7, 6, 10000.0)
    calls = {"matmul": (w, x), "add": (x, y), "rmsnorm": (x, y, 1e-5), "swiglu": (x, y), "attention": (x, k, k, 3)}
    pairs = {name: (getattr(closed, name)(*args), getattr(bounded, name)(*args)) for name, args in calls.items()}
    pairs["rope"] = closed.rope(x, *table[0]), bounded.rope(x, *table[1])
    for name, (ball, numbers) in pairs.items():
        value, error = np.array([b.value for b in numbers]), np.array([b.error for b in numbers])
        assert np.all(np.abs(ball.value - value) <= (SLACK - 1) * error), name
        assert np.all((ball.error < 4 * error) & (error < 12 * ball.error)), (name, ball.error / error)


@given(seeds, st.lists(st.integers(0, 1), min_size=2, max_size=8))
def test_a_scale_that_is_off_by_one_part_in_a_million_shows(backend, seed, tokens):
    """Two tokens, whose values are unit vectors, so that each number of the result is the weight of one of them.

    A head has two numbers, the least there can be: scores, which are large, round three times. With more of them, and
    with values of any kind, their bound would hide it.
    """
    config, rng = Config(2, 2, 1, 1, 1, 2, 8), np.random.default_rng(seed)
    twins = random_twins(config, seed)
    fields = vars(twins.fast) | {name: [5 * rng.random((2, 2), np.float32)] for name in ("wq", "wk")}
    one = np.eye(2, dtype=np.float32)
    fields |= {"token_embedding_table": one, "wcls": one, "rms_att_weight": np.ones((1, 2), np.float32), "wv": [one]}
    transformer = llama2_fast.Transformer(config, llama2_fast.Weights(**fields), backend=backend)
    taps, _ = forward_in_parts(transformer, tokens, [len(tokens)])
    assert_taps_within(config, as_views(fields), tokens, taps)
