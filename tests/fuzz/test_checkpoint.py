"""Files: what is written is read again, both packages write the same bytes, and both refuse the same damage."""

import dataclasses
import random
import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz.mutators import mutate_checkpoint
from fuzz.readers import checkpoint_of, checkpoint_seeds, judge_checkpoint
from llama2_fast.conformance import reproduce
from llama2_fast.conformance.strategies import configs, models
from llama2_ref.formats.llama2c_header import HEADER_BYTES, Header, default_group_size
from support.models import random_twins

PACKAGES = (llama2_ref, llama2_fast)
versions = st.sampled_from((0, 1, 2))
# What a failure is told by.
READ = """\
from pathlib import Path

Path("damaged.bin").write_bytes(data)
for package in (llama2_ref, llama2_fast):
    try:
        print(package.read_checkpoint("damaged.bin"))
    except llama2_ref.CheckpointError as error:
        print(error)"""
files = {"norms": False}  # llama2.c's files imply eps and theta


def numbers(field):
    """Every tensor of a field as arrays, numbers and scales for int8."""
    if isinstance(field, llama2_ref.Int8Matrix):
        return [*numbers(field.q), *numbers(field.scale)]
    if isinstance(field, list):
        return [array for item in field for array in numbers(item)]
    if isinstance(field, np.ndarray):
        return [field]
    rows = field if isinstance(field, llama2_ref.weights.Matrix) else [field]
    return (
        [np.array([row.tolist() for row in rows])] if len(rows) > 1 else [np.array(next(iter(rows)).tolist(), ndmin=2)]
    )


def assert_equal(one, other):
    for name in vars(one):
        for a, b in zip(numbers(getattr(one, name)), numbers(getattr(other, name)), strict=True):
            assert np.array_equal(a.reshape(-1), b.reshape(-1)), name
    assert one.shared_classifier == other.shared_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@given(twins=models(**files), version=versions)
def test_round_trip(folder, twins, version):
    """Both write the same bytes, and read from either file what went in: quantized, for version 2."""
    paths = [folder / f"{package.__name__}.bin" for package in PACKAGES]
    for package, path, weights in zip(PACKAGES, paths, (twins.ref, twins.fast), strict=True):
        package.write_checkpoint(path, twins.config, weights, version)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = [package.read_checkpoint(path) for package, path in zip(PACKAGES, reversed(paths), strict=True)]
    assert read[0][0] == read[1][0] == twins.config
    assert_equal(read[0][1], read[1][1])
    if version < 2:
        assert_equal(read[0][1], twins.ref)
    else:
        group = default_group_size(twins.config)
        for layer, w in enumerate(twins.fast.w2):
            q, scale = llama2_fast.kernels.quantize_int8(w, group)
            assert np.array_equal(read[1][1].w2[layer].q, q)
            assert np.array_equal(read[1][1].w2[layer].scale, scale)
    assert not list(folder.glob("*.part"))


@given(twins=models(**files), first=versions, second=versions)
def test_any_version_can_be_written_again_as_any_other(folder, twins, first, second):
    llama2_fast.write_checkpoint(folder / "first.bin", twins.config, twins.fast, first)
    for package in PACKAGES:
        package.write_checkpoint(
            folder / f"{package.__name__}.bin", *package.read_checkpoint(folder / "first.bin"), second
        )
    again = [(folder / f"{package.__name__}.bin").read_bytes() for package in PACKAGES]
    assert again[0] == again[1]
    if first == second:
        assert again[0] == (folder / "first.bin").read_bytes()


@given(config=configs(**files), group=st.sampled_from((1, 2, 3, 5, 8, 64)), seed=st.integers(0, 99))
def test_groups_that_span_rows_are_read_by_their_numbers(folder, config, group, seed):
    """llama2.c's exporter lets groups run on into the next row, where its own reader then goes wrong."""
    twins = random_twins(config, seed)
    header = llama2_ref.formats.llama2c_header.Header(2, config, shared_classifier=True, group_size=group)
    parts = {t.name: t.rows * t.cols for t in header.tensors() if t.quantized}
    if any(size % group for size in parts.values()):
        group = 1
        header = llama2_ref.formats.llama2c_header.Header(2, config, shared_classifier=True, group_size=group)
    chunks, tables = [header.pack()], {}
    for tensor in header.tensors():
        field = getattr(twins.fast, tensor.name)
        array = np.asarray(field[tensor.layer] if isinstance(field, list) else field)
        if tensor.quantized:
            q, scale = llama2_fast.kernels.quantize_int8(array.reshape(-1), group)
            tables[tensor.name, tensor.layer] = llama2_fast.kernels.dequantize_int8(q, scale).reshape(array.shape)
            chunks += [q.tobytes(), scale.tobytes()]
        else:
            chunks.append(array.tobytes())
    (folder / "spanning.bin").write_bytes(b"".join(chunks))
    for package in PACKAGES:
        _, weights = package.read_checkpoint(folder / "spanning.bin")
        for layer in range(config.n_layers):
            w = weights.w2[layer]
            rows = w
            if isinstance(w, llama2_ref.Int8Matrix):
                assert config.hidden_dim % group == 0
                rows = [package.kernels.dequantize_int8(q, s) for q, s in zip(w.q, w.scale, strict=True)]
            got = np.array([np.asarray(row) for row in rows], np.float32)
            assert np.array_equal(got, tables["w2", layer])


@given(twins=models(longest=3, **files), version=versions, data=st.data())
def test_damage_is_refused_or_read_alike(folder, twins, version, data):
    """Bytes changed anywhere, the header above all, and the end cut off: no other error comes through."""
    path = folder / "damaged.bin"
    llama2_fast.write_checkpoint(path, twins.config, twins.fast, version)
    damaged = bytearray(path.read_bytes())
    header = HEADER_BYTES[version]
    places = st.one_of(st.integers(0, min(header, 48) - 1), st.integers(0, len(damaged) - 1))
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        damaged[data.draw(places, label="where")] = data.draw(st.integers(0, 255), label="byte")
    lengths = st.one_of(st.just(len(damaged)), st.integers(0, len(damaged)))
    del damaged[data.draw(lengths, label="length") :]
    path.write_bytes(damaged)
    reproduce.current_script = lambda: reproduce.script(READ, data=bytes(damaged))
    outcomes: list[Any] = []
    for package in PACKAGES:
        try:
            config, weights = package.read_checkpoint(path)
            outcomes.append(
                (
                    config,
                    [a.tobytes() for name in vars(weights) for a in map(as_float32, numbers(getattr(weights, name)))],
                )
            )
        except llama2_ref.CheckpointError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def as_float32(array):
    """The bytes of either package's numbers: int8, or float32, NaN included."""
    return array.astype(np.float32)


SEEDS = checkpoint_seeds()


@given(seed=st.sampled_from(range(len(SEEDS))), changes=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
def test_what_is_nearly_a_checkpoint_is_refused_or_bears_use(folder, seed, changes):
    """By the changes that coverage.py makes: most of these headers are right, and numbers are of any kind."""
    data = SEEDS[seed]
    for change in changes:
        data = mutate_checkpoint(data, 6000, random.Random(change), lambda data, longest: data)
    (folder / "nearly.bin").write_bytes(data)
    judge_checkpoint(folder / "nearly.bin")


SMALL = llama2_ref.Config(4, 2, 1, 1, 1, 3, 2)  # in version 0 its embedding table follows the 28 bytes of the header
SPANNING = Header(2, SMALL, shared_classifier=True, group_size=4)  # w2 has rows of two numbers


W2 = next(tensor.offset for tensor in SPANNING.tensors() if tensor.name == "w2")  # eight numbers, then two scales


@pytest.mark.parametrize(
    ("header", "place", "number"),
    [
        (Header(0, SMALL, True), 28, b"\1\0\x80\x7f"),  # a signalling NaN: the reference's copy was a quiet one
        (SPANNING, W2, struct.pack("<8bf", *[0] * 8, float("inf"))),  # numpy warned of 0 * infinity when it was read,
        (SPANNING, W2, struct.pack("<8bf", *[9] * 8, 3e38)),  # and of numbers beyond float32
        (Header(0, SMALL, True), 28, struct.pack("<5f", 1e30, 0, 0, 0, float("nan"))),  # int4: each named one of them
    ],
    ids=["signalling NaN", "infinite scale", "large scale", "two reasons against int4"],
)
def test_what_coverage_found(folder, header, place, number):
    data = bytearray(checkpoint_of(header))
    data[place : place + len(number)] = number
    (folder / "found.bin").write_bytes(data)
    judge_checkpoint(folder / "found.bin")


@given(config=configs(**files))
@example(llama2_ref.Config(64, 172, 5, 8, 4, 512, 512))
@example(llama2_ref.Config(288, 768, 6, 6, 6, 32000, 256))
def test_the_group_size_divides_rows(config):
    """The largest of at most 64 that divides both dim and hidden_dim, so that every reader finds whole groups."""
    group = default_group_size(config)
    fits = [size for size in range(1, 65) if config.dim % size == 0 and config.hidden_dim % size == 0]
    assert group == max(fits)


def test_known_group_sizes():
    assert default_group_size(llama2_ref.Config(64, 172, 5, 8, 4, 512, 512)) == 4
    assert default_group_size(llama2_ref.Config(288, 768, 6, 6, 6, 32000, 256)) == 48
    assert default_group_size(llama2_ref.Config(768, 2048, 12, 12, 12, 32000, 1024)) == 64


def by_hand(version: int, group: int = 2) -> tuple[bytes, dict[str, float]]:
    """A tiny checkpoint as llama2.c's export.py lays it out, number by number; each tensor has its own ones.

    dim 4, hidden_dim 2, 2 layers, 2 heads, 1 key/value head, 3 tokens, context 1, separate classifier.
    """
    sizes, values = (4, 2, 2, 2, 1, 3, 1), {}
    data = [struct.pack("<I", 0x616B3432), struct.pack("<i", version), struct.pack("<7i", *sizes), struct.pack("<B", 0)]
    data += [struct.pack("<i", group)] if version == 2 else []
    data.append(bytes(256 - sum(map(len, data))))
    norms = [("rms_att_weight", 8), ("rms_ffn_weight", 8), ("rms_final_weight", 4)]
    layers = [("wq", 16), ("wk", 8), ("wv", 8), ("wo", 16), ("w1", 8), ("w2", 8), ("w3", 8)]
    order = [*norms, ("token_embedding_table", 12), *(item for item in layers for _ in range(2)), ("wcls", 12)]
    for i, (name, count) in enumerate(order):
        values.setdefault(name, []).append(1.0 + i)
        if version == 2 and not name.startswith("rms"):
            data += [bytes([127] * count), struct.pack(f"<{count // group}f", *[(1.0 + i) / 127] * (count // group))]
        else:
            data.append(struct.pack(f"<{count}f", *[1.0 + i] * count))
    return b"".join(data), values


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("package", PACKAGES)
def test_tensors_come_in_llama2_c_s_order(package, folder, version):
    """The packages share their table of the order: a file that does not come from it shows where it is wrong."""
    data, values = by_hand(version)
    (folder / "hand.bin").write_bytes(data)
    config, weights = package.read_checkpoint(folder / "hand.bin")
    assert list(vars(config).values())[:7] == [4, 2, 2, 2, 1, 3, 1]
    expected: Any
    for name, expected in values.items():
        field = getattr(weights, name)
        for layer, value in enumerate(expected):
            w = field[layer] if isinstance(field, list) else field
            if isinstance(w, llama2_ref.Int8Matrix):
                w = [package.kernels.dequantize_int8(q, s) for q, s in zip(w.q, w.scale, strict=True)]
            got = np.array([np.asarray(row) for row in w], np.float32)
            assert np.array_equal(got, np.full_like(got, value)), name
    package.write_checkpoint(folder / "again.bin", config, weights, version)
    assert (folder / "again.bin").read_bytes() == data


def test_version_0_ends_with_the_tables_of_rope(folder):
    """Cosines, then sines, of every position, which some other programs read; then the separate classifier."""
    config = llama2_ref.Config(8, 4, 1, 2, 1, 3, 5)
    twins = random_twins(config, seed=1, shared=False)
    llama2_fast.write_checkpoint(folder / "tables.bin", config, twins.fast, version=0)
    tables = [llama2_ref.kernels.rope_table(position, 4, 10000.0) for position in range(5)]
    expected = np.array([[t[0] for t in tables], [t[1] for t in tables]], np.float32).tobytes()
    data = (folder / "tables.bin").read_bytes()
    classifier = np.asarray(twins.fast.wcls).tobytes()
    assert data.endswith(expected + classifier)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_large_tensors_are_written_in_parts(folder, monkeypatch, version):
    """Fewer numbers at a time than a row has, and than a matrix has."""
    twins = random_twins(llama2_ref.Config(12, 8, 2, 2, 1, 7, 3), seed=2)
    llama2_ref.write_checkpoint(folder / "whole.bin", twins.config, twins.ref, version)
    for chunk in (7, 30):
        monkeypatch.setattr("llama2_fast.quantize.CHUNK", chunk)
        llama2_fast.write_checkpoint(folder / "parts.bin", twins.config, twins.fast, version)
        assert (folder / "parts.bin").read_bytes() == (folder / "whole.bin").read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_int8_weights_with_other_groups_are_grouped_anew(package, folder):
    data, _ = by_hand(2, group=1)
    (folder / "ones.bin").write_bytes(data)
    package.write_checkpoint(folder / "twos.bin", *package.read_checkpoint(folder / "ones.bin"), version=2)
    config, weights = package.read_checkpoint(folder / "twos.bin")
    assert weights.w1[0].group_size == default_group_size(config) == 2


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("change", "version", "says"),
    [
        ({"norm_eps": 1e-6}, 1, "norm_eps"),
        ({"rope_theta": 5e5}, 0, "rope_theta"),
        ({"seq_len": 2**31}, 1, "at most"),
        ({}, 3, "version"),
    ],
)
def test_what_a_file_can_not_hold_is_refused(package, folder, change, version, says):
    config = dataclasses.replace(llama2_ref.Config(4, 2, 1, 1, 1, 3, 2), **change)
    twins = random_twins(config, seed=0)
    weights = twins.ref if package is llama2_ref else twins.fast
    with pytest.raises(llama2_ref.CheckpointError, match=says):
        package.write_checkpoint(folder / "refused.bin", config, weights, version)
    assert not (folder / "refused.bin").exists()


def test_a_file_that_is_replaced_hands_on_its_permissions(folder):
    twins = random_twins(llama2_ref.Config(4, 2, 1, 1, 1, 3, 2), seed=0)
    path = folder / "private.bin"
    llama2_fast.write_checkpoint(path, twins.config, twins.fast)
    path.chmod(0o600)
    llama2_fast.write_checkpoint(path, twins.config, twins.fast)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("package", PACKAGES)
def test_tensors_beyond_four_gigabytes_are_found(package, folder):
    """A file of 4 GB and more, nearly all of it a hole: offsets must not be numbers of 32 bits."""
    config = llama2_ref.Config(16384, 1, 1, 1, 1, 65536, 1)
    header = llama2_ref.formats.llama2c_header.Header(1, config, shared_classifier=True)
    *_, last = header.tensors()
    path = folder / "large.bin"
    try:
        with open(path, "wb") as file:
            file.write(header.pack())
            file.truncate(header.file_bytes())
            file.seek(last.offset)
            file.write(struct.pack("<3f", 1.0, 2.0, 3.0))
        if sys.platform != "linux" or path.stat().st_blocks * 512 > 2**26:
            pytest.skip("files have no holes here")
        assert last.offset > 2**32
        _, weights = package.read_checkpoint(path)
        assert list(weights.w3[0][0][:4]) == [1.0, 2.0, 3.0, 0.0]
        assert list(weights.token_embedding_table[0][:4]) == [0.0] * 4
    finally:
        path.unlink()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("package", PACKAGES)
def test_version_0_is_read_number_by_number(package, folder, shared):
    """As llama2.c's legacy_export lays it out: norms among the matrices, then two tables that nobody reads."""
    sizes = (4, 2, 2, 2, 1, 3, 5)
    order = [("token_embedding_table", 12), ("rms_att_weight", 8), *((name, 16) for name in ("wq",) * 2)]
    order += [*(("wk", 8),) * 2, *(("wv", 8),) * 2, *(("wo", 16),) * 2, ("rms_ffn_weight", 8)]
    order += [*(("w1", 8),) * 2, *(("w2", 8),) * 2, *(("w3", 8),) * 2, ("rms_final_weight", 4), ("tables", 10)]
    order += [] if shared else [("wcls", 12)]
    data, values = struct.pack("<7i", *sizes[:5], 3 if shared else -3, 5), {}
    for i, (name, count) in enumerate(order):
        values.setdefault(name, []).append(1.0 + i)
        data += struct.pack(f"<{count}f", *[1.0 + i] * count)
    (folder / "legacy.bin").write_bytes(data)
    config, weights = package.read_checkpoint(folder / "legacy.bin")
    assert list(vars(config).values())[:7] == list(sizes)
    assert weights.shared_classifier == shared
    for name, expected in values.items():
        if name != "tables":
            found = [set(array.reshape(-1).tolist()) for array in numbers(getattr(weights, name))]
            assert set().union(*found) == set(expected), name
            assert all(len(each) == 1 for each in found), name


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_integers_of_a_single_row_become_floats(folder, kind):
    """hidden_dim and vocab_size of 1: the smallest matrices that there are."""
    config = llama2_ref.Config(4, 1, 1, 2, 1, 1, 8)
    twins = random_twins(config, 1)
    for package, weights in ((llama2_ref, twins.ref), (llama2_fast, twins.fast)):
        package.write_checkpoint(folder / package.__name__, config, package.quantize_weights(weights, kind), version=0)
    assert (folder / "llama2_fast").read_bytes() == (folder / "llama2_ref").read_bytes()
