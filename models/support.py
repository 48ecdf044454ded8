"""How far a picture bears a phrase out, as a number that means the same for each phrase."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_THINGS = 0.5
"""Weight of other things beside other colours. Chosen on synthetic people, as is the whole formula:
`python -m training pointing` measures it."""
_NARROWEST = 1e-6


def support(score: float, colours: Sequence[float], things: Sequence[float], common: Sequence[float]) -> float:
    """How far a phrase stands out from others on the same picture: in [0, 1], 0.5 where it is one of many.

    The normal distribution function of margin / spread. The margin is by how much the phrase beats, on average, the
    same thing in other colours and, with half the weight, other things in its colour; a phrase without a colour must
    beat the common phrases. The spread is the standard deviation of the common phrases. Not a probability that the
    phrase is true: nothing was learnt from data about that.

    Args:
        score: cosine of phrase and picture.
        colours, things: cosines of `descriptions.things.Alternatives` and the same picture; may be empty.
        common: cosines of `descriptions.things.COMMON` and the same picture; not empty.
    """
    usual = np.asarray(common, np.float64)
    if colours:
        margins = [(1.0, score - _mean(colours)), *([(_THINGS, score - _mean(things))] if things else [])]
        margin = sum(weight * found for weight, found in margins) / sum(weight for weight, _ in margins)
    else:
        margin = score - _mean(usual)
    spread = max(float(usual.std()), _NARROWEST)
    return 0.5 * (1.0 + math.erf(margin / spread / math.sqrt(2.0)))


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.mean(np.asarray(values, np.float64)))
