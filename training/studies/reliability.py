"""What confidences and "no good match" are worth on people that nothing was learnt from, by size of gallery and filter.

Every query is asked of a gallery that holds its person, and of the same gallery without. So half of all answers are
about somebody who is not there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.confidence import ConfidenceCurve
from models.confidence_fit import Floats, calibration_error
from models.encoder import Space
from models.presence import PresenceRule
from models.tokenizers import words_of
from training.calibration.confidence import questions
from training.calibration.presence import Fit, Flags, Pages, Question, calibration_of, few_of_each, read_pages
from training.evaluation import Embedded

Names = npt.NDArray[np.str_]
SIZES = (30, 100, 300, 1000)
_BINS = 10


@dataclass(frozen=True, slots=True)
class Worth:
    """What the answers of one gallery are worth.

    Attributes:
        gallery: which: "100 people" with all of their images, "one image of each" of all, "one camera".
        people, queries: in the gallery (a mean where there are several), and asked of it, each twice.
        error, error_there: expected calibration error of the candidates of the first page: of all answers, and of those
            about people who are there.
        error_first: the same of the first candidates alone, of all answers.
        error_curve: of the section `confidence` alone, which knows one score and not the others, of all answers.
        brier: Brier score of the first page, of all answers.
        flagged_absent, flagged_present: share of "no good match" about people who are not there, and who are.
    """

    space: Space
    gallery: str
    people: int
    queries: int
    error: float
    error_there: float
    error_first: float
    error_curve: float | None
    brier: float
    flagged_absent: float
    flagged_present: float
    told: Floats
    right: Floats

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the single candidates."""
        plain = (
            "space gallery people queries error error_there error_first error_curve brier flagged_absent "
            "flagged_present"
        )
        found = {name: getattr(self, name) for name in plain.split()}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def measure(
    embedded: Embedded,
    rules: dict[Space, PresenceRule],
    curves: dict[Space, ConfidenceCurve],
    *,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> list[Worth]:
    """Galleries of some people, of all, and of each camera's images alone; `sizes` above the split's are left out."""
    found: list[Worth] = []
    cameras = np.array([record.camera or "" for record in embedded.records])
    for space, question in questions(embedded).items():
        _, ids, everybody, own = question
        if (rule := rules.get(space)) is None or not len(ids):
            continue
        lengths = [len(words_of(text)) for text in embedded.queries] if space == "text" else [rule.words] * len(ids)
        enough = np.array(lengths) >= rule.words
        known = np.unique(ids)
        for size in sorted({*(size for size in sizes if size < len(known)), len(known)}):
            some = np.random.default_rng(seed).permutation(known)[:size]
            pages = read_pages(question, np.isin(everybody, some))
            found.append(worth(space, f"{size:,} people", pages, enough, rule, curves.get(space)))
        single = read_pages(question, few_of_each(everybody, 1, seed))
        found.append(worth(space, "one image of each", single, enough, rule, curves.get(space)))
        seen = cameras[embedded.described if space == "text" else own]
        if by_camera := list(_by_camera(question, cameras, seen)):
            found.append(worth(space, "one camera", Pages.joined(by_camera), enough, rule, curves.get(space)))
    return found


def _by_camera(question: Question, cameras: Names, seen: Names) -> Iterator[Pages]:
    """What a filter by camera leaves: each camera, asked for the people in it by what other cameras saw of them."""
    for camera in sorted(set(cameras.tolist()) - {""}):
        pages = read_pages(question, cameras == camera)
        pages = pages.of(seen[pages.rows] != camera)
        if len(pages.people):
            yield pages


def worth(
    space: Space, gallery: str, pages: Pages, enough: Flags, rule: PresenceRule, curve: ConfidenceCurve | None
) -> Worth:
    """What a rule's answers are worth; `enough` says of every query whether it has words enough to miss somebody."""
    fit = Fit.of(rule)
    present, absent = fit.confidences(pages.present, pages.images[0]), fit.confidences(pages.absent, pages.images[1])
    error, brier = calibration_of(pages, present, absent)
    here = np.isfinite(pages.present)
    firsts = np.concatenate([present[:, 0], absent[:, 0]])
    hits = np.concatenate([pages.right[:, 0], np.zeros(len(absent), bool)])
    return Worth(
        space=space,
        gallery=gallery,
        people=pages.identities,
        queries=len(pages.people),
        error=error,
        error_there=calibration_error(present[here], pages.right[here]),
        error_first=calibration_error(firsts, hits),
        error_curve=None if curve is None else calibration_of(pages, *_by_curve(curve, pages))[0],
        brier=brier,
        flagged_absent=float(((fit.presence(pages.absent, pages.images[1]) < fit.least) & enough[pages.rows]).mean()),
        flagged_present=float(((fit.presence(pages.present, pages.images[0]) < fit.least) & enough[pages.rows]).mean()),
        told=firsts,
        right=hits.astype(np.float64),
    )


def _by_curve(curve: ConfidenceCurve, pages: Pages) -> tuple[Floats, Floats]:
    def told(scores: Floats) -> Floats:
        return np.asarray(np.interp(scores, curve.scores, curve.probabilities), np.float64)

    return told(pages.present), told(pages.absent)


def draw(found: Sequence[Worth], out: Path) -> Path:
    """The reliability diagram of the first candidates: what was said against what came true, by gallery."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    spaces = list(dict.fromkeys(one.space for one in found))
    figure, panels = plt.subplots(2, len(spaces), figsize=(5.2 * len(spaces), 6.4), squeeze=False, sharex=True,
                                  gridspec_kw={"height_ratios": (3, 1)})  # fmt: skip
    for column, space in enumerate(spaces):
        upper, lower = panels[0][column], panels[1][column]
        upper.plot((0, 1), (0, 1), color="0.6", linewidth=1, linestyle="--")
        for one in (one for one in found if one.space == space):
            places = np.minimum((one.told * _BINS).astype(int), _BINS - 1)
            counts = np.bincount(places, minlength=_BINS)
            full = counts >= 20  # fewer say nothing
            said = np.bincount(places, one.told, _BINS)[full] / counts[full]
            came = np.bincount(places, one.right, _BINS)[full] / counts[full]
            (line,) = upper.plot(said, came, marker="o", markersize=3, linewidth=1.2,
                                 label=f"{one.gallery}: ECE {one.error_first:.3f}")  # fmt: skip
            lower.step(np.arange(_BINS + 1) / _BINS, np.append(counts, counts[-1]) / counts.sum(), where="post",
                       color=line.get_color(), linewidth=1)  # fmt: skip
        upper.set_title({"text": "descriptions", "image": "pictures"}[space])
        upper.set_ylabel("share that was the person")
        upper.legend(fontsize=8, loc="upper left")
        lower.set_xlabel("confidence of the first candidate")
        lower.set_ylabel("share of answers")
    figure.suptitle("First candidates, half of the people asked for not in the gallery", fontsize=10)
    figure.tight_layout()
    path = out / "reliability.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
