import json
from collections.abc import Callable
from pathlib import Path

import pytest

from training.datasets import read_dataset
from training.errors import DatasetError
from training.records import carve_validation, pairs_of

Entries = list[dict[str, object]]


def test_the_set_is_read_whole(tiny_set: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 96, "val": 16, "test": 16}
    record = data.splits["train"][0]
    assert record.path.is_file()
    assert record.identity == 1
    assert record.camera == "01"
    assert record.descriptions[0] == "A person in a red shirt and red trousers."
    assert len(pairs_of(data.splits["val"])) == 32


def test_the_parent_folder_will_do(tiny_set: Path) -> None:
    assert read_dataset("cuhk_pedes", tiny_set.parent) == read_dataset("cuhk_pedes", tiny_set)


def test_validation_is_carved_by_identity(tiny_set: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    without = type(data)(data.name, {**data.splits, "val": ()})
    carved = carve_validation(without, share=0.1, seed=3)
    assert len(carved.identities("val")) == 5
    assert not carved.identities("val") & carved.identities("train")
    assert carved.identities("val") | carved.identities("train") == data.identities("train")
    assert carved == carve_validation(without, share=0.1, seed=3)
    assert carve_validation(data, share=0.1, seed=3) is data


def first(key: str, value: object) -> Callable[[Entries], object]:
    def change(entries: Entries) -> object:
        entries[0][key] = value
        return entries

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first("split", "dev"), "entry 0 has split 'dev'"),
        (first("id", "7"), "entry 0 has id '7'"),
        (first("id", -1), "entry 0 has id -1"),
        (first("captions", "one"), "entry 0.*list of strings"),
        (first("file_path", ""), "entry 0.*file_path"),
        (
            first("file_path", "made/none.png"),
            r"(?s)1 of 128 images are missing.*imgs/made/: 1.*e\.g\. imgs/made/none\.png",
        ),
        (first("id", 4), "ids stand in train and in test, e.g. 4"),
        (lambda entries: [], "non-empty"),
        (lambda entries: {"a": entries}, "list"),
        (lambda entries: [1], "entry 0 is not an object"),
    ],
)
def test_what_is_wrong_is_named(
    tiny_set: Path, tmp_path: Path, change: Callable[[Entries], object], words: str
) -> None:
    (tmp_path / "imgs").symlink_to(tiny_set / "imgs")
    entries = json.loads((tiny_set / "reid_raw.json").read_text())
    (tmp_path / "reid_raw.json").write_text(json.dumps(change(entries)))
    with pytest.raises(DatasetError, match=words):
        read_dataset("cuhk_pedes", tmp_path)


def test_no_set_and_no_json_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no reid_raw\.json"):
        read_dataset("cuhk_pedes", tmp_path)
    (tmp_path / "reid_raw.json").write_text("[")
    with pytest.raises(DatasetError, match="JSON"):
        read_dataset("cuhk_pedes", tmp_path)
    with pytest.raises(DatasetError, match="unknown data set format"):
        read_dataset("floppy", tmp_path)
