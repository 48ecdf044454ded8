"""Activation: encode what the version lacks, side by side with the one that answers; then change one row."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
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

Progress = Callable[[int], None]


class Activation:
    """Prepares model versions and switches the database to them."""

    def __init__(self, database: Database, store: ImageStore, settings: Settings) -> None:
        self._database, self._store, self._settings = database, store, settings

    def missing(self, version_id: int) -> int:
        """How many images of the gallery have no vector under a version."""
        with self._database.read() as session:
            return ImageRepository(session).count_lacking(version_id)

    def encode_missing(self, version_id: int, encoder: EncoderService, progress: Progress = lambda count: None) -> None:
        """Encode the stored pictures that a version lacks, in one transaction for each chunk; can be interrupted.

        Args:
            progress: told the number of images of each finished chunk.

        Raises:
            StorageError: a stored picture is missing or damaged.
        """
        after = 0
        with ThreadPoolExecutor() as pool:
            while True:
                with self._database.read() as session:
                    images = ImageRepository(session)
                    rows = images.lacking(version_id, after=after, limit=self._settings.ingest_chunk)
                if not rows:
                    return
                read = list(pool.map(lambda row: self._pixels(row, encoder), rows))
                kept = [(row[0], pixels) for row, pixels in zip(rows, read, strict=True) if pixels is not None]
                self._append(version_id, kept, encoder)
                after = rows[-1][0]
                progress(len(rows))

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
        with self._database.write() as session:
            log = LogRepository(session)
            log.lock()
            missing = ImageRepository(session).count_lacking(version_id)
            if missing:
                raise _incomplete(version_id, missing)
            log.activate(version_id)
            ModelRepository(session).mark_activated(version_id)

    def _pixels(self, row: tuple[int, str], encoder: EncoderService) -> Tensor | None:
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

    def _append(self, version_id: int, items: list[tuple[int, Tensor]], encoder: EncoderService) -> None:
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


def _incomplete(version_id: int, missing: int) -> ModelIncompleteError:
    return ModelIncompleteError(
        f"{missing:,} images of the gallery are not encoded for model version {version_id}; "
        f"`descry models activate {version_id}` encodes them and then switches"
    )
