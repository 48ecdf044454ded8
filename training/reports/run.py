"""Pictures of a run: loss and quality curves, the CMC curve, and a sheet of ranked lists to look at."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from training.evaluation import Embedded, Metrics
from training.events import read_events

mpl.use("Agg")
import matplotlib.pyplot as plt

_ORACLE_RANKS = (1, 5, 10)
LOSS, CMC, RANKED, RELATIONS = "loss.png", "cmc.png", "ranked.jpg", "relations.png"
_INK, _GREEN, _RED, _PAPER, _GREY = (28, 31, 36), (24, 128, 72), (196, 52, 52), (255, 255, 255), (110, 116, 124)
_TILE, _GAP, _WORDS = (72, 160), 8, 250


def plot_losses(run: Path, out: Path) -> Path:
    """Losses by step with the epochs' evaluations below, from a run's events; writes `out/loss.png`."""
    events = read_events(run)
    steps = [event for event in events if event["event"] == "step"]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 7), sharex=False, layout="constrained")
    for name in sorted({name for event in steps for name in event["losses"]}):
        points = [(event["step"], event["losses"][name]) for event in steps if name in event["losses"]]
        x, y = zip(*points, strict=True)
        line = above.plot(x, y, alpha=0.25, linewidth=0.8)[0]
        above.plot(x, _smooth(y), label=name, color=line.get_color(), linewidth=1.8)
    above.set(xlabel="step", ylabel="loss (thin: one step, thick: running mean)", title=f"{run.name}: training")
    for name in ("R@1", "mAP", "mINP"):
        points = [(event["epoch"] + 1, event["metrics"][name]) for event in evaluations]
        if points:
            below.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    split = evaluations[-1]["split"] if evaluations else "val"
    below.set(xlabel="epoch", ylabel=f"{split}, %", ylim=(0, 100))
    for axes in (above, below):
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return save_figure(figure, out / LOSS)


def plot_relations(run: Path, out: Path) -> Path | None:
    """How many identity relations DGCMIA mined in each epoch and how many of them are right; writes `relations.png`.

    The accuracy of the global ones over all epochs is figure 4 of the paper. None for a run that mined nothing.
    """
    epochs = [event for event in read_events(run) if event["event"] == "epoch" and "local_relations" in event]
    if not epochs:
        return None
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, layout="constrained")
    kinds = (
        ("local", "within the batch", "C0"),
        ("global", "from the memory bank", "C1"),
        ("global_new", "from the memory bank, other images only", "C2"),
    )
    for kind, label, colour in kinds:
        for axes, field, factor in ((above, f"{kind}_accuracy", 100), (below, f"{kind}_relations", 1)):
            points = [(event["epoch"] + 1, factor * event[field]) for event in epochs if event.get(field)]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label, color=colour)
    above.set(ylabel="of the same person, %", ylim=(0, 101), title=f"{run.name}: mined identity relations")
    below.set(xlabel="epoch", ylabel="mined in the epoch", yscale="log")
    for axes in (above, below):
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return save_figure(figure, out / RELATIONS)


def plot_cmc(name: str, metrics: Metrics, oracle: Mapping[str, float] | None, out: Path) -> Path:
    """The CMC curve, with the oracle's R@1, R@5 and R@10 where there is one; writes `out/cmc.png`."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    label = f"{name}: R@1 {metrics.r1:.1f}, mAP {metrics.mean_ap:.1f}; {metrics.queries:,} queries"
    label += f", {metrics.skipped:,} without a relevant image skipped" if metrics.skipped else ""
    axes.plot(range(1, len(metrics.curve) + 1), metrics.curve, label=label, linewidth=1.8)
    if oracle:
        heights = [oracle[f"R@{rank}"] for rank in _ORACLE_RANKS]
        axes.plot(_ORACLE_RANKS, heights, "k^", label=f"oracle on true attributes: R@1 {heights[0]:.1f}")
    lowest = metrics.r1
    axes.set(
        xlabel="rank k", ylabel="queries with a hit in the first k, %", ylim=(max(0, lowest - 10), 100.5), title="CMC"
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, out / CMC)


def ranked_sheet(embedded: Embedded, out: Path, *, queries: int = 10, ranks: int = 10, seed: int = 0) -> Path:
    """Queries and the images they rank first, right ones framed green, wrong ones red; writes `out/ranked.jpg`.

    Half of the sheet are random queries, half are queries whose first image is wrong: what fails teaches most.
    """
    score, gallery_ids, query_ids = embedded.text_scores(), embedded.gallery_ids, embedded.query_ids
    first_right = gallery_ids[_first(embedded)] == query_ids
    rng = np.random.default_rng(seed)
    wrong = np.flatnonzero(~first_right)
    failures = rng.choice(wrong, size=min(queries // 2, len(wrong)), replace=False)
    others = np.setdiff1d(np.arange(len(query_ids)), failures)
    plain = rng.choice(others, size=min(queries - len(failures), len(others)), replace=False)
    rows = [*plain.tolist(), *failures.tolist()]
    height = _TILE[1] + 3 * _GAP
    sheet = Image.new("RGB", (_WORDS + ranks * (_TILE[0] + _GAP) + 2 * _GAP, len(rows) * height + _GAP), _PAPER)
    for line, query in enumerate(rows):
        top = _GAP + line * height
        _draw_words(sheet, top, embedded.queries[query], failed=bool(line >= len(plain)))
        scores = score(query, query + 1)[0]
        order = scores.sort(descending=True, stable=True).indices[:ranks].tolist()
        for rank, image in enumerate(order):
            right = gallery_ids[image] == query_ids[query]
            left = _WORDS + _GAP + rank * (_TILE[0] + _GAP)
            _draw_tile(
                sheet, (left, top), embedded.records[image].path, float(scores[image]), _GREEN if right else _RED
            )
    path = out / RANKED
    sheet.save(path, quality=88)
    return path


def _first(embedded: Embedded, block: int = 512) -> npt.NDArray[np.int64]:
    """(Q,) the gallery index that each description ranks first; the lowest of equals."""
    score, count = embedded.text_scores(), len(embedded.queries)
    best = [score(start, min(start + block, count)).argmax(dim=1) for start in range(0, count, block)]
    return np.concatenate([indices.numpy() for indices in best])


def _draw_words(sheet: Image.Image, top: int, words: str, *, failed: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    if failed:
        draw.text((_GAP, top), "first image wrong", fill=_RED, font=ImageFont.load_default(11))
    text = "\n".join(textwrap.wrap(words, 42)[:9])
    draw.multiline_text((_GAP, top + 16), text, fill=_INK, font=ImageFont.load_default(12), spacing=3)


def _draw_tile(
    sheet: Image.Image, corner: tuple[int, int], path: Path, score: float, colour: tuple[int, int, int]
) -> None:
    with Image.open(path) as image:
        picture = image.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (_TILE[0] + 6, _TILE[1] + 6), colour)
    framed.paste(picture, (3, 3))
    sheet.paste(framed, (corner[0] - 3, corner[1] - 3))
    draw = ImageDraw.Draw(sheet)
    draw.text((corner[0], corner[1] + _TILE[1] + 4), f"{score:.2f}", fill=_GREY, font=ImageFont.load_default(10))


def _smooth(values: Sequence[float]) -> list[float]:
    width = max(1, len(values) // 50)
    padded = np.pad(np.asarray(values, dtype=np.float64), (width - 1, 0), mode="edge")
    return [float(value) for value in np.convolve(padded, np.ones(width) / width, mode="valid")]


def save_figure(figure: Any, path: Path) -> Path:  # noqa: ANN401  matplotlib ships no types
    """Write a matplotlib figure and let go of it; gives `path` back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
