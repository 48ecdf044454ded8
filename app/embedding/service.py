"""One loaded encoder: queries through micro-batching queues, the gallery in plain batches.

On a CPU the gallery is encoded by one thread a core, each with a batch of its own. Several cores within one batch
wait for each other at every layer: on a machine that has other work too (the decoding of the same pictures, say) that
took between 1 and 8 times as long. `torch.set_num_threads` counts for the thread that calls it.

Every pass runs in batches that fit into memory (`memory`), and under the eyes of the watchdog (decision 0025).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.embedding.batcher import Batcher, Guarding
from app.embedding.cache import TextCache, TextEmbedding, TextKey
from app.embedding.device import resolve_device
from app.embedding.memory import Fitting
from app.embedding.runtimes.opening import open_runtime
from app.embedding.watchdog import WATCHDOG, give_up
from app.errors import EncoderFailedError, ServiceError
from app.lanes import cores
from app.metrics.instruments import observe_wait
from app.settings import Settings
from models.checkpoint import load_checkpoint
from models.encoder import PersonEncoder, Space
from models.tokenizers import TokenizedTexts

__all__ = ["EncoderService", "TextEmbedding", "Vectors"]
R = TypeVar("R")
Vectors = NDArray[np.float32]
_log = logging.getLogger(__name__)
_CORES = cores()
_CPU_BATCH = 16
"""Pictures in one pass on one core: more are no faster, and fewer leave less to wait for at the end of a chunk."""
_SMALL = 20_000_000
"""Parameters below which one core answers a query faster than several do."""
_CHARS_A_TOKEN = 5
_PASS_TOKENS = 24
"""What a pass of texts costs beside its tokens: about as much as so many (the weights are read once)."""
_GALLERY_STALLS = 15
"""How many times longer than a query's a pass of the gallery may take before it counts as hung."""
_WARM_TOKENS = (4, 8, 16, 24, 32, 48, 64)
_WARM_UP_S = 6.0
"""Seconds that the passes before the first query may take."""
_BROKEN = ("cuda error", "cublas_status", "cudnn_status", "device-side assert", "illegal memory access")
"""Words of errors after which no pass of this process succeeds any more."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A text that waits, and what it is kept under; None if it is to be encoded in any case."""

    text: str
    key: TextKey | None


class EncoderService:
    """An encoder on its device. Methods may be called from any thread."""

    def __init__(self, encoder: PersonEncoder, settings: Settings) -> None:
        self.encoder = encoder
        self.spec = encoder.spec
        self.device = next(encoder.parameters(), torch.empty(0)).device
        self.cache = TextCache(settings.query_cache_bytes)
        self.used_at = time.monotonic()
        """When the last pass began or ended."""
        self._runtime = open_runtime(encoder, settings)
        self._encode_batch, self._query_batch = settings.encode_batch, settings.query_batch
        self._gallery_stall_s = _GALLERY_STALLS * settings.encoder_stall_s
        self._device_lock = threading.Lock()
        self._fit_texts, self._fit_pictures = Fitting("texts"), Fitting("pictures")
        weights = sum(parameter.numel() for parameter in encoder.parameters())
        self._query_threads = 1 if weights < _SMALL else max(1, _CORES // settings.processes)
        most, patience = settings.query_queue, settings.query_timeout_s
        self._texts: Batcher[_Asked, TextEmbedding] = Batcher(
            self._encode_texts,
            batch=settings.query_batch,
            waiting=most,
            name="descry-encode-text",
            size=self._tokens,
            overhead=_PASS_TOKENS,
            patience_s=patience,
            guarding=Guarding(settings.encoder_stall_s, self._try_text),
            waited=observe_wait,
        )
        self._pictures: Batcher[Tensor, Vectors] = Batcher(
            self._encode_pictures,
            batch=settings.query_batch,
            waiting=most,
            name="descry-encode-image",
            patience_s=patience,
            guarding=Guarding(settings.encoder_stall_s, self._try_picture),
            waited=observe_wait,
        )

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> "EncoderService":
        """Load a checkpoint on the device of the settings.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
            ConfigurationError: the device does not exist.
        """
        return cls(load_checkpoint(folder, device=resolve_device(settings.device)), settings)

    @property
    def trouble(self) -> str | None:
        """Why queries are not answered at present, if that is so."""
        return self._texts.trouble or self._pictures.trouble

    @property
    def closed(self) -> bool:
        """Whether it takes no queries any more."""
        return self._texts.closed

    @property
    def waiting(self) -> dict[str, int]:
        """Items in each queue now."""
        return {"texts": self._texts.waiting, "pictures": self._pictures.waiting}

    @property
    def stats(self) -> dict[str, Any]:
        """Counters since the encoder was loaded, for people who look after it."""
        return {
            "texts": asdict(self._texts.counts),
            "pictures": asdict(self._pictures.counts),
            "cache": {"hits": self.cache.hits, "misses": self.cache.misses, "bytes": self.cache.size},
            "halvings": self._fit_texts.halvings + self._fit_pictures.halvings,
        }

    def submit_text(self, text: str, *, probe: bool = False) -> "Future[TextEmbedding]":
        """Queue one description; what was encoded of late is answered at once, except to a `probe`.

        The future may raise `EncoderTimeoutError`, `EncoderStalledError`, `EncoderFailedError`, `EncoderMemoryError`.

        Raises:
            EncoderBusyError: too many are waiting.
            EncoderStalledError: the encoder hangs.
        """
        key = None if probe else self.cache.key(text)
        if (known := self.cache.get(key)) is not None:
            answered: Future[TextEmbedding] = Future()
            answered.set_result(known)
            return answered
        return self._texts.submit(_Asked(text, key))

    def submit_picture(self, pixels: Tensor) -> "Future[Vectors]":
        """Queue one preprocessed picture (3, H, W) uint8 as a query: its (dim,) vector in the `image` space.

        Raises:
            EncoderBusyError, EncoderStalledError: see `submit_text`; the future as well.
        """
        return self._pictures.submit(pixels)

    def warm_up(self) -> None:
        """Run what queries will run, so that the first ones are as quick as all others: texts of every length alone,
        then a full batch, then a picture; as far as `_WARM_UP_S` seconds reach.

        Raises:
            EncoderFailedError, EncoderMemoryError: the encoder does not work.
        """
        began = time.monotonic()
        longest = self.spec.tokenizer.length
        lengths = [tokens for tokens in _WARM_TOKENS if tokens < longest] + [longest]
        torch_threads = torch.get_num_threads()
        torch.set_num_threads(self._query_threads)
        try:
            self._try_picture()
            began_picture = time.monotonic()
            self._try_picture()
            self._pictures.learn_pace([1], time.monotonic() - began_picture)
            for rows, tokens in [*((1, tokens) for tokens in lengths), (self._query_batch, 16)]:
                if time.monotonic() - began > _WARM_UP_S:
                    _log.warning("the warm-up took more than %g s; the first long queries may take longer", _WARM_UP_S)
                    break
                text = " ".join(["person"] * tokens)
                self._run_texts([text] * rows)
                began_text = time.monotonic()
                self._run_texts([text] * rows)
                self._texts.learn_pace([tokens] * rows, time.monotonic() - began_text)
        finally:
            torch.set_num_threads(torch_threads)
        _log.info("%s is warm after %.1f s", self.spec.method, time.monotonic() - began)

    @property
    def batch_size(self) -> int:
        """How many pictures `encode_here` should get at once."""
        return min(self._encode_batch, _CPU_BATCH) if self.device.type == "cpu" else self._encode_batch

    def encode_here(self, pixels: Sequence[Tensor]) -> dict[Space, Vectors]:
        """`encode_images` for callers with many threads: one pass, which on a CPU uses the calling thread alone.

        Raises:
            EncoderMemoryError: one picture by itself does not fit into memory.
        """
        batch = torch.stack(list(pixels))
        if self.device.type == "cpu":
            return self._arrays(self._gallery_pass_alone(batch))
        with self._device_lock:  # the activations of one pass are in its memory, not those of one a thread
            return self._arrays(self._gallery_pass(batch))

    def encode_images(self, pixels: Sequence[Tensor]) -> dict[Space, Vectors]:
        """Encode gallery pictures (each (3, H, W) uint8, from `encoder.preprocess`).

        Returns:
            For each stored space (N, dim) float32, unit-norm, in the order given.

        Raises:
            EncoderMemoryError: one picture by itself does not fit into memory.
        """
        size = self._encode_batch
        if self.device.type == "cpu":  # two batches a core, so that a core with other work does not hold up the rest
            size = max(1, min(size, -(-len(pixels) // (2 * _CORES))))
        batches = [torch.stack(list(pixels[start : start + size])) for start in range(0, len(pixels), size)]
        if self.device.type == "cpu":
            with ThreadPoolExecutor(_CORES, thread_name_prefix="descry-encode") as pool:
                done = [part for parts in pool.map(self._gallery_pass_alone, batches) for part in parts]
        else:
            done = [part for batch in batches for part in self._gallery_pass(batch)]
        return self._arrays(done)

    def encode_descriptions(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Encode descriptions of the gallery, in the order given, beside those that wait in the queue."""
        pieces = [texts[start : start + self._encode_batch] for start in range(0, len(texts), self._encode_batch)]
        with ThreadPoolExecutor(_CORES if self.device.type == "cpu" else 1, thread_name_prefix="descry-encode") as pool:
            return [embedding for part in pool.map(self.encode_texts_here, pieces) for embedding in part]

    def encode_texts_here(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Encode texts in one pass beside the queue; on a CPU with the calling thread alone."""
        torch.set_num_threads(1)
        with self._watched_gallery():
            return self._run_texts(texts)

    def close(self) -> None:
        """Answer what is queued, then end the worker threads."""
        self._texts.close()
        self._pictures.close()

    def _tokens(self, asked: _Asked) -> int:
        """How long a text is, without reading it."""
        return min(self.spec.tokenizer.length, 2 + len(asked.text) // _CHARS_A_TOKEN)

    def _encode_texts(self, asked: Sequence[_Asked]) -> list[TextEmbedding]:
        torch.set_num_threads(self._query_threads)
        # What another pass has answered since, and what was asked twice, is encoded once.
        known = {one: found for one in asked if (found := self.cache.get(one.key, count=False)) is not None}
        fresh = [one for one in dict.fromkeys(asked) if one not in known]
        for one, embedding in zip(fresh, self._run_texts([one.text for one in fresh]) if fresh else (), strict=True):
            known[one] = embedding
            self.cache.put(one.key, embedding)
        return [known[one] for one in asked]

    def _run_texts(self, texts: Sequence[str]) -> list[TextEmbedding]:
        def run() -> list[TextEmbedding]:
            tokens = self.encoder.tokenize(texts)
            parts = self._fit_texts.run(tokens.ids, self._runtime.encode_text)
            return self._understood(texts, tokens, np.concatenate([_array(part) for part in parts]))

        return self._passed(run)

    def _understood(self, texts: Sequence[str], tokens: TokenizedTexts, vectors: Vectors) -> list[TextEmbedding]:
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
        return list(self._arrays(self._run_pictures(torch.stack(list(pixels))))[self.spec.stored("image")])

    def _run_pictures(self, batch: Tensor) -> list[dict[Space, Tensor]]:
        return self._passed(lambda: self._fit_pictures.run(batch, self._runtime.encode_image))

    def _gallery_pass_alone(self, batch: Tensor) -> list[dict[Space, Tensor]]:
        torch.set_num_threads(1)
        return self._gallery_pass(batch)

    def _gallery_pass(self, batch: Tensor) -> list[dict[Space, Tensor]]:
        with self._watched_gallery():
            return self._run_pictures(batch)

    def _watched_gallery(self) -> AbstractContextManager[None]:
        """A pass of the gallery belongs to a job, which goes on with what is missing when its process is started anew.

        So there is no thread to take over: a process that hangs here ends.
        """
        return WATCHDOG.watching(self._gallery_stall_s, lambda: give_up("a pass of the gallery hangs"))

    def _try_text(self) -> None:
        torch.set_num_threads(self._query_threads)
        self._run_texts(["a person"])

    def _try_picture(self) -> None:
        torch.set_num_threads(self._query_threads)
        pre = self.spec.preprocessing
        self._run_pictures(torch.zeros(1, 3, pre.height, pre.width, dtype=torch.uint8))

    def _passed(self, run: Callable[[], R]) -> R:
        """What a pass returns, or a typed error.

        Raises:
            EncoderFailedError, EncoderMemoryError: it failed.
        """
        self.used_at = time.monotonic()
        try:
            return run()
        except ServiceError:
            raise
        except Exception as error:
            if any(words in str(error).lower() for words in _BROKEN):
                give_up(f"the device has failed ({str(error).partition(chr(10))[0]})")
            _log.exception("a pass of the encoder failed")
            raise EncoderFailedError(
                f"the encoder failed ({type(error).__name__}); the server's log says how. Another query may succeed"
            ) from error
        finally:
            self.used_at = time.monotonic()

    def _arrays(self, parts: Sequence[dict[Space, Tensor]]) -> dict[Space, Vectors]:
        empty = {space: np.empty((0, self.spec.spaces[space].dim), np.float32) for space in self.spec.stored_spaces}
        return {
            space: np.concatenate([none, *(_array(part[space]) for part in parts)]) for space, none in empty.items()
        }


def _array(vectors: Tensor) -> Vectors:
    return np.asarray(vectors.numpy(), np.float32)
