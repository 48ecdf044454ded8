"""Phrases about one thing each. A phrase is made only of what the crop shows, judged by the id buffer's pixel
counts."""

from dataclasses import dataclass
from random import Random

from training.synthetic import lexicon
from training.synthetic.attributes import Identity
from training.synthetic.parts import Part

Mention = tuple[str, str]
# Tops that a small picture hardly tells apart: people then say "shirt" or "top".
_ALIKE = frozenset({"t-shirt", "long-sleeved top", "shirt", "polo shirt", "blouse"})
_SIZES = frozenset({"long", "short", "loose", "high", "tight", "big", "wide-brimmed"})

# The least share of the crop's pixels at which a thing can be made out: at 96x48, 0.003 is 14 pixels.
LEAST = {
    "hair": 0.0045,
    "tail": 0.006,
    "bun": 0.003,
    "hat": 0.004,
    "glasses": 0.0016,
    "upper": 0.018,
    "inner": 0.015,
    "print": 0.005,
    "outer": 0.020,
    "lower": 0.014,
    "shoes": 0.0045,
    "bag": 0.008,
    "strap": 0.008,
    "carried": 0.0065,
    "scalp": 0.0045,
    "phone": 0.002,
}
_OFTEN = {"hair": 0.68, "hat": 0.85, "glasses": 0.6, "shoes": 0.66, "bag": 0.93, "carried": 0.85, "lower": 0.96}


@dataclass(frozen=True)
class Sight:
    """What an image shows: the share of pixels by part, whether the front of the trunk can be seen, and whether the
    person walks."""

    parts: dict[Part, float]
    front: bool
    back: bool
    walking: bool

    def shows(self, identity: Identity) -> frozenset[str]:
        """The names of the things that can be made out."""
        share = self.parts
        upper = share[Part.UPPER] + share[Part.PRINT]
        least = LEAST["upper"] if identity["outer"] == "none" else LEAST["inner"]
        found = {
            "hair": share[Part.HAIR] + share[Part.TAIL] >= LEAST["hair"],
            "tail": share[Part.TAIL] >= LEAST["bun" if identity["hair_style"] == "bun" else "tail"],
            "scalp": share[Part.SCALP] >= LEAST["scalp"],
            "hat": share[Part.HAT] >= LEAST["hat"],
            "glasses": share[Part.GLASSES] >= LEAST["glasses"],
            "upper": upper >= least,
            "pattern": upper >= LEAST["upper"],
            "print": share[Part.PRINT] >= LEAST["print"],
            "outer": share[Part.OUTER] >= LEAST["outer"],
            "lower": share[Part.LOWER] >= LEAST["lower"],
            "shoes": share[Part.SHOES] >= LEAST["shoes"],
            "bag": share[Part.BAG] >= LEAST["bag"] or share[Part.STRAP] >= LEAST["strap"],
            "carried": share[Part.CARRIED] >= LEAST["phone" if identity["carried"] == "phone" else "carried"],
        }
        return frozenset(name for name, seen in found.items() if seen)


class Phrases:
    """The phrases of one description. Asking for one records what it says in `mentions`; each is asked for at most
    once."""

    def __init__(self, identity: Identity, sight: Sight, rng: Random) -> None:
        self.identity, self.sight, self.rng = identity, sight, rng
        self.mentions: list[Mention] = []
        self.shown = sight.shows(identity)
        self.names_sex = rng.random() < 0.92

    def _say(self, attribute: str, meaning: str) -> None:
        self.mentions.append((attribute, meaning))

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _word(self, words: tuple[str, ...]) -> str:
        """The first word more often than not, else any: everyday words lead their lists."""
        return words[0] if self._chance(0.5) else self.rng.choice(words)

    def _coloured(self, colour: str, noun: str) -> str:
        """Colour and noun in the order that English likes: "a long black coat", "a black hoodie"."""
        size, _, rest = noun.partition(" ")
        # "a long black coat", but "a blue long sleeve top": there the size belongs to the sleeve.
        if rest and size in _SIZES and not rest.startswith("sleeve") and self._chance(0.8):
            return f"{size} {colour} {rest}"
        return f"{colour} {noun}"

    def _noun(self, attribute: str, vague: float) -> str:
        """A word for the value of a type attribute; with probability `vague` a coarser one, where there is one."""
        value = self.identity[attribute]
        wider = lexicon.coarser(attribute, value)
        meaning = self.rng.choice(wider) if wider and self._chance(vague) else value
        self._say(attribute, meaning)
        return self.rng.choice(lexicon.NOUNS[attribute][meaning])

    def _colour(self, attribute: str, vague: float = 0.09, silent: float = 0.0) -> str:
        """A word for a colour; sometimes a coarser one, sometimes none."""
        value = self.identity[attribute]
        if self._chance(silent):
            return ""
        wider = lexicon.coarser(attribute, value)
        if wider and self._chance(vague):
            meaning = self.rng.choice(wider)
            self._say(attribute, meaning)
            return self.rng.choice(lexicon.COARSE_COLOURS[meaning])
        self._say(attribute, value)
        return self._word(lexicon.COLOURS[value])

    def noun(self) -> str:
        """A word for who it is ("young woman", "older man", "person") with what it says of sex, age and build."""
        identity, age = self.identity, self.identity["age"]
        told = age if age == "child" or self._chance(0.7) else "adult"
        if told != "adult":
            self._say("age", told)
        if self.names_sex:
            self._say("sex", identity["sex"])
            word = self.rng.choice(lexicon.PEOPLE[identity["sex"], told])
        else:
            word = self.rng.choice(lexicon.UNSEXED[told])
        if identity["build"] in lexicon.NOUNS["build"] and told == "adult" and self._chance(0.07):
            word = f"{self._noun('build', 0)} {word}"
        return word

    def subject(self) -> str:
        """The noun with its article."""
        return f"{self.rng.choice(('the', 'the', 'a', 'a', 'a', 'this'))} {self.noun()}"

    def pronoun(self) -> str:
        """The pronoun "he" or "she" or, where the sex goes unsaid, "the person"."""
        if not self.names_sex:
            return "the child" if ("age", "child") in self.mentions else "the person"
        self._say("sex", self.identity["sex"])
        return "he" if self.identity["sex"] == "man" else "she"

    def _possessive(self) -> str:
        if not self.names_sex:
            return "their"
        return "his" if self.identity["sex"] == "man" else "her"

    def _objective(self) -> str:
        if not self.names_sex:
            return "them"
        return "him" if self.identity["sex"] == "man" else "her"

    def verb(self, *choices: str) -> str:
        """One of these verbs."""
        return self.rng.choice(choices)

    def action(self) -> str:
        """Now and then what the person does: "walking away from the camera"."""
        if not self._chance(0.3):
            return ""
        verbs = (
            ("walking", "walking", "strolling", "striding") if self.sight.walking else ("standing", "standing still")
        )
        return f"{self.rng.choice(verbs)}{self._direction() if self._chance(0.5) else ''}"

    def _direction(self) -> str:
        ways: tuple[str, ...]
        if self.sight.back:
            ways = (" away from the camera", " ahead", " off") if self.sight.walking else (" with the back turned",)
        elif self.sight.front:
            ways = (" towards the camera", " forward") if self.sight.walking else (" facing the camera",)
        else:
            ways = (" past", " across the picture", " sideways") if self.sight.walking else (" side on",)
        return self.rng.choice(ways)

    def hair(self) -> str:
        """The hair, such as "long brown hair" or "black hair in a ponytail", "a bald head", or nothing."""
        identity, shown = self.identity, self.shown
        if "hair" not in shown:
            if "scalp" in shown and self._chance(0.75):
                self._say("hair_length", "bald")
                return self.rng.choice(("a bald head", "no hair", "a shaved head"))
            return ""
        if not self._chance(_OFTEN["hair"]):
            return ""
        style, length = identity["hair_style"], identity["hair_length"]
        words = []
        tied = style in ("ponytail", "bun")
        falling = length != "short" and not tied and "tail" in shown
        if (falling or (length == "short" and identity["hat"] == "none")) and self._chance(0.75):
            words.append(self._noun("hair_length", 0))
        if not words or self._chance(0.9):
            words.append(self._hair_colour())
        hair = f"{' '.join(words)} hair"
        if not tied or "tail" not in shown:
            return hair
        self._say("hair_style", style)
        knot = self.rng.choice(lexicon.NOUNS["hair_style"][style])
        return self.rng.choice(
            (
                f"{hair} in a {knot}",
                f"{hair} tied in a {knot}",
                f"a {words[-1]} {knot}",
                f"{hair} pulled back in a {knot}",
            )
        )

    def _hair_colour(self) -> str:
        value = self.identity["hair_colour"]
        wider = lexicon.coarser("hair_colour", value)
        if wider and self._chance(0.2):
            self._say("hair_colour", wider[0])
            return wider[0]
        self._say("hair_colour", value)
        return self._word(lexicon.HAIR_COLOURS[value])

    def outfit(self) -> list[str]:
        """The garments, in some order: upper and outer, lower, shoes."""
        top, lower, shoes = self._top(), self._lower(), self._shoes()
        legs = [lower] if lower else []
        items = [*legs, *top] if self._chance(0.16) else [*top, *legs]
        if shoes:
            items.append(shoes)
        return items or [self.rng.choice(("casual clothes", "everyday clothes"))]

    def _top(self) -> list[str]:
        identity, shown = self.identity, self.shown
        if identity["outer"] == "none" or "outer" not in shown:
            return [self._upper()] if "upper" in shown else []
        colour = self._colour("outer_colour", silent=0.03)
        outer = f"a {self._coloured(colour, self._noun('outer', 0.32))}"
        if "upper" not in shown or not self._chance(0.75):
            return [outer]
        inner = self._upper(under=True)
        if self._chance(0.6):
            return [f"{outer} {self.rng.choice(('over', 'over', 'on top of', 'open over'))} {inner}"]
        return [outer, f"{inner} {self.rng.choice(('underneath', 'under it'))}"]

    def _upper(self, under: bool = False) -> str:
        """The upper garment with colour and pattern: "a red and white striped t-shirt", "a black hoodie with a white
        print"."""
        identity, rng = self.identity, self.rng
        alike = identity["upper"] in _ALIKE
        vague = 0.7 if under else (0.34 if self.sight.front else 0.55) if alike else 0.12
        colour, pattern = self._colour("upper_colour", silent=0.02), identity["upper_pattern"]
        noun = self._noun("upper", vague)
        if pattern in ("stripes", "checks") and "pattern" in self.shown and self._chance(0.9):
            self._say("upper_pattern", pattern)
            return f"a {self._patterned(colour, noun, pattern)}"
        text = f"a {self._coloured(colour, noun)}"
        if pattern == "print" and "print" in self.shown and not under and self._chance(0.8):
            self._say("upper_pattern", pattern)
            accent = self._colour("upper_accent", silent=0.3)
            thing = rng.choice(("print", "logo", "graphic", "picture", "design"))
            place = rng.choice(("on the front", "on the chest", "on it", "on the front"))
            return f"{text} with a {accent} {thing} {place}"
        if pattern == "plain" and not under and self._chance(0.06):
            self._say("upper_pattern", pattern)
            return f"a {rng.choice(('plain', 'solid'))} {colour} {noun}"
        return text

    def _patterned(self, colour: str, noun: str, pattern: str) -> str:
        words = (
            ("striped", "striped", "stripy") if pattern == "stripes" else ("checkered", "checked", "plaid", "chequered")
        )
        marks = "stripes" if pattern == "stripes" else self.rng.choice(("checks", "squares"))
        how = self.rng.random()
        if how < 0.35:
            return f"{colour} {self.rng.choice(words)} {noun}"
        accent = self._colour("upper_accent", 0.03)
        if how < 0.7 and colour:
            return f"{colour} and {accent} {self.rng.choice(words)} {noun}"
        return f"{colour} {noun} with {accent} {marks}"

    def _lower(self) -> str:
        identity = self.identity
        if identity["lower"] == "none" or "lower" not in self.shown or not self._chance(_OFTEN["lower"]):
            return ""
        colour = self._colour("lower_colour", vague=0.13, silent=0.06)
        noun = self._noun("lower", 0.28)
        if identity["lower"].endswith("skirt"):
            return f"a {self._coloured(colour, noun)}"
        return f"{'a pair of ' if self._chance(0.2) else ''}{self._coloured(colour, noun)}"

    def _shoes(self) -> str:
        if "shoes" not in self.shown or not self._chance(_OFTEN["shoes"]):
            return ""
        colour = self._colour("shoes_colour", vague=0.08, silent=0.04)
        noun = self._noun("shoes", 0.4)
        return f"{'a pair of ' if self._chance(0.18) else ''}{self._coloured(colour, noun)}"

    def head(self, participle: bool = False) -> str:
        """Hat and glasses: "is wearing a black cap and glasses", or "wearing ..."."""
        items: list[str] = []
        if "hat" in self.shown and self._chance(_OFTEN["hat"]):
            items.append(f"a {self._colour('hat_colour', silent=0.08)} {self._noun('hat', 0.3)}")
        if "glasses" in self.shown and self._chance(_OFTEN["glasses"]):
            items.append(self._noun("glasses", 0))
        if not items:
            return ""
        verb = "wearing" if participle else self.rng.choice(("is wearing", "wears", "is also wearing"))
        return f"{verb} {' and '.join(items)}"

    def carrying(self, participle: bool = False) -> str:
        """Bag and carried object: "is carrying a red backpack and holding a cup", or "carrying ..."."""
        items: list[str] = []
        if "bag" in self.shown and self._chance(_OFTEN["bag"]):
            items.append(self._bag(participle))
        if "carried" in self.shown and self._chance(_OFTEN["carried"]):
            items.append(self._object(participle))
        self.rng.shuffle(items)
        if len(items) == 2 and items[1].startswith("is "):  # "is carrying a bag and holding a cup"
            items[1] = items[1].removeprefix("is ") if items[0].startswith("is ") else items[1]
        return " and ".join(items)

    def _bag(self, participle: bool) -> str:
        kind, rng = self.identity["bag"], self.rng
        if kind == "suitcase":
            verb = rng.choice(
                ("pulling", "dragging", "with") if participle else ("is pulling", "pulls", "is dragging", "has")
            )
        elif participle:
            verb = rng.choice(("carrying", "carrying", "with"))
        else:
            verb = rng.choice(("is carrying", "carries", "has", "is carrying"))
        colour = self._colour("bag_colour", silent=0.05)
        text = f"{verb} a {colour} {self._noun('bag', 0.12)}"
        if self._chance(0.3):
            places = {
                "backpack": (f"on {self._possessive()} back", "on the back"),
                "shoulder bag": (f"over {self._possessive()} shoulder", "across the body", "on one shoulder"),
                "handbag": (f"in {self._possessive()} hand", f"on {self._possessive()} arm"),
                "suitcase": (f"behind {self._objective()}", f"by {self._possessive()} side"),
            }[kind]
            text += f" {rng.choice(places)}"
        return text

    def _object(self, participle: bool) -> str:
        kind, rng = self.identity["carried"], self.rng
        if participle:
            verb = rng.choice(("holding", "holding", "with"))
        else:
            verb = rng.choice(("is holding", "holds", "has", "is carrying"))
        colour = "" if kind == "phone" else self._colour("carried_colour", silent=0.15)
        text = f"{verb} a {colour} {self._noun('carried', 0.1)}"
        return f"{text} in {rng.choice((self._possessive() + ' hand', 'one hand'))}" if self._chance(0.35) else text
