"""Do heat maps point at what a phrase names, and does support tell true phrases from untrue ones?

Measured on synthetic people, who are drawn again from a seed together with the part that each pixel shows. The
pointing game (J. Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016): a hit is a phrase whose
hottest place lies on the thing. Beside it, what needs no network: any place by chance (the region's share of the
picture), the middle of the picture, and the place where things of this kind are most often.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.descriptions.things import COMMON, alternatives
from models.encoder import PersonEncoder
from models.heat import heat
from models.overlay import overlay, spread
from models.support import support
from training.studies.occlusion import occlusion
from training.synthetic.attributes import Identity
from training.synthetic.person import Picture, identity_of, pictures_of
from training.synthetic.regions import REGIONS, Phrase, phrases_of

_FIRST = 2_000_000
"""People that are in no split of any set, and in no demo gallery."""
_PRIOR_PEOPLE, _PRIOR_GRID = 40, (48, 20)
_PICTURES = 4
_SHEET_ROW = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A phrase and the picture that it was said of."""

    phrase: Phrase
    identity: Identity
    picture: Picture

    @property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.picture.jpeg)).convert("RGB")


@dataclass(frozen=True, slots=True)
class Pointing:
    """Shares of phrases, in [0, 1], of one kind of thing or of all; `occlusion` only where it was asked for."""

    phrases: int
    heat: float
    chance: float
    centre: float
    prior: float
    occlusion: float | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """What was measured.

    Attributes:
        kinds: pointing by kind of thing; "all" is over all phrases.
        phrases, pairs: phrases and (phrase, picture) pairs of the figures below.
        cosine, support: by "all", "coloured" and "plain" phrases, the area under the ROC curve of true phrases against
            untrue ones, all pairs together.
    """

    kinds: dict[str, Pointing]
    phrases: int
    pairs: int
    cosine: dict[str, float]
    support: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def cases(seed: int, count: int) -> list[Case]:
    """That many phrases of people whom no split has, the same for the same seed; a phrase a picture and kind."""
    return list(islice(_cases(seed), count))


def _cases(seed: int) -> Iterator[Case]:
    number = _FIRST
    while True:
        identity = identity_of(seed, "test", number)
        for picture in pictures_of(identity, seed, "test", number, _PICTURES):
            found: dict[str, Phrase] = {}
            for caption in picture.captions:
                for phrase in phrases_of(caption):
                    found.setdefault(phrase.kind, phrase)
            yield from (Case(phrase, identity, picture) for phrase in found.values())
        number += 1


def explain(
    encoder: PersonEncoder,
    chosen: Sequence[Case],
    seed: int,
    progress: Progress | None = None,
    *,
    with_occlusion: bool = False,
) -> Explained:
    """Measure an encoder on phrases; with occlusion beside the heat, which takes forty times as long.

    Raises:
        NotExplainableError: its network has no places.
    """
    phrases, pairs, cosine, told = _support(encoder, chosen)
    kinds = _pointing(encoder, chosen, seed, progress, with_occlusion=with_occlusion)
    return Explained(kinds, phrases, pairs, cosine, told)


@dataclass(slots=True)
class _Tally:
    """Sums over the phrases of one kind, in the order of `Pointing`'s shares."""

    count: int = 0
    sums: list[float] = field(default_factory=list)

    def add(self, shares: Sequence[float]) -> None:
        self.count += 1
        self.sums = [total + share for total, share in zip(self.sums or [0.0] * len(shares), shares, strict=True)]

    def result(self) -> Pointing:
        return Pointing(self.count, *(total / self.count for total in self.sums))


def _pointing(
    encoder: PersonEncoder, chosen: Sequence[Case], seed: int, progress: Progress | None, *, with_occlusion: bool
) -> dict[str, Pointing]:
    priors, common = _priors(seed), encode(encoder, COMMON).mean(dim=0)
    tallies: dict[str, _Tally] = {}
    for number, case in enumerate(chosen, 1):
        region = case.phrase.region(case.picture.ids)
        direction = encode(encoder, [case.phrase.text])[0] - common
        pixels = encoder.preprocess(case.image)
        values = heat(encoder, pixels, direction).values
        middle = region[region.shape[0] // 2, region.shape[1] // 2]
        hits = [
            float(points_at(values, region)),
            float(region.mean()),
            float(middle),
            float(points_at(priors[case.phrase.kind], region)),
        ]
        if with_occlusion:
            hits.append(float(points_at(occlusion(encoder, pixels, direction), region)))
        for kind in ("all", case.phrase.kind):
            tallies.setdefault(kind, _Tally()).add(hits)
        if progress is not None:
            progress(number, len(chosen))
    return {kind: tally.result() for kind, tally in tallies.items()}


def points_at(values: torch.Tensor, region: NDArray[np.bool_]) -> bool:
    """Whether the hottest place of a heat map (rows, columns), spread over the picture, lies in the region."""
    rows, columns = region.shape
    return bool(region.flat[int(spread(values, (columns, rows)).argmax())])


def _priors(seed: int) -> dict[str, torch.Tensor]:
    """How often each place shows a thing of a kind, over pictures of other people that are described as showing it."""
    rows, columns = _PRIOR_GRID
    sums: dict[str, NDArray[np.float64]] = {}
    for number in range(_FIRST - _PRIOR_PEOPLE, _FIRST):
        identity = identity_of(seed, "test", number)
        for picture in pictures_of(identity, seed, "test", number, _PICTURES):
            for phrase in (phrase for caption in picture.captions for phrase in phrases_of(caption)):
                shown = Image.fromarray(phrase.region(picture.ids).astype(np.uint8) * 255)
                small = np.asarray(shown.resize((columns, rows), Image.Resampling.BOX), np.float64)
                sums[phrase.kind] = sums.get(phrase.kind, np.zeros(_PRIOR_GRID)) + small
    empty = torch.zeros(_PRIOR_GRID)
    return {kind: torch.from_numpy(sums[kind]).float() if kind in sums else empty for kind in REGIONS}


def _support(encoder: PersonEncoder, chosen: Sequence[Case]) -> tuple[int, int, dict[str, float], dict[str, float]]:
    pictures = {id(case.picture): case for case in chosen}
    shown = list(pictures.values())
    vectors = _encode_pictures(encoder, [case.image for case in shown])
    usual = (vectors @ encode(encoder, COMMON).T).tolist()
    scores: dict[str, list[float]] = {"all": [], "coloured": [], "plain": []}
    supports: dict[str, list[float]] = {name: [] for name in scores}
    truths: dict[str, list[bool]] = {name: [] for name in scores}
    phrases = {case.phrase: None for case in chosen}
    for phrase in phrases:
        if (others := alternatives(phrase.text)) is None:
            continue
        found = (vectors @ encode(encoder, [phrase.text, *others.phrases]).T).tolist()
        last = 1 + len(others.colours)
        group = "coloured" if any(name.endswith("_colour") for name, _ in phrase.says) else "plain"
        for case, row, common in zip(shown, found, usual, strict=True):
            if (truth := phrase.true_of(case.identity, case.picture.sight)) is None:
                continue
            stands_out = support(row[0], row[1:last], row[last:], common)
            for name in ("all", group):
                scores[name].append(row[0])
                supports[name].append(stands_out)
                truths[name].append(truth)
    areas = [
        {name: area_under_curve(np.array(values[name]), np.array(truths[name])) for name in scores if truths[name]}
        for values in (scores, supports)
    ]
    return len(phrases), len(truths["all"]), areas[0], areas[1]


def area_under_curve(values: NDArray[np.float64], truths: NDArray[np.bool_]) -> float:
    """The probability that a true one has a higher value than an untrue one; equal values count half."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    true, untrue = int(truths.sum()), int((~truths).sum())
    if not true or not untrue:
        return float("nan")
    return float((ranks[truths].sum() - true * (true + 1) / 2) / (true * untrue))


@torch.no_grad()
def encode(encoder: PersonEncoder, texts: Sequence[str]) -> torch.Tensor:
    """Vectors (n, dim) of texts, on the CPU."""
    device = next(encoder.parameters(), torch.empty(0)).device
    return encoder.encode_text(encoder.tokenize(texts).ids.to(device)).float().cpu()


@torch.no_grad()
def _encode_pictures(encoder: PersonEncoder, images: Sequence[Image.Image], batch: int = 64) -> torch.Tensor:
    device = next(encoder.parameters(), torch.empty(0)).device
    found = []
    for start in range(0, len(images), batch):
        pixels = torch.stack([encoder.preprocess(image) for image in images[start : start + batch]])
        found.append(encoder.encode_image(encoder.normalise(pixels.to(device)))["text"].float().cpu())
    return torch.cat(found)


def draw_sheet(encoder: PersonEncoder, chosen: Sequence[Case], path: Path, *, seed: int, count: int = 24) -> Path:
    """Write overlays of some phrases for people to judge; the frame is green for a hit, red for a miss."""
    from PIL import ImageDraw

    some = Random(seed).sample(list(chosen), min(count, len(chosen)))
    common, wide, high = encode(encoder, COMMON).mean(dim=0), 120, 290
    sheet = Image.new("RGB", (wide * _SHEET_ROW, high * -(-len(some) // _SHEET_ROW)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, case in enumerate(some):
        direction = encode(encoder, [case.phrase.text])[0] - common
        values = heat(encoder, encoder.preprocess(case.image), direction).values
        hit = points_at(values, case.phrase.region(case.picture.ids))
        x, y = wide * (number % _SHEET_ROW), high * (number // _SHEET_ROW)
        pen.rectangle((x, y, x + wide - 3, y + 250), fill="green" if hit else "red")
        sheet.paste(overlay(case.image.resize((wide - 9, 244)), values), (x + 3, y + 3))
        words = case.phrase.text
        pen.text((x + 2, y + 253), words[:19] + "\n" + words[19:40], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path
