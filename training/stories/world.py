"""The world of one story: who is in it, what they have, and what has been told so far."""

from dataclasses import dataclass, field

from stories import words
from stories.chance import Chance
from stories.grammar import FEMALE, MALE, Pronouns, capitalize_sentences, fix_articles
from stories.template import Choice, Line, Node, Slot, first_slot, parse, with_pronoun
from stories.words import Place, Thing


@dataclass(slots=True)
class Character:
    """Somebody who keeps name, kind and pronouns for the whole story.

    ``intro`` is how the story first mentions the character, ``name`` how it does afterwards.
    """

    name: str
    intro: str
    kind: str
    pronouns: Pronouns
    hand: str = "hand"
    look: str = ""
    met: bool = False

    def forms(self) -> dict[str, str]:
        """Return what the slots of this character's role can be filled with."""
        he, him, his, himself = self.pronouns
        return {
            "name": self.name,
            "he": he,
            "him": him,
            "his": his,
            "himself": himself,
            "He": he.capitalize(),
            "His": his.capitalize(),
            "hand": self.hand,
            "kin": self.name.lower(),
            "young": self.look.split()[-1] if self.look else "",
            "look": self.look,
        }


@dataclass(slots=True)
class Tale:
    """A story being told: its cast, its things and its text."""

    chance: Chance
    plot: str
    people: dict[str, Character] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    _forms: dict[str, dict[str, str]] = field(default_factory=dict)
    _lines: dict[str, Line] = field(default_factory=dict)
    _last: dict[Choice, int] = field(default_factory=dict)
    _before: set[str] = field(default_factory=set)
    _now: set[str] = field(default_factory=set)
    _paragraphs: list[list[str]] = field(default_factory=lambda: [[]])

    # The cast

    def cast_hero(self, animals: float = 0.35) -> Character:
        """Choose who the story is about: an animal with the given probability, else a child."""
        home = self.chance.pick(words.ANIMAL_HOMES if self.chance.maybe(animals) else words.HOMES)
        kind = "animal" if home in words.ANIMAL_HOMES else "child"
        self.put("home", home)
        hero = self._make_young(kind, "")
        return self._add("h", hero)

    def cast_friend(self, role: str = "f") -> Character:
        """Choose a friend of the hero, of the hero's world."""
        hero = self.people["h"]
        friend = self._make_young(hero.kind, hero.name)
        bond = f"{hero.pronouns.his} friend {friend.name}"
        friend.intro = f"{bond} the {friend.look.split()[-1]}" if friend.kind == "animal" else bond
        friend.kind = "friend"
        return self._add(role, friend)

    def cast_elder(self, role: str = "p") -> Character:
        """Choose a parent or grandparent of the hero."""
        elder = self.chance.pick(words.ELDERS)
        his = self.people["h"].pronouns.his
        pronouns = FEMALE if elder.female else MALE
        hand = self.people["h"].hand
        return self._add(role, Character(elder.name, f"{his} {elder.name.lower()}", elder.kind, pronouns, hand))

    def cast_neighbor(self, role: str = "n") -> Character:
        """Choose a grown-up who lives near the hero."""
        hero = self.people["h"]
        neighbor = self.chance.pick(words.ANIMAL_NEIGHBORS if hero.kind == "animal" else words.NEIGHBORS)
        intro = f"{hero.pronouns.his} neighbor {neighbor.name}"
        pronouns = FEMALE if neighbor.female else MALE
        return self._add(role, Character(neighbor.name, intro, "neighbor", pronouns, hero.hand))

    def _make_young(self, kind: str, taken: str) -> Character:
        """Make a child or young animal that is not named ``taken``.

        Friends mostly differ in gender from the hero, so that "he" and "she" stay clear.
        """
        female = self.chance.maybe(0.5)
        if taken and self.chance.maybe(0.75):
            female = self.people["h"].pronouns is MALE
        names: tuple[str, ...] = words.GIRL_NAMES if female else words.BOY_NAMES
        if kind == "animal":
            names = words.ANIMAL_GIRL_NAMES if female else words.ANIMAL_BOY_NAMES
        name = self.chance.pick([each for each in names if each != taken])
        look = self._look(kind, female)
        hand = "paw" if kind == "animal" else "hand"
        return Character(name, f"a {look} named {name}", kind, FEMALE if female else MALE, hand, look)

    def _look(self, kind: str, female: bool) -> str:
        """Describe a young character in two or three words, such as "kind little girl"."""
        noun = "girl" if female else "boy"
        if kind == "animal":
            noun = self.chance.pick(words.ANIMALS)
        size = self.chance.pick(("little", "little", "young", "small"))
        if self.chance.maybe(0.5):
            return f"{size} {noun}"
        trait = self.chance.pick(words.TRAITS)
        return f"{trait} {noun}" if self.chance.maybe(0.4) else f"{trait} {size.replace('small', 'little')} {noun}"

    def _add(self, role: str, character: Character) -> Character:
        self.people[role] = character
        self._forms[role] = character.forms()
        return character

    # The things

    def put(self, role: str, text: str, **forms: str) -> str:
        """Give a role to a thing, place or phrase; ``forms`` are further forms of it."""
        self.things[role] = text
        self._forms[role] = {"": text, **forms}
        return text

    def put_thing(self, role: str, thing: Thing) -> str:
        """Give a role to a thing with one look, which it keeps: "red ball", and "ball" for short."""
        return self.put(role, f"{self.chance.pick(thing.looks)} {thing.noun}", noun=thing.noun)

    def put_place(self, role: str, place: Place) -> None:
        """Give a role to a place, and the role "spot" to a spot in it."""
        where = f"{place.preposition} {place.name}"
        self.put(role, place.name, at=where, At=where.capitalize())
        self.put("spot", self.chance.pick(place.spots))

    def put_line(self, role: str, text: str) -> None:
        """Give a role to words with marks of their own, which are filled in when they are told."""
        self._lines[role] = parse(text)

    # The telling

    def say(self, *beats: Choice) -> None:
        """Tell one line of each beat."""
        for each in beats:
            line = self._choose(each)
            self._before, self._now = self._now, set()
            text = "".join(self._render(self._with_pronoun(line)))
            self._paragraphs[-1].append(capitalize_sentences(fix_articles(text)))

    def maybe(self, probability: float, *beats: Choice) -> None:
        """Tell one line of each beat, or nothing."""
        if self.chance.maybe(probability):
            self.say(*beats)

    def paragraph(self) -> None:
        """Begin a new paragraph."""
        self._paragraphs.append([])
        self._now = set()

    def text(self) -> str:
        """Return the story told so far, one paragraph a line."""
        return "\n".join(" ".join(lines) for lines in self._paragraphs if lines)

    def _with_pronoun(self, line: Line) -> Line:
        """Often put a pronoun for the first name in the line, where it is clear who is meant."""
        found = first_slot(line, self.people)
        if found is None or not self._is_clear(line[found]) or not self.chance.maybe(0.8):
            return line
        return with_pronoun(line, found)

    def _is_clear(self, slot: Node) -> bool:
        """Tell whether the line before is about this character and no other of the same gender."""
        if not isinstance(slot, Slot) or slot.form or slot.role not in self._before or not self.people[slot.role].met:
            return False
        he = self.people[slot.role].pronouns.he
        return all(self.people[other].pronouns.he != he for other in self._before - {slot.role})

    def _render(self, line: Line) -> list[str]:
        parts: list[str] = []
        for node in line:
            if isinstance(node, str):
                parts.append(node)
            elif isinstance(node, Choice):
                parts.extend(self._render(self._choose(node)))
            elif node.role in self._lines:
                parts.extend(self._render(self._lines[node.role]))
            elif node.role not in self.people:
                parts.append(self._forms[node.role][node.form])
            else:
                self._now.add(node.role)
                parts.append(self._forms[node.role][node.form] if node.form else self._mention(node.role))
                if node.form == "name" and self.people[node.role].kind in ("parent", "grandparent"):
                    self.people[node.role].met = True
        return parts

    def _choose(self, choice: Choice) -> Line:
        """Pick an option, but not the same one twice running."""
        index = self.chance.below(len(choice.options))
        if self._last.get(choice) == index:
            index = (index + 1) % len(choice.options)
        self._last[choice] = index
        return choice.options[index]

    def _mention(self, role: str) -> str:
        """Name a character, with an introduction the first time."""
        character = self.people[role]
        if character.met:
            return character.name
        character.met = True
        return character.intro
