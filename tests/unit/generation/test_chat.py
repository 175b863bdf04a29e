"""Llama-2 chat prompts, and conversations that share a cache."""

import sys

import pytest

from llama2_ref.tokenizer import SpecialTokens
from support.models import vocabulary, write_model
from support.templates import CHATML, GEMMA, LLAMA2

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


# ------------------------------------------------------------------------------------------------------------ templates


@pytest.fixture
def templated(llama2, model):
    """A model whose tokens 297, 298 and 299 are special, with a template in the manner of ChatML."""
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")
    tokens, scores = vocabulary(297)
    tokens, scores = [*tokens, b"<|begin|>", b"<|end|>", b"<|turn|>"], [*scores, 0.0, 0.0, 0.0]
    special = frozenset({297, 298, 299})
    special_tokens = SpecialTokens(
        bos=297, eos=298, stop=frozenset({298}), control=special, space_prefix=False, adds_bos=False
    )
    return llama2.Model(llama2.Tokenizer(tokens, scores, special_tokens), model.transformer, llama2.Sampler, CHATML)


def text_of(model, tokens):
    """With special tokens."""
    names = {token: name for name, token in model.tokenizer.special.items()}
    return "".join(names.get(token) or model.tokenizer.decode([token]) for token in tokens)


CHAT = "<|turn|>system\nYou are helpful<|end|>\n<|turn|>user\nab<|end|>\n<|turn|>assistant\n"


def test_a_model_s_own_template_is_used(llama2, templated):
    stream = templated.chat([USER])
    assert text_of(templated, stream.tokens) == CHAT
    assert stream.tokens == llama2.encode_chat(templated.tokenizer, [USER], CHATML)
    assert stream.tokens == templated.conversation().say("ab").tokens
    assert stream.tokens.count(299) == 3
    turns = text_of(templated, llama2.encode_chat(templated.tokenizer, [SYSTEM, USER, ANSWER, USER], CHATML))
    assert turns == (
        "<|turn|>system\nbe<|end|>\n<|turn|>user\nab<|end|>\n<|turn|>assistant\ncd<|end|>\n"
        "<|turn|>user\nab<|end|>\n<|turn|>assistant\n"
    )


def test_an_empty_template_is_none(llama2, model):
    bare = llama2.Model(model.tokenizer, model.transformer, llama2.Sampler, "")
    assert bare.chat([USER]).tokens == model.chat([USER]).tokens == model.tokenizer.encode("[INST] ab [/INST]")


def test_names_of_bos_and_eos_come_from_the_tokenizer(llama2, templated):
    tokens = llama2.encode_chat(templated.tokenizer, [USER, ANSWER, USER], LLAMA2)
    assert text_of(templated, tokens) == "<|begin|>[INST] ab [/INST] cd <|end|><|begin|>[INST] ab [/INST]"
    assert tokens[0] == 297


def test_a_conversation_renders_all_turns_and_reads_what_is_new(templated):
    """The answer is put into the next prompt, where its tokens agree with the cache."""
    script = iter([260, 259, 260, 298, 262, 298, 298])

    def forward(tokens, cache):
        fed.append(list(tokens))
        cache.length += len(tokens)
        token = next(script)
        return [float(i == token) for i in range(300)]

    fed = []
    templated.transformer.forward = forward
    conversation = templated.conversation(temperature=0)
    first = conversation.say("ab", system="be")
    assert "".join(first) == "a a"
    second = conversation.say("ba")
    assert "".join(second) == "c"
    assert text_of(templated, second.tokens[: second.prompt_length]) == (
        "<|turn|>system\nbe<|end|>\n<|turn|>user\nab<|end|>\n<|turn|>assistant\na a<|end|>\n"
        "<|turn|>user\nba<|end|>\n<|turn|>assistant\n"
    )
    # " a" is one token, while two were sampled: from there on all is read again.
    assert second.tokens[: first.prompt_length + 1] == first.tokens[:-2]
    assert fed[4] == second.tokens[first.prompt_length + 1 : second.prompt_length]
    assert fed[4][0] == templated.tokenizer.encode(" a")[0]
    third = conversation.say("b")
    assert "".join(third) == ""
    assert fed[6] == third.tokens[len(second.tokens) :]


def test_a_template_is_told_the_system_message_once(templated):
    """It is for the first question: what is said with a later one does not count."""
    conversation = templated.conversation(temperature=0)
    first = conversation.say("ab", system="be")
    next(first)
    second = conversation.say("cab", system="bed")
    text = text_of(templated, second.tokens[: second.prompt_length])
    assert text.startswith("<|turn|>system\nbe<|end|>\n<|turn|>user\nab<|end|>")
    assert text.count("system") == 1


def test_a_template_is_told_an_answer_up_to_its_stop_string(templated):
    """What the user has seen of it, though the model has made more."""
    script = iter([260, 261, 262, 263])  # a, b, c, d

    def forward(tokens, cache):
        cache.length += len(tokens)
        token = next(script, 298)
        return [float(i == token) for i in range(300)]

    templated.transformer.forward = forward
    conversation = templated.conversation(temperature=0, stop="bc")
    first = conversation.say("ab")
    assert ("".join(first), first.generated) == ("a", 3)
    second = conversation.say("cab")
    assert "<|turn|>assistant\na<|end|>\n<|turn|>user\ncab" in text_of(templated, second.tokens)


def test_what_is_kept_is_what_a_new_conversation_would_read(templated):
    """The same answers, whatever of the cache was kept."""
    conversation = templated.conversation(temperature=0)
    answers = []
    for question in ("ab", "cab", "bad"):
        stream = conversation.say(question)
        answers.append([next(stream) for _ in range(6)])
        anew = templated.conversation(temperature=0).answer(stream.tokens[: stream.prompt_length])
        assert [next(anew) for _ in range(6)] == answers[-1]


def test_an_older_answer_can_not_go_on_once_the_next_question_is_asked(llama2, templated, model):
    """Whether or not either has begun: both would write into one cache."""
    for talk in (templated.conversation(temperature=0), model.conversation(temperature=0)):
        for begun in (0, 3):
            first = talk.say("ab")
            for _ in range(begun):
                next(first)
            second = talk.say("cab")
            with pytest.raises(llama2.PromptError, match="can't go on"):
                list(first)
            next(second)


def test_a_question_that_has_no_room_leaves_the_conversation_as_it_is(llama2, templated):
    conversation = templated.conversation(temperature=0)
    first = conversation.say("ab")
    next(first)
    with pytest.raises(llama2.PromptError, match="context of 200"):
        conversation.say("ab " * 90)
    next(first)
    assert text_of(templated, conversation.say("ba").tokens).count("user") == 2


@pytest.mark.parametrize(
    ("template", "system", "error", "says"),
    [
        (GEMMA, "be", "PromptError", "refuses this conversation (System role not supported)"),
        ("{{ messages[-1].content }}", "be", "PromptError", "has no place for a system message"),
        ("{{ '' }}", None, "PromptError", "makes nothing of this conversation"),
        ("{{ '\\0' }}", None, "PromptError", "must not contain NUL"),
        ("{{ nobody.name }}", None, "TokenizerError", "'nobody' is undefined"),
        ("{% for %}", None, "TokenizerError", "must be Jinja (line 1"),
    ],
)
def test_templates_that_can_not_be_used(llama2, templated, template, system, error, says):
    broken = llama2.Model(templated.tokenizer, templated.transformer, llama2.Sampler, template)
    messages = [USER] if system is None else [{"role": "system", "content": system}, USER]
    for talk in (lambda: broken.conversation().say("ab", system), lambda: broken.chat(messages)):
        with pytest.raises(getattr(llama2, error)) as caught:
            talk()
        assert says in str(caught.value)


def test_messages_are_checked_before_a_template_sees_them(llama2, templated):
    for messages in ([], [ANSWER], [USER, USER], [{"role": "user", "content": " "}], [{"role": "bot", "content": "a"}]):
        with pytest.raises(llama2.PromptError, match="must be"):
            templated.chat(messages)
    with pytest.raises(llama2.PromptError, match="not empty"):
        templated.conversation().say(" ")


def test_a_template_without_jinja2_names_the_extra(llama2, templated, monkeypatch):
    """As soon as a conversation begins; a text needs none."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    other = llama2.Model(templated.tokenizer, templated.transformer, llama2.Sampler, CHATML + "{# other #}")
    for talk in (other.conversation, lambda: other.chat([USER])):
        with pytest.raises(llama2.MissingExtraError, match=r"pip install 'llama2-twins\[models\]'"):
            talk()
    next(other.generate("ab"))
