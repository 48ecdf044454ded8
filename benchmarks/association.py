"""`python -m benchmarks.association DATA`: how well unnamed images are grouped into persons, against the truth.

Threshold and linkage come from the val split, as training calibrates them; the test split is then ingested without any
identity, grouped by the service's own job code with and without camera metadata, and compared with the truth by pairs
of images. Other algorithms, each calibrated on val in the same way, stand beside it.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.cluster import DBSCAN

from app.association.candidates import Candidates, read_candidates
from app.core import Core
from app.gallery.sources import open_source
from benchmarks.gallery import open_with_model
from models.association import Floats, Ints, Sightings, group
from models.calibration import LINKAGES, association_rule
from models.checkpoint import DEMO, load_checkpoint, read_info
from training.calibration.learning import PairScore, halved, pair_score
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.evaluation import embed_split
from training.records import PersonData, Record, Split

VISIT_S = 3600.0
"""Synthetic people are seen within one hour: what somebody who knows the place would send as `window_s`."""
NOBODY = np.empty((0, 2), np.int64)
Grouping = Callable[[float], Ints]


def run(
    data: Annotated[Path, typer.Argument(help="Folder of a synthetic set (`descry synthesise`).")],
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/association.json"),
) -> None:
    """Measure association under the shipped checkpoint."""
    people = read_dataset("cuhk_pedes", data)
    taken = moments(data)
    rows = list(compare(people, taken))
    with tempfile.TemporaryDirectory(prefix="descry-bench-") as folder:
        rows += list(as_served(people, taken, Path(folder)))
    table = Table("How", "Split", "Threshold", "Precision", "Recall", "F1", title="Pairs of images, against the truth")
    for row in rows:
        figures = (f"{row[key]:.4f}" for key in ("threshold", "precision", "recall", "f1"))
        table.add_row(str(row["how"]), str(row["split"]), *figures)
    Console().print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"data": people.name, "figures": rows}, indent=1) + "\n")


def moments(data: Path) -> dict[str, tuple[str, str]]:
    """Camera and instant (ISO 8601) of each image of a synthetic set, by file name."""
    truth = json.loads((data / "attributes.json").read_text())["identities"]
    return {
        Path(image["file_path"]).name: (image["camera"], image["captured_at"])
        for person in truth
        for image in person["images"]
    }


def compare(people: PersonData, taken: dict[str, tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Every algorithm with its best threshold on val, there and on test; the vectors straight from the encoder."""
    encoder = load_checkpoint(DEMO)
    vectors: dict[Split, Floats] = {}
    for split in _SPLITS:
        source = ImageSource([record.path for record in people.splits[split]], encoder.spec.preprocessing)
        vectors[split] = halved(embed_split(encoder, people.splits[split], source).portraits)
        source.close()
    ways: dict[str, Callable[[Split], Grouping]] = {}
    for window in (np.inf, VISIT_S):
        for linkage in LINKAGES:

            def agglomerative(split: Split, linkage: Any = linkage, window: float = window) -> Grouping:  # noqa: ANN401
                seen = _sightings(people.splits[split], taken, window)
                return lambda at: group(vectors[split], threshold=at, linkage=linkage, sightings=seen).labels

            ways[f"{linkage} linkage{'' if np.isinf(window) else f', window {window:.0f} s'}"] = agglomerative
    ways["DBSCAN, min_samples 2"] = lambda split: lambda at: _dbscan(vectors[split], at)
    for name, way in ways.items():
        grid = [float(at) for at in np.arange(0.30, 0.96, 0.02)]
        scores = [pair_score(way("val")(at), _identities(people.splits["val"])).f1 for at in grid]
        ties = [at for at, score in zip(grid, scores, strict=True) if score == max(scores)]
        best = ties[len(ties) // 2]  # the middle of a plateau, as calibration takes the middle of a gap
        for split in _SPLITS:
            score = pair_score(way(split)(best), _identities(people.splits[split]))
            yield _row(f"{name}, tuned on val", split, best, score)


def as_served(people: PersonData, taken: dict[str, tuple[str, str]], folder: Path) -> Iterator[dict[str, Any]]:
    """What a run of the service finds with the checkpoint's calibrated rule, with each kind of camera metadata."""
    rule = association_rule(read_info(DEMO).calibration)
    if rule is None:
        raise typer.BadParameter("the shipped checkpoint is not calibrated")
    for split in _SPLITS:
        records = people.splits[split]
        truth = {record.path.name: record.identity for record in records}
        gallery = _gallery(records, taken, folder / split)
        core = open_with_model(folder / f"data-{split}")
        try:
            whose: dict[int, int] = {}
            for outcome in core.ingest().run(open_source(gallery)):
                whose[outcome.image_id or 0] = truth[outcome.name]
            kinds: dict[str, tuple[float | None, bool]] = {
                "no camera metadata": (None, False),
                "instants apart": (None, True),
                "instants apart, window 1 day": (86400.0, True),
                f"instants apart, window {VISIT_S:.0f} s": (VISIT_S, True),
            }
            for name, (window, apart) in kinds.items():
                candidates = _candidates(core, window, apart)
                labels = group(
                    candidates.vectors,
                    threshold=rule.threshold,
                    linkage=rule.linkage,
                    sightings=candidates.sightings,
                ).labels
                # Without tracks each identity has one image; both were numbered in the order of the ingest.
                score = pair_score(labels, [whose[image] for image in sorted(whose)])
                yield _row(f"service, calibrated {rule.linkage}, {name}", split, rule.threshold, score)
        finally:
            core.close()


_SPLITS: tuple[Split, Split] = ("val", "test")


def _candidates(core: Core, window: float | None, apart: bool) -> Candidates:
    core.active.follow()
    model = core.active.current()
    with core.database.read() as session:
        return read_candidates(session, 1, model.version_id, model.encoder.spec, window_s=window, instants_apart=apart)


def _gallery(records: tuple[Record, ...], taken: dict[str, tuple[str, str]], folder: Path) -> Path:
    """The images of a split under a manifest that says where and when, and not who."""
    folder.mkdir()
    lines = []
    for record in records:
        shutil.copyfile(record.path, folder / record.path.name)
        camera, at = taken[record.path.name]
        lines.append(json.dumps({"file": record.path.name, "camera": camera, "captured_at": at}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _sightings(records: tuple[Record, ...], taken: dict[str, tuple[str, str]], window: float) -> Sightings:
    at = np.array([datetime.fromisoformat(taken[record.path.name][1]).timestamp() for record in records])
    return Sightings(at, at, NOBODY, window)


def _dbscan(vectors: Floats, threshold: float) -> Ints:
    labels: Ints = DBSCAN(eps=1 - threshold, min_samples=2, metric="cosine").fit_predict(vectors).astype(np.int64)
    alone = labels < 0
    labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    return labels


def _identities(records: tuple[Record, ...]) -> Ints:
    return np.array([record.identity for record in records], np.int64)


def _row(how: str, split: Split, threshold: float, score: PairScore) -> dict[str, Any]:
    figures = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    return {"how": how, "split": split, "threshold": round(threshold, 4)} | figures


if __name__ == "__main__":
    typer.run(run)
