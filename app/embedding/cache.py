"""Texts that were encoded of late, by one model version.

Kept in memory only: a keyed hash in place of the text, the vector, and the words that the answer warns of. What was
not asked for again within an hour is forgotten.
"""

import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

KEEP_S = 3600.0
_ENTRY_BYTES = 600
"""What Python takes for an entry beside its vector and words."""
_PLAIN = re.compile(r"[A-Za-z0-9 \t\r\n.,;:!?'\"()/+-]*")


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

    vector: NDArray[np.float32]
    unknown: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...]
    truncated: bool
    empty: bool
    unused: str = ""


def folded(text: str) -> str:
    """A text without what no tokenizer distinguishes: texts that are folded alike have the same tokens.

    Case and white space of plain text. Any other character switches that off: in "&lt;", "[MASK]", broken encodings
    and control characters a tokenizer does tell cases and spaces apart.
    """
    return " ".join(text.lower().split()) if _PLAIN.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class TextKey:
    """What a text is known by: hashes of it folded, and as it was typed."""

    folded: bytes
    typed: bytes


@dataclass(slots=True)
class _Entry:
    typed: bytes
    embedding: TextEmbedding
    size: int
    used: float


class TextCache:
    """The least recently used goes first. Methods may be called from any thread.

    Args:
        most_bytes: most memory; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Memory in use, roughly, in bytes."""
        return self._bytes

    def key(self, text: str) -> TextKey | None:
        """What a text is kept under; None where nothing is kept."""
        if not self._most:
            return None
        plain = folded(text)
        own = self._hash(plain)
        return TextKey(own, own if plain == text else self._hash(text))

    def get(self, key: TextKey | None, *, count: bool = True) -> TextEmbedding | None:
        """What is known of a text. The vector is the caller's own."""
        if key is None:
            return None
        with self._lock:
            entry = self._entries.get(key.folded)
            # Warnings quote the text as it was typed, so that they are of use for that one only.
            if entry is not None and entry.typed != key.typed and (entry.embedding.unknown or entry.embedding.unused):
                entry = None
            if entry is None:
                self.misses += count
                return None
            self.hits += count
            entry.used = time.monotonic()
            self._entries.move_to_end(key.folded)
            embedding = entry.embedding
        return replace(embedding, vector=embedding.vector.copy())

    def put(self, key: TextKey | None, embedding: TextEmbedding) -> None:
        """Keep what was found out about a text."""
        if key is None:
            return
        words = (*embedding.unknown, *(word for pair in embedding.corrected for word in pair), embedding.unused)
        size = _ENTRY_BYTES + embedding.vector.nbytes + sum(len(word) for word in words)
        if size > self._most:
            return
        # A copy: the vector may be a row of the matrix of a whole batch, which it would keep alive.
        own = replace(embedding, vector=embedding.vector.copy())
        with self._lock:
            if (before := self._entries.pop(key.folded, None)) is not None:
                self._bytes -= before.size
            self._entries[key.folded] = _Entry(key.typed, own, size, time.monotonic())
            self._bytes += size
            self._forget(self._most, time.monotonic() - KEEP_S)

    def sweep(self) -> None:
        """Forget what nobody asked for within `KEEP_S` seconds."""
        with self._lock:
            self._forget(self._most, time.monotonic() - KEEP_S)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _forget(self, most: int, before: float) -> None:
        while self._entries:
            key, oldest = next(iter(self._entries.items()))
            if self._bytes <= most and oldest.used >= before:
                return
            del self._entries[key]
            self._bytes -= oldest.size

    def _hash(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()
