"""The rules on sentences with known answers, and on whatever people may type."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.descriptions import LEVELS, SceneGraph, Span, parse
from tests.models.descriptions.scoring import LEVELS as SCORED
from tests.models.descriptions.scoring import mistakes, score

HEAP = """
    a the his her no not without n't and or but , . ; man woman shirt t-shirt jeans bag hat hair red light blue dark
    striped long is are has wearing carrying tied in on front of with to up down who that it she he very one two pair
    dress running shoes 's lumbrella blak 23 🙂 \u2019 - knee-length something standing looks at years old year 20 next
"""
ODD = [
    "",
    " ",
    "\n",
    "🙂🎒",
    ".,;:!?",
    "''''",
    "-",
    "İ",
    "ﬁ",
    "a\u0301",
    "\x00",
    "no",
    "without",
    "'s",
    "n't",
    "of of of",
    "pair of",
]


def entities(text: str) -> list[str]:
    """Each entity as "attribute+attribute head", with "!" before what is denied."""
    graph = parse(text)
    return [
        ("!" if one.negation else "")
        + "+".join([span.of(text) for span in one.attributes])
        + (" " if one.attributes else "")
        + one.head.of(text)
        for one in graph.entities
    ]


def relations(text: str) -> list[tuple[str | None, str, str | None]]:
    graph = parse(text)
    heads = [one.head.of(text) for one in graph.entities]
    return [
        (
            None if one.subject is None else heads[one.subject],
            one.span.of(text),
            None if one.object is None else heads[one.object],
        )
        for one in graph.relations
    ]


def sound(graph: SceneGraph, text: str) -> None:
    """What holds for every graph: places within the text, in order, each once, and numbers of entities that exist."""
    assert graph.text == text
    for level in LEVELS:
        for determiners in (False, True):
            spans = graph.spans(level, determiners=determiners)
            assert list(spans) == sorted(set(spans))
            assert all(0 <= span.start < span.end <= len(text) for span in spans)
            assert all(phrase.strip() == phrase != "" for phrase in graph.phrases(level, determiners=determiners))
    for relation in graph.relations:
        assert relation.subject is None or 0 <= relation.subject < len(graph.entities)
        assert relation.object is None or 0 <= relation.object < len(graph.entities)
    for entity in graph.entities:
        assert entity.extent.start <= entity.head.start < entity.head.end <= entity.extent.end
        assert entity.negation is None or entity.negation.of(text)


@given(st.text(max_size=200))
def test_any_text_gives_a_sound_graph(text: str) -> None:
    sound(parse(text), text)
    assert parse(text) == parse(text)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HEAP.split()), max_size=40), st.sampled_from([" ", "  ", "\n", " \t"]))
def test_any_heap_of_known_words_gives_a_sound_graph(words: list[str], space: str) -> None:
    text = space.join(words)
    sound(parse(text), text)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts(text: str) -> None:
    sound(parse(text), text)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "🙂🎒👖", "一个穿红色衣服的男人", "Мужчина в красной куртке", "Un homme avec une veste noire", "?!"],
)
def test_what_is_not_english_gives_nothing(text: str) -> None:
    assert parse(text) == SceneGraph(text)


@pytest.mark.parametrize(
    "text",
    [
        "red and " * 4_000 + "white shirt",
        "a man in a hat on a bag with " * 2_000,
        "no hat, bag, " * 2_000 + "or glasses",
        "a pair of " * 4_000 + "jeans",
        "x" * 300_000,
        "a-" * 50_000 + "b shirt",
        "'s" * 50_000,
    ],
    ids=["and", "in", "or", "of", "letters", "hyphens", "clitics"],
)
def test_very_long_texts_are_read_to_the_end(text: str) -> None:
    """In one pass: what takes the square of these lengths would not end within the suite's patience."""
    sound(parse(text), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red and white shirt", ["red+white shirt"]),
        ("a shirt and jeans", ["shirt", "jeans"]),
        ("black backpack strap", ["black+backpack strap"]),
        ("a knee-length, light blue dress", ["knee-length+light blue dress"]),
        ("T shirt, t-shirt, t - shirt", ["T shirt", "t-shirt", "t - shirt"]),
        ("a hat - jeans", ["hat", "jeans"]),
        ("A 20 year old man", ["20 year old man"]),
        ("bottle green chinos and baby blue denims", ["bottle green chinos", "baby blue denims"]),
        ("a pair of black boots", ["black boots"]),
        ("He carries a lumbrella", ["lumbrella"]),
        ("a blak jaket", ["blak jaket"]),
        ("dressed in black", ["black"]),
        ("his hair isn\u2019t long", ["hair"]),
        ("a top that is blue", ["blue top"]),
        ("🙂 a man with a 🎒 backpack", ["man", "backpack"]),
    ],
)
def test_things_and_what_they_are_like(text: str, expected: list[str]) -> None:
    assert entities(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no hat", ["!hat"]),
        ("a man without a bag", ["man", "!bag"]),
        ("a man without a hat, with a bag", ["man", "!hat", "bag"]),
        ("no hat, bag or glasses, red coat", ["!hat", "!bag", "!glasses", "red coat"]),
        ("without a hat, blue jeans", ["!hat", "blue jeans"]),
        ("She is not wearing a hat or a scarf", ["!hat", "!scarf"]),
        ("She isn't wearing a hat or carrying a bag.", ["!hat", "!bag"]),
        ("He does not have a bag. He has a hat.", ["!bag", "hat"]),
        ("without wearing a hat", ["!hat"]),
        ("not a bag but a suitcase", ["!bag", "suitcase"]),
        ("not carrying a bag but a suitcase", ["!bag", "suitcase"]),
        ("She is not only wearing a hat but also a scarf", ["hat", "scarf"]),
        ("She doesnt have glasses", ["!glasses"]),
        ("man w/o hat, w/ glasses", ["man", "!hat", "glasses"]),
        ("red dress - no shoes - white bag", ["red dress", "!shoes", "white bag"]),
        ("neither a hat nor glasses", ["!hat", "!glasses"]),
        ("no hat and a red bag", ["!hat", "red bag"]),
    ],
)
def test_what_is_denied(text: str, expected: list[str]) -> None:
    assert entities(text) == expected


def test_the_words_that_deny_are_marked() -> None:
    text = "A man, no red hat, without a bag, isn't wearing glasses"
    absent = parse(text).absent
    assert [one.negation and one.negation.of(text) for one in absent] == ["no", "without", "n't"]
    assert [one.extent.of(text) for one in absent] == ["no red hat", "a bag", "glasses"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She wears a hat", [(None, "wears", "hat")]),
        ("A man is standing in front of a car", [("man", "standing", None), ("man", "in front of", "car")]),
        ("The woman in the picture wears jeans", [("woman", "in", "picture"), ("woman", "wears", "jeans")]),
        ("A man. He has his hair tied in a bun", [("man", "has", "hair"), ("hair", "tied in", "bun")]),
        ("A man with a coat over a shirt", [("man", "with", "coat"), ("coat", "over", "shirt")]),
        (
            "A man wearing a coat with a hood and a scarf",
            [("man", "wearing", "coat"), ("coat", "with", "hood"), ("man", "wearing", "scarf")],
        ),
        ("the man wears a coat, his shoes are white", [("man", "wears", "coat")]),
        ("A boy holding it", [("boy", "holding", None)]),
    ],
)
def test_who_does_what_to_what(text: str, expected: list[tuple[str | None, str, str | None]]) -> None:
    assert relations(text) == expected


def test_a_row_has_phrases_and_places() -> None:
    assert parse("A man in red shoes").to_row(determiners=True) == {
        "object": ["man", "shoes"],
        "attribute": ["A", "red"],
        "relation": ["in"],
        "spans": {
            "object": [[2, 5], [13, 18]],
            "attribute": [[0, 1], [9, 12]],
            "relation": [[6, 8]],
            "determiner": [[0, 1]],
        },
    }


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 1)])
def test_spans_are_not_empty(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start, end)


def test_what_the_rules_were_tuned_on_is_found() -> None:
    for level, found in score(parse, "development").items():
        assert min(found.precision, found.recall) >= 0.98, (level, mistakes(parse, "development"))


@pytest.mark.parametrize("level", SCORED)
def test_held_out_sentences_are_mostly_right(level: str) -> None:
    """Measured; the bounds leave room for a rule that trades one sentence for another, not for a broken one."""
    found = score(parse, "held_out")[level]
    assert min(found.precision, found.recall) >= 0.9
