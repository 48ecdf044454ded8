"""Descriptions say only what is true and what the image shows, in words that people use."""

import re
from collections import Counter
from functools import cache
from random import Random

import pytest

from training.synthetic import lexicon
from training.synthetic.attributes import Identity
from training.synthetic.captions import Caption
from training.synthetic.lexicon import coarser, fits
from training.synthetic.parts import Part
from training.synthetic.person import Picture, identity_of, pictures_of

# An own list of words per thing, apart from the lexicon: what betrays that a description speaks of it.
_TELLTALE = {
    Part.GLASSES: r"glasses|sunglasses|eyeglasses|spectacles|shades",
    Part.HAT: r"\bhat\b|beanie|\bcap\b",
    Part.PRINT: r"\bprint\b|\blogo\b|\bgraphic\b|\bdesign\b|picture on",
    Part.SHOES: r"shoes|sneakers|trainers|boots|sandals|heels|loafers|footwear|flip-flops|pumps",
    Part.TAIL: r"pony ?tail|\bbun\b|\bknot\b",
    Part.LOWER: r"jeans|trousers|\bpants\b|leggings|joggers|shorts|skirt|slacks|chinos|bottoms",
}

_EVERYDAY = """
    grey gray navy trousers pants slacks tee t-shirt tshirt shirt sneakers trainers jacket coat purse
    handbag rucksack backpack lady woman female girl guy man male gentleman boy child kid person jeans
    shorts skirt dress hoodie sweater jumper hat cap beanie glasses sunglasses umbrella phone bottle cup
    book suitcase luggage boots sandals heels blonde ponytail
"""


@cache
def _sample() -> list[tuple[Identity, Picture, Caption]]:
    rows = []
    for number in range(60):
        person = identity_of(5, "train", number)
        for picture in pictures_of(person, 5, "train", number, 3):
            rows += [(person, picture, caption) for caption in picture.captions]
    return rows


@pytest.mark.parametrize("part", _TELLTALE)
def test_no_description_speaks_of_a_part_without_pixels(part: Part) -> None:
    pattern = re.compile(_TELLTALE[part])
    spoken = 0
    for _, picture, caption in _sample():
        if pattern.search(caption.text.lower()):
            spoken += 1
            assert picture.sight.parts[part] > 0.001, caption.text
    assert spoken


def test_no_description_speaks_of_a_bag_that_the_image_hides() -> None:
    pattern = re.compile(r"backpack|rucksack|knapsack|handbag|purse|suitcase|satchel|messenger|luggage|school bag")
    for _, picture, caption in _sample():
        if pattern.search(caption.text.lower()):
            assert picture.sight.parts[Part.BAG] + picture.sight.parts[Part.STRAP] > 0.006, caption.text


def test_every_mention_fits_the_person_and_its_part_is_visible() -> None:
    needs = {"hat": Part.HAT, "glasses": Part.GLASSES, "lower": Part.LOWER, "outer": Part.OUTER, "shoes": Part.SHOES}
    for person, picture, caption in _sample():
        for attribute, meaning in caption.mentions:
            assert fits(attribute, meaning, person[attribute]), (attribute, meaning, caption.text)
            part = needs.get(attribute.removesuffix("_colour"))
            assert part is None or picture.sight.parts[part] > 0


def test_what_is_mentioned_is_said_in_words() -> None:
    for person, _, caption in _sample():
        text = caption.text.lower()
        for attribute, meaning in caption.mentions:
            if attribute == "hair_colour":
                words = lexicon.HAIR_COLOURS.get(meaning, (meaning,))
            elif attribute.endswith(("_colour", "_accent")):
                words = lexicon.COLOURS.get(meaning) or lexicon.COARSE_COLOURS[meaning]
            elif attribute in lexicon.NOUNS and meaning != "bald":
                words = lexicon.NOUNS[attribute][meaning]
            else:
                continue
            # A colour may stand inside a name: "a long black coat".
            said = any(all(piece in text for piece in word.split()) for word in words)
            assert said, (attribute, meaning, text, person.values)


def test_a_description_never_names_skin() -> None:
    for _, _, caption in _sample():
        assert not re.search(r"\bskin(ned)?\b|complexion", caption.text.lower())
        assert all(attribute != "skin" for attribute, _ in caption.mentions)


def test_descriptions_are_as_long_as_those_of_cuhk_pedes() -> None:
    lengths = [len(caption.tokens) for _, _, caption in _sample()]
    assert 20 <= sum(lengths) / len(lengths) <= 26
    assert max(lengths) < 70


def test_sentences_are_clean() -> None:
    for _, _, caption in _sample():
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,.'-]+", caption.text), caption.text
        assert not re.search(r"  | ,|\ban? an?\b|\ba ([aeio]|umbrella)|,,|\.\.|\bNone\b", caption.text), caption.text


def test_openings_vary() -> None:
    openings = Counter(" ".join(caption.tokens[:2]) for _, _, caption in _sample())
    assert len(openings) > 25
    assert openings.most_common(1)[0][1] < len(_sample()) * 0.2


def test_everyday_words_are_known() -> None:
    said = {
        word for words in lexicon.NOUNS.values() for forms in words.values() for form in forms for word in form.split()
    }
    said |= {word for forms in lexicon.COLOURS.values() for form in forms for word in form.split()}
    said |= {word for forms in lexicon.PEOPLE.values() for form in forms for word in form.split()}
    said |= {word for forms in lexicon.UNSEXED.values() for form in forms for word in form.split()}
    everyday = set(_EVERYDAY.split())
    known = said | {word for forms in lexicon.HAIR_COLOURS.values() for form in forms for word in form.split()}
    assert everyday <= known


def test_coarse_words_fit_what_they_cover_and_nothing_else() -> None:
    assert fits("lower_colour", "dark", "navy")
    assert not fits("lower_colour", "dark", "white")
    assert fits("bag", "any purse", "handbag")
    assert not fits("bag", "any purse", "backpack")
    assert fits("upper", "hoodie", "hoodie")
    assert not fits("upper", "hoodie", "sweater")
    assert set(coarser("upper_colour", "navy")) == {"dark", "any blue"}
    assert coarser("sex", "man") == []


def test_the_same_stream_of_numbers_gives_the_same_words() -> None:
    from training.synthetic.captions import describe

    person, picture, _ = _sample()[0]
    assert describe(person, picture.sight, Random(3)) == describe(person, picture.sight, Random(3))


def test_a_colour_never_stands_inside_long_sleeve() -> None:
    texts = [caption.text for _, _, caption in _sample()]
    assert any("sleeve" in text for text in texts)
    assert [text for text in texts if re.search(r"\b(?:long|short) (?:[a-z]+ ){1,2}sleeve\b", text)] == []


def test_every_value_that_has_words_gets_said() -> None:
    said = {
        mention
        for number in range(400)
        for picture in pictures_of(identity_of(6, "train", number), 6, "train", number, 1)
        for caption in picture.captions
        for mention in caption.mentions
    }
    silent = [
        (attribute, value)
        for attribute, values in lexicon.NOUNS.items()
        for value in values
        if (attribute, value) not in said
    ]
    assert silent == []
