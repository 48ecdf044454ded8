"""The set on disk: format, ids, truth, determinism, and that a folder is never half written or overwritten by
mistake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from training.synthetic import SyntheticConfig, generate
from training.synthetic.attributes import COMBINATION
from training.synthetic.errors import SyntheticSetError
from training.synthetic.lexicon import fits

_CONFIG = SyntheticConfig(train=10, val=3, test=5, images_per_identity=2, seed=11, workers=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(_CONFIG, tmp_path_factory.mktemp("sets") / "set")


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(path.read_text("utf-8"))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_records_have_the_form_of_cuhk_pedes(made: Path) -> None:
    records = _json(made / "reid_raw.json")
    assert len(records) == 18 * 2
    for record in records:
        assert set(record) == {"split", "captions", "file_path", "id", "processed_tokens"}
        assert len(record["captions"]) == len(record["processed_tokens"]) == 2
        assert all(word == word.lower() for tokens in record["processed_tokens"] for word in tokens)
        assert "_c" in record["file_path"]
        with Image.open(made / "imgs" / record["file_path"]) as image:
            assert image.format == "JPEG"
            assert 120 <= image.height <= 192
            assert 2.0 < image.height / image.width < 3.0


def test_ids_start_at_one_with_train_and_never_cross_splits(made: Path) -> None:
    ids: dict[str, set[int]] = {}
    for record in _json(made / "reid_raw.json"):
        ids.setdefault(record["split"], set()).add(record["id"])
    assert ids == {"train": set(range(1, 11)), "val": set(range(11, 14)), "test": set(range(14, 19))}


def test_test_combinations_are_unseen_in_training(made: Path) -> None:
    seen: dict[str, set[tuple[str, ...]]] = {}
    for person in _json(made / "attributes.json")["identities"]:
        seen.setdefault(person["split"], set()).add(tuple(person["attributes"][name] for name in COMBINATION))
    assert not seen["train"] & (seen["test"] | seen["val"])


def test_the_truth_belongs_to_the_records(made: Path) -> None:
    records = {record["file_path"]: record for record in _json(made / "reid_raw.json")}
    for person in _json(made / "attributes.json")["identities"]:
        for image in person["images"]:
            assert records.pop(image["file_path"])["id"] == person["id"]
            assert image["captured_at"].endswith("Z")
            assert image["view"] in ("front", "side", "back")
            assert -180 <= image["yaw"] <= 180
            assert 0 < sum(image["visible"].values()) <= 1
            assert len(image["mentions"]) == 2
            for attribute, meaning in (mention for mentions in image["mentions"] for mention in mentions):
                assert fits(attribute, meaning, person["attributes"][attribute])
    assert not records


def test_one_worker_and_two_write_the_same_bytes(made: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    config = SyntheticConfig(train=10, val=3, test=5, images_per_identity=2, seed=11, workers=2)
    again = generate(config, tmp_path / "again", progress=lambda done, total: told.append((done, total)))
    assert _bytes(again) == _bytes(made)
    assert told[-1] == (36, 36)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_another_seed_gives_other_people(made: Path, tmp_path: Path) -> None:
    other = generate(
        SyntheticConfig(train=2, val=0, test=0, images_per_identity=1, seed=12, workers=1), tmp_path / "set"
    )
    mine = [person["attributes"] for person in _json(made / "attributes.json")["identities"][:2]]
    assert [person["attributes"] for person in _json(other / "attributes.json")["identities"]] != mine


def test_a_larger_set_begins_with_the_smaller_one(made: Path, tmp_path: Path) -> None:
    small = generate(
        SyntheticConfig(train=2, val=0, test=0, images_per_identity=1, seed=11, workers=1), tmp_path / "set"
    )
    for path in (small / "imgs").rglob("*.jpg"):
        assert path.read_bytes() == (made / path.relative_to(small)).read_bytes()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SyntheticSetError, match="not written by the generator") as caught:
        generate(SyntheticConfig(1, 0, 0, 1, workers=1), tmp_path)
    assert caught.value.code == "synthetic_set_invalid"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(SyntheticSetError):
        generate(SyntheticConfig(1, 0, 0, 1, workers=1), tmp_path / "notes.txt")


def test_a_set_and_an_empty_folder_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    generate(SyntheticConfig(2, 0, 0, 1, workers=1), out)
    generate(SyntheticConfig(1, 0, 0, 1, workers=1), out)
    assert len(_json(out / "reid_raw.json")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(("people", "workers"), [(1, 1), (40, 2)])
def test_a_run_that_fails_leaves_nothing(tmp_path: Path, people: int, workers: int) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(SyntheticConfig(people, 0, 0, 1, workers=workers), tmp_path / "set", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train", -1),
        ("val", -2),
        ("test", True),
        ("images_per_identity", 0),
        ("images_per_identity", 65),
        ("seed", -1),
        ("workers", 0),
    ],
)
def test_a_bad_number_is_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        SyntheticConfig(**{field: value})


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="train, val and test"):
        SyntheticConfig(train=0, val=0, test=0)


def test_the_generator_starts_without_torch() -> None:
    code = "import sys, training.synthetic, training.synthetic.gallery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
