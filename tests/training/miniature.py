"""Miniatures of the published data sets: their folders, names and fields, with real JPEGs of a few pixels."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.training.conftest import COLOURS

TRAIN, TEST = range(6), range(6, 10)


def jpeg(path: Path, identity: int, shade: int = 0) -> str:
    """A picture in the identity's colour; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (16, 40), COLOURS[identity % len(COLOURS)])
    image.paste((40 * shade, 80, 120), (0, 20, 16, 40))
    image.save(path)
    return path.name


def write_icfg(root: Path, *, annotation: str = "ICFG-PEDES.json") -> Path:
    """10 people, 2 images by cameras 5 and 9, one sentence each; the folders are MSMT17's and say nothing on splits."""
    entries = []
    for identity in (*TRAIN, *TEST):
        for view, camera in enumerate((5, 9)):
            side = ("train", "test")[(identity + view) % 2]
            file = f"{side}/{identity:04d}/{identity:04d}_{view:03d}_{camera:02d}_0303afternoon_{identity}_0.jpg"
            jpeg(root / "imgs" / file, identity, view)
            words = f"A young person in {COLOURS[identity % 8]} clothes, seen {view + 1} times, number {identity}."
            entry = {"split": "train" if identity in TRAIN else "test", "file_path": file, "id": identity}
            entries.append({**entry, "processed_tokens": [[words.split()]], "captions": [words]})
    (root / annotation).write_text(json.dumps(entries))
    return root


def write_rstp(root: Path) -> Path:
    """10 people (6/2/2), 3 images by cameras of RSTPReid's names, two sentences each, all in one folder."""
    entries = []
    for identity in range(10):
        for camera in (1, 8, 14):
            name = jpeg(root / "imgs" / f"{identity:04d}_c{camera}_{camera:04d}.jpg", identity, camera % 6)
            captions = [f"Person {identity} wears {COLOURS[identity % 8]} by camera {camera}.", f"It is {identity}."]
            split = "train" if identity < 6 else "val" if identity < 8 else "test"
            entries.append({"id": identity, "img_path": name, "captions": captions, "split": split})
    (root / "data_captions.json").write_text(json.dumps(entries))
    return root


def write_market(root: Path) -> Path:
    """4 train people, 3 test people on 2 cameras, 2 distractors, 3 junk images, and the file that Windows leaves."""
    for identity in (2, 7, 10, 11):
        for camera in (1, 2, 6):
            jpeg(root / "bounding_box_train" / f"{identity:04d}_c{camera}s1_000151_01.jpg", identity, camera % 6)
    for identity in (1, 3, 4):
        jpeg(root / "query" / f"{identity:04d}_c1s1_001051_00.jpg", identity, 1)
        for camera in (1, 5):
            jpeg(root / "bounding_box_test" / f"{identity:04d}_c{camera}s3_021576_03.jpg", identity, camera)
    for number in (1, 2):
        jpeg(root / "bounding_box_test" / f"0000_c{number}s1_000151_01.jpg", 5, number)
    for number in (1, 2, 3):
        jpeg(root / "bounding_box_test" / f"-1_c{number}s1_000401_03.jpg", 6, number)
    (root / "bounding_box_test" / "Thumbs.db").write_bytes(b"\0")
    return root


def write_msmt17(root: Path, *, folders: Sequence[str] = ("train", "test")) -> Path:
    """3 train people (their third image in list_val), 2 test people whose numbers begin at 0 again."""
    lines: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}

    def add(side: int, name: str, identity: int, camera: int, shade: int) -> None:
        file = f"{identity:04d}/{identity:04d}_{len(lines[name]):03d}_{camera:02d}_0303morning_{shade:04d}_0.jpg"
        jpeg(root / folders[side] / file, identity + 3 * side, shade)
        lines[name].append(f"{file} {identity}\n")

    for identity in range(3):
        add(0, "train", identity, 1, 1)
        add(0, "train", identity, 15, 2)
        add(0, "val", identity, 3, 3)
    for identity in range(2):
        add(1, "query", identity, 1, 1)
        add(1, "gallery", identity, 1, 2)
        add(1, "gallery", identity, 12, 3)
    for name, rows in lines.items():
        (root / f"list_{name}.txt").write_text("".join(rows))
    return root
