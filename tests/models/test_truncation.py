"""Texts are cut where nothing follows that could change their vectors: every method, every kind of tokenizer."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models.bdam import bdam_spec
from models.clip_baseline import compact_spec, open_clip_spec
from models.encoder import EncoderSpec, PersonEncoder
from models.hkgr import hkgr_spec
from models.hpl import hpl_clip_spec, hpl_compact_spec
from models.lgur import lgur_spec
from models.registry import build
from models.tokenizers import TokenizerSpec, WordPieceTokenizer
from models.truncation import cut_after_end, cut_padding, cut_texts
from tests.models.tiny_clip import NAME as TINY_CLIP
from tests.models.tiny_clip import register_tiny_clip

WORDS = ("red", "blue", "man", "woman", "coat", "hat", "bag", "shoes")
LENGTH = 24
SMALL = {"image_width": 4, "text_width": 8, "dim": 16}
BERT = {"bert_layers": 2, "bert_width": 32, "bert_heads": 2}
EXACT = 1e-6


def words() -> TokenizerSpec:
    return TokenizerSpec("words", LENGTH, WORDS)


def pieces() -> TokenizerSpec:
    return TokenizerSpec("wordpiece", LENGTH, WordPieceTokenizer.vocabulary_of([" ".join(WORDS)], minimum=1, limit=99))


VIT = {"vit_layers": 1, "vit_width": 32, "vit_heads": 2, "depth": 1, "fusion_dim": 16, "out": 16}
LGUR_SMALL = {"atoms": 8, "heads": 2, "prototypes": 2, "part": 8, "prototype_head": 8, "dictionary_head": 8}
SPECS: dict[str, Callable[[], EncoderSpec]] = {  # called when open_clip knows the tiny model
    "compact": lambda: compact_spec(WORDS, height=32, width=16, length=LENGTH, **SMALL),
    "hpl": lambda: hpl_compact_spec(WORDS, height=32, width=16, length=LENGTH, options=SMALL),
    "hkgr": lambda: hkgr_spec("compact", words(), height=32, width=16, options={**SMALL, "fine_dim": 8}),
    "lgur": lambda: lgur_spec("compact", words(), height=32, width=16, options={**SMALL, **LGUR_SMALL}),
    "bdam": lambda: bdam_spec("compact", words(), height=32, width=16, options={**SMALL, "depth": 1, "out": 16}),
    "lgur-bert": lambda: lgur_spec("deit-small+bert", pieces(), height=32, width=32, options={**BERT, **LGUR_SMALL}),
    "bdam-bert": lambda: bdam_spec("vit-base+bert", pieces(), height=32, width=32, options={**BERT, **VIT}),
    "clip": lambda: open_clip_spec(TINY_CLIP, height=64, width=32),
    "hpl-clip": lambda: hpl_clip_spec(TINY_CLIP, height=64, width=32),
    "hkgr-clip": lambda: hkgr_spec(TINY_CLIP, height=64, width=32, options={"fine_dim": 8}),
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PersonEncoder]:
    register_tiny_clip(tmp_path_factory.mktemp("clip"))
    made: dict[str, PersonEncoder] = {}

    def get(name: str) -> PersonEncoder:
        if name not in made:
            torch.manual_seed(3)
            made[name] = build(SPECS[name]()).eval().requires_grad_(False)
        return made[name]

    return get


def stretched(encoder: PersonEncoder, texts: list[str]) -> Tensor:
    """Ids of texts, padded to all that the tokenizer allows."""
    ids = encoder.tokenize(texts).ids
    return F.pad(ids, (0, encoder.spec.tokenizer.length - ids.shape[1]))


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), min_size=1, max_size=5))
def test_cut_texts_keep_their_vectors(encoders: Callable[[str], PersonEncoder], name: str, texts: list[str]) -> None:
    encoder = encoders(name)
    whole = stretched(encoder, texts)
    cut = cut_texts(whole, encoder.spec.tokenizer)
    assert cut.shape[1] <= whole.shape[1]
    assert torch.equal(F.pad(cut, (0, whole.shape[1] - cut.shape[1])), whole)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.encode_text(cut), encoder.encode_text(whole), atol=EXACT, rtol=0)
        for row, text in enumerate(texts):  # nor does it matter beside which texts one is encoded
            alone = cut_texts(stretched(encoder, [text]), encoder.spec.tokenizer)
            torch.testing.assert_close(encoder.encode_text(alone)[0], encoder.encode_text(cut)[row], atol=EXACT, rtol=0)


@torch.inference_mode()
def test_clip_gives_what_open_clip_gives_for_all_77_places(encoders: Callable[[str], PersonEncoder]) -> None:
    encoder = encoders("clip")
    ids = encoder.tokenize(["a man", "a woman in a red coat with a blue hat", ""]).ids
    assert ids.shape == (3, 77)
    assert cut_texts(ids, encoder.spec.tokenizer).shape[1] < 15
    stock = encoder.backbone.clip.encode_text(ids, normalize=True)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(encoder.encode_text(ids), stock, atol=EXACT, rtol=0)


def test_what_remains_is_as_long_as_the_longest_text() -> None:
    ids = torch.tensor([[9, 5, 10, 0, 0, 0], [9, 10, 0, 0, 0, 0]])
    assert torch.equal(cut_after_end(ids), ids[:, :3])
    assert torch.equal(cut_padding(ids), ids[:, :3])
    # CLIP's ids may hold what is no word behind <end>; a hole in a text of words is a place of it.
    assert torch.equal(cut_after_end(torch.tensor([[9, 10, 3, 0]])), torch.tensor([[9, 10]]))
    assert torch.equal(cut_padding(torch.tensor([[5, 0, 3, 0]])), torch.tensor([[5, 0, 3]]))


@pytest.mark.parametrize("ids", [torch.zeros(2, 4, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.int64)])
def test_nothing_to_read_leaves_one_place(ids: Tensor) -> None:
    assert cut_padding(ids).shape == (len(ids), 1)
    assert cut_after_end(ids).shape == (len(ids), 1)
