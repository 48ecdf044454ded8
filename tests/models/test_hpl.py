"""HPL's Task-Routed Transformer (methods.md 7), on `compact` and, with random weights, on CLIP ViT-B/16."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.backbones.clip import ClipBackbone
from models.backbones.routed import RoutedCompact
from models.backbones.routed_clip import RoutedClip
from models.checkpoint import load_checkpoint, save_checkpoint
from models.clip_baseline import compact_spec
from models.encoder import EncoderSpec
from models.hpl import Hpl, hpl_clip_spec, hpl_compact_spec
from models.registry import build

WORDS = ("a", "red", "jacket", "woman")
SMALL = {"dim": 16, "image_width": 4, "text_width": 16}
SIZE = (32, 16)


def compact(*, routed: bool = True) -> Hpl:
    torch.manual_seed(0)
    network = build(hpl_compact_spec(WORDS, height=32, width=16, routed=routed, options=SMALL))
    assert isinstance(network, Hpl)
    return network.eval()


def clip(*, routed: bool = True) -> RoutedClip:
    torch.manual_seed(0)
    return RoutedClip("ViT-B-16-quickgelu", image_size=SIZE, routed=routed).eval()


@torch.inference_mode()
def test_compact_begins_as_the_baseline_with_both_read_outs_equal() -> None:
    network, pixels = compact(), torch.randn(2, 3, 32, 16)
    assert isinstance(network.backbone, RoutedCompact)
    baseline = build(compact_spec(WORDS, height=32, width=16, **SMALL)).eval()
    shared = {name: value for name, value in network.state_dict().items() if "join_i2i" not in name}
    baseline.load_state_dict(shared)
    found = network.encode_image(pixels)
    torch.testing.assert_close(found["text"], baseline.encode_image(pixels)["text"])
    torch.testing.assert_close(found["image"], found["text"])


@torch.inference_mode()
def test_the_extra_token_enters_clip_as_a_copy_and_leaves_the_patches_as_they_enter() -> None:
    tower, pixels = clip(), torch.randn(2, 3, *SIZE)
    visual = tower.clip.visual
    seen: list[torch.Tensor] = []
    hook = visual.transformer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    routed = tower.route(pixels)
    hook.remove()
    plain = visual._embeds(pixels)
    torch.testing.assert_close(seen[0][:, 0], plain[:, 0])
    torch.testing.assert_close(seen[0][:, 1], plain[:, 0])
    torch.testing.assert_close(seen[0][:, 2:], plain[:, 1:])
    # Two equal tokens stay equal through equal weights.
    torch.testing.assert_close(routed.t2i, routed.i2i, atol=1e-5, rtol=1e-5)
    assert routed.patches.shape == (2, 2, 512)
    assert routed.sequence.shape == (2, 4, 512)


@torch.inference_mode()
def test_clip_s_own_token_is_plain_clip_s_only_while_the_extra_one_is_hidden() -> None:
    tower, pixels = clip(), torch.randn(2, 3, *SIZE)
    visual = tower.clip.visual
    expected = ClipBackbone.image(tower, pixels)
    embedded = visual._embeds(pixels)
    tokens = torch.cat([embedded[:, :1], embedded[:, :1], embedded[:, 1:]], dim=1)
    hidden = torch.zeros(tokens.shape[1], tokens.shape[1])
    hidden[:, 1] = float("-inf")
    masked = visual.ln_post(visual.transformer(tokens, attn_mask=hidden)) @ visual.proj
    torch.testing.assert_close(masked[:, 0], expected.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(masked[:, 2:], expected.tokens, atol=1e-5, rtol=1e-4)
    # Seen by the others, the copy counts the class token twice in every softmax.
    routed = tower.route(pixels)
    assert float((routed.t2i - expected.pooled).abs().max()) > 1e-3
    single = clip(routed=False).route(pixels)
    torch.testing.assert_close(single.t2i, expected.pooled)
    assert single.i2i is single.t2i


def test_loaded_weights_are_copied_into_the_extra_token(tmp_path: Path) -> None:
    tower = clip()
    torch.manual_seed(7)
    state = ClipBackbone("ViT-B-16-quickgelu", image_size=(224, 224)).clip.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "clip.safetensors")
    tower.load_pretrained(str(tmp_path / "clip.safetensors"))
    expected = state["visual.class_embedding"] + state["visual.positional_embedding"][0]
    assert tower.class_i2i is not None
    torch.testing.assert_close(tower.class_i2i.detach(), expected)


@pytest.mark.parametrize("routed", [True, False])
def test_both_spaces_are_exported_and_survive_a_checkpoint(routed: bool, tmp_path: Path) -> None:
    network, pixels = compact(routed=routed), torch.randn(3, 3, 32, 16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_checkpoint(network, tmp_path, card="card")
    again = load_checkpoint(tmp_path)
    assert again.spec.stored_spaces == (("text", "image") if routed else ("text",))
    with torch.inference_mode():
        before, after = network.encode_image(pixels), again.encode_image(pixels)
        ids = again.tokenize(["a red jacket"]).ids
        torch.testing.assert_close(again.encode_text(ids), network.encode_text(ids))
    assert tuple(after) == again.spec.stored_spaces
    for space in after:
        torch.testing.assert_close(after[space], before[space])
        torch.testing.assert_close(after[space].norm(dim=1), torch.ones(3))
    if routed:
        assert float((after["text"] - after["image"]).abs().max()) > 0.01


def test_a_spec_whose_spaces_deny_its_route_is_refused() -> None:
    data = hpl_compact_spec(WORDS, options=SMALL).to_dict()
    data["options"]["routed"] = False
    with pytest.raises(ValueError, match="cannot be stored"):
        build(EncoderSpec.from_dict(data))


def test_a_full_size_clip_routes_and_its_gradients_part_the_tokens() -> None:
    torch.manual_seed(0)
    network = build(hpl_clip_spec("ViT-B-16-quickgelu"))
    assert isinstance(network, Hpl)
    assert isinstance(network.backbone, RoutedClip)
    assert network.spec.spaces["image"].dim == 512
    seen = network.route(torch.randn(1, 3, 384, 128))
    assert seen.sequence.shape == (1, 194, 512)
    seen.i2i.square().sum().backward()  # type: ignore[no-untyped-call]
    token = network.backbone.class_i2i
    assert token is not None
    assert token.grad is not None
    assert token.grad.isfinite().all()
    assert token.grad.abs().sum() > 0
