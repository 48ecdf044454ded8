"""Which words of a description are hidden, for the language head to tell: at random, or by scene graph (HKGR,
methods.md 6.1; the random level is IRRA's, 1.4).

Random numbers come from `sample_uniform`: a sample's do not depend on how a batch is spread over processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.descriptions import LEVELS
from models.noise import sample_uniform
from models.tokenizers import Tokenizer
from training.descriptions.phrases import MOST, Marks, Match

MaskLevel = Literal["random", "object", "attribute", "relation"]
MASK_LEVELS: tuple[MaskLevel, ...] = ("random", *LEVELS)
_HIDE, _CHANGE = 0.8, 0.9
"""BERT's shares: below the first the mask id, below the second another word, else as it was."""
_TOKENS = 0.15


@dataclass(frozen=True, slots=True)
class Masked:
    """Descriptions with words hidden.

    Attributes:
        ids: (B, L) int64, what the encoder sees; a new tensor, the clean ids stay clean.
        labels: (B, L) int64, the word where it is to be told, 0 elsewhere.
        levels: (B,) int64, places in `MASK_LEVELS`.
    """

    ids: Tensor
    labels: Tensor
    levels: Tensor


class Masker(nn.Module):
    """Hides words of the training descriptions.

    Its buffers hold what `mark` found of each pair. They are no part of a state: a resumed run finds it again.

    Args:
        levels: with one, every description is masked at it; with several, each description draws evenly among "random"
            and them. (The released code draws among all four whenever there are several, which differs for two.)
        ratio: share of a level's phrases that are picked, rounded up.
    """

    phrases: Tensor
    words: Tensor
    replacements: Tensor

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: Marks | None,
        *,
        levels: Sequence[MaskLevel],
        ratio: float = 0.3,
        match: Match = "span",
    ) -> None:
        super().__init__()
        if not levels:
            raise ValueError("masking needs a level")
        chosen = levels if len(levels) == 1 else ("random", *(level for level in levels if level != "random"))
        self.choices = [MASK_LEVELS.index(level) for level in chosen]
        self.tokenizer, self.ratio, self.match = tokenizer, ratio, match
        self.register_buffer("replacements", ordinary(tokenizer), persistent=False)
        found = marks or Marks(torch.zeros(0, len(LEVELS), 0, dtype=torch.int32), torch.zeros(0, 0, dtype=torch.int16))
        self.register_buffer("phrases", found.phrases, persistent=False)
        self.register_buffer("words", found.words, persistent=False)

    def forward(self, ids: Tensor, pairs: Tensor) -> Masked:
        """Hide words of descriptions.

        Args:
            ids: (B, L) int64, clean; L may be less than the marks have, where all that is cut off is padding.
            pairs: (B,) int64, their places among what was marked. Unused where every level is "random".
        """
        usable = self.usable(ids)
        levels = self._draw_levels(ids)
        random_ids, random_labels = mask_at_random(ids, usable, self.replacements, self.tokenizer.mask_id)
        if self.choices == [0]:
            return Masked(random_ids, random_labels, levels)
        length = ids.shape[1]
        own = self.phrases[pairs, (levels - 1).clamp(min=0), :length]
        by_phrase = mask_phrases(
            ids,
            usable,
            own,
            self.words[pairs, :length],
            self.replacements,
            self.tokenizer.mask_id,
            ratio=self.ratio,
            match=self.match,
        )
        at_random = (levels == 0)[:, None]
        return Masked(
            torch.where(at_random, random_ids, by_phrase[0]),
            torch.where(at_random, random_labels, by_phrase[1]),
            levels,
        )

    def usable(self, ids: Tensor) -> Tensor:
        """(B, L) bool: words that the tokenizer knows; what it does not know has the mask's id, and teaches nothing."""
        return self.tokenizer.words(ids) & (ids != self.tokenizer.mask_id)

    def _draw_levels(self, ids: Tensor) -> Tensor:
        table = torch.tensor(self.choices, device=ids.device)
        if len(self.choices) == 1:
            return table.expand(len(ids))
        return table[_below(len(table), sample_uniform(len(ids), device=ids.device))]


def ordinary(tokenizer: Tokenizer) -> Tensor:
    """(W,) int64: the ids of all words, of which one replaces a changed word. CLIP's are [1, 49405)."""
    every = torch.arange(tokenizer.size)
    return every[tokenizer.words(every) & (every != tokenizer.mask_id)]


def mask_at_random(
    ids: Tensor, usable: Tensor, replacements: Tensor, mask_id: int, *, probability: float = _TOKENS
) -> tuple[Tensor, Tensor]:
    """BERT's scheme: each word with `probability`, then 80 % the mask, 10 % any word, 10 % as it was; all are told.

    A description of which nothing is chosen has its first word hidden.

    Args:
        ids: (B, L) int64.
        usable: (B, L) bool, which of them are words.

    Returns:
        (B, L) int64 ids and labels.
    """
    chosen = (sample_uniform(*ids.shape, device=ids.device) < probability) & usable
    action = sample_uniform(*ids.shape, device=ids.device)
    forced = _first(usable) & ~chosen.any(dim=1, keepdim=True)
    hidden = (chosen & (action < _HIDE)) | forced
    changed = chosen & (action >= _HIDE) & (action < _CHANGE)
    return _applied(ids, hidden, changed, replacements, mask_id), torch.where(chosen | forced, ids, 0)


def mask_phrases(
    ids: Tensor,
    usable: Tensor,
    phrases: Tensor,
    words: Tensor,
    replacements: Tensor,
    mask_id: int,
    *,
    ratio: float,
    match: Match = "span",
) -> tuple[Tensor, Tensor]:
    """Hide whole phrases: ceil(ratio * n) of a description's n, each by one draw: 80 % the mask, 10 % other words, 10 %
    neither hidden nor told (unlike BERT).

    A description without phrases gives one white-space separated word instead. One of which nothing is to be told has
    its first word hidden.

    Args:
        ids: (B, L) int64.
        usable: (B, L) bool, which of them are words.
        phrases: (B, L) int32, bits of the phrases that own a token.
        words: (B, L) integers, the white-space separated words from 1 on, 0 for none.

    Returns:
        (B, L) int64 ids and labels.
    """
    batch, device = len(ids), ids.device
    bits = torch.arange(MOST, device=device, dtype=torch.int32)
    owns = ((phrases[:, None] >> bits[:, None]) & 1).bool() & usable[:, None]
    there = owns.any(dim=2)
    count = there.sum(dim=1)
    # float64: 0.3 * 10 must be 3, not a little more.
    wanted = torch.ceil(count.double() * ratio)
    order = sample_uniform(batch, MOST, device=device).masked_fill(~there, 2.0)
    picked = there & (order.argsort(dim=1).argsort(dim=1) < wanted[:, None])
    word = 1 + _below(words.amax(dim=1).clamp(min=1), sample_uniform(batch, device=device))
    instead = usable & (words == word[:, None]) & (count == 0)[:, None]
    if match == "idset":
        instead = usable & ((ids[:, :, None] == ids[:, None, :]) & instead[:, None, :]).any(dim=2)
    owns = torch.cat([owns, instead[:, None]], dim=1)
    picked = torch.cat([picked, (count == 0)[:, None]], dim=1)
    action = sample_uniform(batch, MOST + 1, device=device)

    def owned(which: Tensor) -> Tensor:
        return ((picked & which)[:, :, None] & owns).any(dim=1)

    hidden = owned(action < _HIDE)
    changed = owned((action >= _HIDE) & (action < _CHANGE)) & ~hidden
    hidden = hidden | (_first(usable) & ~(hidden | changed).any(dim=1, keepdim=True))
    return _applied(ids, hidden, changed, replacements, mask_id), torch.where(hidden | changed, ids, 0)


def _applied(ids: Tensor, hidden: Tensor, changed: Tensor, replacements: Tensor, mask_id: int) -> Tensor:
    drawn = replacements[_below(len(replacements), sample_uniform(*ids.shape, device=ids.device))]
    return torch.where(hidden, mask_id, torch.where(changed, drawn, ids))


def _below(limit: Tensor | int, uniform: Tensor) -> Tensor:
    """Integers in [0, limit), from numbers in [0, 1); rounding must not reach the limit."""
    whole = (uniform.double() * limit).long()
    return torch.minimum(whole, torch.as_tensor(limit, device=uniform.device) - 1)


def _first(usable: Tensor) -> Tensor:
    return usable & (usable.cumsum(dim=1) == 1)
