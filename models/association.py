"""Which images show one person: groups of unit vectors, by agglomeration up to a threshold.

It lives here because two sides must do the same: training calibrates the threshold, the service applies it.

Everything works on similarities of pairs (cosine). With average linkage two groups become one while the mean over all
their pairs is at least the threshold, with complete linkage while the least one is. Both can only join what a chain of
pairs above the threshold connects, so that the connected components of that graph are grouped one by one, exactly, and
the matrix of all pairs is never in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering

from models.calibration import Linkage

MOST_DENSE = 5000
"""Rows that are agglomerated in one matrix (about 0.6 GB while it runs)."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BLOCK = 512
_NEVER = 1e9  # a distance that no mean over pairs brings back under the threshold
_STRICTER = 0.02


@dataclass(frozen=True, slots=True)
class Sightings:
    """What rules out that two rows are one person, whatever they look like.

    Attributes:
        first, last: (N,) float64 seconds, the earliest and latest known instant of a row; NaN where none is known.
        strangers: (P, 2) pairs of rows that are known to be two people.
        window: seconds that a person's images span at most; infinity for no limit.
    """

    first: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]
    strangers: Ints
    window: float = np.inf

    def apart(self, rows: Ints, columns: Ints) -> Bools:
        """(len(rows), len(columns)): True where two rows cannot be one person."""
        if np.isinf(self.window):
            found = np.zeros((len(rows), len(columns)), np.bool_)
        else:
            last = np.fmax(self.last[rows, None], self.last[None, columns])
            found = last - np.fmin(self.first[rows, None], self.first[None, columns]) > self.window
        size = len(self.first)
        row_at, column_at = _places(rows, size), _places(columns, size)
        for one, other in (self.strangers.T, self.strangers.T[::-1]):
            both = (row_at[one] >= 0) & (column_at[other] >= 0)
            found[row_at[one[both]], column_at[other[both]]] = True
        return found


@dataclass(frozen=True, slots=True)
class Groups:
    """What was found.

    Attributes:
        labels: (N,) the group of each row, numbered by first appearance.
        cut: components of more than `MOST_DENSE` rows, which were first cut apart at a stricter threshold: within them
            two groups may have stayed apart that would else have become one.
    """

    labels: Ints
    cut: int


def group(
    vectors: Floats,
    *,
    threshold: float,
    linkage: Linkage = "complete",
    sightings: Sightings | None = None,
    most_dense: int = MOST_DENSE,
) -> Groups:
    """Group the rows of `vectors`, (N, D) and unit-norm, at a cosine threshold in (-1, 1).

    Memory is about 24 bytes x `most_dense` squared, and 40 bytes x 512 x N.

    Raises:
        ValueError: the threshold is out of range.
    """
    if not -1 < threshold < 1:
        raise ValueError(f"a cosine threshold lies between -1 and 1, not {threshold}")
    labels, cut = np.full(len(vectors), -1, np.int64), 0
    used = 0
    pending = [(rows, threshold) for rows in _components(vectors, np.arange(len(vectors)), threshold, sightings)]
    while pending:
        rows, level = pending.pop()
        if len(rows) > most_dense:
            cut += level == threshold
            level += _STRICTER
            parts = _components(vectors, rows, level, sightings) if level < 1 else np.array_split(rows, 2)
            pending += [(part, level) for part in parts]
            continue
        found = _agglomerate(vectors, rows, threshold, linkage, sightings)
        labels[rows] = used + found
        used += int(found.max()) + 1
    return Groups(_by_appearance(labels), cut)


def _components(vectors: Floats, rows: Ints, threshold: float, sightings: Sightings | None) -> Iterator[Ints]:
    """The connected components of the graph of pairs above the threshold, as ascending rows."""
    labels = np.arange(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        near = vectors[block] @ vectors[rows[start:]].T >= threshold
        if sightings is not None:
            near &= ~sightings.apart(block, rows[start:])
        one, other = np.nonzero(near)
        # Components so far are the nodes: nothing grows with the number of pairs but this block's own.
        pairs = np.unique(labels[one + start] * len(rows) + labels[other + start])
        graph = coo_matrix((np.ones(len(pairs)), (pairs // len(rows), pairs % len(rows))), (len(rows), len(rows)))
        labels = connected_components(graph, directed=False)[1][labels].astype(np.int64)
    order = np.argsort(labels, kind="stable")
    yield from np.split(rows[order], np.flatnonzero(np.diff(labels[order])) + 1) if len(rows) else ()


def merges(vectors: Floats, linkage: Linkage) -> tuple[Ints, npt.NDArray[np.float64]]:
    """The whole tree over `vectors` (N, D), N at most `MOST_DENSE`: what `group` does at every threshold.

    Returns:
        (N - 1, 2) the two nodes that each merge joins (rows are 0..N-1, the result of merge i is N + i), and (N - 1,)
        the similarity at which it does, falling.
    """
    if len(vectors) < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    method = _method(linkage, 0.0).fit(_distances(vectors))
    return method.children_.astype(np.int64), 1.0 - method.distances_.astype(np.float64)


def _agglomerate(vectors: Floats, rows: Ints, threshold: float, linkage: Linkage, sightings: Sightings | None) -> Ints:
    if len(rows) == 1:
        return np.zeros(1, np.int64)
    distances = _distances(vectors[rows])
    if sightings is not None:
        distances[sightings.apart(rows, rows)] = _NEVER
        np.fill_diagonal(distances, 0.0)
    # The library joins what is nearer than its limit, and here what is as near as that belongs together too.
    method = _method(linkage, float(np.nextafter(1.0 - threshold, 2.0)))
    return cast("Ints", method.fit_predict(distances).astype(np.int64))


def _distances(vectors: Floats) -> npt.NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    distances = np.clip(1.0 - wide @ wide.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def _method(linkage: Linkage, limit: float) -> Any:  # noqa: ANN401  the library ships no types
    return AgglomerativeClustering(None, metric="precomputed", linkage=linkage, distance_threshold=limit)


def _places(rows: Ints, size: int) -> Ints:
    places = np.full(size, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return places


def _by_appearance(labels: Ints) -> Ints:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
