"""Vectors for benchmarks of an index: like those of pictures of people, in clusters and in few directions."""

import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Half

CLUSTER = 20
"""Vectors around one centre, on average."""


def centres(count: int, dim: int) -> NDArray[np.float32]:
    """Unit vectors in a space of falling variances: 1, 1/2, 1/3 ... would fill 3 directions, this fills about 30."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, dim + 1) ** -0.35 * np.exp(-np.arange(dim) / 60)
    found = (rng.standard_normal((count, dim)) * spread).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def near(centres: NDArray[np.float32], count: int, seed: int) -> Half:
    """Unit vectors around the centres."""
    rng, dim = np.random.default_rng(seed + 1), centres.shape[1]
    found = centres[rng.integers(0, len(centres), count)]
    found = found + 0.5 * centres[rng.integers(0, len(centres), count)]
    found += 0.3 / dim**0.5 * rng.standard_normal((count, dim), np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float16)


def off(centres: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Queries that lie off the vectors (cosine 0.45 to the nearest), as words lie off pictures."""
    rng = np.random.default_rng(99)
    found = near(centres, count, 10**9).astype(np.float32)
    noise = rng.standard_normal(found.shape).astype(np.float32)
    found += 2 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
