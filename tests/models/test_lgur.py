"""LGUR's network (methods.md 4), on `compact` and, with random weights, on the paper's backbones."""

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from models.backbones.bert import BertWords
from models.backbones.vision import DeitPatches, ResnetPatches
from models.blocks import CrossBlock
from models.checkpoint import load_checkpoint, save_checkpoint
from models.encoder import EncoderSpec
from models.errors import BackboneError
from models.lgur import Lgur, lgur_spec
from models.registry import build
from models.tokenizers import Tokenizer, TokenizerSpec, WordPieceTokenizer

SMALL = {
    "dim": 16,
    "image_width": 4,
    "text_width": 16,
    "atoms": 7,
    "heads": 2,
    "dictionary_head": 8,
    "dictionary_hidden": 24,
    "prototypes": 3,
    "part": 10,
    "prototype_head": 8,
    "prototype_hidden": 24,
}
WORDS = TokenizerSpec("words", 16, ("a", "red", "jacket", "woman"))
TEXTS = ["a woman in a red jacket and a hat", "the man wears black trousers", "a red bag"] * 4


def small(**changes: object) -> Lgur:
    torch.manual_seed(0)
    encoder = build(lgur_spec("compact", WORDS, height=32, width=16, options={**SMALL, **changes}))
    assert isinstance(encoder, Lgur)
    return encoder.eval()


def plain_block(block: CrossBlock, query: np.ndarray, context: np.ndarray) -> np.ndarray:
    """TB(Q, Y) of methods.md 4 in loops over heads and queries."""
    weights = {name: value.detach().double().numpy() for name, value in block.state_dict().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])

    q, y = norm(query, "norm"), norm(context, "norm")
    keys, values = np.split(y @ weights["key_value.weight"].T, 2, axis=-1)
    queries = q @ weights["query.weight"].T
    size = queries.shape[-1] // block.heads
    read = np.zeros_like(queries)
    for head in range(block.heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(query)):
            scores = np.array([queries[i, part] @ keys[j, part] / math.sqrt(size) for j in range(len(context))])
            share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            read[i, part] = sum(share[j] * values[j, part] for j in range(len(context)))
    mixed = query + read @ weights["out.weight"].T + weights["out.bias"]
    hidden = np.maximum(norm(mixed, "norm_out") @ weights["feed.0.weight"].T + weights["feed.0.bias"], 0)
    return np.asarray(mixed + hidden @ weights["feed.2.weight"].T + weights["feed.2.bias"])


@torch.inference_mode()
def test_the_block_agrees_with_plain_loops_and_respects_the_mask() -> None:
    torch.manual_seed(1)
    block = CrossBlock(6, heads=2, head_dim=4, hidden=9)
    query, context = torch.randn(1, 3, 6), torch.randn(1, 5, 6)
    expected = plain_block(block, query[0].double().numpy(), context[0, :4].double().numpy())
    mask = torch.tensor([[True, True, True, True, False]])
    np.testing.assert_allclose(block(query, context, mask)[0].numpy(), expected, atol=1e-5)


@torch.inference_mode()
def test_the_equations_chain_as_written() -> None:
    network = small()
    dictionary = network.dictionary
    assert dictionary is not None
    assert dictionary.mask is not None
    patches, words = torch.randn(2, 8, 16), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    atoms = dictionary.atoms.expand(2, -1, -1)
    weight = torch.sigmoid(patches @ dictionary.mask.weight.T + dictionary.mask.bias)

    def pgu(z: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
        assert network.prototypes.queries is not None
        read = network.prototypes.queries.expand(2, -1, -1)
        for block in network.prototypes.blocks:
            read = block(read, z, kept)
        return torch.stack([read[:, k] @ network.prototypes.project[k] for k in range(3)], dim=1)

    torch.testing.assert_close(network.text_parts(words, mask), pgu(dictionary.block(words, atoms), mask))  # 1, 4, 5
    torch.testing.assert_close(network.image_parts(patches), pgu(weight * dictionary.block(patches, atoms)))  # 2
    guided, plain = network.guidance(patches, words, mask)
    torch.testing.assert_close(guided, pgu(weight * dictionary.block(patches, words, mask)))  # 3
    torch.testing.assert_close(plain, pgu(words, mask))


@torch.inference_mode()
def test_vectors_are_unit_norm_and_padding_changes_nothing() -> None:
    network = small()
    pixels = torch.randn(2, 3, 32, 16)
    assert network.encode_image(pixels)["text"].shape == (2, 30)
    ids = torch.tensor([[2, 3, 4]])
    longer = F.pad(ids, (0, 5))
    torch.testing.assert_close(network.encode_text(longer), network.encode_text(ids), atol=1e-5, rtol=1e-4)
    empty = network.encode_text(torch.zeros(1, 4, dtype=torch.int64))
    for found in (network.encode_text(ids), network.encode_image(pixels)["text"], empty):
        torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))


def test_inference_has_no_guidance_and_prototypes_share_both_modalities() -> None:
    network = small()

    def refuse(*_: object) -> None:
        raise AssertionError("guidance at inference")

    assert network.dictionary is not None
    network.dictionary.guided = refuse  # type: ignore[method-assign, assignment]
    with torch.inference_mode():
        network.encode_image(torch.randn(1, 3, 32, 16))
        network.encode_text(torch.tensor([[2, 3]]))


@pytest.mark.parametrize(
    "changes", [{"dictionary": False, "depth": 0}, {"dictionary": False}, {"depth": 0}, {"foreground": False}]
)
def test_each_row_of_the_ablation_is_a_network_with_the_same_output(changes: dict[str, object]) -> None:
    network = small(**changes)
    vectors = network.encode_image(torch.randn(2, 3, 32, 16))["text"]
    assert vectors.shape == (2, 30)
    (vectors.sum() + network.encode_text(torch.tensor([[2, 3]])).sum()).backward()  # type: ignore[no-untyped-call]
    unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert unused == []


def test_a_checkpoint_carries_everything(tmp_path: Path) -> None:
    network = small()
    save_checkpoint(network, tmp_path, card="card")
    again = load_checkpoint(tmp_path)
    pixels = torch.randn(2, 3, 32, 16)
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_image(pixels)["text"], network.encode_image(pixels)["text"])
        ids = again.tokenize(["a red jacket"]).ids
        torch.testing.assert_close(again.encode_text(ids), network.encode_text(ids))


def bert_spec(backbone: str) -> EncoderSpec:
    pieces = WordPieceTokenizer.vocabulary_of(TEXTS, minimum=1, limit=200)
    tokenizer = TokenizerSpec("wordpiece", 100, pieces)
    small_bert = {"bert_layers": 1, "bert_width": 24, "bert_heads": 2}
    return lgur_spec(backbone, tokenizer, options={**small_bert, "part": 20, "prototype_head": 8})


@pytest.mark.parametrize("backbone", ["deit-small+bert", "resnet50+bert"])
def test_the_papers_backbones_encode_at_full_size(backbone: str) -> None:
    torch.manual_seed(0)
    network = build(bert_spec(backbone))
    assert isinstance(network, Lgur)
    network.train()
    patches = network.backbone.image(torch.randn(2, 3, 384, 128)).tokens
    assert patches.shape == (2, 192 if "deit" in backbone else 48, 384)
    words = network.backbone.text(network.tokenize(["a red jacket", "the man wears a hat"]).ids)
    assert words.tokens.shape[2] == 384
    network.text_parts(words.tokens, words.mask).sum().backward()  # type: ignore[no-untyped-call]
    text = network.backbone.text_tower
    assert isinstance(text, BertWords)
    assert not text.bert.training
    assert all(parameter.grad is None for parameter in text.bert.parameters())
    assert all(parameter.grad is not None for parameter in text.lstm.parameters())


@torch.inference_mode()
def test_deit_runs_eleven_blocks_without_the_final_norm() -> None:
    torch.manual_seed(0)
    tower = DeitPatches((384, 128), 384).eval()
    whole = timm.create_model("deit_small_patch16_224", img_size=(384, 128), num_classes=0).eval()
    whole.load_state_dict({**whole.state_dict(), **tower.net.state_dict()})
    pixels = torch.randn(1, 3, 384, 128)
    hidden = whole.get_intermediate_layers(pixels, n=[10], norm=False)[0]  # type: ignore[operator]
    torch.testing.assert_close(tower(pixels), hidden)


def test_published_deit_weights_fit_without_the_distillation_token(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = timm.create_model("deit_small_distilled_patch16_224").state_dict()
    save_file(published, tmp_path / "deit.safetensors")
    tower = DeitPatches((384, 128), 384)
    tower.load_pretrained(tmp_path / "deit.safetensors")
    loaded = tower.net.state_dict()
    torch.testing.assert_close(loaded["blocks.3.mlp.fc1.weight"], published["blocks.3.mlp.fc1.weight"])
    torch.testing.assert_close(loaded["pos_embed"][:, 0], published["pos_embed"][:, 0])
    grid = published["pos_embed"][:, 2:].reshape(1, 14, 14, 384).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(24, 8), mode="bilinear").flatten(2).transpose(1, 2)
    torch.testing.assert_close(loaded["pos_embed"][:, 1:], expected)

    save_file(timm.create_model("resnet50").state_dict(), tmp_path / "resnet.safetensors")
    ResnetPatches(384).load_pretrained(tmp_path / "resnet.safetensors")
    with pytest.raises(BackboneError, match="does not hold this network"):
        tower.load_pretrained(tmp_path / "resnet.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(BackboneError, match="not a readable safetensors"):
        tower.load_pretrained(tmp_path / "torn.safetensors")


def test_bert_from_a_folder_gives_its_hidden_states(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
    published = BertModel(config)
    published.train(False)
    published.save_pretrained(tmp_path)
    words = BertWords(vocabulary=50, dim=8, layers=2, width=24, heads=2)
    words.load_pretrained(tmp_path)
    ids = torch.tensor([[2, 7, 9, 3], [2, 3, 0, 0]])
    with torch.inference_mode():
        expected = published(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        found = words.bert(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    torch.testing.assert_close(found, expected)
    with pytest.raises(BackboneError, match="do not fit"):
        BertWords(vocabulary=51, dim=8, layers=2, width=24, heads=2).load_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="not a readable"):
        words.load_pretrained(tmp_path / "nowhere")


@torch.inference_mode()
def test_both_directions_of_the_lstm_are_averaged_and_stop_at_the_end() -> None:
    torch.manual_seed(0)
    words = BertWords(vocabulary=20, dim=8, layers=1, width=24, heads=2)
    short, padded = torch.tensor([[2, 7, 3]]), torch.tensor([[2, 7, 3, 0, 0]])
    out = words(short)
    torch.testing.assert_close(words(padded)[:, :3], out, atol=1e-5, rtol=1e-4)
    hidden = words.bert(input_ids=short, attention_mask=torch.ones(1, 3).long()).last_hidden_state
    both = words.lstm(hidden)[0]
    torch.testing.assert_close(out, (both[..., :8] + both[..., 8:]) / 2)


def test_word_pieces_are_framed_padded_and_cut() -> None:
    pieces = WordPieceTokenizer.vocabulary_of(TEXTS, minimum=1, limit=200)
    tokenizer = Tokenizer.build(TokenizerSpec("wordpiece", 6, pieces))
    found = tokenizer(["a red bag", "", "€€", "A red bag and a hat and trousers"])
    cls, sep = pieces.index("[CLS]"), pieces.index("[SEP]")
    assert found.ids[0].tolist()[:5] == [cls, pieces.index("a"), pieces.index("red"), pieces.index("bag"), sep]
    assert found.ids[1].tolist() == [cls, sep, 0, 0, 0, 0]
    assert found.empty == (False, True, True, False)
    assert found.truncated == (False, False, False, True)
    assert found.ids[3].tolist()[-1] == sep
    assert found.unknown[2] == ("€€",)
    assert tokenizer([]).ids.shape[0] == 0
    assert WordPieceTokenizer.vocabulary_of(TEXTS, minimum=1, limit=200) == pieces
    with pytest.raises(ValueError, match="begins with"):
        Tokenizer.build(TokenizerSpec("wordpiece", 6, ("a", "[PAD]")))
