"""HKGR's network (methods.md 6.2), on `compact` and, with random weights, on CLIP ViT-B/16 at full size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.backbones.attentive import Attended
from models.backbones.attentive_clip import AttentiveClip
from models.backbones.clip import ClipBackbone
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import BackboneError
from models.hkgr import Hkgr, TokenEmbedding, hkgr_spec, joined, select
from models.registry import build
from models.tokenizers import TokenizerSpec

SMALL = {"dim": 16, "image_width": 4, "rows": 2, "text_width": 16, "heads": 2, "fine_dim": 24}
WORDS = TokenizerSpec("words", 16, ("a", "red", "jacket", "woman", "hat"))
CLIP = "ViT-B-16-quickgelu"


def small(**changes: object) -> Hkgr:
    torch.manual_seed(0)
    encoder = build(hkgr_spec("compact", WORDS, height=32, width=16, options={**SMALL, **changes}))
    assert isinstance(encoder, Hkgr)
    return encoder.eval()


@torch.inference_mode()
def test_the_score_is_the_mean_of_the_two_cosines() -> None:
    network = small()
    ids = network.tokenize(["a red jacket", "woman", "a hat"]).ids
    image, text = network.backbone.image(torch.randn(2, 3, 32, 16)), network.backbone.text(ids)
    fine_image, fine_text = network.image_embedding(image), network.text_embedding(text)
    assert fine_image is not None
    assert fine_text is not None
    score = joined(image.pooled, fine_image) @ joined(text.pooled, fine_text).T
    for i in range(2):
        for j in range(3):
            coarse = F.cosine_similarity(image.pooled[i], text.pooled[j], dim=0)
            fine = F.cosine_similarity(fine_image[i], fine_text[j], dim=0)
            torch.testing.assert_close(score[i, j], (coarse + fine) / 2)
    torch.testing.assert_close(network.encode_text(ids), joined(text.pooled, fine_text))
    assert network.encode_text(ids).shape == (3, 16 + 24)


def test_selection_takes_what_is_read_most_and_no_other_places() -> None:
    rng = np.random.default_rng(0)
    tokens, read = rng.normal(size=(4, 9, 3)), rng.random((4, 9))
    local = rng.random((4, 9)) < 0.6
    local[0], local[1] = False, True
    local[0, 5] = True
    found = Attended(
        torch.zeros(4, 3), torch.tensor(tokens), attention=torch.tensor(read).float(), local=torch.tensor(local)
    )
    chosen, kept = select(found, 4)
    assert chosen.shape == (4, 4, 3)
    for row in range(4):
        best = sorted((n for n in range(9) if local[row, n]), key=lambda n: -read[row, n])[:4]
        assert int(kept[row].sum()) == len(best)
        np.testing.assert_array_equal(chosen[row, : len(best)].numpy(), tokens[row, best])


def plain_embedding(layer: TokenEmbedding, tokens: np.ndarray, kept: np.ndarray, *, training: bool) -> np.ndarray:
    """RDE's layer in loops over descriptions and tokens."""
    w = {name: value.detach().double().numpy() for name, value in layer.state_dict().items()}
    unit = {
        (b, k): tokens[b, k] / np.linalg.norm(tokens[b, k]) for b in range(len(tokens)) for k in np.flatnonzero(kept[b])
    }
    hidden = {at: w["mlp.0.weight"] @ x + w["mlp.0.bias"] for at, x in unit.items()}
    every = np.stack(list(hidden.values()))
    mean, variance = (every.mean(0), every.var(0)) if training else (w["mlp.1.running_mean"], w["mlp.1.running_var"])
    out = np.full((len(tokens), len(w["linear.bias"])), -np.inf)
    for (b, k), x in unit.items():
        h = (hidden[b, k] - mean) / np.sqrt(variance + 1e-5) * w["mlp.1.weight"] + w["mlp.1.bias"]
        mlp = w["mlp.3.weight"] @ np.maximum(h, 0) + w["mlp.3.bias"]
        out[b] = np.maximum(out[b], w["linear.weight"] @ x + w["linear.bias"] + mlp)
    return out


@pytest.mark.parametrize("training", [True, False])
def test_the_token_embedding_agrees_with_plain_loops(training: bool) -> None:
    torch.manual_seed(2)
    layer = TokenEmbedding(5, 7).double().train(training)
    with torch.no_grad():
        layer.mlp[1].running_mean.normal_()  # type: ignore[operator]
        layer.mlp[1].weight.normal_()  # type: ignore[operator]
    tokens = torch.randn(3, 4, 5, dtype=torch.float64)
    kept = torch.tensor([[True] * 4, [True, False, False, False], [True, True, False, False]])
    expected = plain_embedding(layer, tokens.numpy(), kept.numpy(), training=training)
    np.testing.assert_allclose(layer(tokens, kept).detach().numpy(), expected, atol=1e-12)


@torch.inference_mode()
def test_no_description_is_unsafe_and_none_changes_another() -> None:
    network = small()
    texts = ["", "a red jacket and a hat " * 3, "?!", "woman", "zzzz"]
    together = network.encode_text(network.tokenize(texts).ids)
    assert bool(together.isfinite().all())
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    alone = torch.cat([network.encode_text(network.tokenize([text]).ids) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert float((together[1] - together[3]).norm()) > 0.01
    pixels = torch.randn(3, 3, 32, 16)
    images = torch.cat([network.encode_image(one[None])["text"] for one in pixels])
    torch.testing.assert_close(network.encode_image(pixels)["text"], images, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_compact_reads_its_tokens_by_shares_that_sum_to_one() -> None:
    network = small()
    image = network.backbone.image(torch.randn(2, 3, 32, 16))
    assert image.tokens.shape == (2, 4 * 2, 16)
    text = network.backbone.text(torch.tensor([[2, 3, 0], [0, 0, 0]]))
    for found in (image, text):
        torch.testing.assert_close(found.attention.sum(dim=1), torch.ones(2))
        assert not bool(found.attention[~found.local].any())
    assert text.local.tolist() == [[True, True, False], [True, False, False]]


def test_without_the_fine_grain_the_global_feature_is_left() -> None:
    network = small(fine=False)
    assert network.encode_image(torch.randn(2, 3, 32, 16))["text"].shape == (2, 16)
    assert not any("fine" in name for name, _ in network.named_parameters())


def test_a_checkpoint_carries_everything(tmp_path: Path) -> None:
    network = small()
    save_checkpoint(network, tmp_path, card="card")
    again = load_checkpoint(tmp_path)
    pixels = torch.randn(2, 3, 32, 16)
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_image(pixels)["text"], network.encode_image(pixels)["text"])
        ids = again.tokenize(["a red jacket", ""]).ids
        torch.testing.assert_close(again.encode_text(ids), network.encode_text(ids))
    assert not again.training


def test_options_and_backbones_that_are_not_there_are_refused() -> None:
    with pytest.raises(TypeError, match="atoms"):
        small(atoms=3)
    with pytest.raises(BackboneError, match="near names"):
        hkgr_spec("ViT-B-17")
    with pytest.raises(ValueError, match="vocabulary"):
        hkgr_spec("compact")
    with pytest.raises(ValueError, match="odd"):
        small(text_kernel=4)


@pytest.fixture(scope="module")
def clip() -> Hkgr:
    torch.manual_seed(0)
    network = build(hkgr_spec(CLIP))
    assert isinstance(network, Hkgr)
    return network


@torch.inference_mode()
def test_clips_selection_at_full_size(clip: Hkgr, monkeypatch: pytest.MonkeyPatch) -> None:
    clip.eval()
    texts = ["", "a woman in a red jacket", "a very long description of a person " * 12]
    ids = clip.tokenize(texts).ids
    image, text = clip.backbone.image(torch.randn(1, 3, 384, 128)), clip.backbone.text(ids)
    assert image.tokens.shape == (1, 192, 512)
    picked: list[Tensor] = []

    def recorded(found: Attended, count: int) -> tuple[Tensor, Tensor]:
        tokens, kept = select(found, count)
        picked.append(kept)
        return tokens, kept

    monkeypatch.setattr("models.hkgr.select", recorded)
    vectors = joined(text.pooled, clip.text_embedding(text)), joined(image.pooled, clip.image_embedding(image))
    assert [shown.sum(dim=1).tolist() for shown in picked] == [[1, 6, 22], [57]]
    assert all(vector.shape[1] == 1536 and bool(vector.isfinite().all()) for vector in vectors)
    alone = torch.cat([clip.encode_text(clip.tokenize([one]).ids) for one in texts])
    torch.testing.assert_close(vectors[0], alone, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_clips_features_stay_and_the_attention_is_the_last_layers(clip: Hkgr) -> None:
    clip.eval()
    backbone = clip.backbone
    assert isinstance(backbone, AttentiveClip)
    ids = clip.tokenize(["a woman in red", "a man with a very large black backpack"]).ids
    pixels = torch.randn(1, 3, 384, 128)
    text, image = backbone.text(ids), backbone.image(pixels)
    for found, same in ((text, ClipBackbone.text(backbone, ids)), (image, ClipBackbone.image(backbone, pixels))):
        torch.testing.assert_close(found.pooled, same.pooled, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(found.tokens, same.tokens, atol=2e-5, rtol=1e-4)
    # The <end> row of the last text layer, by its definition: softmax over what comes before, mean over heads.
    tower, length = backbone.clip.transformer, text.tokens.shape[1]
    hidden = backbone.clip.token_embedding(ids[:, :length]) + backbone.clip.positional_embedding[:length]
    for block in tower.resblocks[:-1]:
        hidden = block(hidden, attn_mask=backbone.clip.attn_mask[:length, :length])
    last = tower.resblocks[-1]
    q, k, _ = F.linear(last.ln_1(hidden), last.attn.in_proj_weight, last.attn.in_proj_bias).chunk(3, dim=-1)
    for row, end in enumerate(ids.argmax(dim=1).tolist()):
        shares = torch.stack(
            [
                (k[row, : end + 1, head : head + 64] @ q[row, end, head : head + 64] / 8).softmax(dim=0)
                for head in range(0, 512, 64)
            ]
        ).mean(dim=0)
        torch.testing.assert_close(text.attention[row, : end + 1], shares, atol=1e-6, rtol=1e-4)
        assert text.local[row].nonzero().flatten().tolist() == list(range(1, end))
