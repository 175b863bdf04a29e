"""What every story must be like, checked over many seeds."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from stories import story, tell, words
from stories.__main__ import SEPARATOR, write_corpus
from stories.drills import NAMES, NEIGHBORS, drill
from stories.grammar import FEMALE, MALE, article
from stories.plots import PLOTS
from stories.telling import MAX_WORDS, MIN_WORDS
from stories.world import Tale

COUNT = 6000
# Of the stories of some seeds; it changes with every change of the text
SHA256 = "5953bc96b64fe7507ec0da0a8dd308a53a31c6382b00548f502f6a5b47caf9c0"
YOUNG_NAMES = {*words.GIRL_NAMES, *words.BOY_NAMES, *words.ANIMAL_GIRL_NAMES, *words.ANIMAL_BOY_NAMES}
OLD_NAMES = {each.name for each in (*words.NEIGHBORS, *words.ANIMAL_NEIGHBORS)}


@pytest.fixture(scope="module")
def tales() -> list[Tale]:
    return [tell(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def texts(tales: list[Tale]) -> list[str]:
    return [tale.text() for tale in tales]


def mentions(name: str, text: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def test_same_seed_same_story() -> None:
    assert story(7) == story(7)
    assert story(7) != story(8)


def test_stories_never_change_for_a_seed() -> None:
    joined = "\n".join(story(seed) for seed in (*range(100), 1_000_000_000, 12_345_678_901))
    assert hashlib.sha256(joined.encode()).hexdigest() == SHA256


def test_length(texts: list[str]) -> None:
    assert all(MIN_WORDS <= len(text.split()) <= MAX_WORDS for text in texts)


def test_vocabulary_is_small(texts: list[str]) -> None:
    assert len({word for text in texts for word in re.findall(r"[a-z]+", text.lower())}) < 2000


def test_only_plain_characters(texts: list[str]) -> None:
    assert set("".join(texts)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:!?\"'\n")


def test_no_marks_or_slips_of_space(texts: list[str]) -> None:
    for text in texts:
        assert not re.search(r"  | [.,!?:]| \n|\n\n|^\s|\s$|[.,!?:][A-Za-z]", text), text


def test_quotes_are_balanced_in_every_paragraph(texts: list[str]) -> None:
    for text in texts:
        for paragraph in text.split("\n"):
            assert paragraph.count('"') % 2 == 0, paragraph
            assert not re.search(r'(^|\s)"(\s|$)', paragraph), paragraph


def test_every_paragraph_ends_a_sentence(texts: list[str]) -> None:
    assert all(re.search(r'[.!?]"?$', paragraph) for text in texts for paragraph in text.split("\n"))


def test_sentences_begin_with_capitals(texts: list[str]) -> None:
    for text in texts:
        assert not re.search(r'(^|[.!?] |\." |\n)"?[a-z]', text), text


def test_after_a_quoted_exclamation_only_a_tag_is_small(texts: list[str]) -> None:
    verbs = "said|asked|cried|called|shouted|whispered|thought|sang|promised|sighed|added|wondered|told"
    who = r"(he|she|they|they both|his \w+|her \w+|somebody|everyone) "
    tag = re.compile(rf"({who})?({verbs})\b|(went|at|was|when)\b|a [a-z ]+ named|a [a-z ]*voice")
    for text in texts:
        for found in re.finditer(r'[!?]" (?=[a-z])', text):
            assert tag.match(text[found.end() :]), text[found.start() :]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("apple", "an"), ("ball", "a"), ("hour", "an"), ("useful", "a"), ("old", "an"), ("one", "a"), ("umbrella", "an")],
)
def test_article(word: str, expected: str) -> None:
    assert article(word) == expected


def test_articles_agree(texts: list[str]) -> None:
    for text in texts:
        for found in re.finditer(r"\b([Aa]n?) ([a-z]+)", text):
            assert found[1].lower() == article(found[2]), found[0]


def test_no_word_is_said_twice(texts: list[str]) -> None:
    for text in texts:
        doubled = re.search(r"\b(a|the|and|his|her|to|of|in|was) \1\b", text)
        assert doubled is None, text


def test_only_the_cast_is_named(tales: list[Tale]) -> None:
    for tale in tales:
        cast = {person.name for person in tale.people.values()}
        for name in (YOUNG_NAMES | OLD_NAMES) - cast:
            assert not mentions(name, tale.text()), (name, tale.text())


def test_friends_and_neighbors_are_introduced(tales: list[Tale]) -> None:
    for tale in tales:
        text = tale.text()
        for role in ("f", "n"):
            person = tale.people.get(role)
            if person is None or tale.plot == "new friend" or person.name not in text:
                continue
            intro = person.intro[1:]
            assert intro in re.sub(r'"[^"]*"', "", text), text
            assert text.index(person.name) == text.index(intro) + intro.index(person.name), text


def test_the_hero_comes_first(tales: list[Tale]) -> None:
    for tale in tales:
        text, hero = tale.text(), tale.people["h"]
        start = text.index(hero.name)
        assert start < 160, text
        assert hero.look in text[: start + 160], text
        for role in ("f", "n"):
            if role in tale.people and tale.people[role].name in text:
                assert text.index(tale.people[role].name) > start, text


def test_pronouns_match_when_all_share_a_gender(tales: list[Tale]) -> None:
    for tale in tales:
        genders = {person.pronouns for person in tale.people.values()}
        if len(genders) > 1 or tale.plot in ("lost at the market", "lost animal", "found thing"):
            continue
        wrong = FEMALE if genders == {MALE} else MALE
        narration = re.sub(r'"[^"]*"', "", tale.text())
        assert not any(mentions(word, narration.lower()) for word in {wrong.he, wrong.him, wrong.his}), tale.text()


def test_all_stories_differ(texts: list[str]) -> None:
    assert len(set(texts)) == COUNT


def test_no_sentence_is_frequent(texts: list[str]) -> None:
    names = re.compile(r"\b(" + "|".join(sorted(YOUNG_NAMES)) + r"|Mom|Dad|Grandma|Grandpa|he|she|his|her|him)\b", re.I)
    counts = Counter(names.sub("N", each) for text in texts for each in re.split(r'(?<=[.!?])"?\s+(?=["A-Z])', text))
    assert counts.most_common(1)[0][1] < 0.01 * counts.total()


@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_is_told(plot: str) -> None:
    assert len({tell(seed, plot).text() for seed in range(50)}) == 50


def test_corpus_files(tmp_path: Path) -> None:
    write_corpus(seed=3, count=100, out=tmp_path)
    first, train, valid = ((tmp_path / name).read_text("ascii") for name in ("first.txt", "train.txt", "valid.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.txt", "train.txt", "valid.txt"]
    assert first.count(f"\n{SEPARATOR}\n") == 10
    assert first.startswith(drill(3_000_000_000))
    assert train.count(f"\n{SEPARATOR}\n") == 98
    assert valid.count(f"\n{SEPARATOR}\n") == 2
    assert train.startswith(story(3_000_000_000))
    assert SEPARATOR not in story(3_000_000_000)


def test_a_drill_has_two_characters() -> None:
    for seed in range(500):
        named = {name for name in (*NAMES, *NEIGHBORS) if mentions(name, drill(seed))}
        assert len(named) in (1, 2)
        assert len(named & set(NEIGHBORS)) <= 1
        assert "{" not in drill(seed)


def test_half_of_the_drills_have_a_neighbor() -> None:
    found = sum(any(mentions(name, drill(seed)) for name in NEIGHBORS) for seed in range(1000))
    assert 450 < found < 550  # three standard deviations


def test_drills_differ() -> None:
    assert len({drill(seed) for seed in range(1000)}) == 1000
