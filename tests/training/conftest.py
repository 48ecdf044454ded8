"""A miniature data set in CUHK-PEDES form that no generator made: drawn people of two colours, and sentences."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "purple", "orange")


def draw_person(path: Path, upper: str, lower: str, size: tuple[int, int] = (24, 56)) -> None:
    """A figure with a shirt and trousers on grey."""
    image = Image.new("RGB", size, "grey")
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.rectangle((width // 4, height // 5, 3 * width // 4, height // 2), fill=upper)
    draw.rectangle((width // 4, height // 2, 3 * width // 4, height), fill=lower)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_set(root: Path, *, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """64 people, 2 images each with 2 sentences, spread over the splits; returns the folder of reid_raw.json."""
    entries = []
    for identity, (upper, lower) in enumerate(((a, b) for a in COLOURS for b in COLOURS), start=1):
        split = splits[0] if identity % 4 else splits[-1 if identity % 8 else len(splits) // 2]
        for view in (1, 2):
            file = f"made/p{identity}_c{view:02d}_.png"
            draw_person(root / "imgs" / file, upper, lower, (20 + 4 * view, 50 + 6 * view))
            captions = [f"A person in a {upper} shirt and {lower} trousers.", f"{lower} pants with a {upper} top"]
            entries.append({"split": split, "id": identity, "file_path": file, "captions": captions})
    (root / "reid_raw.json").write_text(json.dumps(entries))
    return root


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("tiny") / "CUHK-PEDES")
