"""Which pixels a phrase is about, and of whom it is true."""

from dataclasses import replace

import numpy as np

from training.synthetic.captions import Caption
from training.synthetic.parts import Part
from training.synthetic.person import identity_of, pictures_of
from training.synthetic.regions import REGIONS, Phrase, phrases_of

CAPTION = Caption(
    "A man with short brown hair is wearing black dress shoes and a dark blue striped shirt. He carries a red bag.",
    (
        ("sex", "man"),
        ("hair_length", "short"),
        ("hair_colour", "brown"),
        ("shoes_colour", "black"),
        ("shoes", "dress shoes"),
        ("upper_colour", "navy"),
        ("upper", "any shirt"),
        ("upper_pattern", "stripes"),
        ("bag_colour", "red"),
        ("bag", "any bag"),
    ),
)


def test_phrases_say_what_they_say_and_no_more() -> None:
    assert phrases_of(CAPTION) == [
        Phrase("short brown hair", "hair", (("hair_length", "short"), ("hair_colour", "brown"))),
        Phrase("black dress shoes", "shoes", (("shoes", "dress shoes"), ("shoes_colour", "black"))),
        Phrase(
            "a dark blue striped shirt",
            "upper",
            (("upper", "any shirt"), ("upper_colour", "navy"), ("upper_pattern", "stripes")),
        ),
        Phrase("a red bag", "bag", (("bag", "any bag"), ("bag_colour", "red"))),
    ]


def test_drawn_captions_have_phrases_that_are_true_and_seen() -> None:
    found = 0
    for number in range(12):
        identity = identity_of(5, "val", number)
        for picture in pictures_of(identity, 5, "val", number, 2):
            assert picture.ids.dtype == np.uint8
            assert picture.ids.shape[0] > picture.ids.shape[1]
            for caption in picture.captions:
                for phrase in phrases_of(caption):
                    found += 1
                    assert phrase.kind in REGIONS
                    assert phrase.true_of(identity, picture.sight), (caption.text, phrase)
                    assert phrase.region(picture.ids).any(), (caption.text, phrase)
                    assert set(phrase.says) <= set(caption.mentions)
    assert found > 60


def test_a_phrase_is_untrue_of_others_and_unknown_where_it_is_hidden() -> None:
    identity = identity_of(5, "val", 0)
    picture = pictures_of(identity, 5, "val", 0, 1)[0]
    colour = "red" if identity["shoes_colour"] != "red" else "blue"
    assert Phrase("shoes", "shoes", (("shoes_colour", colour),)).true_of(identity, picture.sight) is False
    right = Phrase("shoes", "shoes", (("shoes", identity["shoes"]),))
    bare = {part: 0.0 if part is Part.SHOES else share for part, share in picture.sight.parts.items()}
    assert right.true_of(identity, replace(picture.sight, parts=bare)) is None
