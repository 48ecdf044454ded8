"""Activation: encode what the version lacks, side by side with the one that answers; then change one row."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from sqlalchemy.orm import Session
from torch import Tensor

from app.database.sessions import Database
from app.embedding.service import EncoderService
from app.errors import DamagedImageError, ModelIncompleteError, PictureError, StorageError
from app.gallery import pictures
from app.gallery.repository import ImageRepository
from app.gallery.store import ImageStore
from app.registry.repository import ModelRepository
from app.settings import Settings
from app.vectors.repository import LogRepository, NewEmbedding

Record = Callable[[Session, int], bool]
"""Told the number of images of a chunk, in the transaction of their vectors; False ends the encoding after it."""
_Row = tuple[int, str]
_Read = list[tuple[_Row, "Future[Tensor | None]"]]


class Activation:
    """Prepares model versions and switches the database to them."""

    def __init__(self, database: Database, store: ImageStore, settings: Settings) -> None:
        self._database, self._store, self._settings = database, store, settings

    def missing(self, version_id: int) -> int:
        """How many images of the gallery have no vector under a version."""
        with self._database.read() as session:
            return ImageRepository(session).count_lacking(version_id)

    def encode_missing(
        self, version_id: int, encoder: EncoderService, record: Record = lambda session, count: True
    ) -> bool:
        """Encode the stored pictures that a version lacks, in one transaction for each chunk; can be interrupted.

        While a chunk is encoded the pictures of the next one are read.

        Returns:
            Whether the end was reached.

        Raises:
            StorageError: a stored picture is missing or damaged.
        """
        with ThreadPoolExecutor() as pool:
            chunk = self._read(version_id, 0, encoder, pool)
            while chunk:
                following = self._read(version_id, chunk[-1][0][0], encoder, pool)
                read = [(row[0], pixels.result()) for row, pixels in chunk]
                kept = [(image_id, pixels) for image_id, pixels in read if pixels is not None]
                if not self._append(version_id, kept, encoder, partial(_count, record, len(chunk))):
                    for _, pixels in following:
                        pixels.cancel()
                    return False
                chunk = following
        return True

    def check(self, version_id: int) -> None:
        """Refuse early what `commit` would refuse.

        Raises:
            ModelIncompleteError: the gallery is not completely encoded for the version.
        """
        if missing := self.missing(version_id):
            raise _incomplete(version_id, missing)

    def commit(self, version_id: int) -> None:
        """Make a complete version the active one.

        Raises:
            ModelIncompleteError: images came meanwhile that it lacks; encode them and try again.
        """
        self.complete(version_id, activate=True)

    def complete(
        self, version_id: int, *, activate: bool, record: Callable[[Session], None] = lambda session: None
    ) -> None:
        """Make sure that a version lacks nothing, and on request make it the active one; `record` goes with that.

        Raises:
            ModelIncompleteError: images came meanwhile that it lacks; encode them and try again.
        """
        with self._database.write() as session:
            log = LogRepository(session)
            log.lock()
            if missing := ImageRepository(session).count_lacking(version_id):
                raise _incomplete(version_id, missing)
            record(session)
            if activate:
                log.activate(version_id)
                ModelRepository(session).mark_activated(version_id)

    def _read(self, version_id: int, after: int, encoder: EncoderService, pool: ThreadPoolExecutor) -> _Read:
        with self._database.read() as session:
            rows = ImageRepository(session).lacking(version_id, after=after, limit=self._settings.ingest_chunk)
        return [(row, pool.submit(self._pixels, row, encoder)) for row in rows]

    def _pixels(self, row: _Row, encoder: EncoderService) -> Tensor | None:
        image_id, name = row
        limits = self._settings
        try:
            data = self._store.read(name)
            if data is None:
                raise DamagedImageError("it is not in the image store")
            # What was accepted once stays acceptable, whatever the limits for new pictures are now.
            picture = pictures.decode(data, max_pixels=2**31, max_bytes=max(len(data), limits.max_upload_bytes))
        except PictureError as error:
            with self._database.read() as session:
                if ImageRepository(session).get(image_id) is None:
                    return None  # deleted meanwhile
            raise StorageError(
                f"the stored picture of image {image_id} cannot be read ({error}); restore it from a backup, or "
                "delete the image, and activate again"
            ) from error
        return encoder.encoder.preprocess(picture.image)

    def _append(
        self,
        version_id: int,
        items: list[tuple[int, Tensor]],
        encoder: EncoderService,
        record: Callable[[Session], bool],
    ) -> bool:
        vectors = {
            space: found.astype(np.float16)
            for space, found in encoder.encode_images([pixels for _, pixels in items]).items()
        }
        with self._database.write() as session:
            log = LogRepository(session)
            log.lock()
            lacking = ImageRepository(session).still_lacking(version_id, [image_id for image_id, _ in items])
            log.add(
                [
                    NewEmbedding(image_id, version_id, space, matrix[row])
                    for row, (image_id, _) in enumerate(items)
                    if image_id in lacking
                    for space, matrix in vectors.items()
                ]
            )
            return record(session)


def _count(record: Record, count: int, session: Session) -> bool:
    return record(session, count)


def _incomplete(version_id: int, missing: int) -> ModelIncompleteError:
    return ModelIncompleteError(
        f"{missing:,} images of the gallery are not encoded for model version {version_id}; "
        f"`descry models activate {version_id}` encodes them and then switches"
    )
