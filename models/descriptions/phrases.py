"""Noun phrases: where one ends, which of its words is the thing, and which say what it is like."""

from dataclasses import dataclass

from models.descriptions import lexicon
from models.descriptions.graph import Span
from models.descriptions.words import Kind, Token

DETERMINING = (Kind.ARTICLE, Kind.POSSESSIVE, Kind.NUMBER)
NOMINAL = (Kind.NOUN, Kind.UNKNOWN)
OPENING = (*DETERMINING, *NOMINAL, Kind.ADJECTIVE)
"""What a noun phrase begins with."""
_IN_COMPOUNDS = frozenset({"baby", "child", "student", "school", "officer", "worker", "police", "male", "female"})
"""Words for people that stand before a noun without owning it: "baby stroller"."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """One noun phrase, or a run of adjectives without a noun.

    Attributes:
        end: the place behind its last token.
        head: the thing; None if no word of it is a noun.
        owner: whether it is the owner of the phrase that follows: "the man's" hair.
    """

    end: int
    determiner: Token | None
    attributes: tuple[Span, ...]
    head: Token | None
    owner: bool = False


def leads_to_noun(tokens: list[Token]) -> list[bool]:
    """Whether adjectives, joined by commas and "and", lead from a place to a noun; for all places in one pass."""
    found = [False] * (len(tokens) + 1)
    for place in range(len(tokens) - 1, -1, -1):
        kind = tokens[place].kind
        if kind in NOMINAL:
            found[place] = True
        elif kind in (Kind.ADJECTIVE, Kind.ADVERB):
            after = place + 1
            if kind is Kind.ADJECTIVE:
                after = _behind_link(tokens, after)
            direct = after == place + 1 or (after < len(tokens) and tokens[after].kind is not Kind.NOUN)
            found[place] = direct and found[after]
    return found


def _behind_link(tokens: list[Token], place: int) -> int:
    """Behind a comma, an "and", or both."""
    if place < len(tokens) and tokens[place].kind is Kind.COMMA:
        place += 1
    if place < len(tokens) and tokens[place].kind is Kind.AND and tokens[place].word != "but":
        place += 1
    return place


def read_phrase(tokens: list[Token], place: int, leads: list[bool], *, predicate: bool) -> Phrase:
    """The phrase that begins at a place.

    Args:
        leads: `leads_to_noun`.
        predicate: it stands behind "is", where a comma after an adjective ends it: "is tall, black hair".
    """
    determiner: Token | None = None
    before: list[Token] = []
    while True:
        while place < len(tokens) and tokens[place].kind in DETERMINING:
            determiner, place = tokens[place], place + 1
        run, place = _run(tokens, place, leads, predicate=predicate)
        measured = bool(run) and run[-1].word in lexicon.MEASURES and place + 1 < len(tokens)
        if not (measured and tokens[place].word == "of" and tokens[place + 1].kind in OPENING):
            break
        before, place = [*before, *run[:-1]], place + 1  # what is measured is the thing
    head = run[-1] if run and run[-1].kind in NOMINAL else None
    attributes = _shaded([*before, *(run[:-1] if head else run)])
    if head is not None and place < len(tokens) and tokens[place].kind is Kind.NUMBER:
        return Phrase(place + 1, determiner, attributes, head)  # the number 23
    if head is None or not leads[min(place + (_clitic(tokens, place)), len(tokens))]:
        return Phrase(place, determiner, attributes, head)
    if _clitic(tokens, place):
        return Phrase(place + 1, determiner, attributes, head, owner=True)
    return Phrase(place, determiner, attributes, head, owner=_owns(head, tokens[place]))


def _clitic(tokens: list[Token], place: int) -> bool:
    return place < len(tokens) and tokens[place].word == "'s"


def _owns(head: Token, after: Token) -> bool:
    """ "womans hair": people leave the apostrophe out."""
    return head.sense.thing == "person" and after.kind in NOMINAL


def _run(tokens: list[Token], place: int, leads: list[bool], *, predicate: bool) -> tuple[list[Token], int]:
    """The adjectives and nouns from a place on, and the place behind them."""
    run: list[Token] = []
    while place < len(tokens):
        kind = tokens[place].kind
        last = run[-1] if run else None
        named = last is not None and last.kind in NOMINAL
        if kind is Kind.ADJECTIVE:
            if named and not (last is not None and last.kind is Kind.UNKNOWN and leads[place]):
                break
        elif kind in NOMINAL:
            if last is not None and last.sense.thing == "person" and last.word not in _IN_COMPOUNDS:
                break
        elif kind is Kind.ADVERB:
            if named or not leads[place]:
                break
            place += 1
            continue
        else:
            after = _behind_link(tokens, place)
            commas = predicate and kind is Kind.COMMA
            if after == place or named or not run or commas or not _describes(tokens, after, leads):
                break
            place = after
            continue
        run.append(tokens[place])
        place += 1
    return run, place


def _describes(tokens: list[Token], place: int, leads: list[bool]) -> bool:
    return place < len(tokens) and tokens[place].kind in (Kind.ADJECTIVE, Kind.ADVERB) and leads[place]


def _shaded(words: list[Token]) -> tuple[Span, ...]:
    """Their spans; a shade and the hue behind it are one: "light blue", "peach colored"."""
    spans: list[Span] = []
    before: Token | None = None
    for token in words:
        near = before is not None and token.span.start - before.span.end == 1
        if near and before is not None and _is_one_colour(before.word, token.word):
            spans[-1] = Span(spans[-1].start, token.span.end)
        else:
            spans.append(token.span)
        before = token
    return tuple(spans)


def _is_one_colour(before: str, word: str) -> bool:
    if word in ("colored", "coloured"):
        return before in lexicon.HUES or before in lexicon.SHADES
    return before in lexicon.SHADES and (word in lexicon.HUES or word in lexicon.SHADES)
