"""Sessions: what is in the file is the cache, bit for bit; everything that is not right is one line."""

import io
import os
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from llama2_ref.formats.dtypes import row_bytes
from llama2_ref.formats.safetensors import read_file, write_file
from support.commands import INTERRUPTIBLE, SECONDS, run, small_disk, start, write_scripted
from support.models import random_twins, write_model
from support.seam import ARRAYS

posix = pytest.mark.skipif(os.name != "posix", reason="needs the signals and limits of POSIX")

CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64)
Capture = pytest.CaptureFixture[str]
PROMPT = [1, 260, 261, 262, 263, 264, 265]
ENGINES = {"reference": (llama2_ref, {}), "numpy": (llama2_fast, {"backend": "numpy"})}
ENGINES["simd"] = llama2_fast, {"backend": "simd"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("random"), CONFIG, seed=2)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of one of the three engines."""
    if request.param == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    return str(request.param)


def load(engine: str, path: Path, **options: Any) -> tuple[ModuleType, Any]:
    package, knobs = ENGINES[engine]
    return package, package.load(path, **options, **knobs)


def saved(engine: str, path: Path, file: Path, tokens: list[int] = PROMPT, **options: Any) -> Any:
    """A session of these tokens, and the cache that is in it."""
    package, loaded = load(engine, path, **options)
    session = package.Session(file, loaded.transformer)
    cache = session.begin(tokens)
    loaded.transformer.forward(tokens, cache)
    session.save(tokens)
    return cache


def numbers(cache: Any) -> list[list[list[float]]]:
    return [[[float(x) for x in row] for row in layer] for layer in (*cache.keys, *cache.values)]


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("count", [1, 7, 16, 33])
def test_what_is_read_is_what_was_written(engine: str, model: Path, tmp_path: Path, count: int) -> None:
    tokens = [1, *range(259, 258 + count)]
    cache = saved(engine, model, tmp_path / "s", tokens)
    package, loaded = load(engine, model)
    session = package.Session(tmp_path / "s", loaded.transformer)
    assert (session.tokens, session.cache.length) == (tokens, count)
    assert numbers(session.cache) == numbers(cache)
    following = [list(loaded.transformer.forward([300, 301], each)) for each in (cache, session.cache)]
    assert following[0] == following[1]


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("reader", ENGINES)
def test_engines_read_each_other_s(engine: str, reader: str, model: Path, tmp_path: Path, quantize: str | None) -> None:
    """float32 as it is, float64 rounded once; and what follows is what the reader computes from that."""
    if reader == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    cache = saved(engine, model, tmp_path / "s", quantize=quantize)
    package, loaded = load(reader, model, quantize=quantize)
    session = package.Session(tmp_path / "s", loaded.transformer)
    found, wrote = np.array(numbers(session.cache)), np.array(numbers(cache))
    assert np.array_equal(found, wrote if package is llama2_ref else wrote.astype(np.float32))
    assert len(loaded.transformer.forward([300], session.cache)) == 400


def test_a_file_is_plain_safetensors(engine: str, model: Path, tmp_path: Path) -> None:
    cache = saved(engine, model, tmp_path / "s")
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    found = safetensors.load_file(tmp_path / "s")
    assert {name: array.shape for name, array in found.items()} == {
        "tokens": (7,),
        "keys": (2, 7, 8),
        "values": (2, 7, 8),
    }
    assert found["keys"].dtype == (np.float64 if engine == "reference" else np.float32)
    assert found["tokens"].tolist() == PROMPT
    assert np.array_equal(np.concatenate((found["keys"], found["values"])), np.array(numbers(cache)))


@pytest.mark.parametrize(
    ("prompt", "length"),
    [(PROMPT, 6), (PROMPT[:4], 3), ([*PROMPT, 300, 301], 7), ([1, 260, 300], 2), ([1], 0), ([300, 1], 0)],
    ids=["the same", "shorter", "longer", "parting", "one token", "another"],
)
def test_a_prompt_goes_on_where_it_parts_from_the_session(
    engine: str, model: Path, tmp_path: Path, prompt: list[int], length: int
) -> None:
    """At least its last token is read, for the logits; what follows is as if nothing had been there."""
    saved(engine, model, tmp_path / "s")
    package, loaded = load(engine, model)
    session = package.Session(tmp_path / "s", loaded.transformer)
    cache = session.begin(prompt)
    assert cache.length == length
    anew = loaded.transformer.new_cache()
    for tokens in (prompt[:length], prompt[length:]):
        expected = loaded.transformer.forward(tokens, anew) if tokens else None
    assert np.allclose(loaded.transformer.forward(prompt[length:], cache), expected, 1e-4, 1e-5)
    assert cache.length == len(prompt)


# --------------------------------------------------------------------------------------------------------------- texts


def test_a_text_is_the_same_with_a_session(engine: str, model: Path, tmp_path: Path) -> None:
    """Twice: when the file is made, and when the prompt is in it; only what is new is read."""
    package, loaded = load(engine, model)
    expected = loaded.generate("abcabc", 40, seed=1)
    text = "".join(expected)
    for run_ in range(2):
        session = package.Session(tmp_path / "s", loaded.transformer)
        stream = loaded.generate("abcabc", 40, seed=1, session=session)
        assert "".join(stream) == text
        session.save(stream.tokens)
        assert stream.prompt_read == (stream.prompt_length if run_ == 0 else 1)
        assert session.tokens == stream.tokens[: session.cache.length]
        assert len(session.tokens) > stream.prompt_length


def test_a_longer_prompt_reads_only_the_rest(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    loaded = llama2.load(model)
    for prompt, read in (("zzzzz", 6), ("zzzzz yyy", 4)):
        session = llama2.Session(tmp_path / "s", loaded.transformer)
        stream = loaded.generate(prompt, 12, seed=1, session=session)
        list(stream)
        session.save(stream.tokens[: stream.prompt_length])
        assert stream.prompt_read <= read


def test_samples_and_chats_use_a_session(engine: str, model: Path, tmp_path: Path) -> None:
    package, loaded = load(engine, model)
    plain = ["".join(stream) for stream in loaded.samples("abc", 3, 30, seed=4)]
    answers = ["".join(loaded.chat([{"role": "user", "content": "a"}], 60, seed=4))]
    for count in range(2):
        session = package.Session(tmp_path / "s", loaded.transformer)
        streams = loaded.samples("abc", 3, 30, seed=4, session=session)
        assert ["".join(stream) for stream in streams] == plain
        session.save(streams[0].tokens)
        assert streams[0].prompt_read == (streams[0].prompt_length if count == 0 else 1)
    for count in range(4):
        session = package.Session(tmp_path / f"c{count // 2}", loaded.transformer)
        if count < 2:
            stream = loaded.conversation(60, seed=4, session=session).say("a")
        else:
            stream = loaded.chat([{"role": "user", "content": "a"}], 60, seed=4, session=session)
        answers.append("".join(stream))
        session.save(stream.tokens)
        assert stream.prompt_read == (stream.prompt_length if count % 2 == 0 else 1)
    assert len(set(answers)) == 1


def test_nothing_is_written_that_is_there(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "s"
    loaded = llama2.load(model)
    session = llama2.Session(file, loaded.transformer)
    session.save(PROMPT)
    assert not file.exists()  # nothing has been read
    loaded.transformer.forward(PROMPT, session.begin(PROMPT))
    session.save([*PROMPT, 300])
    before = file.stat().st_ino, file.read_bytes()
    session.save(PROMPT)
    session.begin(PROMPT[:3])
    session.save(PROMPT[:3])  # is in what is there
    assert (file.stat().st_ino, file.read_bytes()) == before
    assert read_file(file).tensors["tokens"].shape == (7,)


RELATIONS = {  # of the tokens that are saved to PROMPT, which is in the file: are they written?
    "equal": (PROMPT, False),
    "a prefix": (PROMPT[:4], False),
    "its first token": (PROMPT[:1], False),
    "none": ([], False),
    "longer": ([*PROMPT, 300], True),
    "as long, with another end": ([*PROMPT[:-1], 300], True),
    "as long, with another beginning": ([300, *PROMPT[1:]], True),
    "as long, with another middle": ([*PROMPT[:3], 300, *PROMPT[4:]], True),
    "shorter, with another end": ([*PROMPT[:3], 300], True),
    "shorter, with another beginning": ([300, *PROMPT[1:5]], True),
    "one other token": ([300], True),
    "longer, with another beginning": ([300, *PROMPT], True),
    "longer, with another end": ([*PROMPT[:5], 300, 301, 302, 303], True),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_a_file_holds_after_another_text(engine: str, model: Path, tmp_path: Path, relation: str) -> None:
    """That text, whatever the file held, unless it held as much of it; by the same object, and by one that reads it."""
    tokens, written = RELATIONS[relation]
    package, loaded = load(engine, model)
    for again in (False, True):
        file = tmp_path / f"s{again}"
        session = package.Session(file, loaded.transformer)
        loaded.transformer.forward(PROMPT, session.begin(PROMPT))
        session.save(PROMPT)
        before = file.stat().st_ino, file.read_bytes()
        session = package.Session(file, loaded.transformer) if again else session
        cache = session.begin(tokens)
        if tokens:
            loaded.transformer.forward(tokens[cache.length :], cache)
        session.save(tokens)
        assert ((file.stat().st_ino, file.read_bytes()) != before) == written
        expected = tokens if written else PROMPT
        found = package.Session(file, loaded.transformer)
        assert session.tokens == found.tokens == expected
        anew = loaded.transformer.new_cache()
        loaded.transformer.forward(expected, anew)
        assert np.allclose(numbers(found.cache), numbers(anew), 1e-4, 1e-5)


@pytest.mark.parametrize("kept", [False, True], ids=["not saved", "saved"])
@pytest.mark.parametrize(
    "between", [PROMPT[:3], [*PROMPT[:3], 300, 301], [300] * 9], ids=["prefix", "parting", "other"]
)
def test_a_session_knows_what_a_text_has_written_over(
    engine: str, model: Path, tmp_path: Path, between: list[int], kept: bool
) -> None:
    """One object, two texts: of what the file held, the second one must not find what the first has replaced."""
    saved(engine, model, tmp_path / "s")
    package, loaded = load(engine, model)
    session = package.Session(tmp_path / "s", loaded.transformer)
    cache = session.begin(between)
    loaded.transformer.forward(between[cache.length :], cache)
    if kept:
        session.save(between)
    found = loaded.transformer.forward([*PROMPT, 305][session.begin([*PROMPT, 305]).length :], session.cache)
    anew = loaded.transformer.forward([*PROMPT, 305], loaded.transformer.new_cache())
    assert np.allclose(found, anew, 1e-4, 1e-5)
    session.save([*PROMPT, 305])
    assert package.Session(tmp_path / "s", loaded.transformer).tokens == [*PROMPT, 305]


# ----------------------------------------------------------------------------------------------------- the command line


def test_the_command_line_keeps_a_session(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    argv = [model, "-i", "abcabc", "-s", "1", "-n", "40", "--session", tmp_path / "s"]
    done = [run(llama2, *argv) for _ in range(2)]
    assert done[0].stdout == done[1].stdout == run(llama2, *argv[:-2]).stdout
    lines = [each.stderr.decode().splitlines()[-1] for each in done]
    assert lines[0].startswith("session: 0 of ")
    prompt = int(lines[0].split()[3])
    assert lines[1].startswith(f"session: {prompt - 1} of {prompt} tokens of the prompt were there, ")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("argv", [["-m", "chat"], ["--samples", "2"]], ids=["chat", "samples"])
def test_chats_and_samples_keep_one_too(
    llama2: ModuleType, model: Path, tmp_path: Path, argv: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        words = [str(model), "-i", "a", "-s", "1", "-n", "50", "--session", str(tmp_path / "s"), *argv]
        assert main(llama2, words) == 0
        told.append(capsys.readouterr())
    assert told[0].out == told[1].out
    assert [each.err.splitlines()[-1].startswith("session: 0 of ") for each in told] == [True, False]


@posix
@pytest.mark.usefixtures("sigint_ignored")
def test_ctrl_c_keeps_what_has_been_read(llama2: ModuleType, tmp_path: Path) -> None:
    path = write_scripted(tmp_path, [b"a", b"b"], loop=True, seq_len=2_000_000)
    with start(llama2, path, "-n", "0", "-i", "1", "--session", tmp_path / "s", first=INTERRUPTIBLE) as process:
        process.stdout.read(30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert read_file(tmp_path / "s").tensors["tokens"].shape[0] > 20


# --------------------------------------------------------------------------------------------------------------- errors


def refused(llama2: ModuleType, model: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the library and the command line say, which must be the same line."""
    loaded = llama2.load(model)
    with pytest.raises(llama2.CheckpointError) as error:
        llama2.Session(file, loaded.transformer)
    assert main(llama2, [str(model), "-i", "a", "--session", str(file)]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if " parameters, " not in line]
    assert (out, lines) == ("", [f"python -m {llama2.__name__}: {error.value}"])
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value).removeprefix(f"{file}: ")


def test_another_model_s_session(llama2: ModuleType, model: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    other.mkdir()
    saved("reference", write_model(other, CONFIG, seed=3), tmp_path / "s")
    assert "must be of this model, with the same weights and quantization" in refused(
        llama2, model, tmp_path / "s", capsys
    )


def test_another_quantization_s_session(engine: str, model: Path, tmp_path: Path) -> None:
    saved(engine, model, tmp_path / "s", quantize="int8")
    for quantize in (None, "int4"):
        package, loaded = load(engine, model, quantize=quantize)
        with pytest.raises(package.CheckpointError, match="must be of this model"):
            package.Session(tmp_path / "s", loaded.transformer)


def test_a_folder_that_is_missing_is_said_before_the_work(
    llama2: ModuleType, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert "in a folder that is there" in refused(llama2, model, tmp_path / "gone" / "s", capsys)
    assert "is not a regular file" in refused(llama2, model, tmp_path, capsys)


def test_a_name_that_is_none(llama2: ModuleType, model: Path) -> None:
    for path in ("", "/", "a\0b/c"):
        with pytest.raises(llama2.CheckpointError):
            llama2.Session(path, llama2.load(model).transformer)


def rewritten(file: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    """The file, of which `change` has changed the tensors, (kind, shape, bytes), and the metadata."""
    found = read_file(file)
    tensors = {name: (each.dtype, each.shape, bytes(each.data)) for name, each in found.tensors.items()}
    metadata = dict(found.metadata)
    change(tensors, metadata)
    write_file(file, [(name, kind, shape, [data]) for name, (kind, shape, data) in tensors.items()], metadata)


def with_checksum(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any], dict[str, str]], None]:
    from zlib import crc32

    def changed(tensors: dict[str, Any], metadata: dict[str, str]) -> None:
        change(tensors)
        checksum = 0
        for name in ("tokens", "keys", "values"):
            checksum = crc32(tensors[name][2], checksum)
        metadata["crc32"] = f"{checksum:08x}"

    return changed


def spoil(number: float) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        kind, shape, data = tensors["values"]
        tensors["values"] = kind, shape, data[:-8] + struct.pack("<d", number)

    return change


def put(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({name: (kind, shape, data)})


HOSTILE = {
    "no metadata": (lambda t, m: m.clear(), "that --session has written"),
    "another format": (lambda t, m: m.update(format="x"), "that --session has written"),
    "one tensor more": (lambda t, m: t.update(x=("U8", (1,), b"1")), "that --session has written"),
    "one tensor less": (lambda t, m: t.pop("keys"), "that --session has written"),
    "a later version": (lambda t, m: m.update(version="2"), "must be of version 1 (got '2')"),
    "a long version": (lambda t, m: m.update(version="2\n" * 1000), "must be of version 1 (got '2"),
    "no version": (lambda t, m: m.pop("version"), "must be of version 1 (got None)"),
    "no model": (lambda t, m: m.pop("model"), "must be of this model"),
    "no checksum": (lambda t, m: m.pop("crc32"), "(this is damaged)"),
    "another checksum": (lambda t, m: m.update(crc32="00000000"), "(this is damaged)"),
    "tokens outside": (with_checksum(put("tokens", "I32", (7,), struct.pack("<7i", *[400] * 7))), "(this is damaged)"),
    "tokens below 0": (with_checksum(put("tokens", "I32", (7,), struct.pack("<7i", *[-1] * 7))), "(this is damaged)"),
    "tokens of 64 bits": (with_checksum(put("tokens", "I64", (7,), bytes(56))), "must hold tokens (T)"),
    "tokens in a table": (with_checksum(put("tokens", "I32", (7, 1), bytes(28))), "must hold tokens (T)"),
    "one token less": (with_checksum(put("tokens", "I32", (6,), bytes(24))), "must hold tokens (T)"),
    "no token": (with_checksum(put("tokens", "I32", (0,), b"")), "must hold tokens (T)"),
    "half the keys": (with_checksum(put("keys", "F64", (2, 7, 4), bytes(448))), "must hold tokens (T)"),
    "keys of other types": (with_checksum(put("keys", "F32", (2, 7, 8), bytes(448))), "must hold tokens (T)"),
    "many dimensions": (with_checksum(put("keys", "F64", (1,) * 60, bytes(8))), "must hold tokens (T)"),
    "infinity": (with_checksum(spoil(float("inf"))), "must be finite"),
    "NaN": (with_checksum(spoil(float("nan"))), "must be finite"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_file(llama2: ModuleType, model: Path, tmp_path: Path, capsys: Capture, how: str) -> None:
    change, says = HOSTILE[how]
    saved("reference", model, tmp_path / "s")
    rewritten(tmp_path / "s", change)
    told = refused(llama2, model, tmp_path / "s", capsys)
    assert says in told
    assert len(told) < 400


def test_more_tokens_than_the_context_holds(llama2: ModuleType, model: Path, tmp_path: Path, capsys: Capture) -> None:
    """Of a model that says so itself: sizes are looked at before anything is made of them."""
    saved("reference", model, tmp_path / "s")

    def longer(tensors: dict[str, Any]) -> None:
        tensors["tokens"] = "I32", (65,), bytes(4 * 65)
        for name in ("keys", "values"):
            tensors[name] = "F64", (2, 65, 8), bytes(8 * 2 * 65 * 8)

    rewritten(tmp_path / "s", with_checksum(longer))
    assert "must hold tokens (T)" in refused(llama2, model, tmp_path / "s", capsys)


def test_what_float32_can_not_hold(model: Path, tmp_path: Path, capsys: Capture) -> None:
    saved("reference", model, tmp_path / "s")
    rewritten(tmp_path / "s", with_checksum(spoil(1e300)))
    assert "must be finite" in refused(llama2_fast, model, tmp_path / "s", capsys)
    llama2_ref.Session(tmp_path / "s", llama2_ref.load(model).transformer)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_truncated_file(llama2: ModuleType, model: Path, tmp_path: Path, capsys: Capture, length: int) -> None:
    saved("numpy" if llama2 is llama2_fast else "reference", model, tmp_path / "s")
    whole = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(whole[:length])
    refused(llama2, model, tmp_path / "s", capsys)


def test_every_byte_counts(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    """Whatever byte is changed, wherever it lies: the file is refused, or, in blanks of its header, means the same."""
    saved("reference", model, tmp_path / "s")
    transformer, whole = llama2.load(model).transformer, bytearray((tmp_path / "s").read_bytes())
    expected = numbers(llama2.Session(tmp_path / "s", transformer).cache)
    for place in np.random.default_rng(1).integers(0, len(whole), 150):
        whole[place] ^= 1
        (tmp_path / "s").write_bytes(whole)
        whole[place] ^= 1
        with pytest.raises(llama2.CheckpointError):
            raise_unless_same(llama2.Session(tmp_path / "s", transformer), expected, llama2)


def raise_unless_same(session: Any, expected: Any, llama2: ModuleType) -> None:
    assert session.tokens == PROMPT
    assert numbers(session.cache) == expected
    raise llama2.CheckpointError("the same")


@posix
def test_a_full_disk_leaves_the_old_session(llama2: ModuleType, model: Path, tmp_path: Path) -> None:
    saved("reference", model, tmp_path / "s")
    before = (tmp_path / "s").read_bytes()
    done = run(llama2, model, "-i", "zyx", "-s", "1", "--session", tmp_path / "s", first=small_disk(1000))
    assert done.returncode == 2
    assert b"can't be written (File too large)" in done.stderr.splitlines()[-1]
    assert b"zyx" in done.stdout
    assert (tmp_path / "s").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


# ---------------------------------------------------------------------------------------------------------- fingerprint


@pytest.mark.parametrize("version,quantize", [(1, None), (1, "int8"), (1, "int4"), (2, None), (2, "float32")])
def test_every_engine_has_the_same_fingerprint(tmp_path: Path, version: int, quantize: str | None) -> None:
    pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    path = write_model(tmp_path, CONFIG, seed=2, version=version)
    found = set()
    for engine in ENGINES:
        saved(engine, path, tmp_path / engine, quantize=quantize)
        found.add(read_file(tmp_path / engine).metadata["model"])
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_every_kind_of_matrix_has_the_same_fingerprint(kind: str) -> None:
    """As the twins decode it: floats of 16 bits, and GGML's blocks."""
    data = np.random.default_rng(1).integers(0, 256, 64 * row_bytes(kind, 32), np.uint8)
    blocks = memoryview((data & 0xBF).tobytes())  # no NaN, no infinity
    seen = set()
    for arrays in ARRAYS.values():
        matrix = arrays.matrix_from_bytes(kind, blocks, 64, 32)
        seen.add(b"".join(arrays.fingerprint_bytes(matrix, None)))
    assert len(seen) == 1


def change_number(name: str, place: tuple[int, ...], weights: Any) -> None:
    """Another number at a place of a tensor, or of a layer's."""
    field = getattr(weights, name)
    if isinstance(field, list):
        field[place[0]][place[1:]] = 7
    else:
        field[place] = 7


def test_what_a_fingerprint_sees() -> None:
    """Each size and constant, the norms, and of each matrix the first and last row; not every row."""
    prints = {}

    def add(name: str, config: Any = CONFIG, change: Any = lambda weights: None) -> None:
        twins = random_twins(CONFIG, seed=1, shared=False)
        change(twins.fast)
        transformer = llama2_fast.Transformer(config, twins.fast, backend="numpy")
        session = llama2_fast.Session("none.session", transformer)
        prints[name] = session._model

    add("as it is")
    add("theta", llama2_ref.Config(16, 32, 2, 4, 2, 400, 64, rope_theta=1e6))
    add("eps", llama2_ref.Config(16, 32, 2, 4, 2, 400, 64, norm_eps=1e-6))
    matrices = ["wq", "wk", "wv", "wo", "w1", "w2", "w3"]
    for name in matrices:
        for layer, row in ((0, 0), (1, -1)):
            add(f"{name}{layer}", change=partial(change_number, name, (layer, row, 3)))
    for name in ("token_embedding_table", "wcls", "rms_att_weight", "rms_ffn_weight"):
        add(name, change=partial(change_number, name, (-1, 5)))
    add("rms_final_weight", change=lambda w: w.rms_final_weight.__setitem__(5, 7))
    assert len(set(prints.values())) == len(prints)
    before = dict(prints)
    add("as it is", change=lambda w: w.w1[0].__setitem__((1, 3), 7))
    assert before == prints
