"""The log: embeddings that were added and images that were deleted, in one sequence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.database.packed import Prepared
from app.database.tables import HEAD_ID, Deletion, Embedding, Head
from app.vectors.contract import Changes, Half

PAGE = 10_000
_HEAD = Prepared(select(Head.sequence, Head.history, Head.active_version_id).where(Head.id == HEAD_ID))


@dataclass(frozen=True, slots=True)
class HeadRow:
    """How far the log goes, which log it is, and which model version answers."""

    sequence: int
    history: str
    active_version_id: int | None


@dataclass(frozen=True, slots=True)
class NewEmbedding:
    """A vector to append: `vector` is (dim,) float16, unit-norm."""

    image_id: int
    model_version_id: int
    space: str
    vector: Half


class LogRepository:
    """Reads and appends the log. Appends belong into a `Database.write` block."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def head(self) -> HeadRow:
        """The present head. The cheapest question there is: each search asks it."""
        return HeadRow(*_HEAD.one(self._session))

    def reserve(self, count: int) -> int:
        """Take `count` sequence numbers and return the first.

        The update locks the head row until the transaction ends, on every database; so commit order is sequence
        order, and no reader can see a number while a smaller one is still to come.
        """
        last = self._session.execute(
            update(Head).where(Head.id == HEAD_ID).values(sequence=Head.sequence + count).returning(Head.sequence)
        ).scalar_one()
        return int(last) - count + 1

    def lock(self) -> HeadRow:
        """Keep every other writer out until the transaction ends; the head then stays as it is returned."""
        self.reserve(0)
        return self.head()

    def activate(self, version_id: int) -> None:
        """Make a model version the one that answers: one row."""
        self._session.execute(update(Head).where(Head.id == HEAD_ID).values(active_version_id=version_id))

    def add(self, embeddings: Sequence[NewEmbedding]) -> None:
        """Append vectors."""
        if not embeddings:
            return
        first = self.reserve(len(embeddings))
        self._session.execute(
            insert(Embedding),
            [
                {
                    "sequence": first + offset,
                    "image_id": item.image_id,
                    "model_version_id": item.model_version_id,
                    "space": item.space,
                    "vector": item.vector.astype("<f2").tobytes(),
                }
                for offset, item in enumerate(embeddings)
            ],
        )

    def delete(self, image_ids: Sequence[int]) -> None:
        """Erase every vector of some images and append their deletion."""
        if not image_ids:
            return
        first = self.reserve(len(image_ids))
        for start in range(0, len(image_ids), PAGE):
            self._session.execute(delete(Embedding).where(Embedding.image_id.in_(image_ids[start : start + PAGE])))
        self._session.execute(
            insert(Deletion),
            [{"sequence": first + offset, "image_id": image_id} for offset, image_id in enumerate(image_ids)],
        )

    def forget(self, version_id: int, image_ids: Sequence[int]) -> None:
        """Erase what some images have under one version. No entry of the log: what comes next replaces it in views."""
        for start in range(0, len(image_ids), PAGE):
            part = Embedding.image_id.in_(image_ids[start : start + PAGE])
            self._session.execute(delete(Embedding).where(Embedding.model_version_id == version_id, part))

    def forget_some(self, version_id: int, space: str, limit: int) -> int:
        """Erase up to `limit` vectors of a version in a space, the oldest first; returns how many there were."""
        where = (Embedding.model_version_id == version_id, Embedding.space == space)
        oldest = select(Embedding.sequence).where(*where).order_by(Embedding.sequence).limit(limit)
        gone = list(self._session.scalars(oldest))
        if gone:
            upto = (*where, Embedding.sequence >= gone[0], Embedding.sequence <= gone[-1])
            self._session.execute(delete(Embedding).where(*upto))
        return len(gone)

    def vectors(self, version_id: int, space: str, image_ids: Sequence[int]) -> dict[int, Half]:
        """What some images have under a version in a space, (dim,) each; those that have nothing are left out."""
        found: dict[int, Half] = {}
        for start in range(0, len(image_ids), PAGE):
            where = (
                Embedding.model_version_id == version_id,
                Embedding.space == space,
                Embedding.image_id.in_(image_ids[start : start + PAGE]),
            )
            for row in self._session.execute(select(Embedding.image_id, Embedding.vector).where(*where)):
                found[row.image_id] = np.frombuffer(row.vector, "<f2").astype(np.float16)
        return found

    def deleted_after(self, sequence: int) -> set[int]:
        """Images that were deleted after a place in the log."""
        return set(self._session.scalars(select(Deletion.image_id).where(Deletion.sequence > sequence)))

    def count(self, version_id: int, space: str) -> int:
        """Number of vectors that a complete view of the version and space holds."""
        where = (Embedding.model_version_id == version_id, Embedding.space == space)
        return int(self._session.execute(select(func.count()).select_from(Embedding).where(*where)).scalar_one())

    def without(self, version_id: int, space: str, image_ids: Sequence[int]) -> list[int]:
        """Those of some images that have no vector of a version in a space."""
        there: set[int] = set()
        for start in range(0, len(image_ids), PAGE):
            part = Embedding.image_id.in_(image_ids[start : start + PAGE])
            where = (Embedding.model_version_id == version_id, Embedding.space == space, part)
            there.update(self._session.scalars(select(Embedding.image_id).where(*where)))
        return [image_id for image_id in image_ids if image_id not in there]

    def sample(self, version_id: int, space: str, dim: int, count: int) -> Half:
        """Vectors of a version in a space, (up to `count`, dim), from everywhere in the log."""
        where = (Embedding.model_version_id == version_id, Embedding.space == space)
        span = select(func.min(Embedding.sequence), func.max(Embedding.sequence)).where(*where)
        first, last = self._session.execute(span).one()
        if first is None:
            return np.empty((0, dim), np.float16)
        found: dict[int, bytes] = {}
        for step in range(count):
            from_here = first + (last - first) * step // max(count - 1, 1)
            row = self._session.execute(
                select(Embedding.sequence, Embedding.vector)
                .where(*where, Embedding.sequence >= from_here)
                .order_by(Embedding.sequence)
                .limit(1)
            ).one()
            found[row.sequence] = row.vector
        return np.frombuffer(b"".join(found.values()), "<f2").reshape(len(found), dim)

    def changes(
        self, version_id: int, space: str, dim: int, *, after: int, added: int | None = None
    ) -> Iterator[Changes]:
        """The log of one view after a sequence number, in pieces of bounded size; the last one reaches the head.

        Args:
            added: additions up to this number are left out.
        """
        upto = self.head().sequence
        while True:
            rows = self._session.execute(
                select(Embedding.sequence, Embedding.image_id, Embedding.vector)
                .where(
                    Embedding.model_version_id == version_id,
                    Embedding.space == space,
                    Embedding.sequence > (after if added is None else max(after, added)),
                    Embedding.sequence <= upto,
                )
                .order_by(Embedding.sequence)
                .limit(PAGE)
            ).all()
            reached = rows[-1].sequence if len(rows) == PAGE else upto
            deleted = self._session.scalars(
                select(Deletion.image_id).where(Deletion.sequence > after, Deletion.sequence <= reached)
            ).all()
            yield Changes(
                sequence=reached,
                ids=np.array([row.image_id for row in rows], np.int64),
                vectors=np.frombuffer(b"".join(row.vector for row in rows), "<f2").reshape(len(rows), dim),
                deleted=np.array(deleted, np.int64),
            )
            if reached == upto:
                return
            after = reached
