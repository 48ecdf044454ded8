"""The images of a version in the order in which a query wants them."""

from collections.abc import Mapping
from typing import Protocol

from app.registry.active import LoadedModel
from app.search.fused import FusedRanking
from app.search.query import Part, Query
from app.search.schemas import PartScore
from app.vectors.contract import Hits, Ids


class Order(Protocol):
    """Every image has one score. The first k, and the scores of some, come out of the same order."""

    def search(self, k: int) -> Hits:
        """The best k images."""

    def among(self, ids: Ids, k: int) -> Hits:
        """The best k of the given images, each of which is given once; those that do not exist are left out."""

    def scores(self, ids: Ids) -> Hits:
        """The given images with their scores, ranked; those that do not exist are left out."""


class Ranking(Order, Protocol):
    """An order of which it may be known what the scores mean."""

    @property
    def calibrated(self) -> bool:
        """Whether it is known what the scores mean."""

    @property
    def weak_below(self) -> float | None:
        """The score below which a candidate is rather not the person."""

    def confidence(self, score: float) -> float | None:
        """The probability, 0 to 1, that a candidate with this score is the person; None without calibration."""

    def shown(self, score: float) -> float:
        """A score as the answer says it."""

    def catch_up(self, sequence: int) -> None:
        """Let it see the log up to a number."""

    def explained(self, ids: Ids) -> Mapping[int, list[PartScore]]:
        """How each part of the query contributed to the scores of some images; nothing where there is one part."""


class PartRanking:
    """By the cosine with one vector."""

    def __init__(self, model: LoadedModel, part: Part) -> None:
        self._vector, self._view = part.vector, model.view(part.space)
        self._curve = None if part.learnt else model.curves.get(part.space)

    @property
    def calibrated(self) -> bool:
        return self._curve is not None

    @property
    def weak_below(self) -> float | None:
        return None if self._curve is None else self._curve.weak_below

    def confidence(self, score: float) -> float | None:
        return None if self._curve is None else round(self._curve(score), 4)

    def shown(self, score: float) -> float:
        # Vectors are kept in half precision, so that their length, and with it a cosine, may be 1.000005.
        return max(-1.0, min(1.0, score))

    def catch_up(self, sequence: int) -> None:
        self._view.catch_up(sequence)

    def search(self, k: int) -> Hits:
        return self._view.search(self._vector, k)

    def among(self, ids: Ids, k: int) -> Hits:
        return self._view.among(self._vector, ids, k)

    def scores(self, ids: Ids) -> Hits:
        return self._view.scores(self._vector, ids)

    def explained(self, ids: Ids) -> Mapping[int, list[PartScore]]:
        return {}


def ranking_of(model: LoadedModel, query: Query) -> Ranking:
    """The order in which a query wants the images of a version."""
    if len(query.parts) == 1 and not query.composed:
        return PartRanking(model, query.parts[0])
    views = {part.space: model.view(part.space) for part in query.parts}
    return FusedRanking(query.parts, views, model.curves)
