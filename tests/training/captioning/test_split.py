"""The rules that split a caption into person and clothes."""

import json
from pathlib import Path

import pytest

from training.captioning import lexicon, split_description
from training.synthetic import SyntheticConfig, generate

SPLITS = {
    "The man with short hair is wearing a red shirt, blue jeans and black shoes. He is carrying a backpack.": (
        "A man with short hair.",
        "Wearing a red shirt, blue jeans and black shoes. Carrying a backpack.",
    ),
    "A woman in a red dress, with long hair, walking down the street.": (
        "A woman with long hair.",
        "Wearing a red dress.",
    ),
    "The man is tall and slim. His hair is black. He has on a neon windcheater.": (
        "A tall slim man with black hair.",
        "Wearing a neon windcheater.",
    ),
    "He is holding a phone in his hand and a bag over his shoulder.": (
        "A man.",
        "Carrying a phone in hand and a bag over shoulder.",
    ),
    "The man in a dark shirt and jeans, with a shaved head.": (
        "A man with a shaved head.",
        "Wearing a dark shirt and jeans.",
    ),
    "A senior man in a tee shirt and a pair of sweat pants, without a bag. No hat.": (
        "A senior man.",
        "Wearing a tee shirt, sweat pants and no hat. Carrying no bag.",
    ),
    "A man in black.": ("A man.", "Wearing black."),
    "Blue pants with a red top": ("", "Wearing blue pants and a red top."),
    "": ("", ""),
    "?!": ("", ""),
}


@pytest.mark.parametrize("caption", SPLITS)
def test_captions_fall_apart_into_person_and_clothes(caption: str) -> None:
    texts = split_description(caption)
    assert (texts.identity, texts.clothing) == SPLITS[caption]


def test_no_word_of_clothes_is_left_with_the_person_and_hardly_one_is_lost(tmp_path: Path) -> None:
    folder = generate(SyntheticConfig(6, 1, 1, 4, 0, 1), tmp_path / "set")
    captions = [text for entry in json.loads((folder / "reid_raw.json").read_text()) for text in entry["captions"]]
    said = kept = 0
    for caption in captions:
        texts = split_description(caption)
        assert texts.identity
        assert texts.clothing
        assert lexicon.garments_in(texts.identity) == ()
        assert not set(lexicon.words_of(texts.clothing)) & (lexicon.MEN | lexicon.WOMEN | lexicon.HAIR)
        named = set(lexicon.words_of(caption)) & (lexicon.GARMENTS | lexicon.CARRIED)
        said += len(named)
        kept += len(named & set(lexicon.words_of(texts.clothing)))
    assert len(captions) >= 30
    assert kept / said > 0.97
