"""A split under one encoder, and what is measured on it: text to image, and image to image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from models.encoder import SPACES, PersonEncoder, Space
from training.datasets.images import ImageSource
from training.evaluation.metrics import AveragePrecision, Integers, Metrics, Removal, retrieval_metrics
from training.records import Record, pairs_of

_NOBODY = -1


class ExactScores:
    """Inner products of (Q, D) queries with a (G, D) gallery, block by block.

    Summed in double precision and then rounded to single, so that the same picture twice in a gallery ties exactly, and
    neither the block nor the number of threads moves a rank.
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        self._queries, self._gallery = queries, gallery.double().T
        self._sums, self._rounded = torch.empty(0, dtype=torch.float64), torch.empty(0)

    def __call__(self, first: int, last: int) -> Tensor:
        """(last - first, G) float32 scores of those queries. The next call writes over them."""
        block = self._queries[first:last].double()
        if len(block) > len(self._sums):
            # One pair of buffers for all blocks: freed and asked for again, they fragment the heap by gigabytes.
            self._sums = torch.empty(len(block), self._gallery.shape[1], dtype=torch.float64)
            self._rounded = torch.empty_like(self._sums, dtype=torch.float32)
        sums = torch.matmul(block, self._gallery, out=self._sums[: len(block)])
        return self._rounded[: len(block)].copy_(sums)


@dataclass(frozen=True, slots=True)
class Embedded:
    """All images (N, D) and descriptions (Q, D) of a split, unit-norm float32, in the order of its records.

    Attributes:
        images: gallery vectors that descriptions are compared with.
        portraits: (N, D') vectors that pictures are compared by: `images` itself where the encoder has one space.
        texts: vectors of the descriptions.
        described: (Q,) index of the record that each description is of.
        queries: the descriptions.
    """

    records: tuple[Record, ...]
    images: Tensor
    portraits: Tensor
    texts: Tensor
    described: Integers
    queries: tuple[str, ...]

    @property
    def gallery_ids(self) -> Integers:
        """(N,) identities of the images; -1 for distractors, who are nobody."""
        return np.array([_NOBODY if record.distractor else record.identity for record in self.records], dtype=np.int64)

    @property
    def query_ids(self) -> Integers:
        """(Q,) whom the descriptions are of."""
        return self.gallery_ids[self.described]

    def text_scores(self) -> ExactScores:
        """(first, last) -> (last - first, N) scores of those descriptions against all images."""
        return ExactScores(self.texts, self.images)

    def measure(self, average_precision: AveragePrecision = "standard") -> Metrics:
        """Text to image: every description is a query, every image is in the gallery, nothing is removed.

        Raises:
            NothingRelevantError: no description has a relevant image.
        """
        return retrieval_metrics(
            self.text_scores(), self.query_ids, self.gallery_ids, average_precision=average_precision
        )

    @property
    def has_two_spaces(self) -> bool:
        """Whether pictures are compared by other vectors than those that descriptions are compared with."""
        return self.portraits is not self.images

    def measure_images(self, average_precision: AveragePrecision = "standard", *, space: Space = "image") -> Metrics:
        """Image to image, by cosine, which ranks unit vectors as the Euclidean distance does.

        Queries and gallery are what the data set says, else every image is both. For each query the gallery's images
        of the same person by the same camera are removed; where any image has no camera, the query's own picture alone
        is (methods.md 3.2), and the metrics' protocol says so.

        Args:
            space: "text" compares pictures by the vectors that are meant for descriptions, to see what the others gain.

        Raises:
            NothingRelevantError: no query has a relevant image.
        """
        ids = self.gallery_ids
        asked = _where(r.role != "gallery" and not r.distractor for r in self.records)
        ranked = _where(r.role != "query" for r in self.records)
        cameras = all(record.camera is not None for record in self.records)
        keys = _codes([record.camera if cameras else str(record.path) for record in self.records])
        vectors = self.portraits if space == "image" else self.images
        return retrieval_metrics(
            ExactScores(vectors[torch.from_numpy(asked)], vectors[torch.from_numpy(ranked)]),
            ids[asked],
            ids[ranked],
            removal=Removal(keys[asked], keys[ranked]),
            protocol="image_to_image" if cameras else "image_to_image_without_cameras",
            average_precision=average_precision,
        )


def measure_pictures(embedded: Embedded, average_precision: AveragePrecision = "standard") -> dict[str, Metrics]:
    """Image to image by name: in the image space, and where that is not the text space, in the text space too.

    Raises:
        NothingRelevantError: no query has a relevant image.
    """
    rows = {"image_to_image": embedded.measure_images(average_precision)}
    if embedded.has_two_spaces:
        rows["image_to_image_in_text_space"] = embedded.measure_images(average_precision, space="text")
    return rows


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
    device = next(chain(encoder.parameters(), encoder.buffers())).device
    was_training = encoder.training
    encoder.eval()
    homes = {space: encoder.spec.stored(space) for space in SPACES}
    images: dict[Space, list[Tensor]] = {home: [] for home in homes.values()}
    for start in range(0, len(records), batch):
        pixels = source.get(range(start, min(start + batch, len(records))))
        encoded = encoder.encode_image(encoder.normalise(pixels.to(device)))
        for home, blocks in images.items():
            blocks.append(encoded[home].float().cpu())
        if progress:
            progress(min(start + batch, len(records)), len(records))
    pairs = pairs_of(records)
    texts = [torch.empty(0, encoder.spec.spaces["text"].dim)]
    for start in range(0, len(pairs), batch):
        ids = encoder.tokenize([text for _, text in pairs[start : start + batch]]).ids
        texts.append(encoder.encode_text(ids.to(device)).float().cpu())
    encoder.train(was_training)
    stored = {home: torch.cat(blocks) for home, blocks in images.items()}
    return Embedded(
        records=tuple(records),
        images=stored[homes["text"]],
        portraits=stored[homes["image"]],
        texts=torch.cat(texts),
        described=np.array([index for index, _ in pairs], dtype=np.int64),
        queries=tuple(text for _, text in pairs),
    )


def _where(wanted: Iterable[bool]) -> Integers:
    return np.flatnonzero(np.fromiter(wanted, dtype=bool)).astype(np.int64)


def _codes(labels: Sequence[str | None]) -> Integers:
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
