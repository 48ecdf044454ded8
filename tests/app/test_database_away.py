"""An ingest whose database goes away: every chunk that was prepared is closed, and its pictures go later."""

import fcntl
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy.orm import Session

from app.core import Core
from app.errors import DatabaseUnreachableError
from app.gallery.ingest import Outcome
from app.gallery.local_store import LocalStore
from app.gallery.sources import open_source

CHUNK = 4


def test_every_chunk_is_closed_and_its_pictures_go_later(core: Core, tmp_path: Path) -> None:
    away, known = threading.Event(), core.store._referenced

    def referenced(names: Sequence[str]) -> set[str]:
        if away.is_set():
            raise DatabaseUnreachableError("the database does not answer; try again in a moment")
        return known(names)

    def record(session: Session, outcomes: Sequence[Outcome]) -> None:
        away.set()
        raise DatabaseUnreachableError("the database does not answer; try again in a moment")

    folder = tmp_path / "people"
    folder.mkdir()
    for number in range(6 * CHUNK):
        Image.new("RGB", (24, 48), (10 * number, 80, 120)).save(folder / f"{number:02}.png")
    store = LocalStore(tmp_path / "elsewhere" / "images", referenced)
    other = Core(core.settings.model_copy(update={"ingest_chunk": CHUNK}), core.database, store)
    other._active = core.active  # whose threads the fixture ends
    with pytest.raises(DatabaseUnreachableError):
        list(other.ingest().run(open_source(folder), record))
    journals = list(store._journals.glob("*"))
    assert len(journals) > 1
    for journal in journals:  # a chunk that was not closed would hold its own still
        with journal.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    away.clear()
    with store.change():
        pass
    assert list(store._journals.glob("*")) == []
    assert list(store.names()) == []
