"""Text to token ids: a word vocabulary that travels with the checkpoint, or CLIP's byte-pair encoding."""

import difflib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

import torch
from torch import Tensor

TokenizerKind = Literal["words", "clip_bpe"]
PAD, UNKNOWN = 0, 1
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_MASK_ID = 49405  # methods.md 1.2: the id that training uses as <|mask|>; user text must never emit it


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """How texts are tokenised: part of `EncoderSpec`, stored with the weights.

    Attributes:
        kind: "words" (lower-cased words of `vocabulary`) or "clip_bpe" (CLIP's byte pairs, methods.md 1.2).
        length: tokens kept per text, the longest L that `encode_text` sees.
        vocabulary: for "words": token i of the list has id i + 2 (0 pads, 1 is an unknown word).
    """

    kind: TokenizerKind
    length: int
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ValueError(f"a text needs room for at least 2 tokens, got {self.length}")
        if (self.kind == "words") != bool(self.vocabulary):
            raise ValueError("a 'words' tokenizer needs a vocabulary, and only that one has it")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("the vocabulary names a word twice")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TokenizerSpec":
        """Read the mapping that `dataclasses.asdict` wrote."""
        if data["kind"] not in ("words", "clip_bpe"):
            raise ValueError(f"unknown tokenizer kind {data['kind']!r}")
        kind = cast("TokenizerKind", data["kind"])
        return cls(kind=kind, length=int(data["length"]), vocabulary=tuple(data.get("vocabulary", ())))


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids and what happened on the way.

    Attributes:
        ids: (B, L) int64, zero-padded.
        unknown: for each text the words that the model has never seen (always empty for byte pairs).
        corrected: for each text the (typed, read as) pairs of words that were taken for a known neighbour.
        truncated: for each text whether tokens were cut off.
        empty: for each text whether it holds no token that the model knows.
    """

    ids: Tensor
    unknown: tuple[tuple[str, ...], ...]
    corrected: tuple[tuple[tuple[str, str], ...], ...]
    truncated: tuple[bool, ...]
    empty: tuple[bool, ...]


class Tokenizer(ABC):
    """Texts in, `TokenizedTexts` out; build one from its spec with `Tokenizer.build`."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self.spec = spec

    @staticmethod
    def build(spec: TokenizerSpec) -> "Tokenizer":
        """The tokenizer that `spec.kind` names."""
        return WordTokenizer(spec) if spec.kind == "words" else ClipTokenizer(spec)

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids, padding included: rows of the embedding table."""

    @property
    @abstractmethod
    def mask_id(self) -> int:
        """The id that stands for a word which training hides; no word that the tokenizer knows has it."""

    @abstractmethod
    def words(self, ids: Tensor) -> Tensor:
        """Which of `ids` (any shape, int64) are words of a text, not padding, start or end: bool of the same shape."""

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenise a batch; an empty batch gives ids of shape (0, 1)."""


def words_of(text: str) -> list[str]:
    """Lower-cased words of a text; hyphens and punctuation separate ("t-shirt" -> "t", "shirt")."""
    return _WORD.findall(text.lower())


class WordTokenizer(Tokenizer):
    """Words of a fixed vocabulary. A word outside it is read as its nearest known spelling, if one is near enough."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__(spec)
        self._ids = {word: index + 2 for index, word in enumerate(spec.vocabulary)}
        self._nearest = lru_cache(maxsize=4096)(self._find_nearest)

    @classmethod
    def vocabulary_of(cls, texts: Iterable[str], *, minimum: int, limit: int) -> tuple[str, ...]:
        """The words that occur at least `minimum` times, most frequent first (ties by spelling), at most `limit`."""
        counts = Counter(word for text in texts for word in words_of(text))
        kept = sorted((word for word, n in counts.items() if n >= minimum), key=lambda word: (-counts[word], word))
        return tuple(kept[:limit])

    @property
    def size(self) -> int:
        return len(self._ids) + 2

    @property
    def mask_id(self) -> int:
        # A hidden word is one that the model knows nothing about: a reserved id would change every checkpoint's table.
        return UNKNOWN

    def words(self, ids: Tensor) -> Tensor:
        return ids != PAD

    def _find_nearest(self, word: str) -> str | None:
        if len(word) < 4 or word.isdigit():
            return None
        same_start = [known for known in self._ids if known[0] == word[0] and abs(len(known) - len(word)) <= 2]
        found = difflib.get_close_matches(word, same_start, n=1, cutoff=0.8)
        return found[0] if found else None

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        rows: list[list[int]] = []
        unknown: list[tuple[str, ...]] = []
        corrected: list[tuple[tuple[str, str], ...]] = []
        truncated: list[bool] = []
        for text in texts:
            row: list[int] = []
            strange: list[str] = []
            fixed: list[tuple[str, str]] = []
            for word in words_of(text):
                known = word if word in self._ids else self._nearest(word)
                if known is None:
                    strange.append(word)
                elif known != word:
                    fixed.append((word, known))
                row.append(UNKNOWN if known is None else self._ids[known])
            rows.append(row[: self.spec.length])
            unknown.append(tuple(dict.fromkeys(strange)))
            corrected.append(tuple(dict.fromkeys(fixed)))
            truncated.append(len(row) > self.spec.length)
        ids = torch.zeros(len(rows), max(map(len, rows), default=1) or 1, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        empty = tuple(all(token == UNKNOWN for token in row) for row in rows)
        return TokenizedTexts(ids, tuple(unknown), tuple(corrected), tuple(truncated), empty)


class ClipTokenizer(Tokenizer):
    """CLIP's byte-pair encoding through open_clip: <start> + pairs + <end>, zero-padded (methods.md 1.2)."""

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__(spec)
        from open_clip import SimpleTokenizer  # heavy import, needed by this kind alone

        self._bpe = SimpleTokenizer(context_length=spec.length)

    @property
    def size(self) -> int:
        return int(self._bpe.vocab_size)

    @property
    def mask_id(self) -> int:
        return _MASK_ID

    def words(self, ids: Tensor) -> Tensor:
        return (ids > PAD) & (ids < _MASK_ID)

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        ids = torch.zeros(len(texts), self.spec.length if texts else 1, dtype=torch.int64)
        truncated: list[bool] = []
        for index, text in enumerate(texts):
            pairs = [pair for pair in self._bpe.encode(text) if pair != _MASK_ID]
            truncated.append(len(pairs) + 2 > self.spec.length)
            kept = pairs[: self.spec.length - 2]
            row = [self._bpe.sot_token_id, *kept, self._bpe.eot_token_id]
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        nothing: tuple[tuple[()], ...] = tuple(() for _ in texts)
        empty = tuple(not words_of(text) for text in texts)
        return TokenizedTexts(ids, nothing, nothing, tuple(truncated), empty)
