"""From one engine to another: load the other one from the log, and compare the answers of both."""

from dataclasses import dataclass

import numpy as np

from app.database.sessions import Database
from app.errors import EnginesDifferError
from app.vectors.repository import LogRepository
from app.vectors.view import Progress, VectorView

SAMPLE, DEPTH = 32, 100
"""Queries that both engines are asked, and answers to each that are compared."""
_ROUNDS = 5
"""Comparisons while others write, before that is given up."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One view that the new engine holds.

    Attributes:
        vectors: how many, in the new engine, in the old one and in the database alike.
        sequence: up to which number of the log.
        compared: queries to which both gave the same ids and scores.
    """

    version_id: int
    space: str
    vectors: int
    sequence: int
    compared: int


def move_view(database: Database, old: VectorView, new: VectorView, progress: Progress) -> Moved:
    """Load a view into the new engine and compare it with the old one. May be killed and called again.

    Args:
        progress: told the number of vectors that the new engine has so far.

    Raises:
        EnginesDifferError: they do not answer alike.
    """
    new.open(progress)
    old.open()
    for _ in range(_ROUNDS):
        old.catch_up()
        new.catch_up()
        head, wrong, compared = _compare(database, old, new)
        if wrong is None:
            return Moved(new.version_id, new.key.space, new.count, new.sequence, compared)
        if old.sequence == new.sequence == head:
            break  # nothing was written meanwhile that would explain it
    raise EnginesDifferError(
        f"version {new.version_id}, {new.key.space}: {wrong}; `descry index rebuild` with one of the two engines "
        "configured loads that one anew"
    )


def _compare(database: Database, old: VectorView, new: VectorView) -> tuple[int, str | None, int]:
    """The head of the log at the end, what differs, and how many queries were compared."""
    with database.read() as session:
        log = LogRepository(session)
        stored = log.count(new.version_id, new.key.space)
        queries = log.sample(new.version_id, new.key.space, new.key.dim, SAMPLE).astype(np.float32)
    counts = {"the database": stored, "the old engine": old.count, "the new engine": new.count}
    wrong = None
    if len(set(counts.values())) > 1:
        wrong = ", ".join(f"{who} has {count} vectors" for who, count in counts.items())
    else:
        pairs = ((old.search(query, DEPTH), new.search(query, DEPTH)) for query in queries)
        differ = sum(not (np.array_equal(a.ids, b.ids) and np.array_equal(a.scores, b.scores)) for a, b in pairs)
        if differ:
            wrong = f"{differ} of {len(queries)} sample queries get different answers from the two engines"
    with database.read() as session:
        return LogRepository(session).head().sequence, wrong, len(queries)
