"""Two sets as one: what either measures on is not trained on, and an id means one person."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.training.engine.test_engine import recipe
from tests.training.miniature import jpeg, write_icfg, write_market, write_msmt17
from training.datasets import read_dataset
from training.datasets.joint import Joined, check_joint, join
from training.datasets.preparation import prepare_data
from training.errors import DatasetError
from training.records import Record, carve_validation


def joined(first: tuple[str, Path], second: tuple[str, Path]) -> Joined:
    return join(read_dataset(*first), read_dataset(*second))


def kinds(made: Joined) -> dict[str, int]:
    return {finding.kind: finding.count for finding in made.findings.all()}


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Without a picture in common: the miniatures' few flat colours are drawn anew, each picture another."""
    folders = write_icfg(tmp_path / "icfg"), write_msmt17(tmp_path / "msmt17")
    for number, path in enumerate(sorted(path for folder in folders for path in folder.rglob("*.jpg"))):
        Image.new("RGB", (20, 40), (5 * number, 250 - 5 * number, 60)).save(path)
    return folders


def names(records: tuple[Record, ...]) -> set[str]:
    return {record.path.name for record in records}


def test_sets_that_share_nothing_are_numbered_apart(sets: tuple[Path, Path]) -> None:
    made = joined(("icfg_pedes", sets[0]), ("msmt17", sets[1]))
    first, second = read_dataset("icfg_pedes", sets[0]), read_dataset("msmt17", sets[1])
    assert made.findings.all() == ()
    assert made.data.splits == first.splits
    assert made.data.notes == first.notes
    beside = made.data.pictures
    assert beside is not None
    ours = {record.identity for split in first.splits.values() for record in split}
    for split in ("train", "test"):
        was, now = second.identities(split), beside.identities(split)
        assert now == {identity + max(ours) + 1 for identity in was}
        assert not now & ours
        assert [r.path for r in beside.splits[split]] == [r.path for r in second.splits[split]]


def test_a_train_image_that_the_other_set_measures_on_by_name_is_left_out(sets: tuple[Path, Path]) -> None:
    icfg, msmt = sets
    test = read_dataset("icfg_pedes", icfg).splits["test"][0].path
    line = (msmt / "list_train.txt").read_text().splitlines()[0].split()[0]
    shared = f"{line.split('/')[0]}/{test.name}"
    jpeg(msmt / "train" / shared, 7, 5)  # the name alone: ICFG's images were cut and stored anew
    with (msmt / "list_train.txt").open("a") as lines:
        lines.write(f"{shared} 0\n")
    made = joined(("icfg_pedes", icfg), ("msmt17", msmt))
    assert kinds(made) == {"train_image_held_out": 1}
    assert made.data.pictures is not None
    assert test.name not in names(made.data.pictures.splits["train"])
    assert test.name in names(made.data.splits["test"])
    words = "1 train images of 1 identities of msmt17 stand in val or test of icfg and are left out (1 by their name,"
    assert words in made.findings.all()[0].message
    assert made.data.notes == (f"icfg with msmt17: {made.findings.all()[0].message}",)


def test_bytes_tell_what_names_do_not_in_both_directions(tiny_set: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    shutil.copytree(tiny_set, pairs)
    market = write_market(tmp_path / "market")
    held_out = {split: read_dataset("cuhk_pedes", pairs).splits[split][0].path for split in ("val", "test")}
    for number, path in enumerate(held_out.values()):
        shutil.copy(path, market / "bounding_box_train" / f"0002_c3s1_00000{number}_01.jpg")
    query = next(record for record in read_dataset("market1501", market).splits["test"] if record.role == "query")
    entry = json.loads((pairs / "reid_raw.json").read_text())[0]
    assert entry["split"] == "train"
    shutil.copy(query.path, pairs / "imgs" / entry["file_path"])
    made = joined(("cuhk_pedes", pairs), ("market1501", market))
    found = [finding for finding in made.findings.all() if finding.kind == "train_image_held_out"]
    assert [finding.count for finding in found] == [1, 2]
    assert entry["file_path"].rsplit("/", 1)[-1] not in names(made.data.splits["train"])
    assert made.data.pictures is not None
    assert len(made.data.pictures.splits["train"]) == len(read_dataset("market1501", market).splits["train"]) - 2
    assert len(made.data.pictures.splits["test"]) == len(read_dataset("market1501", market).splits["test"])


def test_the_person_of_a_shared_train_image_is_one_person(tiny_set: Path, tmp_path: Path) -> None:
    market = write_market(tmp_path / "market")
    train = read_dataset("cuhk_pedes", tiny_set).splits["train"]
    # Market's person 7 is in two pictures called person 2's there, and in one of person 1's: two of three.
    for number, identity in enumerate((2, 2, 1)):
        path = [record.path for record in train if record.identity == identity][number % 2]
        shutil.copy(path, market / "bounding_box_train" / f"0007_c4s1_00000{number}_01.jpg")
    made = joined(("cuhk_pedes", tiny_set), ("market1501", market))
    assert kinds(made) == {"identity_unified": 1}
    assert made.data.pictures is not None
    people = made.data.pictures.identities("train")
    assert len(people) == 4
    assert {identity for identity in people if identity <= 64} == {2}
    assert sum(record.identity == 2 for record in made.data.pictures.splits["train"]) == 3 + 3


def test_a_carved_val_split_is_kept_out_of_the_other_train_split_too(sets: tuple[Path, Path]) -> None:
    icfg, msmt = sets
    for record in read_dataset("icfg_pedes", icfg).splits["train"]:
        shutil.copy(record.path, msmt / "train" / "0000" / record.path.name)
        with (msmt / "list_train.txt").open("a") as lines:
            lines.write(f"0000/{record.path.name} 0\n")
    part = {"root": str(icfg), "format": "icfg_pedes", "carve": 0.4}
    beside = {"format": "msmt17", "root": str(msmt), "batch": 4, "each": 2}
    data = prepare_data(recipe(icfg, data=part | {"pictures": beside}))
    carved = carve_validation(read_dataset("icfg_pedes", icfg), share=0.4, seed=0)
    assert data.pictures is not None
    assert names(carved.splits["val"])
    assert not names(carved.splits["val"]) & names(data.pictures.splits["train"])
    assert names(data.splits["train"]) <= names(carved.splits["train"])
    assert any("stand in val or test of" in note for note in data.notes)


def test_the_check_of_two_sets_has_a_report_on_both_together(sets: tuple[Path, Path]) -> None:
    icfg, msmt = sets
    first, second, both = check_joint(("icfg_pedes", icfg), ("msmt17", msmt))
    assert (first.format, second.format, both.format) == ("icfg_pedes", "msmt17", "icfg_pedes+msmt17")
    assert [part.size.images for part in both.parts] == [12, 9]
    (msmt / "list_train.txt").unlink()
    assert len(check_joint(("icfg_pedes", icfg), ("msmt17", msmt))) == 2
    assert len(check_joint(("icfg_pedes", icfg), ("msmt17", msmt), allow_missing=True)) == 3
    with pytest.raises(DatasetError, match="unknown data set format"):
        check_joint(("icfg_pedes", icfg), ("floppy", msmt))
