"""Restoring a backup into an empty place: verify, migrate, put back, apply the ledger, rebuild the indexes."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from app.audit.cli import audited_verb
from app.backup import repository
from app.backup.container import DATABASE, PICTURES, BackupReader, content_path
from app.core import Core, open_core
from app.database.migrate import HEAD_REVISION, upgrade
from app.database.sessions import Database
from app.errors import BackupError, BackupTargetError, StorageError
from app.gallery.local_store import LocalStore
from app.gallery.open_store import open_store
from app.gallery.repository import ImageRepository
from app.gallery.store import ImageStore
from app.identities.erasures import Entry, ErasureRepository
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.settings import Settings

_PAGE = 256
Progress = Callable[[str, int, int], None]


def _silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


class Restore:
    """One restore into the data folder of the settings, and into the database and the bucket that they name.

    The folder is built under a temporary name beside its own: one that has its name is complete.
    """

    def __init__(self, source: Path, settings: Settings, erasures: Sequence[Entry] = ()) -> None:
        self._source, self._erasures = source, list(erasures)
        self._target = settings.data_dir.absolute()
        self._building = self._target.with_name(f"{self._target.name}.restoring")
        self._settings = settings.model_copy(update={"data_dir": self._building})

    def run(self, progress: Progress = _silent) -> dict[str, Any]:
        """Do it; returns what was restored.

        Raises:
            BackupError: the backup is not whole, or was made by a newer release.
            BackupTargetError: the data folder, the database or the bucket is not empty.
            StorageError: something cannot be written.
        """
        reader = BackupReader(self._source)
        try:
            self._see_that_it_fits(reader)
            self._see_that_it_is_empty()  # before the checksums, which may take an hour
            parts = int(reader.manifest["parts"])
            for done in reader.verify():
                progress("Verifying", done, parts)
            try:
                shutil.rmtree(self._building, ignore_errors=True)
                self._building.mkdir(parents=True)
                report = self._restore(reader, progress)
                if self._target.exists():
                    self._target.rmdir()  # empty, see above
                self._building.rename(self._target)
            except OSError as error:
                raise StorageError(f"{self._target} cannot be written: {error.strerror or error}") from error
            return report
        finally:
            reader.close()
            shutil.rmtree(self._building, ignore_errors=True)

    def _see_that_it_fits(self, reader: BackupReader) -> None:
        found = str(reader.manifest.get("revision"))
        if found > HEAD_REVISION:
            raise BackupError(
                f"{self._source} has the schema {found}, and this release knows {HEAD_REVISION}: restore it with the "
                "release that made it, or a newer one"
            )

    def _see_that_it_is_empty(self) -> None:
        if self._target.exists() and (not self._target.is_dir() or any(self._target.iterdir())):
            raise BackupTargetError(f"{self._target} is not empty; a backup is restored into a folder of its own")
        if self._settings.database_url:
            database = Database(self._settings.database_url)
            try:
                if not repository.is_empty(database):
                    raise BackupTargetError("the database of DESCRY_DATABASE_URL is not empty; make a new one")
            finally:
                database.close()
        if self._settings.image_store:
            store = open_store(self._settings, lambda _: set())
            try:
                if next(store.names(), None) is not None:
                    raise BackupTargetError(f"{store.place} is not empty; name another prefix in DESCRY_IMAGE_STORE")
            finally:
                store.close()

    def _restore(self, reader: BackupReader, progress: Progress) -> dict[str, Any]:
        self._put_models_back(reader)
        self._put_database_back(reader)
        core = open_core(self._settings)
        try:
            self._put_pictures_back(core.store, reader, progress)
            # In the audit that came with the backup: from here on it is another gallery's.
            with audited_verb(core.database), core.store.change() as files, core.database.write() as session:
                files.doom(IdentityService(session).erase_again([*self._erasures, *_gone(reader.manifest)]))
            progress("Building the index", 0, 1)
            core.active.follow()
            report = self._report(core, reader)
        finally:
            core.close(save=True)
        progress("Building the index", 1, 1)
        return report

    def _put_models_back(self, reader: BackupReader) -> None:
        for part in reader.parts():
            if part["path"].startswith("models/"):
                _write(_inside(self._building, part["path"]), reader.blocks(part["path"]))

    def _put_database_back(self, reader: BackupReader) -> None:
        with tempfile.TemporaryDirectory(prefix=".database-", dir=self._building) as scratch:
            file = Path(scratch) / DATABASE
            _write(file, reader.blocks(DATABASE))
            migrated = Database(f"sqlite:///{file}")
            try:
                upgrade(migrated)
                with migrated.write() as session:
                    restored = repository.RestoredRepository(session)
                    restored.rename_log()
                    restored.end_jobs()
            finally:
                migrated.close()
            target = Database(self._settings.database)
            try:
                upgrade(target)
                repository.copy_from_file(file, target)
                with target.write() as session:
                    repository.RestoredRepository(session).jump()
            finally:
                target.close()

    def _put_pictures_back(self, store: ImageStore, reader: BackupReader, progress: Progress) -> None:
        rows = [json.loads(line) for line in reader.read(PICTURES).splitlines()]
        with ThreadPoolExecutor(1 if isinstance(store, LocalStore) else os.cpu_count()) as pool:
            for start in range(0, len(rows), _PAGE):
                page = rows[start : start + _PAGE]
                for row in page:
                    row["data"] = reader.read(content_path(row["picture"]))
                    small = row["thumbnail"] != row["picture"]
                    row["small"] = reader.read(content_path(row["thumbnail"])) if small else None
                list(pool.map(lambda row: store.put_back(row["name"], row.pop("data"), row.pop("small")), page))
                store.keep([row["name"] for row in page])
                progress("Putting pictures back", min(start + _PAGE, len(rows)), len(rows))

    def _report(self, core: Core, reader: BackupReader) -> dict[str, Any]:
        loaded = core.active.loaded
        with core.database.read() as session:
            applied = len(ErasureRepository(session).listed())
            identities, images = IdentityRepository(session).count(), ImageRepository(session).count()
        return {
            "data_dir": str(self._target),
            "taken_at": reader.manifest["finished_at"],
            "from_revision": reader.manifest["revision"],
            "revision": HEAD_REVISION,
            "identities": identities,
            "images": images,
            "erasures": applied,
            "pictures_missing": reader.manifest["pictures_missing"],
            "model_version": None if loaded is None else loaded.name,
        }


def _gone(manifest: dict[str, Any]) -> list[Entry]:
    """Images of an older schema, which has no ledger, whose pictures were gone when they were to be copied."""
    if manifest["erased_upto"] is not None:
        return []
    at = datetime.fromisoformat(manifest["finished_at"])
    return [("image", image_id, at) for image_id in manifest["pictures_missing"]]


def read_ledger(path: Path) -> list[Entry]:
    """A ledger of erasures: lines of JSON as `descry erase --list` prints them, or a backup that is newer.

    Raises:
        BackupError: it is neither.
    """
    try:
        if path.is_dir() or zipfile.is_zipfile(path):
            with _database_of(path) as database, database.read() as session:
                return ErasureRepository(session).listed()
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return [(str(row["kind"]), int(row["number"]), datetime.fromisoformat(row["at"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is no ledger of erasures, and no backup that has one: {error}") from error


@contextmanager
def _database_of(source: Path) -> Iterator[Database]:
    reader = BackupReader(source)
    try:
        with tempfile.TemporaryDirectory(prefix="descry-ledger-") as scratch:
            file = Path(scratch) / DATABASE
            _write(file, reader.blocks(DATABASE))
            database = Database(f"sqlite:///{file}")
            try:
                upgrade(database)
                yield database
            finally:
                database.close()
    finally:
        reader.close()


def _inside(folder: Path, path: str) -> Path:
    place = (folder / path).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise BackupError(f"the backup names a part outside of its folder: {path}")
    return place


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        for block in blocks:
            handle.write(block)
        handle.flush()
        os.fsync(handle.fileno())
