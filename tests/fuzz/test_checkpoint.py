"""Files: what is written is read again, both packages write the same bytes, and both refuse the same damage."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz.strategies import configs, models
from llama2_ref._format import HEADER_BYTES, default_group_size
from models import random_twins

PACKAGES = (llama2_ref, llama2_fast)
versions = st.sampled_from((0, 1, 2))
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
    header = llama2_ref._format.Header(2, config, shared_classifier=True, group_size=group)
    parts = {t.name: t.rows * t.cols for t in header.tensors() if t.quantized}
    if any(size % group for size in parts.values()):
        group = 1
        header = llama2_ref._format.Header(2, config, shared_classifier=True, group_size=group)
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
    path.write_bytes(damaged[: data.draw(lengths, label="length")])
    outcomes = []
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
