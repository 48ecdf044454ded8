"""Training pairs from feedback: the words of a query, and images of the candidate that somebody confirmed.

Only queries in words alone give pairs: a text beside a picture may say what is different from it. Where a person as a
whole was confirmed, the newest images stand for it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from app.collections.repository import CollectionRepository
from app.core import Core
from app.database.tables import Feedback
from app.errors import ExportTargetError, StorageError
from app.files import check_free, sync_files
from app.gallery.repository import ImageRepository
from app.identities.repository import IdentityRepository
from app.queries.definition import texts
from app.queries.feedback import latest
from app.queries.repository import FeedbackRepository

A_PERSON = 4
"""Most images that a confirmed person gives to one query."""


def confirmed_texts(session: Session) -> dict[int, list[str]]:
    """The words that describe images by confirmed feedback: by image id, each text once, oldest first."""
    by_query: dict[str, list[Feedback]] = {}
    words: dict[str, list[str]] = {}
    for row, definition in FeedbackRepository(session).of_texts():
        by_query.setdefault(row.query_id, []).append(row)
        words[row.query_id] = texts(definition)
    found: dict[int, list[str]] = {}
    for query_id, rows in by_query.items():
        counting = [row for row in latest(rows).values() if row.verdict == "confirm"]
        no = {row.image_id for row in latest(rows).values() if row.verdict == "reject" and row.image_id is not None}
        singles = {row.image_id for row in counting if row.image_id is not None}
        people = [row.identity_id for row in counting if row.image_id is None]
        owned = IdentityRepository(session).images_of(people)
        shown = [image for own in owned.values() for image in [i for i in own if i not in no][-A_PERSON:]]
        for image_id in sorted(singles.union(shown)):
            told = found.setdefault(image_id, [])
            told += [text for text in words[query_id] if text not in told]
    return found


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export of feedback wrote. `held_out`: images left out, whose people measure models."""

    images: int
    pairs: int
    held_out: int


def export_pairs(
    core: Core,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
    *,
    originals: bool = False,
) -> Exported:
    """Write the pairs to a new folder that `training.datasets.descry_gallery` reads, all of it train.

    While heads are blurred, the pictures have that too, unless the originals are asked for. The images are written
    down as trained on, so that no retraining measures by them later.

    Raises:
        ExportTargetError: the folder is there already.
        StorageError, DiskLowError: it cannot be written, or the pictures cannot be read.
    """
    from app.retraining.repository import RetrainingRepository
    from app.retraining.splits import assign

    if folder.exists():
        raise ExportTargetError(f"{folder} exists already; choose another name, or remove it")
    with core.database.write() as session:
        told = confirmed_texts(session)
        data = RetrainingRepository(session)
        described = data.members(None)
        known = {member.image_id for member in described}
        sides = assign([*described, *data.members_of(told.keys() - known, None)])
        taken = [image_id for image_id in told if sides.get(image_id) == "train"]
        data.record(dict.fromkeys(taken, "train"))
    try:
        (folder / "images").mkdir(parents=True)
        lines = []
        for done, image_id in enumerate(taken, start=1):
            check_free(folder, core.settings.min_free_bytes)
            if (line := _write(core, folder, image_id, told[image_id], originals=originals)) is not None:
                lines.append(line)
            tell(done, len(taken))
        (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        sync_files(folder, [folder / "manifest.jsonl"])
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
    pairs = sum(len(told[image_id]) for image_id in taken)
    return Exported(len(lines), pairs, len(told) - len(taken))


def _write(core: Core, folder: Path, image_id: int, words: list[str], *, originals: bool) -> dict[str, object] | None:
    """Copy one picture; its line of the manifest, or None if the image was deleted meanwhile."""
    with core.database.read() as session:
        row = ImageRepository(session).get(image_id)
        names = {collection.id: collection.name for collection, _ in CollectionRepository(session).all()}
    if row is None or (data := core.showing.picture(row.store_name, original=originals)) is None:
        return None
    file = f"images/{image_id:08}.jpg"
    (folder / file).write_bytes(data)
    return {
        "file": file,
        "identity": str(row.identity_id),
        "split": "train",
        "descriptions": words,
        "camera": row.camera,
        "collection": names[row.collection_id],
    }
