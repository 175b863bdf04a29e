"""The functions that the object file exports: what each does to memory at the addresses that it is given."""

from ..compiler.jit import jit
from ..tables import FLOAT_BYTES, VECTOR_BYTES, WORD_BYTES
from .elementary import cos_sin, exp
from .records import job_at
from .step import step
from .vectors import double_at, load, put_double, store, zero


@jit
def run_step(job, thread):
    """The share of a thread in a pass of the model."""
    step(job_at(job), thread)


@jit
def run_exp(x, out, count):
    """exp of float32 numbers, whole vectors of them."""
    for i in range(0, count * FLOAT_BYTES, VECTOR_BYTES):
        store(out + i, exp(load(x + i)))


@jit
def run_cos_sin(x, out, count):
    """Cosine and sine, one behind the other, of float64 numbers."""
    for i in range(count):
        c, s = cos_sin(double_at(x + i * WORD_BYTES))
        put_double(out + 2 * i * WORD_BYTES, c)
        put_double(out + (2 * i + 1) * WORD_BYTES, s)


@jit
def run_read(x, count, out):
    """Read so many bytes, a multiple of four vectors, as fast as it goes: what memory can deliver."""
    a, b, c, d = zero(), zero(), zero(), zero()
    for i in range(x, x + count, 4 * VECTOR_BYTES):
        a = a + load(i)
        b = b + load(i + VECTOR_BYTES)
        c = c + load(i + 2 * VECTOR_BYTES)
        d = d + load(i + 3 * VECTOR_BYTES)
    store(out, (a + b) + (c + d))
