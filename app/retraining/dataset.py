"""The data set of a retraining: described images of the gallery, as `training.datasets.descry_gallery` reads them.

    manifest.jsonl                a line for each picture: file, identity, split, description, camera, collection, ...
    images/00000/00000017.jpg     the picture of image 17
    dataset.json                  written last: the set is complete

Pictures are copied chunk by chunk, and what is there already is not copied again, so that a killed export goes on. A
set of which an image was deleted since is made anew before a training starts or resumes on it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.collections.repository import CollectionRepository
from app.collections.service import CollectionService
from app.core import Core
from app.database.tables import Identity, Image
from app.errors import RetrainingDataError, StorageError
from app.files import check_free, sync_files
from app.gallery.repository import ImageRepository
from app.identities.repository import IdentityRepository
from app.queries.pairs import confirmed_texts
from app.retraining.repository import RetrainingRepository
from app.retraining.splits import SPLITS, Split, assign
from app.vectors.repository import LogRepository

MANIFEST, ABOUT = "manifest.jsonl", "dataset.json"
_NAME = "the gallery"
_CHUNK = 256
Going = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Summary:
    """A data set on disk.

    Attributes:
        fingerprint: hex digest of its manifest and of the sets beside it.
        sequence: place in the log of which it is true.
        images: how many on each side.
        image_ids: of the gallery.
    """

    fingerprint: str
    sequence: int
    images: dict[str, int]
    image_ids: frozenset[int]


class GalleryDataset:
    """Writes the data set of some collections, or of all, to a folder.

    Args:
        also: further data sets, whose train split is trained on together with the gallery's.
        feedback: whether the words of queries describe the candidates that were confirmed, where those are trained on.
    """

    def __init__(
        self,
        core: Core,
        folder: Path,
        collections: Sequence[str] | None,
        also: Sequence[dict[str, str]] = (),
        *,
        feedback: bool = False,
    ) -> None:
        self._core, self.folder, self._collections, self._also = core, folder, collections, list(also)
        self._feedback = feedback
        self._texts: dict[int, list[str]] = {}

    def made(self) -> Summary | None:
        """The set that lies there, if it is complete and nothing in it was deleted since."""
        try:
            about = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            ids = frozenset(about["image_ids"])
            found = Summary(about["fingerprint"], about["sequence"], about["images"], ids)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with self._core.database.read() as session:
            gone = LogRepository(session).deleted_after(found.sequence)
        return found if ids.isdisjoint(gone) else None

    def make(self, going: Going, tell: Callable[[int, int], None]) -> Summary | None:
        """Write the set; None if `going` said to stop. `tell` is told (pictures copied, all).

        Raises:
            CollectionNotFoundError: a collection does not exist.
            RetrainingDataError: a side would be empty.
            StorageError, DiskLowError: the disk is full, or the store does not answer.
        """
        (self.folder / ABOUT).unlink(missing_ok=True)
        sides, sequence = self._sides()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            rows = self._copy(list(sides), going, tell)
            if rows is None:
                return None
            self._remove_others(set(rows))
            summary = self._write(rows, sides, sequence)
            sync_files(self.folder, [self.folder / MANIFEST, self.folder / ABOUT])
        except OSError as error:
            raise StorageError(f"the data set cannot be written: {error.strerror or error}") from error
        return summary

    def discard(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sides(self) -> tuple[dict[int, Split], int]:
        """The side of every image of the set, written down in the gallery."""
        with self._core.database.write() as session:
            collections = CollectionService(session)
            only = None if self._collections is None else [collections.find(name) for name in self._collections]
            sides, self._texts = sides_of(session, only, feedback=self._feedback)
            check_sides(sides)
            RetrainingRepository(session).record(sides)
            return sides, LogRepository(session).head().sequence

    def _copy(self, ids: list[int], going: Going, tell: Callable[[int, int], None]) -> list[int] | None:
        kept: list[int] = []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(ids), _CHUNK):
                if not going():
                    return None
                part = ids[start : start + _CHUNK]
                check_free(self.folder, self._core.settings.min_free_bytes)
                with self._core.database.read() as session:
                    named = {i: row.store_name for i in part if (row := ImageRepository(session).get(i)) is not None}
                there = list(pool.map(lambda item: self._copy_one(*item), named.items()))
                kept += [image_id for image_id, copied in zip(named, there, strict=True) if copied]
                tell(min(start + _CHUNK, len(ids)), len(ids))
        return kept

    def _copy_one(self, image_id: int, store_name: str) -> bool:
        path = self.folder / _file(image_id)
        if path.is_file():
            return True
        if (data := self._core.store.read(store_name)) is None:
            return False  # deleted meanwhile
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)
        return True

    def _remove_others(self, kept: set[int]) -> None:
        for path in list(self.folder.glob("images/*/*")):
            if path.suffix != ".jpg" or int(path.stem) not in kept:
                path.unlink()

    def _write(self, ids: Sequence[int], sides: dict[int, Split], sequence: int) -> Summary:
        digest = hashlib.sha256(json.dumps(self._also, sort_keys=True).encode())
        counts: dict[str, int] = dict.fromkeys(SPLITS, 0)
        with self._core.database.read() as session, (self.folder / MANIFEST).open("w", encoding="utf-8") as manifest:
            names = {row.id: row.name for row, _ in CollectionRepository(session).all()}
            for start in range(0, len(ids), _CHUNK):
                page = IdentityRepository(session).page(ids[start : start + _CHUNK])
                for image_id, (image, identity) in sorted(page.items()):
                    counts[sides[image_id]] += 1
                    fields = _line(image, identity, names[image.collection_id], sides[image_id])
                    line = json.dumps(with_texts(fields, self._texts.get(image_id, ())))
                    digest.update(line.encode())
                    manifest.write(line + "\n")
        found = Summary(digest.hexdigest(), sequence, counts, frozenset(ids))
        about = {
            "name": _NAME,
            "also": self._also,
            "fingerprint": found.fingerprint,
            "sequence": sequence,
            "images": counts,
            "image_ids": sorted(ids),
        }
        partial = self.folder / f"{ABOUT}.partial"
        partial.write_text(json.dumps(about), encoding="utf-8")
        partial.replace(self.folder / ABOUT)
        return found


def sides_of(
    session: Session, collection_ids: Sequence[int] | None, *, feedback: bool
) -> tuple[dict[int, Split], dict[int, list[str]]]:
    """The side of every described image, and the words of queries whose candidate was confirmed, by image.

    Those words are trained on alone: nobody of val and test gets any, and a person whom only they describe is in the
    set if it stands in train.
    """
    data = RetrainingRepository(session)
    described = data.members(collection_ids)
    texts = confirmed_texts(session) if feedback else {}
    known = {member.image_id for member in described}
    sides = assign([*described, *data.members_of(texts.keys() - known, collection_ids)])
    sides = {image_id: side for image_id, side in sides.items() if image_id in known or side == "train"}
    return sides, {image_id: told for image_id, told in texts.items() if sides.get(image_id) == "train"}


def with_texts(line: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """A line of the manifest with further descriptions."""
    if not texts:
        return line
    own = [line["description"]] if line.get("description") else []
    rest = {name: value for name, value in line.items() if name != "description"}
    return {**rest, "descriptions": list(dict.fromkeys([*own, *texts]))}


def check_sides(sides: dict[int, Split]) -> None:
    """Refuse a gallery of which a side is empty.

    Raises:
        RetrainingDataError: one is.
    """
    empty = [split for split in SPLITS if split not in sides.values()]
    if empty:
        raise RetrainingDataError(
            f"{len(sides):,} images have a description, and nobody of them stands in {' and '.join(empty)}: 70 % of "
            "all people are trained on, 10 % choose the best epoch, 20 % are for the gate. Describe more people"
        )


def _file(image_id: int) -> str:
    return f"images/{image_id // 1000:05}/{image_id:08}.jpg"


def _line(image: Image, identity: Identity, collection: str, split: Split) -> dict[str, Any]:
    fields = {
        "file": _file(image.id),
        "sha256": image.sha256,
        "identity": str(identity.id),
        "split": split,
        "description": image.description,
        "camera": image.camera,
        "collection": collection,
        "attributes": {**image.attributes, **identity.attributes} or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
