"""Nothing in any table, store or index tells of an erased person, on either database; the ledger has numbers."""

from typing import Any

from sqlalchemy import select

from app.core import Core
from app.database.tables import Embedding, Identity, Image, Query, now
from app.identities.erasing import Eraser
from app.identities.erasures import ErasureRepository
from app.jobs.repository import JobRepository, NewItem
from app.jobs.service import JobService
from app.queries.feedback import FeedbackService
from app.queries.schemas import FeedbackIn
from tests.contract.test_backup_tables import contents
from tests.contract.test_backups import answers, gallery, names

__all__ = ["gallery"]
NAME = "Erika-Mustermann-77"
SAID = {"camera-of-erika", "erika-0.jpg", "scar on the chin", "picture-of-erika", "case-erika", "note-on-erika"}


def tell(core: Core) -> None:
    """All that the service writes down about a person: the first, with the images 1 and 2."""
    with core.database.write() as session:
        person = session.get_one(Identity, 1)
        person.external_id, person.attributes = NAME, {"mark": "scar on the chin"}
        first = session.get_one(Image, 1)
        first.camera, first.description, first.source_name = "camera-of-erika", f"{NAME} in a coat", "erika-0.jpg"
        job = JobService(session).create("ingest", {"collection": "default", "folder": "x"}).id
        JobRepository(session).add_items(job, [NewItem(0, "erika-0.jpg")])
        session.flush()
        (item,) = JobRepository(session).items(job, after=-1, limit=1)
        item.status, item.image_id = "ingested", 1
        row: dict[str, Any] = {"created_at": now(), "model_version_id": 1, "key_id": None}
        saved = {"name": "picture-of-erika", "saved_at": now(), "purpose": "case-erika", "vectors": b"\x07" * 96}
        session.add(Query(id="a" * 32, kind="image", definition={"image": {"sha256": "0" * 64}}, **saved, **row))
        session.add(Query(id="b" * 32, kind="text", definition={"query": f"{NAME} at night"}, **row))
        session.add(Query(id="c" * 32, kind="text", definition={"query": "red"}, purpose=f"find {NAME}", **row))
    with core.database.write() as session:
        verdict = FeedbackIn(image_id=1, verdict="confirm", note="note-on-erika")
        FeedbackService(session).give("a" * 32, [verdict])


def traces(core: Core) -> set[str]:
    """What of the person is in the tables, as `contents` shows it."""
    with core.database.read() as session:
        found = {NAME, *SAID, repr(b"\x07" * 96)}
        for image in session.query(Image).filter(Image.identity_id == 1):
            found |= {image.sha256, image.store_name}
        vectors = select(Embedding.vector).where(Embedding.image_id.in_([1, 2]))
        return found | {repr(bytes(vector)) for vector in session.scalars(vectors)}


def test_no_table_store_or_index_tells_of_an_erased_person(gallery: Core) -> None:
    tell(gallery)
    before, wanted, files = answers(gallery), traces(gallery), names(gallery)[:2]
    assert len(wanted) == len(SAID) + 2 + 2 * 2 + 2
    assert {trace for trace in wanted if trace not in repr(contents(gallery))} == set()
    assert gallery.store.read(files[0], thumbnail=True) != gallery.store.read(files[0])
    Eraser(gallery).identity(1)
    told = repr(contents(gallery))
    assert {trace for trace in wanted if trace in told} == set()
    assert answers(gallery) == [row for row in before if row[0] not in (1, 2)]
    assert not set(files) & set(gallery.store.names())
    assert not any(gallery.store.read(name, thumbnail=small) for name in files for small in (False, True))
    with gallery.database.read() as session:
        assert [entry[:2] for entry in ErasureRepository(session).listed()] == [
            ("image", 1),
            ("image", 2),
            ("identity", 1),
        ]
