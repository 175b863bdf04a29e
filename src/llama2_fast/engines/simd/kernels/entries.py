"""The functions that the object file exports: what each does to memory at the addresses that it is given."""

from ..compiler.jit import jit
from .elementary import cos_sin, exp
from .step import step
from .vectors import double_at, load, put_double, store, zero


@jit
def run_step(job, me):
    """The share of a thread in a pass of the model."""
    step(job, me)


@jit
def run_exp(x, out, count):
    """exp of float32 numbers, whole vectors of them."""
    for i in range(0, count * 4, 64):
        store(out + i, exp(load(x + i)))


@jit
def run_cos_sin(x, out, count):
    """Cosine and sine, one behind the other, of float64 numbers."""
    for i in range(count):
        c, s = cos_sin(double_at(x + i * 8))
        put_double(out + i * 16, c)
        put_double(out + i * 16 + 8, s)


@jit
def run_read(x, count, out):
    """Read so many bytes, a multiple of 256, as fast as it goes: what memory can deliver."""
    a, b, c, d = zero(), zero(), zero(), zero()
    for i in range(x, x + count, 256):
        a = a + load(i)
        b = b + load(i + 64)
        c = c + load(i + 128)
        d = d + load(i + 192)
    store(out, (a + b) + (c + d))
