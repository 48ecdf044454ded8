"""A dependency parse as a scene graph. The same tables as `spacy.tokens.Doc` give the same graphs; the tests need no
spaCy, because the mapping reads six fields of a token and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from models.descriptions import LEVELS, SceneGraph
from tests.models.descriptions.parsed import HAIR, RED_AND_WHITE, RELATIVE, STANDING, graph


def told(graph: SceneGraph) -> tuple[dict[str, list[str]], list[tuple[str, str | None, str | None]]]:
    heads = [entity.head.of(graph.text) for entity in graph.entities]
    attributes = {
        head: [span.of(graph.text) for span in entity.attributes]
        for head, entity in zip(heads, graph.entities, strict=True)
    }

    def name(number: int | None) -> str | None:
        return None if number is None else heads[number]

    return attributes, [(one.span.of(graph.text), name(one.subject), name(one.object)) for one in graph.relations]


def test_modifiers_lists_and_shades() -> None:
    found = graph(RED_AND_WHITE)
    assert found.text == "The woman is wearing a red and white leather jacket and light blue jeans"
    assert told(found) == (
        {"woman": [], "jacket": ["red", "white", "leather"], "jeans": ["light blue"]},
        [("wearing", "woman", "jacket"), ("wearing", "woman", "jeans")],
    )
    assert found.phrases("attribute", determiners=True) == ("The", "a", "red", "white", "leather", "light blue")


def test_long_prepositions_are_one_and_postures_stay_apart_from_them() -> None:
    found = graph(STANDING)
    assert told(found) == (
        {"ladies": [], "fence": [], "hats": [], "bags": []},
        [
            ("standing", "ladies", None),
            ("in front of", "ladies", "fence"),
            ("with", "ladies", "hats"),
            ("with", "ladies", "bags"),
        ],
    )
    assert [(one.head.of(found.text), one.negation and one.negation.of(found.text)) for one in found.absent] == [
        ("hats", "no"),
        ("bags", "no"),
    ]
    assert found.phrases("attribute", determiners=True) == ("Two", "a", "no")


def test_predicates_denials_and_measures() -> None:
    found = graph(HAIR)
    assert told(found) == ({"hair": ["long"], "jeans": []}, [("dressed in", None, "jeans")])
    assert [(one.extent.of(found.text), one.negation and one.negation.of(found.text)) for one in found.absent] == [
        ("jeans", "n't")
    ]


def test_relative_clauses_are_about_their_noun() -> None:
    found = graph(RELATIVE)
    assert told(found) == (
        {"man": [], "bag": [], "phone": []},
        [("without", "man", "bag"), ("looking down at", "man", "phone"), ("walking", "man", None)],
    )
    assert [one.head.of(found.text) for one in found.absent] == ["bag"]


def test_nothing_gives_nothing() -> None:
    assert graph("") == SceneGraph("")


LABELS = "ROOT nsubj nsubjpass dobj pobj prep agent det nummod poss amod compound conj cc neg prt acomp relcl acl aux"
PARTS = ["NOUN", "VERB", "ADJ", "ADP", "DET", "AUX", "PRON", "PROPN", "CCONJ", "NUM"]
VOCABULARY = "man hat red light blue no without in front of pair wearing standing who and or but is has n't next to"


@st.composite
def trees(draw: st.DrawFn) -> str:
    """Any tree, grammatical or not: every word hangs on the first or on one before it."""
    lines = []
    for place in range(draw(st.integers(0, 25))):
        word, label = draw(st.sampled_from(VOCABULARY.split())), draw(st.sampled_from(LABELS.split()))
        head = draw(st.integers(0, max(place - 1, 0)))
        lines.append(f"{word} {label} {head} {draw(st.sampled_from(PARTS))}")
    return "\n".join(lines)


@given(trees())
def test_any_tree_gives_a_sound_graph(table: str) -> None:
    found = graph(table)
    for level in LEVELS:
        spans = found.spans(level, determiners=True)
        assert list(spans) == sorted(set(spans))
        assert all(0 <= span.start < span.end <= len(found.text) for span in spans)
    for relation in found.relations:
        assert relation.subject is None or 0 <= relation.subject < len(found.entities)
        assert relation.object is None or 0 <= relation.object < len(found.entities)
