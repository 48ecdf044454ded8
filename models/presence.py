"""Whether the person is in the gallery at all, and which candidate it is: the section `presence` of a calibration.

A confidence is a product of two. How likely the person is there at all follows from the first candidate: its score, and
how many images the score is the best of. For people who are there that does not change with the size of the gallery.
Whether it is this candidate and not another follows from the other candidates of the answer, as a softmax of their
scores: a larger gallery has more who look alike, and it shows in their scores, so that nobody has to count its people.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.encoder import SPACES, Space

DEPTH = 10
"""Candidates of an answer that share the probability."""


@dataclass(frozen=True, slots=True)
class PresenceRule:
    """What the scores of an answer say.

    Attributes:
        slope, crowd, shift: the log odds that the person is there are slope * score + crowd * log(images) + shift, of
            the first candidate and its images, where half of the people who are asked for are there.
        scale: of the scores in the softmax over candidates.
        least: the probability of being there below which there is no good match, in (0, 1).
        words: a description with fewer does not say enough for that: many people would fit it.
        data, split, queries, identities: what it was fitted on. Each query was asked twice: of everybody, and of
            everybody but its person.
        flagged_absent, flagged_present: share of the queries for which it says that there is no good match: rightly,
            when the person was taken out, and wrongly. Of people who were left out of the fit, and of descriptions of
            any length; in [0, 1].
        error, brier: expected calibration error (10 bins of equal size) and Brier score of the confidences of the
            first candidates, over both kinds of query, likewise.
    """

    slope: float
    crowd: float
    shift: float
    scale: float
    least: float
    words: int
    data: str
    split: str
    queries: int
    identities: int
    flagged_absent: float
    flagged_present: float
    error: float
    brier: float

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("data", "split"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise TypeError(f"`{one.name}` of a presence rule is no number")
        if self.slope <= 0 or self.scale <= 0:
            raise ValueError("a higher score cannot make a person less likely: slope and scale are above 0")
        if not 0 < self.least < 1:
            raise ValueError(f"`least` is a probability between 0 and 1, not {self.least}")

    def presence(self, best: float, images: int) -> float:
        """The probability that the person is in what was searched.

        Args:
            best: score (cosine) of the first candidate.
            images: how many images it has in what was searched, at least 1.
        """
        odds = self.slope * best + self.crowd * math.log(max(images, 1)) + self.shift
        return 1 / (1 + math.exp(-min(50.0, max(-50.0, odds))))

    def no_good_match(self, probability: float, words: int | None = None) -> bool:
        """Whether a probability that the person is there, from `presence` or elsewhere, is too small for a match.

        Args:
            words: of the description; None where it has none, or nobody counted them.
        """
        return probability < self.least and (words is None or words >= self.words)

    def confidence(self, score: float, among: Sequence[float], there: float) -> float:
        """The probability that a candidate is the person.

        Args:
            score: of the candidate.
            among: scores of the first `DEPTH` people of the answer, best first; the candidate may be one of them or
                not, and is not more than the first.
            there: the probability that the person is there.
        """
        # Plain numbers: each candidate of each answer is asked, and arrays of ten cost ten times as much.
        raised = sum(math.exp(self.scale * (one - among[0])) for one in among[:DEPTH])
        return there * math.exp(min(0.0, self.scale * (score - among[0]))) / raised

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def presence_rules(calibration: dict[str, Any]) -> dict[Space, PresenceRule]:
    """The rules of a calibration by the space of the query; empty without the section.

    Raises:
        ValueError, TypeError: it is there and cannot be used.
    """
    section = calibration.get("presence", {})
    if not isinstance(section, dict) or not set(section) <= set(SPACES):
        raise TypeError(f"`presence` is not an object with the keys {', '.join(SPACES)}")
    return {space: PresenceRule(**section[space]) for space in SPACES if section.get(space) is not None}
