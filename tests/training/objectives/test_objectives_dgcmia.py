"""DGCMIA's equations against small computations of another make (loops), at the values of methods.md 5."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from training.objectives.association import all_rows, association_loss, association_targets, columns
from training.objectives.masking import mask_words
from training.objectives.memory import Candidates, find_candidates, update_bank
from training.objectives.relations import mined_relations, relation_loss, soft_targets
from training.objectives.sdm import divergence


def cosine(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    return float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))


def softmax(values: list[float]) -> list[float]:
    exponents = [math.exp(value) for value in values]
    return [value / sum(exponents) for value in exponents]


def kl(logits: list[list[float]], wanted: list[list[float]], eps: float) -> float:
    rows = [
        sum(p * (math.log(p) - math.log(q + eps)) for p, q in zip(softmax(row), target, strict=True))
        for row, target in zip(logits, wanted, strict=True)
    ]
    return sum(rows) / len(rows)


def features(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- eqs 3-10


def test_relations_need_both_modalities_and_more_than_the_threshold() -> None:
    images, texts = features(12, 3, seed=0), features(12, 3, seed=1)
    mined = mined_relations(images, texts, 0.3, 0.1)
    found = 0
    for i in range(12):
        for j in range(12):
            expected = i == j or (cosine(images[i], images[j]) > 0.3 and cosine(texts[i], texts[j]) > 0.1)
            assert bool(mined[i, j]) == expected
            found += expected
    assert 12 < found < 144
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    for thresholds in ((1.0, 0.5), (0.5, 1.0)):  # each is strict; the diagonal is known
        assert mined_relations(same, same, *thresholds).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("mined", "expected"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1.0, 0.0, 0.0]),
        ([[1, 1, 0], [1, 1, 0], [0, 0, 1]], [0.711, 0.289, 0.0]),
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], [0.552, 0.224, 0.224]),
        ([[1]], [1.0]),
    ],
)
def test_soft_targets_have_the_known_values(mined: list[list[int]], expected: list[float]) -> None:
    target = soft_targets(torch.tensor(mined, dtype=torch.bool), 0.1)
    assert target[0].tolist() == pytest.approx(expected, abs=5e-4)
    assert target.sum(dim=1).tolist() == pytest.approx([1.0] * len(mined))


def test_the_relation_loss_agrees_with_loops() -> None:
    images, texts = features(5, 4, seed=2), features(5, 4, seed=3)
    target = soft_targets(mined_relations(images, texts, 0.0, 0.0), 0.1)
    assert (target > 0).sum() > 5
    wanted = target.double().tolist()
    forth = [[cosine(images[i], texts[j]) / 0.2 for j in range(5)] for i in range(5)]
    back = [[cosine(texts[i], images[j]) / 0.2 for j in range(5)] for i in range(5)]
    expected = kl(forth, wanted, 1e-6) + kl(back, wanted, 1e-6)
    assert float(relation_loss(images, texts, target, 0.2, 1e-6)) == pytest.approx(expected, rel=1e-4)


def test_the_divergence_is_the_one_of_sdm() -> None:
    # methods.md 1.3's fixture, which IRRA's own formula gave.
    torch.manual_seed(0)
    images, texts = F.normalize(torch.randn(6, 8), dim=1), F.normalize(torch.randn(6, 8), dim=1)
    pid = torch.tensor([0, 0, 1, 2, 2, 3])
    same = (pid[:, None] == pid).float()
    wanted = same / same.sum(dim=1, keepdim=True)
    logits = 50 * images @ texts.T
    assert float(divergence(logits, wanted) + divergence(logits.T, wanted)) == pytest.approx(24.48596, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("threshold", [-1.0, 1.0])
def test_relation_gradients_are_finite_when_all_or_nothing_is_mined(batch: int, threshold: float) -> None:
    images, texts = features(batch, 4, seed=4).requires_grad_(), features(batch, 4, seed=5).requires_grad_()
    target = soft_targets(mined_relations(images, texts, threshold, threshold), 0.1)
    assert int((target > 0).sum()) == (batch * batch if threshold < 0 else batch)
    loss = relation_loss(images, texts, target, 0.02)
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(loss.item())
    for leaf in (images, texts):
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


def test_eps_bounds_a_row_that_is_certain_of_the_wrong_answer() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = images.flip(0)
    loss = relation_loss(images, texts, torch.eye(2), 0.001, 1e-6)
    assert float(loss) == pytest.approx(-2 * math.log(1e-6), rel=1e-4)


# ---- eqs 11-12


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_bank_takes_the_first_feature_and_blends_the_next(kind: torch.dtype) -> None:
    bank, filled = torch.full((4, 3), 9.0, dtype=kind), torch.tensor([False, True, False, True])
    bank[1], new = torch.tensor([1.0, 2.0, 3.0]), features(2, 3, seed=6)
    update_bank(bank, filled, torch.tensor([2, 1]), new, 0.9)
    torch.testing.assert_close(bank[2].float(), new[0], atol=2e-3, rtol=0)
    expected = 0.9 * new[1] + 0.1 * torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(bank[1].float(), expected, atol=2e-3, rtol=0)
    assert bank[[0, 3]].eq(9).all()
    assert bank.dtype == kind


def test_candidates_agree_with_a_search_by_hand() -> None:
    bank, images = features(20, 3, seed=7) * 3, features(4, 3, seed=8)
    filled = torch.ones(20, dtype=torch.bool)
    filled[[5, 11]] = False
    own = torch.tensor([3, 0, 19, 7])
    found = find_candidates(images, bank, filled, own, top_k=3, threshold=0.9)
    some = 0
    for i in range(4):
        scores = {j: cosine(images[i], bank[j]) for j in range(20) if j != own[i] and filled[j]}
        best = sorted(scores, key=lambda j: -scores[j])[:3]
        assert found.pairs[i].tolist() == best
        assert found.similarity[i].tolist() == pytest.approx([scores[j] for j in best], abs=1e-5)
        assert found.mined[i].tolist() == [scores[j] > 0.9 for j in best]
        some += int(found.mined[i].sum())
    assert 0 < some < 12


def test_an_anchor_never_finds_itself_nor_what_was_never_seen() -> None:
    bank, own = torch.ones(3, 2), torch.tensor([1])
    found = find_candidates(torch.ones(1, 2), bank, torch.tensor([True, True, False]), own, top_k=3, threshold=0.7)
    assert found.pairs[found.mined].tolist() == [0]
    empty = find_candidates(torch.ones(1, 2), bank, torch.zeros(3, dtype=torch.bool), own, top_k=3, threshold=-1.0)
    assert not empty.mined.any()
    alone = find_candidates(torch.ones(1, 2), bank[:1], torch.ones(1, dtype=torch.bool), own - 1, top_k=3, threshold=0)
    assert not alone.mined.any()
    alike = torch.eye(2)[[0, 0]]
    strict = find_candidates(alike[:1], alike, torch.ones(2, dtype=torch.bool), torch.tensor([1]), top_k=1, threshold=1)
    assert (strict.similarity.tolist(), strict.mined.tolist()) == ([[1.0]], [[False]])


# ---- eqs 13-18


def candidates(pairs: list[list[int]], similarity: list[list[float]], threshold: float = 0.7) -> Candidates:
    scores = torch.tensor(similarity)
    return Candidates(torch.tensor(pairs), scores, scores > threshold)


def test_targets_have_the_known_values() -> None:
    found = candidates([[8, 5, 6]], [[0.9, 0.85, 0.75]])
    added, column = columns(torch.tensor([2]), found, "merge")
    target = association_targets(found, column, 1 + len(added))
    by_pair = dict(zip([2, *added.tolist()], target[0].tolist(), strict=True))
    assert [by_pair[pair] for pair in (2, 8, 5, 6)] == pytest.approx([0.298, 0.230, 0.233, 0.239], abs=1e-3)


def test_merged_columns_are_one_for_each_pair_and_positive_for_all_that_mined_it() -> None:
    own = torch.tensor([4, 7, 9])
    found = candidates([[7, 2], [2, 3], [3, 5]], [[0.9, 0.8], [0.95, 0.75], [0.6, 0.5]])
    added, column = columns(own, found, "merge")
    assert added.tolist() == [2, 3]
    assert column[0].tolist() == [1, 3]  # pair 7 is in the batch, pair 2 is the first addition
    assert column[1].tolist() == [3, 4]
    target = association_targets(found, column, 5)
    assert (target > 0).tolist() == [
        [True, True, False, True, False],
        [False, True, False, True, True],
        [False, False, True, False, False],
    ]
    assert target[2].tolist() == [0, 0, 1, 0, 0]  # nothing mined: the pair itself


def test_kept_columns_are_one_for_each_anchor_and_candidate() -> None:
    own = torch.tensor([4, 7])
    found = candidates([[7, 2, 1], [2, 1, 3]], [[0.9, 0.8, 0.1], [0.95, 0.2, 0.1]])
    added, column = columns(own, found, "keep")
    assert added.tolist() == [7, 2, 2]
    target = association_targets(found, column, 5)
    assert (target > 0).tolist() == [[True, False, True, True, False], [False, True, False, False, True]]


def test_targets_agree_with_loops() -> None:
    found = candidates([[1, 2, 3], [2, 5, 6], [9, 8, 1]], [[0.9, 0.8, 0.72], [0.75, 0.71, 0.3], [0.2, 0.1, 0.0]])
    own = torch.tensor([0, 1, 4])
    added, column = columns(own, found, "merge")
    target = association_targets(found, column, 3 + len(added))
    place = {pair: n for n, pair in enumerate([*own.tolist(), *added.tolist()])}
    for i in range(3):
        mined = [(int(p), float(s)) for p, s in zip(found.pairs[i], found.similarity[i], strict=True) if s > 0.7]
        share = softmax([1.0, *(s for _, s in mined)])
        weights = softmax([1.0, *(1 - value for value in share[1:])])
        expected = np.zeros(target.shape[1])
        expected[i] = weights[0]
        for (pair, _), weight in zip(mined, weights[1:], strict=True):
            expected[place[pair]] = weight
        assert target[i].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("rows", ["paper", "all"])
def test_the_association_loss_agrees_with_loops(rows: str) -> None:
    images, texts = features(3, 4, seed=9), features(3, 4, seed=10)
    stored_images, stored_texts = features(2, 4, seed=11), features(2, 4, seed=12)
    found = candidates([[5, 6], [6, 1], [2, 1]], [[0.9, 0.8], [0.75, 0.3], [0.2, 0.1]])
    added, column = columns(torch.tensor([0, 3, 4]), found, "merge")
    assert added.tolist() == [5, 6]
    target = association_targets(found, column, 5)
    # By hand: 5 is related to the first anchor, 6 to the first two, and each to itself, all alike.
    wanted = target.double().tolist()
    if rows == "all":
        wanted += [[0.5, 0, 0, 0.5, 0], [1 / 3, 1 / 3, 0, 0, 1 / 3]]
        torch.testing.assert_close(
            all_rows(target).double(), torch.tensor(wanted, dtype=torch.float64), atol=1e-6, rtol=0
        )
    every_image, every_text = torch.cat([images, stored_images]), torch.cat([texts, stored_texts])
    expected = 0.0
    for a, b in ((every_text, every_image), (every_image, every_text)):
        expected += kl([[cosine(a[i], b[j]) / 0.3 for j in range(5)] for i in range(len(wanted))], wanted, 1e-6)
    loss = association_loss(
        images, texts, stored_images, stored_texts, target, tau=0.3, rows="all" if rows == "all" else "paper"
    )
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("duplicates", ["merge", "keep"])
@pytest.mark.parametrize("rows", ["paper", "all"])
@pytest.mark.parametrize("similarity", [0.99, 0.0])
def test_association_gradients_are_finite_with_and_without_candidates(
    duplicates: str, rows: str, similarity: float
) -> None:
    for batch in (1, 4):
        images, texts = features(batch, 4, seed=13).requires_grad_(), features(batch, 4, seed=14).requires_grad_()
        found = candidates([[10, 11]] * batch, [[similarity, similarity]] * batch)
        added, column = columns(torch.arange(batch), found, "keep" if duplicates == "keep" else "merge")
        assert bool(len(added)) == (similarity > 0.7)
        bank = features(12, 4, seed=15)
        loss = association_loss(
            images,
            texts,
            bank[added],
            bank[added],
            association_targets(found, column, batch + len(added)),
            tau=0.02,
            rows="all" if rows == "all" else "paper",
        )
        loss.backward()  # type: ignore[no-untyped-call]
        assert math.isfinite(loss.item())
        for leaf in (images, texts):
            assert leaf.grad is not None
            assert bool(leaf.grad.isfinite().all())


# ---- eq 20


def test_words_are_hidden_with_the_asked_probability_and_nothing_else() -> None:
    from models.tokenizers import UNKNOWN, Tokenizer, TokenizerSpec

    tokenizer = Tokenizer.build(TokenizerSpec("words", 60, tuple(f"w{n}" for n in range(50))))
    ids = torch.randint(2, 52, (200, 60), generator=torch.Generator().manual_seed(0))
    ids[:, 40:] = 0
    torch.manual_seed(0)
    hidden = mask_words(ids, tokenizer, 0.5)
    changed = hidden != ids
    assert not changed[:, 40:].any()
    assert set(hidden[changed].tolist()) == {UNKNOWN}
    assert float(changed[:, :40].float().mean()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(mask_words(ids, tokenizer, 0.0), ids)
    first = mask_words(ids, tokenizer, 0.0, always_first=True)
    assert set((first != ids).nonzero()[:, 1].tolist()) == {0}


def test_clip_texts_keep_their_start_and_end() -> None:
    from models.tokenizers import Tokenizer, TokenizerSpec

    tokenizer = Tokenizer.build(TokenizerSpec("clip_bpe", 77))
    ids = tokenizer(["a woman in a red coat", "jekyll", ""]).ids
    assert not (ids == 49405).any()  # no word of a user is the mask
    hidden = mask_words(ids, tokenizer, 1.0)
    assert hidden[0, :8].tolist() == [49406, *[49405] * 6, 49407]
    assert (hidden[0, 8:] == 0).all()
    assert hidden.argmax(dim=1).tolist() == ids.argmax(dim=1).tolist()  # where CLIP reads a text
    assert hidden[2, :3].tolist() == [49406, 49407, 0]
    quirk = mask_words(ids, tokenizer, 0.0, always_first=True)
    assert (quirk[0] == 49405).nonzero().flatten().tolist() == [1]
