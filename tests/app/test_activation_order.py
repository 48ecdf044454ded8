"""Who asked last for a version to answer has it, whichever activation ends last."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import activate_version
from app.core import Core, open_core
from app.errors import ActivationSupersededError
from app.jobs.duty import Duty
from app.jobs.kinds import KINDS, Hands
from app.jobs.service import JobService
from app.registry.calibration import GalleryCalibration
from app.registry.changes import activate_later
from app.retraining.gate import Verdict
from app.retraining.outcome import Outcome
from tests.app.test_indexing_jobs import active, finish, taken
from tests.app.test_model_registry import another, described, gallery

__all__ = ["gallery"]
T = TypeVar("T")


def queued(client: TestClient, version: int) -> str:
    """The job that an activation is left to."""
    answer = client.post(f"/v1/models/{version}/activate")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def at_once(client: TestClient, path: str, version: int) -> None:
    """An activation or rollback that is acknowledged; `version` answers."""
    answer = client.post(f"/v1/models/{path}")
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, version, "active")


def interrupted(core: Core, act: Callable[[], object]) -> str:
    """The next job, to its end; `act` comes when all is encoded, before the job switches."""
    return when_encoded(act, lambda: finish(core))


def when_encoded(act: Callable[[], object], work: Callable[[], T]) -> T:
    """What `work` returns, an activation; `act` comes when all is encoded, before the switch."""
    original, calls = GalleryCalibration.learn, list[int]()

    def late(*arguments: object, **named: object) -> object:
        if not calls:
            calls.append(1)
            act()
        return original(*arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GalleryCalibration, "learn", late)
        found = work()
    assert calls
    return found


def ended(client: TestClient, job_id: str) -> tuple[str, str | None]:
    """The state of a job, and the code of its error."""
    job = client.get(f"/v1/jobs/{job_id}").json()
    return job["state"], job["error"] and job["error"]["code"]


def overtaken(client: TestClient, job_id: str, *, by: int) -> None:
    """A job has done its work, and says why its version does not answer."""
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["done"], job["total"], job["retryable"]) == ("superseded", 24, 24, False)
    assert job["error"]["code"] == "activation_superseded"
    assert f"version {by} was asked for since, at 20" in job["error"]["message"]


def test_an_open_job_does_not_undo_what_was_acknowledged_since(
    client: TestClient, gallery: Core, tmp_path: Path
) -> None:
    other = another(gallery, tmp_path / "other")
    asked = queued(client, other)

    def acknowledged() -> None:
        at_once(client, f"{other}/activate", other)  # all is encoded meanwhile, and the job still open
        at_once(client, "1/activate", 1)

    assert interrupted(gallery, acknowledged) == asked
    assert active(gallery) == 1
    overtaken(client, asked, by=1)
    assert described(gallery, other).status == "ready"
    assert client.get("/v1/jobs?state=superseded").json()["jobs"][0]["id"] == asked
    assert 'descry_jobs{kind="indexing",state="superseded"} 1' in client.get("/metrics").text
    assert client.post(f"/v1/jobs/{asked}/retry").json()["code"] == "job_not_retryable"
    at_once(client, f"{other}/activate", other)


def test_a_choice_that_changes_nothing_is_one(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    asked = queued(client, other)
    assert interrupted(gallery, lambda: at_once(client, "1/activate", 1)) == asked
    assert active(gallery) == 1
    overtaken(client, asked, by=1)


def test_a_rollback_overtakes_an_open_job(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    second, third = (another(gallery, tmp_path / name, ("red", name)) for name in ("second", "third"))
    activate_version(gallery, second)
    asked = queued(client, third)
    assert interrupted(gallery, lambda: at_once(client, f"{second}/rollback", 1)) == asked
    assert active(gallery) == 1
    overtaken(client, asked, by=1)


def test_asking_twice_is_asking_once(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    asked = queued(client, other)
    assert queued(client, other) == asked
    interrupted(gallery, lambda: at_once(client, f"{other}/activate", other))
    assert (active(gallery), ended(client, asked)) == (other, ("succeeded", None))


@pytest.mark.parametrize("again", [False, True])
def test_of_two_jobs_the_one_that_was_asked_for_last_switches(
    client: TestClient, gallery: Core, tmp_path: Path, *, again: bool
) -> None:
    versions = [another(gallery, tmp_path / name, ("red", name)) for name in ("second", "third")]
    asked = [queued(client, version) for version in versions]
    if again:
        assert queued(client, versions[0]) == asked[0]  # the first is the last now
    wanted, other = (0, 1) if again else (1, 0)
    assert [finish(gallery), finish(gallery)] == asked
    assert active(gallery) == versions[wanted]
    assert ended(client, asked[wanted]) == ("succeeded", None)
    overtaken(client, asked[other], by=versions[wanted])
    assert all(described(gallery, version).missing == 0 for version in versions)


def test_a_killed_worker_leaves_the_job_in_its_place(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    asked = queued(client, other)
    _, work = taken(gallery)
    work.prepare()
    at_once(client, "1/activate", 1)  # the first worker does nothing any more
    with gallery.database.write() as session:
        assert JobService(session).begin(asked, "next")
    following = KINDS["indexing"].start(Hands(gallery, asked, "next", threading.Event()))
    following.prepare()
    assert not following.advance()
    assert active(gallery) == 1
    overtaken(client, asked, by=1)


def test_a_retry_is_asked_for_anew(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    asked = queued(client, other)
    at_once(client, "1/activate", 1)
    assert client.post(f"/v1/jobs/{asked}/cancel").json()["state"] == "cancelled"
    again = client.post(f"/v1/jobs/{asked}/retry").json()["id"]
    assert finish(gallery) == again
    assert (active(gallery), ended(client, again)) == (other, ("succeeded", None))


def test_the_command_line_and_a_server_are_in_one_order(
    client: TestClient, gallery: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(gallery.settings.data_dir))
    monkeypatch.setenv("DESCRY_DATABASE_URL", gallery.settings.database)
    second, third = (another(gallery, tmp_path / name, ("red", name)) for name in ("second", "third"))
    run = CliRunner()
    words = ["models", "activate", str(second), "--queue"]
    assert run.invoke(app, words, catch_exceptions=False).exit_code == 0
    with pytest.raises(ActivationSupersededError, match=f"{third} is encoded and ready.*version 1 was asked for since"):
        when_encoded(lambda: at_once(client, "1/activate", 1), lambda: activate_version(gallery, third))
    assert (active(gallery), described(gallery, third).status) == (1, "ready")
    queue = activate_later(gallery.database, second).id  # the same job, asked for anew
    activate_version(gallery, third)
    assert (active(gallery), finish(gallery)) == (third, queue)
    assert active(gallery) == third
    overtaken(client, queue, by=third)
    shown = run.invoke(app, ["jobs", "show", queue], catch_exceptions=False).stdout
    assert "superseded" in shown
    assert "activation_superseded" in shown


def test_a_job_that_is_queued_while_the_command_line_encodes_is_later(
    client: TestClient, gallery: Core, tmp_path: Path
) -> None:
    second, third = (another(gallery, tmp_path / name, ("red", name)) for name in ("second", "third"))
    with pytest.raises(ActivationSupersededError, match=f"version {second} was asked for since;"):
        when_encoded(lambda: queued(client, second), lambda: activate_version(gallery, third))
    assert active(gallery) == 1
    finish(gallery)
    assert active(gallery) == second


@pytest.mark.parametrize("chosen", [False, True])
def test_a_later_choice_is_not_undone_by_the_end_of_a_retraining(
    client: TestClient, gallery: Core, tmp_path: Path, *, chosen: bool
) -> None:
    with gallery.database.write() as session:
        job_id = JobService(session).create("retraining", {"recipe": "r", "activate": "auto"}).id
        JobService(session).claim("w")
    candidate = another(gallery, tmp_path / "candidate")
    if chosen:
        at_once(client, "1/activate", 1)
    duty = Duty(Hands(gallery, job_id, "w", threading.Event()))
    with gallery.database.write() as session:
        Outcome(gallery, duty, tmp_path)._end(session, candidate, Verdict(accepted=True, reasons=[]), 5)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["progress"]["version"]) == ("succeeded", candidate)
    if chosen:
        assert job["progress"]["overtaken"]["version"] == 1
        assert "activation" not in job["progress"]
        assert client.get("/v1/jobs?state=queued").json()["jobs"] == []
    else:
        assert finish(gallery) == job["progress"]["activation"]
    assert active(gallery) == (1 if chosen else candidate)


def test_a_replica_does_not_hold_what_will_not_answer(gallery: Core, tmp_path: Path) -> None:
    replica = open_core(gallery.settings)
    replica.active.follow()
    second, third = (another(gallery, tmp_path / name, ("red", name)) for name in ("second", "third"))
    activate_later(gallery.database, second)
    activate_later(gallery.database, third)
    replica.active.prepare()
    beside = replica.active.beside
    assert beside is not None
    assert beside.version_id == third
    replica.close()
