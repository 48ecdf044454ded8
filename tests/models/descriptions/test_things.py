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
    assert {"a blue coat", "a black coat", "red shirt", "red shoes"} <= set(found)
    assert not {"a red coat", "red coat"} & set(found)
    assert len(found) == len(set(found))


def test_shades_belong_to_the_colour() -> None:
    found = alternatives("light blue striped jeans")
    assert "black striped jeans" in found
    assert "light blue shirt" in found
    assert not any("light black" in phrase for phrase in found)


def test_what_has_no_colour_competes_with_other_things_alone() -> None:
    assert set(alternatives("a hat")) >= {"shirt", "umbrella"}
    assert "hat" not in alternatives("a hat")
    assert alternatives("black")[0] == "white"


def test_persons_and_nonsense_compete_with_nothing() -> None:
    assert alternatives("an old man") == alternatives("qqqq wwww") == alternatives("") == ()


def test_common_phrases_are_understood() -> None:
    assert all(len(named_things(phrase)) == 1 for phrase in COMMON)


@given(st.text(max_size=80))
def test_any_text_is_survived(text: str) -> None:
    for thing in named_things(text):
        assert text[thing.span.start : thing.span.end] == thing.text
        assert thing.text not in alternatives(thing.text)
