"""Seconds and memory of measuring a test split, against the plain way: sort all indices, then walk down each list.

The plain way runs on a sample of the queries, and its time is scaled up; on the sample both must agree.
"""

import multiprocessing
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure
from training.evaluation import ExactScores, Integers, Metrics, retrieval_metrics

_DIM, _SAMPLE = 512, 256
_MEMORY, _TOLERANCE = 2048.0, 1e-6
_SIZES = (("CUHK-PEDES, 6,156 x 3,074", 6_156, 3_074, 1_000), ("ICFG-PEDES, 19,848 x 19,848", 19_848, 19_848, 1_000))


@dataclass(frozen=True, slots=True)
class _Taken:
    seconds: float
    plain_seconds: float
    memory: float
    difference: float


def measure_evaluation() -> list[Figure]:
    """Text-to-image metrics at the sizes of two published test splits, each in a process of its own."""
    figures = []
    for name, queries, gallery, people in _SIZES:
        # A fresh process: its high-water mark of memory is this measurement's.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            taken = pool.submit(_measure, queries, gallery, people).result()
        figures += [
            Figure(f"evaluation, {name}", taken.seconds, "s", taken.plain_seconds, "sorting indices, from a sample"),
            Figure(f"evaluation, {name}: peak", taken.memory, "MB", _MEMORY, "limit, whole process"),
            Figure(f"evaluation, {name}: difference", taken.difference * 1e6, "e-6 points", _TOLERANCE * 1e6, "limit"),
        ]
    return figures


def _measure(queries: int, gallery: int, people: int) -> _Taken:
    texts, images, query_ids, gallery_ids = _vectors(queries, gallery, people)
    sample = np.linspace(0, queries - 1, _SAMPLE, dtype=np.int64)
    _metrics(texts[:64], images, query_ids[:64], gallery_ids)  # threads are started, memory is had
    began = time.perf_counter()
    _metrics(texts, images, query_ids, gallery_ids)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    own = _metrics(texts[sample], images, query_ids[sample], gallery_ids)
    began = time.perf_counter()
    plain = _plain(ExactScores(texts[sample], images)(0, _SAMPLE), query_ids[sample], gallery_ids)
    plain_seconds = (time.perf_counter() - began) * queries / _SAMPLE
    found = (own.r1, own.r5, own.r10, own.mean_ap, own.mean_inp)
    difference = max(abs(one - other) for one, other in zip(found, plain, strict=True))
    if difference > _TOLERANCE:
        raise RuntimeError(f"evaluation gives {found}, the plain way {plain}")
    return _Taken(seconds, plain_seconds, memory, difference)


def _metrics(texts: Tensor, images: Tensor, query_ids: Integers, gallery_ids: Integers) -> Metrics:
    return retrieval_metrics(ExactScores(texts, images), query_ids, gallery_ids)


def _vectors(queries: int, gallery: int, people: int) -> tuple[Tensor, Tensor, Integers, Integers]:
    """Unit vectors about a centre for each person, some pictures twice, and the people evenly spread."""
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(people, _DIM, generator=draw)
    gallery_ids, query_ids = torch.arange(gallery) % people, torch.arange(queries) % people
    images = centres[gallery_ids] + 1.6 * torch.randn(gallery, _DIM, generator=draw)
    images[: gallery // 100] = images[gallery // 2 : gallery // 2 + gallery // 100]
    texts = centres[query_ids] + 3.0 * torch.randn(queries, _DIM, generator=draw)
    texts, images = (torch.nn.functional.normalize(vectors, dim=1) for vectors in (texts, images))
    return texts, images, query_ids.numpy(), gallery_ids.numpy()


def _plain(scores: Tensor, query_ids: Integers, gallery_ids: Integers) -> tuple[float, float, float, float, float]:
    """R@1, R@5, R@10, mAP and mINP by definition, in percent."""
    order = scores.sort(dim=1, descending=True, stable=True).indices.numpy()
    rows = []
    for wanted, row in zip(query_ids, order, strict=True):
        ranks = np.flatnonzero(gallery_ids[row] == wanted) + 1
        precision = sum(hit / rank for hit, rank in enumerate(ranks.tolist(), start=1)) / len(ranks)
        rows.append([*(float(ranks[0] <= k) for k in (1, 5, 10)), precision, len(ranks) / ranks[-1]])
    r1, r5, r10, mean_ap, mean_inp = (100 * np.array(rows).mean(axis=0)).tolist()
    return r1, r5, r10, mean_ap, mean_inp
