"""The bytes of GGUF files: everything that a file may say is read, and everything else is refused in one line."""

import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama2_ref import CheckpointError, Config
from llama2_ref.formats import gguf_container as container
from llama2_ref.formats.gguf_container import parse, read_container
from support.gguf_bytes import Of, Raw, config_entries, gguf_of, string

SMALL = Config(dim=4, hidden_dim=6, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=3, seq_len=8)
HUGE = 2**60
ONE = Raw("one", "F32", (2, 3), bytes(range(24)))
TWO = Raw("two", "F32", (1,), bytes(4))


@contextmanager
def little_memory(most: int = 2**16) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(data: bytes) -> str:
    """The line with which bytes are refused, without much memory being taken."""
    with little_memory(), pytest.raises(CheckpointError) as caught:
        parse(memoryview(data))
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 300
    return line


# -------------------------------------------------------------------------------------------------------- what is read

ENTRIES = {
    "u8": Of("B", 255), "i8": Of("b", -128), "u16": Of("H", 2**16 - 1), "i16": Of("h", -(2**15)),
    "u32": Of("I", 2**32 - 1), "i32": Of("i", -(2**31)), "u64": Of("Q", 2**64 - 1), "i64": Of("q", -(2**63)),
    "f32": Of("f", 0.5), "f64": Of("d", 0.1), "yes": Of("?", True), "no": Of("?", False),
    "text": Of("s", "\u2581euro \u20ac\0\n"), "nothing": Of("s", ""),
    "texts": Of("s", ["a", "", "\u20ac"]), "numbers": Of("f", [0.5, -1.0]), "bytes": Of("B", [0, 7]),
    "bools": Of("?", [True, False]), "none": Of("I", []), "no texts": Of("s", []),
}  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_metadata_is_read(version: int) -> None:
    found = parse(memoryview(gguf_of(ENTRIES, [], version=version)))
    assert found.version == version
    assert found.metadata == {key: of.value for key, of in ENTRIES.items()}
    assert {key: type(value) for key, value in found.metadata.items()} == {
        k: type(of.value) for k, of in ENTRIES.items()
    }
    assert found.tensors == {}


def test_the_gguf_package_reads_these_entries_alike(tmp_path: Path) -> None:
    """The files that these tests begin from are GGUF for others, too."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    path = tmp_path / "model.gguf"
    entries = {key: of for key, of in ENTRIES.items() if of.value != []}  # of which it says that they are None
    path.write_bytes(gguf_of(entries, [ONE, TWO]))
    reader = gguf.GGUFReader(path)
    assert {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")} == {
        key: of.value for key, of in entries.items()
    }
    assert [(t.name, t.shape.tolist(), t.data.tobytes()) for t in reader.tensors] == [
        ("one", [3, 2], ONE.data),
        ("two", [1], TWO.data),
    ]


@pytest.mark.parametrize("alignment", [1, 2, 32, 4096])
def test_tensors_are_views_with_rows_first(alignment: int) -> None:
    cube = Raw("a \u20ac", "F16", (2, 3, 4, 1), bytes(range(48)))
    entries = {"general.alignment": Of("I", alignment)} if alignment != 32 else {}
    data = memoryview(gguf_of(entries, [ONE, TWO, cube], alignment))
    found = parse(data).tensors
    assert list(found) == ["one", "two", "a \u20ac"]
    assert [(t.ggml_type, t.shape, bytes(t.data)) for t in found.values()] == [
        ("F32", (2, 3), ONE.data),
        ("F32", (1,), TWO.data),
        ("F16", (2, 3, 4, 1), cube.data),
    ]
    assert all(tensor.data.obj is data.obj for tensor in found.values())


def test_tensors_may_lie_in_any_order_with_gaps_between() -> None:
    tensors = [Raw("a", "F32", (1,), b"", 64), Raw("b", "F32", (1,), b"", 0), Raw("c", "I8", (200,), b"")]
    data = gguf_of({}, [*tensors[:2], Raw("c", "I8", (32,), b"", 96)]) + bytes(range(128))
    found = parse(memoryview(data)).tensors
    assert {name: bytes(tensor.data)[:1] for name, tensor in found.items()} == {"a": b"\x40", "b": b"\0", "c": b"\x60"}


def test_sizes_of_all_kinds_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    known = {number: kind for number, kind in container.GGML_TYPES.items() if number in theirs}
    assert known == {number: kind for number, kind in theirs.items() if number in known}
    assert len(known) > 25


# ----------------------------------------------------------------------------------------------------- what is refused


def test_a_file_is_refused_wherever_it_is_cut() -> None:
    whole = gguf_of(ENTRIES | config_entries(SMALL), [ONE, TWO])
    parse(memoryview(whole[:-28]))  # but for the padding of the last tensor
    for cut in range(len(whole) - 28):
        with pytest.raises(CheckpointError, match="truncated"):
            parse(memoryview(whole[:cut]))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (gguf_of({}, [], version=1), "version of a GGUF file must be 2 or 3 (got 1)"),
        (gguf_of({}, [], version=4), "version of a GGUF file must be 2 or 3 (got 4)"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian GGUF file (this is version 3, big-endian)"),
        (gguf_of({}, [], tensor_count=HUGE), f"is truncated: it tells of {HUGE} tensors, for which there are"),
        (gguf_of({}, [ONE], tensor_count=2**63), f"is truncated: it tells of {2**63} tensors, for which there are"),
        (gguf_of({}, [], entry_count=HUGE), f"is truncated: it tells of {HUGE} entries, for which there are"),
        (gguf_of({}, [ONE], entry_count=1), "is truncated in the name of tensor 0"),
    ],
)
def test_a_header_that_lies(data: bytes, line: str) -> None:
    assert line in refused(data)


def with_entry(raw: bytes) -> bytes:
    """A file with one entry of these bytes, and enough behind it for any sensible length."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + raw + bytes(64)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (struct.pack("<Q", HUGE), f"is truncated in the key of entry 0 (which needs {HUGE} bytes"),
        (struct.pack("<Q", 2**64 - 1), "is truncated in the key of entry 0"),
        (string("a") + struct.pack("<I", 13), "metadata 'a' must be of a type from 0 to 12 (got 13)"),
        (string("a") + struct.pack("<I", 2**32 - 1), "must be of a type from 0 to 12 (got 4294967295)"),
        (string("a") + struct.pack("<IQ", 8, HUGE), f"is truncated in metadata 'a' (which needs {HUGE} bytes"),
        (string("a") + struct.pack("<IIQ", 9, 8, HUGE), f"it tells of {HUGE} strings in metadata 'a'"),
        (string("a") + struct.pack("<IIQ", 9, 0, HUGE), f"in metadata 'a' (which needs {HUGE} bytes"),
        (string("a") + struct.pack("<IIQ", 9, 12, 2**61), f"in metadata 'a' (which needs {2**64} bytes"),
        (string("a") + struct.pack("<IIQ", 9, 9, 1), "metadata 'a' must not be an array of arrays"),
        (string("a") + struct.pack("<IIQ", 9, 9, HUGE), "metadata 'a' must not be an array of arrays"),
        (string("a") + struct.pack("<IIQ", 9, 14, 0), "must be of a type from 0 to 12 (got 14)"),
        (string("a") + struct.pack("<IB", 7, 2), "metadata 'a' must be 0 or 1, since it is a bool (got 2)"),
        (string("a") + struct.pack("<IIQ3B", 9, 7, 3, 1, 0, 255), "since it is a bool (got 255)"),
        (string(b"\xff\xfe") + struct.pack("<IB", 0, 2), "the key of entry 0 must be UTF-8 (byte 0 is 0xFF)"),
        (string("a") + struct.pack("<I", 8) + string(b"ab\x80"), "metadata 'a' must be UTF-8 (byte 2 is 0x80)"),
        (string("a") + struct.pack("<IIQ", 9, 8, 1) + string(b"\xc3"), "metadata 'a' must be UTF-8 (byte 0 is 0xC3)"),
        (string("a\nb" * 99) + struct.pack("<I", 77), r"metadata 'a\nba\nb"),
    ],
)
def test_metadata_that_is_damaged(raw: bytes, line: str) -> None:
    assert line in refused(with_entry(raw))


def test_a_key_that_comes_twice() -> None:
    assert "metadata 'a' must be there once" in refused(gguf_of([("a", Of("I", 1)), ("a", Of("I", 1))], []))


@pytest.mark.parametrize("alignment", [0, 3, 12, 31, 33, 2**32 - 1])
def test_an_alignment_that_is_no_power_of_two(alignment: int) -> None:
    data = gguf_of({"general.alignment": Of("I", alignment)}, [ONE])
    assert f"general.alignment must be a power of two (got {alignment})" in refused(data)


@pytest.mark.parametrize("of", [Of("s", "32"), Of("f", 32.0), Of("?", True), Of("I", [32]), Of("i", -32)])
def test_an_alignment_of_another_type(of: Of) -> None:
    assert "general.alignment must be a power of two (got" in refused(gguf_of({"general.alignment": of}, [ONE]))


@pytest.mark.parametrize("alignment", [Of("I", 2**31), Of("Q", 2**63)])
def test_an_alignment_beyond_the_file(alignment: Of) -> None:
    assert "must lie inside the file" in refused(gguf_of({"general.alignment": alignment}, [ONE]))


@pytest.mark.parametrize(
    ("tensors", "line"),
    [
        ([ONE, ONE], "tensor 'one' must be there once (it comes twice)"),
        ([Raw(b"\xff", "F32", (1,), b"")], "the name of tensor 0 must be UTF-8 (byte 0 is 0xFF)"),
        ([Raw("a", "F32", (), b"")], "tensor 'a' must have 1 to 4 dimensions (got 0)"),
        ([Raw("a", "F32", (1,) * 5, b"")], "tensor 'a' must have 1 to 4 dimensions (got 5)"),
        ([Raw("a", "F32", (3, 0), b"")], "tensor 'a' must have no dimension of 0 (got [0, 3])"),
        ([Raw("a", 4, (1,), b"")], "tensor 'a' must be of a type that is known (got number 4)"),
        ([Raw("a", 2**32 - 1, (1,), b"")], "tensor 'a' must be of a type that is known (got number 4294967295)"),
        ([Raw("a", "Q8_0", (2, 33), b"")], "rows of tensor 'a' must be blocks of 32, since it is Q8_0 (got 33)"),
        ([Raw("a", "Q4_K", (2, 128), b"")], "rows of tensor 'a' must be blocks of 256, since it is Q4_K (got 128)"),
        ([Raw("a", "F32", (HUGE,), b"")], f"tensor 'a' must lie inside the file (offset 0, {4 * HUGE} bytes, of 0)"),
        ([Raw("a", "F32", (2**62, 4), b"")], f"inside the file (offset 0, {2**66} bytes"),  # 0, modulo 2^64
        ([Raw("a", "F32", (2**63,) * 4, b"")], f"inside the file (offset 0, {2**254} bytes"),
        ([Raw("a", "F32", (1,), b"", 2**64 - 32)], f"inside the file (offset {2**64 - 32}, 4 bytes"),
        ([ONE, Raw("b", "F32", (1,), b"", 32)], "tensor 'b' must lie inside the file (offset 32, 4 bytes, of 32)"),
        ([ONE, Raw("b", "F32", (1,), b"", 4)], "tensor 'b' must begin at a multiple of 32 (offset 4)"),
        ([ONE, Raw("b", "F32", (1,), b"", 0)], "tensors must not overlap ('one' and 'b' do)"),
        ([Raw("a", "I8", (33,), bytes(33)), Raw("b", "F32", (1,), b"", 32)], "must not overlap ('a' and 'b' do)"),
        ([Raw("\u202e\n" * 99, "F32", (0,), b"")], r"tensor '\u202e\n\u202e\n"),
    ],
)
def test_tensors_that_lie(tensors: list[Raw], line: str) -> None:
    assert line in refused(gguf_of({}, tensors))


def test_metadata_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a file of holes a terabyte long shall not make anyone walk it."""
    data = gguf_of({"a": Of("s", "b" * 100)}, [])
    monkeypatch.setattr(container, "METADATA_MOST", 150)
    parse(memoryview(data))
    monkeypatch.setattr(container, "METADATA_MOST", 100)
    assert "metadata must end within the first 100 bytes (it goes on in metadata 'a')" in refused(data)


def test_a_file_of_holes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "holes.gguf"
    for kind, size in ((0, 1), (8, 8), (12, 8)):
        with open(path, "wb") as file:
            file.write(
                b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", 9, kind, 2**38 // size)
            )
            file.truncate(2**39)
        with little_memory(), pytest.raises(CheckpointError, match=r"must end within|it tells of"):
            read_container(path)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "a GGUF file must be a readable file (No such file or directory)"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: path.write_bytes(b""), "must be a GGUF file, which begins with the letters GGUF"),
        (lambda path: path.write_bytes(b"ak42" + bytes(99)), "must be a GGUF file, which begins with the letters GGUF"),
        (lambda path: path.write_bytes(b"GGUF"), "is truncated in its version"),
        (lambda path: path.write_bytes(b"GGUF\3\0\0\0" + bytes(9)), "is truncated in its number of entries"),
    ],
)
def test_files_that_are_none(tmp_path: Path, make: Callable[[Path], Any], line: str) -> None:
    make(path := tmp_path / "model.gguf")
    with pytest.raises(CheckpointError) as caught:
        read_container(path)
    assert str(caught.value).startswith(f"{path}: {line}")


def test_a_path_with_a_nul() -> None:
    with pytest.raises(CheckpointError, match="must be a readable file"):
        read_container("a\0b")


def test_a_real_file_keeps_its_bytes(tmp_path: Path) -> None:
    """Tensors stay views of the map after the container is gone."""
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_of({}, [ONE]))
    one = read_container(path).tensors["one"]
    assert np.frombuffer(one.data, np.uint8).tolist() == list(range(24))
