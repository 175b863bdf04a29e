"""From a seed to a story of the right length."""

from stories.chance import Chance
from stories.plots import PLOTS
from stories.world import Tale

MIN_WORDS = 70
MAX_WORDS = 140


def tell(seed: int, plot: str = "") -> Tale:
    """Return the tale of ``seed``, with its cast; ``plot`` may fix which plot it has."""
    chance = Chance(seed)
    name = plot or chance.pick(tuple(PLOTS))
    while True:
        tale = Tale(chance, name)
        PLOTS[name](tale)
        if MIN_WORDS <= len(tale.text().split()) <= MAX_WORDS:
            return tale


def story(seed: int) -> str:
    """Return the story of ``seed``: paragraphs, one a line, without a newline at the end."""
    return tell(seed).text()
