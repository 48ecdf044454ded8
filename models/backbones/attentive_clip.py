"""CLIP through open_clip, with the attention of its last layers (methods.md 6.2)."""

import torch
from open_clip.transformer import Transformer
from torch import Tensor

from models.backbones.attentive import Attended, AttentiveBackbone
from models.backbones.clip import ClipBackbone
from models.taps import is_tapped, tap_tokens
from models.truncation import cut_after_end


class AttentiveClip(ClipBackbone, AttentiveBackbone):
    """`ClipBackbone` with the same features; its last layers are computed with their attention."""

    def image(self, pixels: Tensor) -> Attended:
        tower = self.clip.visual
        hidden, weights = _with_attention(tower.transformer, tower._embeds(pixels), grid=tower.grid_size)
        hidden = tower.ln_post(hidden) @ tower.proj
        read = weights[:, 0, 1:].float()
        local = torch.ones_like(read, dtype=torch.bool)
        return Attended(hidden[:, 0], hidden[:, 1:], attention=read, local=local)

    def text(self, token_ids: Tensor) -> Attended:
        ids = cut_after_end(token_ids)
        end, length = ids.argmax(dim=-1), ids.shape[1]
        hidden = self.clip.token_embedding(ids) + self.clip.positional_embedding[:length]
        hidden, weights = _with_attention(self.clip.transformer, hidden, self.clip.attn_mask[:length, :length])
        tokens = self.clip.ln_final(hidden) @ self.clip.text_projection
        rows = torch.arange(ids.shape[0], device=ids.device)
        place = torch.arange(length, device=ids.device)
        local = (ids != 0) & (place > 0) & (place != end[:, None])
        local = local | ((place == end[:, None]) & ~local.any(dim=1, keepdim=True))
        read = weights[rows, end].float()
        return Attended(tokens[rows, end], tokens, ids != 0, attention=read, local=local)


def _with_attention(
    transformer: Transformer, x: Tensor, mask: Tensor | None = None, *, grid: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """open_clip's `Transformer.forward` on (B, N, D), and the last layer's attention (B, N, N), mean over heads.

    With the `grid` of an image's patches, what is tapped is what the last layer reads.
    """
    if not transformer.batch_first:
        x = x.transpose(0, 1)
    *blocks, last = transformer.resblocks
    for block in blocks:
        x = block(x, attn_mask=mask)
    if grid is not None and is_tapped():
        x = tap_tokens(x, grid) if transformer.batch_first else tap_tokens(x.transpose(0, 1), grid).transpose(0, 1)
    normed = last.ln_1(x)
    read, weights = last.attn(
        normed, normed, normed, need_weights=True, attn_mask=None if mask is None else mask.to(normed.dtype)
    )
    x = x + last.ls_1(read)
    x = x + last.ls_2(last.mlp(last.ln_2(x)))
    return x if transformer.batch_first else x.transpose(0, 1), weights
