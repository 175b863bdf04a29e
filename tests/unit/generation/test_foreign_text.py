"""Texts and chats of models that bring their own tokenizer and template: as a library, and by the command line."""

import io
import itertools
import json
import os
import re
import sys
from functools import partial

import pytest

import llama2_fast
import llama2_ref
from llama2_ref.cli.main import main
from llama2_ref.formats.huggingface import write_folder
from support.models import random_twins
from support.templates import CHATML, GEMMA
from support.vocabularies import importorskip, train_letters, train_pieces
from support.vocabularies import write_folder as write_files

CONFIG = llama2_ref.Config(16, 24, 2, 4, 2, 460, 120)
NAMES = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
USER = {"role": "user", "content": "How many waves?"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder without a tokenizer."""
    folder = tmp_path_factory.mktemp("weights") / "model"
    write_folder(folder, CONFIG, random_twins(CONFIG, 3).ref)
    return folder


@pytest.fixture
def folder(weights, tmp_path):
    """GPT-2's kind of vocabulary, smaller than the model's, and a template in the manner of ChatML."""
    importorskip("tokenizers")
    for file in weights.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = NAMES | {"chat_template": CHATML}
    files = {"tokenizer_DOT_json": train_letters(), "tokenizer_config_DOT_json": settings}
    return write_files(tmp_path, **files, generation_config_DOT_json={"eos_token_id": [1, 450]})


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line in this process: exit code, standard output and error."""

    def call(llama2, *argv, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(llama2, [str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def jinja2():
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")


def test_a_folder_makes_text(llama2, folder, call):
    model = llama2.load(folder)
    stream = model.generate("Once upon a time", steps=40, temperature=0)
    text = "".join(stream)
    assert text.startswith("Once upon a time")
    assert stream.tokens[: stream.prompt_length] == model.tokenizer.encode("Once upon a time")
    assert model.tokenizer.stop == {1, 450}
    code, out, err = call(llama2, folder, "-i", "Once upon a time", "-n", "40", "-t", "0")
    assert (code, out) == (0, text + "\n")
    assert "tok/s" in err


def test_both_packages_give_the_same_text(folder):
    texts = {"".join(p.load(folder).generate("a wave", 100, 0.9, 0.9, 5)) for p in (llama2_ref, llama2_fast)}
    assert len(texts) == 1


def test_ids_without_a_token_are_no_text(llama2, folder):
    """The model has room for 8 more, and may choose one of them."""
    model = llama2.load(folder)
    assert model.tokenizer.vocab_size == 460
    script = iter([455, 70, 459, 71, 1])
    model.transformer.forward = lambda tokens, cache: (
        [float(i == token) for i in range(460)]
        if (token := next(script)) and not setattr(cache, "length", cache.length + len(tokens))
        else None
    )
    stream = model.generate("a", temperature=0)
    assert "".join(stream) == "a" + model.tokenizer.decode([70, 71])
    assert stream.tokens[-4:] == [455, 70, 459, 71]


def test_a_folder_chats_by_its_own_template(llama2, folder, call):
    jinja2()
    model = llama2.load(folder)
    expected = "".join(model.chat([{"role": "system", "content": "Be brief."}, USER], steps=110, temperature=0))
    code, out, err = call(
        llama2, "chat", folder, "-y", "Be brief.", "-i", USER["content"], "-t", "0", "-n", "110", stdin=b"\n"
    )
    assert (code, out) == (0, f"Assistant: {expected}\nUser: \n")
    prompt = "<|turn|>system\nBe brief.<|end|>\n<|turn|>user\nHow many waves?<|end|>\n<|turn|>assistant\n"
    assert f"prompt: {len(model.tokenizer.encode_special(prompt))} tokens" in err


def test_two_turns_on_the_command_line_are_the_library_s(llama2, folder, call):
    jinja2()
    load = llama2.load
    conversation = short_answers(load(folder)).conversation(temperature=0)
    answers = ["".join(conversation.say(text)) for text in ("a wave", "a boy")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama2, "load", lambda *names: short_answers(load(*names)))
        code, out, _ = call(llama2, "chat", folder, "-t", "0", stdin=b"a wave\na boy\n")
    assert (code, out) == (0, "".join(f"User: Assistant: {answer}\n" for answer in answers) + "User: \n")


def short_answers(model):
    """The same model, which says four tokens, and ends its turn."""
    forward, passes = model.transformer.forward, itertools.count(1)

    def short(tokens, cache):
        logits = [float(logit) for logit in forward(tokens, cache)]
        if next(passes) % 5 == 0:
            logits[450] = 1e6
        return logits

    model.transformer.forward = short
    return model


def test_a_template_that_refuses_a_system_message_is_one_line(llama2, folder, call):
    jinja2()
    (folder / "chat_template.jinja").write_text(GEMMA)
    code, out, err = call(llama2, "chat", folder, "-y", "Be brief.", "-i", "a", stdin=b"\n")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith("chat template refuses this conversation (System role not supported)")


def test_what_is_missing_is_named(llama2, folder, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    from llama2_ref.generation import chat_template as _template

    _template.compile_template.cache_clear()
    code, out, err = call(llama2, "chat", folder, "-i", "a")
    assert (code, out) == (2, "")
    assert err.endswith("pip install 'llama2-twins[models]'\n")
    assert call(llama2, folder, "-n", "5")[0] == 0
    monkeypatch.setattr("llama2_ref.tokenizers.read.find_spec", lambda name: None)
    code, out, err = call(llama2, folder)
    assert (code, out) == (2, "")
    assert err.endswith("pip install 'llama2-twins[models]'\n")


@pytest.mark.parametrize("name", ["folder", "file", "model"])
def test_tokenize_shows_each_token(llama2, folder, call, name):
    """By the model, and by a tokenizer that is named alone."""
    named = {"folder": [folder], "file": ["-z", folder / "tokenizer.json"], "model": ["-z", folder, folder]}[name]
    code, out, err = call(llama2, "tokenize", *named, "-i", "a wave\n\xe9<|end|>")
    tokenizer = llama2.load(folder).tokenizer
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [int(token) for token, _ in rows] == tokenizer.encode("a wave\n\xe9<|end|>")
    assert "".join(re.findall("'(.*)'", text)[0] for _, text in rows).startswith("a wave\\n")
    assert err == f"{len(rows)} tokens\n"


def test_info_tells_of_the_template(llama2, folder, call):
    code, out, _ = call(llama2, "info", folder)
    assert code == 0
    assert re.search(r"chat template +its own", out)
    (folder / "tokenizer_config.json").write_text(json.dumps(NAMES))
    assert re.search(r"chat template +none: that of Llama 2", call(llama2, "info", folder)[1])


def test_without_a_template_a_folder_chats_as_llama_2(llama2, folder):
    (folder / "tokenizer_config.json").write_text(json.dumps(NAMES | {"add_bos_token": True}))
    model = llama2.load(folder)
    assert model.template is None
    expected = model.tokenizer.encode("[INST] How many waves? [/INST]")
    assert expected[0] == model.tokenizer.bos == 0
    assert model.chat([USER]).tokens == expected
    turns = llama2.encode_chat(model.tokenizer, [USER, {"role": "assistant", "content": "2"}, USER])
    assert turns == [*expected, *model.tokenizer.encode("2", bos=False), 1, *expected]


def test_a_tokenizer_may_be_named(llama2, folder, tmp_path_factory):
    """A file of any kind, in place of the folder's own."""
    importorskip("sentencepiece")
    other = tmp_path_factory.mktemp("other") / "tokenizer.model"
    other.write_bytes(train_pieces())
    model = llama2.load(folder, other)
    assert type(model.tokenizer).__name__ == "SentencePieceTokenizer"
    assert model.generate("a wave", steps=20).tokens[0] == model.tokenizer.bos == 1
    assert llama2.load(folder, other.parent).tokenizer.encode("a") == model.tokenizer.encode("a")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"tokenizer_DOT_json": "{"}, "tokenizer.json: must be a tokenizer as the tokenizers package writes it ("),
        ({"tokenizer_config_DOT_json": "{"}, "tokenizer_config.json: must be JSON ("),
        ({"tokenizer_config_DOT_json": {"chat_template": 3}}, "tokenizer_config.json: chat_template must be a text"),
        ({"generation_config_DOT_json": {"eos_token_id": 460}}, "eos_token_id must be token ids in 0..459 (got 460)"),
        ({"chat_template_DOT_jinja": b"\xff"}, "chat_template.jinja: a chat template must be UTF-8"),
    ],
)
def test_damaged_files_are_one_line(llama2, folder, call, files, says):
    write_files(folder, **files)
    for verb in ([], ["chat"], ["tokenize", "-i", "a"]):
        code, out, err = call(llama2, *verb, folder)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert says in err


def test_gguf_files_get_the_package_s_own_algorithm(llama2, tmp_path):
    """Whose cost is that of n log n in the fast one."""
    from llama2_ref.formats.model_file import ModelFile
    from llama2_ref.model import read_tokenizer
    from llama2_ref.tokenizers.read import from_gguf
    from support.vocabularies import gguf_of_pieces

    file = ModelFile(
        "", CONFIG, random_twins(CONFIG, 3).ref, "", "", partial(from_gguf, gguf_of_pieces(train_pieces()), 460)
    )
    tokenizer = read_tokenizer(file, None, llama2.Tokenizer)
    assert type(tokenizer) is llama2.Tokenizer
    assert tokenizer.encode("a wave") == file.tokenizer(llama2_ref.Tokenizer).encode("a wave")
    assert (tokenizer.stop, tokenizer.vocab_size) == ({2}, 460)


@pytest.mark.skipif(
    "LLAMA2_SMOLLM2" not in os.environ, reason="LLAMA2_SMOLLM2 names no GGUF file of SmolLM2-135M-Instruct"
)
def test_smollm2_chats_through_its_own_template():
    """The ids are llama.cpp's; the answers are what anyone would expect."""
    jinja2(), importorskip("tokenizers")
    model = llama2_fast.load(os.environ["LLAMA2_SMOLLM2"])
    for text, ids in SMOLLM2.items():
        assert model.tokenizer.encode(text) == ids
        assert model.tokenizer.decode(ids) == text
    assert (model.tokenizer.bos, model.tokenizer.eos, model.tokenizer.stop) == (None, 2, {0, 2})
    conversation = model.conversation(steps=200, temperature=0)
    assert "Rome" in "".join(conversation.say("What is the capital of Italy?", "Answer in one short sentence."))
    assert "Madrid" in "".join(conversation.say("And of Spain?"))


SMOLLM2 = {
    "Hello world": [19556, 905],
    "def f(x):\n    return x**2 + 3.14\n": [
        1604, 275, 24, 104, 727, 472, 1003, 1792, 828, 34, 1232, 216, 35, 30, 33, 36, 198,
    ],
    "1234567 \u0663\u0664": [33, 34, 35, 36, 37, 38, 39, 216, 164, 113, 164, 114],
    "\U0001f600 \u4e16\u754c \ud55c\uad6d\uc5b4": [
        10813, 242, 218, 216, 7906, 240, 178, 239, 230, 216, 33085, 246, 181, 130, 251, 183, 240, 129,
    ],
    "a  b   c\n\n\t d": [81, 216, 278, 256, 265, 14436, 287],
    "don't I'LL we've": [12420, 982, 339, 23, 16421, 392, 3543],
    "<|im_start|>user\nhi<|im_end|>": [
        44, 108, 306, 79, 3738, 108, 46, 4093, 198, 6004, 44, 108, 306, 79, 486, 108, 46,
    ],
}  # fmt: skip
