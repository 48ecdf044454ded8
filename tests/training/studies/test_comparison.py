"""Two checkpoints compared: intervals against a plain bootstrap, subgroups, and the figures of real ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.training.conftest import COLOURS
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.errors import DatasetError
from training.evaluation import embed_split
from training.studies.comparison import Answers, Demands, bootstrap_difference, compare, figures


def checkpoint(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    words = (*COLOURS, "person", "shirt", "trousers")
    spec = compact_spec(words, height=32, width=16, dim=16, image_width=8, rows=4, text_width=16)
    save_checkpoint(build(spec).eval(), folder, card="# random\n")
    return folder


def test_the_interval_is_that_of_a_plain_bootstrap_over_people() -> None:
    rng = np.random.default_rng(3)
    clusters = rng.integers(0, 40, 300)
    difference = rng.normal(2.0, 10.0, 300) + rng.normal(0, 8.0, 40)[clusters]
    low, high = bootstrap_difference(difference, clusters, confidence=0.9, draws=4000, seed=0)
    people = np.unique(clusters)
    means = []
    for _ in range(4000):
        drawn = rng.choice(people, len(people))
        means.append(np.concatenate([difference[clusters == person] for person in drawn]).mean())
    assert (low, high) == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=0.25)
    assert bootstrap_difference(difference, clusters, confidence=0.9, draws=4000, seed=0) == (low, high)


def test_intervals_by_people_are_wider_than_by_queries() -> None:
    clusters = np.repeat(np.arange(20), 10)
    difference = np.repeat(np.random.default_rng(0).normal(0, 10, 20), 10)
    by_people = bootstrap_difference(difference, clusters, confidence=0.95, draws=2000, seed=0)
    by_query = bootstrap_difference(difference, np.arange(200), confidence=0.95, draws=2000, seed=0)
    assert by_people[1] - by_people[0] > 2 * (by_query[1] - by_query[0])


def test_no_queries_have_no_interval() -> None:
    with pytest.raises(ValueError, match="queries"):
        bootstrap_difference(np.empty(0), np.empty(0, np.int64), confidence=0.95, draws=10, seed=0)


def test_figures_of_answers_by_hand() -> None:
    new, old = Answers(np.array([100.0, 100, 0, 0]), np.array([100.0, 100, 50, 50])), Answers(*np.zeros((2, 4)))
    told = figures(new, old, np.array([1, 1, 2, 2]), Demands(draws=500), 0.95)
    assert (told["queries"], told["identities"]) == (4, 2)
    assert told["R@1"] == {"candidate": 50.0, "active": 0.0, "difference": 50.0, "low": 0.0, "high": 100.0}
    assert told["mAP"]["difference"] == 75.0


def test_real_checkpoints_on_one_split(tiny_set: Path, tmp_path: Path) -> None:
    one, other = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "other", 2)
    demands = Demands(queries=8, identities=4, draws=200)
    (told,) = compare(one, other, [("cuhk_pedes", tiny_set, "test")], demands)
    data = read_dataset("cuhk_pedes", tiny_set)
    from models.checkpoint import load_checkpoint

    for side, folder in (("candidate", one), ("active", other)):
        encoder = load_checkpoint(folder)
        source = ImageSource([record.path for record in data.splits["test"]], encoder.spec.preprocessing)
        metrics = embed_split(encoder, data.splits["test"], source).measure()
        source.close()
        assert told["R@1"][side] == pytest.approx(metrics.r1, abs=1e-3)
        assert told["mAP"][side] == pytest.approx(metrics.mean_ap, abs=1e-3)
    assert [(group["name"], group["queries"]) for group in told["groups"]] == [("camera", 16), ("camera", 16)]
    assert {group["confidence"] for group in told["groups"]} == {0.975}
    (same,) = compare(one, one, [("cuhk_pedes", tiny_set, "test")], demands)
    assert same["R@1"]["difference"] == same["R@1"]["low"] == same["mAP"]["high"] == 0
    with pytest.raises(DatasetError, match="unknown data set format"):
        compare(one, other, [("nothing", tiny_set, "test")], demands)
