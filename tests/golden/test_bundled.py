"""What the bundled model says: the same text from both packages, on every machine.

Its weights are int8, and so are the activations then: where a number lies next to the middle of two integers, another
order of summation may choose the other one, and a text may go another way. The texts here are therefore those of the
same weights as float32 numbers, where no choice is that close; the int8 model is held to what does not hang on one.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import llama2_ref
from llama2_ref.model import BUNDLED

HERE = Path(__file__).parent
GREEDY = {"temperature": 0}, "tiny.greedy.txt"
SEEDED = {"temperature": 0.5, "seed": 1}, "tiny.seed-1.txt"


@pytest.fixture(scope="module")
def float_model(llama2, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.bin"
    llama2.write_checkpoint(path, *llama2.read_checkpoint(BUNDLED), version=1)
    return llama2.load(path, BUNDLED.parent / "tok1024.bin")


@pytest.mark.parametrize(("sampling", "file"), [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_its_weights_tell_these_stories(llama2, float_model, sampling, file):
    """To the end, or, by the reference, which takes its time, for 80 tokens."""
    story = (HERE / file).read_text()
    if llama2.__name__ == "llama2_fast":
        assert "".join(float_model.generate(**sampling)) + "\n" == story
    else:
        assert story.startswith("".join(float_model.generate(**sampling, steps=80)))


def test_the_first_command_tells_a_story(llama2):
    """No checkpoint is named; the story ends by itself."""
    steps = [] if llama2.__name__ == "llama2_fast" else ["-n", "30"]
    command = [sys.executable, "-m", llama2.__name__, "-t", "0", *steps]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("One day")
    if not steps:
        assert done.stdout.rstrip()[-1] in '.!?"'


def test_it_tells_the_same_story_for_the_same_seed():
    """The reference, whose sums have one order: its int8 text is the same everywhere, to the last letter."""
    model = llama2_ref.load()
    text = "".join(model.generate(steps=40, temperature=0.5, seed=1))
    assert text == (HERE / "tiny.int8.seed-1.txt").read_text().rstrip("\n")


def test_it_encodes_any_text(llama2):
    tokenizer = llama2.load().tokenizer
    text = "Naïve 世界 \U0001f600\n\ttwo  spaces"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_sampled_stories_differ_and_end():
    import llama2_fast

    model = llama2_fast.load()
    streams = [model.generate(steps=0, temperature=0.5, seed=seed) for seed in range(1, 6)]
    assert len({"".join(stream) for stream in streams}) == 5
    assert all(len(stream.tokens) < model.config.seq_len for stream in streams)


def test_it_is_small():
    """Model and tokenizer take at most 1.5 MB of the wheel."""
    files = list(BUNDLED.parent.glob("*.bin"))
    assert {file.name for file in files} == {"tiny.bin", "tok1024.bin"}
    assert sum(file.stat().st_size for file in files) < 1_500_000


def test_it_uses_grouped_queries_and_a_context_of_256(llama2):
    config = llama2.load().config
    assert config.n_kv_heads < config.n_heads
    assert config.seq_len >= 256
