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


def alternatives(phrase: str) -> tuple[str, ...]:
    """Phrases that the given one competes with on the same picture: other colours of it, other things of its colour.

    Empty for persons, and where the phrase names neither a thing nor a colour.
    """
    things = named_things(phrase)
    if any(thing.kind == "person" for thing in things):
        return ()
    if not things:
        return tuple(_recoloured(phrase))
    entity = parse(phrase).entities[0]
    colours = " ".join(part.of(phrase) for part in entity.attributes if _is_colour(part.of(phrase)))
    head = entity.head.of(phrase).lower()
    others = [] if head in lexicon.HUES else [f"{colours} {thing}".strip() for thing in _THINGS if thing not in head]
    return tuple(dict.fromkeys(_recoloured(phrase) + others))


def _recoloured(phrase: str) -> list[str]:
    """The phrase with its first hue exchanged, and without shades and further hues."""
    words = _WORD.findall(phrase)
    hues = [word for word in words if word.lower() in lexicon.HUES]
    found = []
    for colour in _COLOURS if hues else ():
        if colour == hues[0].lower():
            continue
        kept: list[str] = []
        for word in words:
            if word == hues[0]:
                kept.append(colour)
            elif word.lower() not in lexicon.HUES | lexicon.SHADES:
                kept.append(word)
        found.append(" ".join(kept))
    return found


def _is_colour(attribute: str) -> bool:
    return all(word in lexicon.HUES | lexicon.SHADES for word in attribute.lower().split())
