"""What clients were told, and what an answer that shows the whole gallery must be by that."""

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE, APART = 2e-3, 2e-2
"""Scores of one version differ by less (batches, half precision); those of two versions, in the median, by more."""
Table = Mapping[str, NDArray[np.float32]]
"""For each query the scores of all pictures of the pool."""


@dataclass(frozen=True, slots=True)
class Before:
    """What was known when a query was sent.

    Attributes:
        present: images that were reported as ingested and whose deletion nobody had asked for.
        gone: images whose deletion was answered.
        version: the last one whose activation was answered.
    """

    present: frozenset[int]
    gone: frozenset[int]
    version: int


@dataclass
class Ledger:
    """All that was acknowledged. Pictures have numbers, people have `each` pictures with numbers in a row.

    Args:
        tables: for each model version what a picture's score for a query is.
    """

    tables: Mapping[int, Table]
    people: int
    each: int
    version: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    present: dict[int, int] = field(default_factory=dict)
    """Image id to picture number; until the deletion is asked for."""
    doomed: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    _busy: set[int] = field(default_factory=set)

    def before(self) -> Before:
        """What is known now."""
        with self.lock:
            return Before(frozenset(self.present), frozenset(self.gone), self.version)

    def numbers(self, person: int) -> range:
        """Pictures of a person."""
        return range(person * self.each, (person + 1) * self.each)

    def take_absent(self, rng: random.Random, most: int) -> dict[int, list[int]]:
        """People that lack pictures, and which; they are the caller's until `release`."""
        with self.lock:
            held = set(self.present.values())
            lacking = {
                person: [number for number in self.numbers(person) if number not in held]
                for person in range(self.people)
                if person not in self._busy
            }
            chosen = rng.sample(some, min(most, len(some))) if (some := [p for p in lacking if lacking[p]]) else []
            self._busy.update(chosen)
            found = {person: lacking[person] for person in chosen}
            self.sent.update(number for numbers in found.values() for number in numbers)
            return found

    def take_present(self, rng: random.Random) -> tuple[int, dict[int, int]] | None:
        """A person with images, and those by id; the caller's until `release`."""
        with self.lock:
            there: dict[int, dict[int, int]] = {}
            for image, number in self.present.items():
                if (person := number // self.each) not in self._busy:
                    there.setdefault(person, {})[image] = number
            if not there:
                return None
            person = rng.choice(sorted(there))
            self._busy.add(person)
            return person, there[person]

    def release(self, *people: int) -> None:
        """Give people back."""
        with self.lock:
            self._busy.difference_update(people)

    def ingested(self, images: Mapping[int, int]) -> None:
        """Images (id to picture number) were reported as ingested."""
        with self.lock:
            self.present.update(images)

    def doom(self, images: Sequence[int]) -> None:
        """Their deletion will be asked for."""
        with self.lock:
            self.doomed.update(images)
            for image in images:
                del self.present[image]

    def deleted(self, images: Sequence[int]) -> None:
        """Their deletion was answered."""
        with self.lock:
            self.gone.update(images)

    def activated(self, version: int) -> None:
        """The activation of a version was answered."""
        with self.lock:
            self.version = version

    def judge(self, query: str, answer: Mapping[str, Any], before: Before) -> tuple[list[str], list[str]]:
        """What is wrong with an answer that shows all there is, and what is missing in it."""
        images = [image for candidate in answer["candidates"] for image in candidate["images"]]
        ids = {image["id"] for image in images}
        with self.lock:
            must, sent = before.present - self.doomed, set(self.sent)
        wrong = []
        if len(ids) != len(images):
            wrong.append("an image twice")
        if back := ids & before.gone:
            wrong.append(f"deleted before it was asked: {sorted(back)}")
        numbers = {image["id"]: number_of(image["source_name"]) for image in images}
        if strange := set(numbers.values()) - sent:
            wrong.append(f"pictures that nobody sent: {sorted(strange)}")
        version = answer["model_version"]["id"]
        scores = self.tables[version][query]
        off = [image["id"] for image in images if abs(image["score"] - scores[numbers[image["id"]]]) > TOLERANCE]
        if off:
            others = [v for v, table in self.tables.items() if v != version and self._fit(table[query], images, off)]
            wrong.append(f"scores that version {version} does not give: {off[:5]} (of version {others})")
        return wrong, [f"image {image}" for image in sorted(must - ids)]

    @staticmethod
    def _fit(scores: NDArray[np.float32], images: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> bool:
        chosen = [image for image in images if image["id"] in ids]
        return all(abs(image["score"] - scores[number_of(image["source_name"])]) <= TOLERANCE for image in chosen)


def name_of(number: int) -> str:
    """The file name of a picture."""
    return f"{number:05}.jpg"


def number_of(name: str) -> int:
    """The picture with a file name."""
    return int(name.removesuffix(".jpg"))
