"""The demo gallery and the contact sheet."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from training.cli import cli
from training.synthetic import SyntheticConfig, generate
from training.synthetic.attributes import split_of
from training.synthetic.errors import SyntheticSetError
from training.synthetic.gallery import GalleryConfig, write_gallery
from training.synthetic.person import identity_of
from training.synthetic.sheet import contact_sheet


def test_a_gallery_has_a_line_per_image(tmp_path: Path) -> None:
    told: list[int] = []
    config = GalleryConfig(identities=3, images_per_identity=2, seed=4, workers=1)
    out = write_gallery(config, tmp_path / "gallery", progress=lambda done, total: told.append(done))
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]
    assert [row["identity"] for row in rows] == ["P-0001", "P-0001", "P-0002", "P-0002", "P-0003", "P-0003"]
    assert told == [2, 4, 6]
    for row in rows:
        assert set(row) == {"file", "identity", "camera", "captured_at", "description", "attributes"}
        assert row["camera"].startswith("cam-")
        assert row["description"]
        assert all(isinstance(value, str) and value != "none" for value in row["attributes"].values())
        assert "skin" not in row["attributes"]
        with Image.open(out / row["file"]) as image:
            image.verify()


def test_gallery_people_wear_combinations_unseen_in_training(tmp_path: Path) -> None:
    out = write_gallery(GalleryConfig(identities=2, images_per_identity=1, seed=4, workers=1), tmp_path / "gallery")
    first = json.loads((out / "manifest.jsonl").read_text("utf-8").splitlines()[0])
    person = identity_of(4, "test", 1_000_000)
    assert first["attributes"]["upper"] == person["upper"]
    assert split_of(person.combination()) == "test"


def test_a_gallery_never_overwrites_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SyntheticSetError):
        write_gallery(GalleryConfig(identities=1, workers=1), tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("identities", 0), ("images_per_identity", 0), ("seed", -1), ("workers", 0)]
)
def test_a_bad_number_is_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        GalleryConfig(**{field: value})  # type: ignore[arg-type]


def test_a_contact_sheet_shows_people_with_their_words(tmp_path: Path) -> None:
    folder = generate(SyntheticConfig(4, 0, 2, 2, workers=1), tmp_path / "set")
    words = ["synthesise", str(tmp_path / "same"), "--train", "4", "--val", "0", "--test", "2", "--images", "2"]
    drawn = CliRunner().invoke(cli, [*words, "--workers", "1", "--sheet", str(tmp_path / "drawn.jpg")])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "drawn.jpg").read_bytes() == contact_sheet(folder, tmp_path / "same.jpg").read_bytes()
    with Image.open(contact_sheet(folder, tmp_path / "sheets" / "all.png", identities=4, columns=2)) as sheet:
        assert sheet.width > 400
        assert sheet.height > 500
    contact_sheet(folder, tmp_path / "test.jpg", identities=9, columns=3, split="test")
    assert (tmp_path / "test.jpg").stat().st_size > 2000
    with pytest.raises(SyntheticSetError):
        contact_sheet(tmp_path, tmp_path / "none.png")
    with pytest.raises(ValueError, match="at least 1"):
        contact_sheet(folder, tmp_path / "none.png", identities=0)
