"""Taking a backup while others read, ingest and delete.

First the database, one state of it; then the pictures that its rows name. Pictures are never changed, so that the only
one that can be missing by then is one that was deleted meanwhile: what the ledger says was erased since is erased from
the copy as well. A backup therefore never shows what was erased before it was done, and each of its images has its
picture. (A zip may still hold bytes of such a picture, which nothing names; a folder does not.)
"""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from app.backup import repository
from app.backup.container import DATABASE, PICTURES, BackupWriter
from app.database.migrate import HEAD_REVISION
from app.database.sessions import Database
from app.database.tables import now
from app.errors import BackupTargetError, StorageError
from app.files import check_free
from app.gallery.store import ImageStore
from app.identities.erasures import ErasureRepository
from app.identities.service import IdentityService
from app.settings import Settings
from app.vectors.repository import LogRepository

_PAGE = 256
Progress = Callable[[str, int, int], None]
"""What is under way, how many are done, and of how many."""


def _silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


class Backup:
    """One backup of a gallery. Nothing is changed or locked in it, and its schema is not migrated."""

    def __init__(self, database: Database, store: ImageStore, settings: Settings, target: Path) -> None:
        self._database, self._store, self._settings, self._target = database, store, settings, target

    def run(self, progress: Progress = _silent) -> dict[str, Any]:
        """Take it; returns its manifest.

        Raises:
            BackupTargetError: something has the name already, or it lies in the data folder.
            BackupError: there is no gallery, or its schema cannot be read by this release.
            StorageError: the target cannot be written, or the pictures' store does not answer.
        """
        if self._target.resolve().is_relative_to(self._settings.data_dir.resolve()):
            raise BackupTargetError(
                f"{self._target} lies in the data folder, and would be lost with it; choose a place outside"
            )
        writer = BackupWriter(self._target)
        scratch = self._target.absolute().with_name(f"{self._target.name}.database")
        try:
            check_free(self._target.absolute().parent, self._settings.min_free_bytes)
            shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
            scratch.mkdir()
            return self._run(writer, scratch / DATABASE, progress)
        except OSError as error:
            raise StorageError(f"the backup cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            writer.discard()

    def _run(self, writer: BackupWriter, copy: Path, progress: Progress) -> dict[str, Any]:
        progress("Copying the database", 0, 1)
        begun = now()
        revision = repository.copy_to_file(self._database, copy)
        place = repository.place_in_log(copy)
        kept = self._copy_pictures(writer, copy, progress)
        self._copy_models(writer, copy)
        upto = self._erase_since(copy) if revision == HEAD_REVISION else None
        rows = repository.store_names(copy)
        there = {name for _, name in rows}
        _drop(writer, kept, there)
        lost = [image_id for image_id, name in rows if name not in kept]
        writer.put(PICTURES, "".join(json.dumps(row) + "\n" for name, row in kept.items() if name in there).encode())
        writer.put_file(DATABASE, copy)
        counts = repository.place_in_log(copy)
        return writer.finish(
            {
                "revision": revision,
                "begun_at": begun.isoformat(),
                "finished_at": now().isoformat(),
                "database": self._database.engine.dialect.name,
                "history": place["history"],
                "sequence": place["sequence"],
                "erased_upto": upto,
                "identities": counts["identities"],
                "images": counts["images"],
                "vectors": counts["embeddings"],
                "pictures_missing": lost,
            }
        )

    def _copy_pictures(self, writer: BackupWriter, copy: Path, progress: Progress) -> dict[str, dict[str, Any]]:
        rows = repository.store_names(copy)
        kept: dict[str, dict[str, Any]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for page in repository.pages(rows, _PAGE):
                names = [name for _, name in page]
                for name, picture, thumbnail in pool.map(self._read, names):
                    if picture is None or thumbnail is None:
                        continue
                    digest = writer.put_content(picture)
                    small = digest if thumbnail == picture else writer.put_content(thumbnail)
                    kept[name] = {"name": name, "picture": digest, "thumbnail": small}
                check_free(self._target.absolute().parent, self._settings.min_free_bytes)
                progress("Copying pictures", len(kept), len(rows))
        return kept

    def _read(self, name: str) -> tuple[str, bytes | None, bytes | None]:
        return name, self._store.read(name), self._store.read(name, thumbnail=True)

    def _copy_models(self, writer: BackupWriter, copy: Path) -> None:
        for folder in dict.fromkeys(repository.model_folders(copy)):
            for file in sorted((self._settings.models_dir / folder).rglob("*")):
                if file.is_file():
                    writer.put_file(f"models/{folder}/{file.relative_to(self._settings.models_dir / folder)}", file)

    def _erase_since(self, copy: Path) -> int:
        """Erase from the copy what was erased since it was made; returns the place in the log that this is true of."""
        opened = Database(f"sqlite:///{copy}")
        try:
            with opened.read() as session:
                last = ErasureRepository(session).last()
            with self._database.read() as session:
                entries = ErasureRepository(session).listed(after=last)
                sequence = LogRepository(session).head().sequence
            if entries:
                with opened.write() as session:
                    IdentityService(session).erase_again(entries)
        finally:
            opened.close()
        repository.tidy(copy)
        return sequence


def _drop(writer: BackupWriter, kept: dict[str, dict[str, Any]], there: set[str]) -> None:
    """Leave out the pictures of images that were erased meanwhile, unless another image has the same bytes."""
    needed = {row[part] for name, row in kept.items() if name in there for part in ("picture", "thumbnail")}
    every = {row[part] for row in kept.values() for part in ("picture", "thumbnail")}
    for digest in every - needed:
        writer.drop(digest)
