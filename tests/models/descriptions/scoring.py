"""Precision and recall of a parser on the sentences of `annotated.yaml`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.descriptions import SceneGraph

LEVELS = ("object", "attribute", "relation", "absent")
Pairs = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Sentence:
    """One annotated sentence: what is to be found at each level, as (word, object of it)."""

    text: str
    truth: dict[str, Pairs]


@dataclass(frozen=True)
class Score:
    """How much of what was found is right, and how much of what is there was found, in 0..1."""

    precision: float
    recall: float
    count: int


def sentences(half: str) -> list[Sentence]:
    rows = yaml.safe_load((Path(__file__).parent / "annotated.yaml").read_text(encoding="utf-8"))[half]
    return [Sentence(row["t"], _truth(row)) for row in rows]


def _items(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def _truth(row: dict[str, str | None]) -> dict[str, Pairs]:
    objects = _items(row["o"])
    pairs = {name: [tuple(item.rsplit(" ", 1)) for item in _items(row[key])] for name, key in NAMES.items()}
    return {
        "object": Counter((item.lstrip("!"), "") for item in objects),
        "absent": Counter((item[1:], "") for item in objects if item.startswith("!")),
        **{name: Counter((word, thing) for word, thing in found) for name, found in pairs.items()},
    }


NAMES = {"attribute": "a", "relation": "r"}


def found(graph: SceneGraph) -> dict[str, Pairs]:
    heads = [entity.head.of(graph.text).lower().replace(" ", "_") for entity in graph.entities]
    attributes = [
        (span.of(graph.text).lower(), head)
        for entity, head in zip(graph.entities, heads, strict=True)
        for span in entity.attributes
    ]
    relations = [
        (one.span.of(graph.text).lower(), "-" if one.object is None else heads[one.object]) for one in graph.relations
    ]
    denied = [(head, "") for entity, head in zip(graph.entities, heads, strict=True) if entity.negation]
    return {
        "object": Counter((head, "") for head in heads),
        "attribute": Counter(attributes),
        "relation": Counter(relations),
        "absent": Counter(denied),
    }


def score(parse: Callable[[str], SceneGraph], half: str) -> dict[str, Score]:
    right, told, there = Counter[str](), Counter[str](), Counter[str]()
    for sentence in sentences(half):
        result = found(parse(sentence.text))
        for level in LEVELS:
            right[level] += (result[level] & sentence.truth[level]).total()
            told[level] += result[level].total()
            there[level] += sentence.truth[level].total()
    return {level: Score(right[level] / told[level], right[level] / there[level], there[level]) for level in LEVELS}


def mistakes(parse: Callable[[str], SceneGraph], half: str) -> list[str]:
    """For people who tune the rules: what is wrong in each sentence."""
    lines = []
    for sentence in sentences(half):
        result = found(parse(sentence.text))
        wrong = {
            level: (sorted(result[level] - sentence.truth[level]), sorted(sentence.truth[level] - result[level]))
            for level in LEVELS
            if result[level] != sentence.truth[level]
        }
        if wrong:
            lines.append(f"{sentence.text}\n    {wrong}")
    return lines
