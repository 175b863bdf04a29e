"""Changes to files that keep them nearly right: flat changes of bytes seldom come behind the checks of a header."""

import copy
import json
import random
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import llama2_ref
from fuzz.readers import FOLDER_FILES, checkpoint_of, folder_of, parts_of, tokenizer_of
from llama2_ref.formats.gguf_container import GGML_TYPES, parse
from llama2_ref.formats.llama2c_header import HEADER_BYTES, MAGIC, Header
from llama2_ref.formats.safetensors import ITEM_BYTES
from support.gguf_bytes import SCALES, TYPE_NUMBERS, TYPES, Of, Raw, config_entries, gguf_of, model_tensors

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
        sizes: list[Any] = [*fields[:5], abs(fields[5]), fields[6]]
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


# ----------------------------------------------------------------------------------------------------------- GGUF files

Entry = tuple[str | bytes, Of]
LARGE = [0, 1, 2, 7, 31, 32, 255, 2**16, 2**31, 2**32 - 1, 2**53, 2**60, 2**63, 2**64 - 1]
TEXTS = ["", "llama", "none", "linear", "yarn", "gpt2", "a", "\u2581a", "<0x41>", "\u20ac\n", "a b", "{{ x }}"]
KEYS = ["llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.expert_count", "general.alignment", "a"]
KEYS += ["llama.rope.scale_linear", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.pre", "tokenizer.ggml.scores"]
TENSOR_NAMES = ["output.weight", "rope_freqs.weight", "blk.0.attn_q.bias", "blk.1.attn_q.weight", "a"]


def mutate_gguf(data: bytes, longest: int, rng: random.Random, flat: Flat) -> bytes:
    """Another GGUF file, or something near one, of at most `longest` bytes."""
    move = rng.choice((_numbers, _new_gguf, _change_gguf, _change_gguf, _change_gguf, _change_gguf, _ends, None))
    changed = flat(data, longest) if move is None else move(data, longest, rng)
    return changed[:longest]


def _change_gguf(data: bytes, longest: int, rng: random.Random) -> bytes:
    """Entries and tensors that are new, gone, there twice, or of other types, shapes and places."""
    try:
        found = parse(memoryview(data))
    except llama2_ref.CheckpointError:
        return _numbers(data, longest, rng)
    letters = {number: letter for letter, number in TYPES.items()}
    entries: list[Entry] = [(key, Of(letters[found.types[key][1]], value)) for key, value in found.metadata.items()]
    tensors = [Raw(name, each.ggml_type, each.shape, bytes(each.data)) for name, each in found.tensors.items()]
    for _ in range(rng.randint(1, 2)):
        _change_entry(entries, rng) if rng.random() < 0.5 or not tensors else _change_tensor(tensors, rng)
    alignment = found.metadata.get("general.alignment", 32)
    header = {} if rng.random() < 0.9 else {rng.choice(("tensor_count", "entry_count")): rng.choice(LARGE)}
    return gguf_of(entries, tensors, min(int(alignment), 64), version=found.version, **header)


def _change_entry(entries: list[Entry], rng: random.Random) -> None:
    place = rng.randrange(len(entries) + 1)
    if place == len(entries) or rng.random() < 0.2:
        entries.insert(place, (rng.choice(KEYS), _value(rng)))
    elif rng.random() < 0.2:
        entries.append(entries.pop(place)) if rng.random() < 0.5 else entries.pop(place)
    else:
        key, of = entries[place]
        entries[place] = key, Of(of.type, _near(of, rng)) if rng.random() < 0.7 else _value(rng)


def _near(of: Of, rng: random.Random) -> object:
    """Another value of the same type."""
    if isinstance(of.value, list) and of.value and rng.random() < 0.8:
        changed = list(of.value)
        i = rng.randrange(len(changed))
        changed[i : i + rng.randint(0, 1)] = [_one(of.type, changed[i], rng)]
        return changed
    return [] if isinstance(of.value, list) else _one(of.type, of.value, rng)


def _value(rng: random.Random) -> Of:
    letter = rng.choice([*TYPES])
    many = [_one(letter, 0, rng) for _ in range(rng.randint(0, 4))]
    return Of(letter, many if rng.random() < 0.4 else _one(letter, 0, rng))


def _one(letter: str, old: object, rng: random.Random) -> object:
    """A value of a type."""
    if letter == "s":
        return rng.choice(TEXTS)
    if letter in "fd":
        return rng.choice([*FLOATS, 2.0, 8.0, 1e-5, 1e4])
    if letter == "?":
        return rng.random() < 0.5
    size = struct.calcsize(letter)
    number = rng.choice([*LARGE, int(old) + 1, int(old) - 1, 2 * int(old)]) if isinstance(old, int) else 1
    return number % 2 ** (8 * size) if letter.isupper() else number % 2 ** (8 * size - 1)


def _change_tensor(tensors: list[Raw], rng: random.Random) -> None:
    i = rng.randrange(len(tensors))
    tensor, choice = tensors[i], rng.randrange(7)
    if choice == 0:
        del tensors[i]
    elif choice == 1:
        tensors.insert(rng.randrange(len(tensors)), tensor)
    elif choice == 2:
        tensors[i] = replace(tensor, name=rng.choice([*TENSOR_NAMES, rng.choice(tensors).name]))
    elif choice == 3:
        axis = rng.randrange(len(tensor.shape))
        size = rng.choice([*LARGE, tensor.shape[axis] + 1, tensor.shape[axis] - 1])
        tensors[i] = replace(tensor, shape=(*tensor.shape[:axis], size, *tensor.shape[axis + 1 :]))
    elif choice == 4:
        tensors[i] = replace(tensor, offset=rng.choice([0, 32, 64, 4, *LARGE]))
    elif choice == 5:
        kind = rng.choice([*TYPE_NUMBERS])
        _, block, size = GGML_TYPES[TYPE_NUMBERS[kind]]
        count = min(prod(tensor.shape) // block * size, 6000)  # a shape may be hostile already
        tensors[i] = replace(tensor, kind=kind, data=(tensor.data * (count // max(1, len(tensor.data)) + 1))[:count])
    else:
        tensors[i] = replace(tensor, kind=rng.choice([0, 4, 5, 31, 255, 2**32 - 1]), data=tensor.data)


def _new_gguf(data: bytes, longest: int, rng: random.Random) -> bytes:
    """A model of other sizes."""
    group, kv_heads = rng.randint(1, 2), rng.randint(1, 2)
    sizes = rng.choice((2, 4, 32)), rng.choice((1, 3, 32)), rng.randint(1, 2), group * kv_heads, kv_heads
    head_size = rng.choice((2, 4, 6))
    config = llama2_ref.Config(*sizes, rng.randint(1, 6), rng.choice((1, 9, 2**31)), head_size=head_size)
    kind = rng.choice([*SCALES, "F32", "F16", "BF16"])
    return gguf_of(config_entries(config), model_tensors(config, kind, rng.getrandbits(32), rng.random() < 0.5))


# ------------------------------------------------------------------------------------ safetensors, Hugging Face folders

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    -1,
    2**31,
    2**53,
    2**60,
    2**62,
    2**63 - 1,
    2**63,
    10**40,
    0.5,
    1.0,
    8.0,
]
VALUES += [
    1e-320,
    1e-38,
    1e299,
    1e308,
    "",
    "a",
    "F32",
    "F16",
    "BF16",
    "F64",
    "I8",
    "linear",
    "llama3",
    "default",
    [],
    {},
]
VALUES += ["silu", "llama", "../a.safetensors", "b.safetensors", "\u2028", "\ud800", [0, 0], {"a": 1}]
HF_NAMES = [
    "rope_scaling", "rope_parameters", "rope_theta", "head_dim", "num_key_value_heads", "tie_word_embeddings", "type",
    "rope_type", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "mlp_bias",
    "lm_head.weight", "model.norm.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "weight_map", "__metadata__",
    "dtype", "shape", "data_offsets", "a", "",
]  # fmt: skip


def mutate_safetensors(data: bytes, longest: int, rng: random.Random, flat: Flat) -> bytes:
    """Another file of tensors, or something near one, of at most `longest` bytes."""
    move = rng.choice((_header_of_tensors, _header_of_tensors, _header_of_tensors, _numbers, _ends, None))
    changed = flat(data, longest) if move is None else move(data, longest, rng)
    return changed[:longest]


def mutate_folder(data: bytes, longest: int, rng: random.Random, flat: Flat) -> bytes:
    """Another folder, or something near one: one of its files changed, gone, or in the place of another."""
    parts = parts_of(data)
    if not parts or rng.random() < 0.1:
        return flat(data, longest)[:longest]
    letter = rng.choice([*parts])
    if rng.random() < 0.1:
        content = parts.pop(letter)
        if rng.random() < 0.5:
            parts[rng.choice([*FOLDER_FILES])] = content
    elif letter in (b"m", b"a", b"b"):
        parts[letter] = mutate_safetensors(parts[letter], longest, rng, flat)
    elif rng.random() < 0.9:
        parts[letter] = _json(parts[letter], rng)
    else:
        parts[letter] = flat(parts[letter], longest)
    return folder_of(parts)[:longest]


def _header_of_tensors(data: bytes, longest: int, rng: random.Random) -> bytes:
    """A header with other values, names, or tensors; mostly of the right length, and with places that fit."""
    length = min(int.from_bytes(data[:8], "little"), len(data))
    header, body = data[8 : 8 + length], data[8 + length :]
    changed = _resized(header, rng) if rng.random() < 0.5 else _json(header, rng)
    said = len(changed) if rng.random() < 0.9 else rng.choice([0, 1, 7, len(changed) + 1, 2**31, 2**63, 2**64 - 1])
    if rng.random() < 0.8:  # as many bytes as the places ask for
        ends = [int(end) for end in re.findall(rb"\[\d{1,6}, ?(\d{1,6})\]", changed)]
        needed = max(ends, default=0)
        body = (body * (needed // max(1, len(body)) + 1))[:needed] if needed <= longest else body
    return said.to_bytes(8, "little") + changed + body


def _resized(header: bytes, rng: random.Random) -> bytes:
    """Other types, shapes and numbers of tensors, each behind the one before."""
    try:
        found = json.loads(header)
        names = [name for name, each in found.items() if isinstance(each, dict) and "shape" in each]
        rng.shuffle(names) if rng.random() < 0.3 else None
        if names and rng.random() < 0.3:
            del found[names.pop()]
        end = 0
        for name in names:
            each = found[name]
            if rng.random() < 0.1:
                each["dtype"] = rng.choice([*ITEM_BYTES])
            if rng.random() < 0.1:
                each["shape"] = rng.choice(([], [0], [2], [3, 2], [2, 3], [1, 2, 1], [*each["shape"][::-1]]))
            size = prod(map(float, each["shape"])) * ITEM_BYTES[each["dtype"]]
            size = int(size) if 0 <= size < 2**60 else 8
            if rng.random() < 0.05:  # a gap before it, or it begins within the one before
                end = max(0, end + rng.choice((-8, -4, -1, 1, 4)))
            each["data_offsets"], end = [end, end + size], end + size
        return json.dumps(found).encode()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return header


def _json(data: bytes, rng: random.Random) -> bytes:
    """JSON with some values, or keys, that are others, gone, or new."""
    try:
        found = json.loads(data)
        for _ in range(rng.randint(1, 2)):
            found = _changed(found, rng)
        text = json.dumps(found)
    except (ValueError, RecursionError):
        return data
    if rng.random() < 0.05:  # a key that comes twice
        text = text.replace("{", f'{{"{rng.choice(HF_NAMES)}": 1, ', 1)
    return text.encode()


def _changed(value: object, rng: random.Random) -> object:
    """Change one place in a value."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice([*value])
        choice = rng.random()
        if choice < 0.1:
            value.pop(key)
        elif choice < 0.25:
            value[rng.choice(HF_NAMES)] = value.pop(key) if rng.random() < 0.5 else rng.choice(VALUES)
        else:
            value[key] = _changed(value[key], rng)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        value[i : i + 1] = [_changed(value[i], rng)] * rng.choice((0, 1, 1, 1, 2))
        return value
    if isinstance(value, int) and rng.random() < 0.5:
        return rng.choice((value + 1, value - 1, 2 * value, value // 2))
    return copy.deepcopy(rng.choice(VALUES))


MUTATORS = {
    "checkpoint": mutate_checkpoint, "tokenizer": mutate_tokenizer, "gguf": mutate_gguf,
    "safetensors": mutate_safetensors, "folder": mutate_folder,
}  # fmt: skip
