"""Market-1501, DukeMTMC-reID and MSMT17 in miniature."""

import shutil
from pathlib import Path

import pytest

from tests.training.miniature import jpeg, write_market, write_msmt17
from training.datasets import check_dataset, formats, read_dataset
from training.errors import DatasetError
from training.records import carve_validation


@pytest.fixture
def market(tmp_path: Path) -> Path:
    return write_market(tmp_path / "Market-1501-v15.09.15")


def test_market_drops_junk_and_keeps_distractors_in_the_gallery(market: Path) -> None:
    data = read_dataset("market1501", market)
    assert data == read_dataset("market1501", market.parent)
    assert data.identities("train") == {2, 7, 10, 11}
    assert data.identities("test") == {1, 3, 4}
    test = data.splits["test"]
    assert [record.role for record in test].count("query") == 3
    gallery = [record for record in test if record.role == "gallery"]
    assert [(record.identity, record.camera) for record in gallery if record.distractor] == [(0, "1"), (0, "2")]
    assert len(gallery) == 8
    assert {record.camera for record in data.splits["train"]} == {"1", "2", "6"}
    assert all(record.identity >= 0 and record.descriptions == () for record in test)
    notes = {finding.kind: finding.count for finding in check_dataset("market1501", market).of("note")}
    assert notes == {"junk_dropped": 3, "distractors_kept": 2}
    carved = carve_validation(data, share=0.25, seed=1)
    assert len(carved.identities("val")) == 1


def test_the_order_does_not_hang_on_the_file_system(market: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    for path in sorted(market.rglob("*.*"), reverse=True):
        (again / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, again / path.parent.name / path.name)
    one, other = (read_dataset("market1501", root).splits["test"] for root in (market, again))
    assert [record.path.name for record in one] == [record.path.name for record in other]


def test_duke_has_the_same_form(tmp_path: Path) -> None:
    root = tmp_path / "DukeMTMC-reID"
    jpeg(root / "bounding_box_train" / "0001_c2_f0046182.jpg", 1)
    jpeg(root / "query" / "0005_c8_f0046985.jpg", 2)
    jpeg(root / "bounding_box_test" / "0005_c1_f0051341.jpg", 2)
    data = read_dataset("dukemtmc", tmp_path)
    assert [(record.identity, record.camera, record.role) for record in data.splits["test"]] == [
        (5, "8", "query"),
        (5, "1", "gallery"),
    ]
    sizes = {part.name: part.published for part in check_dataset("dukemtmc", tmp_path).parts}
    assert {name: size.images for name, size in sizes.items() if size} == {
        "train": 16522,
        "query": 2228,
        "gallery": 17661,
    }


def test_a_missing_folder_and_odd_names_are_told(market: Path) -> None:
    shutil.rmtree(market / "bounding_box_train")
    with pytest.raises(DatasetError, match=r"bounding_box_train/ is missing"):
        read_dataset("market1501", market)
    data = read_dataset("market1501", market, allow_missing=True)
    assert data.splits["train"] == ()
    assert data.notes == ("incomplete data: the folder bounding_box_train/ is missing",)
    jpeg(market / "query" / "holiday.jpg", 1)
    with pytest.raises(DatasetError, match=r"(?s)1 names in query/ .*query/holiday\.jpg"):
        read_dataset("market1501", market, allow_missing=True)


def test_an_id_on_both_sides_is_an_error(market: Path) -> None:
    jpeg(market / "query" / "0002_c4s1_000001_00.jpg", 2)
    with pytest.raises(DatasetError, match=r"1 ids stand in train and in test, e\.g\. 2"):
        read_dataset("market1501", market)


@pytest.mark.parametrize(
    ("place", "folders"),
    [("MSMT17_V1", ("train", "test")), ("MSMT17_V2", ("mask_train_v2", "mask_test_v2"))],
)
def test_msmt17_in_both_versions(tmp_path: Path, place: str, folders: tuple[str, str]) -> None:
    root = write_msmt17(tmp_path / place, folders=folders)
    data = read_dataset("msmt17", tmp_path)
    assert data.name == place
    train, test = data.splits["train"], data.splits["test"]
    assert (len(train), len(data.splits["val"]), len(test)) == (9, 0, 6)  # list_val joins train
    assert data.identities("train") == {0, 1, 2}
    assert data.identities("test") == {3, 4}  # they begin at 0 again in the lists
    assert [record.camera for record in train[:2]] == ["01", "15"]
    assert [record.role for record in test] == ["query"] * 2 + ["gallery"] * 4
    assert all(record.path.is_file() and record.path.is_relative_to(root) for record in (*train, *test))


def test_msmt17_tells_lists_lines_and_images(tmp_path: Path) -> None:
    root = write_msmt17(tmp_path)
    (root / "list_val.txt").unlink()
    next((root / "train").rglob("*.jpg")).unlink()
    report = check_dataset("msmt17", root)
    assert {finding.kind: dict(finding.groups) for finding in report.of("missing")} == {
        "list_missing": {},
        "image_missing": {"train/": 1},
    }
    assert len(read_dataset("msmt17", root, allow_missing=True).splits["train"]) == 5
    with (root / "list_query.txt").open("a") as file:
        file.write("\n0001/strange.jpg 1\n")
    with pytest.raises(DatasetError, match=r"(?s)lines of list_query.txt.*line 4: '0001/strange.jpg 1'"):
        read_dataset("msmt17", root, allow_missing=True)


@pytest.mark.parametrize("name", formats())
def test_an_empty_folder_is_one_line_for_every_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="no ") as refused:
        read_dataset(name, tmp_path, allow_missing=True)
    assert "\n" not in str(refused.value)
    assert not check_dataset(name, tmp_path / "nowhere").usable(allow_missing=True)
