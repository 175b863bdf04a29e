"""English agreement: articles, pronouns and capital letters."""

import re
from typing import NamedTuple


class Pronouns(NamedTuple):
    """The forms that stand for one character."""

    he: str
    him: str
    his: str
    himself: str


FEMALE = Pronouns("she", "her", "her", "herself")
MALE = Pronouns("he", "him", "his", "himself")

_ARTICLE = re.compile(r"\b([Aa])n?(?= ([a-z]\w*))")
_SENTENCE_START = re.compile(r'((?:^|[.!?] |\." )"?)([a-z])')
_CONSONANT_SOUND = ("one", "uni", "use")
_VOWEL_SOUND = ("hour", "honest")


def article(word: str) -> str:
    """Return the indefinite article that goes before ``word``."""
    if word.startswith(_CONSONANT_SOUND):
        return "a"
    return "an" if word.startswith(_VOWEL_SOUND) or word[0] in "aeiou" else "a"


def fix_articles(text: str) -> str:
    """Make every "a" or "an" agree with the word that follows it."""
    return _ARTICLE.sub(lambda found: found[1] + article(found[2])[1:], text)


def capitalize_sentences(text: str) -> str:
    """Give every sentence a capital letter.

    After ``!"`` or ``?"`` a small letter may be right ("Wait!" she said), so it is left alone.
    """
    return _SENTENCE_START.sub(lambda found: found[1] + found[2].upper(), text)
