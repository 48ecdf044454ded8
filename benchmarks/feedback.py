"""`python -m benchmarks.feedback DATA`: what verdicts on a first answer do to the second one.

A simulated user asks for a person, looks at the ten best identities of the answer, confirms the person if it is among
them, and rejects the others; always truthfully. Ranking is exact, by the vectors as the index stores them. There are
three kinds of query: the set's own descriptions, a short one (sex, upper and lower garment with colours), and a vague
one (one garment).

The weights of each way are chosen on val by the mean of (a) and (b), and the test split is measured once with them:

    all         identities, R@1; what was rejected is left out. The confirmed person comes first, which is no feat
    (a)         the person was among the ten and its best image was confirmed: is the next image, none of those judged,
                of the person?
    (b)         the person was not among the ten: R@1 and R@10 of the second answer, which has rejections alone
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.queries.relevance import CONFIRMED, REJECTED, Vectors, logistic, rocchio
from models.checkpoint import DEMO, load_checkpoint
from models.encoder import PersonEncoder
from training.calibration.learning import halved
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.evaluation import embed_split
from training.records import Record, Split

Ints = NDArray[np.int64]
Move = Callable[[Vectors, Vectors, Vectors], Vectors]
JUDGED, BATCH = 10, 1000
SPLITS: tuple[Split, Split] = ("val", "test")
_OUT = np.float32(-9)


def ways() -> Iterator[tuple[str, str, Move]]:
    """Every way with every weight that is tried: family, name, function."""
    yield "left out only", "left out only", partial(rocchio, beta=0.0, gamma=0.0)
    for beta in (0.5, 1.0, 2.0):
        for gamma in (0.0, 0.1, 0.25, 0.5, 0.75):
            family = "rocchio with rejections" if gamma else "rocchio"
            yield family, f"rocchio {beta:g}, {gamma:g}", partial(rocchio, beta=beta, gamma=gamma)
    for weight in (0.25, 0.5, 1.0, 2.0):
        for c in (1.0, 10.0):
            yield "logistic", f"logistic {weight:g}, C {c:g}", partial(logistic, weight=weight, c=c)


@dataclass(frozen=True)
class Gallery:
    """A split: (N, dim) image vectors in the order of their identities, and where each identity begins."""

    vectors: Vectors
    owner: Ints
    starts: Ints

    def members(self, identity: int) -> Ints:
        """Places of its images."""
        return np.flatnonzero(self.owner == identity)

    def by_identity(self, scores: Vectors) -> Vectors:
        """(Q, N) scores of images to (Q, P) scores of identities: that of the best image."""
        found: Vectors = np.maximum.reduceat(scores, self.starts, axis=1)
        return found


@dataclass(frozen=True)
class Asked:
    """Queries of one kind: (Q, dim) vectors and the identity that each means."""

    vectors: Vectors
    wanted: Ints


def run(
    data: Annotated[Path, typer.Argument(help="Folder of a synthetic set (`descry synthesise`).")],
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/feedback.json"),
) -> None:
    """Measure feedback under the shipped checkpoint."""
    encoder, people = load_checkpoint(DEMO), read_dataset("cuhk_pedes", data)
    truth = {person["id"]: person["attributes"] for person in _truth(data)}
    rows: list[dict[str, Any]] = []
    chosen: dict[str, tuple[str, Move]] = {}
    for split in SPLITS:
        gallery, asked = _read(encoder, people.splits[split], truth)
        tried = [(family, name, move) for family, name, move in ways() if split == "val" or chosen[family][0] == name]
        found = [(family, move, _row(split, name, gallery, asked, move)) for family, name, move in tried]
        if split == "val":
            for family in dict.fromkeys(family for family, _, _ in found):
                _, move, best = max((one for one in found if one[0] == family), key=lambda one: one[2]["objective"])
                chosen[family] = best["way"], move
        rows += [row for _, _, row in found]
    console = Console()
    for split in SPLITS:
        console.print(_table(split, [row for row in rows if row["split"] == split]))
    console.print(f"in use: rocchio {CONFIRMED:g}, {REJECTED:g}")
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {"data": people.name, "chosen": {family: name for family, (name, _) in chosen.items()}, "figures": rows}
    out.write_text(json.dumps(record, indent=1) + "\n")


def _truth(data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data / "attributes.json").read_text())["identities"]
    return found


def _read(
    encoder: PersonEncoder, records: tuple[Record, ...], truth: Mapping[int, Mapping[str, str]]
) -> tuple[Gallery, dict[str, Asked]]:
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    embedded = embed_split(encoder, records, source)
    source.close()
    people, owner = np.unique(embedded.gallery_ids, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    gallery = Gallery(
        halved(embedded.images).astype(np.float32)[order],
        owner[order],
        np.searchsorted(owner[order], np.arange(len(people))),
    )
    asked = {"descriptions": Asked(embedded.texts.numpy(), owner[embedded.described])}
    numbers = {int(owner[place]): int(record.path.name.split("_")[0]) for place, record in enumerate(records)}
    for kind, words in (("short", short), ("vague", vague)):
        texts = [words(truth[numbers[person]]) for person in range(len(people))]
        ids = encoder.tokenize(texts).ids
        asked[kind] = Asked(encoder.encode_text(ids).detach().numpy(), np.arange(len(people)))
    return gallery, asked


def vague(person: Mapping[str, str]) -> str:
    """One garment with its colour."""
    name = "upper" if person["outer"] == "none" else "outer"
    return f"{person[f'{name}_colour']} {person[name]}"


def short(person: Mapping[str, str]) -> str:
    """Sex and two things with their colours."""
    name = "shoes" if person["lower"] == "none" else "lower"
    return f"a {person['sex']} in a {vague(person)} and {person[f'{name}_colour']} {person[name]}"


def _row(split: Split, way: str, gallery: Gallery, asked: Mapping[str, Asked], move: Move) -> dict[str, Any]:
    kinds = {kind: _measure(gallery, one, move) for kind, one in asked.items()}
    found = [[k[name] for k in kinds.values() if k[name] is not None] for name in ("a", "b10")]
    objective = float(np.mean([np.mean(values) for values in found if values]))
    return {"split": split, "way": way, "objective": round(objective, 3), **kinds}


def _measure(gallery: Gallery, asked: Asked, move: Move) -> dict[str, Any]:
    counts: dict[str, list[bool]] = {name: [] for name in ("first", "all", "a_before", "a", "b", "b10")}
    for start in range(0, len(asked.wanted), BATCH):
        part = Asked(asked.vectors[start : start + BATCH], asked.wanted[start : start + BATCH])
        for name, values in _judge(gallery, part, move).items():
            counts[name] += values.tolist()
    shares = {name: round(100 * float(np.mean(values)), 2) if values else None for name, values in counts.items()}
    return {"queries": len(asked.wanted), "outside": len(counts["b"]), **shares}


def _judge(gallery: Gallery, asked: Asked, move: Move) -> dict[str, NDArray[np.bool_]]:
    scores = asked.vectors @ gallery.vectors.T
    top = np.argsort(-gallery.by_identity(scores), axis=1, kind="stable")[:, :JUDGED]
    wanted, inside = asked.wanted, (top == asked.wanted[:, None]).any(axis=1)
    persons, images, best = [], [], np.empty_like(top)
    means = np.add.reduceat(gallery.vectors, gallery.starts) / np.bincount(gallery.owner)[:, None].astype(np.float32)
    for query, (own, row) in enumerate(zip(wanted, top, strict=True)):
        best[query] = [(m := gallery.members(person))[scores[query, m].argmax()] for person in row]
        yes = row == own
        persons.append(move(asked.vectors[query], means[row[yes]], means[row[~yes]]))
        judged = gallery.vectors[best[query]]
        images.append(move(asked.vectors[query], judged[yes], judged[~yes]))
    after = gallery.by_identity(np.stack(persons) @ gallery.vectors.T)
    others, before = np.stack(images) @ gallery.vectors.T, scores
    for query, (own, row) in enumerate(zip(wanted, top, strict=True)):
        rejected = row[row != own]
        after[query, rejected] = _OUT
        others[query, np.isin(gallery.owner, rejected)] = _OUT
        others[query, best[query]] = before[query, best[query]] = _OUT
    rank = (after > after[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
    return {
        "first": top[:, 0] == wanted,
        "all": rank == 0,
        "a_before": (gallery.owner[before.argmax(axis=1)] == wanted)[inside],
        "a": (gallery.owner[others.argmax(axis=1)] == wanted)[inside],
        "b": (rank == 0)[~inside],
        "b10": (rank < JUDGED)[~inside],
    }


def _table(split: Split, rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "Way", "Queries", "First R@1", "All R@1", "(a) before", "(a)", "(b)", "(b) R@1", "(b) R@10", title=split
    )
    for row in rows:
        for kind in ("descriptions", "short", "vague"):
            one = row[kind]
            names = ("first", "all", "a_before", "a", "outside", "b", "b10")
            table.add_row(row["way"], kind, *("" if one[n] is None else f"{one[n]:g}" for n in names))
    return table


if __name__ == "__main__":
    typer.run(run)
