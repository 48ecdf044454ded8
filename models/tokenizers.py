"""Text to token ids: a word vocabulary that travels with the checkpoint, or CLIP's byte-pair encoding."""

import difflib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

TokenizerKind = Literal["words", "clip_bpe", "wordpiece"]
Place = tuple[int, int]
PAD, UNKNOWN = 0, 1
_NOWHERE = (0, 0)
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_NO_SPACE = re.compile(r"\S+")
_MASK_ID = 49405  # methods.md 1.2: the id that training uses as <|mask|>; user text must never emit it


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """How texts are tokenised: part of `EncoderSpec`, stored with the weights.

    Attributes:
        kind: "words" (lower-cased words of `vocabulary`), "clip_bpe" (CLIP's byte pairs, methods.md 1.2) or
            "wordpiece" (BERT's pieces of `vocabulary`, whose first entry pads).
        length: tokens kept per text, the longest L that `encode_text` sees.
        vocabulary: for "words": token i of the list has id i + 2 (0 pads, 1 is an unknown word). For
            "wordpiece": token i has id i.
    """

    kind: TokenizerKind
    length: int
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ValueError(f"a text needs room for at least 2 tokens, got {self.length}")
        if (self.kind != "clip_bpe") != bool(self.vocabulary):
            raise ValueError("tokenizers but 'clip_bpe' need a vocabulary, and that one has its own")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("the vocabulary names a word twice")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TokenizerSpec":
        """Read the mapping that `dataclasses.asdict` wrote."""
        if data["kind"] not in get_args(TokenizerKind):
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
        kinds: dict[TokenizerKind, Callable[[TokenizerSpec], Tokenizer]] = {
            "words": WordTokenizer,
            "clip_bpe": ClipTokenizer,
            "wordpiece": WordPieceTokenizer,
        }
        return kinds[spec.kind](spec)

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
    def places(self, text: str) -> tuple[Place, ...]:
        """The characters [start, end) of `text` that each of its tokens comes from, as `__call__` orders and cuts them.

        (0, 0) where a token comes from no characters: start and end.
        """

    def unused(self, text: str) -> str:
        """The end of a text that its tokens do not reach, from the beginning of a word on; empty if they do."""
        end = max((last for _, last in self.places(text)), default=0)
        if not words_of(text[end:]):
            return ""
        while end and end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
            end -= 1  # a word that is cut in two says nothing
        return text[end:].strip(" \t\r\n,;.")

    @abstractmethod
    def spell(self, token: int) -> str:
        """A token as people read it, with a space behind it where it is known to end a word."""

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenise a batch; an empty batch gives ids of shape (0, 1)."""


def words_of(text: str) -> list[str]:
    """Lower-cased words of a text; hyphens and punctuation separate ("t-shirt" -> "t", "shirt")."""
    return _WORD.findall(text.lower())


def _carried(text: str, changed: str) -> list[Place]:
    """For each character of `changed`, which is `text` lower-cased and perhaps cleaned, its source in `text`."""
    letters = [(letter, place) for place, upper in enumerate(text) for letter in upper.lower()]
    lowered = "".join(letter for letter, _ in letters)
    at = [(place, place + 1) for _, place in letters]
    if changed == lowered:
        return at
    words = list(_NO_SPACE.finditer(lowered))
    if changed == " ".join(word.group() for word in words):
        gaps = [at[word.end() : word.end() + 1] for word in words[:-1]] + [[]] * bool(words)
        return [
            place for word, gap in zip(words, gaps, strict=True) for place in (*at[word.start() : word.end()], *gap)
        ]
    found: list[Place] = []
    ends = [*at, (len(text), len(text))]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, lowered, changed, autojunk=False).get_opcodes():
        found += at[a:b] if kind == "equal" else [(ends[a][0], at[b - 1][1] if b > a else ends[a][0])] * (d - c)
    return found


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

    def places(self, text: str) -> tuple[Place, ...]:
        lowered = text.lower()
        at = _carried(text, lowered)
        found = [(at[word.start()][0], at[word.end() - 1][1]) for word in _WORD.finditer(lowered)]
        return tuple(found[: self.spec.length])

    def spell(self, token: int) -> str:
        return f"{self.spec.vocabulary[token - 2] if token > UNKNOWN else ('', '[unknown]')[token]} "

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

    def places(self, text: str) -> tuple[Place, ...]:
        bpe = self._bpe
        cleaned = bpe.clean_fn(text)
        at = _carried(text, cleaned)
        found: list[Place] = []
        for word in bpe.pat.finditer(cleaned):
            owners = [word.start() + n for n, letter in enumerate(word.group()) for _ in letter.encode()]
            pieces = bpe.bpe("".join(bpe.byte_encoder[byte] for byte in word.group().encode())).split(" ")
            first = 0
            for piece in pieces:
                end = min(first + len(piece.removesuffix("</w>")), len(owners))
                if bpe.encoder[piece] != _MASK_ID:
                    found.append((at[owners[first]][0], at[owners[end - 1]][1]))
                first = end
        return (_NOWHERE, *found[: self.spec.length - 2], _NOWHERE)

    def spell(self, token: int) -> str:
        if token == _MASK_ID:
            return "[mask] "
        letters = self._bpe.decoder[token].replace("</w>", " ")
        return bytes(self._bpe.byte_decoder.get(letter, 32) for letter in letters).decode(errors="replace")

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


class WordPieceTokenizer(Tokenizer):
    """BERT's lower-casing word pieces: [CLS] + pieces + [SEP], zero-padded (methods.md 4).

    Raises:
        ValueError: the vocabulary lacks a special token, or does not begin with [PAD].
    """

    SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

    def __init__(self, spec: TokenizerSpec) -> None:
        super().__init__(spec)
        from tokenizers import BertWordPieceTokenizer  # a heavy import, needed by this kind alone

        if spec.vocabulary[0] != "[PAD]" or not set(self.SPECIAL) <= set(spec.vocabulary):
            raise ValueError(f"a word-piece vocabulary begins with [PAD] and has {', '.join(self.SPECIAL)}")
        self._ids = {piece: index for index, piece in enumerate(spec.vocabulary)}
        self._pieces = BertWordPieceTokenizer(vocab=self._ids, lowercase=True)
        self._unknown = self._ids["[UNK]"]
        self._frame = torch.tensor([self._ids[piece] for piece in ("[PAD]", "[CLS]", "[SEP]")])

    @classmethod
    def vocabulary_of(cls, texts: Iterable[str], *, minimum: int, limit: int) -> tuple[str, ...]:
        """Pieces for texts where BERT's own vocabulary cannot be had: single characters, then the words that occur at
        least `minimum` times, most frequent first; at most `limit` words.

        (The library's own learner gives another vocabulary at each run; a resumed training needs the same one.)
        """
        lowered = [text.lower() for text in texts]
        letters = sorted({letter for text in lowered for letter in text if not letter.isspace()})
        words = WordTokenizer.vocabulary_of(lowered, minimum=minimum, limit=limit)
        pieces = [*cls.SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
        return tuple(dict.fromkeys(pieces))

    @property
    def size(self) -> int:
        return len(self._ids)

    @property
    def mask_id(self) -> int:
        return self._ids["[MASK]"]

    def words(self, ids: Tensor) -> Tensor:
        return ~torch.isin(ids, self._frame.to(ids.device))

    def places(self, text: str) -> tuple[Place, ...]:
        found: list[Place] = self._pieces.encode(text, add_special_tokens=False).offsets
        return (_NOWHERE, *found[: self.spec.length - 2], _NOWHERE)

    def spell(self, token: int) -> str:
        return self.spec.vocabulary[token].removeprefix("##")

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        rows: list[list[int]] = []
        unknown: list[tuple[str, ...]] = []
        truncated: list[bool] = []
        empty: list[bool] = []
        for text in texts:
            found = self._pieces.encode(text, add_special_tokens=False)
            pieces = found.ids
            strange = [text[a:b] for piece, (a, b) in zip(pieces, found.offsets, strict=True) if piece == self._unknown]
            unknown.append(tuple(dict.fromkeys(strange)))
            truncated.append(len(pieces) + 2 > self.spec.length)
            empty.append(all(piece == self._unknown for piece in pieces) or not words_of(text))
            rows.append([self._ids["[CLS]"], *pieces[: self.spec.length - 2], self._ids["[SEP]"]])
        ids = torch.zeros(len(rows), max(map(len, rows), default=1), dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return TokenizedTexts(ids, tuple(unknown), tuple(() for _ in texts), tuple(truncated), tuple(empty))
