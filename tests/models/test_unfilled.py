"""A network that is loaded is not drawn first, and all that it consists of comes from its checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.checkpoint import load_checkpoint, read_info, save_checkpoint
from models.encoder import PersonEncoder
from models.registry import build
from models.unfilled import Unfilled
from tests.models.test_truncation import SPECS
from tests.models.tiny_clip import register_tiny_clip


@pytest.mark.parametrize("name", SPECS)
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    register_tiny_clip(tmp_path / "clip")
    torch.manual_seed(5)
    made = build(SPECS[name]())
    info = save_checkpoint(made, tmp_path / "checkpoint", card="")
    loaded = load_checkpoint(info.path)
    assert tensors(loaded).keys() == tensors(made).keys()
    assert all(torch.equal(own, tensors(made)[path]) for path, own in tensors(loaded).items())
    assert loaded.fingerprint == info.fingerprint == read_info(info.path).fingerprint


def test_networks_are_drawn_again_afterwards() -> None:
    before = torch.get_rng_state()
    with Unfilled():
        nn.Linear(64, 64)
        nn.Conv2d(3, 8, 3)
        nn.Embedding(9, 8)
        nn.init.trunc_normal_(torch.empty(4, 4), std=0.02)
        nn.MultiheadAttention(8, 2)
        torch.empty(3).normal_()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    first = nn.Linear(64, 64).weight
    torch.manual_seed(1)
    assert torch.equal(first, nn.Linear(64, 64).weight)
    assert float(first.detach().std()) > 0.01


def tensors(encoder: PersonEncoder) -> dict[str, torch.Tensor]:
    return {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
