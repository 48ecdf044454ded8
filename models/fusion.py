"""Several parts of one query in one score: what each part says in log-odds, and what a denied part takes away.

A part that is asked for says log-odds: those of the straight line through its space's calibration curve, by the cosine
of part and image. Isotonic curves are level for long stretches and would lose the order there; the line is the same
statement without them. Parts are averaged by weight, so that their mean is a statement of the same kind, whose logistic
is a probability: parts agree more often than independent ones would, and a sum would be too sure.

A part that is denied takes 2 w log(1 + e^d) away: about nothing from images that lack it, and the more the surer it is
that they show it. With 1 / (1 + e^d) = 1 - p this is -2 w log(1 - p). For a picture d are the log-odds of its space,
that both show one person. For words d is a quarter of the line's slope times the difference of two cosines, of the
image with "a person with a red hat" and with "a person": the bare words pull everything else along that a description
says. Without calibration, cosines take the place of log-odds, and a denial is linear above 0.

All constants were measured (docs/decisions/0017-composed.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.confidence import ConfidenceCurve
from models.descriptions import lexicon, parse
from models.encoder import Space

Floats = npt.NDArray[np.float64]
ANYBODY = "a person"
"""What a denied thing is told from: words for an image of which nothing is known."""
DENIAL = 2.0
"""How much a denied part takes away at weight 1, in units of -log(1 - p)."""
_WORDS_SLOPE = 0.25
"""Slope of the log-odds that words of one thing are true, relative to that of a whole description."""
_PLAIN_WORDS, _PLAIN_PICTURE = 0.5, 0.1
"""Without calibration: what a denied part takes away, in cosines."""
_SURE = 2e-3
"""Nearer to 0 and 1 a curve is level because it was cut there."""
_LEADS = ("with", "without", "wearing", "in", "carrying", "holding", "has", "having", "wears", "dressed", "who")


@dataclass(frozen=True, slots=True)
class Line:
    """Log-odds by cosine: `slope` (above 0) times the cosine, plus `shift`."""

    slope: float
    shift: float


@lru_cache(maxsize=16)
def line_of(curve: ConfidenceCurve) -> Line | None:
    """The straight line through a curve's log-odds, least squares; None if the curve never rises."""
    scores, chances = np.asarray(curve.scores, np.float64), np.asarray(curve.probabilities, np.float64)
    inside = (chances > _SURE) & (chances < 1 - _SURE)
    if len(np.unique(scores[inside])) < 2:
        return None
    odds = np.log(chances[inside] / (1 - chances[inside]))
    slope, shift = np.polyfit(scores[inside], odds, 1)
    return Line(float(slope), float(shift)) if slope > 0 else None


@dataclass(frozen=True, slots=True)
class Fusion:
    """How cosines of parts become one score.

    Attributes:
        lines: by the space of the part; a part whose space has none makes the whole query uncalibrated.
    """

    lines: Mapping[Space, Line]

    @classmethod
    def of(cls, curves: Mapping[Space, ConfidenceCurve], spaces: set[Space]) -> "Fusion":
        """For a query with parts in these spaces: calibrated if all of them are."""
        lines = {space: line for space in spaces if space in curves and (line := line_of(curves[space])) is not None}
        return cls(lines if set(lines) == spaces else {})

    @property
    def calibrated(self) -> bool:
        """Whether scores are log-odds; else they are cosines."""
        return bool(self.lines)

    def line(self, space: Space) -> Line:
        """What a part says by its cosine."""
        return self.lines.get(space, Line(1.0, 0.0))

    def support(self, space: Space, cosines: Floats) -> Floats:
        """What a part says for images with these cosines."""
        line = self.line(space)
        return line.slope * cosines + line.shift

    def denial(self, space: Space, likeness: Floats) -> Floats:
        """What a denied part takes away at weight 1, never below 0.

        Args:
            likeness: for a picture its cosines; for words those with the difference of `in_person` and `ANYBODY`.
        """
        if not self.calibrated:
            return (_PLAIN_WORDS if space == "text" else _PLAIN_PICTURE) * np.maximum(0.0, likeness)
        line = self.line(space)
        odds = line.slope * likeness * _WORDS_SLOPE if space == "text" else line.slope * likeness + line.shift
        return DENIAL * np.logaddexp(0.0, odds)


def in_person(thing: str) -> str:
    """Words for a thing as a description of somebody who has it: "a person with a red hat"; a description stays."""
    graph = parse(thing)
    if any(entity.head.of(thing).lower() in lexicon.PEOPLE for entity in graph.entities):
        return thing
    first = thing.split(maxsplit=1)[0].lower() if thing.strip() else ""
    return f"{ANYBODY} {thing}" if first in _LEADS else f"{ANYBODY} with {thing}"
