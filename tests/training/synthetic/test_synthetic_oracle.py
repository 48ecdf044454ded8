"""The oracle on cases that can be worked out by hand, and on a small set."""

from pathlib import Path

import numpy as np
import pytest

from training.synthetic import SyntheticConfig, generate
from training.synthetic.errors import SyntheticSetError
from training.synthetic.oracle import score, score_set

_PEOPLE = [
    {"sex": "man", "upper_colour": "red"},
    {"sex": "man", "upper_colour": "navy"},
    {"sex": "woman", "upper_colour": "black"},
]


def test_a_caption_that_fits_one_person_is_answered_at_once() -> None:
    result = score(_PEOPLE, np.array([2, 1, 1]), [[("sex", "man"), ("upper_colour", "red")]], np.array([0]))
    assert (result.rank1, result.rank5, result.mean_ap, result.queries) == (1.0, 1.0, 1.0, 1)


def test_equals_count_with_their_expectation() -> None:
    result = score(_PEOPLE, np.array([1, 1, 1]), [[("sex", "man")]], np.array([0]))
    assert result.rank1 == pytest.approx(0.5)
    assert result.rank5 == 1.0
    assert result.mean_ap == pytest.approx((1 + 1 / 2) / 2)


def test_several_images_of_the_person_raise_the_chance_at_rank_one() -> None:
    result = score(_PEOPLE, np.array([3, 1, 1]), [[("sex", "man")]], np.array([0]))
    assert result.rank1 == pytest.approx(3 / 4)


def test_a_coarse_word_fits_everyone_whom_it_may_mean() -> None:
    result = score(_PEOPLE, np.array([1, 1, 1]), [[("upper_colour", "dark")]], np.array([2]))
    assert result.rank1 == pytest.approx(0.5)


def test_a_caption_that_says_nothing_finds_by_luck() -> None:
    result = score(_PEOPLE, np.array([1, 1, 1]), [[]], np.array([1]))
    assert result.rank1 == pytest.approx(1 / 3)
    assert result.rank10 == 1.0


def test_a_small_set_is_nearly_solved(tmp_path: Path) -> None:
    folder = generate(SyntheticConfig(0, 0, 12, 2, workers=1), tmp_path / "set")
    result = score_set(folder, "test")
    assert result.queries == 48
    assert result.rank1 > 0.9
    with pytest.raises(SyntheticSetError, match="train"):
        score_set(folder, "train")
    with pytest.raises(SyntheticSetError, match="no readable"):
        score_set(tmp_path)
