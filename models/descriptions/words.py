"""A description as tokens, each with what it does in a phrase; forms and misspellings of known words are recognised."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from models.descriptions import lexicon
from models.descriptions.graph import Span

_PIECE = re.compile(r"\bw/(?:o\b)?|(?<=\s)-(?=\s)|[^\W_]+(?:[-'’][^\W_]+)*|[.,;:!?()&+/\"\n–—]")  # noqa: RUF001  people type these quotes and dashes
_STOPS = frozenset('.;:!?()"–—')  # noqa: RUF001
_CLITICS = ("'s", "'re", "'ve", "'d", "'m", "'ll")
_LONGEST_KNOWN = 24
"""Longer words are looked up nowhere: texts come from anyone, and what was looked up is remembered."""


class Kind(StrEnum):
    """What a word does."""

    STOP = "stop"
    COMMA = "comma"
    AND = "and"
    ARTICLE = "article"
    NUMBER = "number"
    POSSESSIVE = "possessive"
    PRONOUN = "pronoun"
    RELATIVE = "relative"
    BE = "be"
    HAVE = "have"
    AUXILIARY = "auxiliary"
    NOT = "not"
    ADVERB = "adverb"
    PREPOSITION = "preposition"
    VERB = "verb"
    ADJECTIVE = "adjective"
    NOUN = "noun"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sense:
    """What is known of a word by itself.

    Attributes:
        lemma: the base form of a verb, the singular of a noun; the word itself otherwise.
        form: of a verb: "" (base), "s", "ing" or "ed".
        thing: of a noun: which of `lexicon.NOUN_SETS` it is in, else "".
        also: what an adjective (a noun) or a noun (a verb) is besides.
    """

    kind: Kind
    lemma: str
    form: str = ""
    thing: str = ""
    also: Kind | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One word or mark."""

    word: str
    span: Span
    sense: Sense

    @property
    def kind(self) -> Kind:
        return self.sense.kind


def tokens_of(text: str) -> list[Token]:
    """The words and marks of a text in order; whatever is neither (emoji, control characters) is left out."""
    pieces: list[tuple[str, Span]] = []
    for match in _PIECE.finditer(text):
        pieces += _split(match.group().lower().replace("’", "'"), *match.span())  # noqa: RUF001
    return _marked(_joined(pieces))


def _split(word: str, start: int, end: int) -> list[tuple[str, Span]]:
    """ "man's" is two words, and so is "isn't"."""
    if len(word) != end - start:  # lower case of some letters has another length: places would be wrong
        return [(word, Span(start, end))]
    if word.endswith("n't") and len(word) > 3:
        return [(word[:-3], Span(start, end - 3)), ("n't", Span(end - 3, end))]
    for clitic in _CLITICS:
        if word.endswith(clitic) and len(word) > len(clitic):
            cut = end - len(clitic)
            return [(word[: -len(clitic)], Span(start, cut)), (clitic, Span(cut, end))]
    return [(word, Span(start, end))]


def _joined(pieces: list[tuple[str, Span]]) -> list[tuple[str, Span]]:
    found: list[tuple[str, Span]] = []
    for word, span in pieces:
        dashed = len(found) > 1 and found[-1][0] == "-"  # "t - shirt"
        before, place = found[-2 if dashed else -1] if found else ("", span)
        if span.start - place.end <= 3 and ((before, word) in lexicon.JOINED or _age(before, word)):
            del found[-2 if dashed else -1 :]
            found.append((f"{before}-{word}", Span(place.start, span.end)))
        else:
            found.append((word, span))
    return found


def _age(before: str, word: str) -> bool:
    """ "20 year old", one pair after the other."""
    return (before.isdigit() and word in ("year", "years")) or (before.endswith(("-year", "-years")) and word == "old")


def _marked(pieces: list[tuple[str, Span]]) -> list[Token]:
    tokens = [Token(word, span, sense(word)) for word, span in pieces if word != "\n"]
    return [_in_place(tokens, place) for place in range(len(tokens))]


def _in_place(tokens: list[Token], place: int) -> Token:
    """A token whose neighbours decide what it is: "dress shirt", "he faces the camera", "follows her"."""
    token = tokens[place]
    before = tokens[place - 1].sense if place else _NOTHING
    after = tokens[place + 1].sense if place + 1 < len(tokens) else _NOTHING
    chosen = _chosen(token, before, after)
    return token if chosen is token.sense else Token(token.word, token.span, chosen)


def _chosen(token: Token, before: Sense, after: Sense) -> Sense:
    sense, word = token.sense, token.word
    describing = after.kind in (Kind.NOUN, Kind.ADJECTIVE, Kind.UNKNOWN)
    person = before.kind in (Kind.PRONOUN, Kind.RELATIVE) or before.thing == "person"
    if word in lexicon.SHADES and after.lemma in lexicon.HUES:
        return Sense(Kind.ADJECTIVE, word)  # bottle green
    if sense.kind is Kind.ADJECTIVE and sense.also is Kind.NOUN:
        return sense if describing or before.kind is Kind.BE else Sense(Kind.NOUN, sense.lemma, "", sense.thing)
    if sense.kind is Kind.NOUN and sense.also is Kind.VERB and person and not describing:
        return Sense(Kind.VERB, sense.lemma, sense.form)
    if sense.kind is Kind.VERB:
        return _verb_or_adjective(word, sense, before, describing)
    if sense.kind is Kind.UNKNOWN and _acts(word, before, after):
        return Sense(Kind.VERB, word, "s")
    return _function_word(word, sense, before, after, describing=describing)


def _function_word(word: str, sense: Sense, before: Sense, after: Sense, *, describing: bool) -> Sense:
    if sense.kind is Kind.POSSESSIVE and word == "her" and not (describing or after.kind in (Kind.VERB, Kind.NUMBER)):
        return Sense(Kind.PRONOUN, word)
    if sense.kind is Kind.ARTICLE and word == "that" and not describing:
        return Sense(Kind.RELATIVE, word)
    if word == "to" and after.kind not in (Kind.VERB, Kind.BE, Kind.HAVE):
        return Sense(Kind.PREPOSITION, word)
    if sense.kind is Kind.HAVE and after.kind is Kind.BE:
        return Sense(Kind.AUXILIARY, word)
    if word == "down" and after.thing == "worn" and before.kind is not Kind.VERB:
        return Sense(Kind.ADJECTIVE, word)  # a down jacket
    return sense


def _verb_or_adjective(word: str, sense: Sense, before: Sense, describing: bool) -> Sense:
    if not describing:
        return sense
    led = before.kind in (Kind.ARTICLE, Kind.POSSESSIVE, Kind.ADJECTIVE, Kind.NUMBER)
    listed = word in lexicon.ADJECTIVAL and before.kind not in (Kind.BE, Kind.NOUN, Kind.PRONOUN)
    had = before.kind in (Kind.HAVE, Kind.PREPOSITION)
    if listed or (led and sense.form in ("ing", "ed")) or (had and sense.form == "ed"):
        return Sense(Kind.ADJECTIVE, word)
    return sense


def _acts(word: str, before: Sense, after: Sense) -> bool:
    """ "a man clasps his hands": an unknown word that only a verb can be."""
    one = before.thing == "person" and before.form == ""
    follows = (Kind.PREPOSITION, Kind.ADVERB, Kind.ARTICLE, Kind.POSSESSIVE)
    return one and word.endswith("s") and not word.endswith("ss") and after.kind in follows


_NOTHING = Sense(Kind.STOP, "")


def sense(word: str) -> Sense:
    """What a lower-case word is by itself."""
    return _sense(word) if len(word) <= _LONGEST_KNOWN else Sense(Kind.UNKNOWN, "")


@lru_cache(maxsize=65536)
def _sense(word: str) -> Sense:
    found = _KNOWN.get(word)
    if found is not None:
        return found
    if word[0] in _STOPS:
        return Sense(Kind.STOP, word)
    if word[0].isdigit() and not word.endswith(lexicon.ADJECTIVE_ENDINGS):
        return Sense(Kind.NOUN if word.endswith("s") else Kind.NUMBER, word)
    last = word.rpartition("-")[2]
    compound = last != word and not word.endswith(lexicon.ADJECTIVE_ENDINGS)
    if compound and (found := _KNOWN.get(last)) and found.kind is Kind.NOUN:
        return found
    guess = _KNOWN.get(_respelt(word))
    return guess if guess is not None else _by_ending(word)


def is_known(token: Token) -> bool:
    """Whether the word, or one that it misspells, is in the lexicon."""
    return token.word in _KNOWN or (len(token.word) <= _LONGEST_KNOWN and _respelt(token.word) in _KNOWN)


def is_english(word: str, *, misspelt: bool = False) -> bool:
    """Whether a lower-case word is in the lexicon; or one that it `misspelt` is."""
    word = word.replace("’", "'").removesuffix("'s")  # noqa: RUF001
    return word in _KNOWN or (misspelt and len(word) <= _LONGEST_KNOWN and _respelt(word) in _KNOWN)


def _by_ending(word: str) -> Sense:
    if word.endswith(lexicon.ADJECTIVE_ENDINGS) and len(word) > 5:
        return Sense(Kind.ADJECTIVE, word)
    if word.endswith("ly") and len(word) > 4:
        return Sense(Kind.ADVERB, word)
    if word.endswith("ing") and len(word) > 5:
        return Sense(Kind.VERB, word, "ing")
    if word.endswith("ed") and len(word) > 4:
        return Sense(Kind.ADJECTIVE, word)
    return Sense(Kind.UNKNOWN, word)


def _forms(verb: str) -> dict[str, str]:
    """Every form of a regular verb, and which."""
    if verb.endswith("e") and not verb.endswith(("ee", "ie")):
        return {verb: "", f"{verb}s": "s", f"{verb[:-1]}ing": "ing", f"{verb}d": "ed"}
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return {verb: "", f"{verb[:-1]}ies": "s", f"{verb}ing": "ing", f"{verb[:-1]}ied": "ed"}
    third = f"{verb}es" if verb.endswith(("s", "sh", "ch", "x")) or verb == "go" else f"{verb}s"
    stem = verb
    if len(verb) > 2 and verb[-1] not in "aeiouwxyh" and verb[-2] in "aeiou" and verb[-3] not in "aeiou":
        stem = verb + verb[-1] if len(verb) < 5 else verb
    return {verb: "", third: "s", f"{stem}ing": "ing", f"{stem}ed" if not verb.endswith("ie") else f"{verb}d": "ed"}


def _plural(noun: str) -> str:
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun if noun.endswith("s") and not noun.endswith("ss") else f"{noun}es"
    if noun.endswith("f") and noun in ("scarf", "calf"):
        return f"{noun[:-1]}ves"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def _nouns() -> dict[str, Sense]:
    known: dict[str, Sense] = {}
    for thing, words in (*lexicon.NOUN_SETS.items(), ("", lexicon.OTHER_NOUNS | lexicon.MEASURES)):
        for word in words:
            for form, suffix in ((_plural(word), "s"), (word, "")):
                known.setdefault(form, Sense(Kind.NOUN, word, suffix, thing))
    return known


def _verbs() -> dict[str, Sense]:
    known = {}
    for verb in lexicon.VERBS:
        for form, name in _forms(verb).items():
            known[form] = Sense(Kind.VERB, verb, name)
    for form, verb in lexicon.IRREGULAR.items():
        known[form] = Sense(Kind.VERB, verb, "ing" if form.endswith("ing") else "ed")
    return known


def _lexicon() -> dict[str, Sense]:
    """Later entries win; nouns win over verbs of the same spelling and remember it, adjectives over nouns."""
    known = _verbs()
    for word, found in _nouns().items():
        also = Kind.VERB if word in known else None
        known[word] = Sense(found.kind, found.lemma, found.form, found.thing, also)
    for word in lexicon.ADJECTIVES:
        noun = known.get(word)
        is_noun = noun is not None and noun.kind is Kind.NOUN
        known[word] = Sense(
            Kind.ADJECTIVE, word, "", noun.thing if noun and is_noun else "", Kind.NOUN if is_noun else None
        )
    plain = (
        (lexicon.ADVERBS, Kind.ADVERB),
        (lexicon.PREPOSITIONS, Kind.PREPOSITION),
        (lexicon.AUXILIARIES, Kind.AUXILIARY),
        (lexicon.HAVE, Kind.HAVE),
        (lexicon.COPULAS, Kind.BE),
        (lexicon.PRONOUNS, Kind.PRONOUN),
        (lexicon.POSSESSIVES, Kind.POSSESSIVE),
        (lexicon.RELATIVES, Kind.RELATIVE),
        (lexicon.ARTICLES | {"no"}, Kind.ARTICLE),
        (lexicon.NEGATIONS | {"n't"}, Kind.NOT),
        (lexicon.CONJUNCTIONS, Kind.AND),
    )
    for words, kind in plain:
        known |= {word: Sense(kind, word) for word in words}
    known |= {
        "'ve": Sense(Kind.HAVE, "have"),
        "'m": Sense(Kind.BE, "be"),
        ",": Sense(Kind.COMMA, ","),
        "-": Sense(Kind.COMMA, "-"),
    }
    known |= {word: Sense(Kind.AUXILIARY, word) for word in ("'d", "'ll")}
    return known


def _shortened(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(len(word))}


def _index(words: dict[str, Sense]) -> dict[str, list[str]]:
    """Misspellings are found by what both words become when a letter is left out."""
    found: dict[str, list[str]] = {}
    content = (Kind.NOUN, Kind.VERB, Kind.ADJECTIVE)
    for word in sorted(words):
        if len(word) >= 5 and words[word].kind in content:
            for key in {word, *_shortened(word)}:
                found.setdefault(key, []).append(word)
    return found


@lru_cache(maxsize=65536)
def _respelt(word: str) -> str:
    """The known word of at least five letters that this one is a letter away from; the word itself if there is none."""
    if word in _KNOWN or len(word) < 4:
        return word
    nearby = {near for key in (word, *sorted(_shortened(word))) for near in _NEAR.get(key, ())}
    close = sorted(near for near in nearby if near[0] == word[0] and _one_apart(near, word))
    return close[0] if close else word


def _one_apart(one: str, other: str) -> bool:
    """One letter added, left out, exchanged, or two neighbours swapped (Damerau 1964)."""
    if len(one) > len(other):
        one, other = other, one
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    swapped = one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
    return one[start + 1 :] == other[start + 1 :] or swapped


_KNOWN = _lexicon()
_NEAR = _index(_KNOWN)
