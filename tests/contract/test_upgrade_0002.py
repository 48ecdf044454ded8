"""From 0001 to 0002 and back, with a gallery in it: nothing is lost, and no number is given out twice."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import MetaData, inspect, select, text
from sqlalchemy.exc import IntegrityError

from app.collections.service import CollectionService
from app.database.migrate import run, upgrade
from app.database.sessions import Database
from app.database.tables import Collection, Embedding, Image
from app.errors import ConflictError
from app.gallery.repository import ImageRepository
from app.vectors.repository import LogRepository
from tests.contract.test_repositories import TREE, image

THEN = datetime(2026, 3, 1, 13, 5, tzinfo=UTC)


@pytest.fixture
def old(bare: Database) -> Database:
    """A gallery as version 0001 left it: four images with vectors, and a fifth that was deleted."""
    run(bare, "0001")
    schema = MetaData()
    schema.reflect(bare.engine)
    tables = schema.tables

    def row(number: int) -> dict[str, Any]:
        values = image(number, 1, created_at=THEN, captured_at=THEN, attributes=TREE, camera="Gleis 7")
        del values["collection_id"]
        return values

    with bare.engine.begin() as connection:
        connection.execute(
            tables["identities"].insert(),
            [{"external_id": "A", "attributes": TREE, "provisional": False, "created_at": THEN}],
        )
        connection.execute(tables["images"].insert(), [row(number) for number in range(1, 6)])
        connection.execute(tables["images"].delete().where(tables["images"].c.id == 5))
        connection.execute(
            tables["model_versions"].insert(),
            [{"name": "m", "fingerprint": "f", "spec": {}, "folder": "m", "metrics": {}, "created_at": THEN}],
        )
        connection.execute(
            tables["embeddings"].insert(),
            [
                {"sequence": n, "image_id": n, "model_version_id": 1, "space": "text", "vector": bytes([n, 60])}
                for n in range(1, 5)
            ],
        )
        connection.execute(tables["deletions"].insert(), [{"sequence": 6, "image_id": 5}])
        connection.execute(tables["head"].update().values(sequence=6, active_version_id=1))
    return bare


def pictures(database: Database) -> list[tuple[Any, ...]]:
    statement = "SELECT id, identity_id, sha256, camera, captured_at, attributes, store_name FROM images ORDER BY id"
    with database.engine.connect() as connection:
        return [(*row[:5], str(row[5]), row[6]) for row in connection.execute(text(statement))]


def test_every_image_comes_into_the_default_collection(old: Database) -> None:
    before = pictures(old)
    assert len(before) == 4
    upgrade(old)
    assert pictures(old) == before
    with old.read() as session:
        (collection,) = session.scalars(select(Collection)).all()
        assert collection.name == "default"
        rows = session.scalars(select(Image).order_by(Image.id)).all()
        assert [row.collection.name for row in rows] == ["default"] * 4
        assert (rows[0].captured_at, rows[0].attributes) == (THEN, TREE)
        assert session.scalars(select(Embedding.image_id).order_by(Embedding.sequence)).all() == [1, 2, 3, 4]
        (change,) = LogRepository(session).changes(1, "text", 1, after=0)
        assert (change.ids.tolist(), change.deleted.tolist(), change.sequence) == ([1, 2, 3, 4], [5], 6)


def test_the_new_schema_holds_its_rules(old: Database) -> None:
    upgrade(old)
    with old.write() as session:
        other = CollectionService(session).resolve("other")
        assert other == 2
        (new,) = ImageRepository(session).add([image(1, 1, collection_id=other, store_name="x")])
    assert new == 6  # 5 was deleted, and views remember it as deleted for ever
    for broken in (
        image(1, 1, store_name="y"),
        image(9, 1, collection_id=77),
        image(9, 77),
        image(9, 1, collection_id=None),
    ):
        with pytest.raises(IntegrityError), old.write() as session:
            ImageRepository(session).add([broken])
    with pytest.raises(IntegrityError), old.write() as session:
        ImageRepository(session).delete([1])  # its vector still refers to it, through the table that was made anew


def test_down_and_up_again(old: Database) -> None:
    before = pictures(old)
    upgrade(old)
    run(old, "0001")
    assert pictures(old) == before
    assert not inspect(old.engine).has_table("collections")
    assert "collection_id" not in [column["name"] for column in inspect(old.engine).get_columns("images")]
    upgrade(old)
    assert pictures(old) == before
    with old.write() as session:
        assert ImageRepository(session).add([image(9, 1)]) == [6]


def test_a_way_back_that_would_lose_pictures_is_refused(old: Database) -> None:
    upgrade(old)
    with old.write() as session:
        ImageRepository(session).add(
            [image(1, 1, collection_id=CollectionService(session).resolve("b"), store_name="x")]
        )
    before = pictures(old)
    with pytest.raises(ConflictError, match="1 pictures"):
        run(old, "0001")
    assert pictures(old) == before
    with old.read() as session:
        assert [found.images for found in CollectionService(session).all()] == [4, 1]
