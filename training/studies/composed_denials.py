"""What denied parts do, measured on synthetic people: "not a backpack", "not this person"."""

from collections.abc import Callable, Iterator

import numpy as np

from models.confidence_fit import calibration_error
from models.fusion import ANYBODY, Fusion, in_person
from training.evaluation import Integers
from training.studies.composed import PAGE, Booleans, Encode, Floats, Known, Row, row_of

_FEW = 0.2
_MOST = 3000
Attributes = dict[str, str]
THINGS: dict[str, Callable[[Attributes], bool]] = {
    "a hat": lambda a: a["hat"] != "none",
    "a cap": lambda a: a["hat"] == "cap",
    "glasses": lambda a: a["glasses"] != "none",
    "a backpack": lambda a: a["bag"] == "backpack",
    "a handbag": lambda a: a["bag"] == "handbag",
    "a suitcase": lambda a: a["bag"] == "suitcase",
    "a shoulder bag": lambda a: a["bag"] == "shoulder bag",
    "a black bag": lambda a: a["bag"] != "none" and a["bag_colour"] == "black",
    "a coat": lambda a: a["outer"] == "coat",
    "a jacket": lambda a: a["outer"] in ("jacket", "puffer jacket"),
    "a hoodie": lambda a: a["upper"] == "hoodie",
    "a dress": lambda a: a["upper"] == "dress",
    "a red top": lambda a: a["upper_colour"] == "red",
    "a striped top": lambda a: a["upper_pattern"] == "stripes",
    "shorts": lambda a: a["lower"] == "shorts",
    "a skirt": lambda a: "skirt" in a["lower"],
    "jeans": lambda a: a["lower"] == "jeans",
    "black trousers": lambda a: a["lower"] == "trousers" and a["lower_colour"] == "black",
    "boots": lambda a: a["shoes"] == "boots",
    "sandals": lambda a: a["shoes"] == "sandals",
    "white shoes": lambda a: a["shoes_colour"] == "white",
    "long hair": lambda a: a["hair_length"] == "long",
    "a ponytail": lambda a: a["hair_style"] == "ponytail",
    "blonde hair": lambda a: a["hair_colour"] == "blonde",
    "an umbrella": lambda a: a["carried"] == "umbrella",
}
"""Things in words, and who truly has them."""


def measure_denied_words(known: Known, fusion: Fusion, encode: Encode, rng: np.random.Generator) -> Iterator[Row]:
    """Descriptions with one denied thing: one that a fifth or more of their first page has and the person lacks.

    Of each way: the share of the first page that has the thing, and R@1 of the person; then each thing by itself.
    """
    truth = np.array([[has(person) for person in known.attributes] for has in THINGS.values()])
    cosines = known.cosines("text", np.arange(len(known.texts)))
    before = known.by_person(cosines)
    page = np.argsort(-before, axis=1, kind="stable")[:, :PAGE]
    wanted = known.whose[known.described]
    asked, denied = [], []
    for query in range(len(cosines)):
        fits = np.flatnonzero((truth[:, page[query]].mean(axis=1) >= _FEW) & ~truth[:, wanted[query]])
        if len(fits):
            asked.append(query)
            denied.append(int(rng.choice(fits)))
    kept = np.sort(rng.choice(len(asked), min(_MOST, len(asked)), replace=False))
    queries, things = np.array(asked)[kept], np.array(denied)[kept]
    trial = _Trial(known, truth, queries, things, wanted[queries])
    support = fusion.support("text", cosines[queries])
    slope = fusion.line("text").slope
    bare = encode(list(THINGS)) @ known.images.T
    told = encode([in_person(thing) for thing in THINGS]) @ known.images.T
    apart = told - encode([ANYBODY]) @ known.images.T
    yield trial.row("nothing denied", support)
    for weight in (0.25, 0.5):
        yield trial.row(f"- {weight:g} cosine, bare words", support - weight * slope * bare[things])
        yield trial.row(f"- {weight:g} cosine, as a person", support - weight * slope * told[things])
        yield trial.row(f"- {weight:g} difference to anybody", support - weight * slope * apart[things])
        yield trial.row(f"- {weight:g} difference above 0", support - weight * slope * np.maximum(0, apart[things]))
    yield trial.row("orthogonal to the bare words", slope * _orthogonal(known, queries, encode(list(THINGS))[things]))
    for weight in (0.5, 1.0, 1.5, 2.0):
        name = f"-2 w log(1 - p), w = {weight:g}" + (" (chosen)" if weight == 1 else "")
        after = support - weight * fusion.denial("text", apart[things])
        yield trial.row(name, after)
        if weight == 1:
            for number, thing in enumerate(THINGS):
                if (own := things == number).sum() >= 20:
                    part = _Trial(known, truth, queries[own], things[own], wanted[queries[own]])
                    was, now = part.row("", support[own]), part.row("", after[own])
                    yield now | {"kind": "denied, by thing", "how": thing, "share before": was["share"]}


class _Trial:
    """Queries with a denied thing each, and what ways of scoring make of them."""

    def __init__(self, known: Known, truth: Booleans, queries: Integers, things: Integers, wanted: Integers) -> None:
        self._known, self._truth = known, truth
        self._queries, self._things, self._wanted = queries, things, wanted

    def row(self, how: str, scores: Floats) -> Row:
        """Share of the first page that has the thing, and R@1 of the person, who lacks it; in percent."""
        people = self._known.by_person(scores)
        page = np.argsort(-people, axis=1, kind="stable")[:, :PAGE]
        share = self._truth[self._things[:, None], page].mean()
        above = (people > people[np.arange(len(people)), self._wanted][:, None]).sum(axis=1)
        chance = 1 / (1 + np.exp(-np.take_along_axis(people, page, 1)))
        figures = {
            "share": 100 * float(share),
            "R@1": 100 * float((above == 0).mean()),
            "ECE": calibration_error(chance.ravel(), (page == self._wanted[:, None]).ravel()),
        }
        return row_of("denied words", self._known, how, **figures, queries=len(people))


def _orthogonal(known: Known, queries: Integers, away: Floats) -> Floats:
    vectors = known.texts[queries]
    vectors = vectors - (vectors * away).sum(1, keepdims=True) * away
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ known.images.T, np.float64)


def measure_denied_pictures(known: Known, fusion: Fusion) -> Iterator[Row]:
    """Descriptions whose best wrong candidate is denied by its best image, which is then out of the gallery."""
    cosines = known.cosines("text", np.arange(len(known.texts)))
    wanted, every = known.whose[known.described], np.arange(len(known.texts))
    before = known.by_person(cosines)
    before[every, wanted] = -np.inf
    wrong = before.argmax(axis=1)
    shown = np.array([images[cosines[q, images].argmax()] for q, images in enumerate(known.members[w] for w in wrong)])
    support, likeness = fusion.support("text", cosines), known.cosines("image", shown)
    slope = fusion.line("image").slope
    ways = {"its image away, nothing denied": support}
    for weight in (0.1, 0.25, 0.5):
        ways[f"- {weight:g} cosine"] = support - weight * slope * likeness
    for weight in (0.5, 1.0, 2.0):
        name = f"-2 w log(1 - p), w = {weight:g}" + (" (chosen)" if weight == 1 else "")
        ways[name] = support - weight * fusion.denial("image", likeness)
    for how, scores in ways.items():
        scores = scores.copy()
        scores[every, shown] = -np.inf
        people = known.by_person(scores)
        above = (people > people[every, wanted][:, None]).sum(axis=1)
        left = (people > people[every, wrong][:, None]).sum(axis=1) < PAGE
        figures = {"share": 100 * float(left.mean()), "R@1": 100 * float((above == 0).mean())}
        yield row_of("denied picture", known, how, **figures, queries=len(people))
