"""One loaded encoder: queries through micro-batching queues, the gallery in plain batches.

On a CPU the gallery is encoded by one thread a core, each with a batch of its own. Several cores within one batch
wait for each other at every layer: on a machine that has other work too (the decoding of the same pictures, say) that
took between 1 and 8 times as long. `torch.set_num_threads` counts for the thread that calls it.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.embedding.batcher import Batcher
from app.embedding.device import resolve_device
from app.embedding.runtimes.opening import open_runtime
from app.settings import Settings
from models.checkpoint import load_checkpoint
from models.encoder import PersonEncoder, Space

Vectors = NDArray[np.float32]
_CORES = len(os.sched_getaffinity(0))
_CPU_BATCH = 16
"""Pictures in one pass on one core: more are no faster, and fewer leave less to wait for at the end of a chunk."""
_SMALL = 20_000_000
"""Parameters below which one core answers a query faster than several do."""


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """An encoded description, and what the tokenizer made of it.

    Attributes:
        vector: (dim,) float32, unit-norm, in the `text` space.
        unknown: words that the model has never seen.
        corrected: (typed, read as) pairs.
        truncated: whether the end was cut off.
        empty: whether the model knows no word of it; the vector then means nothing.
        unused: the words that were cut off.
    """

    vector: Vectors
    unknown: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...]
    truncated: bool
    empty: bool
    unused: str = ""


class EncoderService:
    """An encoder on its device. Methods may be called from any thread."""

    def __init__(self, encoder: PersonEncoder, settings: Settings) -> None:
        self.encoder = encoder
        self.spec = encoder.spec
        self.device = next(encoder.parameters(), torch.empty(0)).device
        self._runtime = open_runtime(encoder, settings)
        self._encode_batch = settings.encode_batch
        self._device_lock = threading.Lock()
        weights = sum(parameter.numel() for parameter in encoder.parameters())
        self._query_threads = 1 if weights < _SMALL else _CORES
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

    @property
    def batch_size(self) -> int:
        """How many pictures `encode_here` should get at once."""
        return min(self._encode_batch, _CPU_BATCH) if self.device.type == "cpu" else self._encode_batch

    def encode_here(self, pixels: Sequence[Tensor]) -> dict[Space, Vectors]:
        """`encode_images` for callers with many threads: one pass, which on a CPU uses the calling thread alone."""
        batch = torch.stack(list(pixels))
        if self.device.type == "cpu":
            done = self._forward_alone(batch)
        else:
            with self._device_lock:  # the activations of one pass are in its memory, not those of one a thread
                done = self._runtime.encode_image(batch)
        return {space: _array(done[space]) for space in self.spec.stored_spaces}

    def encode_images(self, pixels: Sequence[Tensor]) -> dict[Space, Vectors]:
        """Encode gallery pictures (each (3, H, W) uint8, from `encoder.preprocess`).

        Returns:
            For each stored space (N, dim) float32, unit-norm, in the order given.
        """
        size = self._encode_batch
        if self.device.type == "cpu":  # two batches a core, so that a core with other work does not hold up the rest
            size = max(1, min(size, -(-len(pixels) // (2 * _CORES))))
        batches = [torch.stack(list(pixels[start : start + size])) for start in range(0, len(pixels), size)]
        if self.device.type == "cpu":
            with ThreadPoolExecutor(_CORES, thread_name_prefix="descry-encode") as pool:
                done = list(pool.map(self._forward_alone, batches))
        else:
            done = [self._runtime.encode_image(batch) for batch in batches]
        return {
            space: np.concatenate(
                [np.empty((0, self.spec.spaces[space].dim), np.float32), *(_array(part[space]) for part in done)]
            )
            for space in self.spec.stored_spaces
        }

    def encode_descriptions(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Encode descriptions of the gallery, in the order given, beside those that wait in the queue."""
        pieces = [texts[start : start + self._encode_batch] for start in range(0, len(texts), self._encode_batch)]
        with ThreadPoolExecutor(_CORES if self.device.type == "cpu" else 1, thread_name_prefix="descry-encode") as pool:
            return [embedding for part in pool.map(self._encode_texts_alone, pieces) for embedding in part]

    def close(self) -> None:
        """Answer what is queued, then end the worker threads."""
        self._texts.close()
        self._pictures.close()

    def _encode_texts(self, texts: Sequence[str]) -> list[TextEmbedding]:
        torch.set_num_threads(self._query_threads)
        return self._understood(texts)

    def _encode_texts_alone(self, texts: Sequence[str]) -> list[TextEmbedding]:
        torch.set_num_threads(1)
        return self._understood(texts)

    def _understood(self, texts: Sequence[str]) -> list[TextEmbedding]:
        tokens = self.encoder.tokenize(texts)
        vectors = _array(self._runtime.encode_text(tokens.ids))
        return [
            TextEmbedding(
                vectors[i],
                tokens.unknown[i],
                tokens.corrected[i],
                tokens.truncated[i],
                tokens.empty[i],
                self.encoder.tokenizer.unused(text) if tokens.truncated[i] else "",
            )
            for i, text in enumerate(texts)
        ]

    def _encode_pictures(self, pixels: Sequence[Tensor]) -> list[Vectors]:
        torch.set_num_threads(self._query_threads)
        return list(_array(self._runtime.encode_image(torch.stack(list(pixels)))[self.spec.stored("image")]))

    def _forward_alone(self, pixels: Tensor) -> dict[Space, Tensor]:
        torch.set_num_threads(1)
        return self._runtime.encode_image(pixels)


def _array(vectors: Tensor) -> Vectors:
    return np.asarray(vectors.numpy(), np.float32)
