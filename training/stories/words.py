"""The lexicon: names, kinds, things and places."""

from typing import NamedTuple


class Grownup(NamedTuple):
    """A grown-up: the name used in the story, the kind of character and the gender."""

    name: str
    kind: str
    female: bool


class Thing(NamedTuple):
    """A thing that can be counted, with the looks it may have."""

    noun: str
    looks: tuple[str, ...]


class Place(NamedTuple):
    """A place to go to, the preposition that goes with it, what is done there, and spots where a thing can lie."""

    name: str
    preposition: str
    lures: tuple[str, ...]
    spots: tuple[str, ...]


GIRL_NAMES = (
    "Mia",
    "Anna",
    "Ella",
    "Nora",
    "Rosie",
    "Lucy",
    "Emma",
    "Zoe",
    "Clara",
    "Ivy",
    "Molly",
    "Sara",
    "Tess",
    "Ruby",
    "Maya",
    "Nina",
)
BOY_NAMES = (
    "Ben",
    "Tom",
    "Sam",
    "Max",
    "Leo",
    "Finn",
    "Jack",
    "Noah",
    "Oscar",
    "Theo",
    "Hugo",
    "Adam",
    "Eli",
    "Luke",
    "Omar",
    "Kai",
)
ANIMAL_GIRL_NAMES = ("Poppy", "Sally", "Holly", "Pearl", "Dora", "Hazel", "Bella", "Penny", "Wendy", "Tilly")
ANIMAL_BOY_NAMES = ("Pip", "Teddy", "Bruno", "Toby", "Benny", "Rusty", "Otto", "Barney", "Milo", "Fritz")

ANIMALS = ("rabbit", "bear", "fox", "mouse", "squirrel", "hedgehog", "otter", "badger", "mole", "raccoon")
TRAITS = ("kind", "brave", "curious", "shy", "cheerful", "gentle", "clever", "quiet", "lively", "friendly", "funny")

HOMES = (
    "in a small village",
    "in a little house by the sea",
    "in a quiet town",
    "on a small farm",
    "in a house on a hill",
    "at the end of a long street",
    "in a yellow house near the woods",
    "in a tall house in a busy town",
    "near a wide river",
    "in a little house with a red roof",
)
ANIMAL_HOMES = (
    "under an old oak tree",
    "in a cozy burrow by the river",
    "in the green woods",
    "at the edge of a big forest",
    "in a warm den under a hill",
    "in a little house in the woods",
    "in a valley full of flowers",
    "beside a quiet pond",
)

ELDERS = (
    Grownup("Mom", "parent", True),
    Grownup("Mom", "parent", True),
    Grownup("Dad", "parent", False),
    Grownup("Dad", "parent", False),
    Grownup("Grandma", "grandparent", True),
    Grownup("Grandpa", "grandparent", False),
)
NEIGHBORS = (
    Grownup("Miss Bell", "neighbor", True),
    Grownup("Miss Hill", "neighbor", True),
    Grownup("Miss Rose", "neighbor", True),
    Grownup("Farmer Green", "neighbor", False),
    Grownup("Captain Gray", "neighbor", False),
    Grownup("Old Peter", "neighbor", False),
    Grownup("Old Martha", "neighbor", True),
)
ANIMAL_NEIGHBORS = (
    Grownup("Old Owl", "neighbor", False),
    Grownup("Old Turtle", "neighbor", False),
    Grownup("Mother Duck", "neighbor", True),
    Grownup("Aunt Goose", "neighbor", True),
    Grownup("Uncle Beaver", "neighbor", False),
    Grownup("Mother Deer", "neighbor", True),
)

TOYS = (
    Thing("ball", ("red", "blue", "green", "yellow", "striped")),
    Thing("kite", ("red", "blue", "yellow", "orange", "striped")),
    Thing("toy boat", ("red", "blue", "wooden", "little white")),
    Thing("toy train", ("green", "red", "shiny", "wooden")),
    Thing("toy bear", ("brown", "soft", "fluffy", "old gray")),
    Thing("doll", ("little", "pretty", "wooden", "soft")),
    Thing("drum", ("red", "little", "shiny", "blue")),
    Thing("hat", ("straw", "yellow", "blue", "funny green")),
    Thing("scarf", ("red", "striped", "purple", "warm blue")),
    Thing("whistle", ("silver", "shiny", "wooden", "tin")),
    Thing("toy rabbit", ("white", "fluffy", "soft", "gray")),
    Thing("top", ("red", "striped", "golden", "wooden")),
)
PLACES = (
    Place(
        "the garden",
        "in",
        ("watched the busy bees", "picked some flowers", "followed a snail", "ran after a butterfly"),
        ("under the rose bush", "behind the watering can", "next to the gate", "under the apple tree"),
    ),
    Place(
        "the park",
        "in",
        ("fed the ducks", "ran to the slide", "watched the birds", "rolled down the little hill"),
        ("under the old bench", "next to the swings", "behind the big tree", "beside the pond"),
    ),
    Place(
        "the beach",
        "at",
        ("looked for shells", "jumped over the waves", "made a castle of sand", "watched a tiny crab"),
        ("behind the big rock", "next to the old boat", "on the pile of stones", "beside the rock pool"),
    ),
    Place(
        "the meadow",
        "in",
        ("picked daisies", "ran after a butterfly", "lay down to look at the clouds", "hopped like a frog"),
        ("in the long grass", "beside the stream", "next to the fence", "under the tall tree"),
    ),
    Place(
        "the woods",
        "in",
        ("ate some sweet berries", "watched a bird build its nest", "looked for nuts", "followed a line of ants"),
        ("under the tall fern", "next to the tree stump", "beside the mossy log", "under the old pine tree"),
    ),
)
