"""A dependency parse as a scene graph (methods.md 6.1): heads of noun phrases, their modifiers, and what ties them.

Works on anything that has the fields of a spaCy token, so that nothing here imports spaCy. The labels are those of
spaCy's English models (ClearNLP: `nsubj`, `dobj`, `prep`, `pobj`, `amod`, `acomp`, ...), not Universal Dependencies.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

from models.descriptions import lexicon
from models.descriptions.graph import Entity, Relation, SceneGraph, Span
from models.descriptions.words import sense


class DependencyToken(Protocol):
    """What is read of a token: `spacy.tokens.Token` has it.

    Attributes:
        text: the word.
        i: its place among the tokens, from 0.
        idx: where it begins in the text, in characters.
        dep_: how it hangs on its head.
        pos_: its part of speech (universal tags).
        head: the token that it hangs on; the root hangs on itself.
    """

    @property
    def text(self) -> str: ...
    @property
    def i(self) -> int: ...
    @property
    def idx(self) -> int: ...
    @property
    def dep_(self) -> str: ...
    @property
    def pos_(self) -> str: ...
    @property
    def head(self) -> "DependencyToken": ...


_NOUNS = ("NOUN", "PROPN")
_SUBJECTS = ("nsubj", "nsubjpass")
_OBJECTS = ("dobj", "obj", "dative")
_DETERMINERS = ("det", "nummod")
_MODIFIERS = ("amod", "compound")


def graph_of(text: str, tokens: Sequence[DependencyToken]) -> SceneGraph:
    """The scene graph of a parsed description.

    Args:
        tokens: all tokens of `text`, in order and numbered from 0.
    """
    return _Mapping(text, tokens).graph()


class _Mapping:
    def __init__(self, text: str, tokens: Sequence[DependencyToken]) -> None:
        self._text, self._tokens = text, tokens
        self._children: dict[int, list[DependencyToken]] = defaultdict(list)
        for token in tokens:
            if token.head.i != token.i:
                self._children[token.head.i].append(token)
        self._long = self._long_prepositions()
        inside = {place for first, last in self._long.items() for place in range(first, last + 1)}
        heads = [token for token in tokens if self._names(token) and token.i not in inside]
        self._numbers = {token.i: number for number, token in enumerate(heads)}
        self._heads = heads
        self._relations: list[Relation] = []
        self._negations: dict[int, Span] = {}

    def graph(self) -> SceneGraph:
        """Everything that the parse says."""
        for token in self._tokens:
            if self._acts(token):
                self._verb(token)
            elif token.i in self._long or token.dep_ in ("prep", "agent"):
                self._preposition(token)
        self._deny_alternatives()
        return SceneGraph(self._text, tuple(map(self._entity, self._heads)), tuple(self._relations))

    def _names(self, token: DependencyToken) -> bool:
        """Whether it is the head of a noun phrase; "a pair of jeans" is about jeans."""
        measured = token.text.lower() in lexicon.MEASURES and any(
            child.text.lower() == "of" for child in self._children[token.i]
        )
        return token.pos_ in _NOUNS and token.dep_ != "compound" and not measured

    def _long_prepositions(self) -> dict[int, int]:
        """First and last place of each "in front of"."""
        words = [token.text.lower() for token in self._tokens]
        return {
            place: place + len(known) - 1
            for known in lexicon.LONG_PREPOSITIONS
            for place in range(len(words) - len(known) + 1)
            if words[place] == known[0] and tuple(words[place : place + len(known)]) == known
        }

    def _acts(self, token: DependencyToken) -> bool:
        if token.dep_ in ("amod", "compound", "aux", "auxpass"):
            return False
        has = token.text.lower() in lexicon.HAVE and any(c.dep_ in _OBJECTS for c in self._children[token.i])
        return token.pos_ == "VERB" or has

    def _entity(self, head: DependencyToken) -> Entity:
        own = self._children[head.i]
        determiner = next((child for child in own if child.dep_ in _DETERMINERS or child.dep_ == "poss"), None)
        if determiner is not None and determiner.pos_ in _NOUNS:
            determiner = None  # "the man's" hair: a thing of its own
        modifiers = [word for child in own if child.dep_ in _MODIFIERS for word in (child, *self._listed(child))]
        modifiers += [word for modifier in list(modifiers) for word in self._children[modifier.i] if self._shades(word)]
        predicates = [word for child in self._predicates(head) for word in (child, *self._listed(child))]
        predicates += [word for one in list(predicates) for word in self._children[one.i] if self._shades(word)]
        ordered = sorted({word.i for word in (*modifiers, *predicates)})
        negation = self._negations.get(head.i) or self._denied_by_article(head)
        article = _span(determiner) if determiner is not None else None
        return Entity(_span(head), self._joined(ordered), article, negation)

    def _shades(self, token: DependencyToken) -> bool:
        return token.dep_ in ("amod", "compound", "advmod") and token.text.lower() in lexicon.SHADES

    def _joined(self, places: Sequence[int]) -> tuple[Span, ...]:
        """Their spans; a shade and the hue behind it are one: "light blue"."""
        spans: list[Span] = []
        before: DependencyToken | None = None
        for token in (self._tokens[place] for place in places):
            shaded = before is not None and before.i + 1 == token.i and before.text.lower() in lexicon.SHADES
            if shaded and token.text.lower() in lexicon.HUES | lexicon.SHADES:
                spans[-1] = Span(spans[-1].start, _span(token).end)
            else:
                spans.append(_span(token))
            before = token
        return tuple(spans)

    def _predicates(self, head: DependencyToken) -> Iterator[DependencyToken]:
        """ "her hair is long": what the copula says of its subject, unless it denies it."""
        if head.dep_ not in _SUBJECTS:
            return
        around = self._children[head.head.i]
        if not any(child.dep_ == "neg" for child in around):
            yield from (child for child in around if child.dep_ in ("acomp", "oprd") and child.pos_ == "ADJ")

    def _listed(self, token: DependencyToken) -> list[DependencyToken]:
        """What is joined to it by "and", "or" or commas, in order."""
        found, waiting = [], [token]
        while waiting:
            listed = [child for child in self._children[waiting.pop().i] if child.dep_ == "conj"]
            found += listed
            waiting += listed
        return found

    def _verb(self, verb: DependencyToken) -> None:
        own = self._children[verb.i]
        subject = self._subject(verb)
        negation = next((_span(child) for child in own if child.dep_ == "neg"), None)
        particle = next((child for child in own if child.dep_ == "prt" and child.i == verb.i + 1), None)
        end = particle if particle is not None else verb
        span = Span(_span(verb).start, _span(end).end)
        objects = [child for child in own if child.dep_ in _OBJECTS]
        joined = None if objects else self._own_preposition(verb, end)
        if joined is not None:
            span = Span(span.start, _span(joined).end)
            objects = [child for child in self._children[joined.i] if child.dep_ == "pobj"]
        self._tie(span, subject, objects, negation, verb=True)

    def _own_preposition(self, verb: DependencyToken, behind: DependencyToken) -> DependencyToken | None:
        """ "dressed in" is one relation; "walking", "with" are two."""
        place = behind.i + 1
        known = sense(verb.text.lower())
        if place >= len(self._tokens) or place in self._long or known.lemma in lexicon.POSTURES:
            return None
        token = self._tokens[place]
        passive = known.form == "ed" or verb.text.lower().endswith("ed")
        joins = token.head.i == verb.i and token.dep_ in ("prep", "agent")
        return (
            token if joins and token.text.lower() != "without" and (passive or token.text.lower() != "with") else None
        )

    def _preposition(self, token: DependencyToken) -> None:
        last = self._tokens[self._long.get(token.i, token.i)]
        swallowed = token.i not in self._long and any(a <= token.i <= b for a, b in self._long.items())
        measures = token.head.text.lower() in lexicon.MEASURES and token.text.lower() == "of"
        if swallowed or measures or self._belongs_to_verb(token):
            return
        objects = [child for child in self._children[last.i] if child.dep_ in ("pobj", "pcomp")]
        span = Span(_span(token).start, _span(last).end)
        negation = _span(token) if token.text.lower() in lexicon.ABSENCES else None
        self._tie(span, self._subject(token), objects, negation, verb=False)

    def _belongs_to_verb(self, token: DependencyToken) -> bool:
        verb = token.head
        if not self._acts(verb) or any(child.dep_ in _OBJECTS for child in self._children[verb.i]):
            return False
        particle = [child for child in self._children[verb.i] if child.dep_ == "prt" and child.i == verb.i + 1]
        own = self._own_preposition(verb, particle[0] if particle else verb)
        return own is not None and own.i == token.i

    def _tie(
        self, span: Span, subject: int | None, objects: Sequence[DependencyToken], negation: Span | None, *, verb: bool
    ) -> None:
        things = [self._measured(one) for first in objects for one in (first, *self._listed(first))]
        named = [thing for thing in things if thing.i in self._numbers]
        for thing in named:
            self._relations.append(Relation(span, subject, self._numbers[thing.i]))
            if negation is not None and not self._behind_but(thing):
                self._negations[thing.i] = negation
        if not named and (verb or objects):
            self._relations.append(Relation(span, subject, None))

    def _measured(self, token: DependencyToken) -> DependencyToken:
        """ "a pair of jeans": the jeans."""
        if token.i in self._numbers:
            return token
        of = [child for child in self._children[token.i] if child.text.lower() == "of"]
        inner = [child for one in of for child in self._children[one.i] if child.dep_ == "pobj"]
        return inner[0] if inner else token

    def _subject(self, token: DependencyToken) -> int | None:
        """Who or what a verb or preposition is about, up the tree."""
        for _ in range(len(self._tokens)):
            subject = next((c for c in self._children[token.i] if c.dep_ in _SUBJECTS), None)
            if subject is not None:
                if subject.text.lower() not in lexicon.RELATIVES:
                    return self._numbers.get(subject.i)
                return self._numbers.get(token.head.i)  # "who is carrying": of the noun that the clause hangs on
            if token.head.i == token.i:
                return self._numbers.get(token.i)
            if token.dep_ != "conj" and token.head.i in self._numbers:
                return self._numbers[token.head.i]
            token = token.head
        return None

    def _denied_by_article(self, head: DependencyToken) -> Span | None:
        return next((_span(child) for child in self._children[head.i] if child.text.lower() == "no"), None)

    def _behind_but(self, thing: DependencyToken) -> bool:
        return thing.dep_ == "conj" and any(child.text.lower() == "but" for child in self._children[thing.head.i])

    def _deny_alternatives(self) -> None:
        """ "no hat or glasses": there are no glasses either."""
        for head in self._heads:
            denied = self._denied_by_article(head)
            if denied is not None and any(child.text.lower() in ("or", "nor") for child in self._children[head.i]):
                self._negations |= {one.i: denied for one in self._listed(head) if one.i in self._numbers}


def _span(token: DependencyToken) -> Span:
    return Span(token.idx, token.idx + len(token.text))
