"""A filter means on either database what it says, whatever keys, values and instants the gallery holds."""

import hashlib
from itertools import count

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from app.collections.repository import CollectionRepository
from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.search.filters import Filters
from app.search.repository import SearchRepository
from app.search.scope import Scope
from tests.contract.filter_cases import KEYS, STORED, Json, Person, Shot, conditions, filters, galleries, passes

_NUMBERS = count(1)


def store(database: Database, shots: list[Shot]) -> None:
    """Insert people and images; they get their ids."""
    with database.write() as session:
        for person in {id(shot.person): shot.person for shot in shots}.values():
            if not person.id:
                row = Identity(attributes=person.attributes, provisional=person.provisional)
                session.add(row)
                session.flush()
                person.id = row.id
        names = {f"{next(_NUMBERS):064d}": shot for shot in shots}
        rows = [
            {
                "identity_id": shot.person.id,
                "collection_id": 1,
                "sha256": hashlib.sha256(name.encode()).hexdigest(),
                "width": 1,
                "height": 1,
                "camera": shot.camera,
                "captured_at": shot.captured_at,
                "track": shot.track,
                "attributes": shot.attributes,
                "store_name": name,
            }
            for name, shot in names.items()
        ]
        if rows:
            for made in session.execute(insert(Image).returning(Image.store_name, Image.id), rows):
                names[made.store_name].id = made.id


def clear(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(Image))
        session.execute(delete(Identity))


def found(database: Database, wanted: Json, shots: list[Shot]) -> list[int]:
    """What the database finds, in each of the three ways in which it is asked."""
    with database.read() as session:
        images = SearchRepository(session, Scope(filters=Filters.model_validate(wanted)))
        first = images.some(10_000)
        assert images.identity_of(shot.id for shot in shots) == first
        assert images.of_identities({shot.person.id for shot in shots}) == first
        assert all(images.some(limit).items() <= first.items() for limit in (1, len(first)))
    assert first == {shot.id: shot.person.id for shot in shots if shot.id in first}
    return sorted(first)


def test_filters_find_what_plain_python_finds(database: Database) -> None:
    @hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        clear(database)
        shots = data.draw(galleries(most=25))
        store(database, shots)
        for wanted in data.draw(st.lists(filters({shot.person.id for shot in shots}), min_size=6, max_size=6)):
            assert found(database, wanted, shots) == sorted(shot.id for shot in shots if passes(shot, wanted)), wanted

    check()


def test_every_operator_against_every_value(database: Database) -> None:
    """All values that a key may have, under each key, at once."""
    shots = [Shot(Person({}, False), None, None, None, {key: value}, []) for key in KEYS for value in STORED]
    store(database, [*shots, Shot(Person({}, True), None, None, None, {}, [])])

    @hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(conditions())
    def check(condition: Json) -> None:
        wanted = {"image_attributes": [condition]}
        expected = sorted(shot.id for shot in shots if passes(shot, wanted))
        with database.read() as session:
            images = SearchRepository(session, Scope(filters=Filters.model_validate(wanted)))
            assert sorted(set(images.some(10_000)) & {shot.id for shot in shots}) == expected

    check()
