"""GGML's other blocks of numbers: what the integers in them stand for, and blocks of 8 and 4 bits made of floats.

`dtypes` has the types that models keep in memory. All others are read as floats, and become Q8_0. A block is some
groups of (scale, minus, integers), of which number i is scale * integers[i] - minus, rounded to float32;
`GROUPS` has a function for each type that makes those groups of the bytes of a block. Names of types and the order of
bits are those of llama.cpp, which defines them. Numbers of IQ1 to IQ3 are entries of tables that the gguf package has.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_float
from functools import cache, partial
from math import floor, isfinite, trunc
from typing import Any

from ..errors import NumericsError
from ..support.extras import import_extra
from .dtypes import BLOCK
from .gguf_container import GGML_TYPES

Group = tuple[float, float, Sequence[float]]

TABLE_4_BITS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
FLOATS_4_BITS = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # E2M1, doubled
INTEGERS = {"Q8_0": "int8", "Q4_0": "int4"}  # the kinds of matrices whose integers are those of blocks
INT8_MOST = 2.0**22  # numbers that are to become int8 are below it, so that scales are float16 numbers
MOST = {"Q8_0": 127 * 65504, "Q4_0": 8 * 65504}  # so that a scale is a float16 number


def expand(ggml_type: str, data: memoryview) -> Iterator[float]:
    """The float32 numbers of blocks of a type in GROUPS."""
    for block in _parts(data, BLOCK_BYTES[ggml_type]):
        for scale, minus, integers in GROUPS[ggml_type](bytes(block)):
            for integer in integers:
                yield _float32(scale * integer - minus)


def to_q8_0(ggml_type: str, data: memoryview, rows: int) -> bytes:
    """Blocks of a type in GROUPS as blocks of Q8_0. Raises NumericsError if a number is not finite below INT8_MOST."""
    out = []
    for part in _parts(data, len(data) // rows):
        row = list(expand(ggml_type, part))
        for number in row:
            if not abs(number) < INT8_MOST:  # written so that NaN is refused, too
                raise NumericsError(f"numbers must be finite, and below {INT8_MOST:g}, to become int8 (got {number})")
        out.append(blocks_of_floats(row, "Q8_0"))
    return b"".join(out)


def _float32(x: float) -> float:
    """x, rounded to the nearest float32."""
    return c_float(x).value


def _float16(data: bytes, at: int) -> float:
    """The float16 number at a place."""
    return float(struct.unpack_from("<e", data, at)[0])


def _parts(data: Any, size: int) -> list[Any]:
    """Pieces of so many elements."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def _bits(data: bytes, width: int, run: int) -> list[int]:
    """Small integers of so many bits: from `run` bytes first the lowest bits of each, then the next ones."""
    return [
        byte >> shift & (1 << width) - 1
        for part in _parts(data, run)
        for shift in range(0, 8, width)
        for byte in part
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------- integers, one scale


def _q5(data: bytes, offset: bool) -> Iterator[Group]:
    """Q5_0 and Q5_1: float16 d (and m), a fifth bit of each of 32 integers, the lower four."""
    start = 4 if offset else 2
    high = int.from_bytes(data[start : start + 4], "little")
    low = _bits(data[start + 4 :], 4, 16)
    integers = [n | (high >> i & 1) << 4 for i, n in enumerate(low)]
    if offset:
        yield _float16(data, 0), -_float16(data, 2), integers
    else:
        yield _float16(data, 0), 0.0, [n - 16 for n in integers]


def _ternary_5(data: bytes) -> Iterator[Group]:
    """TQ1_0: five numbers of -1, 0, 1 in a byte, as digits of a fraction; float16 d."""
    digits = []
    for part, powers in ((data[:32], 5), (data[32:48], 5), (data[48:52], 4)):
        digits += [(byte * 3**power & 255) * 3 >> 8 for power in range(powers) for byte in part]
    yield _float16(data, 52), 0.0, [digit - 1 for digit in digits]


def _ternary_4(data: bytes) -> Iterator[Group]:
    """TQ2_0: four numbers of -1, 0, 1 in a byte; float16 d."""
    yield _float16(data, 64), 0.0, [n - 1 for n in _bits(data[:64], 2, 32)]


def _mxfp4(data: bytes) -> Iterator[Group]:
    """MXFP4: an exponent, then 32 floats of 4 bits, doubled (Open Compute, Microscaling Formats v1.0)."""
    yield 2.0 ** (data[0] - 128), 0.0, [FLOATS_4_BITS[n] for n in _bits(data[1:], 4, 16)]


def _nvfp4(data: bytes) -> Iterator[Group]:
    """NVFP4: four scales of 8 bits (unsigned E4M3), then four groups of 16 floats of 4 bits, doubled."""
    for byte, part in zip(data[:4], _parts(data[4:], 8), strict=True):
        exponent, fraction = byte >> 3 & 15, (byte & 7) / 8
        scale = fraction * 2.0**-7 if exponent == 0 else (1 + fraction) * 2.0 ** (exponent - 8)
        yield (0.0 if byte == 0x7F else scale), 0.0, [FLOATS_4_BITS[n] for n in _bits(part, 4, 8)]


def _iq4_nl(data: bytes) -> Iterator[Group]:
    """IQ4_NL: float16 d, 32 places in a table."""
    yield _float16(data, 0), 0.0, [TABLE_4_BITS[n] for n in _bits(data[2:], 4, 16)]


# ---------------------------------------------------------------------------------------------------- K: blocks of 256


def _q2_k(data: bytes) -> Iterator[Group]:
    """Q2_K: 16 times 4 bits of a scale and 4 of a minus, the integers, float16 d and dmin."""
    d, dmin = _float16(data, 80), _float16(data, 82)
    for byte, integers in zip(data[:16], _parts(_bits(data[16:80], 2, 32), 16), strict=True):
        yield _float32(d * (byte & 15)), _float32(dmin * (byte >> 4)), integers


def _q3_k(data: bytes) -> Iterator[Group]:
    """Q3_K: the third bits, where 1 is for 4 more, the lower two, 16 scales of 6 bits, float16 d."""
    low_scales, high_scales = _bits(data[96:104], 4, 8), _bits(data[104:108], 2, 4)
    scales = [low | high << 4 for low, high in zip(low_scales, high_scales, strict=True)]
    pairs = zip(_bits(data[32:96], 2, 32), _bits(data[:32], 1, 32), strict=True)
    integers = [low - (0 if high else 4) for low, high in pairs]
    d = _float16(data, 108)
    for scale, part in zip(scales, _parts(integers, 16), strict=True):
        yield _float32(d * (scale - 32)), 0.0, part


def _six_bits(data: bytes) -> Iterator[tuple[int, int]]:
    """Eight pairs of 6 bits, a scale and a minus, from the 12 bytes of Q4_K and Q5_K."""
    first, second, third = _parts(data, 4)
    for a, b in zip(first, second, strict=True):
        yield a & 63, b & 63
    for a, b, c in zip(first, second, third, strict=True):
        yield c & 15 | a >> 2 & 48, c >> 4 | b >> 2 & 48


def _q4_k(data: bytes, fifth: bool) -> Iterator[Group]:
    """Q4_K and Q5_K: float16 d and dmin, 8 times a scale and a minus, (the fifth bits,) the lower four."""
    d, dmin = _float16(data, 0), _float16(data, 2)
    integers = _bits(data[48 if fifth else 16 :], 4, 32)
    if fifth:
        integers = [low | high << 4 for low, high in zip(integers, _bits(data[16:48], 1, 32), strict=True)]
    for (scale, minus), part in zip(_six_bits(data[4:16]), _parts(integers, 32), strict=True):
        yield _float32(d * scale), _float32(dmin * minus), part


def _q6_k(data: bytes) -> Iterator[Group]:
    """Q6_K: the lower four bits, the upper two, 16 scales of 8 bits, float16 d."""
    pairs = zip(_bits(data[:128], 4, 64), _bits(data[128:192], 2, 32), strict=True)
    integers = [(low | high << 4) - 32 for low, high in pairs]
    d = _float16(data, 208)
    for scale, part in zip(struct.unpack("<16b", data[192:208]), _parts(integers, 16), strict=True):
        yield _float32(d * scale), 0.0, part


def _iq4_xs(data: bytes) -> Iterator[Group]:
    """IQ4_XS: float16 d, 8 scales of 6 bits, 256 places in a table."""
    d, high = struct.unpack_from("<eH", data)
    low = [byte >> shift & 15 for byte in data[4:8] for shift in (0, 4)]
    for i, part in enumerate(_parts(_bits(data[8:], 4, 16), 32)):
        scale = low[i] | (high >> 2 * i & 3) << 4
        yield _float32(d * (scale - 32)), 0.0, [TABLE_4_BITS[n] for n in part]


# --------------------------------------------------------------------------------------------------- IQ1 to IQ3: tables


@cache
def table(name: str) -> list[tuple[float, ...]]:
    """The rows of the table of a type, which the gguf package keeps as hexadecimal digits."""
    known = getattr(import_extra("gguf", f"reading {name} numbers").quants, name)
    width = (len(known.grid_map) - 1).bit_length()
    packed = bytes.fromhex(known.grid_hex.decode("ascii"))
    numbers = [known.grid_map[byte >> shift & (1 << width) - 1] for byte in packed for shift in _shifts(width)]
    return [tuple(row) for row in _parts(numbers, known.grid_shape[1])]


def _shifts(width: int) -> range:
    """Where the entries of a byte begin: as many as fit, at equal distances."""
    return range(0, 8, 8 // (8 // width))


def _signed(row: Sequence[float], signs: int) -> list[float]:
    """Numbers that are negative where a bit is 1."""
    return [-x if signs >> i & 1 else x for i, x in enumerate(row)]


def _even(bits: int) -> int:
    """Seven bits, and an eighth that makes the number of ones even."""
    return bits | (bits.bit_count() & 1) << 7


def _eighths(rows: list[list[float]]) -> list[float]:
    """Numbers of a group, of all its rows."""
    return [x for row in rows for x in row]


def _iq2_xxs(data: bytes) -> Iterator[Group]:
    """IQ2_XXS: float16 d, then 8 groups: four rows of eight, four times seven signs, four bits of a scale."""
    d, rows_of = _float16(data, 0), table("IQ2_XXS")
    for part in _parts(data[2:], 8):
        signs = int.from_bytes(part[4:], "little")
        rows = [_signed(rows_of[n], _even(signs >> 7 * i & 127)) for i, n in enumerate(part[:4])]
        yield _float32(d * (0.5 + (signs >> 28))) * 0.25, 0.0, _eighths(rows)


def _iq2_xs(data: bytes) -> Iterator[Group]:
    """IQ2_XS: float16 d, 32 times nine bits of a row and seven of signs, 16 scales of 4 bits."""
    d, rows_of = _float16(data, 0), table("IQ2_XS")
    scales = [byte >> shift & 15 for byte in data[66:74] for shift in (0, 4)]
    for scale, pair in zip(scales, _parts(struct.unpack("<32H", data[2:66]), 2), strict=True):
        rows = [_signed(rows_of[n & 511], _even(n >> 9)) for n in pair]
        yield _float32(d * (0.5 + scale)) * 0.25, 0.0, _eighths(rows)


def _iq2_s(data: bytes) -> Iterator[Group]:
    """IQ2_S: float16 d, 32 rows, their signs, two more bits of each row, 16 scales of 4 bits."""
    d, rows_of = _float16(data, 0), table("IQ2_S")
    high = [byte >> shift & 3 for byte in data[66:74] for shift in range(0, 8, 2)]
    rows = [_signed(rows_of[data[2 + i] | high[i] << 8], data[34 + i]) for i in range(32)]
    scales = [byte >> shift & 15 for byte in data[74:82] for shift in (0, 4)]
    for scale, pair in zip(scales, _parts(rows, 2), strict=True):
        yield _float32(d * (0.5 + scale)) * 0.25, 0.0, _eighths(list(pair))


def _iq3_xxs(data: bytes) -> Iterator[Group]:
    """IQ3_XXS: float16 d, 64 rows of four, then 8 times four times seven signs and four bits of a scale."""
    d, rows_of = _float16(data, 0), table("IQ3_XXS")
    for part, signs in zip(_parts(data[2:66], 8), struct.unpack("<8I", data[66:98]), strict=True):
        rows = [rows_of[part[2 * i]] + rows_of[part[2 * i + 1]] for i in range(4)]
        signed = [_signed(row, _even(signs >> 7 * i & 127)) for i, row in enumerate(rows)]
        yield _float32(d * (0.5 + (signs >> 28))) * 0.5, 0.0, _eighths(signed)


def _iq3_s(data: bytes) -> Iterator[Group]:
    """IQ3_S: float16 d, 64 rows of four, a ninth bit of each, their signs, 8 scales of 4 bits."""
    d, rows_of = _float16(data, 0), table("IQ3_S")
    high = int.from_bytes(data[66:74], "little")
    fours = [rows_of[n | (high >> i & 1) << 8] for i, n in enumerate(data[2:66])]
    rows = [_signed(fours[2 * i] + fours[2 * i + 1], data[74 + i]) for i in range(32)]
    scales = [byte >> shift & 15 for byte in data[106:110] for shift in (0, 4)]
    for scale, part in zip(scales, _parts(rows, 4), strict=True):
        yield _float32(d * (1 + 2 * scale)), 0.0, _eighths(list(part))


def _iq1_s(data: bytes) -> Iterator[Group]:
    """IQ1_S: float16 d, 32 rows, then 8 times three more bits of four rows, three of a scale, a sign of 1/8."""
    d, rows_of = _float16(data, 0), table("IQ1_S")
    for part, more in zip(_parts(data[2:34], 4), struct.unpack("<8H", data[34:50]), strict=True):
        delta = -0.125 if more & 0x8000 else 0.125
        rows = [[x + delta for x in rows_of[n | (more >> 3 * i & 7) << 8]] for i, n in enumerate(part)]
        yield _float32(d * (2 * (more >> 12 & 7) + 1)), 0.0, _eighths(rows)


def _iq1_m(data: bytes) -> Iterator[Group]:
    """IQ1_M: 32 rows, three more bits and a sign of 1/8 of each, 16 scales of 3 bits, among them the bits of d."""
    rows_of, words = table("IQ1_S"), struct.unpack("<4H", data[48:56])
    (d,) = struct.unpack("<e", sum((word >> 12) << 4 * i for i, word in enumerate(words)).to_bytes(2, "little"))
    scales = [word >> shift & 7 for word in words for shift in (0, 3, 6, 9)]
    more = [byte >> shift & 15 for byte in data[32:48] for shift in (0, 4)]
    pairs = zip(data[:32], more, strict=True)
    rows = [[x + (-0.125 if m & 8 else 0.125) for x in rows_of[n | (m & 7) << 8]] for n, m in pairs]
    for scale, pair in zip(scales, _parts(rows, 2), strict=True):
        yield _float32(d * (2 * scale + 1)), 0.0, _eighths(list(pair))


GROUPS: dict[str, Callable[[bytes], Iterator[Group]]] = {
    "Q5_0": partial(_q5, offset=False), "Q5_1": partial(_q5, offset=True), "Q2_K": _q2_k, "Q3_K": _q3_k,
    "Q4_K": partial(_q4_k, fifth=False), "Q5_K": partial(_q4_k, fifth=True), "Q6_K": _q6_k, "TQ1_0": _ternary_5,
    "TQ2_0": _ternary_4, "MXFP4": _mxfp4, "NVFP4": _nvfp4, "IQ2_XXS": _iq2_xxs, "IQ2_XS": _iq2_xs, "IQ2_S": _iq2_s,
    "IQ3_XXS": _iq3_xxs, "IQ3_S": _iq3_s, "IQ1_S": _iq1_s, "IQ1_M": _iq1_m, "IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs,
}  # fmt: skip
BLOCK_BYTES = {name: size for name, _, size in GGML_TYPES.values() if name in GROUPS}


# -------------------------------------------------------------------------------------------------------------- writing


def blocks_of_floats(row: Sequence[float], dtype: str) -> bytes:
    """A row of float32 numbers, of whole blocks, as "Q8_0" or "Q4_0", bit for bit as ggml makes them.

    Raises NumericsError if a number is not finite, or its scale would not be.
    """
    pack = _q8_0 if dtype == "Q8_0" else _q4_0
    if not all(map(isfinite, row)):
        raise too_large_for_blocks(dtype, next(x for x in row if not isfinite(x)))
    try:
        return b"".join(map(pack, _parts(row, BLOCK)))
    except OverflowError:  # of a float16 number
        raise too_large_for_blocks(dtype, max(row, key=abs)) from None


def _inverse(d: float) -> float:
    """1 / d in float32; 0 where d is so small that this is infinite, and that the scale is 0 anyway."""
    inverse = _float32(1 / d) if d else 0.0
    return inverse if isfinite(inverse) else 0.0


def _q8_0(block: Sequence[float]) -> bytes:
    """d = max |x| / 127 as float16, q = x / d by the d of float32, rounded, halves away from zero."""
    d = _float32(max(map(abs, block)) / 127)
    inverse = _inverse(d)
    steps = [_float32(x * inverse) for x in block]
    return struct.pack(f"<e{BLOCK}b", d, *(floor(abs(x) + 0.5) * (-1 if x < 0 else 1) for x in steps))


def _q4_0(block: Sequence[float]) -> bytes:
    """d = m / -8 as float16, for m the first of the greatest |x|; q = x / d + 8.5 in float32, cut off."""
    d = _float32(max(block, key=abs) / -8)
    inverse = _inverse(d)
    return struct.pack("<e", d) + nibbles(
        [max(0, min(15, trunc(_float32(_float32(x * inverse) + 8.5)))) for x in block]
    )


def nibbles(integers: Sequence[int]) -> bytes:
    """32 integers of 4 bits as 16 bytes: number i is the lower half of byte i, i + 16 the upper half."""
    return bytes(low | high << 4 for low, high in zip(integers[:16], integers[16:], strict=True))


def blocks_of_integers(q: Sequence[int], scales: Sequence[float], dtype: str) -> bytes:
    """A row of integers and their float16 scales as blocks that hold these very numbers."""
    out = []
    for part, scale in zip(_parts(q, BLOCK), scales, strict=True):
        packed = struct.pack(f"<{BLOCK}b", *part) if dtype == "Q8_0" else nibbles([n + 8 for n in part])
        out.append(struct.pack("<e", scale) + packed)
    return b"".join(out)


def too_large_for_blocks(dtype: str, number: float) -> NumericsError:
    """What to raise where a number is not finite, or its scale would not be."""
    return NumericsError(f"numbers must be finite, and at most {MOST[dtype]}, to become {dtype} (got {number})")
