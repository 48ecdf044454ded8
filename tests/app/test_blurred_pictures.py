"""Blurring as people meet it: every way in which a picture leaves Descry, and who gets originals."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app as verbs
from app.core import Core, opened
from app.database.tables import Embedding
from app.database.tables import Image as Row
from app.gallery.sources import open_source
from app.main import create_app
from app.queries.pairs import export_pairs
from app.retraining.dataset import GalleryDataset
from app.settings import Settings
from tests.app.heads import detail, head_is_gone, write
from tests.app.heads import opened as picture_of
from tests.app.test_access_api import keys
from tests.app.test_explanations_api import explained
from tests.app.test_feedback_pairs import confirmed
from tests.app.test_indexing_jobs import finish
from tests.app.test_problems import check
from tests.app.test_search_api import ask

__all__ = ["confirmed", "explained", "keys"]
PEOPLE = 4


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", ingest_chunk=4, maintenance_s=0.2, device="cpu", blur_faces=True)


@pytest.fixture
def filled(core: Core, tmp_path: Path) -> Core:
    """Synthetic people; the first one is larger than a thumbnail."""
    write(tmp_path / "p", PEOPLE)
    assert {outcome.status for outcome in core.ingest().run(open_source(tmp_path / "p"))} == {"ingested"}
    return core


@pytest.fixture
def seeing(core: Core, settings: Settings) -> Iterator[TestClient]:
    """The same gallery, served without blurring."""
    with TestClient(create_app(settings.model_copy(update={"blur_faces": False})), base_url="http://127.0.0.1") as made:
        yield made


def names(core: Core) -> dict[int, str]:
    with core.database.read() as session:
        return {row.id: row.store_name for row in session.scalars(select(Row))}


def originals(core: Core) -> dict[int, bytes]:
    return {image_id: core.store.read(name) or b"" for image_id, name in names(core).items()}


def vectors(core: Core) -> list[bytes]:
    with core.database.read() as session:
        return list(session.scalars(select(Embedding.vector).order_by(Embedding.sequence)))


def test_what_is_stored_and_what_is_shown(filled: Core, client: TestClient, settings: Settings, tmp_path: Path) -> None:
    assert not list(settings.images_dir.rglob("*.thumb.jpg"))
    assert len(list(settings.images_dir.rglob("*.blur.jpg"))) == PEOPLE
    for image_id, data in originals(filled).items():
        assert data == (tmp_path / "p" / f"{image_id - 1:02}.jpg").read_bytes()
        original = picture_of(data)
        thumbnail = picture_of(client.get(f"/v1/images/{image_id}/thumbnail").content)
        whole = picture_of(client.get(f"/v1/images/{image_id}/file").content)
        assert max(thumbnail.size) <= 256
        assert whole.size == original.size
        assert head_is_gone(thumbnail, original)
        assert head_is_gone(whole, original)
    assert client.get("/v1/gallery").json()["heads_blurred"] is True


def test_the_encoder_sees_the_original(filled: Core, tmp_path: Path) -> None:
    plain = Settings(data_dir=tmp_path / "plain", ingest_chunk=4, device="cpu")
    with opened(plain) as other:
        from app.commands.models import activate_version, register_checkpoint

        activate_version(other, register_checkpoint(other, tmp_path / "toy", "toy").id)
        list(other.ingest().run(open_source(tmp_path / "p")))
        assert sorted(vectors(other)) == sorted(vectors(filled))
        assert len(list(plain.images_dir.rglob("*.thumb.jpg"))) == 1
        assert not list(plain.images_dir.rglob("*.blur.jpg"))


def test_a_gallery_from_before_is_blurred_from_the_first_request_on(
    seeing: TestClient, client: TestClient, core: Core, settings: Settings, tmp_path: Path
) -> None:
    write(tmp_path / "p", 2)
    with opened(settings.model_copy(update={"blur_faces": False})) as before:
        list(before.ingest().run(open_source(tmp_path / "p")))
    assert not list(settings.images_dir.rglob("*.blur.jpg"))
    for image_id, data in originals(core).items():
        for kind in ("thumbnail", "file"):
            path = f"/v1/images/{image_id}/{kind}"
            clear, shown = seeing.get(path), client.get(path)
            assert head_is_gone(picture_of(shown.content), picture_of(data))
            assert not head_is_gone(picture_of(clear.content), picture_of(data))
            # What a browser kept from before must not be shown again.
            asked = client.get(path, headers={"If-None-Match": clear.headers["etag"]})
            assert (asked.status_code, asked.content) == (200, shown.content)
            assert client.get(path, headers={"If-None-Match": shown.headers["etag"]}).status_code == 304


def test_originals_are_for_administrators(
    filled: Core, client: TestClient, seeing: TestClient, keys: dict[str, dict[str, str]]
) -> None:
    path, stored = "/v1/images/1/file", originals(filled)[1]
    for holder in ("search", "ingest"):
        check(client.get(path, params={"original": True}, headers=keys[holder]), 403, "scope_missing")
    blurred = client.get(path, headers=keys["search"])
    assert head_is_gone(picture_of(blurred.content), picture_of(stored))
    assert client.get(path, headers=keys["admin"]).content == blurred.content  # an administrator asks for it expressly
    asked = client.get(path, params={"original": True}, headers=keys["admin"])
    assert asked.content == stored
    assert asked.headers["etag"] != blurred.headers["etag"]
    # A tag that an administrator's browser knows gives nobody else the picture.
    tag = {"If-None-Match": asked.headers["etag"]}
    assert client.get(path, headers={**keys["search"], **tag}).content == blurred.content
    check(client.get(path, params={"original": True}, headers={**keys["search"], **tag}), 403, "scope_missing")
    assert seeing.get(path, params={"original": True}, headers=keys["search"]).content == stored
    audit = client.get("/v1/admin/audit", params={"action": "view.file"}, headers=keys["admin"]).json()["entries"]
    told = [(entry["outcome"], entry["facts"].get("original")) for entry in audit]
    assert told.count(("ok", True)) == 1
    assert told.count(("scope_missing", None)) == 2  # the third one was refused at the door


def test_heat_is_laid_over_the_blurred_picture(explained: TestClient, core: Core, settings: Settings) -> None:
    """(The fixture's pictures have no detail, so noise takes the place of one.)"""
    random = np.random.default_rng(5)
    name = names(core)[1]
    noise = Image.fromarray(random.integers(0, 256, (200, 90, 3), np.uint8))
    noise.save(settings.images_dir / f"{name}.jpg", quality=95)
    answer = explained.post("/v1/images/1/heatmap", json={"query": "a red coat"})
    assert answer.headers["content-type"] == "image/png"
    heat = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert heat.size == (90, 200)
    assert detail(heat, top=0, bottom=0.3) < 0.05 * detail(heat, top=0.4, bottom=1)


def test_files_of_results_show_blurred_heads(filled: Core, client: TestClient) -> None:
    query = ask(client, "red", limit=PEOPLE)["query_id"]
    stored = {image_id: filled.showing.thumbnail(name) or b"" for image_id, name in names(filled).items()}
    page = client.get(f"/v1/queries/{query}/results", params={"format": "html"}).text
    inline = [base64.b64decode(found) for found in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)]
    assert sorted(inline) == sorted(stored.values())
    paper = client.get(f"/v1/queries/{query}/results", params={"format": "pdf"}).content
    assert all(data in paper for data in stored.values())
    assert not any(data in paper for data in originals(filled).values())
    for image_id, data in originals(filled).items():
        assert head_is_gone(picture_of(stored[image_id]), picture_of(data))


@pytest.mark.parametrize("asked", [False, True])
def test_an_export_has_originals_only_if_they_are_asked_for(filled: Core, client: TestClient, asked: bool) -> None:
    job = client.post("/v1/exports", json={"originals": asked}).json()
    finish(filled)
    found = client.get(f"/v1/jobs/{job['id']}/result")
    with zipfile.ZipFile(io.BytesIO(found.content)) as packed:
        held = {int(Path(name).stem): packed.read(name) for name in packed.namelist() if name.endswith(".jpg")}
    stored = originals(filled)
    assert held.keys() == stored.keys()
    for image_id, data in held.items():
        assert (data == stored[image_id]) is asked
        assert head_is_gone(picture_of(data), picture_of(stored[image_id])) is not asked
    lines = [line["message"] for line in client.get(f"/v1/jobs/{job['id']}").json()["log"]]
    assert any("heads" in line for line in lines) is not asked


def test_the_verb_for_exports_says_what_it_wrote(filled: Core, settings: Settings, tmp_path: Path) -> None:
    where = ["--data-dir", str(settings.data_dir), "--json"]
    for folder, more, blurred in (("a", [], True), ("b", ["--originals"], False)):
        run = CliRunner().invoke(
            verbs, ["export", "--out", str(tmp_path / folder), *more, *where], env={"DESCRY_BLUR_FACES": "true"}
        )
        assert run.exit_code == 0, run.output
        assert json.loads(run.stdout)["blurred"] is blurred
        written = {path.read_bytes() for path in (tmp_path / folder).rglob("*.jpg")}
        assert (written == set(originals(filled).values())) is not blurred


def test_the_verb_for_thumbnails_does_what_is_left(filled: Core, settings: Settings) -> None:
    where = ["images", "thumbnails", "--data-dir", str(settings.data_dir)]
    told = []
    for value, more in (("false", ["--json"]), ("true", ["--json"]), ("true", [])):
        run = CliRunner().invoke(verbs, [*where, *more], env={"DESCRY_BLUR_FACES": value})
        assert run.exit_code == 0, run.output
        told.append(run.stdout)
    assert json.loads(told[0]) == {"blurred": False, "made": PEOPLE, "right": 0, "lost": []}
    assert json.loads(told[1]) == {"blurred": True, "made": PEOPLE, "right": 0, "lost": []}
    assert told[2] == f"0 thumbnails made anew with blurred heads, {PEOPLE} were right already\n"


def test_training_reads_originals_and_files_of_pairs_do_not(confirmed: Core, tmp_path: Path) -> None:
    stored = set(originals(confirmed).values())
    assert GalleryDataset(confirmed, tmp_path / "set", None).make(lambda: True, lambda done, total: None) is not None
    assert {path.read_bytes() for path in (tmp_path / "set").rglob("*.jpg")} <= stored
    assert export_pairs(confirmed, tmp_path / "pairs").images
    assert not {path.read_bytes() for path in (tmp_path / "pairs").rglob("*.jpg")} & stored
    assert export_pairs(confirmed, tmp_path / "asked", originals=True).images
    assert {path.read_bytes() for path in (tmp_path / "asked").rglob("*.jpg")} <= stored


def test_an_erased_person_leaves_no_blurred_picture(filled: Core, client: TestClient, settings: Settings) -> None:
    name = names(filled)[1]
    assert list(settings.images_dir.rglob(f"{Path(name).name}*"))
    assert client.delete("/v1/images/1").status_code == 204
    assert not list(settings.images_dir.rglob(f"{Path(name).name}*"))
    check(client.get("/v1/images/1/thumbnail"), 404, "image_not_found")
