"""The open_clip backbone, on random weights (no pretrained ones can be had here)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from models.backbones.clip import POSITIONS, ClipBackbone, resize_positions
from models.checkpoint import load_checkpoint, save_checkpoint
from models.clip_baseline import create_open_clip, open_clip_spec
from models.errors import BackboneError
from models.tokenizers import Tokenizer, TokenizerSpec

NAME = "ViT-B-16-quickgelu"


@pytest.fixture(scope="module")
def square() -> ClipBackbone:
    torch.manual_seed(0)
    return ClipBackbone(NAME, image_size=(224, 224)).eval()


@pytest.fixture(scope="module")
def weights(square: ClipBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "open_clip_model.safetensors"
    save_file(square.clip.state_dict(), path)
    return path


@torch.inference_mode()
def test_features_agree_with_open_clip(square: ClipBackbone) -> None:
    pixels = torch.randn(2, 3, 224, 224)
    image = square.image(pixels)
    torch.testing.assert_close(image.pooled, square.clip.encode_image(pixels))
    assert image.tokens.shape == (2, 196, 512)
    ids = Tokenizer.build(TokenizerSpec("clip_bpe", 77))(
        ["a woman in red", "a man with a very large black backpack"]
    ).ids
    text = square.text(ids)
    torch.testing.assert_close(text.pooled, square.clip.encode_text(ids), atol=1e-5, rtol=1e-5)
    assert text.mask is not None
    assert text.mask.sum(dim=1).tolist() == (ids != 0).sum(dim=1).tolist()


@torch.inference_mode()
def test_pretrained_weights_become_a_servable_checkpoint(weights: Path, tmp_path: Path) -> None:
    encoder = create_open_clip(NAME, str(weights))
    assert (encoder.spec.preprocessing.height, encoder.spec.preprocessing.width) == (384, 128)
    pixels = torch.randn(1, 3, 384, 128)
    before = encoder.encode_image(pixels)["text"]
    assert before.shape == (1, 512)
    loaded = load_checkpoint(save_checkpoint(encoder, tmp_path / "clip", card="# CLIP\n").path)
    torch.testing.assert_close(loaded.encode_image(pixels)["text"], before, atol=1e-6, rtol=0)
    ids = encoder.tokenize(["a woman in red"]).ids
    torch.testing.assert_close(loaded.encode_text(ids), encoder.encode_text(ids), atol=1e-6, rtol=0)


def test_positions_are_resized_as_irra_does(square: ClipBackbone) -> None:
    positions = square.clip.visual.positional_embedding.detach()
    resized = resize_positions(positions, (24, 8))
    grid = positions[1:].T.reshape(1, 768, 14, 14)
    expected = F.interpolate(grid, size=(24, 8), mode="bilinear")[0].flatten(1).T
    assert torch.equal(resized[0], positions[0])
    torch.testing.assert_close(resized[1:], expected)
    torch.testing.assert_close(resize_positions(positions, (14, 14)), positions)


def test_positions_that_are_no_square_are_refused() -> None:
    with pytest.raises(BackboneError, match="square"):
        resize_positions(torch.zeros(1 + 15, 8), (4, 4))


def test_weights_of_another_model_are_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(weights)
    del state[POSITIONS]
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(BackboneError, match="do not fit"):
        create_open_clip(NAME, str(tmp_path / "half.safetensors"))


def test_a_pickle_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "ViT-B-16.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(BackboneError, match="never opens pickles"):
        create_open_clip(NAME, str(tmp_path / "ViT-B-16.pt"))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(BackboneError, match="ViT-B-16"):
        open_clip_spec("ViT-B-17")
    with pytest.raises(BackboneError, match="openai"):
        create_open_clip(NAME, "no-such-tag")


def test_a_model_of_another_shape_is_refused() -> None:
    with pytest.raises(BackboneError, match="class token"):
        open_clip_spec("RN50-quickgelu", height=224, width=224)


def test_without_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackboneError, match="With no network"):
        create_open_clip(NAME, "openai")
