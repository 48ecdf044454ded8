"""Pictures that look the same are flagged, and taken nevertheless."""

from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from app.core import Core
from app.gallery.likeness import NEAR, distances, look
from app.gallery.sources import open_source
from tests.app.conftest import IngestFolder


def scene(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (12, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((120, 240), Image.Resampling.BICUBIC)


def copies(folder: Path, *seeds: int) -> None:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        scene(seed).save(folder / f"{seed}-a.jpg", quality=95)
        scene(seed).resize((60, 120)).save(folder / f"{seed}-b.jpg", quality=60)


def test_copies_are_near_and_others_are_far() -> None:
    one, other = look(scene(1)), look(scene(2))
    smaller = look(scene(1).resize((60, 120)))
    assert one is not None
    assert other is not None
    assert smaller is not None
    near, far = distances([smaller, other], one)
    assert near <= NEAR < 12 < far


def test_a_picture_without_contrast_looks_like_nothing() -> None:
    assert look(Image.new("RGB", (40, 90), (200, 10, 10))) is None


def test_copies_are_flagged_within_and_across_ingests(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    copies(tmp_path / "p", 1, 2)
    first = ingest(tmp_path / "p")
    assert [outcome.status for outcome in first] == ["ingested"] * 4
    assert [o.near_duplicate_of for o in first] == [None, first[0].image_id, None, first[2].image_id]
    (tmp_path / "q").mkdir()
    scene(2).save(tmp_path / "q" / "later.png")
    (later,) = ingest(tmp_path / "q")
    assert later.near_duplicate_of in {first[2].image_id, first[3].image_id}
    shown = client.get(f"/v1/images/{first[1].image_id}").json()
    assert shown["near_duplicate_of"] == first[0].image_id
    assert client.delete(f"/v1/images/{first[0].image_id}").status_code == 204
    assert client.get(f"/v1/images/{first[1].image_id}").json()["near_duplicate_of"] is None


def test_images_without_a_hash_are_left_alone(ingest: IngestFolder, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for shade in (10, 90):
        Image.new("RGB", (40, 90), (shade, 0, 0)).save(tmp_path / "p" / f"{shade}.png")
    assert [o.near_duplicate_of for o in ingest(tmp_path / "p")] == [None, None]


def test_a_copy_in_another_collection_is_not_given_away(core: Core, tmp_path: Path) -> None:
    copies(tmp_path / "p", 3)
    one, two = (list(core.ingest(name).run(open_source(tmp_path / "p"))) for name in ("hall", "lobby"))
    assert one[1].near_duplicate_of == one[0].image_id
    assert two[0].near_duplicate_of is None
    assert two[1].near_duplicate_of == two[0].image_id
