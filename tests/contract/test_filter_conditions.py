"""A filter means on either database what it says, whatever keys, values and instants the gallery holds."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from itertools import count

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.search.filters import Filters
from app.search.repository import SearchRepository
from app.search.scope import Scope
from tests.contract.filter_cases import KEYS, STORED, ZONES, Json, Person, Shot, conditions, filters, galleries, passes

_NUMBERS = count(1)


def store(database: Database, shots: list[Shot]) -> None:
    """Insert people and images; they get their ids."""
    with database.write() as session:
        new = [person for person in {id(shot.person): shot.person for shot in shots}.values() if not person.id]
        made = insert(Identity).returning(Identity.id, sort_by_parameter_order=True)
        if new:
            rows = [{"attributes": person.attributes, "provisional": person.provisional} for person in new]
            for person, identity_id in zip(new, session.scalars(made, rows), strict=True):
                person.id = identity_id
        names = {f"{next(_NUMBERS):064d}": shot for shot in shots}
        images = [
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
        if images:
            for row in session.execute(insert(Image).returning(Image.store_name, Image.id), images):
                names[row.store_name].id = row.id


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


def test_the_time_of_day_follows_the_clocks(database: Database) -> None:
    """Every half hour of the days round a change of the clocks, at the ends of what is known, and far outside."""
    days = [date(2026, 3, 28), date(2026, 10, 24), date(2026, 4, 4), date(1970, 1, 1), date(2099, 12, 30)]
    starts = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    instants = [start + timedelta(minutes=30 * step, microseconds=step) for start in starts for step in range(96)]
    person = Person({}, True)
    shots = [Shot(person, None, at, None, {}, []) for at in [*instants, None, datetime(9999, 12, 30, tzinfo=UTC)]]
    store(database, shots)
    hours = [("00:00", "00:01"), ("01:30", "02:30"), ("02:00", "03:00"), ("22:00", "06:00"), ("00:01", "00:00")]
    for zone in ZONES:
        for start, end in hours:
            wanted = {"time_of_day": {"from": start, "to": end, "timezone": zone}}
            with database.read() as session:
                images = SearchRepository(session, Scope(filters=Filters.model_validate(wanted))).some(10_000)
            # Beyond 2099 the last offset holds, which the zones need not agree with.
            expected = {shot.id for shot in shots[:-1] if passes(shot, wanted)}
            assert set(images) - {shots[-1].id} == expected, wanted
