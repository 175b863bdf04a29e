"""Known answers of llama2.c and of SentencePiece's vocabulary, on real checkpoints."""

import subprocess
import sys

import pytest

GREEDY = {"steps": 200, "temperature": 0.0}, ["-t", "0.0", "-n", "200"], "stories260K.greedy-200.txt"
SEEDED = (
    {"steps": 256, "temperature": 1.0, "topp": 0.9, "seed": 133742},
    ["-t", "1.0", "-p", "0.9", "-s", "133742"],
    "stories260K.seed-133742.txt",
)

# What llama2.c's test.c expects.
TOKENS = {
    "": [1],
    "I believe the meaning of life is": [1, 306, 4658, 278, 6593, 310, 2834, 338],
    "Simply put, the theory of relativity states that ": [
        *(1, 3439, 17632, 1925, 29892, 278, 6368, 310, 14215, 537, 5922, 393, 29871)
    ],
    "A brief message congratulating the team on the launch:\n\n        Hi everyone,\n\n        I just ": [
        *(1, 319, 11473, 2643, 378, 629, 271, 18099, 278, 3815, 373, 278, 6826, 29901, 13, 13, 4706, 6324),
        *(14332, 29892, 13, 13, 4706, 306, 925, 29871),
    ],
    "Translate English to French:\n\n        sea otter => loutre de mer\n        peppermint => menthe poivrée\n"
    "        plush girafe => girafe peluche\n        cheese =>": [
        *(1, 4103, 9632, 4223, 304, 5176, 29901, 13, 13, 4706, 7205, 4932, 357, 1149, 301, 449, 276, 316, 2778),
        *(13, 4706, 1236, 407, 837, 524, 1149, 6042, 354, 772, 440, 29878, 1318, 13, 4706, 715, 1878, 330, 3055),
        *(1725, 1149, 330, 3055, 1725, 4639, 28754, 13, 4706, 923, 968, 1149),
    ],
}


@pytest.mark.parametrize("case", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_the_library_tells_llama2_c_s_story(llama2, data, case):
    model = llama2.load(data / "stories260K.bin")
    assert "".join(model.generate(**case[0])) + "\n" == (data / case[2]).read_text()


@pytest.mark.parametrize("case", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_the_command_line_tells_llama2_c_s_story(llama2, data, case):
    command = [sys.executable, "-m", llama2.__name__, str(data / "stories260K.bin"), "-z", str(data / "tok512.bin")]
    done = subprocess.run([*command, *case[1]], check=True, capture_output=True)
    assert done.stdout == (data / case[2]).read_bytes()


@pytest.mark.parametrize("version", [0, 1])
def test_the_story_survives_another_version_of_the_file(llama2, data, tmp_path, version):
    llama2.write_checkpoint(tmp_path / "model.bin", *llama2.read_checkpoint(data / "stories260K.bin"), version)
    model = llama2.load(tmp_path / "model.bin", data / "tok512.bin")
    assert (data / GREEDY[2]).read_text().startswith("".join(model.generate(steps=60, temperature=0)))


def test_version_0_is_written_byte_for_byte_but_for_the_unused_tables(llama2, data, tmp_path):
    """llama2.c's own file, up to its RoPE tables, which were computed in float32."""
    llama2.write_checkpoint(tmp_path / "model.bin", *llama2.read_checkpoint(data / "stories260K.bin"), version=0)
    original, written = (data / "stories260K.bin").read_bytes(), (tmp_path / "model.bin").read_bytes()
    tables = 2 * 512 * (8 // 2) * 4
    assert len(written) == len(original)
    assert written[:-tables] == original[:-tables]


def test_a_quantized_story(llama2, data, tmp_path):
    """What llama2.c's runq prints for this project's version 2 file of stories260K, groups of 4, greedy."""
    llama2.write_checkpoint(tmp_path / "q8.bin", *llama2.read_checkpoint(data / "stories260K.bin"), version=2)
    model = llama2.load(tmp_path / "q8.bin", data / "tok512.bin")
    assert "".join(model.generate(steps=50, temperature=0)) == (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
        "One day, she saw a big, red ball. She wanted to play with"
    )


@pytest.mark.parametrize("text", TOKENS, ids=["empty", "meaning", "theory", "message", "french"])
def test_token_ids(llama2, data, text):
    tokenizer = llama2.Tokenizer.read(data / "tokenizer.bin", 32000)
    assert tokenizer.encode(text) == TOKENS[text]
    assert tokenizer.decode(TOKENS[text]) == text


def test_older_byte_tokens_give_the_same_ids(llama2, data, tmp_path):
    """The layout whose byte tokens are characters, as in files of 2023: made from the newer one."""
    from support.models import write_tokenizer

    newer = llama2.Tokenizer.read(data / "tokenizer.bin", 32000)
    tokens = [chr(i - 3).encode() if 3 <= i < 259 else token for i, token in enumerate(newer.tokens)]
    older = llama2.Tokenizer.read(write_tokenizer(tmp_path / "tokenizer.bin", tokens, newer.scores), 32000)
    for text, ids in TOKENS.items():
        assert older.encode(text) == ids
        assert older.decode(ids) == text
    assert older.encode("1 \U0001f600\n") == newer.encode("1 \U0001f600\n")
