"""What the bundled model says: the same text from both packages, on every machine."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GREEDY = ("-t", "0"), "tiny.greedy.txt"
SEEDED = ("-s", "1"), "tiny.seed-1.txt"


@pytest.mark.parametrize(("argv", "file"), [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_the_first_command_tells_this_story(llama2, argv, file):
    """No checkpoint is named: a whole story, which ends by itself."""
    command = [sys.executable, "-m", llama2.__name__, *argv]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == (HERE / file).read_text()


def test_it_ends_its_stories(llama2):
    model = llama2.load()
    stream = model.generate(steps=0, temperature=0)
    list(stream)
    assert len(stream.tokens) < model.config.seq_len


def test_it_encodes_any_text(llama2):
    tokenizer = llama2.load().tokenizer
    text = "Naïve 世界 \U0001f600\n\ttwo  spaces"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_sampled_stories_differ():
    import llama2_fast

    model = llama2_fast.load()
    assert len({"".join(model.generate(seed=seed)) for seed in range(1, 6)}) == 5


def test_it_is_small():
    """Model and tokenizer take at most 1.5 MB of the wheel."""
    import llama2_ref

    files = list((Path(llama2_ref.__file__).parent / "models").glob("*.bin"))
    assert {file.name for file in files} == {"tiny.bin", "tok1024.bin"}
    assert sum(file.stat().st_size for file in files) < 1_500_000


def test_it_uses_grouped_queries_and_a_context_of_256(llama2):
    config = llama2.load().config
    assert config.n_kv_heads < config.n_heads
    assert config.seq_len >= 256
