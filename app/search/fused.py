"""Queries of several parts: one exact order of all images by what the parts say together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.search.query import Part
from app.search.schemas import PartScore
from app.vectors.contract import Hits, Ids
from models.confidence import ConfidenceCurve
from models.encoder import Space
from models.fusion import Floats, Fusion

_FIRST, _GROWTH = 64, 4
_MARGIN = 5e-6
"""Relative to the sizes that are summed: above any difference between the sum of rounded cosines and one product with
the summed vector."""


class Searched(Protocol):
    """What a view does for a ranking."""

    def catch_up(self, sequence: int | None = None) -> None:
        """Apply the log up to a number."""

    def search(self, query: npt.NDArray[np.float32], k: int) -> Hits:
        """The best k images."""

    def scores(self, query: npt.NDArray[np.float32], ids: Ids) -> Hits:
        """Scores of the given images."""


@dataclass(frozen=True, slots=True)
class _List:
    """All parts that are asked for in one view, as one vector: the list of its best images bounds the others.

    Attributes:
        direction: (dim,) unit-norm; a part's where the parts cancel each other out.
        length: what a cosine with it is worth; 0 where they cancel out.
        rest: what the parts may say beyond that.
        most: what the parts would say if all their cosines were 1.
    """

    view: Searched
    direction: npt.NDArray[np.float32]
    length: float
    rest: float
    most: float


class FusedRanking:
    """By what all parts say together (`models.fusion`), each in its own space.

    Exact. What is asked for is linear in cosines, so that the parts in one view are one vector, and the images that its
    search has not given yet say at most as much as the last that it gave. Denied parts only take away. Lists grow
    until the first k images found are above what any other image can reach (Fagin, Lotem and Naor 2001, the threshold
    algorithm), and every score is computed from the parts themselves.

    Args:
        parts: at least one that is not negative.
        views: the view in which parts of a space are scored; both spaces may have the same one.
        curves: what cosines mean, by space. A query with a part in a space without a curve is not calibrated.
    """

    def __init__(
        self, parts: Sequence[Part], views: Mapping[Space, Searched], curves: Mapping[Space, ConfidenceCurve]
    ) -> None:
        self._parts, self._views, self._curves = tuple(parts), dict(views), curves
        self._fusion = Fusion.of(curves, {part.space for part in parts})
        self._total = math.fsum(part.weight for part in parts if not part.negative)
        self._lists = self._combined()

    @property
    def calibrated(self) -> bool:
        return self._fusion.calibrated

    @property
    def weak_below(self) -> float | None:
        return 0.0 if self.calibrated else None

    def confidence(self, score: float) -> float | None:
        return round((1 + math.tanh(score / 2)) / 2, 4) if self.calibrated else None

    def shown(self, score: float) -> float:
        return score

    def catch_up(self, sequence: int) -> None:
        for view in {id(view): view for view in self._views.values()}.values():
            view.catch_up(sequence)

    def search(self, k: int) -> Hits:
        shift = math.fsum(part.weight / self._total * self._fusion.line(part.space).shift for part in self._asked)
        margin = _MARGIN * (1 + abs(shift) + math.fsum(entry.most for entry in self._lists))
        depth = max(_FIRST, 2 * k)
        while True:
            found = [entry.view.search(entry.direction, depth) for entry in self._lists]
            ranked = self.scores(reduce(np.union1d, [hits.ids for hits in found]))
            if any(len(hits.ids) < depth for hits in found):
                break  # a list that ended has named every image
            others = (
                shift
                + margin
                + math.fsum(
                    entry.length * float(hits.scores[-1]) + entry.rest
                    for entry, hits in zip(self._lists, found, strict=True)
                )
            )
            if len(ranked.ids) >= k and float(ranked.scores[k - 1]) > others:
                break
            depth *= _GROWTH
        return Hits(ranked.ids[:k], ranked.scores[:k])

    def among(self, ids: Ids, k: int) -> Hits:
        hits = self.scores(ids)
        return Hits(hits.ids[:k], hits.scores[:k])

    def scores(self, ids: Ids) -> Hits:
        found, cosines = self._cosines(ids)
        scores = self._contributions(cosines).sum(axis=0).astype(np.float32)
        order = np.lexsort((found, -scores))
        return Hits(found[order], scores[order])

    def explained(self, ids: Ids) -> dict[int, list[PartScore]]:
        found, cosines = self._cosines(ids)
        given = self._contributions(cosines)
        return {
            image: [self._told(row, float(cosines[row, at]), float(given[row, at])) for row in range(len(self._parts))]
            for at, image in enumerate(found.tolist())
        }

    @property
    def _asked(self) -> list[Part]:
        return [part for part in self._parts if not part.negative]

    def _combined(self) -> list[_List]:
        by_view: dict[int, tuple[Searched, list[Part]]] = {}
        for part in self._asked:
            view = self._views[part.space]
            by_view.setdefault(id(view), (view, []))[1].append(part)
        return [self._list(view, parts) for view, parts in by_view.values()]

    def _list(self, view: Searched, parts: list[Part]) -> _List:
        worth = [part.weight / self._total * self._fusion.line(part.space).slope for part in parts]
        summed = reduce(np.add, [w * part.vector.astype(np.float64) for w, part in zip(worth, parts, strict=True)])
        length, most = float(np.linalg.norm(summed)), math.fsum(worth)
        if length < 1e-3 * most:  # too short for a direction in single precision
            return _List(view, parts[0].vector, 0.0, 1.001 * length + 1e-6 * most, most)
        return _List(view, (summed / length).astype(np.float32), length, 0.0, most)

    def _cosines(self, ids: Ids) -> tuple[Ids, Floats]:
        """Those images that every view has, ascending, and (parts, n) products with the parts' vectors."""
        found = [self._views[part.space].scores(part.vector, ids) for part in self._parts]
        common = reduce(np.intersect1d, [hits.ids for hits in found])
        rows = np.empty((len(found), len(common)), np.float64)
        for row, hits in zip(rows, found, strict=True):
            order = np.argsort(hits.ids)
            row[:] = hits.scores[order[np.searchsorted(hits.ids, common, sorter=order)]]
        return common, rows

    def _contributions(self, cosines: Floats) -> Floats:
        """(parts, n): what each part adds to the score of each image."""
        given = np.empty_like(cosines)
        for row, part, told in zip(given, self._parts, cosines, strict=True):
            if part.negative:
                row[:] = -part.weight * self._fusion.denial(part.space, told)
            else:
                row[:] = part.weight / self._total * self._fusion.support(part.space, told)
        return given

    def _told(self, row: int, cosine: float, contribution: float) -> PartScore:
        part = self._parts[row]
        curve = self._curves.get(part.space) if self.calibrated else None
        words_denied = part.negative and part.space == "text"
        return PartScore(
            part=sum(other.negative == part.negative for other in self._parts[:row]),
            negative=part.negative,
            score=round(cosine, 6),
            confidence=None if curve is None or words_denied else round(curve(cosine), 4),
            contribution=round(contribution, 6),
        )
