"""How story lines are read."""

import pytest

from stories.grammar import capitalize_sentences, fix_articles
from stories.template import Choice, Slot, beat, parse, starting_with, with_pronoun


def test_slots_and_alternatives() -> None:
    first, slot, choice = parse("a {toy.noun}[ here|]")
    assert (first, slot) == ("a ", Slot("toy", "noun"))
    assert isinstance(choice, Choice)
    assert choice.options == ((" here",), ())


@pytest.mark.parametrize("line", ["a [b", "a ] b", "a | b", "a {b", "a } b"])
def test_stray_marks_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line"):
        parse(line)


def test_an_indented_line_continues_the_one_above() -> None:
    lines = beat("""
        one
            and more
        two
    """)
    assert lines.options == (("one and more",), ("two",))


def test_lines_that_name_the_hero_first() -> None:
    lines = beat("""
        {h} met {f}.
        {f} met {h}.
        it was {h.name}.
    """)
    assert starting_with(lines, "h").options == (parse("{h} met {f}."),)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{h} ran.", "{h.he} ran."),
        ('"Yes," said {h}.', '"Yes," {h.he} said.'),
        ('"Yes!" {h} cried.', '"Yes!" {h.he} cried.'),
        ('"Yes?" {h} ran.', '"Yes?" {h} ran.'),
        ("{h} and {f} ran.", "{h} and {f} ran."),
        ("{f} saw {h}.", "{f} saw {h}."),
    ],
)
def test_a_pronoun_takes_the_place_of_a_subject(line: str, expected: str) -> None:
    nodes = parse(line)
    told = with_pronoun(nodes, nodes.index(Slot("h", "")))
    assert _spell(told) == _spell(parse(expected))


def _spell(line: tuple[object, ...]) -> str:
    return "".join(f"<{node.role}.{node.form}>" if isinstance(node, Slot) else str(node) for node in line)


def test_capitals_and_articles() -> None:
    assert capitalize_sentences('so it was. "why?" she asked. "no." he left.') == (
        'So it was. "Why?" she asked. "No." He left.'
    )
    assert fix_articles("a apple, an red apple, An hour") == "an apple, a red apple, An hour"
