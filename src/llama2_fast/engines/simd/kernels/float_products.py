"""Matrices of floats times vectors.

However many vectors, rows and threads there are, one number of the result is computed in one way: lane l of 16 partial
sums takes columns l, l + 16, l + 32 ... by fused multiply-add; then the fixed tree. float16 and bfloat16 weights become
float32 first: the same bits as if they had been expanded. Tiles only decide what is computed next to what.
"""

from ..compiler.jit import jit
from ..tables import FLOAT16, FLOAT32, FLOAT_BYTES, LANES, VECTOR_BYTES
from .float_formats import (
    bfloat16_numbers,
    float16_numbers,
    float32_numbers,
    load_half_weights,
    load_weights,
    number_bytes,
)
from .operands import Buffer, FloatRows, Rows, row_at
from .vectors import (
    fma,
    fma_half,
    keep_apart,
    load,
    load_half,
    prefetch,
    put_float,
    store,
    total,
    total_halves,
    zero,
    zero_half,
)

TILE_ROWS, TILE_VECTORS = 4, 3  # of a tile: twelve sums, which is what the registers of AVX2 and NEON hold
_HALF_VECTOR = VECTOR_BYTES // 2
_CACHE = 2**18  # bytes of vectors that stay in the second cache
_PORTION = 4 * TILE_VECTORS  # vectors: a portion that stays in the cache is a multiple of this
_STRETCH = 2**12  # bytes of a row at a time, times seven for all rows and vectors of a tile


@jit
def float_product(m, rows, x, out):
    """Some rows of a matrix of floats times all vectors."""
    if m.layout == FLOAT32:
        _multiply(float32_numbers(), m, rows, x, out)
    elif m.layout == FLOAT16:
        _multiply(float16_numbers(), m, rows, x, out)
    else:
        _multiply(bfloat16_numbers(), m, rows, x, out)


@jit
def widen_row(m, row, count, out):
    """The first numbers of a row of a matrix of floats as float32, in whole vectors."""
    if m.layout == FLOAT32:
        _widen_row(float32_numbers(), m, row, count, out)
    elif m.layout == FLOAT16:
        _widen_row(float16_numbers(), m, row, count, out)
    else:
        _widen_row(bfloat16_numbers(), m, row, count, out)


@jit
def _widen_row(numbers, m, row, count, out):
    first = row * m.cols
    for i in range(0, count, LANES):
        store(out + i * FLOAT_BYTES, load_weights(numbers, m.weights + (first + i) * number_bytes(numbers)))


@jit
def _multiply(numbers, m, rows, x, out):
    """Portions of the vectors that stay in the cache while the rows pass; few vectors one by one."""
    w = FloatRows(numbers, m.weights, m.cols * number_bytes(numbers), m.cols * FLOAT_BYTES)
    if x.tokens < TILE_VECTORS:
        for t in range(x.tokens):
            _times_vector(w, rows, row_at(x.floats, t), row_at(out, t))
        return
    portion = _vectors_in_cache(w.vector_bytes)
    for start in range(0, x.tokens, portion):
        end = start + portion if start + portion < x.tokens else x.tokens
        for row in range(rows.first, rows.last, TILE_ROWS):
            if row + TILE_ROWS <= rows.last:
                _four_rows(
                    _rows_from(w, row), start, end, x.floats, Buffer(out.address + row * FLOAT_BYTES, out.stride)
                )
            else:
                for t in range(start, end):
                    _times_vector(w, Rows(row, rows.last), row_at(x.floats, t), row_at(out, t))


@jit
def _vectors_in_cache(vector_bytes):
    """How many vectors stay in the second cache while the rows of a matrix pass."""
    portion = _CACHE // vector_bytes // _PORTION * _PORTION
    return portion if portion else _PORTION


@jit
def _rows_from(w, row):
    return FloatRows(w.numbers, w.address + row * w.stride, w.stride, w.vector_bytes)


@jit
def _four_rows(w, start, end, x, out):
    """Four rows times the vectors start..end."""
    t = start
    while t + TILE_VECTORS <= end:
        _tile(w, Buffer(row_at(x, t), x.stride), Buffer(row_at(out, t), out.stride))
        t += TILE_VECTORS
    while t < end:
        _four_dots(w, row_at(x, t), row_at(out, t))
        t += 1


@jit
def _times_vector(w, rows, x, out):
    """Some rows times one vector."""
    row = rows.first
    while row + TILE_ROWS <= rows.last:
        _four_dots(_rows_from(w, row), x, out + row * FLOAT_BYTES)
        row += TILE_ROWS
    while row < rows.last:
        put_float(out + row * FLOAT_BYTES, _dot(_rows_from(w, row), x))
        row += 1


@jit
def _dot(w, x):
    """One row times one vector."""
    a, at = zero(), w.address
    for j in range(0, w.vector_bytes, VECTOR_BYTES):
        a = fma(load_weights(w.numbers, at), load(x + j), a)
        at += LANES * number_bytes(w.numbers)
    return total(a)


@jit
def _four_dots(w, x, out):
    """Four rows times one vector; the next four are asked for."""
    w0, w1, w2, w3 = w.address, w.address + w.stride, w.address + 2 * w.stride, w.address + 3 * w.stride
    ahead = w.address + 4 * w.stride
    a, b, c, d = zero(), zero(), zero(), zero()
    for j in range(0, w.vector_bytes, VECTOR_BYTES):
        i = j // FLOAT_BYTES * number_bytes(w.numbers)
        prefetch(ahead + i)
        prefetch(ahead + w.stride + i)
        prefetch(ahead + 2 * w.stride + i)
        prefetch(ahead + 3 * w.stride + i)
        v = load(x + j)
        a = fma(load_weights(w.numbers, w0 + i), v, a)
        b = fma(load_weights(w.numbers, w1 + i), v, b)
        c = fma(load_weights(w.numbers, w2 + i), v, c)
        d = fma(load_weights(w.numbers, w3 + i), v, d)
    put_float(out, total(a))
    put_float(out + FLOAT_BYTES, total(b))
    put_float(out + 2 * FLOAT_BYTES, total(c))
    put_float(out + 3 * FLOAT_BYTES, total(d))


@jit
def _tile(w, x, out):
    """Four rows times three vectors.

    The first eight lanes of a stretch of columns, then the last eight: twelve sums at a time. A stretch of all that is
    read stays in the first cache.
    """
    keep_apart()
    o = zero_half()
    low, high = (o, o, o, o, o, o, o, o, o, o, o, o), (o, o, o, o, o, o, o, o, o, o, o, o)
    for start in range(0, w.vector_bytes, _STRETCH):
        end = start + _STRETCH if start + _STRETCH < w.vector_bytes else w.vector_bytes
        low = _half_tile(w, x, start, end, low)
        high = _half_tile(w, x, start + _HALF_VECTOR, end, high)
    _put_sums(out.address, low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3])
    _put_sums(row_at(out, 1), low[4], low[5], low[6], low[7], high[4], high[5], high[6], high[7])
    _put_sums(row_at(out, 2), low[8], low[9], low[10], low[11], high[8], high[9], high[10], high[11])


@jit
def _half_tile(w, x, start, end, sums):
    """Add eight lanes of each vector of a stretch, which begins and ends at so many bytes of a vector."""
    a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2 = sums
    w0, w1, w2, w3 = w.address, w.address + w.stride, w.address + 2 * w.stride, w.address + 3 * w.stride
    x0, x1, x2 = x.address, x.address + x.stride, x.address + 2 * x.stride
    for j in range(start, end, VECTOR_BYTES):
        i = j // FLOAT_BYTES * number_bytes(w.numbers)
        u, v, y = load_half(x0 + j), load_half(x1 + j), load_half(x2 + j)
        r = load_half_weights(w.numbers, w0 + i)
        a0, a1, a2 = fma_half(r, u, a0), fma_half(r, v, a1), fma_half(r, y, a2)
        r = load_half_weights(w.numbers, w1 + i)
        b0, b1, b2 = fma_half(r, u, b0), fma_half(r, v, b1), fma_half(r, y, b2)
        r = load_half_weights(w.numbers, w2 + i)
        c0, c1, c2 = fma_half(r, u, c0), fma_half(r, v, c1), fma_half(r, y, c2)
        r = load_half_weights(w.numbers, w3 + i)
        d0, d1, d2 = fma_half(r, u, d0), fma_half(r, v, d1), fma_half(r, y, d2)
    return a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2


@jit
def _put_sums(out, a, b, c, d, e, f, g, h):
    put_float(out, total_halves(a, e))
    put_float(out + FLOAT_BYTES, total_halves(b, f))
    put_float(out + 2 * FLOAT_BYTES, total_halves(c, g))
    put_float(out + 3 * FLOAT_BYTES, total_halves(d, h))
