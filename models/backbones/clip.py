"""CLIP's two towers through open_clip, at a person's aspect ratio (methods.md 1.1)."""

from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from models.backbones.base import Backbone, Features
from models.errors import BackboneError
from models.taps import is_tapped, tap_tokens
from models.truncation import cut_after_end

POSITIONS = "visual.positional_embedding"


class ClipBackbone(Backbone):
    """An open_clip model of the standard CLIP shape: ViT image tower, causal text tower read out at <end>.

    Args:
        name: open_clip's model name, e.g. "ViT-B-16-quickgelu" (OpenAI's weights need QuickGELU).
        image_size: (height, width) in pixels, multiples of the patch size.

    Raises:
        BackboneError: open_clip has no such model, or it is not of the standard CLIP shape.
    """

    def __init__(self, name: str, *, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.clip = _standard_clip(name, image_size)
        self.name = name
        self.dim = int(self.clip.text_projection.shape[1])

    @property
    def context_length(self) -> int:
        """Tokens that the text tower reads (77 for CLIP)."""
        return int(self.clip.context_length)

    def image(self, pixels: Tensor) -> Features:
        tower = self.clip.visual
        hidden = tower.ln_post(self.blocks(tower._embeds(pixels))) @ tower.proj
        return Features(hidden[:, 0], hidden[:, 1:])

    def blocks(self, tokens: Tensor) -> Tensor:
        """The image tower's transformer, (B, N, D) to (B, N, D); what is tapped is what its last block reads."""
        transformer = self.clip.visual.transformer
        if not is_tapped():
            read: Tensor = transformer(tokens)
            return read
        for block in transformer.resblocks[:-1]:
            tokens = block(tokens)
        rows, columns = self.clip.visual.grid_size
        last: Tensor = transformer.resblocks[-1](tap_tokens(tokens, (rows, columns)))
        return last

    def text(self, token_ids: Tensor) -> Features:
        ids = cut_after_end(token_ids)
        end, length = ids.argmax(dim=-1), ids.shape[1]
        hidden = self.clip.token_embedding(ids) + self.clip.positional_embedding[:length]
        hidden = self.clip.transformer(hidden, attn_mask=self.clip.attn_mask[:length, :length])
        tokens = self.clip.ln_final(hidden) @ self.clip.text_projection
        rows = torch.arange(ids.shape[0], device=ids.device)
        return Features(tokens[rows, end], tokens, ids != 0)

    def load_pretrained(self, pretrained: str) -> None:
        """Load CLIP weights: one of open_clip's tags for this model, or the path of a local .safetensors file.

        The position embedding is resized as IRRA does (bilinear, no antialias), not as open_clip does.

        Raises:
            BackboneError: unknown tag, unreadable file, no network, or weights of another shape.
        """
        path = _find_weights(self.name, pretrained)
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{path} is not a readable safetensors file: {error}") from error
        if POSITIONS in state:
            state[POSITIONS] = resize_positions(state[POSITIONS], self.clip.visual.grid_size)
        try:
            self.clip.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise BackboneError(f"the weights in {path} do not fit {self.name}: {error}") from error


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a square grid of position embeddings, class token first: (1 + s*s, D) to (1 + h*w, D), in fp32.

    Bilinear, align_corners off, no antialias (IRRA's `resize_pos_embed`, methods.md 1.1).
    """
    first, cells = positions[:1].float(), positions[1:].float()
    side = round(len(cells) ** 0.5)
    if side * side != len(cells):
        raise BackboneError(f"{len(cells)} patch positions are not a square grid")
    square = cells.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1)])


def config_of(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model.

    Raises:
        BackboneError: it has no such model.
    """
    if name not in open_clip.list_models():
        near = [known for known in open_clip.list_models() if known.lower().startswith(name.lower()[:6])]
        raise BackboneError(f"open_clip has no model {name!r}; near names: {', '.join(near) or 'none'}")
    config: dict[str, Any] = open_clip.get_model_config(name)
    return config


def _standard_clip(name: str, image_size: tuple[int, int]) -> CLIP:
    """The bare network: open_clip's factory would warn of random weights, which a checkpoint is about to replace."""
    config = config_of(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    standard = (
        set(config) <= {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
        and "timm_model_name" not in vision
        and isinstance(vision["layers"], int)
        and not vision.get("attentional_pool")
        and vision.get("pool_type", "tok") == "tok"
        and "hf_model_name" not in text
        and text.get("pool_type", "argmax") == "argmax"
    )
    if not standard:
        raise BackboneError(f"{name} is not a CLIP with a ViT and a class token; choose e.g. ViT-B-16-quickgelu")
    return CLIP(**{**config, "vision_cfg": {**vision, "image_size": image_size}})


def _find_weights(name: str, pretrained: str) -> Path:
    local = Path(pretrained).expanduser()
    if local.is_file():
        if local.suffix != ".safetensors":
            raise BackboneError(
                f"{local} is not a .safetensors file. Descry never opens pickles (.pt, .bin): convert it once with "
                "safetensors.torch.save_file on a machine you trust it on"
            )
        return local
    tags = list_pretrained_tags_by_model(name)
    if pretrained not in tags:
        raise BackboneError(
            f"{pretrained!r} is neither a file nor a tag of {name}; its tags: {', '.join(tags) or 'none'}"
        )
    try:
        found = Path(download_pretrained(get_pretrained_cfg(name, pretrained)))
    except Exception as error:
        raise BackboneError(
            f"the weights {pretrained!r} of {name} could not be downloaded ({type(error).__name__}: {error}). "
            "With no network: fetch open_clip_model.safetensors on another machine and give its path instead of the tag"
        ) from error
    if found.suffix != ".safetensors":
        raise BackboneError(
            f"the weights {pretrained!r} of {name} are published as a pickle only, which Descry never opens"
        )
    return found
