"""A small language of SIMD vectors inside compiled Python.

A value of type F32 holds 16 float32 numbers, I32 16 integers, I8 64 bytes, F64 8 float64 numbers. LLVM keeps each in
one AVX-512 register, two of AVX2 or four of SSE and NEON, without changing what a lane computes: the bits of a result
do not depend on the width of the machine. `+ - * /` work lane by lane and round once; `fma(a, b, c)` is a * b + c,
rounded once; nothing is re-associated or contracted. Sums over lanes follow one fixed tree.

Memory is addressed by plain integers, the byte address of a number. Whoever calls a kernel vouches for the buffers.

Whichever instructions a processor has, results are the same. `byte_dots` has the products of bytes.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable

from ..compiler.target import has
from ..tables import FLOAT_BYTES, HALF_BYTES, LANES, WORD_BYTES
from .instructions import (
    BYTE,
    DOUBLE,
    F32,
    F64,
    FLOAT,
    HALF,
    I8,
    I32,
    INT16,
    INT32,
    INT64,
    MASK,
    VOID,
    Vector,
    broadcast,
    call_intrinsic,
    combine_lanes,
    constant,
    join,
    load_value,
    operation,
    pick_lanes,
    pointer_to,
    store_value,
)

# -------------------------------------------------------------------------------------------------------------- memory


@operation(F32, types.int64)
def load(builder, address):
    """16 float32 numbers."""
    return load_value(builder, address, F32.llvm, FLOAT_BYTES)


@operation(types.void, types.int64, F32)
def store(builder, address, value):
    """Put 16 float32 numbers."""
    store_value(builder, address, value, FLOAT_BYTES)


@operation(F32, types.int64)
def load_float16(builder, address):
    """16 float16 numbers, as float32: exact."""
    return load_float16_value(builder, address, F32.llvm)


def load_float16_value(builder: Any, address: Any, wide: Any) -> Any:
    """float16 numbers as LLVM's vector of float32: exact. By shifts and a product where no instruction does it."""
    if has("f16c") or has("avx512f") or has("neon"):
        return builder.fpext(load_value(builder, address, ir.VectorType(ir.HalfType(), wide.count), HALF_BYTES), wide)
    integers = ir.VectorType(INT32, wide.count)
    bits = builder.zext(load_value(builder, address, ir.VectorType(INT16, wide.count), HALF_BYTES), integers)
    sign = builder.shl(builder.and_(bits, constant(integers, 0x8000)), constant(integers, 16))
    size = builder.shl(builder.and_(bits, constant(integers, 0x7FFF)), constant(integers, 13))
    finite = builder.icmp_unsigned("<", size, constant(integers, 0x1F << 23))
    size = builder.fmul(builder.bitcast(size, wide), constant(wide, 2.0**112))  # another bias of the exponent
    size = builder.bitcast(size, integers)
    size = builder.select(finite, size, builder.or_(size, constant(integers, 0xFF << 23)))
    return builder.bitcast(builder.or_(size, sign), wide)


def load_bfloat16_value(builder: Any, address: Any, wide: Any) -> Any:
    """bfloat16 numbers as LLVM's vector of float32: exact."""
    integers = ir.VectorType(INT32, wide.count)
    bits = builder.zext(load_value(builder, address, ir.VectorType(INT16, wide.count), HALF_BYTES), integers)
    return builder.bitcast(builder.shl(bits, constant(integers, 16)), wide)


@operation(types.float32, F32, types.int64)
def lane(builder, a, i):
    """One lane."""
    return builder.extract_element(a, builder.trunc(i, INT32))


@operation(I8, types.int64)
def load_bytes(builder, address):
    """64 bytes."""
    return load_value(builder, address, I8.llvm, 1)


@operation(types.void, types.int64, I32)
def store_bytes(builder, address, value):
    """Put 16 integers as bytes; all must be in -128..127."""
    store_value(builder, address, builder.trunc(value, ir.VectorType(BYTE, LANES)), 1)


@operation(I8, types.int64)
def splat4(builder, address):
    """The four bytes at an address, 16 times."""
    return builder.bitcast(broadcast(builder, load_value(builder, address, INT32, 1), I32.llvm), I8.llvm)


@operation(types.void)
def keep_apart(builder):
    """Keep the function in which this stands out of those that call it, whose numbers would take its registers."""
    builder.function.attributes.add("noinline")


@operation(types.void, types.int64)
def prefetch(builder, address):
    """Ask for the line at an address, which need not exist, to be brought into the cache."""
    pointer = pointer_to(builder, address, BYTE)
    constants = (ir.Constant(INT32, value) for value in (0, 3, 1))  # to read, to keep, data
    call_intrinsic(builder, "llvm.prefetch.p0", VOID, pointer, *constants)


def _scalar(kind: Any, element: Any, size: int) -> tuple[Any, Any]:
    """Operations that load and put one number of so many bytes."""

    @operation(kind, types.int64)
    def number_at(builder, address):
        return load_value(builder, address, element, size)

    @operation(types.void, types.int64, kind)
    def put_number(builder, address, value):
        store_value(builder, address, value, size)

    return number_at, put_number


float_at, put_float = _scalar(types.float32, FLOAT, FLOAT_BYTES)
double_at, put_double = _scalar(types.float64, DOUBLE, WORD_BYTES)
int32_at, put_int32 = _scalar(types.int32, INT32, FLOAT_BYTES)
int_at, _ = _scalar(types.int64, INT64, WORD_BYTES)


@operation(types.int64, types.int64)
def byte_at(builder, address):
    """One byte, as a signed number."""
    return builder.sext(load_value(builder, address, BYTE, 1), INT64)


# ---------------------------------------------------------------------------------------------------------- arithmetic


@operation(F32)
def zero(builder):
    """16 float32 zeros."""
    return constant(F32.llvm, 0.0)


@operation(F32, types.float32)
def splat(builder, x):
    """The same float32 number 16 times."""
    return broadcast(builder, x, F32.llvm)


@operation(I32, types.int32)
def splat_int(builder, x):
    """The same integer 16 times."""
    return broadcast(builder, x, I32.llvm)


def _arithmetic(symbol: Callable[..., Any], kind: Vector, instruction: str) -> None:
    """Let an operator of Python mean an instruction for this kind of vector."""

    @type_callable(symbol)
    def type_operator(context: Any) -> Any:
        return lambda a, b: kind if a is kind and b is kind else None

    @lower_builtin(symbol, kind, kind)
    def lower_operator(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return getattr(builder, instruction)(*values)


for _kind, _prefix in ((F32, "f"), (F64, "f"), (I32, "")):
    _arithmetic(operator.add, _kind, _prefix + "add")
    _arithmetic(operator.sub, _kind, _prefix + "sub")
    _arithmetic(operator.mul, _kind, _prefix + "mul")
_arithmetic(operator.truediv, F32, "fdiv")


@operation(F32, F32, F32, F32)
def fma(builder, a, b, c):
    """a * b + c in each lane, rounded once."""
    return call_intrinsic(builder, f"llvm.fma.v{LANES}f32", F32.llvm, a, b, c)


@operation(HALF)
def zero_half(builder):
    """Eight float32 zeros."""
    return constant(HALF.llvm, 0.0)


@operation(HALF, types.int64)
def load_half(builder, address):
    """Eight float32 numbers: the first or the last lanes of a vector."""
    return load_value(builder, address, HALF.llvm, FLOAT_BYTES)


@operation(HALF, HALF, HALF, HALF)
def fma_half(builder, a, b, c):
    """a * b + c in each of eight lanes, rounded once."""
    return call_intrinsic(builder, f"llvm.fma.v{LANES // 2}f32", HALF.llvm, a, b, c)


@operation(types.float32, HALF, HALF)
def total_halves(builder, low, high):
    """The sum of all lanes of a vector in two halves: the same bits as `total` of the whole."""
    return combine_lanes(builder, builder.fadd(low, high), builder.fadd)


@operation(F64, F64, F64, F64)
def fma_double(builder, a, b, c):
    """a * b + c in each lane, rounded once."""
    return call_intrinsic(builder, f"llvm.fma.v{LANES // 2}f64", F64.llvm, a, b, c)


@operation(types.float64, types.float64, types.float64, types.float64)
def fma_scalar(builder, a, b, c):
    """a * b + c of float64 numbers, rounded once."""
    return call_intrinsic(builder, "llvm.fma.f64", DOUBLE, a, b, c)


@operation(types.float64, types.float64)
def root(builder, x):
    """The square root, correctly rounded as IEEE 754 asks for."""
    return call_intrinsic(builder, "llvm.sqrt.f64", DOUBLE, x)


@operation(F32, F32)
def absolute(builder, a):
    """|a| in each lane."""
    return call_intrinsic(builder, f"llvm.fabs.v{LANES}f32", F32.llvm, a)


@operation(MASK, F32, F32)
def less(builder, a, b):
    """a < b in each lane; not so where one is NaN."""
    return builder.fcmp_ordered("<", a, b)


@operation(F32, MASK, F32, F32)
def choose(builder, mask, a, b):
    """a where the mask is set, else b."""
    return builder.select(mask, a, b)


@operation(MASK, types.int64)
def first_lanes(builder, count):
    """Set in the first `count` lanes."""
    limit = broadcast(builder, builder.trunc(count, INT32), I32.llvm)
    return builder.icmp_signed("<", ir.Constant(I32.llvm, list(range(LANES))), limit)


@operation(types.float32, F32)
def total(builder, a):
    """The sum of all lanes."""
    return combine_lanes(builder, a, builder.fadd)


@operation(types.float64, F64)
def total_double(builder, a):
    """The sum of all lanes."""
    return combine_lanes(builder, a, builder.fadd)


@operation(types.int32, I32)
def total_int(builder, a):
    """The sum of all lanes."""
    return combine_lanes(builder, a, builder.add)


@operation(types.float32, F32)
def largest(builder, a):
    """The greatest lane; no lane may be NaN."""
    return combine_lanes(builder, a, lambda x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y))


@operation(F32, I32)
def to_float(builder, a):
    """Integers as float32 numbers, rounded to nearest."""
    return builder.sitofp(a, F32.llvm)


@operation(I32, F32)
def to_int(builder, a):
    """Whole float32 numbers as integers; all must be in the range of 32 bits."""
    return builder.fptosi(a, I32.llvm)


@operation(F32, I32)
def power_of_two(builder, n):
    """2^n in each lane, for n in -126..127."""
    biased = builder.add(n, constant(I32.llvm, 127))
    return builder.bitcast(builder.shl(biased, constant(I32.llvm, 23)), F32.llvm)


@operation(F64, F32)
def lower_half(builder, a):
    """The first eight lanes, as float64 numbers."""
    return builder.fpext(pick_lanes(builder, a, range(LANES // 2)), F64.llvm)


@operation(F64, F32)
def upper_half(builder, a):
    """The last eight lanes, as float64 numbers."""
    return builder.fpext(pick_lanes(builder, a, range(LANES // 2, LANES)), F64.llvm)


@operation(F64, types.float64)
def splat_double(builder, x):
    """The same float64 number eight times."""
    return broadcast(builder, x, F64.llvm)


@operation(F32, F64, F64)
def from_halves(builder, low, high):
    """Sixteen float64 numbers, rounded to float32."""
    half = HALF.llvm
    return join(builder, [builder.fptrunc(low, half), builder.fptrunc(high, half)])


# ------------------------------------------------------------------------------------------------------------- threads


@operation(types.int64, types.int64, types.int64)
def atomic_add(builder, address, value):
    """Add to the integer at an address, and return what it was."""
    return builder.atomic_rmw("add", pointer_to(builder, address, INT64), value, "seq_cst")


@operation(types.int64, types.int64)
def atomic_load(builder, address):
    """The integer at an address; what another thread wrote before it is seen after this."""
    return builder.load_atomic(pointer_to(builder, address, INT64), "acquire", WORD_BYTES)


@operation(types.void)
def relax(builder):
    """Tell the core that this loop only waits."""
    if has("sse2"):
        call_intrinsic(builder, "llvm.x86.sse2.pause", VOID)


@operation(types.void)
def yield_core(builder):
    """Let another thread have this core."""
    call_intrinsic(builder, "llama2_twins_yield", INT32)
