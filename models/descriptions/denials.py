"""What a description denies: "no hat", "without a bag". Text encoders hear the hat and the bag, and not the "no".

The denied things are taken out of the text, so that it says what is there, and handed back for a negative part of the
query. What is denied of the body stays: "no hair" is how people say bald, and encoders have learnt it.
"""

import re
from dataclasses import dataclass

from models.descriptions.graph import Entity
from models.descriptions.parser import parse
from models.descriptions.words import sense

SOMEBODY = "a person"
"""What is left to look for where everything was denied."""
_STATES = frozenset(
    {"hair", "sleeve", "beard", "moustache", "shape", "doubt", "one", "logo", "pattern", "print", "collar"}
)
_BETWEEN = re.compile(r"(?:[\s,;]|\b(?:or|nor|and|any|a|an|the|with|without|no|also|either)\b)*")
_LEAD = re.compile(
    r"(?:[\s,;&-]|\b(?:and|but|or|with|that|which|who|has|have|had|having|is|are|was|does|do|did|wears?|wearing|carries|"
    r"carry|carrying|holds?|holding|there|also)\b)*$",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"(?:^|(?<=[.!?;]))\s*(?:he|she|they|it)$", re.IGNORECASE)
_AND = re.compile(r"\s*,?\s*(?:and|but)\b", re.IGNORECASE)
_ENDS = re.compile(r"\s*(?:[.!?;]|$)")
_MAY_DENY = re.compile(r"\b(?:no|not|never|neither|nor|without|w/o|lack\w*|cannot)\b|n['’]?t\b", re.IGNORECASE)  # noqa: RUF001
"""Nothing is denied without one of these, and most texts need not be parsed."""
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Steered:
    """A description without what it denies.

    Attributes:
        text: what is left, never empty.
        denied: the things, without "no" and articles: "red hat". Empty: the text is as it was.
    """

    text: str
    denied: tuple[str, ...]


def without_denied(text: str) -> Steered:
    """Take what a description denies out of it."""
    if not _MAY_DENY.search(text):
        return Steered(text, ())
    graph = parse(text)
    denied = [entity for entity in graph.absent if not _is_state(entity, text)]
    if not denied:
        return Steered(text, ())
    kept, end = "", 0
    for first, last in _stretches(denied, text):
        before = kept + text[end:first]
        lead = _LEAD.search(before)
        kept, end = before[: lead.start()] if lead else before, last
        alone = _PRONOUN.search(kept)
        if alone and _ENDS.match(text, end):
            kept = kept[: alone.start()]  # "He has no bag."
        elif (alone or not kept.strip()) and (joined := _AND.match(text, end)):
            end = joined.end()  # "He has no bag and wears jeans."
        kept += " "
    kept = _tidy(kept + text[end:])
    things = tuple(dict.fromkeys(_thing(entity, text) for entity in denied))
    return Steered(kept if _WORD.search(kept) else SOMEBODY, things)


def _is_state(entity: Entity, text: str) -> bool:
    head = sense(entity.head.of(text).lower())
    return head.lemma in _STATES or head.thing in ("person", "place")


def _thing(entity: Entity, text: str) -> str:
    first = min(span.start for span in (entity.head, *entity.attributes))
    last = max(span.end for span in (entity.head, *entity.attributes))
    return " ".join(text[first:last].split())


def _stretches(denied: list[Entity], text: str) -> list[tuple[int, int]]:
    """Characters from each "no" to what it denies; lists ("no hat, bag or glasses") are one stretch."""
    found: list[tuple[int, int]] = []
    for entity in sorted(denied, key=lambda entity: entity.extent.start):
        first, last = entity.extent.start, entity.extent.end
        no = entity.negation
        if no is not None and no.start < first and (not found or no.start >= found[-1][1]):
            first = no.start
        if found and _BETWEEN.fullmatch(text[found[-1][1] : first]) and first >= found[-1][1]:
            found[-1] = (found[-1][0], last)
        elif found and first < found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    text = re.sub(r"([.,;])(?:\s*[,;])+", r"\1", text)
    text = re.sub(r"[,;]\s*([.!?])", r"\1", text)
    text = re.sub(r"([.!?])(?:\s*[.!?])+", r"\1", text)
    return re.sub(r"^[\s.,;:!?]+|[\s,;:]+$", "", text)
