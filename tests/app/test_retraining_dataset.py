"""The data set of a gallery: one contract for its writer and its reader; what is deleted or merged since."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.errors import RetrainingDataError
from app.gallery.sources import open_source
from app.retraining.dataset import GalleryDataset, Summary
from app.retraining.places import sweep_data
from app.retraining.splits import drawn
from tests.app.toy import COLOURS, picture
from training.datasets import read_dataset

PEOPLE = 30


@pytest.fixture
def described(core: Core, tmp_path: Path) -> Core:
    """30 people with two described images, two pictures of the first that nobody described."""
    lines = []
    for person in range(PEOPLE):
        for view in range(4 if person == 0 else 2):
            name = f"{person}-{view}.jpg"
            picture(tmp_path / "p" / name, list(COLOURS)[person % 8], list(COLOURS)[person // 8], shade=view * 9)
            words = {"description": f"the {person}th person"} if view < 2 else {}
            line = {"file": name, "identity": f"P{person}", "camera": f"c{view}", **words, "attributes": {"n": person}}
            lines.append(json.dumps(line))
    (tmp_path / "p" / "manifest.jsonl").write_text("\n".join(lines))
    list(core.ingest().run(open_source(tmp_path / "p")))
    return core


def make(core: Core, folder: Path) -> Summary:
    found = GalleryDataset(core, folder, None).make(lambda: True, lambda done, total: None)
    assert found is not None
    return found


def test_what_is_written_is_what_training_reads(described: Core, tmp_path: Path) -> None:
    made = make(described, tmp_path / "set")
    data = read_dataset("descry_gallery", tmp_path / "set")
    assert sum(made.images.values()) == len(made.image_ids) == 2 * PEOPLE
    assert {split: len(records) for split, records in data.splits.items()} == made.images
    for split, records in data.splits.items():
        for record in records:
            number = int(dict(record.groups)["n"])
            assert record.descriptions == (f"the {number}th person",)
            assert split == drawn(f"P{number}")
            assert dict(record.groups)["collection"] == "default"
            assert record.path.read_bytes()[:2] == b"\xff\xd8"
    again = make(described, tmp_path / "again")
    assert again.fingerprint == made.fingerprint
    assert (tmp_path / "again" / "manifest.jsonl").read_bytes() == (tmp_path / "set" / "manifest.jsonl").read_bytes()


def test_a_deleted_image_makes_the_set_anew(described: Core, client: TestClient, tmp_path: Path) -> None:
    made = make(described, tmp_path / "set")
    dataset = GalleryDataset(described, tmp_path / "set", None)
    assert dataset.made() == made
    gone = min(made.image_ids)
    assert client.delete(f"/v1/images/{gone}").status_code == 204
    assert dataset.made() is None
    new = make(described, tmp_path / "set")
    assert new.image_ids == made.image_ids - {gone}
    assert new.fingerprint != made.fingerprint
    assert not list((tmp_path / "set").rglob(f"{gone:08}.jpg"))


def test_merged_people_are_trained_on_if_one_of_them_was(described: Core, client: TestClient, tmp_path: Path) -> None:
    make(described, tmp_path / "set")
    sides = {drawn(f"P{n}"): n for n in range(PEOPLE)}
    found = {client.get(f"/v1/identities/{number}").json()["external_id"]: number for number in range(1, PEOPLE + 1)}
    one, other = found[f"P{sides['test']}"], found[f"P{sides['train']}"]
    body = {"identities": [other], "drop_names": True}
    assert client.post(f"/v1/identities/{one}/merge", json=body).status_code == 200
    make(described, tmp_path / "set")
    rows = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows if row["identity"] == str(one)} == {"train"}
    taken = [row["file"] for row in rows if row["identity"] == str(one)][2:]
    images = [int(Path(file).stem) for file in taken]
    split = client.post(f"/v1/identities/{one}/split", json={"image_ids": images})
    assert split.status_code == 200, split.text
    make(described, tmp_path / "set")
    rows = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows if int(Path(row["file"]).stem) in images} == {"train"}


def test_a_stopped_export_goes_on_and_one_without_people_is_refused(described: Core, tmp_path: Path) -> None:
    dataset = GalleryDataset(described, tmp_path / "set", None)
    assert dataset.make(lambda: False, lambda done, total: None) is None
    assert dataset.made() is None
    assert dataset.make(lambda: True, lambda done, total: None) == dataset.made()
    with described.database.write() as session:
        from app.collections.service import CollectionService

        CollectionService(session).resolve("empty")
    with pytest.raises(RetrainingDataError, match="nobody"):
        GalleryDataset(described, tmp_path / "none", ["empty"]).make(lambda: True, lambda done, total: None)


def test_pictures_of_jobs_that_are_gone_are_swept(core: Core) -> None:
    for name in ("open", "gone"):
        (core.settings.retraining_dir / name / "data").mkdir(parents=True)
    sweep_data(core.settings, {"open"})
    assert [path.parent.name for path in core.settings.retraining_dir.glob("*/data")] == ["open"]
    assert (core.settings.retraining_dir / "gone").is_dir()
