"""One pass of the model over a batch of tokens, as every thread of a team runs it.

Rows of the batch are independent: each is a token with its own position and cache. Threads share a product by rows of
its matrix, everything else by rows of the batch or by heads, and wait for each other at barriers between. Where the
batch is a single token, each thread does the small work for itself, into a row of its own, which is cheaper than a
barrier.
"""

import numpy as np

from ..compiler.jit import jit
from ..tables import (
    FLOAT_BYTES,
    INT8,
    LANES,
    MATRICES_IN_LAYER,
    MATRIX,
    TAP_ATT,
    TAP_ATT_NORM,
    TAP_FFN_NORM,
    TAP_FINAL_NORM,
    TAP_GATE,
    TAP_K,
    TAP_LOGITS,
    TAP_OUT,
    TAP_Q,
    TAP_V,
    TAP_X1,
    TAPS_IN_LAYER,
    VECTOR_BYTES,
    W1,
    W2,
    W3,
    WK,
    WO,
    WORD_BYTES,
    WQ,
    WV,
)
from .attention import attend, value_bytes
from .float_products import float_product, widen_row
from .int_products import int_product
from .operands import Buffer, HeadCache, Quantized, Rows, Vectors, quantized_from, row_at
from .packed_rows import unpack_row
from .records import item, matrix_at
from .rows import add, copy, fill_rope_table, quantize, rmsnorm, rope, swiglu
from .vectors import atomic_add, atomic_load, float_at, put_float, relax, yield_core

f32 = np.float32
_PART = 128  # rows of the classifier that a thread takes at a time
_SPINS = 4000  # rounds of waiting after which a thread lets others have its core
_MATRIX_BYTES = MATRIX.size


@jit
def step(job, thread):
    """Run the share of a thread, 0 .. job.threads - 1. See `tables` for what a job is."""
    count = job.count
    barriers_passed = _embed(job, thread, count)
    for layer in range(job.layers):
        barriers_passed = _attention(job, thread, layer, count, barriers_passed)
        barriers_passed = _feed_forward(job, thread, layer, count, barriers_passed)
    wanted = job.wanted
    if wanted:
        _logits(job, thread, wanted, barriers_passed)


@jit
def _barrier(job, barriers_passed):
    """Wait for all other threads, unless the pass is aborted. Returns how many barriers of this pass lie behind."""
    barriers_passed += 1
    goal = barriers_passed * job.threads
    if atomic_add(job.arrived, 1) + 1 < goal:
        spins = 0
        while atomic_load(job.arrived) < goal and atomic_load(job.aborted) == 0:
            spins += 1
            if spins < _SPINS:
                relax()
            else:
                yield_core()
    return barriers_passed


@jit
def _share(job, thread, rows):
    """The rows of a product that are this thread's: whole blocks."""
    threads, blocks = job.threads, (rows + LANES - 1) // LANES
    last = blocks * (thread + 1) // threads * LANES
    return Rows(blocks * thread // threads * LANES, last if last < rows else rows)


@jit
def _matrix(job, layer, number):
    """A matrix of a layer; wcls is the first one behind the last layer."""
    return matrix_at(job.matrices + (1 + layer * MATRICES_IN_LAYER + number) * _MATRIX_BYTES)


@jit
def _holds_integers(m):
    return m.layout >= INT8


@jit
def _with_integers(a, b, c):
    """Of matrices that are given the same vectors, one that holds integers, if there is one.

    (choose.py has checked that their groups have one size.)
    """
    if _holds_integers(a):
        return a
    return b if _holds_integers(b) else c


@jit
def _scratch_row(thread, count):
    """The row of a buffer where a thread puts what it makes for itself."""
    return thread if count == 1 else 0


@jit
def _scratch(job, thread, count):
    """Buffer h, from the row of this thread on."""
    return Buffer(job.h + _scratch_row(thread, count) * job.dim_stride, job.dim_stride)


@jit
def _quantized(job, row):
    """The buffers of quantized vectors, from a row on."""
    return quantized_from(
        Quantized(job.quants, job.quants_stride, job.quant_scales, job.quant_sums, job.groups_stride), row
    )


# -------------------------------------------------------------------------------------------------------------- phases


@jit
def _embed(job, thread, count):
    dim, table = job.dim, matrix_at(job.matrices)
    for t in range(thread, count, job.threads):
        x, token = job.x + t * job.dim_stride, item(job.tokens, t)
        if _holds_integers(table):
            unpack_row(table, token, x)
        else:
            widen_row(table, token, dim, x)
        position, half = np.float64(item(job.positions, t)), job.head_size // 2
        fill_rope_table(position, job.frequencies, half, job.rope_table + t * job.rope_stride)
    return _barrier(job, 0)


@jit
def _attention(job, thread, layer, count, barriers_passed):
    q_dim, kv_dim = job.heads * job.head_size, job.kv_heads * job.head_size
    wq, wk, wv = _matrix(job, layer, WQ), _matrix(job, layer, WK), _matrix(job, layer, WV)
    wo = _matrix(job, layer, WO)
    q, att = Buffer(job.q, job.q_stride), Buffer(job.att, job.q_stride)
    k, v = Buffer(job.k, job.kv_stride), Buffer(job.v, job.kv_stride)
    barriers_passed = _norm(job, thread, 2 * layer, count, _with_integers(wq, wk, wv), False, barriers_passed)
    _tap(job, thread, layer, TAP_ATT_NORM, Buffer(job.h, job.dim_stride), count, job.dim)
    h = _scratch(job, thread, count)
    _product(job, thread, wq, h, count, q)
    _product(job, thread, wk, h, count, k)
    _product(job, thread, wv, h, count, v)
    _rope(job, thread, layer, count, q, k, _share(job, thread, q_dim), _share(job, thread, kv_dim))
    barriers_passed = _barrier(job, barriers_passed)
    _tap(job, thread, layer, TAP_Q, q, count, q_dim)
    _tap(job, thread, layer, TAP_K, k, count, kv_dim)
    _tap(job, thread, layer, TAP_V, v, count, kv_dim)
    _attend(job, thread, layer, count)
    barriers_passed = _barrier(job, barriers_passed)
    _tap(job, thread, layer, TAP_ATT, att, count, q_dim)
    barriers_passed = _quantize_activations(job, thread, wo, att, count, barriers_passed)
    return _residual(job, thread, layer, wo, att, count, TAP_X1, barriers_passed)


@jit
def _feed_forward(job, thread, layer, count, barriers_passed):
    w1, w2, w3 = _matrix(job, layer, W1), _matrix(job, layer, W2), _matrix(job, layer, W3)
    gate, up = Buffer(job.gate, job.hidden_stride), Buffer(job.up, job.hidden_stride)
    barriers_passed = _norm(job, thread, 2 * layer + 1, count, _with_integers(w1, w3, w3), False, barriers_passed)
    _tap(job, thread, layer, TAP_FFN_NORM, Buffer(job.h, job.dim_stride), count, job.dim)
    h = _scratch(job, thread, count)
    _product(job, thread, w1, h, count, gate)
    _product(job, thread, w3, h, count, up)
    share = _share(job, thread, job.hidden_dim)
    for t in range(count):
        swiglu(row_at(gate, t), row_at(up, t), share.first, share.last)
    barriers_passed = _barrier(job, barriers_passed)
    _tap(job, thread, layer, TAP_GATE, gate, count, job.hidden_dim)
    barriers_passed = _quantize_activations(job, thread, w2, gate, count, barriers_passed)
    return _residual(job, thread, layer, w2, gate, count, TAP_OUT, barriers_passed)


@jit
def _logits(job, thread, wanted, barriers_passed):
    layers = job.layers
    wcls, logits = _matrix(job, layers, 0), Buffer(job.logits, job.logits_stride)
    barriers_passed = _norm(job, thread, 2 * layers, wanted, wcls, True, barriers_passed)
    _tap(job, thread, layers, TAP_FINAL_NORM, Buffer(job.h, job.dim_stride), wanted, job.dim)
    _classify(job, thread, wcls, _scratch(job, thread, wanted), wanted, logits)
    _barrier(job, barriers_passed)
    _tap(job, thread, layers, TAP_LOGITS, logits, wanted, wcls.rows)


# --------------------------------------------------------------------------------------------------------------- parts


@jit
def _norm(job, thread, which, count, m, wanted, barriers_passed):
    """rmsnorm of the rows, or of the wanted ones, quantized too where a matrix that takes them holds integers."""
    dim, stride = job.dim, job.dim_stride
    w = job.norms + which * stride
    scratch = _scratch_row(thread, count)
    for t in range(0 if count == 1 else thread, count, 1 if count == 1 else job.threads):
        row = item(job.wanted_rows, t) if wanted else t
        h = job.h + (t + scratch) * stride
        rmsnorm(job.x + row * stride, w, job.eps, dim, h)
        if _holds_integers(m):
            quantize(h, m, _quantized(job, t + scratch), job.errors + row * WORD_BYTES)
    return barriers_passed if count == 1 else _barrier(job, barriers_passed)


@jit
def _quantize_activations(job, thread, m, x, count, barriers_passed):
    """Quantize rows for a matrix that holds integers."""
    if not _holds_integers(m):
        return barriers_passed
    scratch = _scratch_row(thread, count)
    for t in range(0 if count == 1 else thread, count, 1 if count == 1 else job.threads):
        quantize(row_at(x, t), m, _quantized(job, t + scratch), job.errors + t * WORD_BYTES)
    return barriers_passed if count == 1 else _barrier(job, barriers_passed)


@jit
def _product(job, thread, m, x, count, out):
    """This thread's rows of a matrix times all vectors x, or what they have been quantized to."""
    _part(job, thread, m, _share(job, thread, m.rows), x, count, out)


@jit
def _classify(job, thread, m, x, count, out):
    """The classifier times all vectors. It is large, and a pass ends with it: whoever is free takes the next rows."""
    rows = m.rows
    first = atomic_add(job.claimed, 1) * _PART
    while first < rows:
        last = first + _PART if first + _PART < rows else rows
        _part(job, thread, m, Rows(first, last), x, count, out)
        first = atomic_add(job.claimed, 1) * _PART


@jit
def _part(job, thread, m, rows, x, count, out):
    """Some rows of a matrix times all vectors. The first row must begin a block."""
    vectors = Vectors(count, x, _quantized(job, _scratch_row(thread, count)))
    if _holds_integers(m):
        int_product(m, rows, vectors, out)
    else:
        float_product(m, rows, vectors, out)


@jit
def _residual(job, thread, layer, m, x, count, tap, barriers_passed):
    """Add a product to the residual stream."""
    dim, residual, y = job.dim, Buffer(job.x, job.dim_stride), Buffer(job.y, job.dim_stride)
    _product(job, thread, m, x, count, y)
    share = _share(job, thread, m.rows)
    for t in range(count):
        add(row_at(residual, t), row_at(y, t), share.first, share.last)
    barriers_passed = _barrier(job, barriers_passed)
    _tap(job, thread, layer, tap, residual, count, dim)
    return barriers_passed


@jit
def _rope(job, thread, layer, count, q, k, q_share, kv_share):
    """Rotate this thread's part of queries and keys, and put its keys and values into the caches."""
    half = job.head_size // 2
    for t in range(count):
        table = job.rope_table + t * job.rope_stride
        rope(row_at(q, t), q_share.first, q_share.last, table, half)
        rope(row_at(k, t), kv_share.first, kv_share.last, table, half)
        _store_kv(job, layer, t, kv_share)


@jit
def _store_kv(job, layer, t, share):
    """Put some numbers of a key and a value into the cache of their row: see `kv_cache` for its layout."""
    size, kv_heads = job.head_size, job.kv_heads
    position, capacity = item(job.positions, t), item(job.capacities, t)
    k, v = job.k + t * job.kv_stride, job.v + t * job.kv_stride
    keys, values = item(job.keys, t), item(job.values, t)
    width = value_bytes(size)
    for i in range(share.first, share.last):
        head, e = layer * kv_heads + i // size, i % size
        block = (head * capacity + position // LANES * LANES) * size * FLOAT_BYTES
        key_place = keys + block + e * VECTOR_BYTES + position % LANES * FLOAT_BYTES
        put_float(key_place, float_at(k + i * FLOAT_BYTES))
        value_place = values + (head * capacity + position) * width + e * FLOAT_BYTES
        put_float(value_place, float_at(v + i * FLOAT_BYTES))


@jit
def _attend(job, thread, layer, count):
    """Attention of this thread's share of rows and heads. Neighbours differ in length: they go to different threads."""
    size, heads, kv_heads = job.head_size, job.heads, job.kv_heads
    scores, scale = job.scores + thread * job.scores_stride, f32(job.score_scale)
    for task in range(thread, count * heads, job.threads):
        head, t = task // count, task % count
        position, capacity = item(job.positions, t), item(job.capacities, t)
        kv = layer * kv_heads + head // (heads // kv_heads)
        keys = item(job.keys, t) + kv * capacity * size * FLOAT_BYTES
        values = item(job.values, t) + kv * capacity * value_bytes(size)
        row = t * job.q_stride + head * size * FLOAT_BYTES
        attend(job.q + row, HeadCache(keys, values, position + 1), size, scale, scores, job.att + row)


@jit
def _tap(job, thread, layer, number, buffer, count, n):
    """Copy a buffer to where the taps want it, if there are any."""
    if thread == 0 and job.taps:
        to = item(job.taps, layer * TAPS_IN_LAYER + number)
        for t in range(count):
            copy(row_at(buffer, t), n, to + t * n * FLOAT_BYTES)
