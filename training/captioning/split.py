"""Without a multimodal model: what a caption says of the person, and what of the clothes, by rules (methods.md 8).

The caption's scene graph says which thing each word belongs to; the lexicon says which things are clothes. Both texts
are put together anew from its phrases, because a caption cut at its commas leaves halves that no one would write.
"""

import re

from models.descriptions import Entity, SceneGraph, Span, parse
from training.captioning import lexicon
from training.captioning.descriptions import PersonTexts

SPLIT_VERSION = "split-1"
"""Raise it when the same caption splits differently."""
RULES = "rules"
_HOLDING = re.compile(r"^(?:carr|hold|held|pull|drag|push|us|clutch|grip|grasp|bring|tak)")
_BALD = frozenset({"bald", "balding", "shaved"})
_AGED = frozenset({"senior", "elder"})
"""Nouns that before another are said of it."""
_POSSESSIVE = frozenset({"his", "her", "their", "its", "my", "your", "our"})


def split_description(text: str, *, style: str = "caption") -> PersonTexts:
    """Identity and clothing part of one caption; a part of which the caption says nothing is empty."""
    graph = parse(text)
    kinds = _kinds(graph)
    return PersonTexts(_identity(graph, kinds), _clothing(graph, kinds), style=style, model=RULES, prompt=SPLIT_VERSION)


def _kinds(graph: SceneGraph) -> list[str]:
    """For each entity: person, feature, worn, carried, detail (of the thing it hangs on), or scenery."""
    parents = _parents(graph)
    kinds: list[str] = []
    for number, entity in enumerate(graph.entities):
        kind = _kind(_word(graph, entity.head))
        if kind == "detail" and any(_word(graph, span) in _BALD for span in entity.attributes):
            kind = "feature"
        verb, parent = parents.get(number, ("", None))
        on_a_thing = parent is not None and parent < number and kinds[parent] in {"worn", "carried", "detail"}
        if kind == "detail":
            kind = "detail" if on_a_thing else ("worn" if _worn_by(verb) else "scenery")
        elif kind == "unknown":
            kind = "detail" if on_a_thing and not _is_verb(verb) else _by_verb(verb)
        kinds.append(kind)
    return kinds


def _kind(head: str) -> str:
    """By the whole head ("flip flops"), as one word, or by its last word ("tee shirt")."""
    for kind, words in (
        ("person", lexicon.PEOPLE),
        ("feature", lexicon.FEATURES),
        ("worn", lexicon.GARMENTS),
        ("carried", lexicon.CARRIED),
        ("detail", lexicon.PLACES | lexicon.GARMENT_PARTS),
    ):
        for word in (head, head.replace(" ", ""), head.split(" ")[-1]):
            if word in words or word.rstrip("s") in words:
                return kind
    return "worn" if head in lexicon.COLOURS else "unknown"


def _by_verb(verb: str) -> str:
    """What an unknown thing is, by the verb that leads to it."""
    if _worn_by(verb):
        return "worn"
    return "carried" if _HOLDING.match(verb) else "scenery"


def _worn_by(verb: str) -> bool:
    first = verb.split(" ")[0]
    return first in lexicon.DRESSING or verb == "has on" or first.startswith("sport")


def _is_verb(words: str) -> bool:
    return _worn_by(words) or bool(_HOLDING.match(words))


def _parents(graph: SceneGraph) -> dict[int, tuple[str, int | None]]:
    """Entity -> (the first relation that leads to it, the entity it comes from)."""
    found: dict[int, tuple[str, int | None]] = {}
    for relation in graph.relations:
        if relation.object is not None:
            found.setdefault(relation.object, (_word(graph, relation.span), relation.subject))
    return found


def _identity(graph: SceneGraph, kinds: list[str]) -> str:
    people = [entity for entity, kind in zip(graph.entities, kinds, strict=True) if kind == "person"]
    features = [_phrase(graph, entity) for entity, kind in zip(graph.entities, kinds, strict=True) if kind == "feature"]
    subject = _subject(graph, people) or (_by_pronoun(graph.text) if features or not people else "")
    if not subject and not features:
        return ""
    words = subject or "a person"
    if features:
        words += f" with {_listed(features)}"
    return f"{words[0].upper()}{words[1:]}."


def _subject(graph: SceneGraph, people: list[Entity]) -> str:
    """The person, with all that any mention says; colours after the noun are clothes ("a man in black")."""
    if not people:
        return ""
    said = [_word(graph, entity.head) for entity in people]
    head = next((word for word in said if word in lexicon.MEN | lexicon.WOMEN), said[0])
    attributes = dict.fromkeys(
        word
        for entity in people
        for span in entity.attributes
        if (word := _word(graph, span)) not in lexicon.COLOURS and word not in lexicon.GARMENTS | lexicon.DRESSING
    )
    aged = [word for word in said if word in _AGED and word != head]
    noun = " ".join((*aged, *attributes, head))
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def _by_pronoun(text: str) -> str:
    for word in lexicon.words_of(text):
        if word in {"he", "his", "him"}:
            return "a man"
        if word in {"she", "her"}:
            return "a woman"
    return ""


def _clothing(graph: SceneGraph, kinds: list[str]) -> str:
    parents = _parents(graph)
    parts: dict[str, list[str]] = {"worn": [], "carried": []}
    place: dict[int, tuple[str, int]] = {}
    for number, (entity, kind) in enumerate(zip(graph.entities, kinds, strict=True)):
        verb, parent = parents.get(number, ("", None))
        if kind in parts:
            words = _phrase(graph, entity)
            parts[kind].append(words if entity.negation is None else f"no {words}")
            place[number] = (kind, len(parts[kind]) - 1)
        elif kind == "detail" and parent in place:
            list_name, index = place[number] = place[parent]
            parts[list_name][index] += f" {verb} {_phrase(graph, entity)}"
        elif kind == "person":
            parts["worn"] += _colours_after(graph, entity)
    sentences = []
    if parts["worn"]:
        sentences.append(f"Wearing {_listed(parts['worn'])}.")
    if parts["carried"]:
        sentences.append(f"Carrying {_listed(parts['carried'])}.")
    return " ".join(sentences)


def _colours_after(graph: SceneGraph, person: Entity) -> list[str]:
    """Colours said of a person behind the noun are the clothes': "a man in black"."""
    return [
        word
        for span in person.attributes
        if span.start > person.head.end and (word := _word(graph, span)) in lexicon.COLOURS
    ]


def _phrase(graph: SceneGraph, entity: Entity) -> str:
    """The thing with its attributes; without "his" and "her", which would tell the sex where clothes are meant."""
    plural = re.search(r"[^s]s$", _word(graph, entity.head)) is not None  # the article is of "a pair of"
    words = [_word(graph, span) for span in (*entity.attributes, entity.head)]
    if entity.determiner and entity.negation is None:
        article = _word(graph, entity.determiner)
        if not (plural and article in {"a", "an"}):
            words.insert(0, article)
    return " ".join(word for word in words if word not in _POSSESSIVE)


def _word(graph: SceneGraph, span: Span) -> str:
    return span.of(graph.text).lower()


def _listed(items: list[str]) -> str:
    unique = list(dict.fromkeys(items))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
