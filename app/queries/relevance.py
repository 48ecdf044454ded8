"""Learning from verdicts: the vector of a query after somebody has judged candidates of its first answer.

Both ways leave one vector, so that the second answer is found as the first one is. `python -m benchmarks.feedback`
measures them; decision 0019 has the figures by which `rocchio` with these weights is the one in use.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
CONFIRMED, REJECTED = 2.0, 0.0
"""Weights of what was confirmed and of what was rejected, beside the query's own of 1. What was rejected is left out of
the answer; to move the query away from it as well has made answers worse."""


def rocchio(
    query: Vectors, confirmed: Vectors, rejected: Vectors, beta: float = CONFIRMED, gamma: float = REJECTED
) -> Vectors:
    """Towards the mean of what was confirmed, away from the mean of what was rejected (Rocchio 1971, eq 1).

    Args:
        query: (dim,) unit-norm.
        confirmed, rejected: (n, dim) and (m, dim), one row for each verdict; either may have none.

    Returns:
        (dim,) float32, unit-norm; the query itself where nothing was judged.
    """
    moved = query.astype(np.float64)
    if len(confirmed):
        moved = moved + beta * confirmed.mean(axis=0, dtype=np.float64)
    if len(rejected):
        moved = moved - gamma * rejected.mean(axis=0, dtype=np.float64)
    return _unit(moved, query)


def logistic(query: Vectors, confirmed: Vectors, rejected: Vectors, weight: float, c: float) -> Vectors:
    """Along the normal of a plane between what was confirmed, the query among it, and what was rejected.

    Args:
        query, confirmed, rejected: see `rocchio`.
        weight: of the plane's unit normal beside the query.
        c: inverse strength of the regularisation of scikit-learn's `LogisticRegression`.

    Returns:
        (dim,) float32, unit-norm; the query itself where nothing was rejected, for a plane has two sides.
    """
    if not len(rejected):
        return query
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([query[None], confirmed.reshape(-1, len(query)), rejected])
    sides = np.arange(len(rows)) <= len(confirmed)
    normal = LogisticRegression(C=c, class_weight="balanced").fit(rows, sides).coef_[0]
    length = float(np.linalg.norm(normal))
    return _unit(query + weight * normal / length, query) if length > 0 else query


def _unit(vector: NDArray[np.float64], otherwise: Vectors) -> Vectors:
    """At unit norm; the other one where nothing is left of it."""
    length = float(np.linalg.norm(vector))
    return (vector / length).astype(np.float32) if length > 1e-6 else otherwise
