"""One export: pictures and manifests in a folder or a zip, as `descry ingest` reads them.

    manifest.jsonl                a line for each picture: file, identity, camera, captured_at, description, attributes
    images/00000/00000017.jpg     the upright picture of image 17
    identities.jsonl              attributes of people, for whoever wants them: an ingest does not read it

An export of everything has one such folder for each collection, and `collections.json` that names them: an ingest
takes a folder into one collection.

It is built under a temporary name beside its own, chunk by chunk with a cursor, so that a killed export goes on. The
manifests are written at the end, from the rows as they are then. Before it gets its name it is compared with the
deletions since, in a unit of work that keeps every other writer out: what was deleted before it was done is not in it.
"""

import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.collections.repository import CollectionRepository
from app.collections.service import CollectionService
from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.errors import ExportTooLargeError, StorageError
from app.exports.results import file_of
from app.files import sync_files, sync_folder
from app.gallery.repository import ImageRepository
from app.gallery.showing import Showing
from app.gallery.store import ImageStore
from app.identities.repository import IdentityRepository
from app.settings import Settings
from app.vectors.repository import LogRepository

_PAGE = 1000
_STATE = ".export.json"
Going = Callable[[], bool]
"""Asked now and then; False ends the work at that place."""


class Export:
    """Writes one collection, or everything, to `target`: a zip if its name ends so, else a folder.

    Pictures are as people see them: while heads are blurred, an export has the originals only if they are asked for.
    """

    def __init__(
        self,
        database: Database,
        store: ImageStore,
        settings: Settings,
        target: Path,
        collection: str | None,
        *,
        originals: bool = False,
    ) -> None:
        self._database, self._settings = database, settings
        self._showing, self._originals = Showing(store, settings), originals
        self.blurred = self._showing.blurred and not originals
        self._target, self._collection = target, collection
        self.folder = target.with_name(f"{target.name}.partial")
        self._state: dict[str, Any] = {}
        self.lost: list[int] = []
        """Images whose picture is not in the store; they are left out."""

    def begin(self) -> int:
        """Open the unfinished export of the same collection under this name, or a new one; returns its images.

        Raises:
            CollectionNotFoundError: there is no such collection.
            StorageError: the folder cannot be made.
        """
        with self._database.read() as session:
            collection_id = None if self._collection is None else CollectionService(session).find(self._collection)
            images, head = ImageRepository(session), LogRepository(session).head()
            fresh: dict[str, Any] = {
                "of": [head.history, collection_id, self.blurred],
                "last": images.last_id(),
                "after": 0,
                "done": 0,
                "bytes": 0,
            }
            found = self._read_state()
            self._state = found if found.get("of") == fresh["of"] else fresh
            total = images.count_in(collection_id, last=self._state["last"])
        try:
            if self._state is fresh:
                self.discard()
                self.folder.mkdir(parents=True)
                self._write_state()
        except OSError as error:
            raise _unwritable(error) from error
        return total

    @property
    def done(self) -> int:
        """Pictures copied so far."""
        return int(self._state["done"])

    def copy(self) -> bool:
        """Copy the next chunk of pictures; False when none is left.

        Raises:
            ExportTooLargeError: the pictures are more bytes than an export may have.
            StorageError: the store does not answer, or the disk is full.
        """
        of, state = self._state["of"], self._state
        with self._database.read() as session:
            rows = ImageRepository(session).listed(
                of[1], after=state["after"], last=state["last"], limit=self._settings.ingest_chunk
            )
        if not rows:
            return False
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                sizes = list(pool.map(lambda row: self._copy_one(*row), rows))
            sync_files(self.folder, [])
            bytes_now = state["bytes"] + sum(sizes)
            if bytes_now > self._settings.max_export_bytes:
                raise ExportTooLargeError(
                    f"the pictures have more than {self._settings.max_export_bytes:,} bytes (DESCRY_MAX_EXPORT_BYTES); "
                    "export one collection at a time, or raise the limit"
                )
            self._state = {**state, "after": rows[-1][0], "done": state["done"] + len(rows), "bytes": bytes_now}
            self._write_state()
        except OSError as error:
            raise _unwritable(error) from error
        return True

    def publish(self, record: Callable[[Session, int], None], going: Going = lambda: True) -> bool:
        """Write the manifests, pack, and give the export its name; `record` is told how many images it has.

        Returns:
            Whether it has its name; False if `going` said so, or if something in it was deleted meanwhile: call again.

        Raises:
            StorageError: the disk is full.
        """
        try:
            ids, sequence = self._write_manifests()
            made = self.folder
            if self._target.suffix == ".zip":
                made = self.folder / f".zip-{secrets.token_hex(8)}"  # whoever else may be packing here
                if not self._pack(made, going):
                    made.unlink()
                    return False
            else:
                sync_files(self.folder, [])
            with self._database.write() as session:
                if not going() or not ids.isdisjoint(LogRepository(session).deleted_after(sequence)):
                    if made != self.folder:
                        made.unlink()
                    return False
                record(session, len(ids))
                (self.folder / _STATE).unlink(missing_ok=True)
                made.replace(self._target)
                sync_folder(self._target.parent)
        except OSError as error:
            raise _unwritable(error) from error
        self.discard()
        return True

    def discard(self) -> None:
        """Remove what is unfinished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy_one(self, image_id: int, collection_id: int, store_name: str) -> int:
        if (data := self._showing.picture(store_name, original=self._originals)) is None:
            with self._database.read() as session:
                if ImageRepository(session).get(image_id) is not None:  # else it was deleted meanwhile
                    self.lost.append(image_id)
            return 0
        path = self.folder / self._place(collection_id) / file_of(image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return len(data)

    def _place(self, collection_id: int) -> Path:
        return Path() if self._collection is not None else Path(f"collection-{collection_id}")

    def _write_manifests(self) -> tuple[set[int], int]:
        """The ids that are in the export now, and the place in the log that this is true of."""
        last, (history, only, _) = self._state["last"], self._state["of"]
        ids: set[int] = set()
        with self._database.read() as session:
            sequence = LogRepository(session).head().sequence
            chosen = [
                (row, count)
                for row, count in CollectionRepository(session).all()
                if row.id == only or (only is None and count)
            ]
            for row, _ in chosen:
                self._write_manifest(session, row.id, last, history, ids)
            if only is None:
                named = [{"folder": str(self._place(row.id)), "name": row.name, "images": n} for row, n in chosen]
                (self.folder / "collections.json").write_text(json.dumps(named, ensure_ascii=False, indent=1) + "\n")
        for path in list(self.folder.rglob("*.jpg")):
            if int(path.stem) not in ids:
                path.unlink()
        return ids, sequence

    def _write_manifest(self, session: Session, collection_id: int, last: int, history: str, ids: set[int]) -> None:
        root = self.folder / self._place(collection_id)
        images, identities, after = ImageRepository(session), IdentityRepository(session), 0
        root.mkdir(parents=True, exist_ok=True)
        named: set[int] = set()
        with (
            (root / "manifest.jsonl").open("w", encoding="utf-8") as manifest,
            (root / "identities.jsonl").open("w", encoding="utf-8") as people,
        ):
            while rows := images.listed(collection_id, after=after, last=last, limit=_PAGE):
                after = rows[-1][0]
                page = identities.page(row[0] for row in rows)
                for image_id, _, _ in rows:
                    if not (root / file_of(image_id)).is_file():
                        continue
                    image, identity = page[image_id]
                    ids.add(image_id)
                    _put(manifest, _line(image, _label(identity, history)))
                    if identity.attributes and identity.id not in named:
                        named.add(identity.id)
                        _put(people, {"identity": _label(identity, history), "attributes": identity.attributes})
        if not named:
            (root / "identities.jsonl").unlink()

    def _pack(self, path: Path, going: Going) -> bool:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:  # JPEG does not get smaller
            for number, file in enumerate(self._files()):
                if number % _PAGE == 0 and not going():
                    return False
                kind = zipfile.ZIP_STORED if file.suffix == ".jpg" else zipfile.ZIP_DEFLATED
                packed.write(file, file.relative_to(self.folder).as_posix(), kind)
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        return True

    def _files(self) -> Iterator[Path]:
        return (file for file in sorted(self.folder.rglob("*")) if file.is_file() and not file.name.startswith("."))

    def _read_state(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / _STATE).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write_state(self) -> None:
        partial = self.folder / f"{_STATE}.new"
        partial.write_text(json.dumps(self._state))
        partial.replace(self.folder / _STATE)


def _label(identity: Identity, history: str) -> str | None:
    """What tells people apart in the manifest. Someone without a name who may have several pictures gets one."""
    if identity.external_id is not None or identity.provisional:
        return identity.external_id
    return f"unnamed-{history[:8]}-{identity.id}"


def _line(image: Image, identity: str | None) -> dict[str, Any]:
    fields = {
        "file": file_of(image.id),
        "identity": identity,
        "camera": image.camera,
        "captured_at": image.captured_at.isoformat() if image.captured_at else None,
        "description": image.description,
        "attributes": image.attributes or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _put(handle: Any, value: dict[str, Any]) -> None:  # noqa: ANN401  a text file
    handle.write(json.dumps(value, ensure_ascii=False) + "\n")


def _unwritable(error: OSError) -> StorageError:
    return StorageError(f"the export cannot be written: {error.strerror or error}")
