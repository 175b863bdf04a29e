"""A small language of SIMD vectors inside compiled Python.

A value of type F32 holds 16 float32 numbers, I32 16 integers, I8 64 bytes, F64 8 float64 numbers. LLVM keeps each in
one AVX-512 register, two of AVX2 or four of SSE and NEON, without changing what a lane computes: the bits of a result
do not depend on the width of the machine. `+ - * /` work lane by lane and round once; `fma(a, b, c)` is a * b + c,
rounded once; nothing is re-associated or contracted. Sums over lanes follow one fixed tree.

Memory is addressed by plain integers, the byte address of a number. Whoever calls a kernel vouches for the buffers.

What depends on the kind of processor is in this module, too: `dot4`, `dot4_nibbles` and what belongs to them,
float16 and `relax`. Whichever instructions a processor has, results are the same.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from ..compiler.target import has
from ..fields import LANES

_BIT, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_FLOAT, _DOUBLE, _VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()


class Vector(types.Type):
    """The numba type of a SIMD value: so many elements of one LLVM type."""

    def __init__(self, name: str, element: Any, lanes: int) -> None:
        self.llvm = ir.VectorType(element, lanes)
        super().__init__(name=name)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


F32, I32, I8 = Vector("F32", _FLOAT, LANES), Vector("I32", _I32, LANES), Vector("I8", _I8, 4 * LANES)
F64, MASK, HALF = Vector("F64", _DOUBLE, 8), Vector("Mask", _BIT, LANES), Vector("Half", _FLOAT, LANES // 2)


def _operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make an intrinsic out of a function of an IR builder and LLVM values: it takes and gives the named types."""

    def decorate(emit: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            out = emit(builder, *values)
            return context.get_dummy_value() if result is types.void else out

        # numba looks at the number of parameters, so they must be written out.
        names = ", ".join("abcdefgh"[: len(arguments)])
        space: dict[str, Any] = {"answer": (result(*arguments), codegen)}
        exec(f"def {emit.__name__}(typing{', ' * bool(names)}{names}): return answer", space)
        made = space[emit.__name__]
        made.__doc__, made.__module__ = emit.__doc__, __name__
        return intrinsic(made)

    return decorate


def _intrinsic(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(_pointer(builder, address, kind), align=align)


def _store(builder: Any, address: Any, value: Any, align: int) -> None:
    builder.store(value, _pointer(builder, address, value.type), align=align)


def _constant(kind: Any, value: Any) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _splat(builder: Any, scalar: Any, kind: Any) -> Any:
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count))


def _lanes(builder: Any, value: Any, indices: Any) -> Any:
    """The named lanes of a vector, as a shorter one."""
    index = ir.Constant(ir.VectorType(_I32, len(indices)), list(indices))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), index)


def _join(builder: Any, parts: list[Any]) -> Any:
    """Vectors of one length, one behind the other."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        index = ir.Constant(ir.VectorType(_I32, n), list(range(n)))
        parts = [builder.shuffle_vector(a, b, index) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _tree(builder: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine all lanes: the upper half with the lower one, until one is left."""
    while (half := value.type.count // 2) > 1:
        value = combine(_lanes(builder, value, range(half)), _lanes(builder, value, range(half, 2 * half)))
    ends = [builder.extract_element(value, ir.Constant(_I32, i)) for i in (0, 1)]
    return combine(*ends)


def _per_register(builder: Any, bits: int, name: str, *values: Any, result: Any = None) -> Any:
    """Apply an instruction that takes registers of so many bits, and gives `result`, to each part of the values."""
    count = 512 // bits
    parts = []
    for i in range(count):
        part = [_lanes(builder, v, range(i * v.type.count // count, (i + 1) * v.type.count // count)) for v in values]
        parts.append(_intrinsic(builder, name, result or part[0].type, *part))
    return _join(builder, parts)


# -------------------------------------------------------------------------------------------------------------- memory


@_operation(F32, types.int64)
def load(builder, address):
    """16 float32 numbers."""
    return _load(builder, address, F32.llvm, 4)


@_operation(types.void, types.int64, F32)
def store(builder, address, value):
    """Put 16 float32 numbers."""
    _store(builder, address, value, 4)


@_operation(F32, types.int64)
def load_float16(builder, address):
    """16 float16 numbers, as float32: exact."""
    return _load_float16(builder, address, F32.llvm)


@_operation(F32, types.int64)
def load_bfloat16(builder, address):
    """16 bfloat16 numbers, as float32: exact."""
    return _load_bfloat16(builder, address, F32.llvm)


def _load_float16(builder: Any, address: Any, wide: Any) -> Any:
    """By shifts and one product where there is no instruction for it."""
    if has("f16c") or has("avx512f") or has("neon"):
        return builder.fpext(_load(builder, address, ir.VectorType(ir.HalfType(), wide.count), 2), wide)
    integers = ir.VectorType(_I32, wide.count)
    bits = builder.zext(_load(builder, address, ir.VectorType(_I16, wide.count), 2), integers)
    sign = builder.shl(builder.and_(bits, _constant(integers, 0x8000)), _constant(integers, 16))
    size = builder.shl(builder.and_(bits, _constant(integers, 0x7FFF)), _constant(integers, 13))
    finite = builder.icmp_unsigned("<", size, _constant(integers, 0x1F << 23))
    size = builder.fmul(builder.bitcast(size, wide), _constant(wide, 2.0**112))  # another bias of the exponent
    size = builder.bitcast(size, integers)
    size = builder.select(finite, size, builder.or_(size, _constant(integers, 0xFF << 23)))
    return builder.bitcast(builder.or_(size, sign), wide)


def _load_bfloat16(builder: Any, address: Any, wide: Any) -> Any:
    integers = ir.VectorType(_I32, wide.count)
    bits = builder.zext(_load(builder, address, ir.VectorType(_I16, wide.count), 2), integers)
    return builder.bitcast(builder.shl(bits, _constant(integers, 16)), wide)


@_operation(types.float32, F32, types.int64)
def lane(builder, a, i):
    """One lane."""
    return builder.extract_element(a, builder.trunc(i, _I32))


@_operation(I8, types.int64)
def load_bytes(builder, address):
    """64 bytes."""
    return _load(builder, address, I8.llvm, 1)


@_operation(types.void, types.int64, I32)
def store_bytes(builder, address, value):
    """Put 16 integers as bytes; all must be in -128..127."""
    _store(builder, address, builder.trunc(value, ir.VectorType(_I8, LANES)), 1)


@_operation(I8, types.int64)
def splat4(builder, address):
    """The four bytes at an address, 16 times."""
    return builder.bitcast(_splat(builder, _load(builder, address, _I32, 1), I32.llvm), I8.llvm)


@_operation(types.void, types.int64)
def prefetch(builder, address):
    """Ask for the line at an address, which need not exist, to be brought into the cache."""
    pointer = _pointer(builder, address, _I8)
    constants = (ir.Constant(_I32, value) for value in (0, 3, 1))  # to read, to keep, data
    _intrinsic(builder, "llvm.prefetch.p0", _VOID, pointer, *constants)


def _scalar(kind: Any, element: Any, size: int) -> tuple[Any, Any]:
    """Operations that load and put one number of so many bytes."""

    @_operation(kind, types.int64)
    def number_at(builder, address):
        return _load(builder, address, element, size)

    @_operation(types.void, types.int64, kind)
    def put_number(builder, address, value):
        _store(builder, address, value, size)

    return number_at, put_number


float_at, put_float = _scalar(types.float32, _FLOAT, 4)
double_at, put_double = _scalar(types.float64, _DOUBLE, 8)
int32_at, put_int32 = _scalar(types.int32, _I32, 4)
int_at, _ = _scalar(types.int64, _I64, 8)


@_operation(types.int64, types.int64)
def byte_at(builder, address):
    """One byte, as a signed number."""
    return builder.sext(_load(builder, address, _I8, 1), _I64)


# ---------------------------------------------------------------------------------------------------------- arithmetic


@_operation(F32)
def zero(builder):
    """16 float32 zeros."""
    return _constant(F32.llvm, 0.0)


@_operation(F32, types.float32)
def splat(builder, x):
    """The same float32 number 16 times."""
    return _splat(builder, x, F32.llvm)


@_operation(I32, types.int32)
def splat_int(builder, x):
    """The same integer 16 times."""
    return _splat(builder, x, I32.llvm)


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


@_operation(F32, F32, F32, F32)
def fma(builder, a, b, c):
    """a * b + c in each lane, rounded once."""
    return _intrinsic(builder, f"llvm.fma.v{LANES}f32", F32.llvm, a, b, c)


@_operation(HALF)
def zero_half(builder):
    """Eight float32 zeros."""
    return _constant(HALF.llvm, 0.0)


@_operation(HALF, types.int64)
def load_half(builder, address):
    """Eight float32 numbers: the first or the last lanes of a vector."""
    return _load(builder, address, HALF.llvm, 4)


@_operation(HALF, types.int64)
def load_half_float16(builder, address):
    """Eight float16 numbers, as float32: exact."""
    return _load_float16(builder, address, HALF.llvm)


@_operation(HALF, types.int64)
def load_half_bfloat16(builder, address):
    """Eight bfloat16 numbers, as float32: exact."""
    return _load_bfloat16(builder, address, HALF.llvm)


@_operation(HALF, HALF, HALF, HALF)
def fma_half(builder, a, b, c):
    """a * b + c in each of eight lanes, rounded once."""
    return _intrinsic(builder, "llvm.fma.v8f32", HALF.llvm, a, b, c)


@_operation(types.float32, HALF, HALF)
def total_halves(builder, low, high):
    """The sum of all lanes of a vector in two halves: the same bits as `total` of the whole."""
    return _tree(builder, builder.fadd(low, high), builder.fadd)


@_operation(F64, F64, F64, F64)
def fma_double(builder, a, b, c):
    """a * b + c in each lane, rounded once."""
    return _intrinsic(builder, "llvm.fma.v8f64", F64.llvm, a, b, c)


@_operation(types.float64, types.float64, types.float64, types.float64)
def fma_scalar(builder, a, b, c):
    """a * b + c of float64 numbers, rounded once."""
    return _intrinsic(builder, "llvm.fma.f64", _DOUBLE, a, b, c)


@_operation(types.float64, types.float64)
def root(builder, x):
    """The square root, correctly rounded as IEEE 754 asks for."""
    return _intrinsic(builder, "llvm.sqrt.f64", _DOUBLE, x)


@_operation(F32, F32)
def absolute(builder, a):
    """|a| in each lane."""
    return _intrinsic(builder, f"llvm.fabs.v{LANES}f32", F32.llvm, a)


@_operation(MASK, F32, F32)
def less(builder, a, b):
    """a < b in each lane; not so where one is NaN."""
    return builder.fcmp_ordered("<", a, b)


@_operation(F32, MASK, F32, F32)
def choose(builder, mask, a, b):
    """a where the mask is set, else b."""
    return builder.select(mask, a, b)


@_operation(MASK, types.int64)
def first_lanes(builder, count):
    """Set in the first `count` lanes."""
    limit = _splat(builder, builder.trunc(count, _I32), I32.llvm)
    return builder.icmp_signed("<", ir.Constant(I32.llvm, list(range(LANES))), limit)


@_operation(types.float32, F32)
def total(builder, a):
    """The sum of all lanes."""
    return _tree(builder, a, builder.fadd)


@_operation(types.float64, F64)
def total_double(builder, a):
    """The sum of all lanes."""
    return _tree(builder, a, builder.fadd)


@_operation(types.int32, I32)
def total_int(builder, a):
    """The sum of all lanes."""
    return _tree(builder, a, builder.add)


@_operation(types.float32, F32)
def largest(builder, a):
    """The greatest lane; no lane may be NaN."""
    return _tree(builder, a, lambda x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y))


@_operation(F32, I32)
def to_float(builder, a):
    """Integers as float32 numbers, rounded to nearest."""
    return builder.sitofp(a, F32.llvm)


@_operation(I32, F32)
def to_int(builder, a):
    """Whole float32 numbers as integers; all must be in the range of 32 bits."""
    return builder.fptosi(a, I32.llvm)


@_operation(F32, I32)
def power_of_two(builder, n):
    """2^n in each lane, for n in -126..127."""
    biased = builder.add(n, _constant(I32.llvm, 127))
    return builder.bitcast(builder.shl(biased, _constant(I32.llvm, 23)), F32.llvm)


@_operation(F64, F32)
def lower_half(builder, a):
    """The first eight lanes, as float64 numbers."""
    return builder.fpext(_lanes(builder, a, range(8)), F64.llvm)


@_operation(F64, F32)
def upper_half(builder, a):
    """The last eight lanes, as float64 numbers."""
    return builder.fpext(_lanes(builder, a, range(8, LANES)), F64.llvm)


@_operation(F64, types.float64)
def splat_double(builder, x):
    """The same float64 number eight times."""
    return _splat(builder, x, F64.llvm)


@_operation(F32, F64, F64)
def from_halves(builder, low, high):
    """Sixteen float64 numbers, rounded to float32."""
    half = ir.VectorType(_FLOAT, 8)
    return _join(builder, [builder.fptrunc(low, half), builder.fptrunc(high, half)])


# ----------------------------------------------------------------------------------------------- dot products of bytes
#
# Each of the 16 lanes of the sum belongs to four bytes of both factors: lane i grows by the sum over j < 4 of
# w[4i + j] * x[4i + j]. A group of products begins with dot_start; one of nibbles begins with nibble_start and ends
# with nibble_sums: between the two a sum may be in whatever form suits the processor.
#
#   AVX-512 VNNI   one instruction, for unsigned w and signed x: signed w are moved by 128, and the sum begins 128 times
#                  the sum of x below zero
#   AVX2, SSSE3    pairs of products in 16 bits, for unsigned w and signed x: w gives its sign to x
#   NEON dotprod   one instruction for signed numbers
#   any other      products and sums in 32 bits
#
# x must be in -127..127.

_VNNI = has("avx512f", "avx512bw", "avx512vnni")
_AVX2, _SSSE3, _DOTPROD = has("avx2"), has("ssse3"), has("dotprod")


@_operation(I32, types.int32)
def dot_start(builder, x_total):
    """The sum before the first dot4; x_total is the sum of all bytes x that will follow, over all four of a lane."""
    if _VNNI:
        return _splat(builder, builder.mul(x_total, ir.Constant(_I32, -128)), I32.llvm)
    return _constant(I32.llvm, 0)


@_operation(I32, I32, I8, I8)
def dot4(builder, sums, w, x):
    """Add the products of signed bytes: w in -128..127."""
    if _VNNI:
        moved = builder.xor(w, _constant(I8.llvm, -128))
        return _intrinsic(builder, "llvm.x86.avx512.vpdpbusd.512", I32.llvm, sums, moved, x)
    if _AVX2 or _SSSE3:
        size = _intrinsic(builder, "llvm.abs.v64i8", I8.llvm, w, ir.Constant(_BIT, 0))
        return builder.add(sums, _widen(builder, _pairs(builder, size, _with_sign(builder, x, w))))
    if _DOTPROD:
        return _per_register(builder, 128, "llvm.aarch64.neon.sdot.v4i32.v16i8", sums, w, x)
    return _dot4_plain(builder, sums, builder.sext(w, ir.VectorType(_I32, 64)), x)


@_operation(I32)
def nibble_start(builder):
    """The sum before the first dot4_nibbles."""
    return _constant(I32.llvm, 0)


@_operation(I32, I32, I8, I8)
def dot4_nibbles(builder, sums, w, x):
    """Add the products of w in 0..15 and x. After eight of them nibble_sums must be taken."""
    if _VNNI:
        return _intrinsic(builder, "llvm.x86.avx512.vpdpbusd.512", I32.llvm, sums, w, x)
    if _AVX2 or _SSSE3:  # eight times 2 * 15 * 127 fits into 16 bits
        pairs = ir.VectorType(_I16, 32)
        return builder.bitcast(builder.add(builder.bitcast(sums, pairs), _pairs(builder, w, x)), I32.llvm)
    if _DOTPROD:
        return _per_register(builder, 128, "llvm.aarch64.neon.sdot.v4i32.v16i8", sums, w, x)
    return _dot4_plain(builder, sums, builder.zext(w, ir.VectorType(_I32, 64)), x)


@_operation(I32, I32)
def nibble_sums(builder, sums):
    """The sums of up to eight dot4_nibbles, as integers."""
    if not _VNNI and (_AVX2 or _SSSE3):
        return _widen(builder, builder.bitcast(sums, ir.VectorType(_I16, 32)))
    return sums


@_operation(I8, I8)
def low_nibbles(builder, a):
    """The lower four bits of each byte: 0..15."""
    return builder.and_(a, _constant(I8.llvm, 15))


@_operation(I8, I8)
def high_nibbles(builder, a):
    """The upper four bits of each byte: 0..15."""
    words = ir.VectorType(_I16, 32)
    shifted = builder.lshr(builder.bitcast(a, words), _constant(words, 4))
    return builder.and_(builder.bitcast(shifted, I8.llvm), _constant(I8.llvm, 15))


def _pairs(builder: Any, unsigned: Any, signed: Any) -> Any:
    """Products of neighbouring bytes, added in pairs of 16 bits (which would saturate)."""
    if _AVX2:
        result = ir.VectorType(_I16, 16)
        return _per_register(builder, 256, "llvm.x86.avx2.pmadd.ub.sw", unsigned, signed, result=result)
    result = ir.VectorType(_I16, 8)
    return _per_register(builder, 128, "llvm.x86.ssse3.pmadd.ub.sw.128", unsigned, signed, result=result)


def _with_sign(builder: Any, x: Any, w: Any) -> Any:
    """x where w is positive, -x where it is negative, 0 where it is 0."""
    if _AVX2:
        return _per_register(builder, 256, "llvm.x86.avx2.psign.b", x, w)
    return _per_register(builder, 128, "llvm.x86.ssse3.psign.b.128", x, w)


def _widen(builder: Any, pairs: Any) -> Any:
    """Neighbouring 16-bit numbers, added in 32 bits."""
    ones = _constant(ir.VectorType(_I16, 32), 1)
    if _AVX2:
        return _per_register(builder, 256, "llvm.x86.avx2.pmadd.wd", pairs, ones, result=ir.VectorType(_I32, 8))
    return _per_register(builder, 128, "llvm.x86.sse2.pmadd.wd", pairs, ones, result=ir.VectorType(_I32, 4))


def _dot4_plain(builder: Any, sums: Any, w: Any, x: Any) -> Any:
    products = builder.mul(w, builder.sext(x, ir.VectorType(_I32, 64)))
    for j in range(4):
        sums = builder.add(sums, _lanes(builder, products, range(j, 64, 4)))
    return sums


# ------------------------------------------------------------------------------------------------------------- threads


@_operation(types.int64, types.int64, types.int64)
def atomic_add(builder, address, value):
    """Add to the integer at an address, and return what it was."""
    return builder.atomic_rmw("add", _pointer(builder, address, _I64), value, "seq_cst")


@_operation(types.int64, types.int64)
def atomic_load(builder, address):
    """The integer at an address; what another thread wrote before it is seen after this."""
    return builder.load_atomic(_pointer(builder, address, _I64), "acquire", 8)


@_operation(types.void)
def relax(builder):
    """Tell the core that this loop only waits."""
    if has("sse2"):
        _intrinsic(builder, "llvm.x86.sse2.pause", _VOID)


@_operation(types.void)
def yield_core(builder):
    """Let another thread have this core."""
    _intrinsic(builder, "llama2_twins_yield", _I32)
