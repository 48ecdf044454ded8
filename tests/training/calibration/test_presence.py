"""Whether somebody is there: pages that can be counted by hand, rules whose truth is known, and the two verbs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.calibration import read_calibration
from models.presence import DEPTH, presence_rules
from tests.app.toy import toy_checkpoint
from training.calibration.presence import Fit, Pages, few_of_each, fit_rule, read_pages
from training.cli import cli
from training.evaluation import ExactScores

NONE = -np.inf


def test_every_query_is_asked_with_and_without_its_person() -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    ids, everybody, own = np.array([7, 9, 9]), np.array([7, 7, 8, 9]), np.array([0, -1, 3])
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    pages = read_pages((ExactScores(queries, gallery), ids, everybody, own))
    # The last query is the only picture of its person.
    assert (pages.rows.tolist(), pages.people.tolist(), pages.identities) == ([0, 1], [7, 9], 3)
    assert pages.present[:, :4] == pytest.approx(np.array([[0.8, 0.6, 0.0, NONE], [1.0, 0.8, 0.6, NONE]]))
    assert pages.absent[:, :3] == pytest.approx(np.array([[0.6, 0.0, NONE], [0.8, 0.6, NONE]]))
    assert (pages.right.sum(axis=1).tolist(), pages.right[:, 0].tolist()) == ([1, 1], [True, True])
    assert pages.images.tolist() == [[1, 1], [1, 1]]  # the picture itself does not count, nor does who is not first
    fewer = read_pages((ExactScores(queries, gallery), ids, everybody, own), np.array([True, True, False, True]))
    assert fewer.identities == 2
    assert fewer.absent[0, 0] == pytest.approx(0.0)
    nobody = read_pages((ExactScores(queries, gallery), ids, everybody, own), everybody == 8)
    assert (len(nobody.people), nobody.present.shape) == (0, (0, DEPTH))


def test_a_few_images_of_each_person() -> None:
    gallery = np.array([5, 3, 5, 5, 3, 9])
    kept = few_of_each(gallery, 2, seed=4)
    assert sorted(gallery[kept].tolist()) == [3, 3, 5, 5, 9]
    assert kept.tolist() == few_of_each(gallery, 2, seed=4).tolist()


def drawn(people: int, seed: int) -> Pages:
    """Strangers and the person with normal scores: who is there has 0.2 more in the mean."""
    rng = np.random.default_rng(seed)
    strangers = -np.sort(-rng.normal(0.4, 0.05, (people, DEPTH)), axis=1)
    person = rng.normal(0.62, 0.06, people)
    both = np.concatenate([person[:, None], strangers[:, :-1]], axis=1)
    order = np.argsort(-both, axis=1)
    images = np.ones((2, people))
    numbers = np.arange(people)
    present = np.take_along_axis(both, order, axis=1)
    return Pages(present, order == 0, strangers, images, numbers, numbers, people)


def test_a_rule_is_worth_as_much_on_others_as_it_says() -> None:
    rule = fit_rule([drawn(1500, seed=1)], data="drawn", split="val")
    assert rule is not None
    others, fit = drawn(6000, seed=2), Fit.of(rule)
    flagged = [
        float((fit.presence(scores, others.images[row]) < fit.least).mean())
        for row, scores in enumerate((others.present, others.absent))
    ]
    assert flagged == pytest.approx([rule.flagged_present, rule.flagged_absent], abs=0.02)
    assert flagged[0] < 0.06 < 0.7 < flagged[1]
    told = fit.confidences(others.present, others.images[0])
    here = fit.confidences(others.absent, others.images[1])
    first = np.concatenate([told[:, 0], here[:, 0]])
    right = np.concatenate([others.right[:, 0], np.zeros(len(here))])
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        inside = (first >= low) & (first < high)
        assert first[inside].mean() == pytest.approx(right[inside].mean(), abs=0.07)
    one = rule.confidence(float(others.present[0, 0]), others.present[0].tolist(), float(
        rule.presence(float(others.present[0, 0]), 1)))  # fmt: skip
    assert one == pytest.approx(told[0, 0])


def test_too_few_or_scores_that_mean_nothing_teach_nothing() -> None:
    assert fit_rule([drawn(30, seed=1)], data="d", split="val") is None
    plain = drawn(200, seed=1)
    upside_down = Pages(
        plain.absent, plain.right, plain.present, plain.images, plain.people, plain.rows, plain.identities
    )
    assert fit_rule([upside_down], data="d", split="val") is None


def test_calibrated_people_are_measured_by_the_verb(tiny_set: Path, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    run = CliRunner()
    measure = ["reliability", str(folder), "--data", str(tiny_set), "--split", "train", "--json"]
    refused = run.invoke(cli, measure)
    assert refused.exit_code != 0
    done = run.invoke(cli, ["calibrate", str(folder), "--data", str(tiny_set), "--split", "train"])
    assert done.exit_code == 0, done.output
    assert "image" in presence_rules(read_calibration(folder))
    done = run.invoke(cli, [*measure, "--sizes", "20", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    rows = {(row["space"], row["gallery"]): row for row in json.loads((tmp_path / "out/reliability.json").read_text())}
    assert {gallery for space, gallery in rows if space == "image"} >= {"20 people", "48 people", "one image of each"}
    whole = rows["image", "48 people"]
    assert whole["people"] == 48
    assert whole["flagged_absent"] > whole["flagged_present"]
    assert whole["error"] < 0.05
    assert (tmp_path / "out/reliability.png").stat().st_size > 10_000
