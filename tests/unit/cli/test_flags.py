"""Every flag at its odd values: 0, 1, negative, huge, empty, repeated; what the model did is counted."""

import io
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama2_fast
from llama2_ref.cli.main import main
from llama2_ref.formats.safetensors import read_file
from support.scripted import Counting, write_chains

CONTEXT = 300  # more than the default number of steps
CHAINS = ["xy*", "abc", ""]
Odd = Callable[..., "Done"]


class Done:
    """What came of a call: exit code, both streams, and the model that was loaded, which counts its passes."""

    def __init__(self, code: int, out: str, err: str, model: Any) -> None:
        self.code, self.out, self.model = code, out, model
        self.err = "".join(line for line in err.splitlines(keepends=True) if " parameters, " not in line)

    @property
    def passes(self) -> list[list[int]]:
        """The number of tokens of each sequence, for each pass of the model."""
        return [] if self.model is None else self.model.transformer.passes


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says "xyxyxy..." to anything."""
    return write_chains(tmp_path_factory.mktemp("endless"), ["xy*"], CONTEXT)


@pytest.fixture(scope="module")
def any_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says one of three things, "xyxyxy...", "abc", or nothing, each as likely as the others."""
    return write_chains(tmp_path_factory.mktemp("any"), CHAINS, CONTEXT)


@pytest.fixture
def odd(llama2: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Odd:
    """Run the command line in this process, with a model whose passes are counted."""
    models: list[Any] = []
    load = llama2.load

    @wraps(load)
    def counting(*args: Any, **named: Any) -> Any:
        model = load(*args, **named)
        model.transformer = Counting(model.transformer)
        models.append(model)
        return model

    monkeypatch.setattr(llama2, "load", counting)

    def odd(*argv: str | Path | int, stdin: bytes = b"") -> Done:
        models.clear()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(llama2, [str(word) for word in argv])
        return Done(code, *capsys.readouterr(), models[-1] if models else None)

    return odd


# --------------------------------------------------------------------------------------------------------------- steps

HUGE = 10**30
NOTE = f"are more than the context, which ends after {CONTEXT}"


@pytest.mark.parametrize(
    ("flags", "said", "note"),
    [
        ([], 256, False),
        (["-n", 0], CONTEXT, False),
        (["-n", 1], 1, False),
        (["-n", 256], 256, False),
        (["-n", 257], 257, False),
        (["-n", CONTEXT], CONTEXT, False),
        (["-n", CONTEXT + 1], CONTEXT, True),
        (["-n", HUGE], CONTEXT, True),
        (["-n", 5, "--steps", 7], 7, False),
        (["--steps", 5, "-n", 0], CONTEXT, False),
    ],
    ids=str,
)
def test_steps_of_a_text(odd: Odd, endless: Path, flags: list[Any], said: int, note: bool) -> None:
    """A position for each token that is read, BOS included: as many passes."""
    done = odd(endless, *flags)
    assert (done.code, done.out) == (0, ("xy" * CONTEXT)[:said] + "\n")
    assert done.passes == [[1]] * said
    assert (NOTE in done.err) == note
    assert f"generated: {said} tokens" in done.err


@pytest.mark.parametrize("flags", [[], ["-n", 0], ["-n", 299], ["-n", CONTEXT], ["-n", CONTEXT + 1]], ids=str)
def test_steps_of_a_chat(odd: Odd, endless: Path, flags: list[Any]) -> None:
    """Its default is the whole context."""
    done = odd("chat", endless, "-i", "1", *flags)
    prompt = done.passes[0][0]
    end = 299 if 299 in flags else CONTEXT
    assert done.passes == [[prompt], *[[1]] * (end - prompt)]
    assert done.out == f"Assistant: {('xy' * CONTEXT)[: end - prompt + 1]}\nUser: \n"
    assert (NOTE in done.err) == (CONTEXT + 1 in flags)


@pytest.mark.parametrize(("flags", "said"), [([], 256), (["-n", 0], CONTEXT), (["-n", 1], 1)], ids=str)
def test_steps_of_samples(odd: Odd, endless: Path, flags: list[Any], said: int) -> None:
    done = odd(endless, "--samples", 2, "-s", 7, *flags)
    text = ("xy" * CONTEXT)[:said]
    assert done.out == f"--- sample 1 of 2, seed 7 ---\n{text}\n--- sample 2 of 2, seed 8 ---\n{text}\n"
    assert done.passes == [[1], *[[1, 1]] * (said - 1)]


# -------------------------------------------------------------------------------------------------------------- prompts


def test_an_empty_prompt_begins_from_nothing(odd: Odd, endless: Path) -> None:
    """As in llama2.c: the same as none."""
    for flags in ([], ["-i", ""], ["--prompt", ""], ["--prompt="], ["-i", "1", "-i", ""]):
        done = odd(endless, "-n", 3, *flags)
        assert (done.code, done.out, done.passes) == (0, "xyx\n", [[1]] * 3)
    assert odd(endless, "-n", 9, "-i", "", "-i", "1").out.startswith("1x")
    samples = odd(endless, "-n", 2, "-i", "", "--samples", 1, "-s", 1)
    assert (samples.out, samples.passes) == ("--- sample 1 of 1, seed 1 ---\nxy\n", [[1]] * 2)


def test_an_empty_text_is_cut_into_bos(odd: Odd, endless: Path) -> None:
    done = odd("tokenize", endless, "-i", "")
    assert (done.out.split("\t")[0], done.out.count("\n"), done.err) == ("1", 1, "1 tokens, BOS included\n")


def test_a_chat_needs_a_question(odd: Odd, endless: Path) -> None:
    done = odd("chat", endless, "-i", "")
    assert (done.code, done.out, done.model) == (2, "", None)
    assert "prompt must not be empty in a chat (leave it out to be asked)" in done.err
    refused(odd("chat", endless, "-i", " "), "must be a text that is not empty (got ' ')")


def test_an_empty_system_message_is_none(odd: Odd, endless: Path) -> None:
    lengths = [odd("chat", endless, "-i", "1", "-n", 299, *flags).passes[0][0] for flags in ([], ["-y", ""])]
    assert lengths[0] == lengths[1] < odd("chat", endless, "-i", "1", "-n", 299, "-y", "0").passes[0][0]


# ------------------------------------------------------------------------------------------------------------- sampling


def texts(odd: Odd, path: Path, *flags: Any) -> list[str]:
    """What the seeds from 0 to 11 give, in four steps."""
    return [odd(path, "-n", 4, "-s", seed, *flags).out.strip() for seed in range(12)]


FOUND = {"all": {"xyxy", "abc", ""}, "first": {""}}  # EOS has the lowest id


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["-p", 1], "all"),
        (["-p", 0], "all"),
        (["-p", 2], "all"),
        (["-p", 1e300], "all"),
        (["-p", 1e-300], "first"),
        (["-p", 0.3], "first"),
        (["-p", 0.3, "--top-p", 1], "all"),
        (["-t", 0], "first"),
        (["-t", -0.0], "first"),
        (["-t", 0, "--temperature", 1, "-p", 1], "all"),
        (["-t", 1e-300, "-p", 1], "all"),
        (["-p", 1, "-k", 0], "all"),
        (["-p", 1, "-k", 1], "first"),
        (["-p", 1, "-k", 3], "all"),
        (["-p", 1, "-k", 2**64 - 1], "all"),
        (["-p", 1, "-k", 1, "--top-k", 0], "all"),
        (["-p", 1, "--min-p", 0], "all"),
        (["-p", 1, "--min-p", 1], "all"),
        (["-p", 1, "--repetition-penalty", 1], "all"),
    ],
    ids=str,
)
def test_sampling(odd: Odd, any_of_three: Path, flags: list[Any], found: str) -> None:
    assert set(texts(odd, any_of_three, *flags)) == FOUND[found]


def test_seeds(odd: Odd, any_of_three: Path) -> None:
    """0 is a seed as any other, and the last one wins."""
    same = [odd(any_of_three, "-s", 0, "-p", 1, "-n", 4) for _ in range(2)]
    assert same[0].out == same[1].out
    assert same[0].err.endswith("; seed 0\n")
    assert odd(any_of_three, "-s", 2**64 - 1, "-n", 4).err.endswith(f"; seed {2**64 - 1}\n")
    assert odd(any_of_three, "-s", 1, "--seed", 0, "-n", 4).err.endswith("; seed 0\n")
    assert "; seeds from 0 on" in odd(any_of_three, "-s", 0, "--samples", 2, "-n", 4).err


def test_a_repeated_penalty(odd: Odd, endless: Path) -> None:
    """The ends of its range, for a model in which one logit is positive and all others are 0; the last one counts."""
    for penalty in (0.001, 1, 1000):
        assert odd(endless, "-n", 6, "-t", 0, "--repetition-penalty", penalty).out == "xyxyxy\n"
    seed = ["-n", 6, "-s", 0, "--repetition-penalty", 1000]
    assert odd(endless, *seed, "--repeat-penalty", 1).out == "xyxyxy\n" != odd(endless, *seed).out


def test_one_sample_is_a_text(odd: Odd, endless: Path) -> None:
    done = odd(endless, "--samples", 1, "-n", 3, "-s", 0)
    assert (done.out, done.passes) == ("--- sample 1 of 1, seed 0 ---\nxyx\n", [[1]] * 3)
    assert "--- sample 2 of 2, seed 1 ---" in odd(endless, "--samples", 1, "--samples", 2, "-n", 1, "-s", 0).out


@pytest.mark.parametrize("count", [0, 1, 3, "all"])
def test_log_probabilities(odd: Odd, endless: Path, llama2: ModuleType, count: int | str) -> None:
    """0 are those of the chosen tokens only, which is not the same as none."""
    wanted = llama2.read_model(endless).config.vocab_size if count == "all" else count
    done = odd(endless, "-n", 2, "--logprobs", wanted)
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert [line["text"] for line in lines] == ["x", "y"]
    assert [len(line["top"]) for line in lines] == [wanted] * 2
    assert "{" not in odd(endless, "-n", 2).err


def test_stop_strings_add_up(odd: Odd, endless: Path) -> None:
    assert odd(endless, "--stop", "q", "--stop", "yx", "--stop", "z").out == "x\n"
    assert odd(endless, "--stop", "q", "--stop", "x").out == "\n"


def test_of_several_sessions_the_last_counts(odd: Odd, endless: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    done = odd(endless, "-n", 5, "--session", one, "--session", other)
    assert (done.code, one.exists()) == (0, False)
    assert read_file(other).tensors["tokens"].shape == (5,)
    assert odd(endless, "-n", 5, "--session", other).passes == [[1]] * 5  # a prompt of BOS must be read


def test_a_chat_that_has_no_room_keeps_what_was_read(odd: Odd, endless: Path, tmp_path: Path) -> None:
    """The second question does not fit: one line, and the session of the first."""
    done = odd("chat", endless, "--session", tmp_path / "s", stdin=b"1\n2\n")
    assert done.code == 2
    assert "conversation must fit" in done.err
    assert read_file(tmp_path / "s").tensors["tokens"].shape == (CONTEXT,)


def test_samples_keep_the_first(odd: Odd, any_of_three: Path, tmp_path: Path) -> None:
    """What a session holds then is what it holds behind that text alone."""
    for seed in range(6):
        paths = tmp_path / f"several{seed}", tmp_path / f"one{seed}"
        how = [any_of_three, "-n", 6, "-p", 1, "-s", seed]
        assert odd(*how, "--samples", 3, "--session", paths[0]).code == odd(*how, "--session", paths[1]).code == 0
        one, other = (list(read_file(path).tensors["tokens"].data.cast("i")) for path in paths)
        assert one == other


def test_what_is_told_of_a_model(
    llama2: ModuleType, endless: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its description, what is made of its numbers, and each of its notes, a line each, before the text's rates."""
    load = llama2.load

    @wraps(load)
    def noting(*args: Any, **named: Any) -> Any:
        model = load(*args, **named)
        model.notes = ("one", "another")
        return model

    monkeypatch.setattr(llama2, "load", noting)
    assert main(llama2, [str(endless), "-n", "1", "--quantize", "float32"]) == 0
    first, *notes, _ = capsys.readouterr().err.splitlines()
    assert (first.startswith("model.bin: "), first.endswith(", as float32")) == (True, True)
    assert notes == ["note: one", "note: another"]
    assert main(llama2, [str(endless), "-n", "1"]) == 0
    assert ", as " not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--quantize", "--threads", "--backend"])
def test_the_last_of_engines_counts(odd: Odd, any_of_three: Path, llama2: ModuleType, flag: str) -> None:
    if flag != "--quantize" and llama2 is not llama2_fast:
        pytest.skip("a flag of llama2_fast")
    values = {"--quantize": ("int4", "float32"), "--threads": ("0", "1"), "--backend": ("simd", "numpy")}[flag]
    done = odd(any_of_three, "-n", 2, *(word for value in values for word in (flag, value)))
    assert done.code == 0
    if flag == "--backend":
        assert done.model.transformer.backend == "numpy"


# -------------------------------------------------------------------------------------------------------------- refused

NUMBER = "invalid {} value: ''"
REFUSED = {
    ("-n", "-1"): "steps must not be negative (got -1)",
    ("-n", ""): NUMBER.format("int"),
    ("-n", "1.0"): "invalid int value: '1.0'",
    ("-n", "1", "-i", "1"): "steps must be at least the 3 tokens of the prompt",
    ("-t", "-1"): "temperature must be finite and not negative (got -1.0)",
    ("-t", "nan"): "temperature must be finite",
    ("-t", "1e999"): "temperature must be finite",
    ("-t", ""): NUMBER.format("float"),
    ("-p", "-0.1"): "topp must be finite and not negative",
    ("-p", "inf"): "topp must be finite",
    ("-p", ""): NUMBER.format("float"),
    ("-k", ""): NUMBER.format("int"),
    ("-k", str(2**64)): "topk must be a whole number",
    ("--min-p", "-0.1"): "minp must be in 0..1",
    ("--min-p", ""): NUMBER.format("float"),
    ("--repetition-penalty", "-1"): "repetition_penalty must be in 0.001..1000",
    ("--repetition-penalty", "1001"): "repetition_penalty must be in 0.001..1000",
    ("--repetition-penalty", ""): NUMBER.format("float"),
    ("-s", "-1"): "seed must be a whole number in 0..2^64-1 (got -1)",
    ("-s", str(2**64)): "seed must be a whole number",
    ("-s", ""): NUMBER.format("int"),
    ("--samples", "-1"): "samples must be a whole number from 1 up (got -1)",
    ("--samples", ""): NUMBER.format("int"),
    ("--logprobs", ""): NUMBER.format("int"),
    ("--stop", "a", "--stop", ""): "a stop string must be a text that is not empty",
    ("--session", ""): "a session must be a file",
    ("--quantize", ""): "argument --quantize: invalid choice: ''",
    ("-m", ""): "argument -m/--mode: invalid choice: ''",
    ("-z", ""): ": is not a regular file",
    ("--checkpoint", ""): "only one model can be used",
    ("--model", ""): "only one model can be used",
    ("",): "unrecognized arguments",
}
FAST = {
    ("--threads", "0"): "threads must be at least 1 (got 0)",
    ("--threads", "-1"): "threads must be at least 1 (got -1)",
    ("--threads", "1000000"): "threads must be at most 1024",
    ("--threads", ""): NUMBER.format("int"),
    ("--backend", ""): "argument --backend: invalid choice: ''",
}


def words(value: Any) -> str:
    """The name of a case: what is said on the command line."""
    return " ".join(map(str, value)) if isinstance(value, list) else "-"


def refused(done: Done, says: str) -> None:
    """In one line, with nothing written and no pass of the model."""
    assert (done.code, done.out, done.passes, done.err.count("\n")) == (2, "", [], 1), done.err
    assert says in done.err


@pytest.mark.parametrize("verb", ["generate", "chat"])
@pytest.mark.parametrize("flags", [*REFUSED, *FAST], ids=" ".join)
def test_what_has_no_meaning(
    odd: Odd, endless: Path, llama2: ModuleType, verb: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a tokenizer lies in the current folder: an empty name is not that of the folder."""
    if flags in FAST and llama2 is not llama2_fast:
        pytest.skip("a flag of llama2_fast")
    monkeypatch.chdir(endless.parent)
    says = (REFUSED | FAST)[flags]
    if verb == "chat" and "--samples" in flags:
        says = "unrecognized arguments"
    if verb == "chat" and "-n" in flags:
        says = says.replace("3 tokens of the prompt", "")
    question = ["-i", "1"] if verb == "chat" else []
    done = odd(verb, endless, *question, *flags)
    refused(done, says)


def test_an_empty_name_is_no_model(odd: Odd, tmp_path: Path, endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the bundled one nor what is in the current folder."""
    monkeypatch.chdir(endless.parent)
    for verb in ("generate", "chat", "info", "tokenize"):
        prompt = ["-i", "1"] if verb == "tokenize" else []
        refused(odd(verb, "", *prompt), ": is not a regular file")
        refused(odd(verb, "--checkpoint", "", *prompt), ": is not a regular file")
        refused(odd(verb, "--model", "", *prompt), "model must be one of ")


# --------------------------------------------------------------------------------------------------------- other verbs


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 41 tokens, BOS and the leading space included."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("xy" * 19 + "x")
    return path


@pytest.mark.parametrize(
    ("flags", "windows"),
    [
        ([], [[40]]),
        (["--context", 300, "--stride", 299], [[40]]),
        (["--context", 2, "--stride", 1], [[1]] * 40),
        (["--context", 2], [[1]] * 40),
        (["--context", 41], [[40]]),
        (["--context", 40], [[39], [19], [1]]),
        (["--context", 40, "--stride", 39], [[39], [1]]),
        (["--context", 2, "--context", 300], [[40]]),
        (["--context", 40, "--stride", 1, "--stride", 39], [[39], [1]]),
    ],
    ids=str,
)
def test_windows_of_perplexity(odd: Odd, endless: Path, text: Path, flags: list[Any], windows: list[list[int]]) -> None:
    """Each pass of the model; every token but the first is scored."""
    done = odd("perplexity", endless, text, *flags)
    assert (done.code, done.out.split(",")[0]) == (0, "40 tokens")
    assert done.passes == windows


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--context", 0], "context must be in 2..300"),
        (["--context", 1], "context must be in 2..300"),
        (["--context", -1], "context must be in 2..300"),
        (["--context", 301], "context must be in 2..300"),
        (["--context", ""], NUMBER.format("int")),
        (["--stride", 0], "stride must be in 1..299"),
        (["--stride", -1], "stride must be in 1..299"),
        (["--stride", 300], "stride must be in 1..299"),
        (["--context", 2, "--stride", 2], "stride must be in 1..1"),
        (["--stride", ""], NUMBER.format("int")),
        (["-z", ""], "is not a regular file"),
    ],
    ids=words,
)
def test_what_perplexity_refuses(
    odd: Odd, endless: Path, text: Path, flags: list[Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(endless.parent)
    refused(odd("perplexity", endless, text, *flags), says)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["x.gguf", "--to", ""], "the format must be one of gguf, safetensors, llama2c (got '')"),
        (["x.gguf", "--type", ""], "the type must be one of f32, q8_0, q4_0 (got '')"),
        (["x.bin", "--version", -1], "the version must be one of 0, 1, 2 (got -1)"),
        (["x.bin", "--version", 3], "the version must be one of 0, 1, 2 (got 3)"),
        (["x.bin", "--version", ""], NUMBER.format("int")),
        (["x.gguf", "--version", 0], "a version can be told only for llama2c (got 0 for gguf)"),
        (["x.bin", "--type", "f32"], "a type can be told only for gguf (got f32 for llama2c)"),
        (["x.gguf", "-z", ""], "is not a regular file"),
        ([""], "the output must have a name (got '')"),
        (["", "--to", "safetensors"], "the output must have a name (got '')"),
    ],
    ids=words,
)
def test_what_convert_refuses(
    odd: Odd, endless: Path, flags: list[Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty name is not the current folder, which may even be empty; nothing is written."""
    monkeypatch.chdir(tmp_path)
    refused(odd("convert", endless, *flags), says)
    assert list(tmp_path.iterdir()) == []


def test_versions_of_llama2_c(odd: Odd, endless: Path, llama2: ModuleType, tmp_path: Path) -> None:
    """0 is one of them, and not the default; the last that is told counts."""
    for flags, version in (([], 1), (["--version", 0], 0), (["--version", 2, "--version", 0], 0)):
        assert odd("convert", endless, tmp_path / "x.bin", *flags).code == 0
        assert f"float32, version {version}," in odd("info", tmp_path / "x.bin").out


def test_names_that_quantize_refuses(odd: Odd, endless: Path) -> None:
    refused(odd("quantize", "", "x"), ": is not a regular file")
    refused(odd("quantize", endless, ""), ": is not a regular file")


@pytest.mark.parametrize("verb", ["bench", "verify"])
@pytest.mark.parametrize("value", ["0", "-1", ""])
def test_numbers_of_tools(
    odd: Odd, endless: Path, verb: str, value: str, llama2: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if llama2 is not llama2_fast:
        pytest.skip("a verb of llama2_fast")
    flags = {"bench": ("--steps", "--threads", "--rounds"), "verify": ("--steps", "--threads")}[verb]
    for flag in flags:
        done = odd(verb, endless, flag, value)
        refused(done, f"must be at least 1 (got {value})" if value else NUMBER.format("int"))
    refused(odd(verb, ""), ": is not a regular file")
