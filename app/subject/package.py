"""Everything that is kept about one person, in one zip that the person can be given.

subject.json            the person, the timeline, what became of the identity, where it was returned and judged
images.jsonl            a line for each image: what is known of it, its files below, its vectors by version and space
images/00000/*.jpg      the pictures, and thumbnails/... where they differ
"""

import json
import os
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.core import Core
from app.database.tables import IdentityEvent, Image, now
from app.errors import ExportTargetError, StorageError
from app.exports.results import file_of
from app.identities.history import HistoryRepository
from app.identities.schemas import EventOut, IdentityOut, ImageOut
from app.identities.service import IdentityService
from app.identities.timeline import MOST_PAGE, timeline
from app.subject.repository import SubjectRepository

_EVENTS = 1000


def _events(session: Session, identity_id: int) -> Iterator[IdentityEvent]:
    """All of them: an association may have joined thousands of unnamed people."""
    last = 0
    while rows := HistoryRepository(session).page(identity_id, after=last, limit=_EVENTS):
        yield from rows
        last = rows[-1].id


class Subject:
    """One person, as an answer to somebody who asks what is kept about them."""

    def __init__(self, core: Core, identity_id: int) -> None:
        self._core, self._id = core, identity_id

    def summary(self) -> dict[str, Any]:
        """What is kept, without pictures and vectors: for the review before anything is given out or erased.

        Raises:
            IdentityNotFoundError, IdentityMergedError: there is no such identity.
        """
        with self._core.database.read() as session:
            return self._told(session)

    def write(self, target: Path) -> int:
        """Write the zip; returns how many images it has. It appears whole or not at all.

        Raises:
            ExportTargetError: something has the name already.
            StorageError: it cannot be written, or the pictures' store does not answer.
            IdentityNotFoundError, IdentityMergedError: there is no such identity.
        """
        if target.exists():
            raise ExportTargetError(f"{target} exists already; choose another name, or remove it")
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
        try:
            with self._core.database.read() as session:
                count = self._pack(session, partial)
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())
            partial.rename(target)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return count

    def _pack(self, session: Session, partial: Path) -> int:
        told, images = self._told(session), SubjectRepository(session).images(self._id)
        vectors = SubjectRepository(session).vectors([image.id for image in images])
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as packed:
            lines = []
            for image in images:
                files = self._put_files(packed, image)
                row = {**ImageOut.of(image).model_dump(mode="json"), "sha256": image.sha256, "split": image.split}
                lines.append(
                    json.dumps({**row, **files, "vectors": vectors.get(image.id, [])}, ensure_ascii=False) + "\n"
                )
            packed.writestr("images.jsonl", "".join(lines), zipfile.ZIP_DEFLATED)
            packed.writestr("subject.json", json.dumps(told, ensure_ascii=False, indent=1), zipfile.ZIP_DEFLATED)
        return len(images)

    def _put_files(self, packed: zipfile.ZipFile, image: Image) -> dict[str, str | None]:
        picture = self._core.store.read(image.store_name)
        if picture is None:
            return {"file": None, "thumbnail": None}
        name = file_of(image.id)
        packed.writestr(name, picture)
        small = self._core.store.read(image.store_name, thumbnail=True)
        if small is None or small == picture:
            return {"file": name, "thumbnail": None}
        packed.writestr(f"thumbnails/{name.removeprefix('images/')}", small)
        return {"file": name, "thumbnail": f"thumbnails/{name.removeprefix('images/')}"}

    def _told(self, session: Session) -> dict[str, Any]:
        person = IdentityService(session).identity(self._id)
        found, events = SubjectRepository(session), list(_events(session, self._id))
        sightings, page = list[dict[str, Any]](), timeline(session, self._id, limit=MOST_PAGE)
        while True:
            sightings += [sighting.model_dump(mode="json") for sighting in page.sightings]
            if page.next_cursor is None:
                break
            page = timeline(session, self._id, limit=MOST_PAGE, cursor=page.next_cursor)
        return {
            "written_at": now().isoformat(),
            "identity": IdentityOut.of(person).model_dump(mode="json"),
            "images": len(found.images(self._id)),
            "sightings": sightings,
            "history": [EventOut.of(event).model_dump(mode="json") for event in events],
            "returned_and_judged": found.judged(self._id),
            "identified": found.identified(self._id),
        }
