"""Stop strings against the plain definition: the text, cut where the first of them begins."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama2_ref.generation.stop import until_stop

letters = st.text("ab", max_size=6)  # few letters, so that strings overlap themselves and each other
stops = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4)


def cut(text: str, stops: list[str]) -> str:
    return min((text.split(stop, 1)[0] for stop in stops), key=len)


@given(st.lists(letters, max_size=12), stops)
@example(["a", "b", "c", "d"], ["bc", "abcd"])  # the one that begins first is complete last
@example(["a", "b", "c", "x"], ["bc", "abcd"])  # and never comes
@example(["a", "b", "c"], ["bc", "abcd"])
@example(["aab", "aac"], ["aabaac"])  # a prefix within a prefix
@example(["\U0001f600é", ""], ["é"])
def test_a_text_ends_where_its_first_stop_string_begins(pieces, stops):
    assert "".join(until_stop(iter(pieces), stops)) == cut("".join(pieces), stops)


@given(st.lists(letters, max_size=12), stops)
def test_no_more_is_held_back_than_may_become_a_stop_string(pieces, stops):
    """After each piece all is out that no continuation could take back, and nothing that one could."""
    given_so_far, out = "", ""
    made = until_stop(iter(pieces), stops)
    for piece in pieces:
        given_so_far += piece
        if (new := next(made, None)) is None:
            break
        out += new
        ends = [cut(given_so_far + stop[i:], stops) for stop in stops for i in range(len(stop))]
        assert out == min([*ends, cut(given_so_far, stops)], key=len)


def test_nothing_more_is_asked_for_once_a_stop_string_is_there():
    pieces = iter(["a", "ST", "OP", "b"])
    made = until_stop(pieces, ["STOP"])
    assert "".join(made) == "a"
    assert list(pieces) == ["b"]


@pytest.mark.parametrize("stop", ["", ["a", ""], [3], ["\ud800"]])
def test_what_is_no_stop_string(llama2, stop):
    with pytest.raises(llama2.PromptError, match="a stop string must be"):
        llama2.load().generate("a", stop=stop)
