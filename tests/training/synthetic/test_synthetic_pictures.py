"""Synthetic people without descriptions, as a set of Market-1501's form."""

from pathlib import Path

import pytest

from training.datasets import check_dataset, read_dataset
from training.synthetic import SyntheticConfig
from training.synthetic.errors import SyntheticSetError
from training.synthetic.person import identity_of, pictures_of
from training.synthetic.pictures import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SyntheticConfig(train=2, val=0, test=2, images_per_identity=5, seed=3, workers=1)
    return write_pictures(config, tmp_path_factory.mktemp("synthetic") / "pictures")


def test_the_reader_of_market_reads_them(pictures: Path) -> None:
    assert check_dataset("market1501", pictures).usable()
    data = read_dataset("market1501", pictures)
    assert [len(data.splits[split]) for split in ("train", "val", "test")] == [10, 0, 10]
    assert [data.identities("train"), data.identities("test")] == [{1, 2}, {3, 4}]
    roles = [record.role for record in data.splits["test"]]
    assert [roles.count("query"), roles.count("gallery")] == [2, 8]
    for identity in (1, 2, 3, 4):
        seen = [r.camera for split in ("train", "test") for r in data.splits[split] if r.identity == identity]
        assert len(set(seen)) == 5  # each picture by another camera
    assert not any(record.distractor or record.descriptions for record in data.splits["test"])


def test_they_are_other_people_than_those_with_descriptions(pictures: Path) -> None:
    written = {path.read_bytes() for path in (pictures / "bounding_box_train").iterdir()}
    described = {p.jpeg for n in (0, 1) for p in pictures_of(identity_of(3, "train", n), 3, "train", n, 5)}
    assert len(written) == 10
    assert not written & described


def test_the_same_config_gives_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    config = SyntheticConfig(train=2, val=0, test=2, images_per_identity=5, seed=3, workers=1)
    again = write_pictures(config, tmp_path / "again")
    files = sorted(path.relative_to(pictures) for path in pictures.rglob("*.*"))
    assert len(files) == 21
    assert all((again / file).read_bytes() == (pictures / file).read_bytes() for file in files)


def test_what_the_format_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val must be 0"):
        write_pictures(SyntheticConfig(train=1, val=1, test=1), tmp_path / "a")
    with pytest.raises(ValueError, match="at least 2"):
        write_pictures(SyntheticConfig(train=1, val=0, test=1, images_per_identity=1), tmp_path / "a")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SyntheticSetError):
        write_pictures(SyntheticConfig(train=1, val=0, test=1), tmp_path)
