"""Image towers through timm whose local features LGUR uses: DeiT-Small and ResNet-50 (methods.md 4)."""

from pathlib import Path

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import BackboneError

_DEIT_DIM, _DROP_PATH = 384, 0.1
_PATCH, _SQUARE = 16, 14
"""Published DeiT positions: 14 x 14 patches of 16 pixels of a square picture."""


class DeitPatches(nn.Module):
    """DeiT-Small's patch tokens (B, N, 384) after block 11 of 12, without class token and final norm.

    Raises:
        ValueError: `dim` is not 384.
    """

    def __init__(self, size: tuple[int, int], dim: int) -> None:
        super().__init__()
        if dim != _DEIT_DIM:
            raise ValueError(f"DeiT-Small has {_DEIT_DIM} dimensions, the spec {dim}")
        net = timm.create_model("deit_small_patch16_224", img_size=size, num_classes=0, drop_path_rate=_DROP_PATH)
        blocks = net.blocks
        assert isinstance(blocks, nn.Sequential)
        net.blocks = blocks[:-1]
        net.norm = nn.Identity()
        self.net = net
        self.grid = (size[0] // _PATCH, size[1] // _PATCH)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden: Tensor = self.net.forward_features(pixels)  # type: ignore[operator]
        return hidden[:, 1:]

    def load_pretrained(self, path: Path) -> None:
        """Load published weights, with or without a distillation token, which is dropped; positions are resized
        bilinearly.

        Raises:
            BackboneError: an unreadable file, or weights of another shape.
        """
        state = _read(path)
        if (places := state.get("pos_embed")) is not None:
            extra = places.shape[1] - _SQUARE**2  # class token, and perhaps a distillation token
            grid = places[:, extra:].transpose(1, 2).view(1, -1, _SQUARE, _SQUARE)
            sized = F.interpolate(grid, size=self.grid, mode="bilinear")
            state["pos_embed"] = F.pad(sized.flatten(2).transpose(1, 2), (0, 0, 1, 0)).clone()
            state["pos_embed"][:, :1] = places[:, :1]
        _fill(self.net, state, path)


class ResnetPatches(nn.Module):
    """ResNet-50's last maps (B, H/32 * W/32, dim) after a 1 x 1 convolution from 2,048 channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = timm.create_model("resnet50", features_only=True, out_indices=[4])
        self.project = nn.Conv2d(2048, dim, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.project(self.net(pixels)[0]).flatten(2).transpose(1, 2)
        return tokens

    def load_pretrained(self, path: Path) -> None:
        """Load published weights; the classifier is left out.

        Raises:
            BackboneError: an unreadable file, or weights of another shape.
        """
        _fill(self.net, _read(path), path)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{path} is not a readable safetensors file: {error}") from error
    return state


def _fill(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load what the network has; a published file has more (classifiers, the last block)."""
    mine = net.state_dict()
    if missing := sorted(set(mine) - set(state)):
        raise BackboneError(f"{path} does not hold this network: {missing[0]} and {len(missing) - 1} more are missing")
    try:
        net.load_state_dict({name: state[name] for name in mine})
    except RuntimeError as error:
        raise BackboneError(f"the weights in {path} do not fit: {error}") from error
