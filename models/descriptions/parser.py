"""Rules that find things, attributes and relations in an English description of a person (methods.md 6.1, INFERENCE).

Words are told apart (`words.py`), phrases are read (`phrases.py`), and verbs and prepositions tie them together here.
One pass from left to right: the time grows with the length of the text. What a dependency parser would call amod,
compound and a predicate adjective is an attribute, det and nummod a determiner; a list of things shares its verb.
"""

from dataclasses import dataclass, field

from models.descriptions import lexicon
from models.descriptions.graph import Entity, Relation, SceneGraph, Span
from models.descriptions.phrases import OPENING, Phrase, leads_to_noun, read_phrase
from models.descriptions.words import Kind, Token, is_known, tokens_of

_KNOWN_AT_LEAST = 0.34
"""A text of which less is known is not English prose about people; guesses about it would be noise."""
_SCENE = ("place", "person")
_MOST_OPEN = 8
"""Lists within lists within lists: more are nobody's language, and would cost time."""


@dataclass(slots=True)
class _Thing:
    head: Span
    attributes: list[Span]
    determiner: Span | None
    negation: Span | None
    kind: str


@dataclass(slots=True)
class _Open:
    """A relation that takes, or may still take, objects.

    Attributes:
        kind: of its last object; a list goes on with things of one kind.
    """

    span: Span
    subject: int | None
    verb: bool
    negation: Span | None
    kind: str = ""


@dataclass(slots=True)
class _Reader:
    """The rules' memory within one description.

    Attributes:
        person: who pronouns are about.
        topic: the subject of the clause.
        last: the thing named last.
        pending: a relation that has no object yet.
        opened: relations that have one and may take more, outermost first.
        copula: "is" came, and what follows describes the topic.
        denial: "not" came, and what follows is denied.
    """

    tokens: list[Token]
    leads: list[bool]
    things: list[_Thing] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    person: int | None = None
    topic: int | None = None
    last: int | None = None
    pending: _Open | None = None
    opened: list[_Open] = field(default_factory=list)
    copula: bool = False
    denial: Span | None = None
    finite: bool = False
    """Whether the clause has its verb; then a thing with a verb behind it begins another."""
    linked: bool = False
    """Whether a comma, "and" or "or" came last."""
    alternative: bool = False
    """Whether "or" came last: what is denied of one thing is denied of the next."""

    def read(self) -> None:
        """Read all tokens."""
        place = 0
        while place < len(self.tokens):
            place = self._step(place)
        self._settle()

    def _step(self, place: int) -> int:
        """Read what begins at a place; returns the place behind it."""
        token = self.tokens[place]
        if skipped := _among(self.tokens, place, lexicon.SKIPPED):
            return place + skipped
        if token.kind in (Kind.VERB, Kind.HAVE):
            return self._verb(place)
        if token.kind is Kind.PREPOSITION or _among(self.tokens, place, lexicon.LONG_PREPOSITIONS):
            return self._preposition(place)
        if token.kind in OPENING:
            return self._phrase(place)
        self._mark(token, place)
        return place + 1

    def _mark(self, token: Token, place: int) -> None:
        """Words that name nothing: they end, join, deny."""
        match token.kind:
            case Kind.STOP:
                self._settle()
                self.opened, self.topic, self.last, self.copula, self.denial = [], None, None, False, None
                self.alternative = self.finite = False
            case Kind.COMMA | Kind.AND:
                self._settle()
                self._link(token, place)
            case Kind.BE:
                self._settle()
                self.opened, self.copula, self.finite = [], True, True
            case Kind.RELATIVE:
                self._settle()
                self.topic = self.last
            case Kind.PRONOUN:
                self._pronoun(token)
            case Kind.NOT:
                self.denial = token.span
            case Kind.ADVERB if token.word == "only":
                self.denial = None
            case _:
                pass

    def _link(self, token: Token, place: int) -> None:
        """What a comma, "and", "or" and "but" do to what was denied before."""
        self.linked = True
        if token.kind is Kind.COMMA:
            if _or_ahead(self.tokens, place):
                self.alternative = True
            else:
                self.opened = [one for one in self.opened if one.negation is None]
        else:
            self.alternative = token.word in ("or", "nor")
            if token.word == "but":
                self._affirm()

    def _pronoun(self, token: Token) -> None:
        if self.pending is not None:
            self._settle(pronoun=True)
        elif token.word == "it":
            self.topic = self.last
        elif token.word != "there":
            self.topic = self.person
        self.copula = False

    def _affirm(self) -> None:
        """Behind "but" nothing is denied any more."""
        kept = [one for one in self.opened if one.verb or one.negation is None]
        for one in kept:
            one.negation = None
        self.opened, self.denial = kept, None

    def _settle(self, *, pronoun: bool = False) -> None:
        """The pending relation gets no object. A verb stands for itself; a preposition does before a pronoun."""
        if self.pending is not None and (self.pending.verb or pronoun):
            self.relations.append(Relation(self.pending.span, self.pending.subject, None))
        self.pending = None

    def _verb(self, place: int) -> int:
        if self.denial is None:
            self.denial = self._denied_before()
        self._settle()
        token = self.tokens[place]
        end = place + _verb_length(self.tokens, place)
        span = Span(token.span.start, self.tokens[end - 1].span.end)
        subject = self._subject_of(token)
        if subject is None or subject != self.last or not _may_be_of_things(token):
            self.opened = []
        self.pending = _Open(span, subject, verb=True, negation=self.denial)
        self.denial, self.copula, self.alternative = None, False, False
        self.finite = self.finite or token.kind is Kind.HAVE or token.sense.form == "s"
        return end

    def _denied_before(self) -> Span | None:
        """ "without wearing a hat", "not wearing a hat or carrying a bag"."""
        if self.pending is not None and not self.pending.verb:
            return self.pending.negation
        return self.opened[-1].negation if self.alternative and self.opened else None

    def _subject_of(self, verb: Token) -> int | None:
        about_things = verb.sense.form in ("ed", "ing") and _may_be_of_things(verb)
        if about_things and self.last is not None and not self.copula and self.things[self.last].kind != "person":
            return self.last
        return self.topic if self.topic is not None else self.person

    def _preposition(self, place: int) -> int:
        token = self.tokens[place]
        end = place + max(1, _among(self.tokens, place, lexicon.LONG_PREPOSITIONS))
        if end == place + 1 and token.word in lexicon.PARTICLES and _is_preposition(self.tokens, end):
            return end  # sitting down on a bench
        moved = self.pending.subject if self.pending is not None and self.pending.verb else None
        self._settle()
        subject = moved
        if subject is None:
            subject = self.topic if self.copula or self.last is None else self.last
        absent = token.span if token.word in lexicon.ABSENCES else self.denial
        span = Span(token.span.start, self.tokens[end - 1].span.end)
        self.pending = _Open(span, subject if subject is not None else self.person, verb=False, negation=absent)
        self.copula, self.denial = False, None
        return end

    def _phrase(self, place: int) -> int:
        phrase = read_phrase(self.tokens, place, self.leads, predicate=self.copula)
        if phrase.head is None:
            return self._nameless(phrase, place)
        number = self._add(phrase, phrase.head)
        thing = self.things[number]
        if phrase.owner:
            if thing.kind == "person" and self.person is None:
                self.person = number
            return phrase.end
        self._tie(number, thing, starts=self._starts_clause(phrase))
        self.last, self.copula, self.denial, self.alternative, self.linked = number, False, None, False, False
        return phrase.end

    def _add(self, phrase: Phrase, head: Token) -> int:
        determiner = phrase.determiner
        negation = self.denial
        if determiner is not None and determiner.word == "no":
            negation = determiner.span
        elif self.alternative and self.last is not None and self.pending is None:
            negation = self.things[self.last].negation
        span = determiner.span if determiner else None
        self.things.append(_Thing(head.span, list(phrase.attributes), span, negation, head.sense.thing))
        return len(self.things) - 1

    def _nameless(self, phrase: Phrase, place: int) -> int:
        """Adjectives without a noun: they describe what came before, or stand for a thing ("dressed in black")."""
        end = max(phrase.end, place + 1)
        if not phrase.attributes:
            return end
        alone = phrase.determiner is not None and phrase.determiner.word in ("one", "another", "other")
        if self.pending is not None or (phrase.determiner is not None and not alone):
            *rest, head = phrase.attributes
            determiner = phrase.determiner.span if phrase.determiner else None
            self.things.append(_Thing(head, rest, determiner, self.denial, ""))
            self._tie(len(self.things) - 1, self.things[-1], starts=False)
            self.last = len(self.things) - 1
        else:
            target = self.topic if alone or self.copula or self.last is None else self.last
            target = target if target is not None else (self.person if self.copula else None)
            if target is not None and self.denial is None:
                self.things[target].attributes += phrase.attributes
        self.denial = None
        return end

    def _tie(self, number: int, thing: _Thing, *, starts: bool) -> None:
        """Make a thing the object of the relation that waits for it, or of one that began a list."""
        relation = self.pending
        if relation is not None:
            self.pending = None
            self.opened.append(relation)
            if len(self.opened) > _MOST_OPEN:
                del self.opened[1]
        elif not starts:
            relation = self._list_for(thing.kind) if self.linked else self._run_on(thing.kind)
        if relation is None:
            self._introduce(number, thing, starts=starts)
            return
        relation.kind = thing.kind
        thing.negation = thing.negation or relation.negation
        self.relations.append(Relation(relation.span, relation.subject, number))

    def _introduce(self, number: int, thing: _Thing, *, starts: bool) -> None:
        if starts:
            self.opened, self.finite = [], False
        if thing.kind == "person" and (self.person is None or starts):
            self.person = number
        if starts or self.topic is None or thing.kind == "person":
            self.topic = number

    def _list_for(self, kind: str) -> _Open | None:
        """The relation whose list of objects goes on with a thing of this kind; those within it are over."""
        chosen = next((one for one in reversed(self.opened) if one.kind == kind), None)
        if chosen is None and kind not in _SCENE:
            own = ("body", "part") if kind in ("worn", "carried") else ()
            chosen = next((one for one in reversed(self.opened) if one.kind not in (*_SCENE, *own)), None)
            if chosen is None and self.opened and self.opened[0].kind not in _SCENE:
                chosen = self.opened[0]
        if chosen is not None:
            del self.opened[self.opened.index(chosen) + 1 :]
        return chosen

    def _run_on(self, kind: str) -> _Open | None:
        """A list without commas: "wears a jacket over a shirt blue jeans brown shoes"."""
        if kind not in ("worn", "carried") or not self.opened or not self.opened[0].verb:
            return self._list_for(kind)
        del self.opened[1:]
        return self.opened[0]

    def _starts_clause(self, phrase: Phrase) -> bool:
        """Whether the phrase is the subject of what follows: "wearing a coat, his shoes are white"."""
        if self.pending is not None or (self.topic is not None and not self.finite):
            return False
        place = phrase.end
        while place < len(self.tokens) and self.tokens[place].kind is Kind.ADVERB:
            place += 1
        if place >= len(self.tokens):
            return False
        token = self.tokens[place]
        if token.kind is Kind.VERB:
            return token.sense.form == "s"
        return token.kind in (Kind.BE, Kind.HAVE) or (token.kind is Kind.AUXILIARY and token.word != "to")


def parse(text: str) -> SceneGraph:
    """The scene graph of a description. Never raises; a text in which little is known English gives an empty graph."""
    tokens = tokens_of(text)
    words = [token for token in tokens if token.kind not in (Kind.STOP, Kind.COMMA)]
    if sum(map(is_known, words)) < _KNOWN_AT_LEAST * len(words):
        return SceneGraph(text)
    reader = _Reader(tokens, leads_to_noun(tokens))
    reader.read()
    entities = tuple(
        Entity(thing.head, tuple(thing.attributes), thing.determiner, thing.negation) for thing in reader.things
    )
    return SceneGraph(text, entities, tuple(reader.relations))


def _among(tokens: list[Token], place: int, known: tuple[tuple[str, ...], ...]) -> int:
    """How many words from here are one of the known sequences; 0 if none is."""
    for words in known:
        if (
            tokens[place].word == words[0]
            and tuple(token.word for token in tokens[place : place + len(words)]) == words
        ):
            return len(words)
    return 0


def _may_be_of_things(verb: Token) -> bool:
    """ "hair tied in", "a skirt ending above": verbs that are about the thing before them, and verbs unknown here."""
    return verb.sense.lemma in lexicon.OF_THINGS or verb.sense.lemma not in lexicon.VERBS


def _is_preposition(tokens: list[Token], place: int) -> bool:
    if place >= len(tokens):
        return False
    return tokens[place].kind is Kind.PREPOSITION or _among(tokens, place, lexicon.LONG_PREPOSITIONS) > 0


def _verb_length(tokens: list[Token], place: int) -> int:
    """A verb with its particle and preposition: "looks down at", "tied in". Postures stay apart from theirs."""
    token, end = tokens[place], place + 1
    if token.sense.lemma in lexicon.POSTURES and token.kind is Kind.VERB:
        return 1
    if token.kind is Kind.HAVE:
        return 2 if end < len(tokens) and tokens[end].word == "on" else 1
    if end < len(tokens) and tokens[end].word in lexicon.PARTICLES:
        end += 1
    joins = _is_preposition(tokens, end) and not _among(tokens, end, lexicon.LONG_PREPOSITIONS)
    if joins and (tokens[end].word != "with" or token.sense.form == "ed") and tokens[end].word not in lexicon.ABSENCES:
        end += 1
    return end - place


def _or_ahead(tokens: list[Token], place: int) -> bool:
    """Whether the list that a comma is in ends with "or": "no hat, bag or glasses". Looks a few words ahead only."""
    for token in tokens[place + 1 : place + 12]:
        if token.kind is Kind.AND:
            return token.word in ("or", "nor")
        if token.kind not in (*OPENING, Kind.COMMA):
            return False
    return False
