"""The measuring of composed queries, on a few drawn people with the shipped checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from training.cli import cli
from training.studies.composed import Asked, Known, _ranked
from training.synthetic import SyntheticConfig, generate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SyntheticConfig(train=0, val=20, test=20, images_per_identity=4, seed=3, workers=1)
    return generate(config, tmp_path_factory.mktemp("composed") / "set")


def test_every_table_has_both_splits_and_figures_in_range(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    ran = CliRunner().invoke(cli, ["composed", "--data", str(folder), "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    rows = json.loads(out.read_text())
    kinds = {row["kind"] for row in rows}
    assert {"two views", "description and picture", "denied words", "denied picture", "grouping, pictures"} <= kinds
    for kind in kinds - {"denied, by thing"}:
        assert {row["split"] for row in rows if row["kind"] == kind} == {"val", "test"}
        assert kind in ran.output
    for row in rows:
        assert all(0 <= row[name] <= 100 for name in ("R@1", "mAP", "share") if name in row)
    by_way = {(row["kind"], row["split"], row["how"]): row for row in rows}
    for split in ("val", "test"):
        alone = by_way["denied words", split, "nothing denied"]
        denied = by_way["denied words", split, "-2 w log(1 - p), w = 2"]
        assert denied["share"] < alone["share"]


def test_pictures_that_are_asked_with_are_not_found() -> None:
    # Two people of three images on a line; asked with image 0, whose person's others are the farthest of all.
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8], [0.99, 0.14], [0.9, 0.43], [0.8, 0.6]])
    whose = np.array([0, 0, 0, 1, 1, 1])
    known = Known(
        "test", vectors, vectors, np.empty((0, 2)), np.array([5, 9]), whose, (np.arange(3), np.arange(3, 6)),
        np.empty(0, np.int64), np.zeros(6, np.int64), ({}, {}),
    )  # fmt: skip
    asked = Asked((("image", np.array([0])),), np.array([0]))
    found = _ranked(known, known.cosines("image", np.array([0])), asked)
    assert found["R@1"] == 0
    assert found["mAP"] == pytest.approx(100 * (1 / 4 + 2 / 5) / 2)
    assert known.by_person(known.cosines("image", np.array([0]))).tolist() == [[1.0, 0.99]]
