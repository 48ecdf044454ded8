"""A retraining of a small gallery from request to registry, with real trainings: gain, sabotage, what is refused."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.database.tables import Image, JobLog
from app.errors import ModelNotFoundError, RecipeRefusedError
from app.gallery.sources import open_source
from app.jobs.kinds import KINDS, Hands
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.main import create_app
from app.settings import Settings
from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.app.test_indexing_jobs import active, finish, taken
from tests.training.conftest import COLOURS, draw_person
from tests.waiting import LIMIT_S, until

QUICK = [
    "batch=32",
    "schedule.epochs=20",
    "evaluate_every=10",
    "optimiser.lr=0.004",
    "augmentation.shift=1",
    "precision=fp32",
    "average=0.5",
    "dgcmia.lrc=false",  # what is mined by features that are random yet misleads
    "dgcmia.gsrc=false",
    "dgcmia.iasc=false",
]
POLICY = {"least_queries": 15, "draws": 500}


def write_people(folder: Path) -> Path:
    """64 people in two colours, 3 images each, described."""
    lines = []
    for number, (upper, lower) in enumerate((a, b) for a in COLOURS for b in COLOURS):
        for view in range(3):
            file = f"p{number:02}-{view}.png"
            draw_person(folder / file, upper, lower, (22 + 3 * view, 52 + 5 * view))
            words = f"A person in a {upper} shirt and {lower} trousers."
            lines.append({"file": file, "identity": f"P{number}", "camera": f"c{view}", "description": words})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def register_random(core: Core, folder: Path) -> int:
    torch.manual_seed(1)
    words = (*COLOURS, "person", "shirt")
    spec = compact_spec(words, height=32, width=16, dim=32, image_width=8, rows=4, text_width=32, drop_words=0.0)
    save_checkpoint(build(spec).eval(), folder, card="# random\n")
    return register_checkpoint(core, folder, "random").id


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("retraining") / "data", device="cpu", training_threads=1)


@pytest.fixture(scope="module")
def gallery(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("gallery")
    core = open_core(settings)
    activate_version(core, register_random(core, folder / "random"))
    core.active.follow()
    assert len(list(core.ingest().run(open_source(write_people(folder / "people"))))) == 192
    yield core
    core.close()


@pytest.fixture(scope="module")
def caller(gallery: Core, settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as found:
        yield found


def ask(client: TestClient, **fields: object) -> Any:  # noqa: ANN401  a response
    body = {"set": QUICK, "device": "cpu", "policy": POLICY, **fields}
    return client.post("/v1/admin/retraining-jobs", json=body)


def stop_and_go_on(core: Core) -> None:
    """A worker that is stopped when the training has begun, and started again."""
    stopping = threading.Event()
    job_id, work = taken(core, stopping)
    thread = threading.Thread(target=work.advance)
    thread.start()
    until(
        lambda: not thread.is_alive() or any("starts of" in line.message for line in lines(core, job_id)),
        "the training starts",
    )
    assert thread.is_alive()
    stopping.set()
    thread.join(LIMIT_S)
    with core.database.write() as session:
        assert JobService(session).begin(job_id, "w")
    work = KINDS["retraining"].start(Hands(core, job_id, "w", threading.Event()))
    while work.advance():
        pass
    assert sum("images of the gallery" in line.message for line in lines(core, job_id)) == 1


def lines(core: Core, job_id: str) -> list[JobLog]:
    with core.database.read() as session:
        return JobRepository(session).lines(job_id)


def shuffle_train(client: TestClient, core: Core) -> None:
    """Give the descriptions of those who are trained on to others."""
    with core.database.read() as session:
        rows = list(session.scalars(select(Image).where(Image.split != "test").order_by(Image.id)))
    texts = [row.description for row in rows]
    random.Random(0).shuffle(texts)
    for row, text in zip(rows, texts, strict=True):
        assert client.patch(f"/v1/images/{row.id}", json={"description": text}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"recipe": "no-such"}, 422, "recipe_invalid"),
        ({"set": ["data.root=/etc"]}, 422, "recipe_invalid"),
        ({"method": "lgur"}, 422, "recipe_invalid"),
        ({"set": ["batch=4096"]}, 409, "retraining_data"),
        ({"base": 99}, 404, "model_version_not_found"),
        ({"collections": ["nowhere"]}, 404, "collection_not_found"),
        ({"datasets": [{"format": "cuhk_pedes", "folder": "x"}]}, 422, "invalid_request"),
        ({"recipe": "../x"}, 422, "invalid_request"),
        ({"policy": {"gain": 0, "x": 1}}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_trained_is_refused_before(
    caller: TestClient, fields: dict[str, object], status: int, code: str
) -> None:
    answer = ask(caller, dry_run=True, **fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert caller.get("/v1/jobs").json()["jobs"] == []


def test_the_verb_refuses_alike(gallery: Core, settings: Settings) -> None:
    words = ["retrain", "--data-dir", str(settings.data_dir)]
    for extra, error in ((["--set", "data.root=/x"], RecipeRefusedError), (["--base", "99"], ModelNotFoundError)):
        found = CliRunner().invoke(app, [*words, *extra])
        assert isinstance(found.exception, error)
    for wrong in (["--with", "nonsense"], ["--policy", "gain"], ["--policy", "draws=1"], ["--device", "tpu"]):
        assert CliRunner().invoke(app, [*words, *wrong]).exit_code == 2


def test_a_gain_is_promoted_and_a_sabotage_is_refused(gallery: Core, settings: Settings, caller: TestClient) -> None:
    client = caller
    planned = ask(client, dry_run=True)
    assert planned.status_code == 200, planned.text
    plan = planned.json()
    assert (plan["recipe"], plan["method"], plan["base"]) == ("retrain-compact", "dgcmia", 1)
    assert sum(plan["images"].values()) == 192
    assert plan["steps"] == plan["images"]["train"] // 32 * 20
    assert plan["seconds_from"] == "measured"
    assert client.get("/v1/jobs").json()["jobs"] == []

    queued = ask(client, activate="auto", name="better")
    assert queued.status_code == 202, queued.text
    finish(gallery)
    job = client.get(queued.headers["location"]).json()
    assert (job["state"], job["done"], job["total"]) == ("succeeded", plan["steps"], plan["steps"])
    assert job["progress"]["accepted"], job["progress"]
    version = client.get(f"/v1/models/{job['progress']['version']}").json()
    assert (version["name"], version["status"], version["parent_id"]) == ("better", "encoding", 1)
    assert (version["job_id"], len(version["data_fingerprint"])) == (job["id"], 64)
    assert version["recipe"]["method"] == "dgcmia"
    whole = version["gate"]["sets"][0]
    assert whole["R@1"]["low"] > 0
    assert version["metrics"]["R@1"] == whole["R@1"]["candidate"] > whole["R@1"]["active"]
    assert not (settings.retraining_dir / job["id"] / "data").exists()
    finish(gallery)  # the activation
    assert active(gallery) == version["id"]

    shuffle_train(client, gallery)
    worse = ask(client)
    stop_and_go_on(gallery)
    job = client.get(worse.headers["location"]).json()
    assert (job["state"], job["progress"]["accepted"]) == ("succeeded", False)
    assert {"no_gain", "loss"} & {reason["code"] for reason in job["progress"]["reasons"]}
    refused = client.get(f"/v1/models/{job['progress']['version']}").json()
    assert (refused["status"], refused["parent_id"]) == ("refused", version["id"])
    assert refused["gate"]["compared_with"] == version["id"]
    denied = client.post(f"/v1/models/{refused['id']}/activate")
    assert (denied.status_code, denied.json()["code"]) == (409, "model_refused")
    assert active(gallery) == version["id"]
