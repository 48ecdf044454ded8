"""Where in a synthetic picture the things are that a description names, and in which pictures a phrase is true."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.descriptions.things import named_things
from training.synthetic.attributes import Identity
from training.synthetic.captions import Caption
from training.synthetic.lexicon import COARSE_COLOURS, COLOURS, HAIR_COLOURS, NOUNS, fits
from training.synthetic.parts import Part
from training.synthetic.phrases import Mention, Sight

REGIONS: dict[str, tuple[Part, ...]] = {
    "upper": (Part.UPPER, Part.PRINT),
    "outer": (Part.OUTER,),
    "lower": (Part.LOWER,),
    "shoes": (Part.SHOES,),
    "bag": (Part.BAG, Part.STRAP),
    "carried": (Part.CARRIED,),
    "hat": (Part.HAT,),
    "glasses": (Part.GLASSES,),
    "hair": (Part.HAIR, Part.TAIL),
    "hair_style": (Part.TAIL,),
}
"""By kind of thing, the parts that show it."""
_SEEN = {"hair_style": "tail"}
_PATTERN = re.compile(r"strip|check|plaid|chequered|plain|solid")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of a description.

    Attributes:
        text: with article and attributes.
        kind: a key of `REGIONS`.
        says: what the phrase alone says of a person.
    """

    text: str
    kind: str
    says: tuple[Mention, ...]

    def region(self, ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where a picture shows such a thing, in the shape of its part numbers."""
        return np.isin(ids, self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        return REGIONS[self.kind]

    def true_of(self, identity: Identity, sight: Sight) -> bool | None:
        """Whether a picture shows it; None where it is true of the person and cannot be made out."""
        if not all(fits(attribute, meaning, identity[attribute]) for attribute, meaning in self.says):
            return False
        return True if _SEEN.get(self.kind, self.kind) in sight.shows(identity) else None


def phrases_of(caption: Caption) -> list[Phrase]:
    """The phrases of a caption about things that have a region, one of each kind, as the parser finds them."""
    said, found = dict(caption.mentions), dict[str, Phrase]()
    for thing in named_things(caption.text):
        kind = _kind(thing.text, said)
        if kind is not None and kind not in found and (says := _says(thing.text, kind, said)):
            found[kind] = Phrase(thing.text, kind, says)
    return list(found.values())


def _kind(text: str, said: dict[str, str]) -> str | None:
    if re.search(r"\bhair$", text):
        return "hair"
    for attribute, word, meaning in _NOUNS:
        if said.get(attribute) == meaning and _has(text, word):
            return attribute
    return None


def _says(text: str, kind: str, said: dict[str, str]) -> tuple[Mention, ...]:
    mentions = [(kind, said[kind])] if kind in said else []
    if kind == "hair" and _has_any(text, NOUNS["hair_length"].get(said.get("hair_length", ""), ())):
        mentions.append(("hair_length", said["hair_length"]))
    colour = "hair_colour" if kind in ("hair", "hair_style") else f"{kind}_colour"
    if (meaning := said.get(colour)) is not None:
        table = HAIR_COLOURS if colour == "hair_colour" else COLOURS
        if _has_any(text, (*table.get(meaning, ()), *COARSE_COLOURS.get(meaning, ()))):
            mentions.append((colour, meaning))
    if kind == "upper" and "upper_pattern" in said and _PATTERN.search(text):
        mentions.append(("upper_pattern", said["upper_pattern"]))
    return tuple(mentions)


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE) is not None


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    return any(_has(text, word) for word in words)


_NOUNS = sorted(
    (
        (attribute, word, meaning)
        for attribute in (*REGIONS,)
        for meaning, words in NOUNS.get(attribute, {}).items()
        for word in set(words)
    ),
    key=lambda entry: (-len(entry[1]), entry),
)
"""Longest first: "dress shoes" are no dress."""
