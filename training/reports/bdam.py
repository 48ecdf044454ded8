"""Pictures of a BDAM network on a split: its gates (seed 002, figure 3) and its features (figure 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from sklearn.manifold import TSNE
from torch import Tensor

from models.bdam import Bdam
from models.encoder import PersonEncoder
from training.captioning import split_description
from training.datasets.images import ImageSource
from training.objectives.decoupling import hsic
from training.records import Record
from training.reports.run import save_figure

mpl.use("Agg")
import matplotlib.pyplot as plt

Floats = npt.NDArray[np.float32]
GATES, FEATURES = "gates.png", "features.png"
_PEOPLE = 12
"""People whose features are drawn: more cannot be told apart by colour."""
_NEIGHBOURS = 30


@dataclass(frozen=True, slots=True)
class Decoupled:
    """What the network makes of a split's N images and the first description of each that has one.

    Attributes:
        gate: (N, D) in (0, 1), g.
        fusion: (M,) in (0, 1), w_1, the image's weight beside its own identity text, of the M described images.
        entangled: (N, E), the backbone's features before the module, averaged over their places.
        identity, clothing: (N, D), the gated features.
        identities: (N,).
    """

    gate: Floats
    fusion: Floats
    entangled: Floats
    identity: Floats
    clothing: Floats
    identities: npt.NDArray[np.int64]


@torch.inference_mode()
def decouple_split(encoder: Bdam, records: Sequence[Record], source: ImageSource, *, batch: int = 128) -> Decoupled:
    """Run the network over `records`, whose pictures `source` holds in order, on the encoder's device.

    Images without the module have no clothing features: (N, 0).
    """
    device = next(chain(encoder.parameters(), encoder.buffers())).device
    encoder.eval()
    columns: dict[str, list[Floats]] = {}
    for start in range(0, len(records), batch):
        rows = range(start, min(start + batch, len(records)))
        pixels = encoder.normalise(source.get(rows).to(device))
        for name, values in _read(encoder, pixels, [records[row] for row in rows]).items():
            columns.setdefault(name, []).append(values.float().cpu().numpy())
    whole = {name: np.concatenate(blocks) for name, blocks in columns.items()}
    return Decoupled(**whole, identities=np.array([record.identity for record in records], dtype=np.int64))


def _read(encoder: Bdam, pixels: Tensor, records: Sequence[Record]) -> dict[str, Tensor]:
    found = encoder.decouple(pixels)
    none = pixels.new_zeros(len(pixels), 0)
    described = [n for n, record in enumerate(records) if record.descriptions]
    fusion = pixels.new_zeros(0)
    if described:
        texts = [_identity_text(records[n].descriptions[0]) for n in described]
        text = encoder.fusion.text(encoder.backbone.text(encoder.tokenize(texts).ids.to(pixels.device)).pooled)
        weights = encoder.fusion.weights(encoder.fusion.image(found.identity_gated[described]), text)
        fusion = fusion if weights is None else weights[:, 0]
    return {
        "gate": none if found.gate is None else found.gate,
        "fusion": fusion,
        "entangled": encoder.backbone.image(pixels).pooled,
        "identity": found.identity_gated,
        "clothing": none if found.clothing_gated is None else found.clothing_gated,
    }


def _identity_text(caption: str) -> str:
    return split_description(caption).identity or caption


def draw_split(name: str, encoder: PersonEncoder, records: Sequence[Record], out: Path) -> list[Path]:
    """The pictures that there is something to draw for: a network without a gate has none of gates.

    Raises:
        ValueError: the encoder is not BDAM's.
    """
    if not isinstance(encoder, Bdam):
        raise ValueError(f"these are pictures of a BDAM network, not of {type(encoder).__name__}")
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    found = decouple_split(encoder, records, source)
    source.close()
    written = [plot_gates(name, found, out)] if found.gate.size or found.fusion.size else []
    return [*written, plot_features(name, found, out)] if found.clothing.size else written


def plot_gates(name: str, found: Decoupled, out: Path) -> Path:
    """Histograms of both gates (figure 3): what goes to identity and what to clothing, and image beside text.

    Writes `out/gates.png`. A gate that nothing was learnt for stands at 0.5.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    if found.gate.size:
        spread = found.gate.mean(axis=1).std()
        _histogram(left, found.gate.ravel(), ("g, identity", "1 - g, clothing"))
        left.set(title=f"decoupling gate; means of single images deviate by {spread:.3f}")
    if found.fusion.size:
        _histogram(right, found.fusion, ("image", "identity text"))
        right.set(title="fusion gate")
    figure.suptitle(f"{name}: gates on {len(found.identities):,} images")
    return save_figure(figure, out / GATES)


def plot_features(name: str, found: Decoupled, out: Path, *, people: int = _PEOPLE, seed: int = 0) -> Path:
    """t-SNE of features before the module, and of gated identity (dots) and clothing features (crosses); figure 4.

    Writes `out/features.png`. The two kinds come from two projections and so lie apart even before training: that they
    do says little. The HSIC of all images, in the title, is the measure; beside it that of features dealt out anew.

    Args:
        people: those with the most images are drawn.
    """
    numbers, counts = np.unique(found.identities, return_counts=True)
    chosen = numbers[np.argsort(-counts, kind="stable")[:people]]
    rows = np.flatnonzero(np.isin(found.identities, chosen))
    colours = np.searchsorted(np.sort(chosen), found.identities[rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    places = _embed(_unit(found.entangled[rows]), seed)
    left.scatter(*places.T, c=colours, cmap="tab20", s=22)
    left.set(title="before the module")
    both = np.concatenate([_unit(found.identity[rows]), _unit(found.clothing[rows])])
    places = _embed(both, seed)
    right.scatter(*places[: len(rows)].T, c=colours, cmap="tab20", s=22, marker="o", label="identity")
    right.scatter(*places[len(rows) :].T, c=colours, cmap="tab20", s=26, marker="x", label="clothing")
    value, chance = dependence(found, seed=seed)
    right.set(title=f"gated features; HSIC {value:.2g}, of shuffled ones {chance:.2g}")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set(xticks=[], yticks=[])
    figure.suptitle(f"{name}: t-SNE of {len(chosen)} people, {len(rows)} images; a colour is a person")
    return save_figure(figure, out / FEATURES)


def dependence(found: Decoupled, *, seed: int = 0) -> tuple[float, float]:
    """HSIC (eq 2) of the gated features of all images, and the same with the clothing of other images."""
    identity, clothing = torch.from_numpy(found.identity), torch.from_numpy(found.clothing)
    dealt = torch.randperm(len(clothing), generator=torch.Generator().manual_seed(seed))
    return float(hsic(identity, clothing)), float(hsic(identity, clothing[dealt]))


def _histogram(axes: Any, values: Floats, labels: tuple[str, str]) -> None:  # noqa: ANN401  matplotlib ships no types
    """Of weights, and of what they leave of 1."""
    for label, weights in zip(labels, (values, 1 - values), strict=True):
        words = f"{label}: mean {weights.mean():.3f}, deviation {weights.std():.3f}"
        axes.hist(weights, bins=np.linspace(0, 1, 81), density=True, alpha=0.55, label=words)
    axes.set(xlabel="weight", ylabel="density", xlim=(0, 1))
    axes.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    axes.legend(frameon=False)


def _embed(features: Floats, seed: int) -> Floats:
    """(n, 2) t-SNE places."""
    perplexity = max(1.0, min(_NEIGHBOURS, (len(features) - 1) / 3))
    placed: Floats = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return placed


def _unit(features: Floats) -> Floats:
    unit: Floats = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    return unit
