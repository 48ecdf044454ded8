"""The export of a gallery as a data set, with and without splits, and with a set beside it."""

import json
from pathlib import Path

import pytest

from tests.training.conftest import draw_person, write_set
from training.datasets import read_dataset
from training.errors import DatasetError


def write(folder: Path, rows: list[dict[str, object]], **about: object) -> Path:
    for row in rows:
        draw_person(folder / str(row["file"]), "red", "blue")
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if about:
        (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def row(number: int, **fields: object) -> dict[str, object]:
    return {"file": f"images/{number}.jpg", "description": f"person {number}", **fields}


def test_splits_people_and_groups(tmp_path: Path) -> None:
    rows = [
        row(1, identity="a", split="train", camera="c1", collection="north", attributes={"sex": "woman", "bags": [1]}),
        row(2, identity="a", split="train"),
        row(3, split="val"),
        row(4, split="test", description=None, descriptions=["one", " two "]),
    ]
    data = read_dataset("descry_gallery", write(tmp_path, rows, name="mine"))
    assert data.name == "mine"
    one, two = data.splits["train"]
    assert one.identity == two.identity
    assert (one.camera, one.groups) == ("c1", (("collection", "north"), ("sex", "woman")))
    assert data.splits["test"][0].descriptions == ("one", "two")
    assert len({record.identity for records in data.splits.values() for record in records}) == 3


def test_a_plain_export_is_all_train(tmp_path: Path) -> None:
    data = read_dataset("descry_gallery", write(tmp_path, [row(1), row(2, description=None)]))
    assert [len(records) for records in data.splits.values()] == [2, 0, 0]
    assert data.splits["train"][1].descriptions == ()


def test_the_train_split_of_another_set_joins(tmp_path: Path) -> None:
    other = write_set(tmp_path / "other")
    rows = [row(n, identity=f"{n}", split=split) for n, split in enumerate(("train", "val", "test"))]
    also = [{"format": "cuhk_pedes", "root": str(other)}]
    data = read_dataset("descry_gallery", write(tmp_path / "gallery", rows, also=also))
    own = read_dataset("cuhk_pedes", other)
    assert len(data.splits["train"]) == 1 + len(own.splits["train"])
    assert len(data.splits["test"]) == 1
    assert len(data.identities("train")) == 1 + len(own.identities("train"))
    assert not data.identities("train") & data.identities("test")
    assert "trained together with 96 images of other" in data.notes


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"file": "../x.jpg"}, "inside the folder"),
        ({"split": "holdout"}, "`split` must be"),
        ({"identity": 7}, "`identity` must be a text"),
        ({"description": 7}, "must be a text"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, bad: dict[str, object], words: str) -> None:
    folder = write(tmp_path / "g", [row(1)])
    with (folder / "manifest.jsonl").open("a") as handle:
        handle.write(json.dumps({**row(1), **bad}) + "\n")
    with pytest.raises(DatasetError, match=f"(?s)line 2: .*{words}"):
        read_dataset("descry_gallery", folder)


def test_one_person_on_two_sides_and_a_missing_set_are_refused(tmp_path: Path) -> None:
    rows = [row(1, identity="a", split="train"), row(2, identity="a", split="test")]
    with pytest.raises(DatasetError, match="stand in train and in test"):
        read_dataset("descry_gallery", write(tmp_path / "g", rows))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_dataset("descry_gallery", write(tmp_path / "h", [row(1)], also=[{"format": "rstpreid", "root": "/no"}]))
    with pytest.raises(DatasetError, match=r"no manifest\.jsonl"):
        read_dataset("descry_gallery", tmp_path / "nothing")
