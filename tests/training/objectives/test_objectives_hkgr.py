"""HKGR's masking and language head (methods.md 6.1, 1.4) against loops."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.descriptions import Entity, Relation, SceneGraph, Span, parse
from models.noise import samples_of
from models.tokenizers import Tokenizer, TokenizerSpec
from training.descriptions.phrases import MOST, Marks, Match, mark
from training.objectives.knowledge import MASK_LEVELS, Masker, mask_at_random, mask_phrases, ordinary
from training.objectives.language import CrossEncoder, LanguageHead, language_loss

TEXT = "A woman wears a white shirt and a white hat."
VOCABULARY = ("a", "woman", "wears", "white", "shirt", "and", "hat", "man", "red")
WORDS = Tokenizer.build(TokenizerSpec("words", 16, VOCABULARY))


def graph(text: str = TEXT) -> SceneGraph:
    def span(word: str, after: str = "") -> Span:
        at = text.index(word, text.index(after) + len(after))
        return Span(at, at + len(word))

    return SceneGraph(
        text,
        (
            Entity(span("woman"), determiner=span("A")),
            Entity(span("shirt"), (span("white"),), span("a", "wears")),
            Entity(span("hat"), (span("white", "shirt"),), span("a", "shirt and")),
        ),
        (Relation(span("wears"), 0, 1),),
    )


def owners(marks: Marks, row: int, level: int) -> list[list[int]]:
    """For each token, the phrases that own it."""
    return [[p for p in range(MOST) if bits >> p & 1] for bits in marks.phrases[row, level].tolist()]


@pytest.mark.parametrize("kind", ["words", "clip_bpe"])
def test_phrases_are_found_among_the_tokens_of_each_tokenizer(kind: str) -> None:
    tokenizer = WORDS if kind == "words" else Tokenizer.build(TokenizerSpec("clip_bpe", 77))
    first = 0 if kind == "words" else 1
    found = mark([graph(), graph()], tokenizer, match="span", determiners=False)
    # a woman wears a white shirt and a white hat
    tokens = slice(first, first + 10)
    assert owners(found, 0, 0)[tokens] == [[], [0], [], [], [], [1], [], [], [], [2]]
    assert owners(found, 0, 1)[tokens] == [[], [], [], [], [0], [], [], [], [1], []]
    assert owners(found, 0, 2)[tokens] == [[], [], [0], [], [], [], [], [], [], []]
    assert found.words[0].tolist()[tokens] == list(range(1, 11))
    assert torch.equal(found.phrases[0], found.phrases[1])
    whole = mark([graph()], tokenizer, match="span", determiners=True)
    assert owners(whole, 0, 1)[tokens] == [[0], [], [], [1], [2], [], [], [3], [4], []]
    spread = mark([graph()], tokenizer, match="idset", determiners=False)
    assert owners(spread, 0, 1)[tokens] == [[], [], [], [], [0, 1], [], [], [], [0, 1], []]


def test_a_phrase_of_several_pieces_is_one_phrase() -> None:
    tokenizer = Tokenizer.build(TokenizerSpec("clip_bpe", 77))
    text = "turtlenecked sweater in front of a man"
    found = SceneGraph(
        text, (Entity(Span(13, 20), (Span(0, 12),)), Entity(Span(35, 38))), (Relation(Span(21, 32), 0, 1),)
    )
    marks = mark([found], tokenizer, match="span", determiners=True)
    ids = tokenizer([text]).ids[0]
    for level, phrase in ((1, "turtlenecked"), (2, "in front of")):
        own = ids[torch.tensor([bool(p) for p in owners(marks, 0, level)])].tolist()
        assert own == [n for n in tokenizer([phrase]).ids[0].tolist() if 0 < n < 49405]
        assert len(own) > 1


def test_unknown_words_what_was_cut_off_and_empty_texts_own_nothing() -> None:
    short = Tokenizer.build(TokenizerSpec("words", 4, VOCABULARY))
    marks = mark([graph(), parse(""), parse("qqqq"), parse("a zzzz hat")], short, match="span", determiners=True)
    assert marks.phrases.shape == (4, 3, 4)
    assert owners(marks, 0, 0) == [[], [0], [], []]  # shirt and hat lie behind the cut, and do not count
    assert not bool(marks.phrases[1:3].any())
    assert not bool(marks.words[1:3].any())
    assert marks.words[3].tolist() == [1, 0, 3, 0]


def test_the_random_level_has_berts_shares() -> None:
    torch.manual_seed(0)
    replacements = ordinary(WORDS)
    ids = torch.randint(2, WORDS.size, (4000, 20))
    ids[:, 15:] = 0
    ids[:, 3] = WORDS.mask_id
    usable = WORDS.words(ids) & (ids != WORDS.mask_id)
    clean = ids.clone()
    found, labels = mask_at_random(ids, usable, replacements, WORDS.mask_id)
    assert torch.equal(ids, clean)
    told = labels > 0
    assert not bool(told[~usable].any())
    assert torch.equal(found[~told], ids[~told])
    assert torch.equal(labels[told], ids[told])
    assert bool(told.any(dim=1).all())
    nothing = 0.85**14  # the first word is then hidden
    assert float(told[usable].float().mean()) == pytest.approx(0.15 + nothing / 14, abs=0.006)
    free = told.clone()
    free[:, 0] = False
    assert float((found[free] == WORDS.mask_id).float().mean()) == pytest.approx(0.8, abs=0.02)
    same = float((found[free] == ids[free]).float().mean())
    assert same == pytest.approx(0.1 + 0.1 / len(replacements), abs=0.02)


def test_phrases_are_hidden_whole_in_the_shares_of_the_paper() -> None:
    torch.manual_seed(0)
    batch = 6000
    # Four tokens of no phrase, then ten phrases of two tokens each.
    ids = torch.randint(2, WORDS.size, (batch, 24))
    bits = torch.tensor([0 if n < 4 else 1 << (n // 2 - 2) for n in range(24)], dtype=torch.int32).expand(batch, 24)
    numbers = torch.arange(1, 25).expand(batch, 24)
    found, labels = mask_phrases(
        ids, torch.ones_like(ids, dtype=torch.bool), bits, numbers, ordinary(WORDS), WORDS.mask_id, ratio=0.3
    )
    told = (labels > 0)[:, 4:].view(batch, 10, 2)
    assert torch.equal(told[..., 0], told[..., 1])
    assert not bool((labels[:, 1:4] > 0).any())
    assert torch.equal(labels[:, 0] > 0, ~told.flatten(1).any(dim=1))
    phrases = told[..., 0].sum(dim=1)
    assert int(phrases.max()) == 3  # ceil(0.3 * 10), and not one more by rounding
    hidden = (found == WORDS.mask_id)[:, 4:].view(batch, 10, 2).all(dim=2).sum(dim=1)
    # Of three picked, 0.8 hidden, 0.1 changed, 0.1 neither.
    assert float(phrases.float().mean()) == pytest.approx(2.7, abs=0.03)
    assert float(hidden.float().mean()) == pytest.approx(2.4, abs=0.04)
    assert float(told[..., 0].float().mean(dim=0).std()) < 0.02  # each phrase as often as the others
    assert torch.equal(found[labels == 0], ids[labels == 0])


@pytest.mark.parametrize(("count", "picked"), [(1, 1), (3, 1), (4, 2), (10, 3), (20, 6), (31, 10)])
def test_the_number_of_picked_phrases_is_rounded_up(count: int, picked: int) -> None:
    assert picked == math.ceil(0.3 * count)
    torch.manual_seed(count)
    ids = torch.full((300, 31), 3)
    bits = torch.tensor([1 << n if n < count else 0 for n in range(31)], dtype=torch.int32).expand(300, 31)
    numbers = torch.arange(1, 32).expand(300, 31)
    _, labels = mask_phrases(
        ids, torch.ones_like(ids, dtype=torch.bool), bits, numbers, ordinary(WORDS), WORDS.mask_id, ratio=0.3
    )
    assert int((labels > 0).sum(dim=1).max()) == picked


def test_a_description_without_phrases_gives_one_word() -> None:
    torch.manual_seed(0)
    text = "a man, a woman and a hat"
    marks = mark([SceneGraph(text)], WORDS, match="span", determiners=True)
    ids = WORDS([text]).ids.expand(800, -1)
    usable = WORDS.words(ids)
    matches: tuple[Match, Match] = ("span", "idset")
    one_each = {(n,) for n in range(7)}
    # As the id set has it all three "a" go together; the first alone is where nothing else was to be told.
    for match, expected in zip(matches, (one_each, one_each - {(2,), (5,)} | {(0, 2, 5)}), strict=True):
        _, labels = mask_phrases(
            ids,
            usable,
            marks.phrases[0, 0].expand(800, -1),
            marks.words.expand(800, -1),
            ordinary(WORDS),
            WORDS.mask_id,
            ratio=0.3,
            match=match,
        )
        assert {tuple(row.nonzero().flatten().tolist()) for row in labels} == expected


def test_a_level_is_drawn_evenly_and_a_single_one_stands_alone() -> None:
    torch.manual_seed(0)
    marks = mark([graph()], WORDS, match="span", determiners=False)
    ids = WORDS([TEXT]).ids.expand(4000, -1)
    pairs = torch.zeros(4000, dtype=torch.int64)
    masked = Masker(WORDS, marks, levels=("object", "attribute", "relation"))(ids, pairs)
    shares = torch.bincount(masked.levels, minlength=4) / 4000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.03, rtol=0)
    places = {1: {1, 5, 9}, 2: {4, 8}, 3: {2}}
    for level, allowed in places.items():
        told = masked.labels[masked.levels == level] > 0
        assert set(told.any(dim=0).nonzero().flatten().tolist()) == allowed | {0}  # 0: nothing else was to be told
        assert float(told[:, 0].float().mean()) < 0.15
    for level in (1, 2, 3):
        alone = Masker(WORDS, marks, levels=(MASK_LEVELS[level],))(ids, pairs)
        assert set(alone.levels.tolist()) == {level}
    two = Masker(WORDS, marks, levels=("object", "relation"))(ids, pairs)
    assert set(two.levels.tolist()) == {0, 1, 3}
    assert set(Masker(WORDS, None, levels=("random",))(ids, pairs).levels.tolist()) == {0}
    with pytest.raises(ValueError, match="level"):
        Masker(WORDS, marks, levels=())


def test_one_description_stays_the_same_however_a_batch_is_cut_or_spread() -> None:
    texts = [TEXT, "a man", "", "a red hat and a white hat and a red shirt"]
    marks = mark([parse(text) for text in texts], WORDS, match="span", determiners=True)
    masker = Masker(WORDS, marks, levels=("object", "attribute", "relation"))
    ids, pairs = WORDS(texts).ids, torch.arange(4)
    torch.manual_seed(3)
    whole = masker(ids, pairs)
    torch.manual_seed(3)
    with samples_of(torch.tensor([2, 3]), 4):
        half = masker(ids[2:], pairs[2:])
    assert torch.equal(half.ids, whole.ids[2:])
    assert torch.equal(half.labels, whole.labels[2:])
    assert torch.equal(half.levels, whole.levels[2:])
    assert not bool(whole.labels[2].any())  # nothing to tell in nothing
    assert masker.state_dict() == {}


def test_the_cross_encoder_is_its_equation() -> None:
    torch.manual_seed(1)
    cross = CrossEncoder(8, heads=2, depth=1).double().eval()
    words, image = torch.randn(1, 3, 8).double(), torch.randn(1, 4, 8).double()

    def norm(x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5))

    def attend(layer: torch.nn.MultiheadAttention, query: np.ndarray, context: np.ndarray) -> np.ndarray:
        w = layer.in_proj_weight.detach().numpy()
        q, k, v = query @ w[:8].T, context @ w[8:16].T, context @ w[16:].T
        out = np.zeros_like(q)
        for head in (slice(0, 4), slice(4, 8)):
            scores = np.exp(q[:, head] @ k[:, head].T / 2)
            out[:, head] = scores / scores.sum(1, keepdims=True) @ v[:, head]
        return np.asarray(out @ layer.out_proj.weight.detach().numpy().T)

    block = cross.blocks[0]
    h = attend(cross.attention, norm(words[0].numpy()), norm(image[0].numpy()))  # no residual round it
    h = h + attend(block.attention, norm(h), norm(h))  # type: ignore[arg-type]
    weights = {name: value.detach().numpy() for name, value in block.state_dict().items()}
    wide = norm(h) @ weights["widen.weight"].T + weights["widen.bias"]
    h = h + (wide / (1 + np.exp(-1.702 * wide))) @ weights["narrow.weight"].T + weights["narrow.bias"]
    np.testing.assert_allclose(cross(words, image, None)[0].detach().numpy(), norm(h), atol=1e-9)
    padded = torch.cat([words, torch.randn(1, 2, 8).double()], dim=1)
    mask = torch.tensor([[True] * 3 + [False] * 2])
    np.testing.assert_allclose(cross(padded, image, mask)[0, :3].detach().numpy(), norm(h), atol=1e-9)
    assert bool(cross(padded, image, torch.zeros_like(mask)).isfinite().all())


def test_the_language_loss_is_a_mean_over_words_and_nothing_without_any() -> None:
    torch.manual_seed(0)
    head = LanguageHead(6, 11)
    hidden, wanted = torch.randn(5, 6), torch.tensor([1, 4, 10, 2, 2])
    logits = head(hidden)
    assert logits.shape == (5, 11)
    picked = [-float(row.detach().log_softmax(0)[word]) for row, word in zip(logits, wanted, strict=True)]
    assert float(language_loss(logits, wanted).detach()) == pytest.approx(sum(picked) / 5, abs=1e-5)
    torch.testing.assert_close(language_loss(logits, wanted), F.cross_entropy(logits, wanted))
    nothing = language_loss(head(hidden[:0]), wanted[:0])
    nothing.backward()  # type: ignore[no-untyped-call]
    assert float(nothing.detach()) == 0.0
    assert all(not bool(p.grad.any()) for p in head.parameters() if p.grad is not None)
