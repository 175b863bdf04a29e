"""What is wrong with a file, a prompt or a flag is told in one line, by the library and by the command line alike."""

import io
import os
import re
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from llama2_ref.formats.llama2c import map_checkpoint
from support.commands import run
from support.models import random_twins, vocabulary, write_model, write_tokenizer

posix = pytest.mark.skipif(os.name != "posix", reason="needs arguments of any bytes, or limits, as POSIX has")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory that is enforced, as on Linux")

TINY = llama2_ref.Config(dim=4, hidden_dim=4, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=5, seq_len=8)
CONFIG = llama2_ref.Config(dim=16, hidden_dim=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=64)
MAGIC = struct.pack("<I", 0x616B3432)
SIZES = tuple(vars(TINY).values())[:7]
NAN, INF = float("nan"), float("inf")

Refuse = Callable[..., str]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model that is as it should be."""
    return write_model(tmp_path_factory.mktemp("good"), CONFIG)


@pytest.fixture
def refuse(llama2: ModuleType, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Run the command line, which must exit with 2: its complaint, which must be one line, behind the description."""

    def refuse(*argv: str | Path, stdin: bytes = b"") -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        assert main(llama2, [str(word) for word in argv]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if " parameters, " not in line]
        assert len(lines) == 1, lines
        start = f"python -m {llama2.__name__}: "
        assert lines[0].startswith(start)
        return lines[0].removeprefix(start)

    return refuse


def assert_refused(llama2: ModuleType, refuse: Refuse, path: Path, says: str) -> None:
    """The library and three verbs refuse a checkpoint with the same words."""
    with pytest.raises(llama2.CheckpointError, match=re.escape(says)) as error:
        llama2.load(path)
    assert str(error.value).startswith(f"{path}: ")
    for argv in ([path], ["info", path], ["quantize", path, path.with_name("quantized.bin")]):
        assert refuse(*argv) == str(error.value)
    assert not path.with_name("quantized.bin").exists()


# ---------------------------------------------------------------------------------------------------------- checkpoints


def test_missing_file_in_a_process_of_its_own(llama2: ModuleType, tmp_path: Path) -> None:
    done = run(llama2, tmp_path / "gone.bin")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, b"", 1)


def test_missing_checkpoint(llama2: ModuleType, refuse: Refuse, tmp_path: Path) -> None:
    assert_refused(llama2, refuse, tmp_path / "gone.bin", "must be a readable file (No such file or directory)")


def test_folder_is_no_checkpoint(llama2: ModuleType, refuse: Refuse, tmp_path: Path) -> None:
    says = f"{tmp_path}: a model's folder must hold config.json, or Meta's params.json (it has neither)"
    with pytest.raises(llama2.CheckpointError, match=re.escape(says)):
        llama2.load(tmp_path)
    assert refuse(tmp_path) == refuse("info", tmp_path) == says
    assert "is not a regular file" in refuse("quantize", tmp_path, tmp_path / "out.bin")


@posix
def test_pipe_is_no_checkpoint(llama2: ModuleType, refuse: Refuse, tmp_path: Path) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    assert_refused(llama2, refuse, tmp_path / "pipe", "is not a regular file")


def test_nul_in_a_path(llama2: ModuleType) -> None:
    with pytest.raises(llama2.CheckpointError, match="a checkpoint must be a readable file"):
        llama2.load("a\0b")
    with pytest.raises(llama2.TokenizerError, match="a tokenizer must be a readable file"):
        llama2.Tokenizer.read("a\0b")
    config, weights = TINY, random_twins(TINY, seed=1)
    with pytest.raises(llama2.CheckpointError, match="can't be written"):
        llama2.write_checkpoint("a\0b", config, weights.ref if llama2 is llama2_ref else weights.fast)


@posix
def test_paths_that_lead_nowhere(llama2: ModuleType, refuse: Refuse, model: Path, tmp_path: Path) -> None:
    """A name that is longer than any file's, and a link to itself."""
    long, loop = tmp_path / ("x" * 300), tmp_path / "loop"
    loop.symlink_to(loop)
    for path, reason in ((long, "File name too long"), (loop, "Too many levels of symbolic links")):
        assert_refused(llama2, refuse, path, f"a checkpoint must be a readable file ({reason})")
        assert_tokenizer_refused(llama2, refuse, model, path, f"a tokenizer must be a readable file ({reason})")
    assert refuse("quantize", model, long) == f"{long}: can't be written (File name too long)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop"]


@pytest.mark.parametrize(("tokens", "scores"), [(2, 2), (0, 0), (4, 3), (3, 4)])
def test_what_is_no_vocabulary(llama2: ModuleType, tokens: int, scores: int) -> None:
    says = "needs unknown, BOS and EOS, and a score for each token"
    with pytest.raises(llama2.TokenizerError, match=f"{says} .got {tokens} tokens, {scores} scores."):
        llama2.Tokenizer([b"a"] * tokens, [0.0] * scores)


def test_bytes_of_this_machine_in_another_order(
    llama2: ModuleType, refuse: Refuse, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers would be read backwards."""
    monkeypatch.setattr(sys, "byteorder", "big")
    says = "checkpoints are little-endian, and are mapped as they are: this machine is big-endian"
    assert_refused(llama2, refuse, model, says)


@pytest.mark.parametrize("token", [-1, 300])
def test_token_that_is_none(llama2: ModuleType, model: Path, token: int) -> None:
    tokenizer = llama2.Tokenizer.read(model.with_name("tokenizer.bin"))
    with pytest.raises(llama2.TokenizerError, match=re.escape(f"token ids must be in 0..299 (got {token})")):
        tokenizer.decode([5, token])


def header(version: int, *sizes: int, shared: int = 1, group_size: int = 4) -> bytes:
    """The first bytes of a file, which is longer than any of the models that they describe."""
    if version == 0:
        return struct.pack("<7i", *sizes).ljust(9999, b"\0")
    fields = MAGIC + struct.pack("<i7iBi", version, *sizes, shared, group_size if version == 2 else 0)
    return fields.ljust(9999, b"\0")


def changed(**sizes: int) -> tuple[int, ...]:
    return tuple(vars(TINY)[name] if name not in sizes else sizes[name] for name in list(vars(TINY))[:7])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with 28 bytes (got 0)"),
        (b"PK\x03\x04" + bytes(500), "(got a zip archive, as PyTorch writes): convert it first"),
        (b"lmgg" + bytes(500), "(got a GGML file): convert it first"),
        (bytes(500), "dim must be a positive whole number (got 0)"),
        (b"once upon a time, in a land far away", "header is no llama2.c header: n_heads must divide dim"),
        (header(0, *SIZES)[::-1], "dim must be a positive whole number (got 0)"),
        (header(3, *SIZES), "version must be 1 or 2 (got 3)"),
        (header(-1, *SIZES), "version must be 1 or 2 (got -1)"),
        (header(1, *SIZES, shared=2), "shared-classifier flag must be 0 or 1 (got 2)"),
        (header(2, *SIZES, shared=255), "shared-classifier flag must be 0 or 1 (got 255)"),
        (header(2, *SIZES, group_size=0), "must be positive and divide every quantized tensor (got group size 0,"),
        (header(2, *SIZES, group_size=-4), "group size must be positive"),
        (header(2, *SIZES, group_size=3), "(got group size 3, token_embedding_table 5 x 4)"),
        (header(2, *SIZES, group_size=2**31 - 1), "group size must be positive and divide every"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_checkpoint(llama2: ModuleType, refuse: Refuse, tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    assert_refused(llama2, refuse, path, says)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        *(({name: 0}, f"{name} must be a positive whole number (got 0)") for name in list(vars(TINY))[:7]),
        *(({name: -1}, f"{name} must be a positive whole number (got -1)") for name in ("dim", "n_layers", "seq_len")),
        ({"n_heads": 3, "n_kv_heads": 3}, "n_heads must divide dim (got n_heads 3, dim 4)"),
        ({"n_heads": 2, "n_kv_heads": 4}, "n_kv_heads must divide n_heads (got n_kv_heads 4, n_heads 2)"),
        ({"n_heads": 4}, "head size must be even, since RoPE rotates pairs (got 1)"),
    ],
    ids=str,
)
def test_sizes_that_are_none(
    llama2: ModuleType, refuse: Refuse, tmp_path: Path, version: int, sizes: dict[str, int], says: str
) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(header(version, *changed(**sizes)))
    assert_refused(llama2, refuse, path, says)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_every_cut_is_noticed(llama2: ModuleType, tmp_path: Path, version: int) -> None:
    path = write_model(tmp_path, TINY, version=version)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(llama2.CheckpointError):
            llama2.read_checkpoint(path)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("cut", ["a byte", "half", "tensors", "header"])
def test_truncated_checkpoint(llama2: ModuleType, refuse: Refuse, tmp_path: Path, version: int, cut: str) -> None:
    path = write_model(tmp_path, TINY, version=version)
    start, size = 256 if version else 28, path.stat().st_size
    length = {"a byte": size - 1, "half": size // 2, "tensors": start, "header": start - 1}[cut]
    os.truncate(path, length)
    assert_refused(llama2, refuse, path, f"(got {length})")


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("more", [b"\0", b"GGUF" * 100])
def test_checkpoint_with_something_behind_it(
    llama2: ModuleType, refuse: Refuse, tmp_path: Path, version: int, more: bytes
) -> None:
    path = write_model(tmp_path, TINY, version=version)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + more)
    assert_refused(llama2, refuse, path, f"needs {size} bytes (got {size + len(more)}): it is followed by something")


HUGE = {
    "10^12 parameters": (2**16, 2**17, 32, 64, 64, 32000, 2048),
    "widest": (2**31 - 2, 2**31 - 1, 1, 1, 1, 1, 1),
    "most layers": (2, 1, 2**31 - 1, 1, 1, 3, 1),
    "all": (2**31 - 2, 2**31 - 1, 2**31 - 1, 1, 1, -(2**31), 2**31 - 1),
}


@pytest.mark.parametrize("sizes", HUGE.values(), ids=list(HUGE))
@pytest.mark.parametrize("version", [0, 1, 2])
def test_header_that_promises_much_costs_nothing(
    llama2: ModuleType, refuse: Refuse, tmp_path: Path, version: int, sizes: tuple[int, ...]
) -> None:
    path = tmp_path / "huge.bin"
    sizes = sizes if version == 0 else tuple(min(abs(size), 2**31 - 1) for size in sizes)
    path.write_bytes(header(version, *sizes, group_size=1)[: 256 if version else 28])
    tracemalloc.start()
    try:
        assert_refused(llama2, refuse, path, "it is truncated, or no checkpoint")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@linux
def test_header_that_promises_much_needs_no_memory(llama2: ModuleType, tmp_path: Path) -> None:
    """Not even address space, of which the process has a gigabyte."""
    path = tmp_path / "huge.bin"
    path.write_bytes(struct.pack("<7i", *HUGE["10^12 parameters"]))
    done = run(llama2, path, first="import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"it is truncated, or no checkpoint" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -------------------------------------------------------------------------------------------------------- bad numbers


def poisoned(value: float, name: str, *index: int) -> llama2_fast.Weights:
    """Random weights, one of which is not finite."""
    weights = random_twins(CONFIG, seed=1, shared=False).fast
    field = getattr(weights, name)
    if isinstance(field, list):
        field[index[0]][index[1:]] = value
    else:
        field[index] = value
    return weights


PLACES = [
    ("token_embedding_table", 1, 5),
    ("rms_att_weight", 1, 3),
    ("wq", 0, 1, 2),
    ("wk", 1, 0, 15),
    ("wv", 1, 7, 0),
    ("wo", 0, 15, 15),
    ("rms_ffn_weight", 0, 0),
    ("w1", 1, 31, 2),
    ("w2", 0, 3, 31),
    ("w3", 1, 0, 0),
    ("rms_final_weight", 15),
    ("wcls", 299, 0),
]


def assert_named(llama2: ModuleType, refuse: Refuse, path: Path, says: str) -> None:
    stream = llama2.load(path).generate(temperature=0)
    with pytest.raises(llama2.NumericsError, match=f"at position 0: {re.escape(says)}"):
        list(stream)
    assert refuse(path, "-t", "0").endswith(f", at position 0: {says}")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_weight_that_is_not_finite_is_named(
    llama2: ModuleType, refuse: Refuse, tmp_path: Path, place: tuple[Any, ...], value: float
) -> None:
    """It is found when it reaches the logits: files are too large to look through them first."""
    path = tmp_path / "model.bin"
    llama2_fast.write_checkpoint(path, CONFIG, poisoned(value, *place))
    write_tokenizer(tmp_path / "tokenizer.bin", *vocabulary(CONFIG.vocab_size))
    name, *index = place
    assert_named(llama2, refuse, path, f"{name}{''.join(f'[{i}]' for i in index)} is {value}")


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("name", ["token_embedding_table", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "rms_att_weight"])
def test_scale_that_is_not_finite_is_named(
    llama2: ModuleType, refuse: Refuse, tmp_path: Path, name: str, value: float
) -> None:
    """In the second row of the tensor, which is that of BOS in the embedding table."""
    path = write_model(tmp_path, CONFIG, version=2)
    head, _ = map_checkpoint(path)
    tensor = next(tensor for tensor in head.tensors() if tensor.name == name)
    numbers, row = (tensor.rows * tensor.cols, 1) if tensor.quantized else (0, 1)
    groups = tensor.cols // head.group_size if tensor.quantized else tensor.cols
    with open(path, "r+b") as file:
        file.seek(tensor.offset + numbers + 4 * row * groups)
        file.write(struct.pack("<f", value))
    layer = "[0]" if name.startswith("w") else ""
    assert_named(llama2, refuse, path, f"{name}{layer}[1][0] is {value}")


# ----------------------------------------------------------------------------------------------------------- tokenizers


@pytest.fixture
def tokenizer(model: Path, tmp_path: Path) -> Path:
    """A copy of a good tokenizer, to be spoilt."""
    path = tmp_path / "spoilt.bin"
    path.write_bytes(model.with_name("tokenizer.bin").read_bytes())
    return path


def assert_tokenizer_refused(llama2: ModuleType, refuse: Refuse, model: Path, path: Path, says: str) -> None:
    with pytest.raises(llama2.TokenizerError, match=re.escape(says)) as error:
        llama2.load(model, path)
    assert str(error.value).startswith(f"{path}: ")
    for verb in ([], ["chat"], ["tokenize", "-i", "a"]):
        assert refuse(*verb, model, "-z", path) == str(error.value)


def test_missing_tokenizer(llama2: ModuleType, refuse: Refuse, model: Path, tmp_path: Path) -> None:
    assert_tokenizer_refused(llama2, refuse, model, tmp_path / "gone.bin", "must be a readable file (No such file")


def test_tokenizer_is_refused_before_weights_are_quantized(llama2: ModuleType, tmp_path: Path) -> None:
    """That may take minutes, or be refused as well."""
    path = write_model(tmp_path, CONFIG, version=2)
    with pytest.raises(llama2.TokenizerError, match="must be a readable file"):
        llama2.load(path, tmp_path / "gone.bin", quantize="int8")


def test_no_tokenizer_beside_the_checkpoint(llama2: ModuleType, refuse: Refuse, model: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.bin"
    alone.write_bytes(model.read_bytes())
    says = f"{alone}: a tokenizer must lie beside it (tok300.bin or tokenizer.bin), or be named"
    with pytest.raises(llama2.TokenizerError, match=re.escape(says)):
        llama2.load(alone)
    assert refuse(alone) == says


def test_folder_is_no_tokenizer(llama2: ModuleType, refuse: Refuse, model: Path, tmp_path: Path) -> None:
    says = "a model's folder must hold its tokenizer, tokenizer.json or tokenizer.model (there is none)"
    with pytest.raises(llama2.TokenizerError, match=re.escape(says)):
        llama2.load(model, tmp_path)
    assert says in refuse("generate", model, "-z", tmp_path)


@posix
def test_device_is_no_tokenizer(llama2: ModuleType, refuse: Refuse, model: Path) -> None:
    """Others would never end, or wait for a writer."""
    assert_tokenizer_refused(llama2, refuse, model, Path("/dev/null"), "is not a regular file")


@pytest.mark.parametrize("count", [3, 299, 301])
def test_tokenizer_of_another_checkpoint(
    llama2: ModuleType, refuse: Refuse, model: Path, tmp_path: Path, count: int
) -> None:
    path = write_tokenizer(tmp_path / "other.bin", *vocabulary(count))
    says = f"must hold the checkpoint's 300 tokens (got {count}): pass the tokenizer made for it"
    assert_tokenizer_refused(llama2, refuse, model, path, says)


WITHOUT_SCORES = b"".join(struct.pack("<i", len(token)) + token for token in vocabulary(300)[0])


def longest(length: int) -> bytes:
    return struct.pack("<I", length)


def entry(score: float = 0.0, length: int | None = None, text: bytes = b"a") -> bytes:
    return struct.pack("<fi", score, len(text) if length is None else length) + text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "must begin with the length of the longest token (got 0 bytes)"),
        (b"\x05\0\0", "must begin with the length of the longest token (got 3 bytes)"),
        (longest(5), "must hold the checkpoint's 300 tokens (got 0)"),
        (longest(5) + entry() * 2 + entry(length=0, text=b""), "must be in 1..5, as the file itself says (token 2: 0)"),
        (longest(5) + entry() * 2 + entry(length=-1), "must be in 1..5, as the file itself says (token 2: -1)"),
        (longest(5) + entry() * 2 + entry(length=6), "must be in 1..5, as the file itself says (token 2: 6)"),
        (longest(2**32 - 1) + entry(length=2**31 - 1), "is truncated in token 0: 2147483647 bytes needed, 1 left"),
        (longest(0) + entry(), "token lengths must be in 1..0"),
        (longest(5) + entry() * 300 + b"\0", "is truncated in token 300"),
        (longest(5) + entry() * 299 + entry(score=NAN), "scores must be finite (token 299 has nan)"),
        (longest(5) + entry(score=-INF) + entry() * 299, "scores must be finite (token 0 has -inf)"),
        (WITHOUT_SCORES, "is of the oldest layout, which has no scores"),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_tokenizer(
    llama2: ModuleType, refuse: Refuse, model: Path, tokenizer: Path, data: bytes, says: str
) -> None:
    tokenizer.write_bytes(data)
    assert_tokenizer_refused(llama2, refuse, model, tokenizer, says)


def test_every_cut_of_a_tokenizer_is_noticed(llama2: ModuleType, tokenizer: Path) -> None:
    for length in reversed(range(tokenizer.stat().st_size)):
        os.truncate(tokenizer, length)
        with pytest.raises(llama2.TokenizerError):
            llama2.Tokenizer.read(tokenizer, CONFIG.vocab_size)


def test_checkpoint_is_no_tokenizer(llama2: ModuleType, refuse: Refuse, model: Path) -> None:
    assert_tokenizer_refused(llama2, refuse, model, model, "token lengths must be in 1..16")


# -------------------------------------------------------------------------------------------------------------- prompts


LONG = "é" * 100  # takes 200 byte tokens


@pytest.mark.parametrize("verb", ["generate", "chat", "tokenize"])
@pytest.mark.parametrize(
    ("prompt", "stdin", "says"),
    [
        ("-", b"", "prompt must not be empty on standard input (-i '' begins from nothing)"),
        ("-", b"\n", "prompt must not be empty on standard input"),
        ("-", b"\r\n", "prompt must not be empty on standard input"),
        ("-", b"a\0b", "prompt must not contain NUL (character 1 is one)"),
        ("-", b"ab\xff\n", "prompt must be valid UTF-8 (byte 2 is 0xFF)"),
        ("-", "é".encode()[:1], "prompt must be valid UTF-8 (byte 0 is 0xC3)"),
        ("-", b"\xed\xa0\x80", "prompt must be valid UTF-8 (byte 0 is 0xED)"),
        ("ab\udcff", b"", "prompt must be valid UTF-8 (byte 2 is 0xFF)"),
    ],
)
def test_prompt_that_is_none(refuse: Refuse, model: Path, verb: str, prompt: str, stdin: bytes, says: str) -> None:
    assert says in refuse(verb, model, "-i", prompt, stdin=stdin)


@posix
def test_argument_that_is_no_text(llama2: ModuleType, model: Path) -> None:
    """In the C locale, too."""
    for argv in ((b"-i", b"ab\xff"), (b"-m", b"chat", b"-y", b"ab\xff")):
        done = run(llama2, model, *argv)
        assert (done.returncode, done.stdout) == (2, b"")
        assert re.fullmatch(rb"python -m \w+: .* must be valid UTF-8 \(byte 2 is 0xFF\)\n", done.stderr)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a\0b", "prompt must not contain NUL (character 1 is one)"),
        ("a\ud800", "prompt must be valid Unicode (character 1 is the lone surrogate U+D800)"),
        (LONG, "prompt must fit into the context of 64 tokens (got 202)"),
    ],
)
def test_prompt_that_the_library_refuses(llama2: ModuleType, model: Path, prompt: str, says: str) -> None:
    with pytest.raises(llama2.PromptError, match=re.escape(says)):
        llama2.load(model).generate(prompt)


def test_prompt_longer_than_the_context(refuse: Refuse, model: Path) -> None:
    assert "prompt must fit into the context of 64 tokens (got 202): shorten it" in refuse(model, "-i", LONG)
    assert "conversation must fit into the context of 64 tokens (got " in refuse("chat", model, "-i", LONG)


def test_prompt_longer_than_the_steps(llama2: ModuleType, refuse: Refuse, model: Path) -> None:
    says = "steps must be at least the 12 tokens of the prompt, BOS included (got 11)"
    with pytest.raises(llama2.PromptError, match=re.escape(says)):
        llama2.load(model).generate("é" * 5, steps=11)
    assert refuse(model, "-i", "é" * 5, "-n", "11") == says


@pytest.mark.parametrize("content", ["", " \t\n", None, 3])
def test_empty_message(llama2: ModuleType, model: Path, content: Any) -> None:
    says = f"content of a message must be a text that is not empty (got {content!r})"
    loaded = llama2.load(model)
    with pytest.raises(llama2.PromptError, match=re.escape(says)):
        loaded.chat([{"role": "user", "content": content}])
    with pytest.raises(llama2.PromptError, match=re.escape(says)):
        loaded.conversation().say(content)


@pytest.mark.parametrize(
    "roles", [[], ["system"], ["assistant"], ["user", "user"], ["user", "assistant"], ["robot"], [None]]
)
def test_messages_out_of_turn(llama2: ModuleType, model: Path, roles: list[Any]) -> None:
    with pytest.raises(llama2.PromptError, match=r"roles must be user, assistant, user, \.\.\., .*\(got "):
        llama2.load(model).chat([{"role": role, "content": "a"} for role in roles])


@pytest.mark.parametrize(
    ("argv", "stdin", "says"),
    [
        (["-i", "  "], b"", "content of a message must be a text that is not empty (got '  ')"),
        ([], b"a\0b\n", "content of a message must not contain NUL (character 1 is one)"),
        ([], b"ab\xff\n", "prompt must be valid UTF-8 (byte 2 is 0xFF)"),
        (["-y", "ab\udcff"], b"", "system message must be valid UTF-8 (byte 2 is 0xFF)"),
        (["-n", "5", "-i", "a"], b"", "tokens of the conversation, BOS included (got 5)"),
    ],
)
def test_bad_message(refuse: Refuse, model: Path, argv: list[str], stdin: bytes, says: str) -> None:
    assert says in refuse("chat", model, *argv, stdin=stdin)


# ---------------------------------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize("verb", ["generate", "chat"])
@pytest.mark.parametrize(
    ("flag", "name", "value", "says"),
    [
        *(("-t", "temperature", x, "temperature must be finite and not negative (got {})") for x in (-1.0, NAN, INF)),
        *(("-p", "topp", x, "topp must be finite and not negative (got {})") for x in (-0.5, NAN, INF)),
        *(("-s", "seed", n, "seed must be a whole number in 0..2^64-1 (got {})") for n in (-1, 2**64)),
        ("-n", "steps", -1, "steps must not be negative (got -1); 0 means the whole context"),
    ],
)  # fmt: skip
def test_value_out_of_range(
    llama2: ModuleType, refuse: Refuse, model: Path, verb: str, flag: str, name: str, value: float, says: str
) -> None:
    loaded = llama2.load(model)
    error = llama2.PromptError if name == "steps" else llama2.SamplerError
    messages, says = [{"role": "user", "content": "a"}], says.format(value)
    with pytest.raises(error, match=re.escape(says)):
        loaded.generate("a", **{name: value}) if verb == "generate" else loaded.chat(messages, **{name: value})
    assert refuse(verb, model, "-i", "a", flag, str(value)) == says


def test_minus_infinity(refuse: Refuse, model: Path) -> None:
    assert refuse(model, "--temperature=-inf") == "temperature must be finite and not negative (got -inf)"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-t", "hot"], "invalid float value: 'hot'; see python -m {} generate --help"),
        (["-p", ""], "invalid float value: ''"),
        (["-s", "1.5"], "invalid int value: '1.5'"),
        (["-n", "many"], "invalid int value: 'many'"),
        (["-n", "9" * 5000], "invalid int value: "),
        (["-m", "poem"], "invalid choice: 'poem'"),
        (["-i"], "argument -i/--prompt: expected one argument"),
        (["--warp"], "unrecognized arguments: --warp; see python -m {} --help"),
        (["--warp\n9"], "unrecognized arguments: --warp 9; see"),
        (["b.bin"], "unrecognized arguments: b.bin"),
        (["--checkpoint", "b.bin"], "only one model can be used (got "),
    ],
)
def test_flags_that_are_none(llama2: ModuleType, refuse: Refuse, model: Path, argv: list[str], says: str) -> None:
    assert says.format(llama2.__name__) in refuse(model, *argv)


@pytest.mark.parametrize("threads", ["0", "-1"])
def test_threads(llama2: ModuleType, refuse: Refuse, model: Path, threads: str) -> None:
    """Only the fast package has them."""
    says = f"threads must be at least 1 (got {threads})"
    assert refuse(model, "--threads", threads).startswith(says if llama2 is llama2_fast else "unrecognized arguments")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sing"], "sing: a checkpoint must be a readable file (No such file or directory)"),
        (["sing", "loudly"], "unrecognized arguments: loudly"),
        (["quantize"], "the following arguments are required: CHECKPOINT, OUTPUT; see python -m {} quantize --help"),
        (["quantize", "a"], "the following arguments are required: OUTPUT"),
        (["quantize", "a", "b", "-t", "1"], "unrecognized arguments: -t 1"),
        (["info", "a", "b"], "unrecognized arguments: b"),
        (["info", ""], "is not a regular file"),
        (["tokenize"], "a text to cut must be given (-i TEXT, or -i - for standard input)"),
    ],
)
def test_verbs_that_are_none(llama2: ModuleType, refuse: Refuse, argv: list[str], says: str) -> None:
    assert says.format(llama2.__name__) in refuse(*argv)
