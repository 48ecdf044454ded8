"""ICFG-PEDES and RSTPReid, and the diagnostics that the three captioned sets share."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.miniature import TEST, TRAIN, write_icfg, write_rstp
from training.datasets import check_dataset, read_dataset
from training.datasets.report import Finding
from training.errors import DatasetError
from training.records import carve_validation

Entries = list[dict[str, Any]]


@pytest.fixture
def icfg(tmp_path: Path) -> Path:
    return write_icfg(tmp_path / "ICFG-PEDES")


@pytest.fixture
def rstp(tmp_path: Path) -> Path:
    return write_rstp(tmp_path / "RSTPReid")


def change(file: Path, edit: Callable[[Entries], None]) -> None:
    entries = json.loads(file.read_text())
    edit(entries)
    file.write_text(json.dumps(entries))


def finding(format_name: str, root: Path, kind: str) -> Finding:
    found = {one.kind: one for one in check_dataset(format_name, root).findings}
    assert kind in found, sorted(found)
    return found[kind]


@pytest.mark.parametrize("annotation", ["ICFG-PEDES.json", "ICFG_PEDES.json"])
def test_icfg_takes_its_splits_from_the_entries_under_both_spellings(tmp_path: Path, annotation: str) -> None:
    root = write_icfg(tmp_path / "ICFG-PEDES", annotation=annotation)
    data = read_dataset("icfg_pedes", tmp_path)
    assert data == read_dataset("icfg_pedes", root)
    assert data.identities("train") == set(TRAIN)
    assert data.identities("test") == set(TEST)
    assert data.splits["val"] == ()
    assert {record.camera for record in data.splits["test"]} == {"05", "09"}
    assert {record.path.parent.parent.name for record in data.splits["test"]} == {"train", "test"}
    carved = carve_validation(data, share=0.2, seed=0)
    assert len(carved.identities("val")) == 1
    assert carved.notes == ("ICFG-PEDES has no val split: 1 of its 6 train identities were set aside for it",)


def test_rstpreid_names_its_images_by_another_field(rstp: Path) -> None:
    data = read_dataset("rstpreid", rstp)
    sizes = {split: (len(data.identities(split)), len(records)) for split, records in data.splits.items()}
    assert sizes == {"train": (6, 18), "val": (2, 6), "test": (2, 6)}
    assert [record.camera for record in data.splits["train"][:3]] == ["1", "8", "14"]
    assert data.splits["test"][0].descriptions == ("Person 8 wears red by camera 1.", "It is 8.")


def test_a_whole_set_has_only_its_size_to_tell(icfg: Path) -> None:
    report = check_dataset("icfg_pedes", icfg)
    assert [one.kind for one in report.findings] == ["size_differs"]
    assert report.usable()
    assert [(part.name, part.size.identities, part.size.images, part.size.descriptions) for part in report.parts] == [
        ("train", 6, 12, 12),
        ("val", 0, 0, 0),
        ("test", 4, 8, 8),
    ]
    assert "published: 3,102 identities, 34,674 images, 34,674 descriptions" in report.text()
    assert "usable" in report.text().splitlines()[-1]


def test_missing_images_are_refused_counted_and_grouped(icfg: Path) -> None:
    shutil.rmtree(icfg / "imgs" / "test")
    gone = sorted((icfg / "imgs" / "train").rglob("*.jpg"))[:2]
    for path in gone:
        path.unlink()
    report = check_dataset("icfg_pedes", icfg)
    found = {one.kind: one for one in report.of("missing")}
    assert dict(found["folder_missing"].groups) == {"imgs/test/": 10}
    assert dict(found["image_missing"].groups) == {"imgs/train/": 2}
    assert found["image_missing"].examples == tuple(path.relative_to(icfg).as_posix() for path in gone)
    assert sum(part.missing for part in report.parts) == 12
    assert not report.usable()
    with pytest.raises(DatasetError, match=r"(?s)2 of 20 images are missing.*--allow-missing") as refused:
        read_dataset("icfg_pedes", icfg)
    assert str(refused.value) == report.text()
    data = read_dataset("icfg_pedes", icfg, allow_missing=True)
    assert sum(len(records) for records in data.splits.values()) == 8
    assert all(record.path.is_file() for records in data.splits.values() for record in records)
    assert set(data.notes) == {
        "incomplete data: 10 of 20 images are missing with their whole folders",
        "incomplete data: 2 of 20 images are missing",
    }


def test_nothing_there_is_refused_whatever_is_allowed(rstp: Path) -> None:
    shutil.rmtree(rstp / "imgs")
    with pytest.raises(
        DatasetError, match=r"(?s)30 of 30 images are missing with their whole folders.*imgs/: 30.*not usable"
    ):
        read_dataset("rstpreid", rstp, allow_missing=True)


def test_ids_that_are_not_contiguous(rstp: Path) -> None:
    def lift(entries: Entries) -> None:
        for entry in entries:
            entry["id"] += entry["id"] >= 3

    change(rstp / "data_captions.json", lift)
    found = finding("rstpreid", rstp, "identities_not_contiguous")
    assert (found.level, found.examples) == ("warning", ("3",))
    assert "run from 0 to 6, expected 0 to 5" in found.message


def test_unknown_splits_and_absent_fields_are_errors(rstp: Path) -> None:
    def spoil(entries: Entries) -> None:
        entries[0]["split"] = "dev"
        del entries[1]["captions"], entries[1]["split"]
        entries[2]["img_path"] = "../../secret.jpg"
        entries[3]["img_path"] = "/etc/secret.jpg"

    change(rstp / "data_captions.json", spoil)
    assert finding("rstpreid", rstp, "split_unknown").examples == (
        "entry 0 has split 'dev', expected one of train, val, test",
    )
    found = finding("rstpreid", rstp, "entry_malformed")
    assert found.examples[0] == "entry 1 has no split, captions"
    assert "that stays in it" in found.examples[1]
    assert "entry 3 has img_path '/etc/secret.jpg'" in found.examples[2]
    with pytest.raises(DatasetError, match="entry 1 has no split"):
        read_dataset("rstpreid", rstp, allow_missing=True)


def test_doubtful_descriptions_are_pointed_at(rstp: Path) -> None:
    def spoil(entries: Entries) -> None:
        entries[0]["captions"][0] = "The  Man wears red."
        entries[4]["captions"][0] = "the man wears RED."
        entries[5]["captions"][1] = "穿着红色的外套"
        entries[6]["captions"][1] = "A man. <br/> function(x) { return x; }"
        entries[7]["captions"] = ["  "]
        entries[8]["img_path"] = entries[7]["img_path"]

    change(rstp / "data_captions.json", spoil)
    shared = finding("rstpreid", rstp, "description_shared")
    assert shared.count == 1
    assert shared.examples == ("'The Man wears red.' (ids 0, 1)",)
    assert "0001_c14_0014.jpg" in finding("rstpreid", rstp, "description_non_ascii").examples[0]
    assert "<br/>" in finding("rstpreid", rstp, "description_code").examples[0]
    assert finding("rstpreid", rstp, "description_missing").count == 1
    assert finding("rstpreid", rstp, "image_repeated").examples == ("0002_c8_0008.jpg in 2 entries",)
    assert check_dataset("rstpreid", rstp).usable()


def test_the_old_release_of_rstpreid_is_known_by_its_split(tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs" / "a.jpg").touch()
    splits = ("train",) * 3901 + ("val",) * 100 + ("test",) * 100
    entries = [
        {"id": number, "img_path": "a.jpg", "captions": [f"person {number}"], "split": split}
        for number, split in enumerate(splits)
    ]
    (tmp_path / "data_captions.json").write_text(json.dumps(entries))
    assert "3,701/200/200" in finding("rstpreid", tmp_path, "other_release").message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[\n{"id": 1,\n"split" "train"}]', "line 3, column 9"),
        (b'[\n"caf\xe9"]', "line 2 is not UTF-8"),
        (b'{"id": 1}', "non-empty JSON list"),
    ],
)
def test_unreadable_json_is_named_with_its_line(icfg: Path, content: bytes, words: str) -> None:
    (icfg / "ICFG-PEDES.json").write_bytes(content)
    report = check_dataset("icfg_pedes", icfg)
    assert words in report.findings[0].message
    assert not report.usable(allow_missing=True)
    with pytest.raises(DatasetError, match=words) as refused:
        read_dataset("icfg_pedes", icfg)
    assert "\n" not in str(refused.value)


def test_the_wrong_file_of_cuhk_pedes_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "caption_all.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"no reid_raw\.json.*There is a caption_all\.json: the older form"):
        read_dataset("cuhk_pedes", tmp_path)


def test_lgur_leaves_out_three_ids_of_cuhk_pedes_and_of_nothing_else(tmp_path: Path, icfg: Path) -> None:
    entries = [
        {"id": number, "file_path": f"CUHK01/{number}.jpg", "captions": [f"person {number}"], "split": split}
        for number, split in ((1, "train"), (1369, "train"), (4116, "train"), (6116, "test"))
    ]
    (tmp_path / "imgs" / "CUHK01").mkdir(parents=True)
    for entry in entries:
        (tmp_path / "imgs" / str(entry["file_path"])).touch()
    (tmp_path / "reid_raw.json").write_text(json.dumps(entries))
    whole = read_dataset("cuhk_pedes", tmp_path)
    assert whole.identities("train") == {1, 1369, 4116}
    assert whole.notes == ()
    dropped = read_dataset("cuhk_pedes", tmp_path, drop_single_image_ids=True)
    assert dropped.identities("train") == {1}
    assert dropped.identities("test") == {6116}
    assert dropped.notes == ("2 train identities are left out as asked: 1369 (1 images), 4116 (1 images)",)
    with pytest.raises(DatasetError, match="means nothing for icfg_pedes"):
        read_dataset("icfg_pedes", icfg, drop_single_image_ids=True)
