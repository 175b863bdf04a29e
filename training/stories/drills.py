"""Drills: texts of nothing but short sentences about the same two characters and two things.

In half of them one of the two is a neighbor ("Old Martha"), whose name is harder to keep: there are few of them.

A model that first learns from some thousands of these learns from the stories, too, that who and what has been named
will be named again. In the stories alone that is hard to find: names are few and far between, and a tiny model learns
everything else long before.
"""

from stories import words
from stories.chance import Chance

SENTENCES = 14
NAMES = (*words.GIRL_NAMES, *words.BOY_NAMES, *words.ANIMAL_GIRL_NAMES, *words.ANIMAL_BOY_NAMES)
NEIGHBORS = tuple(each.name for each in (*words.NEIGHBORS, *words.ANIMAL_NEIGHBORS))
FRAMES = (  # a and b are characters, x and y things
    "{a} smiled.",
    '"Yes," said {a}.',
    "{a} and {b} laughed.",
    "{a} looked at {b}.",
    '"Look, {a}!" called {b}.',
    '"Thank you," {a} said to {b}.',
    "Then {a} ran to {b}.",
    "{a} went home.",
    '"Why?" asked {a}.',
    '"Come," said {b} to {a}.',
    "{a} sat down.",
    '"Good night, {a}," said {b}.',
    "One day {a} met {b}.",
    "{a} was happy.",
    "{b} saw {a}.",
    "So {a} helped {b}.",
    "{a} did not know.",
    "But {b} knew.",
    "{a} had the {x}.",
    "{a} took the {x}.",
    "{a} gave the {x} to {b}.",
    '"Where is my {x}?" asked {a}.',
    '"Here is your {x}," said {b}.',
    "The {x} and the {y} were gone.",
    "{a} put the {x} next to the {y}.",
)


def drill(seed: int) -> str:
    """Return the drill of ``seed``."""
    chance = Chance(seed)
    characters = [chance.pick(NAMES), chance.pick(NEIGHBORS)] if chance.maybe(0.5) else chance.sample(NAMES, 2)
    things = [f"{chance.pick(thing.looks)} {thing.noun}" for thing in chance.sample(words.TOYS, 2)]
    sentences = []
    for _ in range(SENTENCES):
        (a, b), (x, y) = chance.sample(characters, 2), chance.sample(things, 2)
        sentences.append(chance.pick(FRAMES).format(a=a, b=b, x=x, y=y))
    return " ".join(sentences)
