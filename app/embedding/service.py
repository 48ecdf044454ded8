"""One loaded encoder: queries through micro-batching queues, the gallery in plain batches."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.embedding.batcher import Batcher
from app.embedding.device import resolve_device
from app.settings import Settings
from models.checkpoint import load_checkpoint
from models.encoder import PersonEncoder, Space

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """An encoded description, and what the tokenizer made of it.

    Attributes:
        vector: (dim,) float32, unit-norm, in the `text` space.
        unknown: words that the model has never seen.
        corrected: (typed, read as) pairs.
        truncated: whether the end was cut off.
        empty: whether the model knows no word of it; the vector then means nothing.
    """

    vector: Vectors
    unknown: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...]
    truncated: bool
    empty: bool


class EncoderService:
    """An encoder on its device. Methods may be called from any thread."""

    def __init__(self, encoder: PersonEncoder, settings: Settings) -> None:
        self.encoder = encoder
        self.spec = encoder.spec
        self.device = next(encoder.parameters(), torch.empty(0)).device
        self._encode_batch = settings.encode_batch
        self._texts = Batcher(
            self._encode_texts, batch=settings.query_batch, waiting=settings.query_queue, name="descry-encode-text"
        )
        self._pictures = Batcher(
            self._encode_pictures, batch=settings.query_batch, waiting=settings.query_queue, name="descry-encode-image"
        )

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> "EncoderService":
        """Load a checkpoint on the device of the settings.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
            ConfigurationError: the device does not exist.
        """
        return cls(load_checkpoint(folder, device=resolve_device(settings.device)), settings)

    def submit_text(self, text: str) -> "Future[TextEmbedding]":
        """Queue one description.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        return self._texts.submit(text)

    def submit_picture(self, pixels: Tensor) -> "Future[Vectors]":
        """Queue one preprocessed picture (3, H, W) uint8 as a query: its (dim,) vector in the `image` space.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        return self._pictures.submit(pixels)

    def encode_images(self, pixels: Sequence[Tensor]) -> dict[Space, Vectors]:
        """Encode gallery pictures (each (3, H, W) uint8, from `encoder.preprocess`).

        Returns:
            For each stored space (N, dim) float32, unit-norm, in the order given.
        """
        parts: dict[Space, list[Vectors]] = {space: [] for space in self.spec.stored_spaces}
        for start in range(0, len(pixels), self._encode_batch):
            vectors = self._forward(torch.stack(list(pixels[start : start + self._encode_batch])))
            for space in parts:
                parts[space].append(vectors[space].float().cpu().numpy())
        empty = {space: np.empty((0, self.spec.spaces[space].dim), np.float32) for space in parts}
        return {space: np.concatenate([empty[space], *found]) for space, found in parts.items()}

    def close(self) -> None:
        """Answer what is queued, then end the worker threads."""
        self._texts.close()
        self._pictures.close()

    def _encode_texts(self, texts: Sequence[str]) -> list[TextEmbedding]:
        tokens = self.encoder.tokenize(texts)
        with torch.inference_mode():
            vectors = self.encoder.encode_text(tokens.ids.to(self.device)).float().cpu().numpy()
        return [
            TextEmbedding(vectors[i], tokens.unknown[i], tokens.corrected[i], tokens.truncated[i], tokens.empty[i])
            for i in range(len(texts))
        ]

    def _encode_pictures(self, pixels: Sequence[Tensor]) -> list[Vectors]:
        vectors = self._forward(torch.stack(list(pixels)))[self.spec.stored("image")].float().cpu().numpy()
        return list(vectors)

    def _forward(self, pixels: Tensor) -> dict[Space, Tensor]:
        with torch.inference_mode():
            return self.encoder.encode_image(self.encoder.normalise(pixels.to(self.device)))
