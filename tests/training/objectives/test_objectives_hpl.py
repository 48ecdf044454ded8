"""HPL's losses against loops over numpy arrays, and where their gradients must and must not go (methods.md 7)."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from training.objectives.prompts import (
    instance_consistency,
    local_alignment,
    prompt_contrast,
    prototype_identity,
    squared_distance,
    token_gap,
)
from training.objectives.triplet import batch_hard_triplet

IDS = [0, 0, 1, 2, 2, 2]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def unit(x: torch.Tensor) -> np.ndarray:
    rows = x.detach().double().numpy()
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def contrast(anchors: np.ndarray, anchor_ids: list[int], others: np.ndarray, other_ids: list[int], s: float) -> float:
    total = 0.0
    for a, own in enumerate(anchor_ids):
        rivals = sum(math.exp(s * anchors[a] @ others[n]) for n, other in enumerate(other_ids) if other != own)
        losses = []
        for p, other in enumerate(other_ids):
            if other == own:
                positive = math.exp(s * anchors[a] @ others[p])
                losses.append(-math.log(positive / (positive + rivals)))
        total += sum(losses) / len(losses)
    return total / len(anchor_ids)


def test_the_contrasts_of_equations_8_and_9_average_over_positives() -> None:
    images, prompts, ids = drawn(6, 5), drawn(6, 5, seed=1), torch.tensor(IDS)
    for anchors, others in ((prompts, images), (images, prompts)):
        expected = contrast(unit(anchors), IDS, unit(others), IDS, 7.0)
        assert float(prompt_contrast(anchors, ids, others, ids, 7.0)) == pytest.approx(expected, rel=1e-5)


def test_without_repeats_the_contrast_is_the_paper_s_softmax() -> None:
    images, prompts, ids = drawn(4, 5), drawn(4, 5, seed=1), torch.arange(4)
    logits = torch.from_numpy(50 * unit(prompts) @ unit(images).T)
    expected = -logits.log_softmax(dim=1).diagonal().mean()
    assert float(prompt_contrast(prompts, ids, images, ids, 50.0)) == pytest.approx(float(expected), rel=1e-5)


def test_a_batch_of_one_identity_has_nothing_to_contrast() -> None:
    images, prompts = drawn(3, 5).requires_grad_(), drawn(3, 5, seed=1)
    loss = prompt_contrast(prompts, torch.zeros(3, dtype=torch.int64), images, torch.zeros(3, dtype=torch.int64), 50.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_equations_6_and_10_are_squared_distances_of_unit_vectors() -> None:
    v_prompt, v, t_prompt, t = (drawn(3, 5, seed=n) for n in range(4))

    def gap(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(np.mean([2 - 2 * x @ y for x, y in zip(unit(a), unit(b), strict=True)]))

    assert float(squared_distance(v, 3 * v)) == pytest.approx(0.0, abs=1e-6)
    consistency = instance_consistency(v_prompt, v, t_prompt, t)
    assert float(consistency) == pytest.approx(gap(v_prompt, v) + gap(t_prompt, t), rel=1e-5)
    aligned = local_alignment(t_prompt, v, v_prompt, t)
    assert float(aligned) == pytest.approx(gap(t_prompt, v) + gap(v_prompt, t), rel=1e-5)


def test_equation_10_moves_features_and_never_prompts() -> None:
    v_prompt, v, t_prompt, t = (drawn(3, 5, seed=n).requires_grad_() for n in range(4))
    local_alignment(t_prompt, v, v_prompt, t).backward()  # type: ignore[no-untyped-call]
    for moved in (v, t):
        assert moved.grad is not None
        assert moved.grad.abs().sum() > 0
    assert v_prompt.grad is None
    assert t_prompt.grad is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equation_11_is_a_softmax_over_all_prototypes(smoothing: float) -> None:
    images, prototypes, ids = drawn(4, 5), drawn(7, 5, seed=1), [3, 0, 3, 6]
    expected = 0.0
    for image, identity in zip(unit(images), ids, strict=True):
        weights = [math.exp(9 * image @ prototype) for prototype in unit(prototypes)]
        share = [-math.log(weight / sum(weights)) for weight in weights]
        expected += (1 - smoothing) * share[identity] + smoothing * sum(share) / len(share)
    found = prototype_identity(images, torch.tensor(ids), prototypes, 9.0, smoothing)
    assert float(found) == pytest.approx(expected / len(ids), rel=1e-5)


def test_equation_12_is_the_frobenius_norm_or_its_mean() -> None:
    text, image = drawn(2, 4, 3), drawn(2, 4, 3, seed=1)
    gaps = (text - image).double().numpy()
    whole = sum(gaps[n, i, j] ** 2 for n, i, j in product(range(2), range(4), range(3)))
    assert float(token_gap(text, image)) == pytest.approx(whole / 2, rel=1e-5)
    assert float(token_gap(text, image, "mean")) == pytest.approx(whole / 24, rel=1e-5)


def test_the_triplet_takes_the_hardest_of_both_sides() -> None:
    features, ids = drawn(7, 4), [0, 0, 1, 1, 1, 2, 3]  # 2 and 3 have no second sample
    rows = features.double().numpy()

    def distance(a: int, b: int) -> float:
        return float(np.linalg.norm(rows[a] - rows[b]))

    losses = []
    for anchor, own in enumerate(ids[:5]):
        positives = [distance(anchor, n) for n, other in enumerate(ids) if other == own and n != anchor]
        negatives = [distance(anchor, n) for n, other in enumerate(ids) if other != own]
        losses.append(max(0.0, max(positives) - min(negatives) + 0.3))
    found = batch_hard_triplet(features, torch.tensor(ids), 0.3)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize("ids", [[0, 0, 0], [0, 1, 2]])
def test_a_triplet_needs_positives_and_negatives(ids: list[int]) -> None:
    features = drawn(3, 4).requires_grad_()
    loss = batch_hard_triplet(features, torch.tensor(ids), 0.3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert features.grad is not None
    assert not features.grad.any()


def test_the_same_picture_twice_leaves_the_triplet_s_gradient_finite() -> None:
    one = drawn(1, 4)
    features = torch.cat([one, one, drawn(1, 4, seed=1)]).requires_grad_()
    batch_hard_triplet(features, torch.tensor([0, 0, 1]), 9.0).backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert features.grad.isfinite().all()
