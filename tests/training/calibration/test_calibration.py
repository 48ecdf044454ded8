"""The threshold that calibration finds, on vectors whose answer is known, and what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.registry.adoption import adopt
from models.association import Floats, group
from models.calibration import CALIBRATION, LINKAGES, association_rule, read_calibration, write_section
from models.checkpoint import DEMO, read_info
from models.errors import CheckpointError
from tests.app.toy import toy_checkpoint
from training.calibration.learning import best_rule, calibrate, pair_score, some_of
from training.cli import cli
from training.datasets import read_dataset
from training.errors import DatasetError
from training.records import PersonData, Record


def on_circle(*degrees: float) -> Floats:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_pairs_are_counted() -> None:
    score = pair_score([0, 0, 0, 1, 1], [7, 7, 8, 8, 9])
    assert (score.precision, score.recall) == (1 / 4, 1 / 2)
    assert score.f1 == pytest.approx(1 / 3)
    assert pair_score([0, 1, 2, 3], [7, 7, 8, 8]).f1 == 0
    with pytest.raises(ValueError, match="nothing to find"):
        pair_score([0, 1], [7, 8])


def test_a_threshold_with_a_known_answer() -> None:
    """Three people at 0, 40 and 80 degrees, whose images lie up to 10 degrees apart: the threshold lies halfway between
    the widest person and the nearest two."""
    vectors = on_circle(0, 4, 10, 40, 50, 80, 84, 90)
    identities = np.array([1, 1, 1, 2, 2, 3, 3, 3])
    linkage, threshold, score = best_rule(vectors, identities)
    assert (score.precision, score.recall, score.f1) == (1, 1, 1)
    assert linkage == "average"  # both are perfect; the first wins
    labels = group(vectors, threshold=threshold, linkage=linkage).labels
    assert pair_score(labels, identities).f1 == 1
    inside = (2 * np.cos(np.radians(8.0)) + 0) / 2  # no wider than this
    between = np.cos(np.radians(30.0))  # no nearer than this
    assert between * 0.9 < threshold < inside


def test_the_best_of_all_thresholds_is_found() -> None:
    random = np.random.default_rng(3)
    identities = np.repeat(np.arange(20), 4)
    vectors = np.repeat(random.normal(size=(20, 6)), 4, axis=0) + 0.6 * random.normal(size=(80, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    linkage, threshold, score = best_rule(vectors, identities)
    assert 0.3 < score.f1 < 1
    assert pair_score(group(vectors, threshold=threshold, linkage=linkage).labels, identities) == score
    for other in np.linspace(-0.5, 0.99, 40):
        for kind in LINKAGES:
            labels = group(vectors, threshold=float(other), linkage=kind).labels
            assert pair_score(labels, identities).f1 <= score.f1 + 1e-12


def test_a_checkpoint_is_calibrated_and_stays_what_it_was(tiny_set: Path, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    before = read_info(folder)
    assert before.calibration == {}
    write_section(folder, "scores", {"weak_below": 0.3})
    done = CliRunner().invoke(cli, ["calibrate", str(folder), "--data", str(tiny_set), "--device", "cpu", "--json"])
    assert done.exit_code == 0, done.output
    info = read_info(folder)
    assert info.fingerprint == before.fingerprint
    assert info.calibration["scores"] == {"weak_below": 0.3}
    assert info.calibration["association"] == json.loads(done.stdout.splitlines()[-1])
    rule = association_rule(info.calibration)
    assert rule is not None
    assert (rule.split, rule.images, rule.identities) == ("val", 16, 8)
    assert adopt(folder, tmp_path / "models").calibration == info.calibration


def test_a_split_without_pairs_teaches_nothing(tiny_set: Path, tmp_path: Path) -> None:
    people = read_dataset("cuhk_pedes", tiny_set)
    single = {record.identity: record for record in people.splits["val"]}
    alone = PersonData("alone", {**people.splits, "val": tuple(single.values())})
    with pytest.raises(DatasetError, match="nothing to calibrate on"):
        calibrate(toy_checkpoint(tmp_path / "toy"), alone, "val")


def test_a_large_split_is_thinned_by_whole_identities() -> None:
    records = [Record(Path(f"{identity}-{view}"), identity, ()) for identity in range(50) for view in range(3)]
    chosen = some_of(records, 40)
    assert 30 <= len(chosen) <= 40
    assert all(sum(record.identity == one for record in chosen) == 3 for one in {record.identity for record in chosen})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "association": {"linkage": "single"}}',
        '{"format": 1, "association": 3}',
    ],
)
def test_a_damaged_calibration_is_named(tmp_path: Path, content: str) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    (folder / CALIBRATION).write_text(content)
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_info(folder)


def test_the_shipped_checkpoint_is_calibrated() -> None:
    rule = association_rule(read_calibration(DEMO))
    assert rule is not None
    assert rule.split == "val"
    assert rule.f1 > 0.9
