"""HPL's CLIP: a second class token. A file of its own, because open_clip takes seconds to import."""

import torch
from torch import Tensor, nn

from models.backbones.base import Features
from models.backbones.clip import ClipBackbone
from models.backbones.routed import Routed, RoutedBackbone


class RoutedClip(RoutedBackbone, ClipBackbone):
    """CLIP with a second class token: a copy of the first and of its position embedding (methods.md 7, point 1).

    Both go through all blocks, ln_post and proj. All tokens attend to both, so that the first one's output is that of
    plain CLIP only when the second is hidden.
    """

    def __init__(self, name: str, *, image_size: tuple[int, int], routed: bool) -> None:
        super().__init__(name, image_size=image_size)
        self.class_i2i = nn.Parameter(self._first_token()) if routed else None

    def route(self, pixels: Tensor) -> Routed:
        tower = self.clip.visual
        tokens = tower._embeds(pixels)
        if self.class_i2i is not None:
            second = tower.ln_pre(self.class_i2i).to(tokens.dtype).expand(tokens.shape[0], 1, -1)
            tokens = torch.cat([tokens[:, :1], second, tokens[:, 1:]], dim=1)
        hidden = tower.ln_post(self.blocks(tokens)) @ tower.proj
        t2i = hidden[:, 0]
        if self.class_i2i is None:
            return Routed(t2i, t2i, hidden[:, 1:])
        return Routed(t2i, hidden[:, 1], hidden[:, 2:])

    def text_sequence(self, text: Features) -> tuple[Tensor, Tensor | None]:
        return text.tokens, text.mask

    def load_pretrained(self, pretrained: str) -> None:
        """As `ClipBackbone.load_pretrained`; the second token is then a copy of the loaded first one."""
        super().load_pretrained(pretrained)
        if self.class_i2i is not None:
            with torch.no_grad():
                self.class_i2i.copy_(self._first_token())

    @torch.no_grad()
    def _first_token(self) -> Tensor:
        tower = self.clip.visual
        token: Tensor = tower.class_embedding + tower.positional_embedding[0]
        return token
