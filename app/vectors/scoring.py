"""The one way in which scores are computed, whatever engine found the candidates."""

import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Hits, Ids

MARGIN = 1e-4
"""Above any difference between an engine's fp32 sum and the double-precision one for unit vectors (about 1e-6)."""


def ranked(query: NDArray[np.float32], ids: Ids, vectors: NDArray[np.float32], k: int) -> Hits:
    """Exact scores, the same for equal vectors wherever they lie: a matrix product would not promise that."""
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
    order = np.lexsort((ids, -scores))[:k]
    return Hits(ids[order], scores[order])
