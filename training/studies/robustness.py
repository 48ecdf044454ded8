"""How a checkpoint answers the same descriptions typed differently, and descriptions that deny something."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.confidence import ConfidenceCurve
from models.descriptions.denials import without_denied
from models.descriptions.language import read_language
from models.encoder import PersonEncoder, Space
from models.fusion import ANYBODY, Fusion, in_person
from models.presence import PresenceRule
from models.tokenizers import words_of
from training.calibration.confidence import questions
from training.calibration.presence import Fit, Flags, read_pages
from training.evaluation import Embedded, ExactScores, Integers, retrieval_metrics
from training.studies.rewording import REWORDINGS

PAGE = 10
_BATCH = 256
Row = dict[str, Any]
Scores = Callable[[int, int], Tensor]
DENIED: dict[str, tuple[str, str | None]] = {
    "hat": ("hat", None),
    "bag": ("bag", None),
    "backpack": ("bag", "backpack"),
    "glasses": ("glasses", None),
    "jacket": ("outer", "jacket"),
    "dress": ("upper", "dress"),
    "skirt": ("lower", "long skirt"),
    "umbrella": ("carried", "umbrella"),
}
"""Things in words: the attribute, and its value if not any but "none" will do."""


def measure_rewordings(
    encoder: PersonEncoder, embedded: Embedded, rule: PresenceRule | None, *, seed: int = 0
) -> list[Row]:
    """R@1, R@10 and mAP in percent of each rewording of all descriptions, beside what it costs the same descriptions.

    `refused`: share that the service does not take for English. `flagged`: share with "no good match", though every
    person is there; None without a rule.
    """
    found = []
    for name, reword in REWORDINGS.items():
        rng = Random(f"{seed}/{name}")
        texts = [reword(text, rng) for text in embedded.queries]
        rows = np.array([row for row, text in enumerate(texts) if text is not None], np.int64)
        if len(rows):
            said = [text for text in texts if text is not None]
            found.append(_row(name, encoder, embedded, rows, said, rule))
    return found


def _row(
    name: str, encoder: PersonEncoder, embedded: Embedded, rows: Integers, said: list[str], rule: PresenceRule | None
) -> Row:
    vectors = encode(encoder, said)
    plain = _figures(embedded, rows, ExactScores(embedded.texts[torch.from_numpy(rows)], embedded.images))
    row = {"how": name, "queries": len(rows), **_figures(embedded, rows, ExactScores(vectors, embedded.images))}
    row |= {"R@1 as written": plain["R@1"], "example": said[0]}
    row["refused"] = 100 * sum(not read_language(text).understood for text in said) / len(said)
    row["flagged"] = None if rule is None else _flagged(embedded, rows, vectors, said, rule)
    return row


def _figures(embedded: Embedded, rows: Integers, scores: Scores) -> dict[str, float]:
    found = retrieval_metrics(scores, embedded.query_ids[rows], embedded.gallery_ids)
    return {"R@1": found.r1, "R@10": found.r10, "mAP": found.mean_ap}


def _flagged(embedded: Embedded, rows: Integers, vectors: Tensor, said: Sequence[str], rule: PresenceRule) -> float:
    _, ids, everybody, own = questions(embedded)["text"]
    pages = read_pages((ExactScores(vectors, embedded.images), ids[rows], everybody, own[rows]))
    fit = Fit.of(rule)
    enough = np.array([len(words_of(said[row])) >= rule.words for row in pages.rows.tolist()])
    return 100 * float(((fit.presence(pages.present, pages.images[0]) < fit.least) & enough).mean())


@torch.inference_mode()
def encode(encoder: PersonEncoder, texts: Sequence[str]) -> Tensor:
    """Descriptions (Q, D) under an encoder, unit-norm float32 on the CPU."""
    device = next(encoder.parameters()).device
    parts = [torch.empty(0, encoder.spec.spaces["text"].dim)]
    for start in range(0, len(texts), _BATCH):
        ids = encoder.tokenize(texts[start : start + _BATCH]).ids
        parts.append(encoder.encode_text(ids.to(device)).float().cpu())
    return torch.cat(parts)


def measure_denials(
    encoder: PersonEncoder,
    embedded: Embedded,
    folder: Path,
    curves: Mapping[Space, ConfidenceCurve],
    *,
    seed: int = 0,
) -> list[Row]:
    """Descriptions with something denied that their person lacks: as typed, without it, and searched against as the
    service does it.

    `share`: of the first page, who has the denied thing, in percent. Needs the truth of a synthetic set.
    """
    people = json.loads((folder / "attributes.json").read_text("utf-8"))["identities"]
    attributes = {person["id"]: person["attributes"] for person in people}
    identities = np.unique(embedded.gallery_ids)
    has = {
        thing: np.array([_has(attributes[number], *where) for number in identities.tolist()])
        for thing, where in DENIED.items()
    }
    rng = Random(seed)
    asked, things = [], []
    for row, person in enumerate(np.searchsorted(identities, embedded.query_ids).tolist()):
        lacking = [thing for thing in DENIED if not has[thing][person]]
        if lacking:
            asked.append(row)
            things.append(rng.choice(lacking))
    rows = np.array(asked, np.int64)
    texts = [embedded.queries[row] for row in asked]
    typed = [_denying(text, thing) for text, thing in zip(texts, things, strict=True)]
    taken = [without_denied(text) for text in typed]
    ways = {"nothing denied": texts, "denied, as typed": typed, "denied, taken out": [one.text for one in taken]}
    truth = np.stack([has[thing] for thing in things])
    scores: dict[str, Scores] = {how: ExactScores(encode(encoder, said), embedded.images) for how, said in ways.items()}
    scores["denied, searched against"] = _against(encoder, embedded, scores["denied, taken out"], things, curves)
    found = []
    for how, one in scores.items():
        share = _share(embedded, one, identities, truth)
        found.append({"how": how, "queries": len(rows), "share": share, **_figures(embedded, rows, one)})
    noticed = sum(thing in one.denied for thing, one in zip(things, taken, strict=True))
    found[2]["noticed"] = 100 * noticed / len(rows)
    return found


def _denying(text: str, thing: str) -> str:
    plain = text.rstrip(". ")
    return f"{plain}, no {thing}." if thing == "glasses" else f"{plain}, without a {thing}."


def _has(attributes: dict[str, str], name: str, value: str | None) -> bool:
    return attributes[name] != "none" if value is None else attributes[name] == value


def _against(
    encoder: PersonEncoder,
    embedded: Embedded,
    kept: Scores,
    things: Sequence[str],
    curves: Mapping[Space, ConfidenceCurve],
) -> Scores:
    """Scores of descriptions less what they deny, as the service fuses them."""
    fusion = Fusion.of(curves, {"text"})
    names = sorted(set(things))
    having = encode(encoder, [in_person(name) for name in names]) - encode(encoder, [ANYBODY])
    taken = fusion.denial("text", (having.double() @ embedded.images.double().T).numpy())
    which = np.array([names.index(thing) for thing in things])

    def scores(first: int, last: int) -> Tensor:
        support = fusion.support("text", kept(first, last).double().numpy())
        return torch.from_numpy(support - taken[which[first:last]]).float()

    return scores


def _share(embedded: Embedded, scores: Scores, identities: Integers, truth: Flags) -> float:
    """Of the first page of people, who has what (Q, people) says, in percent."""
    total, count = 0.0, len(truth)
    members = torch.from_numpy(np.searchsorted(identities, embedded.gallery_ids))
    for start in range(0, count, _BATCH):
        block = scores(start, min(start + _BATCH, count))
        best = torch.full((len(block), len(identities)), -torch.inf)
        best.scatter_reduce_(1, members.expand(len(block), -1), block, "amax")
        page = best.topk(min(PAGE, len(identities)), dim=1).indices.numpy()
        total += float(np.take_along_axis(truth[start : start + len(block)], page, axis=1).mean(axis=1).sum())
    return 100 * total / count
