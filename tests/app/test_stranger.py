"""What somebody types who does not know Descry: each gets a sentence, and neither a traceback nor silence."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.backup.service import Backup
from app.cli import app
from app.commands.intake import _print_report, run_ingest
from app.commands.output import write_out
from app.commands.retention import set_rule
from app.commands.search import print_answer
from app.core import Core
from app.database import sessions
from app.database.migrate import upgrade
from app.database.sessions import Database
from app.diagnosis.machine import settings_named
from app.errors import (
    BackupTargetError,
    DatabaseDamagedError,
    DatabaseNewerError,
    DatabaseWriteError,
    SourceError,
    StorageError,
)
from app.gallery.sources import open_source
from app.jobs.ingesting import IngestJob
from app.jobs.kinds import Hands
from app.jobs.service import JobService
from app.retention.service import RetentionService
from app.search.schemas import SearchAnswer
from tests.app.conftest import IngestFolder
from tests.app.toy import picture


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "descry.sqlite3").write_bytes(bytes(range(1, 256)) * 20)
    database = Database(f"sqlite:///{tmp_path / 'descry.sqlite3'}")
    with pytest.raises(DatabaseDamagedError, match="descry restore"):
        upgrade(database)
    with pytest.raises(DatabaseDamagedError), database.read() as session:
        session.connection()
    database.close()


def test_pages_that_were_overwritten_are_named(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.jpg", "red")
    ingest(tmp_path / "one")
    core.database.forget_pages()
    file = core.settings.data_dir / "descry.sqlite3"
    with file.open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\x07" * (file.stat().st_size - 4096))
    damaged = Database(core.settings.database)
    with pytest.raises(DatabaseDamagedError):
        upgrade(damaged)
    damaged.close()


def test_a_database_of_a_newer_release_is_left_alone(core: Core) -> None:
    with core.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseNewerError, match=r"9999.*newer release"):
        upgrade(core.database)


def test_a_database_that_may_not_be_written_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened for reading, not closed by rights: a test may run as root, who has them all."""
    file = tmp_path / "a.sqlite3"
    with closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE t (a)")
    monkeypatch.setattr(sessions, "_BUSY_S", 3600.0)  # nobody is waited for
    reading = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    with closing(reading), pytest.raises(sqlite3.OperationalError) as refused:
        sessions._use_wal(reading)
    told = sessions.write_error(OperationalError("", {}, refused.value))
    assert isinstance(told, DatabaseWriteError)
    assert "belong to the user" in told.message


def test_a_key_for_more_years_than_there_are_is_refused(tmp_path: Path) -> None:
    words = ["keys", "create", "desk", "--scope", "search", "--days", "1e300", "--data-dir", str(tmp_path / "d")]
    assert CliRunner().invoke(app, words).exit_code == 2
    assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        write_out(tmp_path / "nowhere" / "heat.png", b"x")
    write_out(tmp_path / "heat.png", b"x")
    assert (tmp_path / "heat.png").read_bytes() == b"x"


def test_a_backup_does_not_lie_in_what_it_saves(core: Core) -> None:
    target = core.settings.data_dir / "backups" / "b.zip"
    with pytest.raises(BackupTargetError, match="data folder"):
        Backup(core.database, core.store, core.settings, target).run()
    assert not target.parent.exists()


def test_a_misspelt_setting_is_named() -> None:
    found = settings_named({"DESCRY_PURPOSE_REQIRED": "true", "DESCRY_PORT": "1", "PATH": ""})
    assert (found.status, "DESCRY_PURPOSE_REQIRED" in found.message) == ("warn", True)
    assert settings_named({"DESCRY_PORT": "1", "DESCRY_DESCRIBE_URL": "x"}).status == "ok"


def test_a_rule_for_a_camera_that_took_nothing_can_be_told(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.jpg", "red")
    (tmp_path / "one" / "manifest.jsonl").write_text(json.dumps({"file": "a.jpg", "camera": "gate 4"}))
    ingest(tmp_path / "one")
    with core.database.read() as session:
        rules = RetentionService(session)
        assert rules.has_images("default", "gate 4")
        assert not rules.has_images("default", "gate4")


def test_verbs_say_what_is_not_there(
    core: Core, ingest: IngestFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "one" / "a.jpg", "red")
    ingest(tmp_path / "one")
    (tmp_path / "none").mkdir()
    _print_report(run_ingest(core, open_source(tmp_path / "none")), tmp_path / "none")
    assert "no picture was found" in capsys.readouterr().err
    set_rule("default", days=3, camera="gate4", data_dir=core.settings.data_dir)
    assert "no image in default is from the camera gate4" in capsys.readouterr().err
    set_rule("default", days=3, data_dir=core.settings.data_dir)
    assert capsys.readouterr().err == ""


def test_the_numbers_that_other_verbs_want_are_in_the_answer(
    client: TestClient, ingest: IngestFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shade in range(12):
        picture(tmp_path / "one" / f"{shade}.jpg", "red", shade=shade * 9)
    (tmp_path / "one" / "manifest.jsonl").write_text(
        "\n".join(json.dumps({"file": f"{n}.jpg", "identity": "P-7"}) for n in range(12))
    )
    ingest(tmp_path / "one")
    answer = SearchAnswer.model_validate(client.post("/v1/search/text", json={"query": "red"}).json())
    print_answer(answer, as_json=False)
    told = capsys.readouterr().out
    best = answer.candidates[0]
    assert f"{best.identity.id} P-7" in " ".join(told.replace("│", " ").split())
    assert str(best.images[0].id) in told.replace("│", " ").split()


def test_videos_among_pictures_are_named_and_what_is_left_out_is_counted(
    client: TestClient, core: Core, tmp_path: Path
) -> None:
    picture(tmp_path / "one" / "a.jpg", "red")
    for name in ("gate.MP4", "notes.txt", "IMG_17"):
        (tmp_path / "one" / name).write_bytes(b"x")
    with core.database.write() as session:
        job_id = JobService(session).create("ingest", {"folder": str(tmp_path / "one"), "collection": "default"}).id
        claimed = JobService(session).claim("w")
        assert claimed is not None
        assert JobService(session).begin(job_id, "w")
    ingest = IngestJob(Hands(core, job_id, "w", threading.Event()))
    ingest.prepare()
    assert not ingest.advance()
    items = client.get(f"/v1/jobs/{job_id}/items", params={"status": "rejected"}).json()["items"]
    assert [(item["name"], item["code"]) for item in items] == [("gate.MP4", "format_unsupported")]
    assert "ingest-video" in items[0]["message"]
    log = [line["message"] for line in client.get(f"/v1/jobs/{job_id}").json()["log"]]
    assert log[-1] == "2 items listed; 2 other files are no pictures by their names"
    with pytest.raises(SourceError, match="ingest-video"):
        open_source(tmp_path / "one" / "gate.MP4")


def test_an_answer_in_the_terminal_says_from_where_on_its_matches_are_weak(
    client: TestClient, ingest: IngestFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for colour in ("red", "blue"):
        picture(tmp_path / "one" / f"{colour}.jpg", colour)
    ingest(tmp_path / "one")
    answer = SearchAnswer.model_validate(client.post("/v1/search/text", json={"query": "red"}).json())
    first, second = (candidate.score for candidate in answer.candidates)
    for least, told in (
        (None, None),
        (second, None),
        ((first + second) / 2, "from candidate 2 on they are weak matches"),
        (first + 0.01, "all candidates are weak matches"),
    ):
        print_answer(answer.model_copy(update={"weak_below": least}), as_json=False)
        said = " ".join(capsys.readouterr().err.split())
        assert told in said if told else "weak" not in said
