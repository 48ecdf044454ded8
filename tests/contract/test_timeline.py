"""Sightings of a person: by camera and time, in pages, over HTTP and as a verb, on either database."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app as cli
from app.core import Core
from app.database.sessions import Database
from app.database.tables import Image
from app.errors import CursorInvalidError
from app.identities.changes import IdentityChanges
from app.identities.schemas import Sighting
from app.identities.timeline import timeline
from app.settings import Settings
from tests.contract.filter_cases import Person, Shot
from tests.contract.test_filter_conditions import clear, store

START = datetime(2026, 5, 4, 9, tzinfo=UTC)


def shot(person: Person, camera: str | None, second: float | None) -> Shot:
    at = None if second is None else START + timedelta(seconds=second)
    return Shot(person, camera, at, None, {}, [])


def shown(found: list[Sighting]) -> list[tuple[str | None, list[int]]]:
    return [(one.camera, one.image_ids) for one in found]


def expected(shots: list[Shot], gap_s: float) -> list[tuple[str | None, list[int]]]:
    """Two images of a camera are in one sighting if no gap lies between them: worked out camera by camera."""
    found = []
    for camera in {one.camera for one in shots}:
        mine = sorted((one.captured_at, one.id) for one in shots if one.camera == camera and one.captured_at)
        cuts = [i for i in range(1, len(mine)) if (mine[i][0] - mine[i - 1][0]).total_seconds() > gap_s]
        for start, end in zip([0, *cuts], [*cuts, len(mine)], strict=True):
            if mine[start:end]:
                found.append((mine[start], camera, [number for _, number in mine[start:end]]))
    return [(camera, ids) for _, camera, ids in sorted(found, key=lambda one: one[0])]


def test_sightings_and_their_pages(database: Database) -> None:
    person, other = Person({}, False), Person({}, False)
    cameras = st.sampled_from(["door", "roof", None])
    moments = st.one_of(st.none(), st.integers(0, 40).map(lambda step: step * 30.0), st.floats(0, 3000))

    @hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.builds(shot, st.just(person), cameras, moments), min_size=1, max_size=25),
        st.sampled_from([0.0, 30.0, 60.5, 300.0]),
        st.integers(1, 5),
    )
    def check(shots: list[Shot], gap_s: float, limit: int) -> None:
        clear(database)
        person.id = other.id = 0
        store(database, [*shots, shot(other, "door", 10)])
        pages, cursor = [], None
        with database.read() as session:
            while True:
                pages.append(timeline(session, person.id, gap_s=gap_s, limit=limit, cursor=cursor))
                if (cursor := pages[-1].next_cursor) is None:
                    break
        assert [one for page in pages for one in shown(page.sightings)] == expected(shots, gap_s)
        assert [len(page.sightings) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        dated = [one.captured_at for one in shots if one.captured_at]
        first = pages[0]
        assert (first.images, first.first_at, first.last_at) == (
            len(dated),
            min(dated, default=None),
            max(dated, default=None),
        )
        apart = sorted(number for group in first.undated for number in group.image_ids)
        assert apart == sorted(one.id for one in shots if one.captured_at is None)
        assert len({group.camera for group in first.undated}) == len(first.undated)
        assert not any(page.undated for page in pages[1:])
        at = {one.id: one.captured_at for one in shots}
        for one in (one for page in pages for one in page.sightings):
            assert (one.first_at, one.last_at) == (at[one.image_ids[0]], at[one.image_ids[-1]])
            assert one.best.id == one.image_ids[0]  # all have one size

    check()


def test_the_best_image_has_the_most_pixels(database: Database) -> None:
    person = Person({}, False)
    shots = [shot(person, "door", second) for second in (0, 1, 2, 3)]
    store(database, shots)
    with database.write() as session:
        session.execute(update(Image).where(Image.id.in_([shots[1].id, shots[3].id])).values(width=20, height=30))
    with database.read() as session:
        (one,) = timeline(session, person.id).sightings
        assert (one.best.id, one.best.width) == (shots[1].id, 20)
        assert one.best.thumbnail_url == f"/v1/images/{shots[1].id}/thumbnail"


def test_what_comes_and_goes_between_pages_moves_nothing(database: Database) -> None:
    person = Person({}, False)
    shots = [shot(person, "door", 1000 * number) for number in range(6)]
    store(database, shots)
    with database.read() as session:
        first = timeline(session, person.id, limit=2)
    earlier, later = shot(person, "roof", 500), shot(person, "roof", 4500)
    store(database, [earlier, later])
    with database.write() as session:
        session.delete(session.scalars(select(Image).where(Image.id == shots[1].id)).one())
    with database.read() as session:
        rest = timeline(session, person.id, cursor=first.next_cursor)
        assert [ids for _, ids in shown(rest.sightings)] == [
            [one.id] for one in (shots[2], shots[3], shots[4], later, shots[5])
        ]
        for broken in ("", "1", "1.x", "1.2.3", f"{'9' * 30}.1", "٣.٤"):
            with pytest.raises(CursorInvalidError):
                timeline(session, person.id, cursor=broken)


def test_over_http_and_as_a_verb(client: TestClient, core: Core, settings: Settings) -> None:
    person, other = Person({}, False), Person({}, True)
    shots = [shot(person, "door", 0), shot(person, "door", 300), shot(person, "door", 600.5), shot(person, "x", None)]
    store(core.database, [*shots, shot(other, "roof", 9000)])
    ids = [one.id for one in shots]
    answer = client.get(f"/v1/identities/{person.id}/timeline").json()
    assert [one["image_ids"] for one in answer["sightings"]] == [ids[:2], ids[2:3]]
    assert answer["sightings"][0]["last_at"] == "2026-05-04T09:05:00Z"
    assert [(one["camera"], one["image_ids"]) for one in answer["undated"]] == [("x", ids[3:])]
    assert (answer["images"], answer["next_cursor"], answer["identity"]["id"]) == (3, None, person.id)
    page = client.get(f"/v1/identities/{person.id}/timeline", params={"gap_s": 1, "limit": 1}).json()
    assert [one["image_ids"] for one in page["sightings"]] == [ids[:1]]
    assert page["next_cursor"]
    for path, code in {
        "999/timeline": (404, "identity_not_found"),
        f"{person.id}/timeline?collection=nowhere": (404, "collection_not_found"),
        f"{person.id}/timeline?cursor=x": (422, "cursor_invalid"),
        f"{person.id}/timeline?gap_s=nan": (422, "invalid_request"),
        f"{person.id}/timeline?gap_s=-1": (422, "invalid_request"),
    }.items():
        response = client.get(f"/v1/identities/{path}")
        assert (response.status_code, response.json()["code"]) == code, path
    environment = {"DESCRY_DATABASE_URL": settings.database_url}
    arguments = ["identities", "timeline", str(person.id), "--data-dir", str(settings.data_dir)]
    told = CliRunner().invoke(cli, [*arguments, "--json"], env=environment)
    assert json.loads(told.stdout) == answer
    table = CliRunner().invoke(cli, [*arguments, "--gap-s", "1", "--limit", "1"], env=environment).stdout
    assert "door" in table
    assert f"more: --cursor {page['next_cursor']}" in table
    with core.database.write() as session:
        IdentityChanges(session).merge(person.id, [other.id])
    gone = client.get(f"/v1/identities/{other.id}/timeline")
    assert (gone.status_code, gone.json()["code"], gone.json()["merged_into"]) == (404, "identity_merged", person.id)
    assert [one["camera"] for one in client.get(f"/v1/identities/{person.id}/timeline").json()["sightings"]][
        -1
    ] == "roof"
