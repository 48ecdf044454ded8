"""Activation: encode what the version lacks, side by side with the one that answers; then change one row.

An ingest writes vectors of the active version alone, whatever else is being encoded; the switch catches up. So no
ingest depends on a model that nobody has tried yet, nor gets slower by it. What is left at the end, a few pictures at
most, is encoded within the write lock that the switch is made in: from then on nothing can come that the version lacks.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from sqlalchemy.orm import Session
from torch import Tensor

from app.database.sessions import Database
from app.database.tables import ModelVersion
from app.embedding.service import EncoderService
from app.errors import DamagedImageError, ModelIncompleteError, PictureError, StorageError
from app.gallery import pictures
from app.gallery.repository import ImageRepository
from app.gallery.store import ImageStore
from app.registry.repository import ModelRepository
from app.registry.service import ModelService, remainder
from app.settings import Settings
from app.vectors.contract import Half
from app.vectors.repository import LogRepository, NewEmbedding
from models.encoder import Space

Record = Callable[[Session, int], bool]
"""Told the number of images of a chunk, in the transaction of their vectors; False ends the encoding after it."""
_Row = tuple[int, str]
_Read = list[tuple[_Row, "Future[Tensor | None]"]]


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
        self, version_id: int, encoder: EncoderService, record: Record = lambda session, count: True
    ) -> bool:
        """Encode the stored pictures that a version lacks, in one transaction for each chunk; can be interrupted.

        While a chunk is encoded the pictures of the next one are read. `encode_share` of the settings bounds the part
        of the time that is spent at it.

        Returns:
            Whether the end was reached.

        Raises:
            StorageError: a stored picture is missing or damaged.
        """
        with self._database.read() as session:
            version = self._find(session, version_id)
        with ThreadPoolExecutor() as pool:
            chunk = self._read(version, 0, encoder, pool)
            while chunk:
                began = time.monotonic()
                following = self._read(version, chunk[-1][0][0], encoder, pool)
                read = [(row[0], pixels.result()) for row, pixels in chunk]
                kept = [(image_id, pixels) for image_id, pixels in read if pixels is not None]
                if not self._append(version, kept, encoder, partial(_count, record, len(chunk))):
                    for _, pixels in following:
                        pixels.cancel()
                    return False
                time.sleep((time.monotonic() - began) * (1 / self._settings.encode_share - 1))
                chunk = following
        return True

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
        record: Callable[[Session, int], None] = lambda session, count: None,
    ) -> None:
        """Make sure that a version has the vectors of each image in each of its spaces, and on request make it the
        active one; `record` goes with that, and is told how many images were encoded in it.

        Args:
            encoder: encodes the last few images, if there are any.

        Raises:
            ModelNotFoundError, ModelRefusedError: there is no such version, or it may not be activated.
            ModelIncompleteError: it lacks images (with an encoder, more than a few); encode them and try again.
            StorageError: a stored picture is missing or damaged.
        """
        with self._database.write() as session:
            log, models = LogRepository(session), ModelService(session, self._settings.models_dir)
            head = log.lock()
            row = models.admitted(version_id, despite_gate=despite_gate) if activate else models.find(version_id)
            filled = self._fill(session, row, encoder)
            images = ImageRepository(session).count()
            if any(log.count(row.id, space) != images for space in row.stored_spaces):
                raise _incomplete(row.id, max(1, ImageRepository(session).count_lacking(row)))
            record(session, filled)
            ModelRepository(session).change(row.id, retired_at=None)
            if activate and head.active_version_id != row.id:
                log.activate(row.id)
                ModelRepository(session).mark_activated(row.id)

    def _find(self, session: Session, version_id: int) -> ModelVersion:
        return ModelService(session, self._settings.models_dir).find(version_id)

    def _fill(self, session: Session, version: ModelVersion, encoder: EncoderService | None) -> int:
        """Encode the last images in the transaction of the switch; returns how many."""
        images = ImageRepository(session)
        most = 0 if encoder is None else remainder(self._settings)
        rows = images.lacking(version, limit=most + 1)
        if len(rows) > most:
            raise _incomplete(version.id, images.count_lacking(version))
        if rows and encoder is not None:
            read = [(row[0], self._pixels(row, encoder)) for row in rows]
            items = [(image_id, pixels) for image_id, pixels in read if pixels is not None]
            self._write(session, version, items, _vectors(encoder, items))
        return len(rows)

    def _read(self, version: ModelVersion, after: int, encoder: EncoderService, pool: ThreadPoolExecutor) -> _Read:
        with self._database.read() as session:
            rows = ImageRepository(session).lacking(version, after=after, limit=self._settings.ingest_chunk)
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
        version: ModelVersion,
        items: list[tuple[int, Tensor]],
        encoder: EncoderService,
        record: Callable[[Session], bool],
    ) -> bool:
        vectors = _vectors(encoder, items)
        with self._database.write() as session:
            LogRepository(session).lock()
            self._write(session, version, items, vectors)
            return record(session)

    def _write(
        self, session: Session, version: ModelVersion, items: list[tuple[int, Tensor]], vectors: dict[Space, Half]
    ) -> None:
        log = LogRepository(session)
        lacking = ImageRepository(session).still_lacking(version, [image_id for image_id, _ in items])
        if len(vectors) > 1:
            log.forget(version.id, sorted(lacking))  # an image may have the vector of one space only
        log.add(
            [
                NewEmbedding(image_id, version.id, space, matrix[row])
                for row, (image_id, _) in enumerate(items)
                if image_id in lacking
                for space, matrix in vectors.items()
            ]
        )


def _vectors(encoder: EncoderService, items: list[tuple[int, Tensor]]) -> dict[Space, Half]:
    found = encoder.encode_images([pixels for _, pixels in items])
    return {space: vectors.astype(np.float16) for space, vectors in found.items()}


def _count(record: Record, count: int, session: Session) -> bool:
    return record(session, count)


def _incomplete(version_id: int, missing: int) -> ModelIncompleteError:
    return ModelIncompleteError(
        f"{missing:,} images of the gallery are not encoded for model version {version_id}; "
        f"`descry models activate {version_id}` encodes them and then switches"
    )
