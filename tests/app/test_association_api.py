"""Association as a job, its undoing, merges and splits over HTTP, and tracks at ingest."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.association import work
from app.association.work import AssociationJob
from app.cli import app
from app.commands.models import register_checkpoint
from app.core import Core
from app.database.tables import Image as ImageRow
from app.errors import JobTakenError, ServiceError
from app.jobs.kinds import KINDS, Hands
from app.jobs.service import JobService
from models.calibration import AssociationRule, write_section
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.test_problems import check
from tests.app.test_search_api import ask
from tests.app.toy import picture, toy_checkpoint

Take = Callable[[list[dict[str, object]]], list[int]]
RULE = AssociationRule("average", 0.95, "made", "val", 8, 2, 1.0, 1.0, 1.0)


@pytest.fixture
def take(ingest: IngestFolder, tmp_path: Path) -> Take:
    """Ingest pictures of one colour each; returns the images."""
    folders = iter(range(100))

    def do(entries: list[dict[str, object]]) -> list[int]:
        folder = tmp_path / f"p{next(folders)}"
        for number, entry in enumerate(entries):
            entry["file"] = f"{number}.jpg"
            shade = entry.pop("shade", 2 * number)
            assert isinstance(shade, int)
            turned = entry.pop("turned", False)
            path = picture(folder / f"{number}.jpg", str(entry.pop("colour")), shade=shade)
            if turned:  # so that its hash is not that of the others: a copy would be no other person
                with Image.open(path) as image:
                    image.rotate(90, expand=True).save(path, quality=95)
        write_manifest(folder, entries)
        outcomes = ingest(folder)
        assert all(outcome.status == "ingested" for outcome in outcomes)
        return [outcome.image_id or 0 for outcome in outcomes]

    return do


def owners(core: Core) -> dict[int, int]:
    with core.database.read() as session:
        return {row.id: row.identity_id for row in session.execute(select(ImageRow.id, ImageRow.identity_id))}


def work_off(core: Core, *, worker: str = "w", steps: int = 99) -> str:
    """What the worker does, without the worker: as it is, a job goes on with whoever runs it."""
    with core.database.write() as session:
        service = JobService(session)
        job = service.claim(worker) or service.find(running(core))
        assert service.begin(job.id, worker)
        job_id, kind = job.id, job.kind
    done = KINDS[kind].start(Hands(core, job_id, worker, threading.Event()))
    done.prepare()
    for _ in range(steps):
        if not done.advance():
            break
    else:
        return job_id
    with core.database.write() as session:
        job = JobService(session).find(job_id)
        JobService(session).finish(job, "succeeded" if job.done >= (job.total or 0) else "cancelled")
    return job_id


def running(core: Core) -> str:
    from app.jobs.repository import JobRepository

    with core.database.read() as session:
        (job,) = JobRepository(session).running()
        return job.id


def associate(client: TestClient, **body: Any) -> dict[str, Any]:  # noqa: ANN401  fields of the request
    answer = client.post("/v1/associations", json={"threshold": 0.95, **body})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


COLOURED: list[dict[str, object]] = [{"colour": c} for c in ("red", "red", "red", "blue", "blue", "green")]


def test_images_are_grouped_and_the_undo_restores_them(client: TestClient, core: Core, take: Take) -> None:
    images = take([dict(entry) for entry in COLOURED] + [{"colour": "red", "identity": "named"}])
    before = owners(core)
    dry = associate(client, dry_run=True)
    work_off(core)
    told = client.get(f"/v1/associations/{dry['id']}").json()
    assert (told["state"], told["found"]["sizes"]) == ("grouped", {"1": 1, "2": 1, "3": 1})
    assert owners(core) == before
    run = associate(client)
    check(client.post(f"/v1/associations/{run['id']}/undo"), 409, "association_running")
    work_off(core)
    now = owners(core)
    assert [now[image] for image in images] == [now[images[0]]] * 3 + [now[images[3]]] * 2 + [
        before[images[5]],
        before[images[6]],
    ]
    assert client.get(f"/v1/identities/{now[images[0]]}").json()["provisional"] is True
    gone = check(client.get(f"/v1/identities/{before[images[1]]}"), 404, "identity_merged")
    assert gone["merged_into"] == now[images[0]]
    best = ask(client, "a person in blue", limit=1, images_per_identity=9)["candidates"][0]
    assert {image["id"] for image in best["images"]} == {images[3], images[4]}
    undone = client.post(f"/v1/associations/{run['id']}/undo").json()
    assert (undone["state"], undone["undo"]["identities"], undone["undo"]["images"]) == ("undone", 3, 3)
    assert owners(core) == before
    check(client.post(f"/v1/associations/{run['id']}/undo"), 409, "association_undone")
    assert [found["id"] for found in client.get("/v1/associations").json()["runs"]] == [run["id"], dry["id"]]
    check(client.get("/v1/associations/99"), 404, "association_not_found")


def test_a_killed_worker_leaves_no_group_half_done(
    client: TestClient, core: Core, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "GROUPS_A_STEP", 1)
    take([dict(entry) for entry in COLOURED])
    before = owners(core)
    run = associate(client)
    work_off(core, steps=1)
    assert len(set(owners(core).values())) in (4, 5)  # one group of the two
    late = AssociationJob(Hands(core, running(core), "w", threading.Event()))
    half = owners(core)

    def fail(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:  # the commit of a step is what counts
        broken.setattr("app.jobs.repository.JobRepository.mark", fail)
        with pytest.raises(RuntimeError):
            late.advance()
    assert owners(core) == half
    job_id = work_off(core, worker="another")
    with pytest.raises(JobTakenError):
        late.advance()
    assert len(set(owners(core).values())) == 3
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded"
    assert client.post(f"/v1/associations/{run['id']}/undo").json()["undo"]["images"] == 3
    assert owners(core) == before


def test_a_cancelled_run_goes_on_by_retry_until_it_is_undone(
    client: TestClient, core: Core, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "GROUPS_A_STEP", 1)
    take([dict(entry) for entry in COLOURED])
    before = owners(core)
    run = associate(client)
    work_off(core, steps=1)
    assert client.post(f"/v1/jobs/{run['job_id']}/cancel").status_code == 202
    work_off(core)
    assert client.get(f"/v1/jobs/{run['job_id']}").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{run['job_id']}/retry").json()["total"] == 1
    assert client.post(f"/v1/associations/{run['id']}/undo").status_code == 200
    assert owners(core) == before
    with pytest.raises(ServiceError, match="undone"):
        work_off(core)


def test_what_people_did_after_the_grouping_stands(client: TestClient, core: Core, take: Take) -> None:
    first, second, third = take([{"colour": "red"} for _ in range(3)])
    before = owners(core)
    associate(client)
    with core.database.write() as session:
        job = JobService(session).claim("w")
        assert job is not None
    AssociationJob(Hands(core, job.id, "w", threading.Event())).prepare()
    client.patch(f"/v1/identities/{before[first]}", json={"external_id": "known"})
    client.delete(f"/v1/images/{third}")
    work_off(core)
    assert owners(core) == {first: before[first], second: before[second]}
    items = client.get(f"/v1/jobs/{job.id}/items").json()["items"]
    assert [item["status"] for item in items] == ["skipped"]


def test_camera_metadata_keeps_people_apart(client: TestClient, core: Core, take: Take) -> None:
    noon = "2026-05-04T12:00:00Z"
    entries: list[dict[str, object]] = [
        {"colour": "red", "camera": "a", "captured_at": noon},
        {"colour": "red", "camera": "a", "captured_at": noon, "turned": True},
        {"colour": "red", "camera": "b", "captured_at": "2026-05-04T18:00:00Z"},
    ]
    one, other, later = take(entries)
    associate(client, threshold=-0.9, window_s=3600, dry_run=True)
    work_off(core)
    run = associate(client, threshold=-0.9, window_s=3600, instants_apart=True)
    work_off(core)
    assert len(set(owners(core).values())) == 3
    dry = client.get("/v1/associations").json()["runs"][1]["found"]["sizes"]
    assert dry == {"1": 1, "2": 1}
    associate(client, threshold=-0.9, instants_apart=True)
    work_off(core)
    now = owners(core)
    assert now[one] != now[other]
    assert now[later] in (now[one], now[other])
    assert client.get(f"/v1/associations/{run['id']}").json()["found"]["crowded_instants"] == 0


def test_what_was_split_is_not_joined_again(client: TestClient, core: Core, take: Take) -> None:
    first, second = take([{"colour": "red"}, {"colour": "red"}])
    whole = client.post(f"/v1/identities/{owners(core)[first]}/merge", json={"identities": [owners(core)[second]]})
    answer = client.post(f"/v1/identities/{owners(core)[first]}/split", json={"image_ids": [second]}).json()
    assert [image["id"] for image in answer["separated"]["images"]] == [second]
    assert [image["id"] for image in whole.json()["identity"]["images"]] == [first, second]
    associate(client)
    work_off(core)
    assert len(set(owners(core).values())) == 2


def test_the_threshold_comes_from_the_checkpoint(client: TestClient, core: Core, take: Take, tmp_path: Path) -> None:
    take([{"colour": "red"}, {"colour": "red"}])
    refused = check(client.post("/v1/associations", json={}), 409, "model_not_calibrated")
    assert "training calibrate" in refused["detail"]
    check(client.post("/v1/associations", json={"linkage": "average"}), 422, "invalid_request")
    check(client.post("/v1/associations", json={"threshold": 1}), 422, "invalid_request")
    check(client.post("/v1/associations", json={"collection": "none"}), 404, "collection_not_found")
    checkpoint = toy_checkpoint(tmp_path / "again")
    write_section(checkpoint, "association", RULE.to_dict())
    version = register_checkpoint(core, checkpoint, "another name")
    assert (version.id, version.calibration["association"]["threshold"]) == (1, 0.95)
    run = client.post("/v1/associations", json={}).json()
    assert (run["threshold"], run["linkage"]) == (0.95, "average")
    work_off(core)
    assert len(set(owners(core).values())) == 1


def test_a_merge_over_http_can_be_undone_by_a_split(client: TestClient, core: Core, take: Take) -> None:
    first, second = take([{"colour": "red"}, {"colour": "blue", "identity": "B"}])
    a, b = (owners(core)[image] for image in (first, second))
    merged = client.post(f"/v1/identities/{a}/merge", json={"identities": [b]}).json()
    assert (merged["identity"]["external_id"], merged["identity"]["provisional"]) == ("B", False)
    assert ask(client, "blue", limit=1)["candidates"][0]["identity"]["id"] == a
    check(client.post(f"/v1/identities/{b}/merge", json={"identities": [a]}), 404, "identity_merged")
    (event,) = merged["events"]
    back = client.post(f"/v1/identities/{a}/split", json={"undo": event}).json()
    assert (back["separated"]["id"], back["separated"]["external_id"], back["left_alone"]) == (b, "B", 0)
    assert (back["identity"]["external_id"], back["identity"]["provisional"]) == (None, True)
    check(client.post(f"/v1/identities/{a}/split", json={"undo": event}), 409, "merge_not_undoable")
    check(client.post(f"/v1/identities/{a}/split", json={"undo": 99}), 404, "identity_event_not_found")
    bodies: list[dict[str, Any]] = [{}, {"undo": 1, "image_ids": [1]}, {"image_ids": []}]
    for body in bodies:
        check(client.post(f"/v1/identities/{a}/split", json=body), 422, "invalid_request")
    events = client.get(f"/v1/identities/{b}/history", params={"limit": 1}).json()
    assert (events["events"][0]["event"], events["events"][0]["image_ids"]) == ("merge", [second])
    rest = client.get(f"/v1/identities/{b}/history", params={"after": events["next_after"]}).json()["events"]
    assert [found["event"] for found in rest] == ["restore"]
    check(client.get("/v1/identities/99/history"), 404, "identity_not_found")


def test_images_of_a_track_share_an_identity(core: Core, take: Take, client: TestClient) -> None:
    entries: list[dict[str, object]] = [{"colour": "red", "camera": "a", "track": 7} for _ in range(6)]  # two chunks
    entries += [{"colour": "blue", "camera": "b", "track": 7}, {"colour": "green", "track": "7"}, {"colour": "white"}]
    entries += [{"colour": "red", "camera": "a", "track": 7, "identity": "N"}]
    images = take(entries)
    now = owners(core)
    assert len({now[image] for image in images[:6]}) == 1
    assert len({now[image] for image in images}) == 5
    assert client.get(f"/v1/images/{images[0]}").json()["track"] == "7"
    (later,) = take([{"colour": "purple", "camera": "a", "track": "7"}])
    assert owners(core)[later] == now[images[0]]
    client.patch(f"/v1/identities/{now[images[6]]}", json={"external_id": "known"})
    (third,) = take([{"colour": "orange", "camera": "b", "track": "7"}])
    assert owners(core)[third] == now[images[6]]


def test_tracks_of_two_ingests_at_once(core: Core, tmp_path: Path) -> None:
    from app.gallery.sources import open_source

    for one, top in (("x", "red"), ("y", "blue")):
        for number in range(12):
            picture(tmp_path / one / f"{number}.jpg", top, shade=number)
        write_manifest(tmp_path / one, [{"file": f"{n}.jpg", "camera": "a", "track": n % 3} for n in range(12)])
    threads = [
        threading.Thread(target=lambda one=one: list(core.ingest().run(open_source(tmp_path / one)))) for one in "xy"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = owners(core)
    assert (len(now), len(set(now.values()))) == (24, 3)


def test_identities_at_the_command_line(core: Core, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    first, second, third = take([{"colour": "red"}, {"colour": "red"}, {"colour": "blue"}])

    def verb(*words: str) -> str:
        done = CliRunner().invoke(app, ["identities", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    a, b, c = (str(owners(core)[image]) for image in (first, second, third))
    run = json.loads(verb("associate", "--threshold", "0.95", "--json"))
    work_off(core)
    assert owners(core)[second] == int(a)
    assert json.loads(verb("runs", "--json"))[0]["found"]["persons"] == 2
    assert "1 back" in verb("undo", str(run["id"]))
    (event,) = json.loads(verb("merge", a, c, "--json"))["events"]
    assert json.loads(verb("split", a, "--undo", str(event), "--json"))["separated"]["id"] == int(c)
    verb("merge", a, b)
    assert f"identity {int(c) + 1}: 1 images" in verb("split", a, "--image", str(second))
    assert [found["event"] for found in json.loads(verb("history", c, "--json"))["events"]] == ["merge", "restore"]
    assert "association" in verb("history", a)
    assert CliRunner().invoke(app, ["identities", "split", a]).exit_code == 2
    assert CliRunner().invoke(app, ["identities", "associate", "--threshold", "1"]).exit_code == 2
