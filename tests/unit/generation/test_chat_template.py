"""Chat templates: transformers says what they mean; what a template must not do is told in one line."""

import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama2_ref
from llama2_ref.generation import chat_template as _template
from llama2_ref.generation.chat_template import render_template
from support.templates import ALL, CHATML, GEMMA
from support.vocabularies import importorskip, train_letters

USER, ANSWER, SYSTEM = (
    {"role": role, "content": content}
    for role, content in (
        ("user", " How many\nwaves? "),
        ("assistant", "1024 <waves> & more"),
        ("system", "Be brief. \xe9\u4e16"),
    )
)
TALKS = {
    "question": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ANSWER, USER],
    "long": [SYSTEM, USER, ANSWER, USER, ANSWER, USER],
}


@pytest.fixture(autouse=True)
def jinja2():
    return pytest.importorskip("jinja2", reason="jinja2 is not installed (extra chat)")


@pytest.fixture(scope="module")
def hub():
    """A tokenizer of transformers, whose vocabulary is that of `train_letters`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra dev)")
        inner = importorskip("tokenizers").Tokenizer.from_str(train_letters())
        names = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
        return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names)


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", ALL)
def test_transformers_renders_alike(hub, name, talk):
    def ours():
        return render_template(ALL[name], TALKS[talk], "<|begin|>", "<|end|>")

    if name == "gemma" and TALKS[talk][0] is SYSTEM:
        with pytest.raises(llama2_ref.PromptError, match=r"refuses this conversation \(System role not supported\)"):
            ours()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = hub.apply_chat_template(
            TALKS[talk], chat_template=ALL[name], tokenize=False, add_generation_prompt=True
        )
    assert ours() == expected


@pytest.mark.parametrize("name", ALL)
def test_transformers_finds_the_same_tokens(hub, tmp_path, name):
    from llama2_ref.tokenizers.read import read_folder
    from support.vocabularies import write_folder

    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    tokenizer = read_folder(
        write_folder(tmp_path, tokenizer_DOT_json=train_letters(), tokenizer_config_DOT_json=names), 452
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = hub.apply_chat_template(
            TALKS["turns"], chat_template=ALL[name], add_generation_prompt=True, return_dict=False
        )
    assert llama2_ref.encode_chat(tokenizer, TALKS["turns"], ALL[name]) == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for", "must be Jinja (line 1: "),
        ("\n\n{{ a b }}", "must be Jinja (line 3: "),
        ("{% nonsense %}", "must be Jinja (line 1: Encountered unknown tag 'nonsense'"),
        ("{{ nobody.name }}", "can't be used ('nobody' is undefined)"),
        ("{{ 1 / 0 }}", "can't be used (division by zero)"),
        ("{{ messages + 3 }}", "can't be used (can only concatenate list"),
        ("{{ ''.__class__.__mro__ }}", "can't be used (access to attribute '__class__'"),
        ("{{ messages.append(3) }}", "can't be used (access to attribute 'append'"),
        ("{{ raise_exception.__globals__.x }}", "access to attribute '__globals__'"),
        ("{% include 'other' %}", "can't be used (no loader"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "can't be used (maximum recursion depth"),
        ("{{ range(10 ** 9) | list }}", "can't be used ("),
        ("{{ 'x' * 10 ** 9 }}", "more than 4,194,304 characters"),
        ("{{ 10 ** 9 ** 9 }}", "it uses numbers of more than 1,000,000"),
        ("{{ 'x'.ljust(10 ** 9) }}", "it uses numbers of more than 1,000,000"),
        ("{{ 'x' | center(10 ** 9) }}", "it uses numbers of more than 1,000,000"),
        ("{{ '%99999999d' % 3 }}", "it formats numbers too widely"),
        ("{{ '%99999999d' | format(3) }}", "it formats numbers too widely"),
        ("{{ ('x' * 4000000).replace('x', 'yy') }}", "more than 4,194,304 characters"),
        ("{{ [messages] * 10 ** 8 }}", "more than 4,194,304 characters"),
        (
            "{% set ns = namespace(a='xx') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
            "more than 4,194,304 characters",
        ),
        (
            "{% set ns = namespace(a='xx') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
            "more than 4,194,304 characters",
        ),
        ("{% for i in range(99999) %}{{ 'x' * 99 }}{% endfor %}", "more than 4,194,304 characters"),
        ("{{ raise_exception('a\nb') }}", "refuses this conversation (a b)"),
        ("{% for i in range(30) %}" * 30 + "{% endfor %}" * 30, "too many statically nested blocks"),
        ("{{ " + "(" * 5000 + ")" * 5000 + "}}", "can't be used ("),
        ("x" * (2**20 + 1), "at most 1,048,576 characters (got 1,048,577)"),
    ],
)
def test_what_templates_must_not_do(source, says):
    with pytest.raises((llama2_ref.TokenizerError, llama2_ref.PromptError)) as caught:
        render_template(source, [USER], "<s>", "</s>")
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for a in range(99999) %}{% set b = range(99999) | sum %}{% endfor %}",
]


@pytest.mark.parametrize("source", ENDLESS)
def test_endless_templates_are_stopped(monkeypatch, source):
    monkeypatch.setattr(_template, "STEPS", 20_000)
    monkeypatch.setattr(_template, "SECONDS", 0.3)
    with pytest.raises(llama2_ref.TokenizerError, match=r"it takes more than (20,000 steps|0 seconds)"):
        render_template(source, [USER], "", "")


def test_one_rendering_s_steps_are_not_the_next_one_s(monkeypatch):
    monkeypatch.setattr(_template, "STEPS", 50)
    for _ in range(3):
        assert render_template("{% for i in range(40) %}{{ i % 2 }}{% endfor %}", [USER], "", "") == "01" * 20


@given(st.text(st.sampled_from("{}%#-'\"()[]|~*+. abif01=\n"), max_size=60), st.booleans())
def test_any_text_is_rendered_or_refused_in_one_line(text, mixed):
    source = CHATML[: len(text) * 5] + text if mixed else text
    try:
        assert isinstance(render_template(source, [SYSTEM, USER], "<s>", "</s>"), str)
    except (llama2_ref.TokenizerError, llama2_ref.PromptError) as error:
        assert len(str(error).splitlines()) == 1


def test_today_s_date(monkeypatch):
    class Clock:
        @staticmethod
        def now():
            import datetime

            return datetime.datetime(2024, 7, 26)

    monkeypatch.setattr(_template, "datetime", Clock)
    assert render_template("{{ strftime_now('%d %b %Y') }}", [USER], "", "") == "26 Jul 2024"


def test_messages_stay_as_they_are():
    messages = [dict(USER)]
    with pytest.raises(llama2_ref.TokenizerError):
        render_template("{% set messages[0].content = 'x' %}", messages, "", "")
    render_template("{% set x = messages[0] %}{{ x.content }}", messages, "", "")
    assert messages == [USER]


def test_templates_need_the_extra(monkeypatch):
    _template.compile_template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(llama2_ref.MissingExtraError, match=r"llama2-twins\[models\]"):
        render_template(GEMMA + " ", [USER], "", "")
