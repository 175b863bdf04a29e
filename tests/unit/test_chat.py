"""Llama-2 chat prompts, and conversations that share a cache."""

import pytest

from models import write_model

USER = {"role": "user", "content": "ab"}
ANSWER = {"role": "assistant", "content": "cd"}
SYSTEM = {"role": "system", "content": "be"}


@pytest.fixture
def model(llama2, tmp_path):
    write_model(tmp_path, llama2.Config(16, 24, 2, 4, 2, 300, 200), seed=1)
    return llama2.load(tmp_path / "model.bin")


def test_the_format(llama2, model):
    encode = model.tokenizer.encode
    assert llama2.encode_chat(model.tokenizer, [USER]) == encode("[INST] ab [/INST]")
    assert llama2.encode_chat(model.tokenizer, [SYSTEM, USER]) == encode("[INST] <<SYS>>\nbe\n<</SYS>>\n\nab [/INST]")
    three = llama2.encode_chat(model.tokenizer, [USER, ANSWER, USER])
    assert three == [*encode("[INST] ab [/INST]"), *encode("cd", bos=False, eos=True), *encode("[INST] ab [/INST]")]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [SYSTEM],
        [ANSWER],
        [USER, USER],
        [USER, ANSWER],
        [USER, SYSTEM, USER],
        [SYSTEM, SYSTEM, USER],
        [{"role": "user"}],
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": "a\0"}],
        [{"role": "user", "content": 3}],
        [{"role": "bot", "content": "a"}],
    ],
)
def test_messages_that_make_no_conversation(llama2, model, messages):
    with pytest.raises(llama2.PromptError):
        model.chat(messages)


def test_an_answer_comes_without_the_question(model):
    stream = model.chat([USER], steps=60, temperature=0)
    text = "".join(stream)
    assert "INST" not in text
    assert stream.generated > 0
    assert text == model.tokenizer.decode([1, *stream.tokens[stream.prompt_length :]])


def test_a_conversation_reads_only_what_is_new(llama2, model):
    """The second answer is the one that the whole conversation, read anew, would get."""
    conversation = model.conversation(temperature=0)
    first = conversation.say("ab", system="be")
    for _ in range(8):
        next(first)
    fed = []
    forward = model.transformer.forward
    model.transformer.forward = lambda tokens, cache: fed.append(len(tokens)) or forward(tokens, cache)
    second = conversation.say("cab")
    answer = [next(second) for _ in range(8)]
    assert fed[0] < second.prompt_length
    model.transformer.forward = forward
    anew = model.conversation(temperature=0).answer(second.tokens[: second.prompt_length])
    assert [next(anew) for _ in range(8)] == answer


def test_an_answer_ends_where_the_next_question_begins(llama2, model):
    """Two streams of one conversation share its cache: the older one can't go on."""
    conversation = model.conversation(temperature=0)
    first = conversation.say("ab")
    for _ in range(4):
        next(first)
    second = conversation.say("cab")
    for _ in range(4):
        next(second)
    with pytest.raises(llama2.PromptError, match="can't go on"):
        next(first)


def test_turns_are_stripped_and_the_system_message_is_said_once(model):
    conversation = model.conversation(temperature=0)
    first = conversation.say("  ab\n", system="be")
    assert model.tokenizer.decode(first.tokens) == "[INST] <<SYS>>\nbe\n<</SYS>>\n\nab [/INST]"
    next(first), next(first)
    second = conversation.say("ad")
    assert model.tokenizer.decode(second.tokens[second.tokens.index(2) + 1 :]) == "[INST] ad [/INST]"


def test_a_full_context_is_said(llama2, model):
    conversation = model.conversation(temperature=0)
    with pytest.raises(llama2.PromptError, match="context of 200"):
        for _ in range(20):
            list(conversation.say("abc"))
