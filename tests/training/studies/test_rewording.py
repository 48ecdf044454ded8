"""Descriptions typed differently: each rewording changes what it says it changes, and nothing else."""

from random import Random

import pytest

from training.studies.rewording import (
    REWORDINGS,
    misspelt,
    short,
    shuffled_phrases,
    shuffled_words,
    synonyms,
    without_articles,
)

TEXT = "A woman is wearing a navy blue puffer jacket, black jeans and white sneakers. She is carrying a red backpack."


@pytest.mark.parametrize("times", [1, 2, 3])
def test_typing_errors_change_so_many_words(times: int) -> None:
    for seed in range(20):
        found = misspelt(times)(TEXT, Random(seed))
        assert found is not None
        pairs = list(zip(TEXT.split(), found.split(), strict=True))
        assert sum(was != now for was, now in pairs) == times
        assert all(was[0] == now[0] and abs(len(was) - len(now)) <= 1 for was, now in pairs)
    assert misspelt(3)("a red hat", Random(0)) is None


def test_orders() -> None:
    phrases = shuffled_phrases(TEXT, Random(1))
    assert phrases is not None
    assert sorted(phrases.split(", ")) == sorted(
        [
            "A woman is wearing a navy blue puffer jacket",
            "black jeans",
            "white sneakers",
            "She is carrying a red backpack",
        ]
    )
    words = shuffled_words(TEXT, Random(1))
    assert words is not None
    assert sorted(words.split()) == sorted(TEXT.replace(",", "").replace(".", "").split())
    assert (shuffled_phrases("red hat", Random(0)), shuffled_words("hat", Random(0))) == (None, None)


def test_synonyms_keep_the_meaning() -> None:
    said = {synonyms(TEXT, Random(seed)) for seed in range(30)}
    assert all(found and "puffer jacket" not in found and "navy blue" not in found for found in said)
    assert any(found and "down jacket" in found for found in said)
    assert any(found and "rucksack" in found for found in said)
    # "black" is a colour of clothes and of hair: it is left alone. So are things with one name.
    assert all(found and "black" in found for found in said)
    assert synonyms("a pattern", Random(0)) is None


def test_short_and_without_articles() -> None:
    assert short(TEXT, Random(0)) == "navy blue jacket"
    assert short("Black jeans", Random(0)) == "black jeans"
    assert short("a tall man", Random(0)) is None
    assert without_articles("The man has a pair of jeans and an umbrella", Random(0)) == "man has jeans and umbrella"
    assert without_articles("red hat", Random(0)) is None


def test_the_same_seed_gives_the_same_words() -> None:
    for reword in REWORDINGS.values():
        assert reword(TEXT, Random(7)) == reword(TEXT, Random(7))
