"""Answers to probabilities: whether the person who is asked for is in the gallery, and which candidate it is.

Every query of a split is asked twice: of the gallery, and of the gallery without its person; of all of its images, and
with only a few of each person. The probability of being there is a logistic regression on the best score and on the
number of images that it is the best of, with Platt's targets, so that a split which separates cleanly
gives no endless slope (Platt 1999, section 2.2). The share of a candidate is a softmax over the first candidates,
whose scale maximises the likelihood of the right one (Guo et al., On calibration of modern neural networks, 2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch import Tensor

from models.confidence_fit import calibration_error
from models.encoder import Space
from models.presence import DEPTH, PresenceRule
from models.tokenizers import words_of
from training.calibration.confidence import questions
from training.evaluation import Embedded, ExactScores

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Question = tuple[ExactScores, Integers, Integers, Integers]
"""See `confidence.questions`."""
MISSED = 0.05
"""Most people who are there that may be called missing, on the split that is calibrated on."""
SHORTEST = 0.05
"""Share of the descriptions that may be shorter than the shortest for which a person is called missing."""
_LEAST_QUERIES, _FOLDS, _BLOCK, _STEEPEST, _SURE = 40, 5, 256, 500.0, 1e-12
_NONE = -np.inf
_FEW = (1, 2)
"""Images of each person in the galleries that are calibrated on beside the whole one."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What each query finds with and without its person, for Q queries whose person the gallery holds.

    Attributes:
        present: (Q, DEPTH) best scores of the first identities, -inf where there are no more.
        right: (Q, DEPTH) which of those is the person.
        absent: (Q, DEPTH) the same scores without the person.
        images: (2, Q) how many images the first identity has, with and without the person; at least 1.
        people: (Q,) who is asked for.
        rows: (Q,) numbers of the queries.
        identities: in the gallery.
    """

    present: Floats
    right: Flags
    absent: Floats
    images: Floats
    people: Integers
    rows: Integers
    identities: int

    def of(self, chosen: Integers | Flags) -> "Pages":
        """Some of the queries."""
        return Pages(
            self.present[chosen],
            self.right[chosen],
            self.absent[chosen],
            self.images[:, chosen],
            self.people[chosen],
            self.rows[chosen],
            self.identities,
        )

    @classmethod
    def joined(cls, several: "Sequence[Pages]") -> "Pages":
        """Those of several galleries; `identities` is their mean."""
        return cls(
            np.concatenate([one.present for one in several]),
            np.concatenate([one.right for one in several]),
            np.concatenate([one.absent for one in several]),
            np.concatenate([one.images for one in several], axis=1),
            np.concatenate([one.people for one in several]),
            np.concatenate([one.rows for one in several]),
            round(float(np.mean([one.identities for one in several]))),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """The numbers of a `PresenceRule`, for many answers at once."""

    slope: float
    crowd: float
    shift: float
    scale: float
    least: float = 0.5

    @classmethod
    def of(cls, rule: PresenceRule) -> "Fit":
        """Those of a rule."""
        return cls(rule.slope, rule.crowd, rule.shift, rule.scale, rule.least)

    def presence(self, scores: Floats, images: Floats) -> Floats:
        """(Q,) probabilities that the person is there, by (Q, DEPTH) scores and (Q,) images of the first identity."""
        odds = self.slope * scores[:, 0] + self.crowd * np.log(images) + self.shift
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))), np.float64)

    def confidences(self, scores: Floats, images: Floats) -> Floats:
        """(Q, DEPTH) confidences, 0 where there is no candidate."""
        found = np.zeros_like(scores)
        some = np.isfinite(scores[:, 0])
        found[some] = self.presence(scores[some], images[some])[:, None] * _shares(scores[some], self.scale)
        return found


def read_pages(question: Question, kept: Flags | None = None) -> Pages:
    """Ask every query of a gallery twice; of the images that are `kept` (G,), by default of all."""
    scores, ids, everybody, own = question
    columns = np.arange(len(everybody)) if kept is None else np.flatnonzero(kept)
    place = np.full(len(everybody) + 1, -1)
    place[columns] = np.arange(len(columns))
    reader = _Reader(everybody[columns])
    asked = np.flatnonzero(np.isin(ids, reader.people))
    parts: list[Pages] = []
    for start in range(0, len(ids), _BLOCK):
        rows = asked[(asked >= start) & (asked < start + _BLOCK)]
        if len(rows):
            block = scores(start, min(start + _BLOCK, len(ids)))[torch.from_numpy(rows - start)]
            parts.append(reader.read(block[:, torch.from_numpy(columns)], ids[rows], place[own[rows]], rows))
    return Pages.joined(parts) if parts else reader.none()


class _Reader:
    """First identities of a gallery (G,)."""

    def __init__(self, gallery: Integers) -> None:
        self.people, self._members, self._counts = np.unique(gallery, return_inverse=True, return_counts=True)

    def read(self, scores: Tensor, ids: Integers, own: Integers, rows: Integers) -> Pages:
        """Scores (Q, G) of queries of people in the gallery, each but for the image `own`, where that is not -1."""
        with_own = np.flatnonzero(own >= 0)
        scores[torch.from_numpy(with_own), torch.from_numpy(own[with_own])] = _NONE
        best = torch.full((len(ids), len(self.people)), _NONE)
        best.scatter_reduce_(1, torch.from_numpy(self._members).expand(len(ids), -1), scores, "amax")
        place = np.searchsorted(self.people, ids)
        every = np.arange(len(ids))
        held = np.isfinite(best[torch.from_numpy(every), torch.from_numpy(place)].numpy())
        present, first = _first(best)
        best[torch.from_numpy(every), torch.from_numpy(place)] = _NONE
        absent, second = _first(best)
        mine = (first == place[:, None])[:, 0] & (own >= 0)
        images = np.stack([self._counts[first[:, 0]] - mine, self._counts[second[:, 0]]]).clip(1).astype(np.float64)
        pages = Pages(present, first == place[:, None], absent, images, ids, rows, len(self.people))
        return pages.of(held)

    def none(self) -> Pages:
        """No query at all."""
        nobody = np.empty(0, np.int64)
        empty = np.empty((0, DEPTH))
        return Pages(empty, empty > 0, empty, np.empty((2, 0)), nobody, nobody, len(self.people))


def _first(best: Tensor) -> tuple[Floats, Integers]:
    top = best.topk(min(DEPTH, best.shape[1]), dim=1)
    room = ((0, 0), (0, DEPTH - top.values.shape[1]))
    return (
        np.pad(top.values.double().numpy(), room, constant_values=_NONE),
        np.pad(top.indices.numpy(), room, constant_values=-1),
    )


def few_of_each(gallery: Integers, most: int, seed: int) -> Flags:
    """(G,) at most so many images of each person, chosen by chance."""
    chance = np.random.default_rng(seed).permutation(len(gallery))
    order = np.lexsort((chance, gallery))
    starts = np.unique(gallery[order], return_index=True, return_inverse=True)
    number = np.arange(len(gallery)) - starts[1][starts[2]]
    kept = np.empty(len(gallery), bool)
    kept[order] = number < most
    return kept


def fit_presence(embedded: Embedded, data: str, split: str) -> dict[Space, PresenceRule]:
    """The rule of each space for which a split has enough queries."""
    found: dict[Space, PresenceRule] = {}
    for space, question in questions(embedded).items():
        everybody = question[2]
        galleries = [None, *(few_of_each(everybody, few, seed=few) for few in _FEW)]
        words = _few_words(embedded.queries) if space == "text" else 0
        rule = fit_rule([read_pages(question, kept) for kept in galleries], words=words, data=data, split=split)
        if rule is not None:
            found[space] = rule
    return found


def _few_words(texts: Sequence[str]) -> int:
    """Words that all but the shortest descriptions have."""
    return int(np.quantile([len(words_of(text)) for text in texts], SHORTEST)) if texts else 0


def fit_rule(galleries: Sequence[Pages], *, words: int = 0, data: str, split: str) -> PresenceRule | None:
    """A rule from the pages of all images of a gallery, then of fewer; None if they are too few to say anything, or a
    higher score does not mean the person."""
    whole = galleries[0]
    if len(whole.people) < _LEAST_QUERIES or min(len(np.unique(whole.people)), whole.identities) < _FOLDS:
        return None
    pages = Pages.joined(galleries)
    if (fit := _fit(pages)) is None:
        return None
    flags, left_out = np.zeros((2, len(whole.people)), bool), np.zeros((2, *whole.present.shape))
    for _, judge in GroupKFold(_FOLDS).split(whole.people, groups=whole.people):
        part = _fit(pages.of(~np.isin(pages.people, whole.people[judge])))
        if part is None:
            return None
        for row, scores in enumerate((whole.present[judge], whole.absent[judge])):
            flags[row, judge] = part.presence(scores, whole.images[row, judge]) < part.least
            left_out[row, judge] = part.confidences(scores, whole.images[row, judge])
    error, brier = calibration_of(whole, left_out[0], left_out[1])
    return PresenceRule(
        slope=round(fit.slope, 4),
        crowd=round(fit.crowd, 4),
        shift=round(fit.shift, 4),
        scale=round(fit.scale, 4),
        least=round(fit.least, 4),
        words=words,
        data=data,
        split=split,
        queries=len(whole.people),
        identities=whole.identities,
        flagged_absent=round(float(flags[1].mean()), 4),
        flagged_present=round(float(flags[0].mean()), 4),
        error=round(error, 4),
        brier=round(brier, 4),
    )


def calibration_of(pages: Pages, present: Floats, absent: Floats) -> tuple[float, float]:
    """Expected calibration error and Brier score of (Q, DEPTH) confidences, over both kinds of query."""
    here, gone = np.isfinite(pages.present), np.isfinite(pages.absent)
    told = np.concatenate([present[here], absent[gone]])
    right = np.concatenate([pages.right[here], np.zeros(int(gone.sum()), bool)])
    return calibration_error(told, right), float(((told - right) ** 2).mean())


def _fit(pages: Pages) -> Fit | None:
    count = len(pages.people)
    some = np.isfinite(pages.absent[:, 0])
    first = np.concatenate([pages.present[:, 0], pages.absent[some, 0]])
    features = np.stack([first, np.log(np.concatenate([pages.images[0], pages.images[1, some]]))], axis=1)
    sure = (count + 1) / (count + 2)
    likely = np.concatenate([np.full(count, sure), np.full(int(some.sum()), 1 - sure)])
    line = LogisticRegression(C=1e6).fit(
        np.tile(features, (2, 1)), np.repeat([1, 0], len(likely)), np.concatenate([likely, 1 - likely])
    )
    found = Fit(float(line.coef_[0, 0]), float(line.coef_[0, 1]), float(line.intercept_[0]), _scale(pages))
    if found.slope <= 0:
        return None
    # Nobody is called missing who is more likely there than not, and few are who are there.
    least = np.quantile(found.presence(pages.present, pages.images[0]), MISSED)
    return replace(found, least=float(min(0.5, least)))


def _scale(pages: Pages) -> float:
    seen = pages.right.any(axis=1)
    scores, right = pages.present[seen], pages.right[seen]
    sure = (len(scores) + 1) / (len(scores) + 2)

    def surprise(scale: float) -> float:
        chance = _shares(scores, scale)[right].clip(_SURE, 1 - _SURE)
        return -float((sure * np.log(chance) + (1 - sure) * np.log(1 - chance)).mean())

    return float(minimize_scalar(surprise, bounds=(1.0, _STEEPEST), method="bounded").x)


def _shares(scores: Floats, scale: float) -> Floats:
    raised = np.exp(scale * (scores - scores[:, :1]))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)
