"""What people see of a picture: the one door between the store and every answer, sheet and export.

Who encodes or trains reads the store itself. Who shows asks here, so that blurring cannot be forgotten anywhere.
"""

import io
from pathlib import Path

from PIL import Image

from app.gallery import pictures
from app.gallery.blurring import face_blur
from app.gallery.pictures import Picture
from app.gallery.store import ImageStore
from app.settings import Settings

_QUALITY = 92


class Showing:
    """Pictures of a store as the settings let them be seen.

    While heads are blurred, a thumbnail that is not stored blurred yet is made at once, from the original.

    Raises:
        FaceBlurNotInstalledError: when it is made, if heads are to be blurred and cannot be.
    """

    def __init__(self, store: ImageStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._blur = face_blur(settings)

    @property
    def blurred(self) -> bool:
        """Whether heads are."""
        return self._blur is not None

    def thumbnail(self, name: str) -> bytes | None:
        """The JPEG of at most `THUMBNAIL_SIDE` pixels a side; None if there is no such picture.

        Raises:
            StorageError: the store does not answer.
        """
        if self._blur is None:
            return self._store.read(name, thumbnail=True)
        if (found := self._store.read_blurred(name)) is not None:
            return found
        data = self._store.read(name)
        return None if data is None else blurred_thumbnail(self._decoded(data), self._settings)

    def picture(self, name: str, *, original: bool = False) -> bytes | None:
        """The JPEG in full size; `original`: without blurring. None if there is no such picture.

        Raises:
            StorageError: the store does not answer.
        """
        data = self._store.read(name)
        if data is None or original or self._blur is None:
            return data
        buffer = io.BytesIO()
        self._blur(self._decoded(data).image).save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()

    def path(self, name: str, *, thumbnail: bool, original: bool = False) -> Path | None:
        """The file that can be sent as it is, in stores that are folders; None where bytes must be made."""
        if self._blur is not None and (thumbnail or not original):
            return None
        return self._store.path(name, thumbnail=thumbnail)

    def veiled(self, image: Image.Image) -> Image.Image:
        """A decoded picture as it may be seen."""
        return image if self._blur is None else self._blur(image)

    def _decoded(self, data: bytes) -> Picture:
        return decoded(data, self._settings)


def decoded(data: bytes, settings: Settings) -> Picture:
    """A stored picture; limits that were lowered since do not refuse it."""
    return pictures.decode(data, max_pixels=2**31, max_bytes=max(len(data), settings.max_upload_bytes))


def blurred_thumbnail(picture: Picture, settings: Settings) -> bytes | None:
    """The thumbnail with its heads blurred, of small pictures too; None if the settings do not ask for that."""
    blur = face_blur(settings)
    return None if blur is None else pictures.small(blur(picture.image))
