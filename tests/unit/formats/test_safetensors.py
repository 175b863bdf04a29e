"""Reading and writing safetensors files: right ones, and ones that are damaged or made to hurt."""

import json
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama2_ref import CheckpointError
from llama2_ref.formats.safetensors import ITEM_BYTES, LONGEST_HEADER, read_file, write_file

NUMPY = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16, "F16": np.float16,
    "I32": np.int32, "U32": np.uint32, "F32": np.float32, "F64": np.float64, "I64": np.int64, "U64": np.uint64,
}  # fmt: skip
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def of(header: Any, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """A file with this header, which may be bytes already, and which may lie about its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def refused(tmp_path: Path, data: bytes) -> str:
    """The one line that refuses these bytes, behind the path. It may take little memory."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(CheckpointError) as error:
        read_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**18 + 64 * len(data)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) < len(str(path)) + 420
    return line.removeprefix(f"{path}: ")


def entry(**fields: Any) -> dict[str, Any]:
    """A header with one tensor, of which something is changed; None leaves a field out."""
    changed = {**ONE, **fields}
    return {"a": {key: value for key, value in changed.items() if value is not None}}


BAD = {
    "nothing": (b"", "begins with 8 bytes (got 0)"),
    "seven bytes": (bytes(7), "begins with 8 bytes (got 7)"),
    "no header": (bytes(8), "must begin with { (got b'')"),
    "another format": (b"GGUF" + bytes(60), "must have at most 100000000 bytes (got 1179993927)"),
    "a checkpoint of PyTorch": (b"PK\x03\x04" + b"\xff" * 60, "must have at most 100000000 bytes"),
    "length of 2^64 - 1": (of({}, length=2**64 - 1), f"at most {LONGEST_HEADER} bytes (got {2**64 - 1})"),
    "length beyond the limit": (of({}, length=LONGEST_HEADER + 1), "at most 100000000 bytes (got 100000001)"),
    "length at the limit": (of({}, length=LONGEST_HEADER), "must end in the file (got 100000000 of 10 bytes)"),
    "length beyond the file": (of({"a": ONE}, b"", length=66), "must end in the file (got 66 of "),
    "length cut short": (of({"a": ONE}, length=20), "header: JSON must be whole"),
    "length 0": (of({"a": ONE}, length=0), "must begin with { (got b'')"),
    "leading space": (of(b' {"a": 1}'), "must begin with { (got b' ')"),
    "byte order mark": (of(b"\xef\xbb\xbf{}"), "must begin with { (got b'\\xef')"),
    "a list": (of([ONE]), "must begin with { (got b'[')"),
    "not UTF-8": (of(b'{"\xff": 1}'), "header: JSON must be UTF-8 (byte 2 is not)"),
    "UTF-16": (of("{}".encode("utf-16-le")), "header: JSON must be whole"),
    "zeros after it": (of(b"{}\0\0", b""), "header: JSON must be whole (extra data at character 2)"),
    "half a surrogate pair": (of(b'{"\\ud800": 1}'), "header: keys must be text (got '\\ud800')"),
    "one key twice": (of(b'{"a": 1, "b": 2, "a": 1}'), "header: keys must differ (got 'a' twice)"),
    "one field twice": (of(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "keys must differ (got 'dtype' twice)"),
    "NaN": (of(b'{"a": NaN}'), "header: JSON knows no NaN"),
    "Infinity": (of(b'{"a": -Infinity}'), "header: JSON knows no -Infinity"),
    "nesting": (of(b'{"a":' * 100_000), "header: JSON must not be nested that deeply"),
    "nested lists": (of(b'{"a":' + b"[" * 10**6), "header: JSON must not be nested that deeply"),
    "nesting that can be read": (of(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"), "'a' must have dtype, shape and"),
    "many digits": (of(b'{"a":' + b"9" * 10**5 + b"}"), "header: JSON must not hold numbers of thousands of digits"),
    "an entry that is none": (of({"a": 1}), "tensor 'a' must have dtype, shape and data_offsets (got 1)"),
    "an entry that is a list": (of({"a": [1, 2]}), "must have dtype, shape and data_offsets (got [1, 2])"),
    "no dtype": (of(entry(dtype=None)), "must have dtype, shape and data_offsets (got ['data_offsets', 'shape'])"),
    "no shape": (of(entry(shape=None)), "must have dtype, shape and data_offsets"),
    "no offsets": (of(entry(data_offsets=None)), "must have dtype, shape and data_offsets"),
    "a field too many": (of(entry(more=1)), "must have dtype, shape and data_offsets"),
    "a dtype of other programs": (of(entry(dtype="float32")), "dtype of 'a' must be one of BOOL, U8, "),
    "a dtype that is a number": (of(entry(dtype=4)), "(got 4)"),
    "a dtype that is a list": (of(entry(dtype=["F32"])), "(got ['F32'])"),
    "a dtype too narrow": (of(entry(dtype="F16")), "must be 4 bytes apart (got offsets 0 to 8 for F16 [2])"),
    "a dtype too wide": (of(entry(dtype="F64")), "must be 16 bytes apart (got offsets 0 to 8 for F64 [2])"),
    "a shape that is a number": (of(entry(shape=2)), "must be a list of at most 64 whole numbers below 2^63 (got 2)"),
    "a shape that is a text": (of(entry(shape="2")), "(got '2')"),
    "a negative size": (of(entry(shape=[-2])), "(got [-2])"),
    "two negative sizes": (of(entry(shape=[-2, -1])), "(got [-2, -1])"),
    "a float size": (of(entry(shape=[2.0])), "(got [2.0])"),
    "a huge float": (of(b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}}'), "(got [inf])"),
    "a size that is true": (of(entry(shape=[True, 2])), "(got [True, 2])"),
    "a size that is null": (of(entry(shape=[None])), "(got [None])"),
    "2^60 numbers": (of(entry(shape=[2**60])), "must be 4611686018427387904 bytes apart"),
    "2^60 numbers and offsets": (of(entry(shape=[2**60], data_offsets=[0, 2**62])), f"tensors need {2**62} bytes"),
    "sizes that overflow 64 bits to 2": (of(entry(shape=[2**62, 2, 2, 1])), "must make less than 2^63"),
    "a size of 2^63": (of(entry(shape=[2**63])), "whole numbers below 2^63"),
    "64 sizes of 2^62": (of(entry(shape=[2**62] * 64)), "must make less than 2^63"),
    "65 sizes": (of(entry(shape=[1] * 64 + [2])), "at most 64 whole numbers"),
    "many sizes": (of(entry(shape=[1] * 10**5)), "at most 64 whole numbers"),
    "a shape too large": (of(entry(shape=[3])), "must be 12 bytes apart (got offsets 0 to 8 for F32 [3])"),
    "nothing of far too much": (  # found by coverage
        of(entry(shape=[2**60, 2**60, 0], data_offsets=[0, 0])),
        "sizes in the shape of 'a' must make less than 2^63 (got [1152921504606846976, 1152921504606846976, 0])",
    ),
    "a sign of nothing": (  # found by coverage
        of(b'{"a": {"dtype": "U16", "shape": [0], "data_offsets": [-0, 0]}}'),
        "must be two whole numbers below 2^63 (got [-0.0, 0])",
    ),
    "no offset": (of(entry(data_offsets=[])), "must be two whole numbers below 2^63 (got [])"),
    "one offset": (of(entry(data_offsets=[8])), "must be two whole numbers"),
    "three offsets": (of(entry(data_offsets=[0, 4, 8])), "must be two whole numbers"),
    "negative offset": (of(entry(data_offsets=[-8, 0])), "must be two whole numbers"),
    "float offset": (of(entry(data_offsets=[0, 8.0])), "must be two whole numbers"),
    "offset that is false": (of(entry(data_offsets=[False, 8])), "must be two whole numbers"),
    "offset of 2^64 + 8": (of(entry(data_offsets=[2**64, 2**64 + 8])), "must be two whole numbers below 2^63"),
    "offsets that go back": (of(entry(data_offsets=[8, 0])), "must be 8 bytes apart (got offsets 8 to 0"),
    "offsets behind the end": (of(entry(data_offsets=[8, 16])), "(got 'a' at 8, not 0: it leaves a gap)"),
    "a gap": (of({"a": ONE, "b": {**ONE, "data_offsets": [12, 20]}}, bytes(20)), "at 12, not 8: it leaves a gap"),
    "an overlap": (of({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), "not 8: it overlaps"),
    "one place twice": (of({"a": ONE, "b": ONE}), "'b' at 0, not 8: it overlaps the one before"),
    "truncated": (of({"a": ONE}, bytes(7)), "need 8 bytes behind the header (got 7): the file is truncated"),
    "something behind it": (of({"a": ONE}, bytes(9)), "(got 9): the file is followed by something else"),
    "bytes of no tensor": (of({}, b"x"), "tensors need 0 bytes behind the header (got 1)"),
    "metadata that is a text": (of({"__metadata__": "pt", "a": ONE}), "must be an object of strings (got 'pt')"),
    "metadata of numbers": (of({"__metadata__": {"n": 1}, "a": ONE}), "must be an object of strings (got {'n': 1})"),
    "metadata of null": (of({"__metadata__": None}, b""), "must be an object of strings (got None)"),
    "metadata that is no text": (of(b'{"__metadata__": {"n": "\\udfff"}}', b""), "must be an object of strings"),
    "an absurd name": (of({"x" * 10**5: 1}), "tensor 'xxxx"),
    "a name of two lines": (of({"a\n\x1b[31m\u2028b": 1}), "tensor 'a\\n\\x1b[31m\\u2028b' must have"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_safetensors_file(tmp_path: Path, name: str) -> None:
    data, says = BAD[name]
    assert says in refused(tmp_path, data)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    write_file(path, [("a", "F32", (2,), [bytes(8)]), ("b", "I8", (3,), [bytes(3)])], {"k": "v"})
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(CheckpointError):
            read_file(path)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be a readable file \(No such file or directory\)"):
        read_file(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"is not a regular file"):
        read_file(tmp_path)
    for path in ("a\0b", tmp_path / "no" / "folder"):
        with pytest.raises(CheckpointError, match="can't be written"):
            write_file(path, [])
    assert not list(tmp_path.iterdir())


def test_bytes_of_this_machine_in_another_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "file", [])
    monkeypatch.setattr("sys.byteorder", "big")
    with pytest.raises(CheckpointError, match="this machine is big-endian"):
        read_file(tmp_path / "file")


def arrays() -> dict[str, np.ndarray]:
    """Every type that numpy has, no dimension, and none at all."""
    rng = np.random.default_rng(0)
    found = {f"{kind} äöü\u20ac": (99 * rng.random((3, 5))).astype(dtype) for kind, dtype in NUMPY.items()}
    return {**found, "scalar": np.array(7.5, np.float32), "none": np.zeros((4, 0, 2), np.int16), "": np.ones(1)}


def named(kind: np.dtype[Any]) -> str:
    return next(name for name, dtype in NUMPY.items() if dtype == kind)


def test_what_another_program_writes_is_read(tmp_path: Path) -> None:
    oracle = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed (extra dev)")
    wanted, metadata = arrays(), {"format": "pt", "\u20ac": "a\nb"}
    oracle.save_file(wanted, tmp_path / "theirs", metadata)
    found = read_file(tmp_path / "theirs")
    assert found.metadata == metadata
    assert found.tensors.keys() == wanted.keys()
    for name, (kind, shape, data) in found.tensors.items():
        assert (kind, shape) == (named(wanted[name].dtype), wanted[name].shape)
        assert bytes(data) == wanted[name].tobytes()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt", "\u20ac": 'a\n"b'}])
def test_what_is_written_another_program_reads(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    oracle = pytest.importorskip("safetensors", reason="safetensors is not installed (extra dev)")
    wanted = arrays()
    parts: list[Any] = [
        (name, named(a.dtype), a.shape, [a.tobytes()[:7], memoryview(a.tobytes())[7:]]) for name, a in wanted.items()
    ]
    write_file(tmp_path / "ours", parts, metadata)
    with oracle.safe_open(tmp_path / "ours", "np") as theirs:
        assert (theirs.metadata() or {}) == (metadata or {})
        assert set(theirs.keys()) == wanted.keys()
        for name, array in wanted.items():
            got = theirs.get_tensor(name)
            assert got.dtype == array.dtype
            assert np.array_equal(got, array)
    ours = read_file(tmp_path / "ours")
    assert ours.metadata == (metadata or {})
    assert all(bytes(info.data) == wanted[name].tobytes() for name, info in ours.tensors.items())


def test_another_program_refuses_what_is_refused(tmp_path: Path) -> None:
    """All but what it reads leniently."""
    oracle = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed (extra dev)")
    read = {name for name, (data, _) in BAD.items() if accepts(oracle.load, data)}
    assert read <= {"a field too many", "metadata of null"}


def accepts(load: Any, data: bytes) -> bool:
    try:
        load(data)
    except Exception:
        return False
    return True


def test_every_type_has_its_size(tmp_path: Path) -> None:
    path = tmp_path / "types"
    write_file(path, [(kind, kind, (3,), [bytes(3 * size)]) for kind, size in ITEM_BYTES.items()])
    found = read_file(path).tensors
    assert {name: len(info.data) for name, info in found.items()} == {kind: 3 * n for kind, n in ITEM_BYTES.items()}


def test_tensors_are_aligned_and_keep_their_order_otherwise(tmp_path: Path) -> None:
    parts = [("b", "I8", (3,), [b"abc"]), ("z", "F32", (1,), [bytes(4)]), ("a", "F32", (1,), [b"1234"])]
    write_file(tmp_path / "file", [*parts, ("w", "F64", (1,), [bytes(8)])])
    data = (tmp_path / "file").read_bytes()
    assert list(read_file(tmp_path / "file").tensors) == ["w", "z", "a", "b"]
    assert data.endswith(bytes(12) + b"1234abc")
    assert (len(data) - 19) % 8 == 0


def test_a_file_stays_mapped(tmp_path: Path) -> None:
    """Views are of the file itself, read-only, and live on without whoever opened it."""
    path = tmp_path / "file"
    write_file(path, [("a", "F32", (2**20,), [bytes(2**22)])])
    tracemalloc.start()
    data = read_file(path).tensors["a"].data
    assert tracemalloc.get_traced_memory()[1] < 2**16
    tracemalloc.stop()
    assert data.readonly
    assert (data.format, data.ndim, len(data)) == ("B", 1, 2**22)
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    assert data[-1] == 7
    path.unlink()
    assert data[-1] == 7


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([("a", "I8", (2,), [b"1"])], "a must have the bytes of I8 (2,) (1 are missing)"),
        ([("a", "I8", (2,), [b"12", b"34"])], "a must have the bytes of I8 (2,) (2 too many)"),
        ([("a", "I8", (1,), [b"1"]), ("a", "I8", (1,), [b"1"])], "names of tensors must differ (got 'a' twice)"),
        ([("__metadata__", "I8", (1,), [b"1"])], "names of tensors must differ (got '__metadata__' twice)"),
    ],
    ids=["too few", "too many", "twice", "metadata"],
)
def test_tensors_that_can_not_be_written(tmp_path: Path, tensors: list[Any], says: str) -> None:
    error = CheckpointError if len(tensors) == 1 and tensors[0][0] == "a" else ValueError
    with pytest.raises(error, match=re.escape(says)):
        write_file(tmp_path / "file", tensors)
    assert not list(tmp_path.iterdir())


def test_what_is_written_replaces_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def chunks() -> Any:
        yield b"1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, [("a", "I8", (2,), chunks())])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
