"""CMC Rank-k, mAP and mINP from the ranks of the relevant images alone (methods.md 3).

Nothing but those ranks enters the metrics, and a rank is a count: one more than the images that score higher or, at the
same score, stand earlier in the gallery. So each block of queries is sorted by value, never by index, and the ranks are
looked up. Ties go to the lower gallery index, whatever the block.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training.errors import EvaluationError, NothingRelevantError

CURVE = 50
_SCORES = 1 << 23  # of a block: 16 bytes each, in double precision, as they are ranked, and sorted
Integers = npt.NDArray[np.int64]
Protocol = Literal["text_to_image", "image_to_image", "image_to_image_without_cameras"]
AveragePrecision = Literal["standard", "trapezoid"]
PROTOCOLS: dict[str, str] = {
    "text_to_image": "text to image: every description against every image",
    "image_to_image": "image to image: the same person by the same camera is removed",
    "image_to_image_without_cameras": "image to image: no cameras known, so only the query's own picture is removed",
}
"""What each protocol is called where people read it."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Retrieval quality over the queries that have at least one relevant image; all values in percent.

    Attributes:
        r1, r5, r10: share of queries with a relevant image among the first 1, 5, 10.
        mean_ap: mean average precision, see `average_precision`.
        mean_inp: mean inverse negative penalty; relevant images / rank of the last one.
        queries: queries that were counted.
        skipped: queries without a relevant image in the gallery, which have no defined AP.
        curve: CMC at ranks 1 to 50.
        protocol: what was asked, and what was removed from the gallery.
        average_precision: "standard" is the mean over relevant images of (hits so far / rank); "trapezoid" takes the
            mean of the precisions at the hit and just before it (Market-1501's Matlab code, LGUR). They are different
            numbers: compare like with like.
    """

    r1: float
    r5: float
    r10: float
    mean_ap: float
    mean_inp: float
    queries: int
    skipped: int
    curve: tuple[float, ...]
    protocol: Protocol = "text_to_image"
    average_precision: AveragePrecision = "standard"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, under the field's names (R@1, mAP, ...)."""
        data = asdict(self)
        names = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "mean_ap": "mAP", "mean_inp": "mINP"}
        return {names.get(key, key): list(value) if key == "curve" else value for key, value in data.items()}


@dataclass(frozen=True, slots=True)
class Removal:
    """Of a query's own identity, the gallery images with the query's key are removed: cameras, or pictures.

    Attributes:
        query_keys, gallery_keys: (Q,) and (G,).
    """

    query_keys: Integers
    gallery_keys: Integers


def retrieval_metrics(
    similarity: Callable[[int, int], Tensor],
    query_ids: Integers,
    gallery_ids: Integers,
    *,
    removal: Removal | None = None,
    protocol: Protocol = "text_to_image",
    average_precision: AveragePrecision = "standard",
    block: int | None = None,
) -> Metrics:
    """Rank the gallery for each query and measure.

    Args:
        similarity: (first, last) -> (last - first, G) float scores of those queries; higher is better.
        query_ids, gallery_ids: identities, (Q,) and (G,).
        removal: what is taken out of the gallery before ranking, query by query.
        block: queries ranked at once; None takes as many as keep the memory near 130 MB, whatever the gallery.

    Raises:
        NothingRelevantError: no query has a relevant gallery image.
        EvaluationError: a score is not a number.
    """
    ranked = relevant_ranks(similarity, query_ids, gallery_ids, removal=removal, block=block)
    return _summary(list(ranked.values()), len(query_ids) - len(ranked), protocol, average_precision)


def relevant_ranks(
    similarity: Callable[[int, int], Tensor],
    query_ids: Integers,
    gallery_ids: Integers,
    *,
    removal: Removal | None = None,
    block: int | None = None,
) -> dict[int, Integers]:
    """Ascending ranks from 1 of the relevant images, for each query that has any; see `retrieval_metrics`.

    Raises:
        NothingRelevantError: no query has a relevant gallery image.
        EvaluationError: a score is not a number.
    """
    members = _Members(gallery_ids)
    block = block or min(512, max(1, _SCORES // max(1, len(gallery_ids))))
    ranked: dict[int, Integers] = {}
    for start in range(0, len(query_ids) if len(gallery_ids) else 0, block):
        scores = similarity(start, min(start + block, len(query_ids))).cpu().numpy()
        ordered = np.sort(scores, axis=1)
        if np.isnan(ordered[:, -1]).any():
            raise EvaluationError("a score is not a number: the encoder gave vectors that are none")
        for row, query in enumerate(range(start, start + len(scores))):
            items = members.of(int(query_ids[query]))
            removed = removal.gallery_keys[items] == removal.query_keys[query] if removal else None
            if len(items) and (removed is None or not removed.all()):
                ranked[query] = _kept(_ranks(scores[row], ordered[row], items), removed)
    if not ranked:
        raise NothingRelevantError(f"none of the {len(query_ids)} queries has a relevant image in the gallery")
    return ranked


def _summary(ranked: list[Integers], skipped: int, protocol: Protocol, average_precision: AveragePrecision) -> Metrics:
    first = np.array([ranks[0] for ranks in ranked])
    curve = tuple(float((first <= k).mean() * 100) for k in range(1, CURVE + 1))
    precision = {"standard": _standard, "trapezoid": _trapezoid}[average_precision]
    return Metrics(
        r1=curve[0],
        r5=curve[4],
        r10=curve[9],
        mean_ap=float(np.mean([precision(ranks) for ranks in ranked]) * 100),
        mean_inp=float(np.mean([len(ranks) / ranks[-1] for ranks in ranked]) * 100),
        queries=len(ranked),
        skipped=skipped,
        curve=curve,
        protocol=protocol,
        average_precision=average_precision,
    )


class _Members:
    """Gallery indices by identity."""

    def __init__(self, gallery_ids: Integers) -> None:
        order = np.argsort(gallery_ids, kind="stable")
        identities, starts = np.unique(gallery_ids[order], return_index=True)
        self._by: dict[int, Integers] = {}
        if len(order):
            self._by.update(zip(identities.tolist(), np.split(order, starts[1:]), strict=True))
        self._none = np.empty(0, dtype=np.int64)

    def of(self, identity: int) -> Integers:
        """Ascending."""
        return self._by.get(identity, self._none)


def _ranks(scores: npt.NDArray[Any], ordered: npt.NDArray[Any], items: Integers) -> Integers:
    """(n,) ranks from 1 of the gallery images `items`, among all of one query's (G,) scores; `ordered` ascends."""
    own = scores[items]
    after = np.searchsorted(ordered, own, side="right")
    ranks: Integers = len(ordered) - after + 1
    tied = after - np.searchsorted(ordered, own, side="left") > 1
    if tied.any():
        for value in np.unique(own[tied]):
            equal = own == value
            ranks[equal] += np.searchsorted(np.flatnonzero(scores == value), items[equal])
    return ranks


def _kept(ranks: Integers, removed: npt.NDArray[np.bool_] | None) -> Integers:
    """Ascending ranks of the images that stay, counted without those that were removed."""
    order = np.argsort(ranks)
    ranks = ranks[order]
    if removed is None or not removed.any():
        return ranks
    gone = removed[order]
    kept: Integers = (ranks - np.cumsum(gone))[~gone]
    return kept


def average_precision_of(ranks: Integers) -> float:
    """Average precision, in [0, 1], from the ascending ranks of the relevant images: mean of hits so far / rank."""
    return _standard(ranks)


def _standard(ranks: Integers) -> float:
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _trapezoid(ranks: Integers) -> float:
    hits = np.arange(1, len(ranks) + 1)
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float(((before + hits / ranks) / 2).mean())
