"""What goes: vectors of versions that have long been replaced, and versions that somebody deletes.

Vectors go in pieces, each in a transaction of its own that looks again whether it still may: nobody waits long for the
write lock, and a kill leaves a version that lacks some images, which the next round goes on with.
"""

import logging
import shutil
from contextlib import closing
from pathlib import Path

from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.database.tables import ModelVersion, now
from app.errors import ModelInUseError, VectorStoreError, VectorStoreInUseError
from app.registry.repository import ModelRepository
from app.registry.service import ModelService
from app.settings import Settings
from app.vectors.engines import open_engine
from app.vectors.repository import LogRepository

_log = logging.getLogger(__name__)
_PIECE = 5_000


class Retention:
    """Removes what the settings say need not be kept. The active version and the one before it always stay."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def due(self) -> list[int]:
        """Versions that have answered, beyond the last `keep_versions` of them, whose vectors are still there."""
        with self._database.read() as session:
            models, found = self._models(session), ModelRepository(session)
            former = found.former(LogRepository(session).head().active_version_id)
            busy = models.encoding()
            late = [row for row in former[self._settings.keep_versions :] if row.id not in busy]
            return [row.id for row in late if row.retired_at is None or found.has_vectors(row.id)]

    def sweep(self) -> list[int]:
        """Retire what is due; returns which versions. One that comes into use meanwhile is left alone."""
        gone = []
        for version_id in self.due():
            try:
                self.retire(version_id)
            except (ModelInUseError, VectorStoreError, VectorStoreInUseError) as error:
                _log.info("%s", error.message)
            else:
                gone.append(version_id)
        return gone

    def retire(self, version_id: int) -> None:
        """Remove the vectors of a version and its index; it can be activated again, by encoding the gallery anew.

        Raises:
            ModelNotFoundError: there is none.
            ModelInUseError: it answers, is the one to roll back to, or has an open job.
            VectorStoreError: its index cannot be removed; the next attempt does it.
        """
        # The index before the last vector: while there is one, the next round knows that something is left to do.
        history = self._mark(version_id)
        self._forget_index(version_id, history)
        more = True
        while more:
            with self._database.write() as session:
                LogRepository(session).lock()
                row = self._unused(session, version_id)
                ModelRepository(session).change(version_id, retired_at=now())
                log = LogRepository(session)
                more = sum(log.forget_some(version_id, space, _PIECE) for space in row.stored_spaces) > 0
        self._forget_index(version_id, history)
        _log.info("model version %d is retired: its vectors are removed", version_id)

    def _mark(self, version_id: int) -> str:
        """Before the first vector: who sees the version meanwhile must not take it for a version to go back to."""
        with self._database.write() as session:
            head = LogRepository(session).lock()
            self._unused(session, version_id)
            ModelRepository(session).change(version_id, retired_at=now())
            return head.history

    def _forget_index(self, version_id: int, history: str) -> None:
        with closing(open_engine(self._settings)) as engine:
            engine.forget(version_id, history)

    def delete(self, version_id: int) -> None:
        """Remove a version with its vectors and its weights.

        Raises:
            ModelNotFoundError, ModelInUseError: see `retire`.
        """
        self.retire(version_id)
        with self._database.write() as session:
            LogRepository(session).lock()
            folder = self._settings.models_dir / Path(self._unused(session, version_id).folder).name
            ModelRepository(session).delete(version_id)
        for left in (folder, self._settings.runtimes_dir / folder.name):
            shutil.rmtree(left, ignore_errors=True)

    def _models(self, session: Session) -> ModelService:
        return ModelService(session)

    def _unused(self, session: Session, version_id: int) -> ModelVersion:
        models = self._models(session)
        row = models.find(version_id)
        predecessor = models.predecessor()
        use = (
            "answers"
            if LogRepository(session).head().active_version_id == row.id
            else "is the one that a rollback returns to"
            if predecessor is not None and predecessor.id == row.id
            else "is being encoded by a job; cancel that first"
            if row.id in models.encoding()
            else None
        )
        if use is not None:
            raise ModelInUseError(f"model version {row.id} ({row.name}) {use}")
        return row
