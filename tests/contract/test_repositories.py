"""Every repository on both databases, with values at the edges of their types and lists beyond one statement."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.database.tables import EXTERNAL_ID_CHARS, Deletion, Embedding, Identity, ModelVersion
from app.gallery.repository import IN_LIMIT, ImageRepository
from app.identities.repository import IdentityRepository
from app.registry.repository import ModelRepository
from app.search.repository import SearchRepository
from app.search.scope import Scope
from app.vectors.repository import LogRepository, NewEmbedding

MANY = IN_LIMIT * 2 + 7
TREE = {"text": "Zürich \u2603 \U0001f9e5 'quoted' \"twice\" %s :x", "deep": {"list": [1, 2.5, None, True, []]}}


def image(number: int, identity_id: int, **columns: Any) -> dict[str, Any]:  # noqa: ANN401  columns of the table
    return {
        "identity_id": identity_id,
        "collection_id": 1,
        "sha256": f"{number:064x}",
        "width": 40,
        "height": 90,
        "camera": None,
        "captured_at": None,
        "description": None,
        "attributes": {},
        "source_name": None,
        "store_name": f"00/00/{number:032x}",
        **columns,
    }


def version(name: str) -> dict[str, Any]:
    return {"name": name, "fingerprint": name.ljust(64, "0"), "spec": TREE, "folder": name, "metrics": {"mAP": 0.25}}


@pytest.fixture
def statements(database: Database) -> Iterator[list[int]]:
    """Number of parameters of each statement that was sent."""
    sent: list[int] = []

    def note(_c: object, _cursor: object, _s: str, parameters: Any, _context: object, _many: bool) -> None:  # noqa: ANN401  of a DBAPI
        sent.append(len(parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine, "before_cursor_execute", note)


def add_images(session: Session, count: int) -> list[int]:
    (identity,) = IdentityRepository(session).add_provisional(1)
    return ImageRepository(session).add([image(number, identity) for number in range(count)])


def test_an_image_comes_back_as_it_went_in(database: Database) -> None:
    here = datetime(2026, 3, 29, 2, 30, 15, 123456, timezone(timedelta(hours=5, minutes=45)))
    full = {"camera": "Gleis 7", "captured_at": here, "description": "ß" * 4000, "attributes": TREE}
    with database.write() as session:
        named = IdentityRepository(session).resolve(["A"])["A"]
        ids = ImageRepository(session).add([image(1, named, source_name="x/\N{SNOWMAN}.jpg", **full), image(2, named)])
    with database.read() as session:
        first, second = (ImageRepository(session).get(number) for number in ids)
    assert first is not None
    assert second is not None
    assert (first.camera, first.description, first.attributes) == ("Gleis 7", "ß" * 4000, TREE)
    assert first.captured_at == here
    assert first.captured_at.tzinfo is first.created_at.tzinfo is UTC
    assert first.source_name == "x/\N{SNOWMAN}.jpg"
    assert (second.camera, second.captured_at, second.description, second.source_name) == (None, None, None, None)


def test_a_naive_instant_is_refused(database: Database) -> None:
    row = image(1, 1, captured_at=datetime(2026, 1, 1))
    with pytest.raises(StatementError, match="naive"), database.write() as session:
        ImageRepository(session).add([row])


def test_ids_follow_the_order_of_what_was_inserted(database: Database) -> None:
    names = [f"person {number * 7919 % 5000}" for number in range(5000)]
    with database.write() as session:
        people = IdentityRepository(session)
        made = people.resolve(names)
        ids = ImageRepository(session).add([image(number, made[name]) for number, name in enumerate(names)])
    assert ids == sorted(ids)
    with database.read() as session:
        images, people = ImageRepository(session), IdentityRepository(session)
        assert (images.count(), people.count()) == (5000, 5000)
        assert images.identity_of(ids) == {number: made[name] for number, name in zip(ids, names, strict=True)}
        assert people.resolve(names[:10]) == {name: made[name] for name in names[:10]}


def stores(version_id: int, *spaces: str) -> ModelVersion:
    """A version that keeps a vector of each image in each of the spaces."""
    return ModelVersion(id=version_id, spec={"spaces": {space: {"stored_as": space} for space in spaces}})


def test_lists_longer_than_a_statement(database: Database, statements: list[int]) -> None:
    with database.write() as session:
        ids = add_images(session, 12)
        owner = ImageRepository(session).identity_of(ids)[ids[0]]
    everything = [*range(10**9, 10**9 + MANY), *ids]
    with database.write() as session:
        images, people = ImageRepository(session), IdentityRepository(session)
        hashes = [*(f"{number:064x}" for number in range(10**9, 10**9 + MANY)), f"{3:064x}"]
        assert images.known(hashes, 1) == {f"{3:064x}": ids[3]}
        assert images.referenced([f"00/00/{number:032x}" for number in range(MANY)]) == {
            f"00/00/{number:032x}" for number in range(12)
        }
        assert list(images.identity_of(everything)) == ids
        found = SearchRepository(session, Scope())
        assert sorted(found.of_identities([*range(10**9, 10**9 + MANY), owner])) == ids
        assert sorted(found.identity_of(everything)) == ids
        assert sorted(people.page(everything)) == ids
        assert images.still_lacking(stores(1, "text"), everything) == set(ids)
        LogRepository(session).delete(everything)
        images.delete(everything)
        assert (images.count(), LogRepository(session).head().sequence) == (0, MANY + 12)
        assert session.scalar(select(func.count()).select_from(Deletion)) == MANY + 12
    assert max(statements) < 65_535


def test_identities(database: Database) -> None:
    with database.write() as session:
        people = IdentityRepository(session)
        found = people.resolve(["b", "a", "b", "ä"])
        (unnamed,) = people.add_provisional(1)
        images = ImageRepository(session).add([image(1, found["a"]), image(2, found["a"]), image(3, unnamed)])
    with database.write() as session:
        people = IdentityRepository(session)
        assert people.resolve(["a"]) == {"a": found["a"]}
        row = people.by_external_id("ä")
        assert row is not None
        assert (row.id, row.provisional, row.attributes) == (found["ä"], False, {})
        assert people.by_external_id("A") is None  # names are compared as they are, on every database
        assert [item.id for item in people.images(found["a"])] == images[:2]
        assert people.has_images(unnamed)
        assert not people.has_images(found["b"])
        row.attributes = TREE
        people.delete(found["b"])
        assert people.get(found["b"]) is None
    with database.read() as session:
        row = IdentityRepository(session).get(found["ä"])
        assert row is not None
        assert row.attributes == TREE


def test_references_are_kept_and_names_are_unique(database: Database) -> None:
    with database.write() as session:
        people = IdentityRepository(session)
        person = people.resolve(["a"])["a"]
        ImageRepository(session).add([image(1, person)])
    with pytest.raises(IntegrityError), database.write() as session:
        IdentityRepository(session).delete(person)
    with pytest.raises(IntegrityError), database.write() as session:
        ImageRepository(session).add([image(2, person + 77)])
    with pytest.raises(IntegrityError), database.write() as session:
        ImageRepository(session).add([image(1, person, store_name="another")])
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Identity(external_id="a", provisional=False))


def test_the_longest_names_fit(database: Database) -> None:
    longest = "\U0001f9e5" * EXTERNAL_ID_CHARS
    with database.write() as session:
        assert list(IdentityRepository(session).resolve([longest])) == [longest]
    if database.engine.dialect.name == "postgresql":  # SQLite keeps whatever it is given; checks come before it
        with pytest.raises(DataError), database.write() as session:
            IdentityRepository(session).resolve([longest + "x"])


def test_model_versions(database: Database) -> None:
    with database.write() as session:
        models = ModelRepository(session)
        ids = [models.add(**version("one")), models.add(**version("two"))]
        models.mark_activated(ids[1])
        LogRepository(session).activate(ids[1])
    with database.read() as session:
        models = ModelRepository(session)
        assert [row.id for row in models.all()] == ids
        row = models.by_name("two")
        assert row is not None
        assert (row.spec, row.metrics) == (TREE, {"mAP": 0.25})
        assert row.activated_at is not None
        assert row.activated_at.tzinfo is UTC
        assert models.by_fingerprint("one".ljust(64, "0")) is models.get(ids[0])
        assert LogRepository(session).head().active_version_id == ids[1]
    with pytest.raises(IntegrityError), database.write() as session:
        LogRepository(session).activate(99)


def test_the_log(database: Database) -> None:
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((30, 8)).astype(np.float16)
    with database.write() as session:
        log, ids = LogRepository(session), add_images(session, 30)
        models = [ModelRepository(session).add(**version(name)) for name in ("one", "two")]
        log.add([NewEmbedding(number, models[0], "text", row) for number, row in zip(ids, vectors, strict=True)])
        log.add([NewEmbedding(ids[0], models[1], "image", vectors[0][:4])])
        log.delete([ids[4], ids[9]])
    with database.read() as session:
        log, images = LogRepository(session), ImageRepository(session)
        (change,) = log.changes(models[0], "text", 8, after=0)
        kept = [row for row in range(30) if row not in (4, 9)]
        assert change.sequence == log.head().sequence == 33
        assert change.ids.tolist() == [ids[row] for row in kept]
        assert np.array_equal(change.vectors, vectors[kept])
        assert sorted(change.deleted.tolist()) == [ids[4], ids[9]]
        (later,) = log.changes(models[1], "image", 4, after=30)
        assert (later.ids.tolist(), later.vectors.shape) == ([ids[0]], (1, 4))
        assert (log.count(models[0], "text"), log.count(models[1], "image")) == (28, 1)
        stored = log.vectors(models[0], "text", [ids[4], ids[7], ids[2], 10**9])
        assert set(stored) == {ids[2], ids[7]}  # another was deleted
        np.testing.assert_array_equal(stored[ids[7]], vectors[7])
        assert log.vectors(models[1], "image", ids[:3])[ids[0]].shape == (4,)
        scope = Scope(without_images=frozenset(ids[1:]), without_identities=frozenset([10**9]))
        assert set(SearchRepository(session, scope).some(100)) == {ids[0]}
        owner = images.get(ids[0])
        assert owner is not None
        scope = Scope(without_identities=frozenset([owner.identity_id]))
        assert SearchRepository(session, scope).of_identities([owner.identity_id]) == {}
        assert images.count_lacking(stores(models[1], "image")) == 29
        assert images.count_lacking(stores(models[1], "image", "text")) == 30  # one has half of what it needs
        assert [row[0] for row in images.lacking(stores(models[1], "image"), after=ids[0], limit=3)] == ids[1:4]
        assert isinstance(session.scalars(select(Embedding.vector)).first(), bytes)


def test_a_read_sees_one_state(database: Database) -> None:
    with database.read() as session:
        assert IdentityRepository(session).count() == 0
        with database.write() as other:
            IdentityRepository(other).resolve(["a"])
        assert IdentityRepository(session).count() == 0
    with database.read() as session:
        assert IdentityRepository(session).count() == 1
        assert session.scalars(select(ModelVersion)).all() == []
