"""Text-to-image retrieval metrics: CMC Rank-k, mAP, mINP (methods.md 3.1).

Every description is a query, the gallery is every image of the split, nothing is removed. Ties are broken by gallery
index: `torch.argsort` is not stable by itself, and duplicates in a gallery would make Rank-1 depend on the library.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.encoder import PersonEncoder
from training.images import ImageSource
from training.records import Record, pairs_of

CURVE = 50


@dataclass(frozen=True, slots=True)
class Metrics:
    """Retrieval quality over the queries that have at least one relevant image; all values in percent.

    Attributes:
        r1, r5, r10: share of queries with a relevant image among the first 1, 5, 10.
        mean_ap: mean average precision; AP = mean over relevant images of (hits so far / rank).
        mean_inp: mean inverse negative penalty; relevant images / rank of the last one.
        queries: queries that were counted.
        skipped: queries without a relevant image in the gallery, which have no defined AP.
        curve: CMC at ranks 1 to 50.
    """

    r1: float
    r5: float
    r10: float
    mean_ap: float
    mean_inp: float
    queries: int
    skipped: int
    curve: tuple[float, ...]

    def to_dict(self) -> dict[str, float | int | list[float]]:
        """JSON-ready, under the field's names (R@1, mAP, ...)."""
        data = asdict(self)
        names = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "mean_ap": "mAP", "mean_inp": "mINP"}
        return {names.get(key, key): list(value) if key == "curve" else value for key, value in data.items()}


def retrieval_metrics(
    similarity: Callable[[int, int], Tensor],
    query_ids: npt.NDArray[np.int64],
    gallery_ids: npt.NDArray[np.int64],
    *,
    block: int = 512,
) -> Metrics:
    """Rank the gallery for each query and measure.

    Args:
        similarity: (first, last) -> (last - first, G) float scores of those queries; higher is better.
        query_ids, gallery_ids: identities, (Q,) and (G,).
        block: queries ranked at once; memory is about 20 bytes x block x G.

    Raises:
        ValueError: no query has a relevant gallery image.
    """
    gallery = torch.from_numpy(gallery_ids)
    first_hit: list[Tensor] = []
    precision: list[Tensor] = []
    penalty: list[Tensor] = []
    skipped = 0
    for start in range(0, len(query_ids), block):
        wanted = torch.from_numpy(query_ids[start : start + block])
        order = torch.sort(similarity(start, start + len(wanted)), dim=1, descending=True, stable=True).indices
        hits = gallery[order] == wanted[:, None]
        relevant = hits.sum(dim=1)
        hits, relevant = hits[relevant > 0], relevant[relevant > 0]
        skipped += len(wanted) - len(hits)
        ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
        precision.append(((hits.cumsum(dim=1) / ranks) * hits).sum(dim=1) / relevant)
        last = hits.shape[1] - hits.flip(1).to(torch.uint8).argmax(dim=1)
        penalty.append(relevant / last.double())
        first_hit.append(hits.to(torch.uint8).argmax(dim=1))
    first = torch.cat(first_hit) if first_hit else torch.empty(0)
    if not len(first):
        raise ValueError(f"none of the {len(query_ids)} queries has a relevant image in the gallery")
    curve = tuple(float((first < k).double().mean() * 100) for k in range(1, CURVE + 1))
    return Metrics(
        r1=curve[0],
        r5=curve[4],
        r10=curve[9],
        mean_ap=float(torch.cat(precision).mean() * 100),
        mean_inp=float(torch.cat(penalty).mean() * 100),
        queries=len(first),
        skipped=skipped,
        curve=curve,
    )


@dataclass(frozen=True, slots=True)
class Embedded:
    """A split under one encoder: gallery images (G, D), queries (Q, D), and whose they are."""

    images: Tensor
    texts: Tensor
    gallery_ids: npt.NDArray[np.int64]
    query_ids: npt.NDArray[np.int64]
    queries: tuple[str, ...]

    def measure(self) -> Metrics:
        """Text-to-image metrics of the split."""
        return retrieval_metrics(
            lambda first, last: self.texts[first:last] @ self.images.T, self.query_ids, self.gallery_ids
        )


@torch.inference_mode()
def embed_split(
    encoder: PersonEncoder,
    records: Sequence[Record],
    source: ImageSource,
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Encode all images and descriptions of `records`, whose pictures `source` holds in order, on the encoder's device.

    Args:
        progress: called with (done, all) images.
    """
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    home = encoder.spec.stored("text")
    images: list[Tensor] = []
    for start in range(0, len(records), batch):
        pixels = source.get(range(start, min(start + batch, len(records))))
        images.append(encoder.encode_image(encoder.normalise(pixels.to(device)))[home].float().cpu())
        if progress:
            progress(min(start + batch, len(records)), len(records))
    pairs = pairs_of(records)
    texts: list[Tensor] = []
    for start in range(0, len(pairs), batch):
        ids = encoder.tokenize([text for _, text in pairs[start : start + batch]]).ids
        texts.append(encoder.encode_text(ids.to(device)).float().cpu())
    encoder.train(was_training)
    return Embedded(
        images=torch.cat(images),
        texts=torch.cat(texts),
        gallery_ids=np.array([record.identity for record in records], dtype=np.int64),
        query_ids=np.array([records[index].identity for index, _ in pairs], dtype=np.int64),
        queries=tuple(text for _, text in pairs),
    )
