"""Erasing people and images everywhere: the one path of the API, the command line and retention.

In one unit of work with the ledger: rows, vectors of every version, verdicts, what queries and jobs tell of the person.
With it, or right behind it: pictures and thumbnails, finished exports that hold them, pages of SQLite's write-ahead
log. Index snapshots follow within `maintenance_s` where a server runs, else by `scrub`.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from app.core import Core
from app.exports.results import erase_from_exports
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.vectors.scrub import without


class Eraser:
    """Erases, in the gallery of `core`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def identity(self, identity_id: int) -> list[int]:
        """Erase a person with every image; returns the ids of those.

        Raises:
            IdentityNotFoundError, IdentityMergedError: there is none.
            StorageError: something could not be removed; the rows are gone, and files follow by the housekeeping.
        """

        def erase(session: Session) -> tuple[list[int], list[str]]:
            images = IdentityRepository(session).images_of([identity_id]).get(identity_id, [])
            return images, IdentityService(session).delete_identity(identity_id)

        return self._erase(erase)

    def image(self, image_id: int) -> list[int]:
        """Erase an image; returns its id.

        Raises:
            ImageNotFoundError: there is none.
            StorageError: see `identity`.
        """
        return self._erase(lambda session: ([image_id], IdentityService(session).delete_image(image_id)))

    def several(self, image_ids: Sequence[int]) -> list[int]:
        """Erase those of some images that exist, and people who have none left."""
        return self._erase(lambda session: IdentityService(session).delete_images(image_ids))

    def scrub(self, image_ids: Sequence[int]) -> None:
        """Take the vectors out of the index files now. A server does so by itself."""
        for path in sorted(self._core.settings.index_dir.glob("*.index")):
            without(path, image_ids)

    def _erase(self, work: Callable[[Session], tuple[list[int], list[str]]]) -> list[int]:
        core = self._core
        core.recorder.settle_all()  # a query that is not written yet may tell of the person too
        with core.store.change() as files:
            with core.database.write() as session:
                ids, names = work(session)
                files.doom(names)
            erase_from_exports(core.settings, ids)
            core.database.forget_pages()
        core.forget_texts()
        return ids
