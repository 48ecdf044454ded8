"""Somebody asks what is kept about them: found, reviewed, written, erased."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.core import Core, opened
from app.database.tables import Image, Query
from app.exports.results import file_of
from app.identities.history import HistoryRepository
from app.settings import Settings
from app.subject import package
from tests.app.test_erasure import NAME, ask_about, fill


def test_find_review_export_erase(core: Core, settings: Settings, tmp_path: Path) -> None:
    person = fill(core, tmp_path)
    ask_about(core, person)
    pictures = {number: core.store.read(name) for number, name in enumerate(stored(core), start=1)}
    core.close()
    found = told(settings, "--image", str(tmp_path / "erika-front.jpg"))
    assert found["candidates"][0]["identity"]["id"] == person
    with opened(settings) as again, again.database.read() as session:
        assert session.query(Query).count() == 3  # the search by picture was not written down
    report = told(settings, str(person))
    assert (report["images"], report["identity"]["external_id"], report["erased"]) == (2, NAME, False)
    assert [row["purpose"] for row in report["returned_and_judged"]] == ["case Erika"]
    out = tmp_path / "subject.zip"
    assert told(settings, str(person), "--export", str(out), "--erase")["exported"] == {"out": str(out), "images": 2}
    with zipfile.ZipFile(out) as packed:
        assert {packed.read(file_of(number)) for number in (1, 2)} == {pictures[1], pictures[2]}
        rows = [json.loads(line) for line in packed.read("images.jsonl").splitlines()]
        assert json.loads(packed.read("subject.json"))["identity"]["external_id"] == NAME
    assert [(row["camera"], row["description"], len(row["vectors"][0]["vector"])) for row in rows] == [
        ("camera-of-erika", f"{NAME} in a coat", 24)
    ] * 2
    gone = CliRunner().invoke(app, ["subject", str(person), "--data-dir", str(settings.data_dir)])
    assert gone.exit_code != 0


def test_all_of_a_long_history_is_told(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person = fill(core, tmp_path)
    with core.database.write() as session:
        event: dict[str, Any] = {
            "event": "split",
            "actor": None,
            "from_id": person,
            "image_ids": [],
            "before": None,
            "run_id": None,
        }
        HistoryRepository(session).add([{**event, "to_id": 100 + number} for number in range(7)])
    monkeypatch.setattr(package, "_EVENTS", 3)
    told = package.Subject(core, person).summary()["history"]
    assert [event["to_id"] for event in told if event["to_id"] >= 100] == list(range(100, 107))


@pytest.mark.parametrize("words", [[], ["1", "--image", "x.jpg"], ["--image", "x.jpg", "--erase"]])
def test_nobody_is_erased_by_a_picture_alone(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    words = [str(tmp_path / word) if word.endswith(".jpg") else word for word in words]
    done = CliRunner().invoke(app, ["subject", *words, "--data-dir", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert not (tmp_path / "none").exists()


def told(settings: Settings, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["subject", *words, "--data-dir", str(settings.data_dir), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stored(core: Core) -> list[str]:
    with core.database.read() as session:
        return [image.store_name for image in session.query(Image).order_by(Image.id)]
