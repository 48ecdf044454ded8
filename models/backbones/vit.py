"""ViT-B/16's patches through transformers: BDAM's image tower (methods.md 8)."""

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViTConfig, ViTModel

from models.encoder import EncoderSpec
from models.errors import BackboneError

_PATCH = 16
_POSITIONS = "embeddings.position_embeddings"


class VitPatches(nn.Module):
    """(B, 3, H, W) to patch tokens (B, H/16 * W/16, width) after the final norm, without the class token.

    Args:
        size: (H, W) in pixels, multiples of 16.
        layers, width, heads: the defaults are those of vit-base.

    Raises:
        ValueError: a size that is no multiple of 16.
    """

    def __init__(self, size: tuple[int, int], *, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        if size[0] % _PATCH or size[1] % _PATCH:
            raise ValueError(f"a ViT of {_PATCH} x {_PATCH} patches cannot see {size[0]} x {size[1]} pixels")
        self.width = width
        self.grid = (size[0] // _PATCH, size[1] // _PATCH)
        config = ViTConfig(
            image_size=list(size),
            patch_size=_PATCH,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        self.vit = ViTModel(config, add_pooling_layer=False)

    @classmethod
    def of(cls, spec: EncoderSpec) -> Self:
        """The tower of a spec; its options may make the ViT smaller."""
        names = ("layers", "width", "heads")
        sizes = {name: int(spec.options[f"vit_{name}"]) for name in names if f"vit_{name}" in spec.options}
        return cls((spec.preprocessing.height, spec.preprocessing.width), **sizes)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden: Tensor = self.vit(pixel_values=pixels).last_hidden_state
        return hidden[:, 1:]

    @property
    def last_weight(self) -> nn.Parameter:
        """The output weight of the last block's MLP, (width, 4 * width)."""
        # Found by its shape: transformers has renamed the modules of its ViT within a major version.
        shape = (self.width, 4 * self.width)
        return [parameter for parameter in self.vit.parameters() if parameter.shape == shape][-1]

    def load_pretrained(self, folder: Path) -> None:
        """Load published weights from a folder as Hugging Face publishes it (config.json, model.safetensors).

        The classifier is left out; positions of another size are resized bilinearly.

        Raises:
            BackboneError: no such folder, an unreadable file, or weights of another shape.
        """
        if not (folder / "model.safetensors").is_file():
            raise BackboneError(f"{folder} has no model.safetensors; give the folder of a ViT as Hugging Face has it")
        try:
            # The library reads the names of its older versions, which published files have.
            found: Any = ViTModel.from_pretrained(
                str(folder),
                add_pooling_layer=False,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise BackboneError(f"{folder} holds no readable ViT: {type(error).__name__}: {error}") from error
        published, told = found
        if missing := sorted(told["missing_keys"]):
            raise BackboneError(f"{folder} holds no whole ViT: {missing[0]} and {len(missing) - 1} more are missing")
        state: dict[str, Tensor] = published.state_dict()
        state[_POSITIONS] = _resized(state[_POSITIONS], self.grid)
        try:
            self.vit.load_state_dict(state)
        except RuntimeError as error:
            raise BackboneError(f"the weights in {folder} do not fit: {error}") from error


def _resized(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, 1 + s * s, D), class token first, to (1, 1 + h * w, D)."""
    side = round((places.shape[1] - 1) ** 0.5)
    if (side, side) == grid:
        return places
    square = places[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    sized = F.interpolate(square, size=grid, mode="bilinear").flatten(2).transpose(1, 2)
    whole = F.pad(sized, (0, 0, 1, 0))
    whole[:, :1] = places[:, :1]
    return whole
