"""Where the phrases of the training descriptions stand among their tokens, for HKGR's masking (methods.md 6.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.descriptions import LEVELS, Described, Span
from models.tokenizers import Place, Tokenizer

Match = Literal["span", "idset"]
MOST = 31
"""Phrases of a level that are told apart in one description, as bits of an int32; further ones are left out."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Marks:
    """For N descriptions, what each of their L tokens belongs to.

    Attributes:
        phrases: (N, 3, L) int32, by level as in `models.descriptions.LEVELS`: bit p is set where the token belongs to
            the level's p-th phrase.
        words: (N, L) int16, the number, from 1, of the white-space separated word that the token lies in; 0 for none.
    """

    phrases: Tensor
    words: Tensor


def mark(described: Sequence[Described], tokenizer: Tokenizer, *, match: Match, determiners: bool) -> Marks:
    """Find each phrase's tokens.

    Args:
        described: the descriptions in the order of the pairs, which may repeat.
        match: "span": a phrase owns the tokens that share characters with its span. "idset": it owns every token of the
            description whose id is one of those tokens' ids, wherever it stands, as the released code has it.
        determiners: whether articles and numbers are attributes, as in HKGR's figure.
    """
    ids = tokenizer([one.text for one in described]).ids
    known = (tokenizer.words(ids) & (ids != tokenizer.mask_id)).tolist()
    phrases = torch.zeros(len(described), len(LEVELS), ids.shape[1], dtype=torch.int32)
    words = torch.zeros(ids.shape, dtype=torch.int16)
    done: dict[str, int] = {}
    for row, one in enumerate(described):
        if (before := done.setdefault(one.text, row)) != row:
            phrases[row], words[row] = phrases[before], words[before]
            continue
        places = tokenizer.places(one.text)
        usable = [n for n, (start, end) in enumerate(places) if start < end and known[row][n]]
        numbers, bits = [0] * ids.shape[1], [[0] * ids.shape[1] for _ in LEVELS]
        for number, found in enumerate(_WORD.finditer(one.text), start=1):
            for n in _inside(places, usable, Span(*found.span())):
                numbers[n] = number
        for level, name in enumerate(LEVELS):
            owned = [_inside(places, usable, span) for span in one.spans(name, determiners=determiners)]
            if match == "idset":
                owned = [_alike(ids[row].tolist(), usable, tokens) for tokens in owned]
            for phrase, tokens in enumerate([tokens for tokens in owned if tokens][:MOST]):
                for n in tokens:
                    bits[level][n] |= 1 << phrase
        phrases[row], words[row] = torch.tensor(bits, dtype=torch.int32), torch.tensor(numbers, dtype=torch.int16)
    return Marks(phrases, words)


def _inside(places: Sequence[Place], usable: Sequence[int], span: Span) -> list[int]:
    return [n for n in usable if places[n][0] < span.end and places[n][1] > span.start]


def _alike(ids: Sequence[int], usable: Sequence[int], tokens: Sequence[int]) -> list[int]:
    wanted = {ids[n] for n in tokens}
    return [n for n in usable if ids[n] in wanted]
