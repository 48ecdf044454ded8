"""The parser of descriptions on synthetic captions, whose truth is known: which thing has which colour."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random

from models.descriptions import SceneGraph, parse
from training.synthetic import lexicon
from training.synthetic.attributes import Identity
from training.synthetic.captions import Caption, describe
from training.synthetic.parts import Part
from training.synthetic.person import identity_of
from training.synthetic.phrases import Sight

SLOTS = ("upper", "outer", "lower", "shoes", "hat", "bag", "carried")
WORN = {Part.HAT: "hat", Part.GLASSES: "glasses", Part.OUTER: "outer", Part.BAG: "bag", Part.STRAP: "bag",
        Part.CARRIED: "carried", Part.LOWER: "lower", Part.HAIR: "hair_length", Part.TAIL: "hair_style"}  # fmt: skip


def captions(people: int, split: str) -> Iterator[tuple[Identity, Caption]]:
    """Two captions of each person as a camera would see them from the front and from behind, without drawing them."""
    for number in range(people):
        person, rng = identity_of(11, split, number), Random(number)
        for front in (True, False):
            parts = {part: 0.2 * (part not in WORN or person[WORN[part]] not in ("none", "bald")) for part in Part}
            sight = Sight(parts, front=front, back=not front, walking=rng.random() < 0.5)
            yield person, describe(person, sight, rng)


def _heads() -> dict[str, set[str]]:
    """Which slots a noun may be in: "jacket" is outer, "sleeveless shirt" upper."""
    found: dict[str, set[str]] = defaultdict(set)
    for slot in SLOTS:
        for words in lexicon.NOUNS[slot].values():
            for phrase in words:
                head = phrase.split(" of ")[-1] if phrase.startswith("piece") else phrase.split(" of ")[0]
                found[head.split(" with ")[0].split()[-1]].add(slot)
    found["hair"] = found["ponytail"] = found["bun"] = found["knot"] = found["tail"] = {"hair"}
    return found


def _meanings() -> dict[bool, dict[str, set[str]]]:
    """What a colour word may mean, of hair and of all else."""
    found: dict[bool, dict[str, set[str]]] = {True: defaultdict(set), False: defaultdict(set)}
    for of_hair, table in ((True, lexicon.HAIR_COLOURS), (False, lexicon.COLOURS | lexicon.COARSE_COLOURS)):
        for meaning, words in table.items():
            for word in words:
                found[of_hair][word].add(meaning)
    found[True]["dark"], found[True]["light"] = {"dark"}, {"light"}
    return found


HEADS, MEANINGS = _heads(), _meanings()


def colours(graph: SceneGraph) -> list[tuple[set[str], set[str]]]:
    """Of each colour that is found on something: the slots it may be in and what it may mean."""
    found = []
    for entity in graph.entities:
        slots = HEADS.get(entity.head.of(graph.text).lower().split()[-1], set())
        for span in entity.attributes:
            if meanings := MEANINGS[slots == {"hair"}].get(span.of(graph.text).lower(), set()):
                found.append((slots, meanings))
    return [(slots, meanings) for slots, meanings in found if slots]


def agreement(people: int, split: str) -> tuple[Counter[str], list[str]]:
    """Counts of "said", "found", "told" and "true" colours, and the captions in which one was missed or is wrong."""
    counts, wrong = Counter[str](), []
    for person, caption in captions(people, split):
        found = colours(parse(caption.text))
        said = [(name.removesuffix("_colour"), value) for name, value in caption.mentions if name.endswith("_colour")]
        seen = [any(slot in slots and value in meanings for slots, meanings in found) for slot, value in said]
        true = [any(_true(person, slot, one) for slot in slots for one in meanings) for slots, meanings in found]
        counts.update(said=len(said), found=sum(seen), told=len(found), true=sum(true))
        if not (all(seen) and all(true)):
            wrong.append(caption.text)
    return counts, wrong


def _true(person: Identity, slot: str, meaning: str) -> bool:
    names = (f"{slot}_colour", "upper_accent") if slot == "upper" else (f"{slot}_colour",)
    return any(lexicon.fits(name, meaning, person[name]) for name in names)


def test_colours_stand_on_the_things_that_have_them() -> None:
    counts, wrong = agreement(150, "test")
    assert counts["said"] > 900
    assert counts["found"] / counts["said"] > 0.98, wrong[:5]
    assert counts["true"] / counts["told"] > 0.98, wrong[:5]
