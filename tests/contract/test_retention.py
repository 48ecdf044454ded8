"""What has been kept long enough is erased, and nothing else, on both databases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.core import Core
from app.database.tables import Identity, Image, now
from app.gallery.sources import open_source
from app.identities.erasures import ErasureRepository
from app.retention.service import RetentionService, apply
from tests.app.toy import picture
from tests.waiting import until

CASES = [
    ("old-gate", "gate", 40, "A"),
    ("young-gate", "gate", 5, "A"),
    ("old-door", "door", 40, "B"),
    ("week-door", "door", 8, "B"),
    ("undated", None, None, "C"),
    ("old-nowhere", None, 40, "D"),
]
"""File, camera, days since it was taken, person."""


def fill(core: Core, folder: Path) -> None:
    colours = ("red", "green", "blue", "yellow", "purple", "orange")
    lines = []
    for (name, camera, days, person), colour in zip(CASES, colours, strict=True):
        picture(folder / f"{name}.jpg", colour)
        at = None if days is None else (datetime.now(UTC) - timedelta(days=days)).isoformat()
        line = {"file": f"{name}.jpg", "identity": person, "camera": camera, "captured_at": at}
        lines.append({key: value for key, value in line.items() if value is not None})
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert all(outcome.status == "ingested" for outcome in core.ingest().run(open_source(folder)))


def left(core: Core) -> list[str]:
    with core.database.read() as session:
        return [str(image.source_name).removesuffix(".jpg") for image in session.query(Image).order_by(Image.id)]


def test_rules_of_collection_and_camera(core: Core, tmp_path: Path) -> None:
    fill(core, tmp_path)
    with core.database.write() as session:
        service = RetentionService(session)
        service.put("default", None, 30)
        service.put("default", "door", 7)
        told = {(rule.camera, rule.days): rule.due for rule in service.all().rules}
    assert told == {(None, 30): 2, ("door", 7): 2}
    assert apply(core) == 4
    assert left(core) == ["young-gate", "undated"]
    assert apply(core) == 0
    with core.database.read() as session:
        # Whose last image went is gone by name, too.
        assert {person.external_id for person in session.query(Identity)} == {"A", "C"}
        assert len([e for e in ErasureRepository(session).listed() if e[0] == "image"]) == 4
    assert len(list(core.store.names())) == 2
    with core.database.write() as session:
        session.query(Image).filter(Image.captured_at.is_(None)).update({"created_at": now() - timedelta(days=31)})
    assert apply(core) == 1
    assert left(core) == ["young-gate"]


def test_the_verbs_and_the_housekeeping(core: Core, client: TestClient, tmp_path: Path) -> None:
    fill(core, tmp_path)
    rule = {"collection": "default", "camera": "door", "days": 30}
    unknown = client.put("/v1/admin/retention", json={"rules": [{**rule, "collection": "none"}]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "collection_not_found")
    assert client.put("/v1/admin/retention", json={"rules": [rule, rule]}).status_code == 422
    assert client.get("/v1/admin/retention").json() == {"rules": []}
    put = client.put("/v1/admin/retention", json={"rules": [rule]})
    assert put.json() == {"rules": [{**rule, "due": 1}]}
    until(lambda: "old-door" not in left(core), "the server's housekeeping takes it")
    assert len(left(core)) == 5


def test_a_dry_run_erases_nothing(core: Core, tmp_path: Path) -> None:
    fill(core, tmp_path)
    runner, folder = CliRunner(), ["--data-dir", str(core.settings.data_dir), "--json"]
    environment = {"DESCRY_DATABASE_URL": core.settings.database_url, "DESCRY_DEVICE": "cpu"}

    def told(*words: str) -> dict[str, object]:
        done = runner.invoke(app, ["retention", *words, *folder], env=environment)
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.stdout)
        return found

    told("set", "--collection", "default", "--days", "30")
    assert told("apply", "--dry-run") == {"dry_run": True, "images": 3}
    assert len(left(core)) == 6
    assert told("apply") == {"dry_run": False, "images": 3}
    assert left(core) == ["young-gate", "week-door", "undated"]
    assert told("set", "--collection", "default", "--never") == {"rules": []}
