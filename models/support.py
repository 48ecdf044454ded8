"""How far a picture bears a phrase out, as a number that means the same for each phrase."""

import math
from collections.abc import Sequence

import numpy as np


def support(score: float, others: Sequence[float]) -> float | None:
    """How far a phrase stands out from others on the same picture: in (0, 1), 0.5 where it is one of many.

    The normal distribution function of (score - mean) / standard deviation. Not a probability that the phrase is true:
    nothing was learnt from data about that.

    Args:
        score: cosine of phrase and picture.
        others: cosines of `descriptions.things.alternatives` and the same picture; None is returned for less than two.
    """
    if len(others) < 2:
        return None
    values = np.asarray(others, np.float64)
    spread = max(float(values.std()), 1e-6)
    return 0.5 * (1.0 + math.erf((score - float(values.mean())) / spread / math.sqrt(2.0)))
