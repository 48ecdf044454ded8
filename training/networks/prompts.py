"""What HPL learns prompts with, and drops after training: inversion nets, identity tokens, a second text encoder.

Equation numbers are those of seed 000; what it leaves open is settled as methods.md 7 says.
"""

import copy
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.backbones.base import Backbone
from models.backbones.compact import CompactBackbone, CompactTextTower
from models.tokenizers import Tokenizer

if TYPE_CHECKING:
    from models.backbones.clip import ClipBackbone  # open_clip takes seconds to import; compact never needs it

_SPREAD = 0.02
_BEGIN, _AND, _END, _PROTOTYPE_END = "A photo of", "and", "person.", "person"


class InversionNet(nn.Module):
    """I_v or I_t of eq 4: features of one picture or description to `tokens` pseudo-words (point 2).

    Learned queries stand before the features; after `depth` pre-LN ViT blocks their places are the pseudo-words.

    Args:
        dim: of features and blocks.
        out: dimensions of a word of the second text encoder; where they are not `dim`, a linear layer leads there.
        tokens: m.
        depth: N_I.
    """

    def __init__(self, dim: int, out: int, *, tokens: int, depth: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, dim) * _SPREAD)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.out = nn.Identity() if dim == out else nn.Linear(dim, out)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """P of eq 4: (B, tokens, out) from (B, N, dim), of which `mask` (B, N) marks the real ones."""
        count = len(self.queries)
        x = torch.cat([self.queries.to(features.dtype).expand(len(features), -1, -1), features], dim=1)
        hidden = None
        if mask is not None:
            hidden = torch.cat([mask.new_zeros(len(mask), count), ~mask], dim=1)
        # The fused kernel's gradient takes several times as long on a CPU at these sizes.
        with sdpa_kernel(SDPBackend.MATH) if x.device.type == "cpu" else nullcontext():
            for block in self.blocks:
                x = block(x, src_key_padding_mask=hidden)
        pseudo: Tensor = self.out(x[:, :count])
        return pseudo


class PromptEncoder(nn.Module):
    """M~_t of eqs 5 and 7: a frozen copy of an encoder's text tower that reads embedded words.

    The prompts are "A photo of [id tokens] and [pseudo-words] person." and, of an identity by itself, "A photo of
    [id tokens] person". The copy is that of the moment of the last `take`.
    """

    begin: Tensor
    joint: Tensor
    end: Tensor
    prototype_end: Tensor

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._ids = _pieces(tokenizer)
        self.tower = _tower(backbone)
        for name, words in self._embedded(backbone).items():
            self.register_buffer(name, words)
        self.width = self.begin.shape[1]
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def take(self, backbone: Backbone) -> None:
        """Copy the text tower's present weights."""
        self.tower.load_state_dict(_tower(backbone).state_dict())
        for name, words in self._embedded(backbone).items():
            getattr(self, name).copy_(words)

    def train(self, mode: bool = True) -> "PromptEncoder":
        """Stays in evaluation mode: it is frozen."""
        return super().train(False)

    def forward(self, identity: Tensor, pseudo: Tensor | None = None) -> Tensor:
        """(B, D), not normalised.

        Args:
            identity: (B, M, W), the tokens of each prompt's identity.
            pseudo: (B, m, W), P of eq 4; without them it is the identity's prototype (eq 7).
        """
        rows = len(identity)
        parts = [self.begin, identity, self.prototype_end]
        if pseudo is not None:
            parts = [self.begin, identity, self.joint, pseudo, self.end]
        whole = [part.expand(rows, -1, -1) if part.ndim == 2 else part.float() for part in parts]
        found: Tensor = self.tower(torch.cat(whole, dim=1))
        return found

    @torch.no_grad()
    def _embedded(self, backbone: Backbone) -> dict[str, Tensor]:
        table = _words_of(backbone)
        return {
            name: table(torch.tensor(ids, device=table.weight.device)).detach().float()
            for name, ids in self._ids.items()
        }


class _ClipText(nn.Module):
    """CLIP's text tower, read out at the last place: all prompts of a batch are equally long."""

    attention: Tensor

    def __init__(self, backbone: "ClipBackbone") -> None:
        super().__init__()
        clip = backbone.clip
        self.transformer, self.norm = copy.deepcopy(clip.transformer), copy.deepcopy(clip.ln_final)
        self.positions = nn.Parameter(clip.positional_embedding.detach().clone())
        self.project = nn.Parameter(clip.text_projection.detach().clone())
        self.register_buffer("attention", clip.attn_mask.clone(), persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        length = words.shape[1]
        mask = self.attention[:length, :length]
        hidden = self.transformer(words + self.positions[:length], attn_mask=mask)
        found: Tensor = self.norm(hidden[:, -1]) @ self.project
        return found


class _CompactText(nn.Module):
    """`compact`'s text tower."""

    def __init__(self, tower: CompactTextTower) -> None:
        super().__init__()
        self.words = copy.deepcopy(tower)

    def forward(self, words: Tensor) -> Tensor:
        found: Tensor = self.words.join(self.words.bound(words).amax(dim=1))
        return found


def _tower(backbone: Backbone) -> nn.Module:
    if isinstance(backbone, CompactBackbone):
        return _CompactText(backbone.text_tower).requires_grad_(False)
    return _ClipText(_clip(backbone)).requires_grad_(False)


def _clip(backbone: Backbone) -> "ClipBackbone":
    from models.backbones.clip import ClipBackbone

    if not isinstance(backbone, ClipBackbone):
        raise TypeError(f"{type(backbone).__name__} has no text tower that reads embedded words")
    return backbone


def _words_of(backbone: Backbone) -> nn.Embedding:
    if isinstance(backbone, CompactBackbone):
        return backbone.text_tower.embed
    table = _clip(backbone).clip.token_embedding
    assert isinstance(table, nn.Embedding)
    return table


def _pieces(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The ids of the prompt's fixed parts, with the marks that the tokenizer puts before and after a text."""
    found = {}
    for name, text in {"begin": _BEGIN, "joint": _AND, "end": _END, "prototype_end": _PROTOTYPE_END}.items():
        ids = tokenizer([text]).ids[0]
        present, words = ids != 0, tokenizer.words(ids)
        first, last = int(words.nonzero()[0]), int(words.nonzero()[-1]) + 1
        front = first if name != "begin" else 0
        back = last if name in ("begin", "joint") else int(present.sum())
        found[name] = ids[front:back].tolist()
    return found
