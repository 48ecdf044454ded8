"""Segments on a GPU. Written against the interface of FAISS 1.14; not run where this was written, which has no GPU.

The GPU finds candidates; the vectors stay in main memory too, as the fp16 that the database holds, and every score is
computed from those. So the kind of index, its rounding and its metric decide which rows are found, never their scores.

flat   all vectors, fp16 on the GPU. Exact: what its rounding could have hidden is fetched as well (`_ROUNDING`).
ivf    inverted lists, fp16 (`GpuIndexIVFScalarQuantizer`); so many are read that `RECALL` of the best ten are found.
cagra  a graph (Ootomo et al., 2023, arXiv 2308.15136), where the build has it: it needs cuVS, which the packages of
       PyPI are built without.

GPU indexes are not safe for concurrent searches (FAISS wiki, "Threads and asynchronous calls"): one lock for each GPU
goes round every call. None of them takes a selection of rows, so that deleted ones are fetched as well and dropped.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

import faiss as untyped
import numpy as np
from numpy.typing import NDArray

from app.errors import GpuIndexMissingError
from app.vectors.contract import Half, Ids, Scores
from app.vectors.segments import Dead, Query, Segment, in_order
from app.vectors.tier import GpuKind

faiss: Any = untyped
"""Its types know the CPU build alone."""
MAX_K = 2048
"""Most neighbours that a GPU index gives (`getMaxKSelection`)."""
_CAGRA_MAX_K = 512
"""Most entries of the list that a search in the graph keeps (`itopk_size`)."""
_ROUNDING = 2.0**-10
"""A flat fp16 index rounds the query as well. |query x vector| <= 1 for unit vectors, so that the sum is off by up to
2^-11; twice that bounds the difference of two."""
_SPARE, _BLOCK = 16, 16_384
RECALL, _BEST, _TRIED = 0.995, 10, 64
Found = tuple[Scores, Ids]
Search = Callable[[Query, int], Found]


class Kind(ABC):
    """One kind of index on a GPU, over the vectors of one segment."""

    exact = False
    """Whether the rows found are the best up to `_ROUNDING`."""
    most = MAX_K
    needs: tuple[str, ...] = ()
    """Names that the FAISS build must have."""

    index: Any
    """FAISS has no types."""

    def __init__(self, vectors: Half, device: int) -> None:
        self.index = self.made(vectors, device)

    @abstractmethod
    def made(self, vectors: Half, device: int) -> Any:  # noqa: ANN401  FAISS has no types
        """A FAISS index with vectors (n, dim) in it, ids = rows."""

    def search(self, query: Query, k: int) -> Found:
        """The best rows for a (dim,) query; fewer than k where the kind finds fewer. The caller holds the lock."""
        scores, rows = self.index.search(query[None], k)
        return scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]

    def widen(self) -> bool:
        """Find more from now on; False when it cannot."""
        return False


class Flat(Kind):
    """All vectors."""

    exact = True
    needs = ("GpuIndexFlatIP", "GpuIndexFlatConfig")

    def made(self, vectors: Half, device: int) -> Any:  # noqa: ANN401  FAISS has no types
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16 = device, True
        index = faiss.GpuIndexFlatIP(_resources(device), vectors.shape[1], config)
        for start in range(0, len(vectors), _BLOCK):
            index.add(vectors[start : start + _BLOCK].astype(np.float32))
        return index


class Ivf(Kind):
    """Inverted lists, learnt from the segment's own vectors."""

    needs = ("GpuIndexIVFScalarQuantizer", "GpuIndexIVFScalarQuantizerConfig")

    def __init__(self, vectors: Half, device: int) -> None:
        self.lists = max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // 39))  # FAISS wants 39 vectors for each
        self.probe = min(8, self.lists)
        super().__init__(vectors, device)

    def made(self, vectors: Half, device: int) -> Any:  # noqa: ANN401  FAISS has no types
        config = faiss.GpuIndexIVFScalarQuantizerConfig()
        config.device, config.indicesOptions = device, faiss.INDICES_64_BIT
        kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.GpuIndexIVFScalarQuantizer(
            _resources(device), vectors.shape[1], self.lists, kind, metric, False, config
        )
        return filled(index, vectors)

    def search(self, query: Query, k: int) -> Found:
        chosen = faiss.SearchParametersIVF(nprobe=self.probe)
        scores, rows = self.index.search(query[None], k, params=chosen)
        return scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]

    def widen(self) -> bool:
        before, self.probe = self.probe, min(2 * self.probe, self.lists, MAX_K)
        return self.probe > before


class Cagra(Kind):
    """A graph. By Euclidean distance, which every build of it knows; unit vectors rank the same by both."""

    most = _CAGRA_MAX_K
    needs = ("GpuIndexCagra", "GpuIndexCagraConfig", "SearchParametersCagra")

    def __init__(self, vectors: Half, device: int) -> None:
        self.kept = 64
        super().__init__(vectors, device)

    def made(self, vectors: Half, device: int) -> Any:  # noqa: ANN401  FAISS has no types
        config = faiss.GpuIndexCagraConfig()
        config.device = device
        config.graph_degree = min(64, max(1, len(vectors) - 1))
        config.intermediate_graph_degree = min(128, max(1, len(vectors) - 1))
        index = faiss.GpuIndexCagra(_resources(device), vectors.shape[1], faiss.METRIC_L2, config)
        index.train(vectors.astype(np.float32))  # which also adds them
        return index

    def search(self, query: Query, k: int) -> Found:
        chosen = faiss.SearchParametersCagra()
        chosen.itopk_size = max(self.kept, 32 * -(-k // 32))
        distances, rows = self.index.search(query[None], k, params=chosen)
        return 1 - distances[0][rows[0] >= 0] / 2, rows[0][rows[0] >= 0]

    def widen(self) -> bool:
        before, self.kept = self.kept, min(2 * self.kept, _CAGRA_MAX_K)
        return self.kept > before


KINDS: dict[GpuKind, type[Kind]] = {"flat": Flat, "ivf": Ivf, "cagra": Cagra}


def filled(index: Any, vectors: Half) -> Any:  # noqa: ANN401  FAISS has no types
    """An inverted-list index, trained on vectors and with them in it."""
    rng = np.random.default_rng(0)
    sample = rng.choice(len(vectors), min(len(vectors), 64 * int(index.nlist)), replace=False)
    index.train(vectors[np.sort(sample)].astype(np.float32))
    for start in range(0, len(vectors), _BLOCK):
        index.add(vectors[start : start + _BLOCK].astype(np.float32))
    return index


class GpuSegment(Segment):
    """A segment whose candidates a GPU finds."""

    def __init__(self, ids: Ids, vectors: Half, kind: GpuKind = "flat", device: int = 0) -> None:
        if not in_order(ids):
            order = np.argsort(ids, kind="stable")
            ids, vectors = ids[order], vectors[order]
        self._half = np.array(vectors, np.float16)
        self._lock = lock_of(device)
        with self._lock:
            self._kind = KINDS[kind](self._half, device)
        super().__init__(np.array(ids), self._kind.index)
        if not self._kind.exact:
            self._measure()

    def search(self, query: Query, k: int, dead: Dead) -> Found:
        k = min(k, len(self) - len(dead.rows))
        if k <= 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        wanted = min(k + len(dead.rows) + _SPARE, len(self))
        while wanted <= self._kind.most:
            with self._lock:
                near, rows = self._kind.search(query, wanted)
            alive = rows[~np.isin(rows, dead.rows)]
            scores = self.vectors(alive) @ query
            best = np.argsort(-scores, kind="stable")[:k]
            if len(best) < k and not self._kind.exact:
                break  # the lists or the graph give no more
            if not self._kind.exact or wanted == len(self) or scores[best[-1]] > near[-1] + _ROUNDING:
                return scores[best], alive[best]
            wanted = min(2 * wanted, len(self))
        return self._scan(query, k, dead)

    def stored(self, rows: Ids) -> Half:
        return self._half[rows]

    def vectors(self, rows: Ids) -> NDArray[np.float32]:
        return self._half[rows].astype(np.float32)

    def _scan(self, query: Query, k: int, dead: Dead) -> Found:
        """Without the GPU: for what it does not give."""
        scores = np.empty(len(self), np.float32)
        for start in range(0, len(self), _BLOCK):
            scores[start : start + _BLOCK] = self._half[start : start + _BLOCK].astype(np.float32) @ query
        scores[dead.rows] = -np.inf
        best = np.argpartition(-scores, k - 1)[:k]
        best = best[np.argsort(-scores[best], kind="stable")]
        return scores[best], best

    def _measure(self) -> None:
        """Let the kind find as much as it takes for the recall, with queries that lie off the vectors."""
        rng, whole = np.random.default_rng(0), Dead(np.empty(0, np.int64))
        queries = self._half[rng.choice(len(self), min(_TRIED, len(self)), replace=False)].astype(np.float32)
        noise = rng.standard_normal(queries.shape).astype(np.float32)
        queries += 2 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        k = min(_BEST, len(self))
        truth = [set(self._scan(query, k, whole)[1].tolist()) for query in queries]
        while True:
            found = [set(self.search(query, k, whole)[1].tolist()) for query in queries]
            recall = sum(len(one & other) for one, other in zip(found, truth, strict=True)) / max(1, k * len(queries))
            if recall >= RECALL or not self._kind.widen():
                return


@cache
def lock_of(device: int) -> threading.RLock:
    """The lock of a GPU: everything that is done with its indexes is done by one thread at a time."""
    return threading.RLock()


@cache
def _resources(device: int) -> Any:  # noqa: ANN401  FAISS has no types
    """Streams and scratch memory of a GPU, shared by its indexes, as FAISS advises."""
    return faiss.StandardGpuResources()


def gpus() -> int:
    """Number of GPUs that this FAISS build can use."""
    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


def check_gpu(kind: GpuKind) -> None:
    """Refuse a kind of GPU index that cannot be made here. `flat` is for GPUs where there are some.

    Raises:
        GpuIndexMissingError: FAISS sees no GPU, or was built without the kind.
    """
    if kind != "flat" and not gpus():
        raise GpuIndexMissingError(
            f"DESCRY_GPU_INDEX={kind} needs a GPU, and FAISS {faiss.__version__} sees none: install the extra `gpu` on "
            "a machine with one, or leave the setting at flat"
        )
    if gpus() and (missing := [name for name in KINDS[kind].needs if not hasattr(faiss, name)]):
        raise GpuIndexMissingError(
            f"DESCRY_GPU_INDEX={kind}: FAISS {faiss.__version__} was built without {', '.join(missing)}; "
            "a build with cuVS has it (conda: pytorch/faiss-gpu-cuvs), or take flat or ivf"
        )
