"""A small CLIP, known to open_clip by name. Narrower ones lose more to bfloat16 than those that people use."""

import json
from pathlib import Path

NAME = "ViT-tiny-descry-test"


def register_tiny_clip(folder: Path) -> str:
    """Tell open_clip of it; its name."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.json"
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    path.write_text(json.dumps({"embed_dim": 64, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return NAME
