"""BDAM's network (methods.md 8), on `compact` and, small and with random weights, on ViT and BERT."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertModel, MambaConfig, ViTConfig, ViTForImageClassification
from transformers.models.mamba.modeling_mamba import MambaMixer

from models.backbones.bert import BertSentences
from models.backbones.vit import VitPatches
from models.bdam import Bdam, Decoupled, SkippedMlp, bdam_spec
from models.blocks import SampleDropout
from models.checkpoint import load_checkpoint, save_checkpoint
from models.errors import BackboneError
from models.noise import samples_of
from models.registry import build, methods
from models.tokenizers import TokenizerSpec, WordPieceTokenizer

WORDS = TokenizerSpec("words", 16, ("a", "red", "jacket", "woman"))
TEXTS = ["a woman in a red jacket and a hat", "the man wears black trousers", "a red bag"]
COMPACT = {"dim": 16, "heads": 2, "hidden": 24, "image_width": 4, "text_width": 16}
VIT = {f"{tower}_{what}": n for tower in ("vit", "bert") for what, n in (("layers", 2), ("width", 24), ("heads", 2))}
SMALL = {"depth": 2, "fusion_dim": 32, "out": 20}


def make(backbone: str = "compact", **changes: object) -> Bdam:
    torch.manual_seed(0)
    if backbone == "compact":
        spec = bdam_spec(backbone, WORDS, height=32, width=16, options={**SMALL, **COMPACT, **changes})
    else:
        pieces = WordPieceTokenizer.vocabulary_of(TEXTS * 4, minimum=1, limit=200)
        options = {**SMALL, **VIT, "heads": 2, "hidden": 24, **changes}
        spec = bdam_spec(backbone, TokenizerSpec("wordpiece", 20, pieces), height=32, width=32, options=options)
    network = build(spec)
    assert isinstance(network, Bdam)
    return network.eval()


def pixels(network: Bdam, count: int = 3) -> Tensor:
    pre = network.spec.preprocessing
    return torch.randn(count, 3, pre.height, pre.width)


both = pytest.mark.parametrize("backbone", ["compact", "vit-base+bert"])
SWITCHES: tuple[dict[str, object], ...] = (
    {},
    {"tokens": 2},
    {"decouple": False},
    {"cross": False},
    {"gate": False},
    {"depth": 1},
    {"fusion_gate": False},
    {"align": False},
    {"mamba_layers": 0},
    {"mamba_norm": False},
)


def test_a_quiet_start_adds_nothing_at_first_and_learns() -> None:
    network = make(quiet_start=True, align_skip=True)
    module, mamba = network.decoupling, network.fusion.mamba
    assert module is not None
    tokens = torch.randn(3, 8, 16)
    torch.testing.assert_close(module(tokens).identity, module.identity.project(tokens).mean(dim=1))
    given = torch.randn(3, 1, 32)
    torch.testing.assert_close(mamba(given), mamba.norms[-1](given))
    assert not torch.allclose(make().fusion.mamba(given), mamba.norms[-1](given), atol=1e-3)
    image = network.fusion.image
    assert isinstance(image, SkippedMlp)
    found = image(tokens[:, 0])
    torch.testing.assert_close(found, image.first(tokens[:, 0]))
    (module(tokens).identity_gated.square().sum() + mamba(given)[..., 0].sum() + found.sum()).backward()
    learnt = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    for part in ("identity.blocks.0.out", "identity_cross.out", "identity_cross.feed.2"):
        assert f"decoupling.{part}.weight" in learnt
    assert {"fusion.mamba.mixers.0.out_proj.weight", "fusion.image.last.weight"} <= learnt


@torch.inference_mode()
def test_the_decoupling_chains_as_written() -> None:
    module = make().decoupling
    assert module is not None
    assert module.gate is not None
    assert module.identity_cross is not None
    assert module.clothing_cross is not None
    tokens = torch.randn(3, 8, 16)
    branches = []
    for branch in (module.identity, module.clothing):
        found = tokens @ branch.project.weight.T + branch.project.bias
        for block in branch.blocks:
            found = block(found, found)
        branches.append(found)
    identity, clothing = branches
    identity, clothing = module.identity_cross(identity, clothing), module.clothing_cross(clothing, identity)
    identity, clothing = identity.sum(dim=1) / 8, clothing.sum(dim=1) / 8
    gate = 1 / (1 + torch.exp(-(torch.cat([identity, clothing], 1) @ module.gate.weight.T + module.gate.bias)))
    found = module(tokens)
    for name, expected in {
        "identity": identity,
        "clothing": clothing,
        "gate": gate,
        "identity_gated": gate * identity,
        "clothing_gated": clothing - gate * clothing,
    }.items():
        torch.testing.assert_close(getattr(found, name), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [1, 2])
def test_the_fusion_chains_as_written_and_alone_is_a_weight_of_one(tokens: int) -> None:
    fusion = make(tokens=tokens).fusion
    assert fusion.gate is not None
    image, text = fusion.image(torch.randn(4, 16)), fusion.text(torch.randn(4, 16))
    logits = torch.cat([image, text], 1) @ fusion.gate.weight.T + fusion.gate.bias
    weights = fusion.weights(image, text)
    assert weights is not None
    torch.testing.assert_close(weights, logits.exp() / logits.exp().sum(1, keepdim=True))
    parts = weights[:, 0:1] * image, weights[:, 1:2] * text
    sequence = sum(parts).unsqueeze(1) if tokens == 1 else torch.stack(parts, 1)
    for mixer, norm in zip(fusion.mamba.mixers, fusion.mamba.norms[:2], strict=True):
        sequence = mixer(norm(sequence)) + sequence
    expected = fusion.project(fusion.mamba.norms[2](sequence).mean(1))
    torch.testing.assert_close(fusion.fuse(image, text, weights), expected)
    ones, zeros = torch.ones(4, 1), torch.zeros(4, 1)
    torch.testing.assert_close(fusion.image_alone(image), fusion.fuse(image, text, torch.cat([ones, zeros], 1)))
    torch.testing.assert_close(fusion.text_alone(text), fusion.fuse(image, text, torch.cat([zeros, ones], 1)))


@torch.inference_mode()
def test_transformers_mixers_take_the_place_of_ours() -> None:
    network = make(tokens=2)
    images, ids = pixels(network), network.tokenize(TEXTS).ids
    before = network.encode_image(images)["text"], network.encode_text(ids)
    config = MambaConfig(hidden_size=32, state_size=16, conv_kernel=4, expand=2, num_hidden_layers=2)
    for place, ours in enumerate(network.fusion.mamba.mixers):
        theirs = MambaMixer(config, place)
        theirs.load_state_dict(ours.state_dict())
        network.fusion.mamba.mixers[place] = theirs.train(False)
    after = network.encode_image(images)["text"], network.encode_text(ids)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-5)


@both
@torch.inference_mode()
def test_gates_are_in_range_and_complete(backbone: str) -> None:
    network = make(backbone)
    ids = network.tokenize(TEXTS).ids
    views = network.views(pixels(network), ids, ids, ids)
    found = views.decoupled
    assert found.gate is not None
    assert views.weights is not None
    assert ((found.gate > 0) & (found.gate < 1)).all()
    assert ((views.weights > 0) & (views.weights < 1)).all()
    torch.testing.assert_close(views.weights.sum(dim=1), torch.ones(3))
    dim = network.backbone.dim
    shapes = {name: tuple(getattr(found, name).shape) for name in Decoupled.__dataclass_fields__}
    assert set(shapes.values()) == {(3, dim)}
    assert views.fused.shape == views.image.shape == views.text.shape == (3, 20)
    assert views.clothing_text is not None
    assert views.caption_text.shape == views.clothing_text.shape == (3, network.backbone.text_dim)


@both
@torch.inference_mode()
def test_what_training_sees_is_what_is_stored(backbone: str) -> None:
    network = make(backbone)
    images, captions = pixels(network), network.tokenize(TEXTS).ids
    identity = network.tokenize(["a woman", "the man", "a"]).ids
    views = network.views(images, captions, identity)
    torch.testing.assert_close(views.image, network.encode_image(images)["text"])
    torch.testing.assert_close(views.text, network.encode_text(captions))
    torch.testing.assert_close(F.normalize(views.fused, dim=1), network.encode_captioned(images, identity)["text"])
    assert views.clothing_text is None
    plain = network.views(images, captions)
    assert plain.identity_text is plain.caption_text
    torch.testing.assert_close(plain.fused, network.views(images, captions, captions).fused)
    assert (plain.fused - views.fused).abs().max() > 1e-4


@both
@torch.inference_mode()
def test_vectors_are_unit_norm_and_independent_of_batch_mates_and_padding(backbone: str) -> None:
    network = make(backbone)
    images, ids = pixels(network), network.tokenize(TEXTS).ids
    stored, asked = network.encode_image(images)["text"], network.encode_text(ids)
    for vectors in (stored, asked):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
        assert (vectors[0] - vectors[1]).abs().max() > 1e-4
    for row in range(3):
        torch.testing.assert_close(network.encode_image(images[row : row + 1])["text"][0], stored[row])
        one = network.tokenize([TEXTS[row]]).ids
        torch.testing.assert_close(network.encode_text(one)[0], asked[row], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(network.encode_text(F.pad(one, (0, 4)))[0], asked[row], atol=1e-5, rtol=1e-4)


@both
def test_empty_texts_are_finite_forward_and_backward(backbone: str) -> None:
    network = make(backbone).train()
    images = pixels(network)
    ids = network.tokenize(["", TEXTS[0], ""]).ids
    ids[2] = 0  # not even a start token
    views = network.views(images, ids, ids, ids)
    assert views.clothing_text is not None
    parts = (views.image, views.text, views.fused, views.clothing_text)
    assert all(part.isfinite().all() for part in parts)
    sum((part.sum() for part in parts), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(network.encode_text(ids).norm(dim=1), torch.ones(3))
        captioned, plain = network.encode_captioned(images, ids)["text"], network.encode_image(images)["text"]
    torch.testing.assert_close(captioned[0], plain[0])
    torch.testing.assert_close(captioned[2], plain[2])
    assert (captioned[1] - plain[1]).abs().max() > 1e-4


@both
@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_each_switch_makes_a_network_all_of_which_learns(backbone: str, changes: dict[str, object]) -> None:
    network = make(backbone, **changes).train()
    ids = network.tokenize(TEXTS).ids
    views = network.views(pixels(network), ids, ids, ids)
    assert views.image.shape == (3, 20)
    found = views.decoupled
    assert (found.clothing is None) == (changes == {"decouple": False})
    assert (found.gate is None) == (changes in ({"decouple": False}, {"gate": False}))
    assert (views.weights is None) == (changes == {"fusion_gate": False})
    # Not sums of unit vectors or of gated pairs: their gradients cancel.
    loss = (views.image * views.text).sum() + views.fused.square().sum()
    loss += sum(part.square().sum() for part in (found.clothing_gated, views.clothing_text) if part is not None)
    shared = torch.autograd.grad(loss, network.backbone.shared_weight, retain_graph=True)[0]
    assert shared.norm() > 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_impossible_options_are_refused() -> None:
    for changes, said in (({"tokens": 3}, "1 or 2 tokens"), ({"heads": 3}, "3 heads"), ({"dropout": 1.0}, "dropout")):
        with pytest.raises(ValueError, match=said):
            make(**changes)
    with pytest.raises(ValueError, match="no patch backbone"):
        build(bdam_spec("resnet50+bert", WORDS))
    with pytest.raises(ValueError, match="cannot see"):
        VitPatches((30, 32), layers=1, width=24, heads=2)


@both
def test_a_checkpoint_carries_everything(backbone: str, tmp_path: Path) -> None:
    network = make(backbone, tokens=2)
    assert "bdam" in methods()
    save_checkpoint(network, tmp_path, card="card")
    again = load_checkpoint(tmp_path)
    assert again.spec == network.spec
    images = pixels(network)
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_image(images)["text"], network.encode_image(images)["text"])
        ids = again.tokenize(["a red jacket"]).ids
        torch.testing.assert_close(again.encode_text(ids), network.encode_text(ids))


def test_dropout_belongs_to_samples() -> None:
    layer, x = SampleDropout(0.25), torch.randn(400, 5, 7)
    torch.manual_seed(3)
    whole = layer(x)
    kept = whole != 0
    assert 0.73 < kept.float().mean() < 0.77
    torch.testing.assert_close(whole[kept], x[kept] / 0.75)
    rows = torch.tensor([7, 2, 300])
    torch.manual_seed(3)
    with samples_of(rows, 400):
        torch.testing.assert_close(layer(x[rows]), whole[rows])
    assert layer.eval()(x) is x


def test_training_drops_and_evaluation_does_not() -> None:
    network = make(drop_words=0.0)
    images = pixels(network)

    def twice() -> tuple[Tensor, Tensor]:
        first, second = (network.decouple(images).identity for _ in range(2))
        return first, second

    assert torch.equal(*twice())
    network.decoupling.train()  # type: ignore[union-attr]
    assert not torch.equal(*twice())


def published_vit(folder: Path, size: int, layers: int = 2) -> ViTForImageClassification:
    config = ViTConfig(
        image_size=size, hidden_size=24, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=96
    )
    published = ViTForImageClassification(config)
    published.train(False)
    published.save_pretrained(folder)
    return published


def test_a_published_vit_gives_its_patches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = published_vit(tmp_path, 48)
    # Files carry the names of transformers' older ViT, whatever its modules are called now.
    assert "vit.encoder.layer.0.attention.attention.query.weight" in load_file(tmp_path / "model.safetensors")
    tower = VitPatches((48, 48), layers=2, width=24, heads=2)
    tower.load_pretrained(tmp_path)
    x = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        expected = published.vit(pixel_values=x).last_hidden_state[:, 1:]
        torch.testing.assert_close(tower.eval()(x), expected)
    assert tower.last_weight.shape == (24, 96)
    assert tower.last_weight is list(tower.vit.get_submodule("layers.1.mlp").parameters())[2]

    other = VitPatches((64, 32), layers=2, width=24, heads=2)  # positions of another grid
    other.load_pretrained(tmp_path)
    places = other.vit.state_dict()["embeddings.position_embeddings"]
    given = published.vit.state_dict()["embeddings.position_embeddings"]
    square = given[:, 1:].reshape(1, 3, 3, 24).permute(0, 3, 1, 2)
    sized = F.interpolate(square, size=(4, 2), mode="bilinear").permute(0, 2, 3, 1).reshape(1, 8, 24)
    torch.testing.assert_close(places, torch.cat([given[:, :1], sized], dim=1))


def test_a_vit_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    tower = VitPatches((48, 48), layers=2, width=24, heads=2)
    with pytest.raises(BackboneError, match=r"no model\.safetensors"):
        tower.load_pretrained(tmp_path)
    published_vit(tmp_path / "deep", 48, layers=3)
    with pytest.raises(BackboneError, match="do not fit"):
        tower.load_pretrained(tmp_path / "deep")
    (tmp_path / "deep" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BackboneError, match="no readable ViT"):
        tower.load_pretrained(tmp_path / "deep")
    config = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=96)
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(BackboneError, match=r"no (whole|readable) ViT"):
        tower.load_pretrained(tmp_path / "bert")


def test_a_published_bert_gives_its_class_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
    published = BertModel(config)
    published.train(False)
    published.save_pretrained(tmp_path)
    tower = BertSentences(vocabulary=50, layers=2, width=24, heads=2)
    tower.load_pretrained(tmp_path)
    ids = torch.tensor([[2, 7, 9, 3], [2, 3, 0, 0]])
    with torch.inference_mode():
        expected = published(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        pooled, tokens, mask = tower.eval()(ids)
    torch.testing.assert_close(pooled, expected[:, 0])
    torch.testing.assert_close(tokens, expected)
    assert mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert all(parameter.requires_grad for parameter in tower.parameters())


@pytest.mark.parametrize("tokens", [1, 2])
def test_it_learns_which_text_belongs_to_which_image(tokens: int) -> None:
    network = make(tokens=tokens, dim=32, dropout=0.0, drop_words=0.0).train()
    images = torch.randn(6, 3, 32, 16)
    ids = torch.tensor([[2, 3], [3, 2], [4, 5], [5, 4], [2, 2], [3, 5]])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        views = network.views(images, ids)
        loss = F.cross_entropy(10 * views.image @ views.text.T, torch.arange(6))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.2
    assert (views.image @ views.text.T).argmax(dim=1).tolist() == list(range(6))


@both
def test_it_trains_in_bf16_and_gives_vectors_in_fp32(backbone: str) -> None:
    network = make(backbone)
    images, ids = pixels(network), network.tokenize(TEXTS).ids
    with torch.no_grad():
        exact = network.encode_image(images)["text"]
    with torch.autocast("cpu", torch.bfloat16):
        views = network.views(images, ids, ids, ids)
    assert views.image.dtype == views.text.dtype == torch.float32
    assert ((views.image * exact).sum(dim=1) > 0.999).all()
    (views.image * views.text).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
