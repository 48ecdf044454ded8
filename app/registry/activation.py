"""Activation: encode what the version lacks, side by side with the one that answers; then change one row.

An ingest writes vectors of the active version alone, whatever else is being encoded; the switch catches up. So no
ingest depends on a model that nobody has tried yet, nor gets slower by it. What is left at the end, a few pictures at
most, is encoded within the write lock that the switch is made in: from then on nothing can come that the version lacks.
"""

from collections.abc import Callable

from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.database.tables import ModelVersion
from app.embedding.service import EncoderService
from app.errors import ModelIncompleteError
from app.gallery.repository import ImageRepository
from app.gallery.store import ImageStore
from app.registry.encoding import GalleryEncoding, Record, Refuse, raise_first
from app.registry.repository import ModelRepository
from app.registry.service import ModelService, remainder
from app.settings import Settings
from app.vectors.repository import LogRepository


class Activation:
    """Prepares model versions and switches the database to them."""

    def __init__(self, database: Database, store: ImageStore, settings: Settings) -> None:
        self._database, self._store, self._settings = database, store, settings

    def missing(self, version_id: int) -> int:
        """How many images of the gallery lack a vector under a version.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            return ImageRepository(session).count_lacking(self._find(session, version_id))

    def encode_missing(
        self,
        version_id: int,
        encoder: EncoderService,
        record: Record = lambda session, count: True,
        refuse: Refuse = raise_first,
    ) -> bool:
        """Encode the stored pictures that a version lacks, in this process (`GalleryEncoding.run`).

        Returns:
            Whether the end was reached.

        Raises:
            StorageError: the store does not answer; or, unless `refuse` bears it, a stored picture is gone.
        """
        return self.encoding(version_id, encoder).run(record, refuse=refuse)

    def check(self, version_id: int) -> None:
        """Refuse early what `complete` would refuse.

        Raises:
            ModelNotFoundError: there is no such version.
            ModelIncompleteError: it lacks more than a few images.
        """
        if (missing := self.missing(version_id)) > remainder(self._settings):
            raise _incomplete(version_id, missing)

    def complete(
        self,
        version_id: int,
        *,
        activate: bool,
        encoder: EncoderService | None = None,
        despite_gate: bool = False,
        still: Callable[[Session], bool] = lambda session: True,
        record: Callable[[Session, int], None] = lambda session, count: None,
    ) -> None:
        """Make sure that a version has the vectors of each image in each of its spaces, and on request make it the
        active one; `record` goes with that, and is told how many images were encoded in it.

        Args:
            encoder: encodes the last few images, if there are any.
            still: whether it is to become the active one still; asked when no other change can come in between.

        Raises:
            ModelNotFoundError, ModelRefusedError: there is no such version, or it may not be activated.
            ModelIncompleteError: it lacks images (with an encoder, more than a few); encode them and try again.
            StorageError: a stored picture is missing or damaged.
        """
        with self._database.write() as session:
            log, models = LogRepository(session), ModelService(session)
            head = log.lock()
            activate = activate and still(session)
            row = models.admitted(version_id, despite_gate=despite_gate) if activate else models.find(version_id)
            filled = self._fill(session, row, encoder)
            images = ImageRepository(session).count()
            if any(log.count(row.id, space) != images for space in row.stored_spaces):
                raise _incomplete(row.id, max(1, ImageRepository(session).count_lacking(row)))
            record(session, filled)
            ModelRepository(session).change(row.id, retired_at=None)
            if activate:
                if head.active_version_id != row.id:
                    log.activate(row.id)
                ModelRepository(session).mark_activated(row.id)  # also again: it was asked for now

    def encoding(self, version_id: int, encoder: EncoderService) -> GalleryEncoding:
        """What encodes stored pictures for a version.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            version = self._find(session, version_id)
        return GalleryEncoding(self._database, self._store, self._settings, version, encoder)

    def _find(self, session: Session, version_id: int) -> ModelVersion:
        return ModelService(session).find(version_id)

    def _fill(self, session: Session, version: ModelVersion, encoder: EncoderService | None) -> int:
        """Encode the last images in the transaction of the switch; returns how many."""
        images = ImageRepository(session)
        most = 0 if encoder is None else remainder(self._settings)
        rows = images.lacking(version, limit=most + 1)
        if len(rows) > most:
            raise _incomplete(version.id, images.count_lacking(version))
        if rows and encoder is not None:
            encoding = GalleryEncoding(self._database, self._store, self._settings, version, encoder)
            encoding.write(session, *encoding.encode_rows(rows))
        return len(rows)


def _incomplete(version_id: int, missing: int) -> ModelIncompleteError:
    return ModelIncompleteError(
        f"{missing:,} images of the gallery are not encoded for model version {version_id}; "
        f"`descry models activate {version_id}` encodes them and then switches"
    )
