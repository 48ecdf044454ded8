"""The things that a description names, and what else each of them could have been.

What a cosine of a phrase means differs by phrase: "jeans" fits half of a gallery, "a purple umbrella" nobody. So a
phrase is compared with others on the same picture: the same thing in other colours, other things in the same colour.
"""

import re
from dataclasses import dataclass, replace

from models.descriptions import lexicon
from models.descriptions.graph import Span
from models.descriptions.parser import parse
from models.descriptions.words import sense

_COLOURS = ("black", "white", "grey", "blue", "red", "green", "yellow", "brown", "pink", "purple", "orange", "beige")
_THINGS = (
    "shirt",
    "jacket",
    "coat",
    "dress",
    "trousers",
    "skirt",
    "shorts",
    "shoes",
    "bag",
    "backpack",
    "suitcase",
    "hat",
    "hair",
    "umbrella",
)
COMMON = tuple(f"{colour} {thing}" for colour in _COLOURS[::2] for thing in _THINGS[::2])
"""What the mean of their vectors says is common to all phrases: that there is a person."""
_SHADES = frozenset(
    {
        "dark",
        "light",
        "pale",
        *(f"{shade}-{ending}" for shade in ("dark", "light") for ending in ("coloured", "colored")),
    }
)
"""Words that say a colour by themselves: "dark trousers"."""
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class NamedThing:
    """A thing in a description.

    Attributes:
        text: the phrase with article and attributes, as it stands there.
        span: its place in the description.
        kind: a key of `lexicon.NOUN_SETS`, or "" where the noun is unknown or there is none ("in black").
        absent: whether the description says that there is none.
    """

    text: str
    span: Span
    kind: str
    absent: bool


def named_things(description: str) -> tuple[NamedThing, ...]:
    """The things that a description names, in its order; persons too, but no places."""
    found = []
    for entity in parse(description).entities:
        kind = sense(entity.head.of(description).lower()).thing
        if kind == "place":
            continue
        # "no hat" is about a hat: the word that denies is no part of the phrase that is looked for.
        span = entity.extent if entity.negation is None else replace(entity, determiner=None).extent
        found.append(NamedThing(span.of(description), span, kind, entity.negation is not None))
    return tuple(sorted(found, key=lambda thing: thing.span))


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What a phrase competes with on one picture.

    Attributes:
        colours: the same thing in other colours; empty where the phrase says no colour.
        things: other things in its colour; empty where it names no thing.
    """

    colours: tuple[str, ...]
    things: tuple[str, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """All of them, colours first."""
        return self.colours + self.things


def alternatives(phrase: str) -> Alternatives | None:
    """What a phrase competes with; None for persons, and where it names neither a thing nor a colour."""
    entities = parse(phrase).entities
    colours = _recoloured(phrase)
    if not entities:
        return Alternatives(colours, ()) if colours else None
    if any(sense(entity.head.of(phrase).lower()).thing == "person" for entity in entities):
        return None
    first = entities[0]
    head = first.head.of(phrase).lower()
    said = " ".join(part.of(phrase) for part in first.attributes if _is_colour(part.of(phrase)))
    others = () if _is_colour(head) else tuple(f"{said} {thing}".strip() for thing in _THINGS if thing not in head)
    return Alternatives(colours, others)


def _recoloured(phrase: str) -> tuple[str, ...]:
    """The phrase with its hue, or a shade that stands for one, exchanged; further hues and shades are left out."""
    words = [word.lower() for word in _WORD.findall(phrase)]
    said = [word for word in words if word in lexicon.HUES] or [word for word in words if word in _SHADES]
    if not said:
        return ()
    kept = [word for word in words if word == said[0] or not _is_colour(word)]
    return tuple(
        " ".join(colour if word == said[0] else word for word in kept) for colour in _COLOURS if colour != said[0]
    )


def _is_colour(attribute: str) -> bool:
    return all(word in lexicon.HUES | lexicon.SHADES | _SHADES for word in attribute.lower().split())
