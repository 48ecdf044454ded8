"""Scores to probabilities: fitted on the first candidates of queries whose answer is known, as a page shows them.

Isotonic regression where there is enough of both, right and wrong candidates; else Platt's sigmoid; else nothing.
(Platt, Probabilistic outputs for support vector machines, 1999; Zadrozny and Elkan, Transforming classifier scores
into accurate multiclass probability estimates, 2002.) Here, because a training and the service calibrate alike, the one
on a split, the other on its gallery. Beside `models.confidence`, which is all that an answer needs.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import Tensor

from models.confidence import ConfidenceCurve, CurveKind

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Points = tuple[Floats, Floats]
DEPTH = 10
"""Candidates of a query that count: a page."""
_ENOUGH, LEAST = 500, 20
"""Candidates of either outcome that isotonic regression wants, and the sigmoid."""
_FOLDS, _BINS, _BLOCK, _MOST_POINTS = 5, 10, 256, 200
_SURE = 1e-3
"""No candidate is certain, nor out of the question."""


def first_candidates(
    scores: Callable[[int, int], Tensor], ids: Integers, gallery: Integers, own: Integers
) -> tuple[Floats, npt.NDArray[np.bool_], Integers]:
    """The first `DEPTH` candidates of each query whom the gallery holds at all.

    Args:
        scores: (first, last) -> (last - first, G) scores of those queries.
        ids: (Q,) whom the queries are of.
        gallery: (G,) whom the images show.
        own: (Q,) a row of the gallery that is left out for each query, or -1.

    Returns:
        Of each candidate: its score (that of its best image), whether it is right, and the number of its query.
    """
    people, members, sizes = np.unique(gallery, return_inverse=True, return_counts=True)
    counts = dict(zip(people.tolist(), sizes.tolist(), strict=True))
    parts: list[tuple[Floats, npt.NDArray[np.bool_], Integers]] = []
    for start in range(0, len(ids), _BLOCK):
        last = min(start + _BLOCK, len(ids))
        block = scores(start, last).clone()
        mine = own[start:last]
        block[torch.from_numpy(np.flatnonzero(mine >= 0)), torch.from_numpy(mine[mine >= 0])] = -np.inf
        best = torch.full((len(block), len(people)), -torch.inf)
        best.scatter_reduce_(1, torch.from_numpy(members).expand(len(block), -1), block, "amax")
        top = best.topk(min(DEPTH, len(people)), dim=1)
        values, found = top.values.double().numpy(), people[top.indices.numpy()]
        wanted = ids[start:last, None]
        others = np.array([counts.get(one, 0) for one in ids[start:last].tolist()]) - (mine >= 0)
        kept = np.isfinite(values) & (others > 0)[:, None]
        numbers = np.broadcast_to(np.arange(start, last)[:, None], values.shape)
        parts.append((values[kept], (found == wanted)[kept], numbers[kept]))
    if not parts:
        return np.empty(0), np.empty(0, np.bool_), np.empty(0, np.int64)
    every = [np.concatenate([part[place] for part in parts]) for place in range(3)]
    return every[0], every[1].astype(np.bool_), every[2].astype(np.int64)


def fit_curve(
    scores: Floats, right: npt.NDArray[np.bool_], queries: Integers, *, data: str, split: str, identities: int
) -> ConfidenceCurve | None:
    """A curve through candidates, (N,) each; None if they are too few to say anything."""
    fewer = min(int(right.sum()), int((~right).sum()))
    if fewer < LEAST or len(np.unique(queries)) < _FOLDS:
        return None
    kind: CurveKind = "isotonic" if fewer >= _ENOUGH else "platt"
    left_out = np.empty(len(scores))
    for learn, judge in GroupKFold(_FOLDS).split(scores, right, queries):
        left_out[judge] = np.interp(scores[judge], *_points(kind, scores[learn], right[learn]))
    points = _points(kind, scores, right)
    return ConfidenceCurve(
        kind=kind,
        scores=tuple(np.round(points[0], 5).tolist()),
        probabilities=tuple(np.round(points[1], 5).tolist()),
        data=data,
        split=split,
        queries=len(np.unique(queries)),
        identities=identities,
        depth=DEPTH,
        error=round(calibration_error(left_out, right), 4),
        brier=round(float(((left_out - right) ** 2).mean()), 4),
    )


def calibration_error(probabilities: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error of (N,) probabilities: mean distance from what came true, over bins of equal size."""
    bins = np.array_split(np.argsort(probabilities, kind="stable"), _BINS)
    return float(sum(len(b) * abs(probabilities[b].mean() - right[b].mean()) for b in bins if len(b)) / len(right))


def _points(kind: CurveKind, scores: Floats, right: npt.NDArray[np.bool_]) -> Points:
    if kind == "isotonic":
        rising = IsotonicRegression(y_min=_SURE, y_max=1 - _SURE, out_of_bounds="clip").fit(scores, right)
        chosen = np.unique(np.linspace(0, len(rising.X_thresholds_) - 1, _MOST_POINTS).round().astype(int))
        return rising.X_thresholds_[chosen].astype(np.float64), rising.y_thresholds_[chosen].astype(np.float64)
    line = LogisticRegression(C=1e6).fit(scores[:, None], right)
    slope, shift = max(float(line.coef_[0, 0]), 1e-6), float(line.intercept_[0])
    odds = np.linspace(np.log(_SURE / (1 - _SURE)), np.log((1 - _SURE) / _SURE), 65)
    return (odds - shift) / slope, 1 / (1 + np.exp(-odds))
