"""The Milvus engine: one collection for each view, on a server that many processes share.

Milvus finds the candidates; every score that leaves the engine is computed here, in double precision, from the vector
as it is stored (fp32, which holds the database's fp16 exactly). So answers are those of the FAISS engine, bit by bit.

A collection has two partitions: `vectors`, and `position` with the one row that says how far the log was applied. A
position is written after what it speaks of, so that a process that is killed in between applies that piece again:
upserts and deletions by id may be repeated. See decision 0020 for what several writers may do to each other.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import VectorStoreError, VectorStoreMismatchError, VectorStoreReleasedError
from app.vectors.contract import Changes, Half, Hits, Ids, VectorIndex
from app.vectors.milvus_server import SLOW_S, Milvus
from app.vectors.scoring import MARGIN, ranked

TOP = 16_384
"""Most rows of one answer (`topk` and `limit` of Milvus)."""
_BYTES = 16 * 2**20
"""Most bytes of vectors in one message; Milvus takes 64 MiB and answers with at most 100."""
_MORE = 16
_POSITION_ID = -1
_BEFORE, _LAST = _POSITION_ID, 2**63 - 1
_VECTORS, _POSITION = "vectors", "position"
_STRONG = {"consistency_level": "Strong"}
"""A read sees every write that was answered before it, whoever wrote."""

Query = NDArray[np.float32]
Approximate = NDArray[np.float64]


class MilvusIndex(VectorIndex):
    """Exact search over one collection, which is made if it does not exist.

    Args:
        name: of the collection.

    Raises:
        VectorStoreMismatchError: the collection exists, and is not of our form or has another dimension.
        VectorStoreError: Milvus cannot be asked.
    """

    def __init__(self, milvus: Milvus, name: str, dim: int) -> None:
        super().__init__(dim)
        self.name = name
        self._milvus = milvus
        self._rows = max(1, min(TOP, _BYTES // (4 * dim)))
        self._prepare()
        self._position = self._read_position()
        self._sequence = self._position

    @property
    def sequence(self) -> int:
        return self._sequence

    @property
    def added(self) -> int:
        self._position = self._read_position()
        return max(self._position, self._sequence)

    @property
    def count(self) -> int:
        # Milvus Lite counts all partitions, whichever are named.
        rows = self._query(filter=f"id > {_POSITION_ID}", output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def begin_again(self, *, at_most: int) -> None:
        """Let the whole log be applied anew, over the rows that are there.

        Args:
            at_most: head of the log: a position beyond it is of another past, and is taken back.
        """
        if self._position > at_most:
            self._write_position(0)
        self._sequence = 0

    def apply(self, changes: Changes) -> None:
        for start in range(0, len(changes.ids), self._rows):
            part = slice(start, start + self._rows)
            found = zip(changes.ids[part].tolist(), changes.vectors[part].astype(np.float32), strict=True)
            rows = [{"id": number, "sequence": changes.sequence, "vector": vector} for number, vector in found]
            self._ask("upsert", rows, partition_name=_VECTORS)
        for start in range(0, len(changes.deleted), TOP):
            self._ask("delete", ids=changes.deleted[start : start + TOP].tolist(), partition_name=_VECTORS)
        if changes.sequence > self._position:
            self._write_position(changes.sequence)
        self._sequence = changes.sequence

    def search(self, query: Query, k: int) -> Hits:
        return self._best(query, k, [_Span(_BEFORE, _LAST)])

    def among(self, query: Query, ids: Ids, k: int) -> Hits:
        if len(ids) <= 2 * k:
            found = self.scores(query, ids)
            return Hits(found.ids[:k], found.scores[:k])
        parts = [ids[start : start + TOP] for start in range(0, len(ids), TOP)]
        return self._best(query, k, [_Span(_BEFORE, _LAST, part) for part in parts])

    def scores(self, query: Query, ids: Ids) -> Hits:
        found, vectors = self._vectors(np.unique(ids))
        return ranked(np.ascontiguousarray(query, np.float32), found, vectors, len(found))

    def ids(self) -> Ids:
        found: list[Ids] = [np.empty(0, np.int64)]
        spans = [_Span(_BEFORE, _LAST)]
        while spans:
            span = spans.pop()
            rows = self._query(filter=span.filter, output_fields=["id"], limit=TOP)
            ids = np.array([row["id"] for row in rows], np.int64)
            if len(ids) < TOP:
                found.append(ids)
            else:
                spans += span.halves(ids)
        return np.unique(np.concatenate(found))

    def contents(self) -> tuple[int, Ids, Half]:
        while True:
            before = self._read_position(), self._sequence
            ids, vectors = self._vectors(self.ids())
            if before == (self._read_position(), self._sequence):
                return self._sequence, ids, vectors.astype(np.float16)

    @property
    def wants_compaction(self) -> bool:
        return False  # Milvus compacts by itself

    def compact(self) -> None:
        return

    def _best(self, query: Query, k: int, spans: "list[_Span]") -> Hits:
        """The best k of some spans: what Milvus ranks near the top is scored exactly.

        One answer has at most `TOP` rows. Where that leaves open what belongs among the first k, the span with the best
        rows unseen is asked for more, or in halves: equal scores, however many, do not stop that.
        """
        query = np.ascontiguousarray(query, np.float32)
        if k <= 0 or not spans:
            return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
        found = [self._nearest(query, span, k + _MORE) for span in spans]
        while True:
            scores = np.concatenate([part.scores for part in found])
            line = np.partition(scores, len(scores) - k)[len(scores) - k] - MARGIN if len(scores) >= k else -np.inf
            widest = max((part for part in found if not part.complete), key=lambda part: part.lowest, default=None)
            if widest is None or widest.lowest < line:
                break
            found.remove(widest)
            if widest.limit < TOP:
                found.append(self._nearest(query, widest.span, widest.limit * 4))
            else:
                found += [self._nearest(query, half, TOP) for half in widest.span.halves(widest.ids)]
        ids = np.concatenate([part.ids[part.scores >= line] for part in found])
        ids, vectors = self._vectors(np.unique(ids))
        return ranked(query, ids, vectors, k)

    def _nearest(self, query: Query, span: "_Span", limit: int) -> "_Near":
        limit = min(limit, TOP)
        (rows,) = self._ask(
            "search",
            data=[query],
            limit=limit,
            filter=span.filter,
            output_fields=["id"],
            partition_names=[_VECTORS],
            search_params={"metric_type": "IP"},
            **_STRONG,
        )
        ids = np.array([row["id"] for row in rows], np.int64)
        return _Near(span, limit, ids, np.array([row["distance"] for row in rows], np.float64))

    def _vectors(self, ids: Ids) -> tuple[Ids, NDArray[np.float32]]:
        """Those of some ids that are there, and their vectors, (n, dim)."""
        found: list[int] = []
        vectors = np.empty((len(ids), self.dim), np.float32)
        for start in range(0, len(ids), self._rows):
            part = ids[start : start + self._rows].tolist()
            for row in self._query(filter=f"id in {part}", output_fields=["id", "vector"]):
                vectors[len(found)] = row["vector"]
                found.append(row["id"])
        return np.array(found, np.int64), vectors[: len(found)]

    def _query(self, **what: Any) -> list[dict[str, Any]]:  # noqa: ANN401  arguments of pymilvus
        return list(self._ask("query", partition_names=[_VECTORS], **what, **_STRONG))

    def _read_position(self) -> int:
        where = {"filter": f"id == {_POSITION_ID}", "partition_names": [_POSITION]}
        rows = self._ask("query", output_fields=["sequence"], **where, **_STRONG)
        return int(rows[0]["sequence"]) if rows else 0

    def _write_position(self, sequence: int) -> None:
        row = {"id": _POSITION_ID, "sequence": sequence, "vector": np.zeros(self.dim, np.float32)}
        self._ask("upsert", [row], partition_name=_POSITION)
        self._position = sequence

    def _ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  pymilvus has no types
        try:
            return self._milvus.ask(operation, self.name, *args, **kwargs)
        except VectorStoreReleasedError:
            self._milvus.ask("load_collection", self.name, timeout=SLOW_S)
            return self._milvus.ask(operation, self.name, *args, **kwargs)

    def _prepare(self) -> None:
        """Make what is missing of the collection; another process may be doing the same."""
        if not self._ask("has_collection"):
            self._make("create_collection", "has_collection", schema=_schema(self.dim), **_STRONG)
        self._check(self._ask("describe_collection"))
        for partition in (_VECTORS, _POSITION):
            if not self._ask("has_partition", partition):
                self._make("create_partition", "has_partition", partition)
        if not self._ask("list_indexes"):
            self._make("create_index", "list_indexes", index_params=_index())
        self._ask("load_collection", timeout=SLOW_S)

    def _make(self, operation: str, check: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  of pymilvus
        try:
            self._ask(operation, *args, **kwargs)
        except VectorStoreError:
            if not self._ask(check, *args):
                raise

    def _check(self, described: dict[str, Any]) -> None:
        fields = {field["name"]: field for field in described["fields"]}
        dim = fields.get("vector", {}).get("params", {}).get("dim")
        if set(fields) != {"id", "sequence", "vector"} or dim is None or int(dim) != self.dim:
            raise VectorStoreMismatchError(
                f"the collection {self.name} at {self._milvus.place} has the fields {', '.join(sorted(fields))} and "
                f"dimension {dim}; id, sequence, vector and {self.dim} are needed. Drop it, and it is loaded anew"
            )


class _Span:
    """Images of which to search: those with ids above `low` and up to `high`, or `chosen` ones.

    Args:
        chosen: ids, each once.
    """

    def __init__(self, low: int, high: int, chosen: Ids | None = None) -> None:
        self.low, self.high, self.chosen = low, high, chosen

    @property
    def filter(self) -> str:
        """As an expression of Milvus; the whole is the partition, for which none is needed."""
        if self.chosen is not None:
            return f"id in {self.chosen.tolist()}"
        return "" if (self.low, self.high) == (_BEFORE, _LAST) else f"id > {self.low} and id <= {self.high}"

    def halves(self, seen: Ids) -> "list[_Span]":
        """Two parts with about as many of the rows that were seen."""
        if self.chosen is not None:
            middle = len(self.chosen) // 2
            return [_Span(self.low, self.high, part) for part in (self.chosen[:middle], self.chosen[middle:])]
        at = int(np.sort(seen)[(len(seen) - 1) // 2])
        return [_Span(self.low, at), _Span(at, self.high)]


class _Near:
    """What one search in a span has found, by approximate score."""

    def __init__(self, span: _Span, limit: int, ids: Ids, scores: Approximate) -> None:
        self.span, self.limit, self.ids, self.scores = span, limit, ids, scores

    @property
    def complete(self) -> bool:
        """Whether the span has no more rows."""
        most = None if self.span.chosen is None else len(self.span.chosen)
        return len(self.ids) < self.limit or len(self.ids) == most

    @property
    def lowest(self) -> float:
        """Above any score that was not seen."""
        return float(self.scores.min())


def _schema(dim: int) -> Any:  # noqa: ANN401  pymilvus has no types
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("sequence", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _index() -> Any:  # noqa: ANN401  pymilvus has no types
    from pymilvus import MilvusClient

    params = MilvusClient.prepare_index_params()
    params.add_index("vector", index_type="FLAT", metric_type="IP")
    return params
