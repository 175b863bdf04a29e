"""One pass of the model over a batch of tokens, as every thread of a team runs it.

Rows of the batch are independent: each is a token with its own position and cache. Threads share a product by rows of
its matrix, everything else by rows of the batch or by heads, and meet at barriers between. Where the batch is a single
token, each thread does the small work for itself, into its own buffer, which is cheaper than to meet.
"""

import numpy as np

from .. import fields as f
from ..compiler.jit import jit
from .layers import VECTOR, add, attend, copy, quantize, rmsnorm, rope, swiglu, turns
from .products import product, widen
from .vectors import (
    atomic_add,
    atomic_load,
    byte_at,
    double_at,
    float_at,
    int_at,
    lane,
    load_float16,
    put_float,
    relax,
    yield_core,
)

_PART = 128  # rows of the classifier that a thread takes at a time
_SPINS = 4000  # rounds of waiting after which a thread lets others have its core
f32 = np.float32


@jit
def step(job, me):
    """Run the share of thread `me`, 0 .. team - 1. See `fields` for what a job is."""
    count, layers = int_at(job + f.COUNT), int_at(job + f.LAYERS)
    met = _embed(job, me, count)
    for layer in range(layers):
        met = _attention(job, me, layer, count, met)
        met = _feed_forward(job, me, layer, count, met)
    wanted = int_at(job + f.WANTED)
    if wanted:
        _logits(job, me, wanted, met)


@jit
def _meet(job, met):
    """Wait for all others. `met` counts the meetings of this pass; an aborted one is not waited for."""
    met += 1
    goal = met * int_at(job + f.TEAM)
    if atomic_add(job + f.ARRIVED, 1) + 1 < goal:
        spins = 0
        while atomic_load(job + f.ARRIVED) < goal and atomic_load(job + f.ABORTED) == 0:
            spins += 1
            if spins < _SPINS:
                relax()
            else:
                yield_core()
    return met


@jit
def _share(job, me, rows):
    """First and last row of a product that are this thread's: whole blocks."""
    team, blocks = int_at(job + f.TEAM), (rows + f.LANES - 1) // f.LANES
    last = blocks * (me + 1) // team * f.LANES
    return blocks * me // team * f.LANES, last if last < rows else rows


@jit
def _matrix(job, layer, index):
    """The description of a matrix of a layer."""
    return int_at(job + f.MATRICES) + (1 + layer * f.LAYER_MATRICES + index) * f.MATRIX_SIZE


@jit
def _with_integers(a, b, c):
    """Of matrices that are given the same vectors, one that holds integers, if there is one. (Their groups agree.)"""
    if int_at(a + f.KIND) >= f.INT8:
        return a
    return b if int_at(b + f.KIND) >= f.INT8 else c


@jit
def _own(me, count):
    """The row of a buffer where a thread puts what it makes for itself."""
    return me if count == 1 else 0


# -------------------------------------------------------------------------------------------------------------- phases


@jit
def _embed(job, me, count):
    team, dim = int_at(job + f.TEAM), int_at(job + f.DIM)
    table = int_at(job + f.MATRICES)
    for t in range(me, count, team):
        x = int_at(job + f.X) + t * int_at(job + f.STRIDE_D)
        _embed_row(table, int_at(int_at(job + f.TOKENS) + t * 8), dim, x)
        position = np.float64(int_at(int_at(job + f.POSITIONS) + t * 8))
        half = int_at(job + f.HEAD_SIZE) // 2
        turns(position, int_at(job + f.FREQUENCIES), half, int_at(job + f.TURNS) + t * int_at(job + f.STRIDE_TURNS))
    return _meet(job, 0)


@jit
def _embed_row(m, token, dim, out):
    kind, weights = int_at(m + f.KIND), int_at(m + f.WEIGHTS)
    if kind < f.INT8:
        widen(kind, weights, token * int_at(m + f.COLS), dim, out)
        return
    block, row = token // f.LANES, token % f.LANES
    groups, group, steps = int_at(m + f.GROUPS), int_at(m + f.GROUP), int_at(m + f.STEPS)
    for g in range(groups):
        at, offset, eight = int_at(m + f.SCALES), f32(0), 8
        if kind == f.INT8:
            scale = float_at(at + ((block * groups + g) * f.LANES + row) * 4)
        elif kind == f.INT4:
            scale = lane(load_float16(at + (block * groups + g) * f.LANES * 2), row)
        else:
            at += (block * groups + g) * f.LANES * 4
            scale, offset, eight = lane(load_float16(at), row), lane(load_float16(at + f.LANES * 2), row), 0
        first = (block * groups + g) * steps
        for i in range(group):
            if kind == f.INT8:
                q = byte_at(weights + (first + i // 4) * VECTOR + row * 4 + i % 4)
            else:
                packed = byte_at(weights + (first // 2 + i // 8) * VECTOR + row * 4 + i % 4)
                q = ((packed >> 4) & 15 if i % 8 >= 4 else packed & 15) - eight
            put_float(out + (g * group + i) * 4, f32(q) * scale + offset)


@jit
def _attention(job, me, layer, count, met):
    size = int_at(job + f.HEAD_SIZE)
    q_dim, kv_dim = int_at(job + f.HEADS) * size, int_at(job + f.KV_HEADS) * size
    wq, wk, wv = _matrix(job, layer, 0), _matrix(job, layer, 1), _matrix(job, layer, 2)
    met = _norm(job, me, 2 * layer, count, _with_integers(wq, wk, wv), False, met)
    _tap(job, me, layer, 0, f.H, f.STRIDE_D, count, int_at(job + f.DIM))
    q, k, v = int_at(job + f.Q), int_at(job + f.K), int_at(job + f.V)
    stride, q_stride, kv_stride = int_at(job + f.STRIDE_D), int_at(job + f.STRIDE_Q), int_at(job + f.STRIDE_KV)
    h = int_at(job + f.H) + _own(me, count) * stride
    _products(job, me, wq, h, stride, count, q, q_stride)
    _products(job, me, wk, h, stride, count, k, kv_stride)
    _products(job, me, wv, h, stride, count, v, kv_stride)
    first, last = _share(job, me, q_dim)
    own_first, own_last = _share(job, me, kv_dim)
    for t in range(count):
        table = int_at(job + f.TURNS) + t * int_at(job + f.STRIDE_TURNS)
        rope(q + t * q_stride, first, last, table, size // 2)
        rope(k + t * kv_stride, own_first, own_last, table, size // 2)
        _remember(job, layer, t, own_first, own_last)
    met = _meet(job, met)
    _tap(job, me, layer, 1, f.Q, f.STRIDE_Q, count, q_dim)
    _tap(job, me, layer, 2, f.K, f.STRIDE_KV, count, kv_dim)
    _tap(job, me, layer, 3, f.V, f.STRIDE_KV, count, kv_dim)
    _attend(job, me, layer, count)
    met = _meet(job, met)
    _tap(job, me, layer, 4, f.ATT, f.STRIDE_Q, count, q_dim)
    met = _prepare(job, me, _matrix(job, layer, 3), int_at(job + f.ATT), q_stride, count, met)
    return _residual(job, me, layer, _matrix(job, layer, 3), int_at(job + f.ATT), q_stride, count, 5, met)


@jit
def _feed_forward(job, me, layer, count, met):
    dim, hidden = int_at(job + f.DIM), int_at(job + f.HIDDEN)
    stride, wide = int_at(job + f.STRIDE_D), int_at(job + f.STRIDE_F)
    w1, w3 = _matrix(job, layer, 4), _matrix(job, layer, 6)
    met = _norm(job, me, 2 * layer + 1, count, _with_integers(w1, w3, w3), False, met)
    _tap(job, me, layer, 6, f.H, f.STRIDE_D, count, dim)
    gate, up, h = int_at(job + f.GATE), int_at(job + f.UP), int_at(job + f.H) + _own(me, count) * stride
    _products(job, me, w1, h, stride, count, gate, wide)
    _products(job, me, w3, h, stride, count, up, wide)
    first, last = _share(job, me, hidden)
    for t in range(count):
        swiglu(gate + t * wide, up + t * wide, first, last)
    met = _meet(job, met)
    _tap(job, me, layer, 7, f.GATE, f.STRIDE_F, count, hidden)
    met = _prepare(job, me, _matrix(job, layer, 5), gate, wide, count, met)
    return _residual(job, me, layer, _matrix(job, layer, 5), gate, wide, count, 8, met)


@jit
def _logits(job, me, wanted, met):
    layers, dim = int_at(job + f.LAYERS), int_at(job + f.DIM)
    m = _matrix(job, layers, 0)
    met = _norm(job, me, 2 * layers, wanted, m, True, met)
    _tap(job, me, layers, 0, f.H, f.STRIDE_D, wanted, dim)
    stride = int_at(job + f.STRIDE_D)
    out, wide = int_at(job + f.LOGITS), int_at(job + f.STRIDE_LOGITS)
    _classify(job, me, m, int_at(job + f.H) + _own(me, wanted) * stride, stride, wanted, out, wide)
    _meet(job, met)
    _tap(job, me, layers, 1, f.LOGITS, f.STRIDE_LOGITS, wanted, int_at(m + f.ROWS))


# --------------------------------------------------------------------------------------------------------------- parts


@jit
def _norm(job, me, which, count, m, wanted, met):
    """rmsnorm of the rows, or of the wanted ones, quantized too where a matrix that takes them holds integers."""
    dim, stride = int_at(job + f.DIM), int_at(job + f.STRIDE_D)
    w = int_at(job + f.NORMS) + which * stride
    team, own = int_at(job + f.TEAM), _own(me, count)
    for t in range(0 if count == 1 else me, count, 1 if count == 1 else team):
        row = int_at(int_at(job + f.WANTED_ROWS) + t * 8) if wanted else t
        x, h = int_at(job + f.X) + row * stride, int_at(job + f.H) + (t + own) * stride
        rmsnorm(x, w, double_at(job + f.EPS), dim, h)
        if int_at(m + f.KIND) >= f.INT8:
            _quantize_row(job, m, h, t + own, row)
    return met if count == 1 else _meet(job, met)


@jit
def _prepare(job, me, m, x, stride, count, met):
    """Quantize rows for a matrix that holds integers."""
    if int_at(m + f.KIND) < f.INT8:
        return met
    team, own = int_at(job + f.TEAM), _own(me, count)
    for t in range(0 if count == 1 else me, count, 1 if count == 1 else team):
        _quantize_row(job, m, x + t * stride, t + own, t)
    return met if count == 1 else _meet(job, met)


@jit
def _quantize_row(job, m, x, to, row):
    quants = int_at(job + f.QUANTS) + to * int_at(job + f.STRIDE_QUANTS)
    stride = int_at(job + f.STRIDE_GROUPS)
    scales, sums = int_at(job + f.QUANT_SCALES) + to * stride, int_at(job + f.QUANT_SUMS) + to * stride
    error = int_at(job + f.ERRORS) + row * 8
    quantize(x, int_at(m + f.GROUPS), int_at(m + f.GROUP), int_at(m + f.STEPS), quants, scales, sums, error)


@jit
def _products(job, me, m, x, stride, count, out, out_stride):
    """This thread's rows of a matrix times all vectors x, or what _norm or _prepare has made of them."""
    first, last = _share(job, me, int_at(m + f.ROWS))
    _part(job, me, m, first, last, x, stride, count, out, out_stride)


@jit
def _classify(job, me, m, x, stride, count, out, out_stride):
    """The classifier times all vectors. It is large, and a pass ends with it: whoever is free takes the next rows."""
    rows = int_at(m + f.ROWS)
    first = atomic_add(job + f.CLAIMED, 1) * _PART
    while first < rows:
        last = first + _PART if first + _PART < rows else rows
        _part(job, me, m, first, last, x, stride, count, out, out_stride)
        first = atomic_add(job + f.CLAIMED, 1) * _PART


@jit
def _part(job, me, m, first, last, x, stride, count, out, out_stride):
    """Some rows of a matrix times all vectors."""
    own = _own(me, count)
    quant_stride, group_stride = int_at(job + f.STRIDE_QUANTS), int_at(job + f.STRIDE_GROUPS)
    quants = int_at(job + f.QUANTS) + own * quant_stride
    scales, sums = int_at(job + f.QUANT_SCALES) + own * group_stride, int_at(job + f.QUANT_SUMS) + own * group_stride
    product(m, first, last, x, stride, quants, quant_stride, scales, sums, group_stride, count, out, out_stride)


@jit
def _residual(job, me, layer, m, x, stride, count, tap, met):
    """Add a product to the residual stream."""
    dim, wide, y = int_at(job + f.DIM), int_at(job + f.STRIDE_D), int_at(job + f.Y)
    first, last = _share(job, me, int_at(m + f.ROWS))
    _products(job, me, m, x, stride, count, y, wide)
    for t in range(count):
        add(int_at(job + f.X) + t * wide, y + t * wide, first, last)
    met = _meet(job, met)
    _tap(job, me, layer, tap, f.X, f.STRIDE_D, count, dim)
    return met


@jit
def _remember(job, layer, t, first, last):
    """Put the numbers first..last of a key and a value into the cache of their row."""
    size, kv_heads = int_at(job + f.HEAD_SIZE), int_at(job + f.KV_HEADS)
    position, capacity = int_at(int_at(job + f.POSITIONS) + t * 8), int_at(int_at(job + f.CAPACITIES) + t * 8)
    k = int_at(job + f.K) + t * int_at(job + f.STRIDE_KV)
    v = int_at(job + f.V) + t * int_at(job + f.STRIDE_KV)
    keys, values = int_at(int_at(job + f.KEYS) + t * 8), int_at(int_at(job + f.VALUES) + t * 8)
    width = (size + f.LANES - 1) // f.LANES * VECTOR
    for i in range(first, last):
        head, e = layer * kv_heads + i // size, i % size
        block = (head * capacity + position // 16 * 16) * size * 4
        put_float(keys + block + e * VECTOR + position % 16 * 4, float_at(k + i * 4))
        put_float(values + (head * capacity + position) * width + e * 4, float_at(v + i * 4))


@jit
def _attend(job, me, layer, count):
    """Attention of this thread's share of rows and heads. Neighbours differ in length: they go to different threads."""
    size, heads, kv_heads = int_at(job + f.HEAD_SIZE), int_at(job + f.HEADS), int_at(job + f.KV_HEADS)
    scores = int_at(job + f.SCORES) + me * int_at(job + f.STRIDE_SCORES)
    scale, width = f32(double_at(job + f.SCORE_SCALE)), (size + f.LANES - 1) // f.LANES * VECTOR
    for task in range(me, count * heads, int_at(job + f.TEAM)):
        head, t = task // count, task % count
        position, capacity = int_at(int_at(job + f.POSITIONS) + t * 8), int_at(int_at(job + f.CAPACITIES) + t * 8)
        kv = layer * kv_heads + head // (heads // kv_heads)
        keys = int_at(int_at(job + f.KEYS) + t * 8) + kv * capacity * size * 4
        values = int_at(int_at(job + f.VALUES) + t * 8) + kv * capacity * width
        row = t * int_at(job + f.STRIDE_Q) + head * size * 4
        attend(int_at(job + f.Q) + row, keys, values, position + 1, size, scale, scores, int_at(job + f.ATT) + row)


@jit
def _tap(job, me, layer, index, buffer, stride, count, n):
    """Copy a buffer to where the taps want it, if there are any."""
    taps = int_at(job + f.TAPS)
    if me == 0 and taps:
        to = int_at(taps + (layer * f.TAPS_IN_LAYER + index) * 8)
        for t in range(count):
            copy(int_at(job + buffer) + t * int_at(job + stride), n, to + t * n * 4)
