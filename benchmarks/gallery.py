"""The people that benchmarks search: a synthetic gallery, and a data folder with the shipped model active."""

import subprocess
import sys
from pathlib import Path

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.settings import Settings
from models.checkpoint import DEMO, save_checkpoint
from models.clip_baseline import ClipBaseline, open_clip_spec


def make_gallery(folder: Path, identities: int) -> Path:
    """Draw a gallery of synthetic people, four images each, with a manifest."""
    words = ["synthesise-gallery", str(folder), "--identities", str(identities), "--images", "4", "--seed", "7"]
    subprocess.run([sys.executable, "-m", "training", *words], check=True, stdout=subprocess.DEVNULL)
    return folder


def random_clip(backbone: str, folder: Path) -> Path:
    """A checkpoint of the plain CLIP method with random weights: as fast as a trained one."""
    encoder = ClipBaseline(open_clip_spec(backbone, height=384, width=128)).eval()
    save_checkpoint(encoder, folder, card="Random weights, for measuring speed.")
    return folder


def open_with_model(data_dir: Path) -> Core:
    """A fresh data folder with the shipped checkpoint active. The caller closes it."""
    core = open_core(Settings(data_dir=data_dir))
    activate_version(core, register_checkpoint(core, DEMO, "demo").id)
    return core
