"""The pointing game and the truth of phrases, on people drawn for it, with the shipped checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from models.checkpoint import load_checkpoint
from tests.app.toy import ToyEncoder, toy_spec
from training.cli import cli
from training.studies.occlusion import occlusion
from training.studies.pointing import area_under_curve, cases, explain, points_at

SHIPPED = Path(__file__).parents[3] / "models" / "demo"


def test_the_hottest_place_decides() -> None:
    region = np.zeros((40, 20), bool)
    region[30:, :10] = True
    values = torch.zeros(4, 2)
    values[3, 0] = 1
    assert points_at(values, region)
    values[0, 1] = 2
    assert not points_at(values, region)


def test_the_area_under_the_curve_counts_pairs() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 6, 60).astype(float)
    truths = generator.random(60) < 0.4
    wins = [(a > b) + 0.5 * (a == b) for a in values[truths] for b in values[~truths]]
    assert area_under_curve(values, truths) == pytest.approx(np.mean(wins))
    assert np.isnan(area_under_curve(values, np.ones(60, bool)))


def test_the_same_seed_draws_the_same_phrases() -> None:
    first, again, other = cases(0, 15), cases(0, 15), cases(1, 15)
    assert [case.phrase for case in first] == [case.phrase for case in again]
    assert first[3].picture.jpeg == again[3].picture.jpeg
    assert [case.phrase for case in first] != [case.phrase for case in other]


def test_the_shipped_checkpoint_points_better_than_any_baseline() -> None:
    """1,000 phrases: 75 % against 6 %, 19 % and 55 %."""
    found = explain(load_checkpoint(SHIPPED), cases(7, 60), 7)
    every = found.kinds["all"]
    assert every.phrases == 60 == sum(row.phrases for kind, row in found.kinds.items() if kind != "all")
    assert 0 < every.chance < every.centre < every.prior < every.heat
    assert every.heat > 0.6
    assert found.support["all"] > found.cosine["all"] > 0.7


def test_the_verb_writes_figures_and_a_sheet(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = ["pointing", str(SHIPPED), "--phrases", "6", "--with-occlusion", "--sheet", str(sheet), "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    every = json.loads(lines[-1])["kinds"]["all"]
    assert every["phrases"] == 6
    assert 0 <= every["occlusion"] <= 1
    with Image.open(sheet) as drawn:
        assert drawn.size[0] == 960


def test_occlusion_finds_what_the_score_comes_from() -> None:
    """The toy's vector is the colours of a grid of 4 x 2 cells: one cell that fits has the most to lose."""
    encoder = ToyEncoder(toy_spec())
    pixels = torch.zeros(3, 32, 16, dtype=torch.uint8)
    pixels[0, 16:24, 8:] = 255
    direction = torch.zeros(24)
    direction[5 * 3] = 1.0
    lost = occlusion(encoder, pixels, direction)
    assert lost.shape == (32, 16)
    row, column = divmod(int(lost.argmax()), 16)
    assert 14 <= row < 26
    assert column >= 7
