"""The same description as other people would type it: misspelt, shuffled, in other words, shorter.

Each rewording takes a text and a random generator; None where a text gives nothing to change.
"""

import re
from collections.abc import Callable
from random import Random

from models.descriptions import lexicon as known
from models.descriptions import parse
from training.synthetic import lexicon

Rewording = Callable[[str, Random], str | None]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(r"[A-Za-z]{4,}")
_BREAK = re.compile(r"\s*[,.;]\s*|\s+and\s+")
_ARTICLE = re.compile(r"\b(?:a pair of|an?|the|this)\s+", re.IGNORECASE)
_VERBS = (
    ("is wearing", "wears", "has on", "is dressed in", "is clad in"),
    ("is carrying", "carries", "is holding", "holds"),
)


def misspelt(times: int) -> Rewording:
    """So many letters swapped, left out, doubled or exchanged, each in another word of four letters or more."""

    def reword(text: str, rng: Random) -> str | None:
        words = list(_WORD.finditer(text))
        if not words:
            return None
        for word in sorted(rng.sample(words, min(times, len(words))), key=lambda word: -word.start()):
            text = text[: word.start()] + _mistyped(word.group(), rng) + text[word.end() :]
        return text

    return reword


def _mistyped(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    while True:
        found = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + rng.choice(_LETTERS) + word[at + 1 :],
            )
        )
        if found != word:
            return found
        at = rng.randrange(1, len(word) - 1)


def shuffled_phrases(text: str, rng: Random) -> str | None:
    """The phrases between commas, full stops and "and" in another order."""
    parts = [part for part in _BREAK.split(text) if part]
    if len(parts) < 2:
        return None
    return ", ".join(rng.sample(parts, len(parts)))


def shuffled_words(text: str, rng: Random) -> str | None:
    """All words in another order, without punctuation."""
    words = re.findall(r"[\w'-]+", text)
    return " ".join(rng.sample(words, len(words))) if len(words) > 1 else None


def without_articles(text: str, rng: Random) -> str | None:
    """As in a note: no articles."""
    del rng
    found = _ARTICLE.sub("", text)
    return found if found != text else None


def short(text: str, rng: Random) -> str | None:
    """One garment with its colour, "red jacket": the largest that is named."""
    del rng
    found = []
    for entity in parse(text).entities:
        hues = [span.of(text) for span in entity.attributes if span.of(text).lower().split()[-1] in known.HUES]
        head = entity.head.of(text).lower()
        if hues and (head in known.WORN or head.removesuffix("s") in known.WORN):
            found.append((head in _LARGE, f"{hues[0]} {head}"))
    return max(found, key=lambda garment: garment[0])[1].lower() if found else None


_LARGE = frozenset(
    {"jacket", "coat", "dress", "hoodie", "shirt", "t-shirt", "sweater", "top", "blouse", "cardigan", "parka"}
)


def _same() -> dict[str, tuple[str, ...]]:
    """Phrase -> the other phrases with its meaning; phrases with several meanings are left alone."""
    groups = [tuple(dict.fromkeys(words)) for words in (*lexicon.COLOURS.values(), *lexicon.PEOPLE.values())]
    for attribute, meanings in lexicon.NOUNS.items():
        if attribute not in ("hair_length", "build"):
            groups += [tuple(dict.fromkeys(words)) for words in meanings.values()]
    groups += [*_VERBS]
    owners: dict[str, list[tuple[str, ...]]] = {}
    for group in groups:
        for phrase in group:
            owners.setdefault(phrase, []).append(group)
    return {
        phrase: tuple(other for other in owned[0] if other != phrase and len(owners[other]) == 1)
        for phrase, owned in owners.items()
        if len(owned) == 1
    }


_SAME = _same()
_PHRASE = re.compile(
    r"\b(?:" + "|".join(re.escape(phrase) for phrase in sorted(_SAME, key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def synonyms(text: str, rng: Random) -> str | None:
    """Every phrase that the generator of descriptions says in several ways, said in another one."""

    def other(match: "re.Match[str]") -> str:
        choices = _SAME[match.group().lower()]
        return rng.choice(choices) if choices else match.group()

    found = _PHRASE.sub(other, text)
    return found if found.lower() != text.lower() else None


REWORDINGS: dict[str, Rewording] = {
    "as written": lambda text, rng: text,
    "1 typing error": misspelt(1),
    "2 typing errors": misspelt(2),
    "3 typing errors": misspelt(3),
    "phrases shuffled": shuffled_phrases,
    "words shuffled": shuffled_words,
    "synonyms": synonyms,
    "one garment and its colour": short,
    "upper case": lambda text, rng: text.upper(),
    "lower case": lambda text, rng: text.lower(),
    "no articles": without_articles,
}
