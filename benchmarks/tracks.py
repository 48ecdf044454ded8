"""Boxes and tracks against the truth: recall, precision, MOTA, IDF1, switches and fragments.

MOTA after Bernardin and Stiefelhagen (EURASIP 2008), IDF1 after Ristani et al. (ECCV workshops 2016): boxes match at an
intersection over union of at least 0.5. Nobody must find who is hardly visible, and who finds them is not wrong.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.video.boxes import Floats, overlaps

LEAST_OVERLAP, LEAST_VISIBLE = 0.5, 0.35


@dataclass
class Score:
    """Counts over frames, added up."""

    truths: int = 0
    hits: int = 0
    extra: int = 0
    switches: int = 0
    fragments: int = 0
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    tracked: Counter[int] = field(default_factory=Counter)
    _with: dict[int, int] = field(default_factory=dict)
    _was: dict[int, bool] = field(default_factory=dict)

    def take(self, people: list[dict[str, Any]], boxes: Floats, numbers: list[int], size: tuple[int, int]) -> None:
        """One frame: the truth, and the boxes (N, 4) with the numbers of their tracks."""
        there = [one for one in people if inside(one["box"], size) is not None]
        clipped = np.array([inside(one["box"], size) for one in there]).reshape(-1, 4)
        shared = overlaps(clipped, boxes)
        must = [row for row, one in enumerate(there) if one["visible"] >= LEAST_VISIBLE]
        first, second = linear_sum_assignment(np.where(shared >= LEAST_OVERLAP, -shared, 1.0))
        found = {int(a): int(b) for a, b in zip(first, second, strict=True) if shared[a, b] >= LEAST_OVERLAP}
        for row in must:
            self._follow(there[row]["person"], numbers[found[row]] if row in found else None)
        for row, column in found.items():
            if row in must:
                self.pairs[there[row]["person"], numbers[column]] += 1
        claimed = set(found.values())
        for column, number in enumerate(numbers):
            hardly = any(shared[row, column] >= 0.3 for row in range(len(there)) if row not in must)
            if column not in claimed and not hardly:
                self.extra += 1
            if column in claimed or not hardly:
                self.tracked[number] += 1

    def _follow(self, person: int, number: int | None) -> None:
        self.truths += 1
        self.lengths[person] += 1
        if number is None:
            self._was[person] = False
            return
        self.hits += 1
        before = self._with.get(person)
        if before is not None and before != number:
            self.switches += 1
        if before is not None and not self._was.get(person, True):
            self.fragments += 1
        self._with[person], self._was[person] = number, True

    def figures(self) -> dict[str, float]:
        """What is reported, 0..1 where it is a share."""
        misses = self.truths - self.hits
        true_pairs = self._identified()
        return {
            "recall": self.hits / max(1, self.truths),
            "precision": self.hits / max(1, self.hits + self.extra),
            "mota": 1 - (misses + self.extra + self.switches) / max(1, self.truths),
            "idf1": 2 * true_pairs / max(1, self.truths + sum(self.tracked.values())),
            "switches": self.switches,
            "fragments": self.fragments,
            "people": len(self.lengths),
            "tracks": len(self.tracked),
        }

    def owners(self) -> dict[int, int]:
        """The person that each track shows most."""
        votes: dict[int, Counter[int]] = defaultdict(Counter)
        for (person, number), count in self.pairs.items():
            votes[number][person] += count
        return {number: counter.most_common(1)[0][0] for number, counter in votes.items()}

    def _identified(self) -> int:
        people, numbers = sorted(self.lengths), sorted(self.tracked)
        if not people or not numbers:
            return 0
        table = np.array([[self.pairs[person, number] for number in numbers] for person in people])
        first, second = linear_sum_assignment(-table)
        return int(table[first, second].sum())


def inside(box: list[float], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """A box as far as the frame shows it; None if that is less than half."""
    x0, y0, x1, y1 = box
    a, b, c, d = max(0.0, x0), max(0.0, y0), min(float(size[0]), x1), min(float(size[1]), y1)
    whole = (x1 - x0) * (y1 - y0)
    return (a, b, c, d) if c > a and d > b and (c - a) * (d - b) >= 0.5 * whole else None
