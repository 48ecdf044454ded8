"""What a description denies is taken out of it, and nothing else."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.descriptions import parse
from models.descriptions.denials import SOMEBODY, without_denied

SENTENCES = [
    sentence["t"]
    for part in yaml.safe_load(Path(__file__).with_name("annotated.yaml").read_text(encoding="utf-8")).values()
    for sentence in part
]


@pytest.mark.parametrize(
    ("text", "left", "denied"),
    [
        ("a woman in a red coat, no hat", "a woman in a red coat", ["hat"]),
        ("a man without a bag in a blue shirt", "a man in a blue shirt", ["bag"]),
        ("a black coat, no hat and brown boots.", "a black coat and brown boots.", ["hat"]),
        ("man in a black coat but no red hat", "man in a black coat", ["red hat"]),
        ("She is not wearing glasses. She has long hair.", "She has long hair.", ["glasses"]),
        ("He has no bag, glasses or hat and wears jeans.", "He wears jeans.", ["bag", "glasses", "hat"]),
        ("A boy who isn't carrying a backpack wears shorts", "A boy wears shorts", ["backpack"]),
        ("a person with neither a hat nor a bag in green trousers", "a person in green trousers", ["hat", "bag"]),
        ("woman, red dress, no bag, black boots", "woman, red dress, black boots", ["bag"]),
        ("no hat, no bag", SOMEBODY, ["hat", "bag"]),
        ("without glasses", SOMEBODY, ["glasses"]),
    ],
)
def test_denied_things_are_taken_out(text: str, left: str, denied: list[str]) -> None:
    found = without_denied(text)
    assert (found.text, list(found.denied)) == (left, denied)


@pytest.mark.parametrize(
    "text",
    [
        "A man with no hair in a blue shirt",
        "a sleeveless dress with no sleeves",
        "not a man in a hat",
        "He is not tall and wears a hat",
        "a navy knot, notebook and noble boots",
        "  spaces  stay ,as they are",
    ],
)
def test_what_denies_no_thing_stays_as_it_is(text: str) -> None:
    assert without_denied(text) == without_denied(without_denied(text).text)
    assert (without_denied(text).text, without_denied(text).denied) == (text, ())


def test_what_is_left_denies_nothing_and_names_what_it_named() -> None:
    changed = 0
    for text in SENTENCES:
        found = without_denied(text)
        changed += bool(found.denied)
        left = parse(found.text)
        assert not {entity.head.of(found.text) for entity in left.absent} & set(found.denied)
        there = [entity.head.of(text) for entity in parse(text).entities if entity.negation is None]
        assert all(head in found.text for head in there), text
    assert changed >= 5


@given(st.text(st.sampled_from("no hat without a bag, or. is n't not \n’é中"), max_size=80))  # noqa: RUF001
def test_any_text_leaves_something_to_look_for(text: str) -> None:
    found = without_denied(text)
    assert found.text == text or found.text.strip()
