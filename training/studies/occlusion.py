"""Occlusion, the rival of `models.heat`: what a score loses when a window of the picture is covered.

M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 3.
"""

import torch
from torch import Tensor

from models.encoder import PersonEncoder

_WINDOW, _STEP = 4, 12
"""A window is a quarter of the height and a third of the width of the picture, moved by a twelfth of each."""


@torch.no_grad()
def occlusion(encoder: PersonEncoder, pixels: Tensor, direction: Tensor, batch: int = 64) -> Tensor:
    """Mean loss of <v(x), direction> over the windows that cover a place, (H, W) float32 on the CPU.

    The cover is the mean colour of the picture. Any encoder will do, for some 200 passes.

    Args:
        pixels: (3, H, W) uint8, from `encoder.preprocess`.
        direction: (dim,) float, in the `text` space.
    """
    device = next(encoder.parameters(), torch.empty(0)).device
    picture = encoder.normalise(pixels.unsqueeze(0).to(device))
    height, width = picture.shape[2:]
    masks = _windows(height, width).to(device)
    cover, towards = picture.mean(dim=(2, 3), keepdim=True), direction.to(device)
    whole = (encoder.encode_image(picture)["text"].float() @ towards).item()
    lost = [
        whole - encoder.encode_image(torch.where(some, cover, picture))["text"].float() @ towards
        for some in torch.split(masks, batch)
    ]
    weights = masks[:, 0].float()
    total = (torch.cat(lost)[:, None, None] * weights).sum(dim=0)
    return (total / weights.sum(dim=0).clamp(min=1)).cpu()


def _windows(height: int, width: int) -> Tensor:
    """(n, 1, height, width) bool, True within a window; windows may reach over the border."""
    tall, wide = max(1, height // _WINDOW), max(1, width // (_WINDOW - 1))
    found = []
    for top in range(-tall // 2, height - tall // 2, max(1, height // _STEP)):
        for left in range(-wide // 2, width - wide // 2, max(1, width // _STEP)):
            mask = torch.zeros(1, height, width, dtype=torch.bool)
            mask[:, max(0, top) : top + tall, max(0, left) : left + wide] = True
            found.append(mask)
    return torch.stack(found)
