"""A gallery as each release before left it, opened by this one: the same data, the same answers, no index file needed.

What an older release left is made by the migrations' own way down, from a gallery that this release filled. (0001, that
knew no collections, is in `test_upgrade_0002`.)"""

import shutil
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

import migrations
from app.core import Core, open_core
from app.database.migrate import HEAD_REVISION, revision_of, run
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.toy import COLOURS, picture


def releases() -> list[str]:
    """Every schema from 0002 to the one before this."""
    files = Path(migrations.__file__).parent.glob("versions/[0-9]*.py")
    found = sorted(path.name.split("_")[0] for path in files)
    assert (found[0], found[-1]) == ("0001", HEAD_REVISION)
    return found[1:-1]


def fill(folder: Path, ingest: IngestFolder) -> None:
    rows: list[dict[str, Any]] = []
    for number, colour in enumerate(COLOURS):
        for part in range(2):
            picture(folder / f"{number}-{part}.jpg", colour, shade=9 * part)
            row: dict[str, Any] = {"file": f"{number}-{part}.jpg", "camera": f"c{part}", "attributes": {"n": number}}
            rows.append({**row, "captured_at": "2026-03-01T10:00:00Z", "description": f"a {colour} coat"})
            if number:
                rows[-1]["identity"] = colour
    write_manifest(folder, rows)
    assert all(outcome.image_id for outcome in ingest(folder))


def told(settings: Settings) -> list[Any]:
    """Everything that is found, by words, with a filter and page by page; and what is said of each person and image."""
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        asked: list[dict[str, Any]] = [{"query": f"a {colour} coat", "limit": 100} for colour in ("red", "blue")]
        some = [{"field": "n", "op": "range", "value": {"gte": 3}}]
        asked.append({"query": "green", "filters": {"cameras": ["c1"], "image_attributes": some}})
        answers = []
        for body in asked:
            answer = client.post("/v1/search/text", json=body)
            assert answer.status_code == 200, answer.text
            answers.append((answer.json()["model_version"], answer.json()["candidates"]))
        people = [one["identity"]["id"] for one in answers[0][1]]
        assert len(people) == len(COLOURS) + 1
        details = [client.get(f"/v1/identities/{person}").json() for person in sorted(people)]
        pictures = [
            client.get(f"/v1/images/{image['id']}/file").content for detail in details for image in detail["images"]
        ]
        return [_known(answers), _known(details), pictures]


def _known(value: Any) -> Any:  # noqa: ANN401  JSON
    """Without what older releases did not look for."""
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items() if key != "near_duplicate_of"}
    return [_known(part) for part in value] if isinstance(value, list | tuple) else value


def test_the_same_data_and_answers(core: Core, ingest: IngestFolder, settings: Settings, tmp_path: Path) -> None:
    fill(tmp_path / "p", ingest)
    before = told(settings)
    core.close()
    for release in reversed(releases()):
        run(core.database, release)
        assert revision_of(core.database) == release
        shutil.rmtree(settings.index_dir)
        fresh = open_core(settings)  # as every verb begins: it migrates
        revision = revision_of(fresh.database)
        fresh.close()
        assert revision == HEAD_REVISION
        assert told(settings) == before, release
