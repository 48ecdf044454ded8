"""A gallery of an earlier schema, with people, queries, verdicts and keys in it, answers as before the upgrade."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, inspect, select
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import open_core
from app.database.migrate import HEAD_REVISION, revision_of, run, upgrade
from app.database.sessions import Database
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from tests.app.test_access_api import make
from tests.app.toy import picture, toy_checkpoint

LATER = {
    "0008": {"access_keys", "audit_entries", "erasures", "identifications"},
    "0012": {"audit_entries", "erasures", "identifications"},
    "0014": {"identifications"},
}
"""Releases with data in the field, and some tables that they did not have."""
ASKED = ({"query": "red"}, {"query": "blue", "limit": 2}, {"query": "green", "filters": {"cameras": ["gate"]}})


@contextmanager
def served(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as found:
        yield found


def fill(settings: Settings, folder: Path) -> str:
    """Six pictures of three people, one of them erased again, a saved query with a verdict; returns the query."""
    lines = []
    for number, colour in enumerate(("red", "red", "blue", "blue", "green", "green")):
        picture(folder / f"{number}.jpg", colour, size=(40 + number, 90))
        entry = {"file": f"{number}.jpg", "identity": colour, "captured_at": f"2026-05-0{number + 1}T09:12:00Z"}
        lines.append(json.dumps(entry | {"camera": "gate" if number % 2 else "hall", "attributes": {"n": number}}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    core = open_core(settings)
    try:
        checkpoint = toy_checkpoint(folder.parent / "toy")
        activate_version(core, register_checkpoint(core, checkpoint, "toy").id)
        core.active.follow()
        taken = [outcome.image_id for outcome in core.ingest().run(open_source(folder))]
    finally:
        core.close()
    assert None not in taken
    with served(settings) as client:
        assert client.delete(f"/v1/images/{taken[1]}").status_code == 204
        query = client.post("/v1/search/text", json={"query": "red", "purpose": "case 17"}).json()["query_id"]
        assert client.patch(f"/v1/queries/{query}", json={"name": "gate 4"}).status_code == 200
        verdict = [{"image_id": taken[0], "verdict": "confirm", "note": "the coat"}]
        assert client.post(f"/v1/queries/{query}/feedback", json=verdict).status_code == 201
    return str(query)


def answers(settings: Settings, query: str, headers: dict[str, str]) -> list[Any]:
    """What is answered to searches, views and lists, without what belongs to the moment."""
    found: list[Any] = []
    with served(settings) as client:
        client.headers.update(headers)
        for body in ASKED:
            answer = client.post("/v1/search/text", json={**body, "purpose": "case 17"})
            assert answer.status_code == 200, answer.text
            found.append((answer.json()["model_version"], answer.json()["candidates"]))
        for path in ("/v1/gallery", "/v1/collections", f"/v1/queries/{query}", f"/v1/queries/{query}/feedback"):
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
        for candidate in found[0][1]:
            identity, image = candidate["identity"]["id"], candidate["images"][0]["id"]
            found.append(client.get(f"/v1/identities/{identity}/timeline").json())
            found.append(client.get(f"/v1/images/{image}/file").content)
    return found


def columns_of(database: Database) -> dict[str, list[str]]:
    """The columns of each table, as the database itself says."""
    found = inspect(database.engine)
    names = set(found.get_table_names()) - {"alembic_version", "sqlite_sequence"}
    return {name: [column["name"] for column in found.get_columns(name)] for name in sorted(names)}


def rows_of(database: Database, columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Every row of those tables, in those columns."""
    schema = MetaData()
    schema.reflect(database.engine)
    found = {}
    with database.engine.connect() as connection:
        for name, wanted in columns.items():
            table = schema.tables[name]
            rows = connection.execute(select(*(table.c[column] for column in wanted)))
            found[name] = sorted(repr(tuple(row)) for row in rows)
    return found


@pytest.mark.parametrize("revision", sorted(LATER))
def test_the_same_answers_after_the_upgrade(settings: Settings, tmp_path: Path, revision: str) -> None:
    query, headers = fill(settings, tmp_path / "pictures"), {}
    if revision >= "0012":
        with served(settings) as client:
            headers = make(client, "admin")
    before = answers(settings, query, headers)
    database = Database(settings.database)
    try:
        run(database, revision)
        old = columns_of(database)
        assert LATER[revision].isdisjoint(old)
        assert {"images", "embeddings", "queries", "feedback"} <= set(old)
        kept = rows_of(database, old)
        assert len(kept["images"]) == 5
        upgrade(database)
        assert revision_of(database) == HEAD_REVISION
        assert rows_of(database, old) == kept
    finally:
        database.close()
    assert answers(settings, query, headers) == before
    with served(settings) as client:
        client.headers.update(headers)
        more = picture(tmp_path / "later" / "x.jpg", "red", shade=40)
        again = client.post("/v1/search/image", files={"file": ("x.jpg", more.read_bytes())}, data={"purpose": "case"})
        assert again.status_code == 200, again.text
        assert client.delete(f"/v1/images/{before[0][1][0]['images'][0]['id']}").status_code == 204
        assert client.get("/v1/admin/audit/verify").json()["whole"] is True
        if headers:
            assert client.get("/v1/gallery", headers={"Authorization": ""}).status_code == 401
