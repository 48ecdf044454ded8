"""Named things and what they are compared with."""

from hypothesis import given
from hypothesis import strategies as st

from models.descriptions.things import COMMON, alternatives, named_things


def test_things_have_their_places_in_the_text() -> None:
    text = "A woman in a red coat, with a black backpack and no hat, on a street."
    found = named_things(text)
    assert [(thing.text, thing.kind, thing.absent) for thing in found] == [
        ("A woman", "person", False),
        ("a red coat", "worn", False),
        ("a black backpack", "worn", False),
        ("hat", "worn", True),
    ]
    assert [text[thing.span.start : thing.span.end] for thing in found] == [thing.text for thing in found]


def test_a_coloured_thing_competes_with_other_colours_and_other_things() -> None:
    found = alternatives("a red coat")
    assert found is not None
    assert {"a blue coat", "a black coat"} <= set(found.colours)
    assert {"red shirt", "red shoes"} <= set(found.things)
    assert not {"a red coat", "red coat"} & set(found.phrases)
    assert len(found.phrases) == len(set(found.phrases))


def test_shades_belong_to_the_colour() -> None:
    found = alternatives("light blue striped jeans")
    assert found is not None
    assert "black striped jeans" in found.colours
    assert "light blue shirt" in found.things
    assert not any("light black" in phrase for phrase in found.phrases)


def test_a_shade_alone_is_a_colour() -> None:
    found = alternatives("dark trousers")
    assert found is not None
    assert {"white trousers", "red trousers"} <= set(found.colours)
    assert "dark shirt" in found.things


def test_what_has_no_colour_competes_with_other_things_alone() -> None:
    found = alternatives("a hat")
    assert found is not None
    assert found.colours == ()
    assert set(found.things) >= {"shirt", "umbrella"}
    assert "hat" not in found.things
    black = alternatives("black")
    assert black is not None
    assert (black.colours[0], black.things) == ("white", ())


def test_persons_and_nonsense_compete_with_nothing() -> None:
    assert alternatives("an old man") is alternatives("qqqq 12 ;") is alternatives("") is None


def test_common_phrases_are_understood() -> None:
    assert all(len(named_things(phrase)) == 1 for phrase in COMMON)


@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    for thing in named_things(text):
        assert text[thing.span.start : thing.span.end] == thing.text
        others = alternatives(thing.text)
        assert others is None or thing.text not in others.phrases
