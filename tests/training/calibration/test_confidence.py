"""Scores to probabilities: candidates that can be counted by hand, curves whose truth is known, and what travels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.calibration import CALIBRATION, read_calibration, write_section
from models.confidence import ConfidenceCurve, confidence_curves
from models.confidence_fit import calibration_error, first_candidates, fit_curve
from models.errors import CheckpointError
from tests.app.toy import toy_checkpoint
from training.cli import cli


def curve(**changes: object) -> dict[str, object]:
    plain = {"kind": "platt", "scores": [0.2, 0.4, 0.6], "probabilities": [0.1, 0.3, 0.9], "data": "d", "split": "val"}
    return {**plain, "queries": 9, "identities": 9, "depth": 10, "error": 0.01, "brier": 0.02, **changes}


def test_candidates_are_people_with_their_best_image_and_never_the_query_itself() -> None:
    table = torch.tensor([[0.9, 0.5, 0.7, 0.1], [0.2, 1.0, 0.3, 0.4], [0.1, 0.2, 0.3, 1.0]])
    gallery = np.array([7, 7, 8, 9])
    scores, right, queries = first_candidates(
        lambda first, last: table[first:last], np.array([7, 7, 9]), gallery, np.array([-1, 1, 3])
    )
    # The last query is the only picture of its person: nobody could be found, so that it says nothing.
    assert queries.tolist() == [0, 0, 0, 1, 1, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.1, 0.4, 0.3, 0.2])
    assert right.tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(("count", "kind"), [(20_000, "isotonic"), (800, "platt")])
def test_a_curve_finds_the_probabilities_that_were_drawn(count: int, kind: str) -> None:
    random = np.random.default_rng(5)
    scores = random.uniform(0, 1, count)
    truth = 1 / (1 + np.exp(-(scores - 0.6) * 12))
    right = random.uniform(0, 1, count) < truth
    found = fit_curve(scores, right, np.arange(count) // 10, data="drawn", split="val", identities=50)
    assert found is not None
    assert (found.kind, found.queries, found.identities) == (kind, count // 10, 50)
    at = np.linspace(0.2, 0.95, 16)
    off = np.abs([found(score) for score in at] - 1 / (1 + np.exp(-(at - 0.6) * 12)))
    assert off.max() < 0.12
    assert found.weak_below == pytest.approx(0.6, abs=0.03)
    assert found.error < 0.05  # of the uncalibrated score itself it is five times as much
    assert calibration_error(scores, right) > 2 * found.error


def test_too_few_candidates_teach_nothing() -> None:
    scores, right = np.linspace(0, 1, 60), np.arange(60) % 6 == 0
    assert fit_curve(scores, right, np.arange(60) // 6, data="d", split="val", identities=3) is None


def test_between_and_beyond_the_points() -> None:
    found = confidence_curves({"confidence": {"text": curve()}})["text"]
    assert [found(score) for score in (-1, 0.2, 0.3, 0.5, 1)] == pytest.approx([0.1, 0.1, 0.2, 0.6, 0.9])
    assert found.weak_below == pytest.approx(0.4 + 0.2 * (0.2 / 0.6))
    assert ConfidenceCurve(**curve(probabilities=(0.1, 0.2, 0.3))).weak_below is None  # type: ignore[arg-type]
    assert ConfidenceCurve(**curve(probabilities=(0.6, 0.7, 0.8))).weak_below == 0.2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "section",
    [
        [],
        {"sound": {}},
        {"text": curve(kind="magic")},
        {"text": curve(scores=[0.4, 0.2, 0.6])},
        {"text": curve(probabilities=[0.1, 0.3])},
        {"text": curve(probabilities=[0.3, 0.1, 0.9])},
        {"text": curve(probabilities=[0.1, 0.3, 1.9])},
        {"text": curve(scores=[0.1, None, 0.9])},
        {"text": {"kind": "platt"}},
        {"text": curve(extra=1)},
    ],
)
def test_a_section_that_cannot_be_is_refused(tmp_path: Path, section: object) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    (folder / CALIBRATION).write_text(json.dumps({"format": 1, "confidence": section}))
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_calibration(folder)


def test_calibrate_writes_the_curves_beside_the_rule(tiny_set: Path, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    write_section(folder, "scores", {"kept": True})
    done = CliRunner().invoke(cli, ["calibrate", str(folder), "--data", str(tiny_set), "--split", "train"])
    assert done.exit_code == 0, done.output
    found = read_calibration(folder)
    assert found["scores"] == {"kept": True}
    curves = confidence_curves(found)
    assert set(curves) == {"text", "image"}
    assert (curves["image"].split, curves["image"].queries, curves["image"].identities) == ("train", 96, 48)
    assert curves["image"](1.0) > 0.5 > curves["image"](0.2)
