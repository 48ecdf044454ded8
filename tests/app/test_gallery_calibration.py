"""Confidence that an activation learns on the gallery: from whom, from how many, and what is said where it cannot."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PictureFile
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.database.tables import Image
from app.gallery.repository import ImageRepository
from app.gallery.sources import open_source
from app.jobs.service import JobService
from app.registry.calibration import LEAST_PEOPLE, LEAST_QUERIES, UNCALIBRATED, GalleryCalibration, Learnt
from app.registry.repository import KnownRepository, ModelRepository
from app.registry.service import ModelService, Origin
from app.retraining.repository import RetrainingRepository
from models.calibration import write_section
from models.checkpoint import read_info
from models.confidence import ConfidenceCurve, confidence_curves
from models.presence import presence_rules
from tests.app.conftest import IngestFolder
from tests.app.test_indexing_jobs import active, finish, taken
from tests.app.test_ingest_folder import write_manifest
from tests.app.test_search_api import ask
from tests.app.toy import COLOURS, picture, toy_checkpoint
from tests.models.test_presence import section
from tests.waiting import LIMIT_S

IMAGES = 3
PAIRS = [(one, other) for one in COLOURS for other in COLOURS if one != other][:40]
"""Whom the gallery shows, by the colours of above and below. The toy model knows colours, but not where they are: who
is red and green is mistaken for who is green and red."""


def roughened(path: Path, seed: int) -> None:
    """Shades by which no two pictures look the same to a perceptual hash, and which the toy model averages out."""
    shades = np.random.default_rng(seed).normal(0, 12, (18, 8, 1)).repeat(5, 0).repeat(5, 1)
    pixels = np.asarray(PictureFile.open(path)).astype(float) * 0.8 + 25 + shades
    PictureFile.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def draw(folder: Path, *, named: bool = True, described: bool = True) -> Path:
    entries: list[dict[str, object]] = []
    for person, (top, bottom) in enumerate(PAIRS):
        for view in range(IMAGES):
            file = f"{person:02}-{view}.jpg"
            roughened(picture(folder / file, top, bottom), 10 * person + view)
            entry: dict[str, object] = {"file": file, "camera": f"c{view}"}
            if named:
                entry["identity"] = f"P{person:02}"
            if described:
                entry["description"] = f"a person in a {top} coat and {bottom}"
            entries.append(entry)
    write_manifest(folder, entries)
    return folder


@pytest.fixture
def other(core: Core, tmp_path: Path) -> int:
    return register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two").id


def log_of(client: TestClient, job_id: str) -> list[str]:
    return [line["message"] for line in client.get(f"/v1/jobs/{job_id}").json()["log"]]


def answered_by(client: TestClient, version: int, query: str) -> dict[str, Any]:
    """The answer of a version that the database names; the server may have to load it first."""
    deadline = time.monotonic() + LIMIT_S
    while (answer := ask(client, query))["model_version"]["id"] != version:
        assert time.monotonic() < deadline
    return answer


def split(core: Core, *, held: int) -> None:
    """What a retraining writes down: the first people are held out, the others were trained on."""
    with core.database.write() as session:
        sides = {
            member.image_id: "test" if int(str(member.external_id)[1:]) < held else "train"
            for member in RetrainingRepository(session).members(None)
        }
        RetrainingRepository(session).record(sides)  # type: ignore[arg-type]


def test_an_outside_checkpoint_is_calibrated_before_it_answers(
    client: TestClient, core: Core, ingest: IngestFolder, other: int, tmp_path: Path
) -> None:
    ingest(draw(tmp_path / "people"))
    assert not ask(client, "red")["calibrated"]
    job = client.post(f"/v1/models/{other}/activate").json()["id"]
    finish(core)
    calibration = client.get(f"/v1/models/{other}").json()["calibration"]
    assert UNCALIBRATED not in calibration
    curves = confidence_curves(calibration)
    assert set(curves) == {"text", "image"}
    for curve in curves.values():
        assert (curve.data, curve.split, curve.identities) == ("the gallery", "named people", len(PAIRS))
        assert curve.queries == len(PAIRS) * IMAGES
        assert curve(1.0) > 3 * curve(0.0)
    assert sum("learnt from 120 of named people among 40" in line for line in log_of(client, job)) == 2
    answer = answered_by(client, other, "a person in a red coat and green")
    assert answer["calibrated"]
    assert answer["weak_below"] == curves["text"].weak_below
    first = answer["candidates"][0]
    assert first["confidence"] == pytest.approx(curves["text"](first["score"]), abs=1e-4)


def test_the_probabilities_are_those_of_the_gallery(
    core: Core, ingest: IngestFolder, other: int, tmp_path: Path
) -> None:
    """The share of right ones among the first candidates of the same queries, by brute force over the vectors."""
    ingest(draw(tmp_path / "people"))
    activate_version(core, other)
    core.active.follow()
    model = core.active.current()
    right, told = 0, 0.0
    with core.database.read() as session:
        asked = KnownRepository(session).described(held_out=False, most=1000)
        whom = {one.image_id: one.identity_id for one in asked}
    for one in asked:
        vector = model.encoder.submit_text(one.description).result().vector
        hits = model.view("text").search(np.asarray(vector), len(whom))
        best: dict[int, float] = {}
        for image_id, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
            best.setdefault(whom[image_id], score)
        page = list(best.items())[:10]
        right += sum(identity == one.identity_id for identity, _ in page)
        told += sum(model.curves["text"](score) for _, score in page)
    assert right > 60
    assert told == pytest.approx(right, rel=0.1)


def test_people_who_are_held_out_are_asked_first(
    client: TestClient, core: Core, ingest: IngestFolder, other: int, tmp_path: Path
) -> None:
    ingest(draw(tmp_path / "people"))
    split(core, held=25)
    client.post(f"/v1/models/{other}/activate")
    finish(core)
    curve = confidence_curves(client.get(f"/v1/models/{other}").json()["calibration"])["text"]
    assert (curve.split, curve.queries, curve.identities) == ("held-out people", 25 * IMAGES, len(PAIRS))


def test_what_was_trained_here_is_never_asked_about_those_it_has_seen(
    client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    ingest(draw(tmp_path / "people"))
    split(core, held=LEAST_PEOPLE - 1)
    folder = toy_checkpoint(core.settings.models_dir / "trained", two_spaces=True)
    with core.database.write() as session:
        version = ModelService(session).register(read_info(folder), "trained", Origin(parent_id=1, job_id="j"))
    job = client.post(f"/v1/models/{version.id}/activate").json()["id"]
    finish(core)
    assert active(core) == version.id
    calibration = client.get(f"/v1/models/{version.id}").json()["calibration"]
    assert "confidence" not in calibration
    why = f"57 descriptions of 19 held-out people were there; it takes {LEAST_QUERIES} of {LEAST_PEOPLE}"
    assert all(calibration[UNCALIBRATED][space].startswith(why) for space in ("text", "image"))
    assert any(f"no confidence for text queries: {why}" in line for line in log_of(client, job))
    assert not answered_by(client, version.id, "red")["calibrated"]


@pytest.mark.parametrize(("named", "described"), [(False, True), (True, False)])
def test_a_gallery_that_says_too_little_leaves_a_version_uncalibrated(
    core: Core, ingest: IngestFolder, other: int, tmp_path: Path, *, named: bool, described: bool
) -> None:
    ingest(draw(tmp_path / "people", named=named, described=described))
    activate_version(core, other)
    show = ["models", "show", str(other), "--data-dir", str(core.settings.data_dir)]
    assert UNCALIBRATED in CliRunner().invoke(app, show).stdout
    calibration = json.loads(CliRunner().invoke(app, [*show, "--json"]).stdout)["calibration"]
    assert set(calibration) == {"format", UNCALIBRATED}
    assert calibration[UNCALIBRATED]["text"].startswith("0 descriptions of 0 named people were there")
    assert active(core) == other


def test_a_checkpoint_that_brings_curves_keeps_them_and_gets_those_that_lack(
    core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    ingest(draw(tmp_path / "people"))
    counts = {"queries": 9, "identities": 9, "depth": 10}
    own = ConfidenceCurve(
        "platt", (0.2, 0.6), (0.1, 0.9), data="elsewhere", split="val", error=0.01, brier=0.02, **counts
    )
    folder = toy_checkpoint(tmp_path / "own", two_spaces=True)
    write_section(folder, "confidence", {"text": own.to_dict()})
    write_section(folder, "presence", {"text": section()})
    version = register_checkpoint(core, folder, "own").id
    activate_version(core, version)
    with core.database.read() as session:
        curves = confidence_curves(ModelRepository(session).calibration(version))
        assert set(presence_rules(ModelRepository(session).calibration(version))) == {"text"}
    assert (curves["text"].data, curves["image"].data) == ("elsewhere", "the gallery")
    shown = CliRunner().invoke(
        app, ["models", "calibrate", str(version), "--anew", "--data-dir", str(core.settings.data_dir)]
    )
    assert "confidence of text queries learnt from 120 of named people" in shown.stdout
    with core.database.read() as session:
        calibration = ModelRepository(session).calibration(version)
    assert confidence_curves(calibration)["text"].data == "the gallery"
    assert presence_rules(calibration) == {}  # it was about other people


def test_what_could_not_be_learnt_is_learnt_later(core: Core, ingest: IngestFolder, other: int, tmp_path: Path) -> None:
    activate_version(core, other)
    core.active.follow()
    ingest(draw(tmp_path / "people"))
    _, _, encoder = core.active.load_encoder(other)
    learnt = GalleryCalibration(core.database).learn(other, encoder)
    assert learnt is not None
    assert set(learnt.curves) == {"text", "image"}
    with core.database.read() as session:
        assert UNCALIBRATED not in ModelRepository(session).calibration(other)
    core.active.follow()
    assert set(core.active.current().curves) == {"text", "image"}  # without a restart
    assert GalleryCalibration(core.database).learn(other, encoder) == Learnt({}, {})


def test_a_job_that_is_cancelled_while_it_learns_does_not_switch(
    client: TestClient, core: Core, ingest: IngestFolder, other: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(draw(tmp_path / "people"))
    job = client.post(f"/v1/models/{other}/activate").json()["id"]
    _, work = taken(core, threading.Event())
    work.prepare()
    encode = core.active.load_encoder(other)[2].__class__.encode_descriptions

    def cancelling(*arguments: object) -> object:
        client.post(f"/v1/jobs/{job}/cancel")
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(core.active.load_encoder(other)[2].__class__, "encode_descriptions", cancelling)
    assert not work.advance()
    with core.database.read() as session:
        assert JobService(session).find(job).state == "cancelled"
        assert "confidence" not in ModelRepository(session).calibration(other)
    assert active(core) == 1


def test_near_duplicates_and_second_copies_are_left_out(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    ingest(draw(tmp_path / "people"))
    with core.database.read() as session:
        known = KnownRepository(session).images(most=1000, people=[])
        first, second, third = sorted(known)[:3]
        everyone = set(known.values())
    list(core.ingest("elsewhere").run(open_source(tmp_path / "people")))
    with core.database.write() as session:
        for copies in (0, len(known)):
            session.get_one(Image, second + copies).near_duplicate_of = first + copies
    with core.database.read() as session:
        assert ImageRepository(session).count() == 2 * len(known)
        repository = KnownRepository(session)
        assert set(repository.images(most=1000, people=[])) == set(known) - {second}
        assert second not in {one.image_id for one in repository.described(held_out=False, most=1000)}
        few = repository.images(most=30, people=[known[third]])
        assert 15 < len(few) < 60  # whole people, and the one who was asked for
        assert known[third] in set(few.values()) < everyone
