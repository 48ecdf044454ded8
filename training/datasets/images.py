"""Where a run's pictures come from: decoded once into memory when they fit, else from disk as they are needed."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.preprocessing import Preprocessing
from training.errors import DatasetError

MEMORY_LIMIT = 4 << 30


class ImageSource:
    """Resized uint8 pictures by index. Pillow decodes outside the interpreter lock, so threads are enough.

    Args:
        paths: the files, in record order.
        preprocessing: gives the size.
        memory_limit: bytes of resized pictures up to which all of them are kept.
    """

    def __init__(
        self, paths: Sequence[Path], preprocessing: Preprocessing, *, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self._paths = tuple(paths)
        self._preprocessing = preprocessing
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._kept: Tensor | None = None
        size = 3 * preprocessing.height * preprocessing.width
        self.fits = len(paths) * size <= memory_limit

    def __len__(self) -> int:
        return len(self._paths)

    def load(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode everything now, if it fits; `progress` is called with (done, all)."""
        if not self.fits or self._kept is not None:
            return
        pre = self._preprocessing
        kept = torch.empty(len(self), 3, pre.height, pre.width, dtype=torch.uint8)
        for index, pixels in enumerate(self._pool.map(self._read, self._paths)):
            kept[index] = pixels
            if progress and (index % 256 == 255 or index + 1 == len(self)):
                progress(index + 1, len(self))
        self._kept = kept

    def get(self, indices: Sequence[int]) -> Tensor:
        """(B, 3, H, W) uint8 of the pictures at `indices`."""
        if self._kept is not None:
            return self._kept[torch.as_tensor(indices, dtype=torch.int64)]
        return torch.stack(list(self._pool.map(self._read, (self._paths[index] for index in indices))))

    def close(self) -> None:
        """Stop the decoding threads and let go of the pictures."""
        self._pool.shutdown()
        self._kept = None

    def _read(self, path: Path) -> Tensor:
        try:
            with Image.open(path) as image:
                return self._preprocessing.resize(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read as an image: {error}") from error
