"""What is blurred in a picture, what is not, and that nothing of it can be recovered."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.gallery.blurring import FaceBlur, Region, face_blur
from app.settings import Settings
from tests.app.heads import detail, face, head_is_gone, opened, people, pixels
from training.synthetic.parts import Part

HEAD = (Part.FACE, Part.GLASSES, Part.SCALP, Part.HAIR, Part.HAT)
WITHOUT = """
import sys
sys.modules["cv2"] = None
from app.cli import main
sys.argv = ["descry", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def blur() -> FaceBlur:
    return FaceBlur()


def test_heads_of_synthetic_people_are_covered_and_have_no_detail_left(blur: FaceBlur) -> None:
    seen = 0
    for person in people(24):
        image = opened(person.jpeg)
        upper = blur.regions(image)[0]
        head = np.isin(person.ids, HEAD)
        rows = round(upper.bottom / image.height * len(head))
        seen += int(head.any())
        assert head[rows:].sum() <= 0.02 * head.sum()
        assert head_is_gone(blur(image), image)
    assert seen > 20


def test_all_else_is_as_it_was(blur: FaceBlur) -> None:
    for person in people(6):
        image = opened(person.jpeg)
        kept = image.tobytes()
        outside = np.ones((image.height, image.width), bool)
        for region in blur.regions(image):
            outside[region.top : region.bottom, region.left : region.right] = False
        assert outside.mean() > 0.5
        after = pixels(blur(image))
        assert np.array_equal(after[outside], pixels(image)[outside])
        assert not np.array_equal(after, pixels(image))
        assert image.tobytes() == kept  # the caller's own picture


def test_nothing_but_a_few_averages_goes_into_what_is_shown(blur: FaceBlur) -> None:
    """Two heads that differ in every pixel and agree in the averages of large cells look the same: what tells them
    apart is gone, so that no method can bring it back."""
    random = np.random.default_rng(3)
    cell = 14  # of a picture of 80 x 200: the upper 56 rows in four cells
    noise = random.integers(0, 256, (200, 84, 3), np.uint8)[:, :80]
    other = noise.copy()
    columns = [round(number * 80 / 6) for number in range(7)]
    for top in range(0, 56, cell):
        for left, right in pairwise(columns):
            inner = other[top : top + cell, left + 1 : right - 1]  # cells may share the columns at their edges
            flat = inner.reshape(-1, 3)
            inner[...] = random.permutation(flat).reshape(inner.shape)
    one, two = Image.fromarray(noise), Image.fromarray(other)
    assert blur.regions(one)[0] == Region(0, 0, 80, 56)
    assert np.abs(noise.astype(int) - other.astype(int))[:56].mean() > 50
    shown, same = pixels(blur(one))[:56], pixels(blur(two))[:56]
    assert np.abs(shown - same).max() == 0
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 1  # it is not that everything looks alike
    assert detail(blur(one), top=0, bottom=0.27) < 1e-3 * detail(one, top=0, bottom=0.27)


def test_many_pictures_of_one_head_do_not_add_up(blur: FaceBlur) -> None:
    head = face(64)
    shown = []
    for shift in range(8):  # each with other cells under the same head, as a track would give
        image = Image.new("RGB", (100, 250), (90, 110, 90))
        image.paste(head, (12 + shift, 4 + shift))
        shown.append(pixels(blur(image).crop((12 + shift, 4 + shift, 76 + shift, 68 + shift))))
    together = Image.fromarray(np.mean(shown, axis=0).round().astype(np.uint8))
    assert detail(together, top=0.1, bottom=0.9) < 0.05 * detail(head, top=0.1, bottom=0.9)


@pytest.mark.parametrize(
    ("size", "rows"),
    [
        ((50, 250), 65),
        ((100, 250), 70),
        ((100, 200), 70),
        ((102, 200), 88),
        ((110, 200), 157),
        ((116, 200), 200),
        ((300, 200), 200),
    ],
)
def test_how_much_follows_from_the_shape(blur: FaceBlur, size: tuple[int, int], rows: int) -> None:
    assert blur.regions(Image.new("RGB", size, (90, 110, 90))) == [Region(0, 0, size[0], rows)]


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 5), (400, 1), (16, 24)])
def test_any_size_will_do(blur: FaceBlur, size: tuple[int, int]) -> None:
    assert blur(Image.new("RGB", size, (200, 30, 90))).size == size


def test_a_face_below_the_upper_part_is_found_and_covered_with_its_hair(blur: FaceBlur) -> None:
    image = Image.new("RGB", (256, 640), (90, 110, 90))
    image.paste(face(160), (48, 330))
    upper, lower = blur.regions(image)
    assert upper == Region(0, 0, 256, 180)
    assert lower.left <= 71
    assert lower.right >= 185
    assert lower.top <= 340
    assert lower.bottom >= 480
    box = (lower.left, lower.top, lower.right, lower.bottom)
    shown, same = (one.crop(box).reduce(3) for one in (blur(image), image))
    assert detail(shown, top=0, bottom=1) < 0.05 * detail(same, top=0, bottom=1)


def test_threads_find_the_same_faces(blur: FaceBlur) -> None:
    image = Image.new("RGB", (256, 640), (90, 110, 90))
    image.paste(face(160), (48, 330))
    with ThreadPoolExecutor(8) as pool:
        assert {str(found) for found in pool.map(blur.regions, [image] * 32)} == {str(blur.regions(image))}


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert face_blur(Settings()) is None
    assert face_blur(Settings(blur_faces=True)) is face_blur(Settings(blur_faces=True)) is not None


@pytest.mark.parametrize("verb", [["serve", "--no-worker", "--port", "0"], ["worker"], ["images", "thumbnails"]])
def test_without_opencv_nothing_starts_that_should_blur(tmp_path: Path, verb: list[str]) -> None:
    data = tmp_path / "data"
    values = {**os.environ, "DESCRY_BLUR_FACES": "true", "DESCRY_DATA_DIR": str(data), "DESCRY_SUPERVISE": "false"}
    command = [sys.executable, "-c", WITHOUT, *verb]
    done = subprocess.run(command, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error face_blur_not_installed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (data / "descry.sqlite3").exists()
