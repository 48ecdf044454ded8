"""Descriptions: what an image shows, said in varied plain English, with the truth of what was said.

A description is composed of phrases (`phrases.py`), each about one thing that the crop shows; sentence patterns put
them in order.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from training.synthetic.attributes import Identity
from training.synthetic.phrases import Mention, Phrases, Sight

_WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")


@dataclass(frozen=True)
class Caption:
    """One description and the (attribute, meaning) pairs that it says, in order, each once."""

    text: str
    mentions: tuple[Mention, ...]

    @property
    def tokens(self) -> list[str]:
        """The words in lower case, without punctuation."""
        return _WORD.findall(self.text.lower())


def describe(identity: Identity, sight: Sight, rng: Random) -> Caption:
    """One random description of this person as this image shows them."""
    phrases = Phrases(identity, sight, rng)
    pattern = _PATTERNS[_draw(rng)]
    text = _tidy(pattern(phrases, rng))
    return Caption(text, tuple(dict.fromkeys(phrases.mentions)))


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([.,])", r"\1", re.sub(r"\s+", " ", text)).strip()
    text = re.sub(r"\b([aA]) (?=[aeio]|umbrella)", r"\1n ", text)
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda match: match.group().upper(), text)


def join(items: list[str], rng: Random) -> str:
    """The items as one list in words, "a, b and c", with or without the last comma."""
    if len(items) < 2:
        return "".join(items)
    if len(items) == 2:
        return f"{items[0]} {rng.choice(('and', 'and', 'and', 'with'))} {items[1]}"
    return ", ".join(items[:-1]) + f"{',' if rng.random() < 0.4 else ''} and {items[-1]}"


def _wearing_first(p: Phrases, rng: Random) -> str:
    """The man with short hair is wearing A, B and C. He is carrying a bag."""
    subject, hair = p.subject(), p.hair()
    middle = f" with {hair}" if hair and rng.random() < 0.6 else ""
    verb = p.verb("is wearing", "wears", "is dressed in", "is wearing", "has on", "is clad in")
    text = f"{subject}{middle} {verb} {join(p.outfit(), rng)}."
    last = [phrase for phrase in (p.carrying(), p.head()) if phrase]
    if hair and not middle:
        last.insert(0, f"has {hair}")
    return text + (f" {p.pronoun()} {' and '.join(last)}." if last else "")


def _hair_first(p: Phrases, rng: Random) -> str:
    """She has long brown hair and is wearing A and B, and carries a bag."""
    subject, hair = (p.pronoun() if p.names_sex and rng.random() < 0.5 else p.subject()), p.hair()
    opening = f"{subject} has {hair} and is wearing" if hair else f"{subject} is wearing"
    text = f"{opening} {join(p.outfit(), rng)}."
    last = [phrase for phrase in (p.head(), p.carrying()) if phrase]
    return text + (f" {p.pronoun()} {' and '.join(last)}." if last else "")


def _in_clothes(p: Phrases, rng: Random) -> str:
    """A woman in A and B, with long hair, carrying a bag."""
    subject, outfit = p.subject(), join(p.outfit(), rng)
    tail = []
    hair, head, carrying = p.hair(), p.head(participle=True), p.carrying(participle=True)
    if hair:
        tail.append(f"with {hair}")
    tail += [phrase for phrase in (head, carrying) if phrase]
    action = p.action()
    return (
        f"{subject} {action} {rng.choice(('in', 'wearing', 'dressed in', 'in', 'sporting'))} {outfit}"
        + "".join(f", {phrase}" for phrase in tail)
        + "."
    )


def _outfit_first(p: Phrases, rng: Random) -> str:
    """Wearing A and B, the man carries a bag. He has short hair."""
    outfit, subject = join(p.outfit(), rng), p.subject()
    carrying, hair, head = p.carrying(), p.hair(), p.head()
    acts = [phrase for phrase in (carrying, f"has {hair}" if hair else "") if phrase]
    if not acts:
        return f"{subject} is dressed in {outfit}." + (f" {p.pronoun()} {head}." if head else "")
    subject = subject[0].lower() + subject[1:]
    return f"{rng.choice(('wearing', 'dressed in'))} {outfit}, {subject} {' and '.join(acts)}." + (
        f" {p.pronoun()} {head}." if head else ""
    )


def _this_is(p: Phrases, rng: Random) -> str:
    """This is a man with short hair who wears A. He also wears B."""
    noun, hair = p.noun(), p.hair()
    who = f"{rng.choice(('this is a', 'there is a', 'a picture of a', 'an image of a'))} {noun}" + (
        f" with {hair}" if hair else ""
    )
    outfit = p.outfit()
    first, rest = (outfit[:1], outfit[1:]) if len(outfit) > 1 and rng.random() < 0.5 else (outfit, [])
    text = f"{who} {rng.choice(('wearing', 'dressed in', 'in'))} {join(first, rng)}."
    last = [phrase for phrase in (p.carrying(), p.head()) if phrase]
    if rest:
        last.insert(0, f"{p.verb('is also wearing', 'also wears', 'has on')} {join(rest, rng)}")
    return text + (f" {p.pronoun()} {' and '.join(last)}." if last else "")


def _bag_first(p: Phrases, rng: Random) -> str:
    """A man carrying a red backpack is wearing A and B. He has short hair."""
    subject, carrying = p.subject(), p.carrying(participle=True) or p.action()
    text = f"{subject} {carrying} {p.verb('is wearing', 'wears', 'is dressed in')} {join(p.outfit(), rng)}."
    hair, head = p.hair(), p.head()
    last = [phrase for phrase in (f"has {hair}" if hair else "", head) if phrase]
    return text + (f" {p.pronoun()} {' and '.join(last)}." if last else "")


def _garments_as_subject(p: Phrases, rng: Random) -> str:
    """The woman's hair is long and brown. / His top is a red t-shirt."""
    subject = p.subject()
    outfit = p.outfit()
    text = f"{subject} {p.verb('wears', 'is wearing', 'has on')} {join(outfit[:2], rng)}."
    more = []
    if outfit[2:]:
        more.append(f"{rng.choice(('wears', 'has on'))} {join(outfit[2:], rng)}")
    hair = p.hair()
    if hair:
        more.append(f"has {hair}")
    more += [phrase for phrase in (p.head(), p.carrying()) if phrase]
    if not more:
        return text
    return f"{text} {p.pronoun()} {', '.join(more[:-1]) + ' and ' if more[:-1] else ''}{more[-1]}."


def _telegraphic(p: Phrases, rng: Random) -> str:
    """Woman, long brown hair, red jacket, black jeans: what hurried people type."""
    items = [p.noun(), p.hair(), *p.outfit(), p.head(participle=True), p.carrying(participle=True)]
    text = ", ".join(item for item in items if item)
    return re.sub(r"\b(?:a|an|a pair of) (?!pair|bottle)", "", text)


_PATTERNS: dict[str, Callable[[Phrases, Random], str]] = {
    "wearing": _wearing_first, "hair": _hair_first, "in": _in_clothes, "outfit": _outfit_first, "this": _this_is,
    "bag": _bag_first, "garments": _garments_as_subject, "telegraphic": _telegraphic,
}  # fmt: skip
_WEIGHTS = {"wearing": 28, "hair": 18, "in": 15, "outfit": 7, "this": 10, "bag": 8, "garments": 9, "telegraphic": 5}


def _draw(rng: Random) -> str:
    return rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
