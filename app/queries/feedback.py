"""Verdicts on the candidates of a query, within one unit of work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.audit.note import noted
from app.database.tables import Feedback, now
from app.errors import FeedbackNotFoundError
from app.identities.service import IdentityService
from app.queries.repository import FeedbackRepository
from app.queries.schemas import FeedbackIn, FeedbackList, FeedbackOut


@dataclass(frozen=True, slots=True)
class Judged:
    """What counts of a query's feedback: identities and single images, by verdict.

    An identity that was confirmed is not dropped for an image that was rejected, nor the other way round.
    """

    confirmed: frozenset[int]
    rejected: frozenset[int]
    confirmed_images: frozenset[int]
    rejected_images: frozenset[int]

    def __bool__(self) -> bool:
        return any((self.confirmed, self.rejected, self.confirmed_images, self.rejected_images))


def judged(rows: Iterable[Feedback]) -> Judged:
    """What counts: the latest verdict on each candidate."""
    last = latest(rows)
    kept = {(verdict, whole): set[int]() for verdict in ("confirm", "reject") for whole in (True, False)}
    for (identity_id, image_id), row in last.items():
        kept[row.verdict, image_id is None].add(identity_id if image_id is None else image_id)
    found = {key: frozenset(ids) for key, ids in kept.items()}
    return Judged(found["confirm", True], found["reject", True], found["confirm", False], found["reject", False])


def latest(rows: Iterable[Feedback]) -> dict[tuple[int, int | None], Feedback]:
    """The last verdict on each candidate (identity, image or None)."""
    return {(row.identity_id, row.image_id): row for row in sorted(rows, key=lambda row: row.id)}


class FeedbackService:
    """Gives, lists and takes back verdicts."""

    def __init__(self, session: Session) -> None:
        self._feedback, self._identities = FeedbackRepository(session), IdentityService(session)

    def give(self, query_id: str, verdicts: Sequence[FeedbackIn]) -> FeedbackList:
        """Write verdicts down; the last one on a candidate counts. Returns them.

        Raises:
            IdentityNotFoundError, IdentityMergedError, ImageNotFoundError: one names what does not exist.
        """
        rows: dict[tuple[int, int | None], dict[str, Any]] = {}
        for verdict in verdicts:
            if verdict.image_id is not None:
                identity_id = self._identities.image(verdict.image_id).identity_id
            else:
                identity_id = self._identities.identity(verdict.identity_id or 0).id
            rows[identity_id, verdict.image_id] = {
                "query_id": query_id,
                "identity_id": identity_id,
                "judged_id": identity_id,
                "image_id": verdict.image_id,
                "verdict": verdict.verdict,
                "note": verdict.note,
                "at": now(),
            }
        noted(
            identities=[person for person, _ in rows],
            images=[image for _, image in rows if image is not None],
            facts={"verdicts": [row["verdict"] for row in rows.values()]},
            query_id=query_id,
            notes=[row["note"] for row in rows.values() if row["note"]] or None,
        )
        made = set(self._feedback.add(list(rows.values())))
        return FeedbackList(feedback=[row for row in self.listed(query_id).feedback if row.id in made])

    def listed(self, query_id: str) -> FeedbackList:
        """What was said about a query's candidates."""
        rows = self._feedback.of_query(query_id)
        holding = {row.id for row in latest(rows).values()}
        return FeedbackList(feedback=[FeedbackOut.of(row, counts=row.id in holding) for row in rows])

    def take_back(self, query_id: str, feedback_id: int) -> None:
        """Delete one verdict.

        Raises:
            FeedbackNotFoundError: the query has none of this id.
        """
        if not self._feedback.remove(query_id, feedback_id):
            raise FeedbackNotFoundError(f"query {query_id} has no feedback {feedback_id}")
