"""Dot products of bytes.

Each of the 16 lanes of the sum belongs to four bytes of both factors: lane i grows by the sum over j < 4 of
w[4i + j] * x[4i + j]. A group of products begins with dot_start; one of nibbles begins with nibble_start and ends
with nibble_sums: between the two a sum may be in whatever form suits the processor.

  AVX-512 VNNI   one instruction, for unsigned w and signed x: signed w are moved by 128, and the sum begins 128 times
                 the sum of x below zero
  AVX2, SSSE3    pairs of products in 16 bits, for unsigned w and signed x: w gives its sign to x
  NEON dotprod   one instruction for signed numbers
  any other      products and sums in 32 bits

x must be in -127..127.
"""

from typing import Any

from llvmlite import ir
from numba import types

from ..compiler.target import has
from .instructions import (
    BIT,
    I8,
    I32,
    INT16,
    INT32,
    broadcast,
    call_intrinsic,
    constant,
    operation,
    per_register,
    pick_lanes,
)

BYTES = I8.llvm.count  # in a vector
_SIXTEEN_BITS = ir.VectorType(INT16, BYTES // 2)  # neighbouring bytes become one number of so many bits
_VNNI = has("avx512f", "avx512bw", "avx512vnni")
_AVX2, _SSSE3, _DOTPROD = has("avx2"), has("ssse3"), has("dotprod")


@operation(I32, types.int32)
def dot_start(builder, x_total):
    """The sum before the first dot4; x_total is the sum of all bytes x that will follow, over all four of a lane."""
    if _VNNI:
        return broadcast(builder, builder.mul(x_total, ir.Constant(INT32, -128)), I32.llvm)
    return constant(I32.llvm, 0)


@operation(I32, I32, I8, I8)
def dot4(builder, sums, w, x):
    """Add the products of signed bytes: w in -128..127."""
    if _VNNI:
        moved = builder.xor(w, constant(I8.llvm, -128))
        return call_intrinsic(builder, "llvm.x86.avx512.vpdpbusd.512", I32.llvm, sums, moved, x)
    if _AVX2 or _SSSE3:
        size = call_intrinsic(builder, "llvm.abs.v64i8", I8.llvm, w, ir.Constant(BIT, 0))
        return builder.add(sums, _widen(builder, _pairs(builder, size, _with_sign(builder, x, w))))
    if _DOTPROD:
        return per_register(builder, 128, "llvm.aarch64.neon.sdot.v4i32.v16i8", sums, w, x)
    return _dot4_plain(builder, sums, builder.sext(w, ir.VectorType(INT32, BYTES)), x)


@operation(I32)
def nibble_start(builder):
    """The sum before the first dot4_nibbles."""
    return constant(I32.llvm, 0)


@operation(I32, I32, I8, I8)
def dot4_nibbles(builder, sums, w, x):
    """Add the products of w in 0..15 and x. After eight of them nibble_sums must be taken."""
    if _VNNI:
        return call_intrinsic(builder, "llvm.x86.avx512.vpdpbusd.512", I32.llvm, sums, w, x)
    if _AVX2 or _SSSE3:  # eight times 2 * 15 * 127 fits into 16 bits
        return builder.bitcast(builder.add(builder.bitcast(sums, _SIXTEEN_BITS), _pairs(builder, w, x)), I32.llvm)
    if _DOTPROD:
        return per_register(builder, 128, "llvm.aarch64.neon.sdot.v4i32.v16i8", sums, w, x)
    return _dot4_plain(builder, sums, builder.zext(w, ir.VectorType(INT32, BYTES)), x)


@operation(I32, I32)
def nibble_sums(builder, sums):
    """The sums of up to eight dot4_nibbles, as integers."""
    if not _VNNI and (_AVX2 or _SSSE3):
        return _widen(builder, builder.bitcast(sums, _SIXTEEN_BITS))
    return sums


@operation(I8, I8)
def low_nibbles(builder, a):
    """The lower four bits of each byte: 0..15."""
    return builder.and_(a, constant(I8.llvm, 15))


@operation(I8, I8)
def high_nibbles(builder, a):
    """The upper four bits of each byte: 0..15."""
    shifted = builder.lshr(builder.bitcast(a, _SIXTEEN_BITS), constant(_SIXTEEN_BITS, 4))
    return builder.and_(builder.bitcast(shifted, I8.llvm), constant(I8.llvm, 15))


def _pairs(builder: Any, unsigned: Any, signed: Any) -> Any:
    """Products of neighbouring bytes, added in pairs of 16 bits (which would saturate)."""
    if _AVX2:
        result = ir.VectorType(INT16, 16)
        return per_register(builder, 256, "llvm.x86.avx2.pmadd.ub.sw", unsigned, signed, result=result)
    result = ir.VectorType(INT16, 8)
    return per_register(builder, 128, "llvm.x86.ssse3.pmadd.ub.sw.128", unsigned, signed, result=result)


def _with_sign(builder: Any, x: Any, w: Any) -> Any:
    """x where w is positive, -x where it is negative, 0 where it is 0."""
    if _AVX2:
        return per_register(builder, 256, "llvm.x86.avx2.psign.b", x, w)
    return per_register(builder, 128, "llvm.x86.ssse3.psign.b.128", x, w)


def _widen(builder: Any, pairs: Any) -> Any:
    """Neighbouring 16-bit numbers, added in 32 bits."""
    ones = constant(_SIXTEEN_BITS, 1)
    if _AVX2:
        return per_register(builder, 256, "llvm.x86.avx2.pmadd.wd", pairs, ones, result=ir.VectorType(INT32, 8))
    return per_register(builder, 128, "llvm.x86.sse2.pmadd.wd", pairs, ones, result=ir.VectorType(INT32, 4))


def _dot4_plain(builder: Any, sums: Any, w: Any, x: Any) -> Any:
    products = builder.mul(w, builder.sext(x, ir.VectorType(INT32, BYTES)))
    for j in range(4):
        sums = builder.add(sums, pick_lanes(builder, products, range(j, BYTES, 4)))
    return sums
