"""From a score to a probability: the section `confidence` of a calibration.

For each space, the probability that a candidate on the first page is the person who was asked for, by its score. It
holds for galleries like the split that it was learnt on: twice as many people make every candidate less likely.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from models.encoder import SPACES, Space

CurveKind = Literal["isotonic", "platt"]
KINDS: tuple[CurveKind, ...] = ("isotonic", "platt")
_WEAK = 0.5
"""Below it a candidate is rather not the person than it is."""


@dataclass(frozen=True, slots=True)
class ConfidenceCurve:
    """Probabilities at some scores; linear between them, level beyond.

    Attributes:
        kind: how it was fitted.
        scores: cosines, ascending.
        probabilities: in [0, 1], never falling.
        data, split, queries, identities, depth: what it was fitted on: the first `depth` candidates of each query.
        error, brier: expected calibration error (10 bins of equal size) and Brier score, on queries that were left out
            of the fit, in [0, 1].
    """

    kind: CurveKind
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    data: str
    split: str
    queries: int
    identities: int
    depth: int
    error: float
    brier: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the curve is {self.kind!r}, not one of {', '.join(KINDS)}")
        scores, chances = np.asarray(self.scores, np.float64), np.asarray(self.probabilities, np.float64)
        if scores.ndim != 1 or scores.shape != chances.shape or not len(scores):
            raise ValueError("a curve has as many probabilities as scores, and at least one")
        if not (np.isfinite(scores).all() and (np.diff(scores) >= 0).all()):
            raise ValueError("the scores of a curve are numbers in ascending order")
        if not (((chances >= 0) & (chances <= 1)).all() and (np.diff(chances) >= 0).all()):
            raise ValueError("the probabilities of a curve lie in [0, 1] and never fall")

    def __call__(self, score: float) -> float:
        """The probability at a score (cosine)."""
        return float(np.interp(score, self.scores, self.probabilities))

    @property
    def weak_below(self) -> float | None:
        """The score below which a candidate is rather not the person; None if the curve never gets beyond that."""
        strong = [place for place, chance in enumerate(self.probabilities) if chance >= _WEAK]
        if not strong:
            return None
        at = strong[0]
        if at == 0:
            return float(self.scores[0])
        return float(np.interp(_WEAK, self.probabilities[at - 1 : at + 1], self.scores[at - 1 : at + 1]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "scores": list(self.scores), "probabilities": list(self.probabilities)}


def confidence_curves(calibration: dict[str, Any]) -> dict[Space, ConfidenceCurve]:
    """The curves of a calibration by the space of the query; empty without the section.

    Raises:
        ValueError, TypeError: it is there and cannot be used.
    """
    section = calibration.get("confidence", {})
    if not isinstance(section, dict) or not set(section) <= set(SPACES):
        raise TypeError(f"`confidence` is not an object with the keys {', '.join(SPACES)}")
    found: dict[Space, ConfidenceCurve] = {}
    for space in SPACES:
        if (curve := section.get(space)) is not None:
            scores, chances = tuple(curve["scores"]), tuple(curve["probabilities"])
            found[space] = ConfidenceCurve(**{**curve, "scores": scores, "probabilities": chances})
    return found
