"""Thumbnails made anew, after `DESCRY_BLUR_FACES` was turned on or off.

Which files lie beside a picture says whether it is done, so that work that was killed goes on with what is left, and
doing it again changes nothing. Each chunk is a change of the store: its names are in a journal, so that an image that
is erased meanwhile, or before a killed process's journal is settled, keeps no thumbnail.
"""

import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.core import Core
from app.errors import PictureError
from app.files import check_free
from app.gallery import pictures
from app.gallery.repository import ImageRepository
from app.gallery.showing import blurred_thumbnail, decoded
from app.gallery.store import BLURRED, THUMBNAIL, StoreChange
from app.lanes import cores

_CHUNK = 256


@dataclass(slots=True)
class Remade:
    """What was done so far.

    Attributes:
        made: thumbnails that are others now.
        right: those that were right already.
        lost: images whose picture is not in the store, or is damaged there.
    """

    made: int = 0
    right: int = 0
    lost: list[int] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Images that were looked at."""
        return self.made + self.right + len(self.lost)


class Remaking:
    """Makes every stored thumbnail what the settings ask for. `again`: those too that look right already."""

    def __init__(self, core: Core, *, again: bool = False) -> None:
        self._core, self._again = core, again
        with core.database.read() as session:
            images = ImageRepository(session)
            self._last = images.last_id()
            self.total = images.count_in(None, last=self._last)

    def run(self) -> Iterator[Remade]:
        """Work through the gallery, chunk by chunk; yields what was done so far. One process at a time.

        Raises:
            StorageError, DiskLowError: the store is full, away, or refuses; run it again.
        """
        done, after = Remade(), 0
        with _alone(self._core), ThreadPoolExecutor(cores()) as pool:
            while True:
                with self._core.database.read() as session:
                    rows = ImageRepository(session).listed(None, after=after, last=self._last, limit=_CHUNK)
                if not rows:
                    return
                after = rows[-1][0]
                check_free(self._core.settings.data_dir, self._core.settings.min_free_bytes)
                with self._core.store.change() as change:
                    change.note([name for _, _, name in rows])
                    found = pool.map(lambda name: self._remake(name, change), [name for _, _, name in rows])
                    for (image_id, _, _), made in zip(rows, list(found), strict=True):
                        self._count(done, image_id, made)
                yield done

    def _remake(self, name: str, change: StoreChange) -> bool | None:
        """Whether something was to do; None if there is no picture that can be read."""
        store, blurred = self._core.store, self._core.showing.blurred
        wanted, other = (BLURRED, THUMBNAIL) if blurred else (THUMBNAIL, BLURRED)
        stale = store.holds(name, other)
        if not (self._again or stale or (blurred and not store.holds(name, wanted))):
            return False
        if (data := store.read(name)) is None:
            return None
        try:
            picture = decoded(data, self._core.settings)
        except PictureError:
            return None
        made = blurred_thumbnail(picture, self._core.settings) if blurred else pictures.thumbnail(picture)
        change.replace(name, put=None if made is None else (wanted, made), drop=other)
        return True

    def _count(self, done: Remade, image_id: int, made: bool | None) -> None:
        if made is None:
            with self._core.database.read() as session:
                if ImageRepository(session).get(image_id) is not None:  # else it was deleted meanwhile
                    done.lost.append(image_id)
        elif made:
            done.made += 1
        else:
            done.right += 1


@contextmanager
def _alone(core: Core) -> Iterator[None]:
    """Wait until no other process on this data folder does the same; the system ends the lock of one that dies."""
    path = core.settings.images_dir / "remaking.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
