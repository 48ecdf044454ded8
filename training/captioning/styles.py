"""Manners of writing among existing captions: DBSCAN over embeddings (seed 002, section 3.3), as prompts for a model.

A caption's content would decide its place more than its manner. HAM has a language model replace attributes by vague
words; here the scene graph replaces things and attributes by one everyday word of their kind.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.descriptions import parse
from training.captioning import lexicon
from training.captioning.prompts import Style, styled
from training.errors import DescriptionsError

if TYPE_CHECKING:
    from models.encoder import PersonEncoder

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts to (N, D) vectors of any length."""
_NEUTRAL = (
    (lexicon.PEOPLE, "person"),
    (lexicon.FEATURES, "hair"),
    (lexicon.LOWER, "pants"),
    (lexicon.FOOTWEAR, "shoes"),
    (lexicon.CARRIED, "bag"),
    (lexicon.ACCESSORIES, "hat"),
)
_ATTRIBUTE, _THING = "black", "shirt"


@dataclass(frozen=True, slots=True)
class Clusters:
    """What clustering found, and what was done about it.

    Attributes:
        labels: (N,) cluster of each caption, from 0; 0 is the largest. Noise has been reassigned.
        eps: the radius that was used.
        found: clusters of DBSCAN before small ones were merged.
        noise: captions that DBSCAN left out. merged: captions in clusters that were too small.
    """

    labels: NDArray[np.int64]
    eps: float
    found: int
    noise: int
    merged: int

    @property
    def sizes(self) -> list[int]:
        """Captions in each cluster."""
        return [int(size) for size in np.bincount(self.labels)]


def text_embedder(encoder: "PersonEncoder", *, batch: int = 256) -> Embed:
    """The text tower of any Descry checkpoint."""
    import torch

    def embed(texts: Sequence[str]) -> Floats:
        encoder.eval()
        with torch.inference_mode():
            parts = [
                encoder.encode_text(encoder.tokenize(texts[start : start + batch]).ids).float().numpy()
                for start in range(0, len(texts), batch)
            ]
        return np.concatenate(parts)

    return embed


def neutral(text: str) -> str:
    """The caption with the words of its content replaced: what is left is how it is said."""
    graph, swaps = parse(text), {}
    for entity in graph.entities:
        word = entity.head.of(text).lower().split(" ")[-1]
        swaps[entity.head] = next((plain for words, plain in _NEUTRAL if word in words), _THING)
        swaps.update(dict.fromkeys(entity.attributes, _ATTRIBUTE))
    for span in sorted(swaps, reverse=True):
        text = text[: span.start] + swaps[span] + text[span.end :]
    return text


def k_distance(vectors: Floats, weights: NDArray[np.int64], k: int) -> float:
    """DBSCAN's radius: the knee of the sorted distances to the k-th neighbour (Ester et al. 1996, section 4.2), where
    the curve is farthest from the line between its ends. The point itself counts, as in scikit-learn's min_samples.

    Args:
        vectors: (N, D). weights: (N,) how often each occurs.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(k, len(vectors))
    distances, neighbours = NearestNeighbors(n_neighbors=count).fit(vectors).kneighbors(vectors)
    enough = (np.cumsum(weights[neighbours], axis=1) >= k).argmax(axis=1)
    enough[weights[neighbours].sum(axis=1) < k] = count - 1
    curve = np.sort(np.repeat(distances[np.arange(len(vectors)), enough], weights))
    span = float(curve[-1] - curve[0])
    if span <= 0.0:
        return max(float(curve[-1]), 1e-6)
    height = (curve - curve[0]) / span
    knee = int(np.argmax(np.linspace(0.0, 1.0, len(curve)) - height))
    return max(float(curve[knee]), 1e-6)


def cluster(vectors: Floats, *, eps: float | None, min_samples: int, least: int) -> Clusters:
    """DBSCAN; clusters smaller than `least` go to the nearest, smallest first, then noise does (by centroids). Nothing
    is drawn at random.

    Args:
        vectors: (N, D), any length; compared by Euclidean distance of unit vectors.
        eps: None takes `k_distance`.

    Raises:
        DescriptionsError: no captions.
    """
    from sklearn.cluster import DBSCAN

    if not len(vectors):
        raise DescriptionsError("there are no captions to find styles in")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    # Rounding keeps equal captions equal, whatever the batch that they were encoded in.
    points, place, weights = np.unique(unit.round(5), axis=0, return_inverse=True, return_counts=True)
    radius = eps if eps is not None else k_distance(points, weights, min_samples)
    fitted = DBSCAN(eps=radius, min_samples=min_samples).fit(points, sample_weight=weights)
    raw = fitted.labels_[place.reshape(-1)].astype(np.int64)
    labels, merged = _merged(unit, raw, least)
    found, noise = len(set(raw.tolist()) - {-1}), int((raw == -1).sum())
    return Clusters(_reassigned(unit, labels), float(radius), found, noise, merged)


def _merged(unit: Floats, labels: NDArray[np.int64], least: int) -> tuple[NDArray[np.int64], int]:
    labels, moved = labels.copy(), np.zeros(len(labels), dtype=bool)
    while True:
        sizes = Counter(labels[labels >= 0].tolist())
        if len(sizes) < 2:
            break
        small, size = min(sizes.items(), key=lambda item: (item[1], item[0]))
        if size >= least:
            break
        others = sorted(set(sizes) - {small})
        centres = np.stack([unit[labels == other].mean(axis=0) for other in others])
        nearest = others[int(np.linalg.norm(centres - unit[labels == small].mean(axis=0), axis=1).argmin())]
        moved |= labels == small
        labels[labels == small] = nearest
    return labels, int(moved.sum())


def _reassigned(unit: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Noise to the nearest centroid; clusters renumbered by size, the larger first."""
    names = sorted(set(labels.tolist()) - {-1})
    if not names:
        return np.zeros_like(labels)
    centres = np.stack([unit[labels == name].mean(axis=0) for name in names])
    dense = np.searchsorted(names, labels)
    for index in np.flatnonzero(labels == -1):
        dense[index] = int(np.linalg.norm(centres - unit[index], axis=1).argmin())
    sizes = np.bincount(dense, minlength=len(names))
    order = np.argsort(-sizes, kind="stable")
    return np.argsort(order, kind="stable")[dense].astype(np.int64)


def exemplars(texts: Sequence[str], vectors: Floats, labels: NDArray[np.int64], count: int) -> list[tuple[str, ...]]:
    """For each cluster the captions nearest to its centroid, each text once."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    chosen: list[tuple[str, ...]] = []
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        order = np.argsort(np.linalg.norm(unit[members] - unit[members].mean(axis=0), axis=1).round(5), kind="stable")
        chosen.append(tuple(dict.fromkeys(texts[members[index]] for index in order))[:count])
    return chosen


def find_styles(
    texts: Sequence[str],
    embed: Embed,
    *,
    seed: int,
    sample: int = 20_000,
    eps: float | None = None,
    min_samples: int = 5,
    least_share: float = 0.01,
    examples: int = 5,
    neutralise: bool = True,
) -> tuple[list[Style], dict[str, Any]]:
    """The styles of these captions, largest first, and a report of how they were found.

    Args:
        seed, sample: at most so many captions are clustered, drawn by the seed; DBSCAN's memory grows with them.
        least_share: a cluster with a smaller share of the captions is merged into its nearest.
        neutralise: embed `neutral` captions.

    Raises:
        DescriptionsError: no captions, or an encoder that gives no finite vectors.
    """
    if not texts:
        raise DescriptionsError("there are no captions to find styles in")
    rng = np.random.default_rng(seed)
    picked = np.sort(rng.choice(len(texts), size=min(sample, len(texts)), replace=False))
    chosen = [" ".join(texts[index].split()) for index in picked]
    vectors = np.asarray(embed([neutral(text) for text in chosen] if neutralise else chosen), dtype=np.float32)
    if vectors.shape[0] != len(chosen) or not np.isfinite(vectors).all():
        raise DescriptionsError("the encoder does not give a finite vector for each caption")
    clusters = cluster(
        vectors, eps=eps, min_samples=min_samples, least=max(min_samples, round(least_share * len(chosen)))
    )
    shown = exemplars(chosen, vectors, clusters.labels, examples)
    styles = [styled(number, texts) for number, texts in enumerate(shown)]
    report = {
        "captions": len(chosen),
        "seed": seed,
        "eps": clusters.eps,
        "min_samples": min_samples,
        "clusters_found": clusters.found,
        "noise_reassigned": clusters.noise,
        "merged": clusters.merged,
        "sizes": clusters.sizes,
    }
    return styles, report


def write_styles(file: Path, styles: Sequence[Style], report: dict[str, Any]) -> None:
    """Write styles and report as JSON."""
    rows = [{"name": style.name, "prompt": style.prompt} for style in styles]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**report, "styles": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_styles(file: Path) -> list[Style]:
    """Read `write_styles`' file.

    Raises:
        DescriptionsError: it is missing or no such file.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["styles"]
        styles = [Style(str(row["name"]), str(row["prompt"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DescriptionsError(f"{file} is no file of styles ({error}); `describe styles` writes one") from error
    if not styles:
        raise DescriptionsError(f"{file} has no styles")
    return styles


def styles_of(image: str, styles: Sequence[Style], count: int) -> list[Style]:
    """Which styles an image is described in: by its hash, so that neither order nor resume changes them."""
    first = int(image[:12], 16) % len(styles)
    return [styles[(first + step) % len(styles)] for step in range(min(count, len(styles)))]
