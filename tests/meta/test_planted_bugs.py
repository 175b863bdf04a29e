"""The tests of the tests: mistakes that people make in such kernels, planted one at a time, must all be caught.

Each row is a mistake, where it is planted, and the fuzz test that must fail then. A test that lets one pass is not
worth its time, however green it is.
"""

import operator
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import hypothesis
import numpy as np
import pytest

import llama2_fast
from fuzz import test_kernels, test_quantize, test_sampler, test_tokenizer, test_transformer
from llama2_fast import kernels, quantize, sampler, tokenizer, transformer

good = {name: getattr(kernels, name) for name in kernels.__all__}
f32 = np.float32


def heads_of(q, keys, n_heads):
    size = q.shape[-1] // n_heads
    return size, keys.shape[-1] // size


def attention_with(
    q, keys, values, n_heads, head=lambda h, group, k: h // group, scale=lambda e: e**-0.5, power=np.exp
):
    """One query at a time, in the plainest way, with places to go wrong."""
    q, keys, values = (np.asarray(a, f32) for a in (q, keys, values))
    if q.ndim == 2:
        before = len(keys) - len(q) + 1
        rows = [
            attention_with(x, keys[: before + i], values[: before + i], n_heads, head, scale, power)
            for i, x in enumerate(q)
        ]
        return np.stack(rows)
    size, n_kv = heads_of(q, keys, n_heads)
    out = []
    for h in range(n_heads):
        shared = head(h, n_heads // n_kv, n_kv) * size
        scores = keys[:, shared : shared + size] @ q[h * size : (h + 1) * size] * f32(scale(size))
        p = power(scores - scores.max())
        out.append((p / p.sum()) @ values[:, shared : shared + size])
    return np.concatenate(out)


def half_split(x, c, s):
    x = np.asarray(x, f32)
    heads = x.reshape(*x.shape[:-1], -1, 2, c.shape[-1])
    a, b, c, s = heads[..., 0, :], heads[..., 1, :], c[..., None, :], s[..., None, :]
    return np.stack((a * c - b * s, a * s + b * c), axis=-2).reshape(x.shape)


def last_tie(x):
    return len(x) - 1 - int(np.argmax(np.asarray(x)[::-1]))


def truncating(x, size):
    x = np.asarray(x, f32)
    groups = x.reshape(*x.shape[:-1], -1, size)
    scale = (np.abs(groups).max(-1) / f32(127)).astype(f32)
    safe = np.where(scale < 2.0**-126, f32(np.inf), scale)
    return np.trunc(groups / safe[..., None]).astype(np.int8).reshape(x.shape), np.where(
        scale < 2.0**-126, f32(0), scale
    )


def half_away(x, size):
    x = np.asarray(x, f32)
    groups = x.reshape(*x.shape[:-1], -1, size)
    _, scale = good["quantize_int8"](x, size)
    t = groups / np.where(scale == 0, f32(np.inf), scale)[..., None]
    return (np.sign(t) * np.floor(np.abs(t) + f32(0.5))).astype(np.int8).reshape(x.shape), scale


def by_reciprocal(x, size):
    x = np.asarray(x, f32)
    _, scale = good["quantize_int8"](x, size)
    inverse = f32(1) / np.where(scale == 0, f32(np.inf), scale)
    return np.rint(x.reshape(*scale.shape, size) * inverse[..., None]).astype(np.int8).reshape(x.shape), scale


def no_smallest(x, size):
    x = np.asarray(x, f32)
    groups = x.reshape(*x.shape[:-1], -1, size)
    scale = (np.abs(groups).max(-1) / f32(127)).astype(f32)
    return np.rint(np.nan_to_num(groups / scale[..., None])).astype(np.int8).reshape(x.shape), scale


def one_kept_too_few(p, topp, coin):
    if not 0 < topp < 1:
        return sampler.sample_mult(p, coin)
    order = np.argsort(-p, kind="stable")
    sums = np.cumsum(p[order], dtype=float)
    kept = max(1, int(np.searchsorted(sums, topp, side="right")))
    return int(order[min(int(np.searchsorted(sums[:kept], coin * sums[kept - 1], side="right")), kept - 1)])


def prefilter_of_llama2_c(p, topp, coin):
    keep = np.flatnonzero(p >= (1 - topp) / max(1, len(p) - 1))
    order = keep[np.argsort(-p[keep], kind="stable")]
    sums = np.cumsum(p[order], dtype=float)
    kept = min(int(np.searchsorted(sums, topp, side="right")) + 1, len(sums))
    return int(order[min(int(np.searchsorted(sums[:kept], coin * sums[kept - 1], side="right")), kept - 1)])


def merged(self, ids, better):
    """Pairs joined one after the other, by a rule for which score is better."""
    ids = list(ids)
    while True:
        best = None
        for i in range(len(ids) - 1):
            joined = self._joined(ids[i], ids[i + 1])
            if joined is not None and (best is None or better(self.scores[joined], self.scores[best[1]])):
                best = i, joined
        if best is None:
            return ids
        ids[best[0] : best[0] + 2] = [best[1]]


def merged_in_one_pass(self, ids):
    """Joins never lead to other joins."""
    out = list(ids[:1])
    for token in ids[1:]:
        joined = self._joined(out[-1], token)
        out[-1:] = [out[-1], token] if joined is None else [joined]
    return out


def kernel(name, wrong):
    return mock.patch.object(kernels, name, wrong)


def method(owner, name, wrong):
    return mock.patch.object(owner, name, wrong)


@contextmanager
def swapped_weights(one, other):
    """The forward pass takes one tensor for another."""
    init = llama2_fast.Transformer.__init__

    def wrong(self, config, weights, *args, **knobs):
        fields = vars(weights) | {one: vars(weights)[other], other: vars(weights)[one]}
        init(self, config, type(weights)(**fields), *args, **knobs)

    with mock.patch.object(llama2_fast.Transformer, "__init__", wrong):
        yield


def _scaled(w, x, factor):
    return good["matmul"](w, x) * f32(factor)


def _no_residual(x, y):
    return np.asarray(y, f32) + 0 * np.asarray(x, f32)


def _stale(self, layer, position, key, value):
    STORE(self, layer, position, key, value)
    if position:
        self._rows[0, layer, position - 1] = key[0]


STORE = transformer.KVCache.store


def whole_models():
    test_transformer.test_every_buffer_keeps_its_bound(backend="numpy")


BUGS = {
    "matmul drops the last column": (
        lambda: kernel("matmul", lambda w, x: good["matmul"](np.asarray(w)[:, :-1], np.asarray(x)[..., :-1])),
        test_kernels.test_matmul_is_exact_on_a_grid,
    ),
    "matmul starts at column 1": (
        lambda: kernel("matmul", lambda w, x: good["matmul"](np.asarray(w)[:, 1:], np.asarray(x)[..., 1:])),
        test_kernels.test_matmul,
    ),
    "matmul in half precision": (
        lambda: kernel("matmul", lambda w, x: (np.asarray(w, np.float16) @ np.asarray(x, np.float16)).astype(f32)),
        test_kernels.test_matmul,
    ),
    "matmul off by one part in a million": (
        lambda: kernel("matmul", lambda w, x: _scaled(w, x, 1 + 1e-6)),
        test_kernels.test_matmul,
    ),
    "matmul of many vectors is transposed": (
        lambda: kernel("matmul", lambda w, x: good["matmul"](w, x)[::-1]),
        test_kernels.test_matmul_of_many_vectors,
    ),
    "add subtracts": (lambda: kernel("add", lambda x, y: np.asarray(x) - np.asarray(y)), test_kernels.test_add),
    "rmsnorm without eps": (
        lambda: kernel("rmsnorm", lambda x, w, eps: good["rmsnorm"](x, w, 1e-30)),
        test_kernels.test_rmsnorm_sums_in_float64,
    ),
    "rmsnorm with another eps": (
        lambda: kernel("rmsnorm", lambda x, w, eps: good["rmsnorm"](x, w, eps * 1.1)),
        test_kernels.test_rmsnorm_sums_in_float64,
    ),
    "rmsnorm with eps outside the root": (
        lambda: kernel(
            "rmsnorm", lambda x, w, eps: w * x / (np.sqrt(np.mean(x * x, -1, dtype=float)) + eps).astype(f32)
        ),
        test_kernels.test_rmsnorm,
    ),
    "rmsnorm divides by n - 1": (
        lambda: kernel(
            "rmsnorm", lambda x, w, eps: good["rmsnorm"](x, w, eps) * f32((1 - 1 / np.asarray(x).shape[-1]) ** 0.5)
        ),
        test_kernels.test_rmsnorm,
    ),
    "rmsnorm without weights": (
        lambda: kernel("rmsnorm", lambda x, w, eps: good["rmsnorm"](x, np.ones_like(w), eps)),
        test_kernels.test_rmsnorm,
    ),
    "rmsnorm sums in float32": (
        lambda: kernel("rmsnorm", lambda x, w, eps: w * (x / np.sqrt(np.mean(x * x, -1, keepdims=True) + f32(eps)))),
        test_kernels.test_rmsnorm_sums_in_float64,
    ),
    "rope turns the other way": (
        lambda: kernel("rope", lambda x, c, s: good["rope"](x, c, -s)),
        test_kernels.test_rope,
    ),
    "rope pairs the halves of a head": (lambda: kernel("rope", half_split), test_kernels.test_rope),
    "rope position is off by one": (
        lambda: kernel("rope_table", lambda p, e, t: good["rope_table"](np.asarray(p) + 1, e, t)),
        test_kernels.test_rope_table,
    ),
    "rope angles in float32": (
        lambda: kernel(
            "rope_table",
            lambda p, e, t: tuple(
                fn(f32(p) * (f32(t) ** (-np.arange(0, e, 2, dtype=f32) / f32(e)))).astype(f32)
                for fn in (np.cos, np.sin)
            ),
        ),
        test_kernels.test_rope_table,
    ),
    "softmax takes off no maximum": (
        lambda: kernel("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        test_kernels.test_softmax,
    ),
    "softmax takes off the first number": (
        lambda: kernel("softmax", lambda x: np.exp(x - x[..., :1]) / np.exp(x - x[..., :1]).sum(-1, keepdims=True)),
        test_kernels.test_softmax,
    ),
    "attention reads head h % K": (
        lambda: kernel("attention", lambda *a: attention_with(*a, head=lambda h, group, k: h % k)),
        test_kernels.test_attention,
    ),
    "attention reads key/value head 0": (
        lambda: kernel("attention", lambda *a: attention_with(*a, head=lambda h, group, k: 0)),
        test_kernels.test_attention,
    ),
    "attention without scale": (
        lambda: kernel("attention", lambda *a: attention_with(*a, scale=lambda e: 1.0)),
        test_kernels.test_attention,
    ),
    "attention scales by 1/E": (
        lambda: kernel("attention", lambda *a: attention_with(*a, scale=lambda e: 1 / e)),
        test_kernels.test_attention,
    ),
    "attention misses the newest key": (
        lambda: kernel(
            "attention",
            lambda q, k, v, h: attention_with(q, k[:-1] if len(k) > 1 else k, v[:-1] if len(v) > 1 else v, h),
        ),
        test_kernels.test_attention,
    ),
    "attention looks at later keys": (
        lambda: mock.patch.object(kernels, "_later", lambda t, s: np.arange(s) > np.arange(s - t, s)[:, None] + 1),
        test_kernels.test_attention_of_many_queries_is_causal,
    ),
    "attention hides a query's own key": (
        lambda: mock.patch.object(
            kernels, "_later", lambda t, s: np.arange(s) >= np.maximum(np.arange(s - t, s), 1)[:, None]
        ),
        test_kernels.test_attention_of_many_queries_is_causal,
    ),
    "silu is x / (1 + exp(-x)) squared": (
        lambda: kernel("silu", lambda x: x / (1 + np.exp(-x)) ** 2),
        test_kernels.test_silu,
    ),
    "silu is NaN where exp overflows": (
        lambda: kernel("silu", lambda x: np.where(x < -88.7, f32(np.nan), good["silu"](x))),
        test_kernels.test_silu,
    ),
    "swiglu takes its arguments in the other order": (
        lambda: kernel("swiglu", lambda a, b: good["swiglu"](b, a)),
        test_kernels.test_swiglu,
    ),
    "argmax takes the last of equals": (lambda: kernel("argmax", last_tie), test_kernels.test_argmax),
    "argmax begins with 0": (
        lambda: kernel("argmax", lambda x: int(np.argmax(np.maximum(x, 0)))),
        test_kernels.test_argmax,
    ),
    "quantize truncates": (
        lambda: kernel("quantize_int8", truncating),
        test_quantize.test_quantize_is_equal_bit_for_bit,
    ),
    "quantize rounds half away": (
        lambda: kernel("quantize_int8", half_away),
        test_quantize.test_quantize_is_equal_bit_for_bit,
    ),
    "quantize multiplies by the reciprocal": (
        lambda: kernel("quantize_int8", by_reciprocal),
        test_quantize.test_quantize_is_equal_bit_for_bit,
    ),
    "quantize knows no smallest maximum": (
        lambda: kernel("quantize_int8", no_smallest),
        test_quantize.test_quantize_is_equal_bit_for_bit,
    ),
    "int8 products take the scale of the next group": (
        lambda: kernel("matmul_int8", lambda w, ws, x, xs: good["matmul_int8"](w, np.roll(ws, 1, -1), x, xs)),
        test_quantize.test_matmul_int8,
    ),
    "int8 sums wrap at 16 bits": (
        lambda: kernel(
            "matmul_int8",
            lambda w, ws, x, xs: (
                np.einsum(
                    "rgc,tgc->trg", *(a.reshape(*s.shape, -1).astype(np.int16) for a, s in ((w, ws), (x, xs)))
                ).astype(f32)
                @ np.ones(ws.shape[-1], f32)
            ),
        ),
        lambda: test_quantize.test_integer_sums_are_exact_in_large_groups(1040, 3),
    ),
    "int8 sums go through float32 in large groups": (
        lambda: mock.patch.object(quantize, "LARGEST_FLOAT32_GROUP", 10**9),
        lambda: test_quantize.test_integer_sums_are_exact_in_large_groups(40_001, 3),
    ),
    "top-p keeps one token too few": (
        lambda: mock.patch.object(sampler, "sample_topp", one_kept_too_few),
        test_sampler.test_tokens_are_equal_on_a_grid,
    ),
    "top-p filters as llama2.c does": (
        lambda: mock.patch.object(sampler, "sample_topp", prefilter_of_llama2_c),
        test_sampler.test_tokens_are_equal_on_a_grid,
    ),
    "a coin may equal the running sum": (
        lambda: mock.patch.object(
            sampler,
            "sample_mult",
            lambda p, coin: min(int(np.searchsorted(np.cumsum(p, dtype=float), coin)), len(p) - 1),
        ),
        test_sampler.test_tokens_are_equal_on_a_grid,
    ),
    "the rightmost of equal pairs is joined": (
        lambda: method(tokenizer.Tokenizer, "_merge", lambda self, ids: merged(self, ids, operator.ge)),
        test_tokenizer.test_encoding_is_equal,
    ),
    "the lowest score is joined first": (
        lambda: method(tokenizer.Tokenizer, "_merge", lambda self, ids: merged(self, ids, operator.lt)),
        test_tokenizer.test_encoding_is_equal,
    ),
    "the first pair is joined, whatever its score": (
        lambda: method(tokenizer.Tokenizer, "_merge", lambda self, ids: merged(self, ids, lambda new, best: False)),
        test_tokenizer.test_encoding_is_equal,
    ),
    "one pass from left to right is enough": (
        lambda: method(tokenizer.Tokenizer, "_merge", merged_in_one_pass),
        test_tokenizer.test_encoding_is_equal,
    ),
    "texts are cut where a token goes on": (
        lambda: method(
            tokenizer.Tokenizer,
            "_split",
            lambda self, text: iter([text[:3], text[3:]]) if len(text) > 3 else iter([text]),
        ),
        test_tokenizer.test_encoding_is_equal,
    ),
    "w1 and w3 are swapped": (lambda: swapped_weights("w1", "w3"), whole_models),
    "wq and wo are swapped": (lambda: swapped_weights("wq", "wo"), whole_models),
    "the norms of a layer are swapped": (lambda: swapped_weights("rms_att_weight", "rms_ffn_weight"), whole_models),
    "the residual is left out": (lambda: kernel("add", _no_residual), whole_models),
    "a stale row stays in the cache": (lambda: method(transformer.KVCache, "store", _stale), whole_models),
    "positions begin anew with every part of a prompt": (
        lambda: kernel("rope_table", lambda p, e, t: good["rope_table"](np.asarray(p) - np.min(p), e, t)),
        whole_models,
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _without_shrinking():
    """A failure is all that is wanted here, not its smallest form."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    before = hypothesis.settings.default
    hypothesis.settings.register_profile("planted", parent=before, phases=phases, report_multiple_bugs=False)
    hypothesis.settings.load_profile("planted")
    yield
    hypothesis.settings.register_profile("before", parent=before)
    hypothesis.settings.load_profile("before")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name):
    plant, test = BUGS[name]
    with plant(), np.errstate(all="ignore"), pytest.raises((AssertionError, IndexError)):
        test()


@pytest.mark.parametrize("test", {id(test): test for _, test in BUGS.values()}.values(), ids=lambda t: t.__name__)
def test_nothing_is_caught_where_nothing_is_planted(test):
    with np.errstate(all="ignore"):
        test()


# What is planted in the source of the compiled engine: file, text, another one, and the kind of weights that shows it.
COMPILED = {
    "keys of the wrong head": ("step.py", "head // (heads // kv_heads)", "head % kv_heads", None),
    "a later position is seen": ("step.py", "position + 1, size", "position + 2, size", None),
    "a residual is left out": ("layers.py", "load(x + i) + load(y + i)", "load(y + i)", None),
    "the scale of attention is left out": ("layers.py", "float_at(q + i * 4) * scale", "float_at(q + i * 4)", None),
    "the last stretch of a row is left out": ("products.py", "range(0, length, 64)", "range(0, length - 64, 64)", None),
    "int8 takes the scale of the first group": ("products.py", "load(w_scales + g * 64)", "load(w_scales)", "int8"),
    "int4 forgets that its numbers are moved": ("products.py", "* _EIGHT)", "* (_EIGHT - _EIGHT))", "int4"),
}
RUN = """
import hypothesis
from hypothesis import HealthCheck, Phase
hypothesis.settings.register_profile(
    "planted", derandomize=True, deadline=None, phases=[Phase.generate], report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis.settings.load_profile("planted")
from fuzz import test_transformer as t
kind = {kind!r}
if kind is None:
    t.test_every_buffer_keeps_its_bound(backend="simd")
else:
    t.test_every_buffer_of_a_quantized_model_keeps_its_bound(backend="simd", kind=kind)
"""


@pytest.mark.parametrize("name", COMPILED)
def test_a_bug_planted_in_the_compiled_engine_is_caught(tmp_path, name):
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    file, right, wrong, kind = COMPILED[name]
    source = Path(llama2_fast.__file__).parents[1]
    for package in ("llama2_ref", "llama2_fast"):
        shutil.copytree(source / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "llama2_fast" / "_simd" / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": paths, "LLAMA2_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", RUN.format(kind=kind)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
