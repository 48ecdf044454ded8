"""Rules that find things, attributes and relations in an English description of a person (methods.md 6.1, INFERENCE).

A phrase is a run of words between verbs, prepositions, pronouns and punctuation. Its last noun is the thing, the words
before are its attributes. That is what a dependency parser's amod, compound and nummod give, without one; a spaCy
parser can stand in by writing the same rows (`SceneGraph.to_row`).
"""

import re
from dataclasses import dataclass, field

from models.descriptions import lexicon
from models.descriptions.graph import Entity, Relation, SceneGraph, Span

_TOKEN = re.compile(r"'(?:s|re)\b|[^\W_]+(?:[-'’][^\W_]+)*|&|[.,;:!?()\"]")
_ADJECTIVAL = frozenset({"running", "sports", "walking", "matching", "hanging"})
"""Verbs that before a noun are none: running shoes."""
_STOPS = frozenset('.;:!?()"')
_LONGEST = max(map(len, lexicon.LONG_RELATIONS))


@dataclass(frozen=True, slots=True)
class _Token:
    word: str
    span: Span


@dataclass(slots=True)
class _State:
    """What the rules remember from word to word within a description."""

    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    subject: int | None = None
    """The person that verbs are about."""
    last: int | None = None
    """The entity that a preposition or a copula is about."""
    relation: tuple[Span, bool] | None = None
    """A relation that waits for its object, and whether it is a verb's."""
    copula: bool = False


def parse(text: str) -> SceneGraph:
    """The scene graph of a description; a text without anything known or noun-like gives an empty one."""
    tokens = [_Token(found.group().lower(), Span(*found.span())) for found in _TOKEN.finditer(text)]
    state, place = _State(), 0
    while place < len(tokens):
        place = _step(tokens, place, state)
    return SceneGraph(text, tuple(state.entities), tuple(state.relations))


def _step(tokens: list[_Token], place: int, state: _State) -> int:
    """Handle what begins at a token; returns the place behind it."""
    word = tokens[place].word
    if (length := _relation_length(tokens, place)) > 0:
        end = place + length
        span = Span(tokens[place].span.start, tokens[end - 1].span.end)
        state.relation, state.copula = (span, word in lexicon.VERBS or word in lexicon.POSSESSIVES), False
        return end
    if word in _STOPS:
        state.relation, state.copula, state.last = None, False, None
        return place + 1
    if word in lexicon.COPULAS:
        state.copula = True
        return place + 1
    if word in lexicon.PRONOUNS:
        state.last, state.copula = None, False
        return place + 1
    if word == "," or word in lexicon.CONJUNCTIONS or word in lexicon.AUXILIARIES:
        return place + 1
    return _phrase(tokens, place, state)


def _relation_length(tokens: list[_Token], place: int) -> int:
    """How many tokens from here are one relation; 0 if none is."""
    words = tuple(token.word for token in tokens[place : place + _LONGEST])
    for long in lexicon.LONG_RELATIONS:
        if words[: len(long)] == long:
            return len(long)
    if words[0] in lexicon.VERBS and not (words[0] in _ADJECTIVAL and _noun_follows(tokens, place)):
        following = words[1] if len(words) > 1 else ""
        # "dressed in", "walking with": a verb and its preposition are one relation.
        return 2 if following in lexicon.PREPOSITIONS and _relation_length(tokens, place + 1) == 1 else 1
    if words[0] in lexicon.POSSESSIVES:
        return 2 if words[1:2] == ("on",) else 1
    return int(words[0] in lexicon.PREPOSITIONS)


def _phrase(tokens: list[_Token], place: int, state: _State) -> int:
    determiner, start = None, place
    while start < len(tokens) and tokens[start].word in lexicon.DETERMINERS:
        determiner, start = tokens[start].span, start + 1
    end = _phrase_end(tokens, start)
    run = [token for token in tokens[start:end] if token.word not in lexicon.CONJUNCTIONS and token.word != ","]
    if not run:
        return max(end, place + 1)
    head = next((i for i in range(len(run) - 1, -1, -1) if _is_noun(run, i)), None)
    if head is None:
        _describe(run, state)
        return end
    if run[head].word in lexicon.MEASURES and end < len(tokens) and tokens[end].word == "of":
        return end + 1  # what follows is the thing; attributes before a measure are rare
    number = len(state.entities)
    attributes = tuple(token.span for token in run[:head])
    state.entities.append(Entity(run[head].span, attributes, determiner))
    _relate(run[head].word, number, state)
    return end


def _phrase_end(tokens: list[_Token], start: int) -> int:
    """Behind the last word of a phrase. "and" and commas stay inside between attributes: black and white shirt."""
    end = start
    while end < len(tokens):
        word = tokens[end].word
        if word in lexicon.CONJUNCTIONS or word == ",":
            inside = end > start and end + 2 < len(tokens) and _only_attribute(tokens[end - 1].word)
            if not (inside and _only_attribute(tokens[end + 1].word) and _goes_on(tokens, end + 2)):
                return end
        elif _breaks(tokens, end, start):
            return end
        end += 1
    return end


def _goes_on(tokens: list[_Token], place: int) -> bool:
    """Whether the attributes that lead here end in a noun of the same phrase."""
    while place < len(tokens) and _only_attribute(tokens[place].word):
        place += 1
    return place < len(tokens) and not _breaks(tokens, place, place) and tokens[place].word not in _STOPS | {","}


def _breaks(tokens: list[_Token], place: int, start: int) -> bool:
    word = tokens[place].word
    if word in lexicon.NOUNS or (word in lexicon.ATTRIBUTES and word not in lexicon.VERBS):
        # "down jacket", "light blue", "sports shoes" are phrases; "down the street" is not.
        return word in lexicon.PREPOSITIONS and not _noun_follows(tokens, place)
    if word in _ADJECTIVAL and _noun_follows(tokens, place):
        return False
    known = (
        lexicon.DETERMINERS,
        lexicon.PRONOUNS,
        lexicon.COPULAS,
        lexicon.AUXILIARIES,
        lexicon.VERBS,
        lexicon.PREPOSITIONS,
    )
    return word in _STOPS or any(word in kind for kind in known)


def _noun_follows(tokens: list[_Token], place: int) -> bool:
    return place + 1 < len(tokens) and tokens[place + 1].word in lexicon.NOUNS


def _only_attribute(word: str) -> bool:
    return word in lexicon.ATTRIBUTES and word not in lexicon.NOUNS


def _is_noun(run: list[_Token], place: int) -> bool:
    word = run[place].word
    if word in lexicon.NOUNS:
        return True
    return word not in lexicon.ATTRIBUTES and place == len(run) - 1


def _describe(run: list[_Token], state: _State) -> None:
    """Attributes without a noun: "her hair is long", "black" after "is"; they go to the entity before."""
    target = state.last if state.last is not None else (state.subject if state.copula else None)
    if target is None:
        return
    entity = state.entities[target]
    added = (*entity.attributes, *(token.span for token in run))
    state.entities[target] = Entity(entity.head, added, entity.determiner)


def _relate(word: str, number: int, state: _State) -> None:
    if state.relation is not None:
        span, of_verb = state.relation
        subject = state.subject if of_verb or state.last is None else state.last
        state.relations.append(Relation(span, subject, number))
        # "wearing a hat and a coat": the coat is worn, too, so a verb's relation waits on.
        if not of_verb:
            state.relation = None
    if word in lexicon.PEOPLE and state.subject is None:
        state.subject = number
    state.last, state.copula = number, False
