"""Changes to files that keep them nearly right: flat changes of bytes seldom come behind the checks of a header."""

import random
import struct
from collections.abc import Callable

import llama2_ref
from fuzz.readers import checkpoint_of, tokenizer_of
from llama2_ref._format import HEADER_BYTES, MAGIC, Header

Flat = Callable[[bytes, int], bytes]  # (data, longest) -> data: the fuzzer's own changes
Fields = list[int]  # seven sizes; for versions 1 and 2 also whether the classifier is shared, and the group size

VERSIONED = struct.Struct("<Ii7iBi")
NUMBERS = [0, 1, -1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64, 255, 256, 2**15, 2**16, 2**30, 2**31 - 2, 2**31 - 1, -(2**31)]
NAN, INF = float("nan"), float("inf")
FLOATS = [0.0, -0.0, 1.0, -1.0, NAN, INF, -INF, 3.4e38, -3.4e38, 1e30, 2.0**19, 2.0**-126, 2.0**-149, 127.0, 1e-20]
WORDS = [struct.pack("<f", x) for x in FLOATS] + [b"\1\0\x80\x7f", b"\1\0\x80\xff", b"\xff\xff\xff\xff", b"\x80" * 4]
WORDS += [struct.pack("<i", number) for number in NUMBERS]


def mutate_checkpoint(data: bytes, longest: int, rng: random.Random, flat: Flat) -> bytes:
    """Another checkpoint, or something near one, of at most `longest` bytes."""
    move = rng.choice((_numbers, _numbers, _header, _header, _header, _ends, _new_checkpoint, None))
    changed = flat(data, longest) if move is None else move(data, longest, rng)
    return changed[:longest]


def _header(data: bytes, longest: int, rng: random.Random) -> bytes:
    """One or two fields changed; mostly with as many bytes behind them as they then ask for."""
    version, fields, body = _split(data)
    for _ in range(rng.randint(1, 2)):
        i = rng.randrange(len(fields))
        old = fields[i]
        near = [old + 1, old - 1, 2 * old, old // 2, -old]
        fields[i] = _int32(rng.choice(near + NUMBERS))
    if rng.random() < 0.2:
        version = rng.choice((0, 1, 2, 3, -1))
        fields = [*fields, 1, 1][:9] if version else fields[:7]
    changed = _join(version, fields, body)
    return _fitted(changed, version, fields, longest) if rng.random() < 0.8 else changed


def _fitted(data: bytes, version: int, fields: Fields, longest: int) -> bytes:
    """As long as the header says, where that is a length: the end is cut, or the body repeated."""
    try:
        sizes = [*fields[:5], abs(fields[5]), fields[6]]
        shared = fields[5] > 0 if version == 0 else bool(fields[7])
        header = Header(version, llama2_ref.Config(*sizes), shared, fields[8] if version == 2 else 0)
        needed = header.file_bytes()
    except (llama2_ref.ConfigError, KeyError, ZeroDivisionError):
        return data
    if not len(data) < needed <= longest:
        return data[:needed] if needed > 0 else data
    body = data[HEADER_BYTES[version] :] or b"\0\0\x80\x3f"
    return data + (body * (needed // len(body) + 1))[: needed - len(data)]


def _numbers(data: bytes, longest: int, rng: random.Random) -> bytes:
    """Some words of four bytes changed: numbers that are special, most of them aligned."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if len(data) >= 4 else 0):
        place = rng.randrange(len(data) - 3)
        place -= place % 4 if rng.random() < 0.8 else 0
        changed[place : place + 4] = rng.choice(WORDS) if rng.random() < 0.8 else rng.randbytes(4)
    return bytes(changed)


def _ends(data: bytes, longest: int, rng: random.Random) -> bytes:
    """Cut, or followed by something."""
    if rng.random() < 0.5:
        return data[: rng.randrange(len(data) + 1)]
    return data + rng.randbytes(rng.choice((1, 4, 27)))


def _new_checkpoint(data: bytes, longest: int, rng: random.Random) -> bytes:
    """A model of other sizes; in version 2 with any group size that divides its tensors."""
    kv_heads, group, half = rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 3)
    sizes = kv_heads * group * half * 2, rng.randint(1, 12), rng.randint(1, 3), kv_heads * group, kv_heads
    config = llama2_ref.Config(*sizes, rng.randint(1, 12), rng.choice((1, 2, 9, 2**31 - 1)))
    version = rng.choice((0, 1, 2, 2, 2))
    if version == 0:
        return _whole(Header(0, config, rng.random() < 0.5), longest, rng) or data
    header = Header(version, config, rng.random() < 0.5, 1 if version == 2 else 0)
    counts = [rows * cols for name, (_, rows, cols) in header.shapes().items() if header.quantized(name)]
    fits = [size for size in range(1, 65) if not any(count % size for count in counts)]
    return _whole(Header(version, config, header.shared_classifier, rng.choice(fits)), longest, rng) or data


def _whole(header: Header, longest: int, rng: random.Random) -> bytes:
    return checkpoint_of(header, rng.getrandbits(32)) if header.file_bytes() <= longest else b""


def _split(data: bytes) -> tuple[int, Fields, bytes]:
    """Version, fields and what follows the header, whatever the bytes are."""
    if struct.unpack("<I", data[:4].ljust(4, b"\0"))[0] != MAGIC:
        return 0, list(struct.unpack("<7i", data[:28].ljust(28, b"\0"))), data[28:]
    _, version, *fields = VERSIONED.unpack(data[: VERSIONED.size].ljust(VERSIONED.size, b"\0"))
    return version, fields, data[256:]


def _join(version: int, fields: Fields, body: bytes) -> bytes:
    if len(fields) == 7:
        return struct.pack("<7i", *fields) + body
    *sizes, shared, group = fields
    return VERSIONED.pack(MAGIC, version, *sizes, shared & 255, group).ljust(256, b"\0") + body


def _int32(number: int) -> int:
    return max(-(2**31), min(2**31 - 1, number))


# ----------------------------------------------------------------------------------------------------------- tokenizers


def mutate_tokenizer(data: bytes, longest: int, rng: random.Random, flat: Flat) -> bytes:
    """Another tokenizer, or something near one, of at most `longest` bytes."""
    move = rng.choice((_entries, _entries, _entries, _lie, _numbers, _ends, _without_scores, None))
    changed = flat(data, longest) if move is None else move(data, longest, rng)
    return changed[:longest]


def _entries(data: bytes, longest: int, rng: random.Random) -> bytes:
    """Tokens that are new, gone, joined of others, there twice, or have another score."""
    tokens, scores = _tokens(data)
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(tokens) + 1)
        if i < len(tokens) and rng.random() < 0.5:
            if rng.random() < 0.5:
                scores[i] = rng.choice((*FLOATS, float(rng.randint(-9, 9))))
            else:
                del tokens[i], scores[i]
            continue
        some = rng.choices(tokens[-40:] or [b"a"], k=rng.randint(1, 2))
        token = b"".join(some) if rng.random() < 0.7 else rng.choice((b"<0x41>", b"\xc3", b"\0", b" ", b"a" * 40))
        tokens.insert(i, token[:200])
        scores.insert(i, float(rng.randint(-3, 3)))
    return tokenizer_of(tokens, scores, rng.choice((None, None, None, 0, 1, 5, 2**32 - 1)))


def _lie(data: bytes, longest: int, rng: random.Random) -> bytes:
    """A length that is not that of its token."""
    changed, places = bytearray(data), _places(data)
    if not places:
        return data
    place = rng.choice(places)
    old = struct.unpack_from("<i", data, place + 4)[0]
    struct.pack_into("<i", changed, place + 4, _int32(rng.choice([*NUMBERS, old - 1, old + 1, len(data) - place - 8])))
    return bytes(changed)


def _without_scores(data: bytes, longest: int, rng: random.Random) -> bytes:
    """The oldest layout."""
    return b"".join(struct.pack("<i", len(token)) + token for token in _tokens(data)[0])


def _tokens(data: bytes) -> tuple[list[bytes], list[float]]:
    """As many tokens and scores as there are whole ones."""
    tokens, scores = [], []
    for place in _places(data):
        score, length = struct.unpack_from("<fi", data, place)
        tokens.append(data[place + 8 : place + 8 + length])
        scores.append(score)
    return tokens, scores


def _places(data: bytes) -> list[int]:
    """Where the entries begin."""
    places, place = [], 4
    while place + 8 <= len(data):
        length = struct.unpack_from("<i", data, place + 4)[0]
        if length < 0 or place + 8 + length > len(data):
            break
        places.append(place)
        place += 8 + length
    return places


MUTATORS = {"checkpoint": mutate_checkpoint, "tokenizer": mutate_tokenizer}
