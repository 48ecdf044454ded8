"""BDAM's separation of identity and clothing (seed 002, eqs 1 and 2; methods.md 8)."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from training.objectives.infonce import infonce

LEAST_OTHER = 1e-6
"""1 - P_pos is not taken smaller than this within the logarithm of eq 1."""


def hsic(identity: Tensor, clothing: Tensor) -> Tensor:
    """tr(K_id H K_clo H) / (N - 1)^2 with linear kernels (eq 2): 0 for features that vary independently.

    INFERENCE: features are L2-normalised first, or the value would grow with the square of their dimensions.

    Args:
        identity, clothing: (N, D) and (N, E) float, the gated features of the same images.

    Returns:
        Scalar in [0, (N / (N - 1))^2]; 0 for a single image.
    """
    count = len(identity)
    if count < 2:
        return (identity.sum() + clothing.sum()) * 0
    with torch.autocast(identity.device.type, enabled=False):
        # tr(K H L H) = ||A^T B||^2 of the centred features, which spares the N x N kernels.
        a, b = F.normalize(identity.float(), dim=-1), F.normalize(clothing.float(), dim=-1)
        return ((a - a.mean(dim=0)).T @ (b - b.mean(dim=0))).square().sum() / (count - 1) ** 2


def match_probability(features: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """P_pos of eq 1: the probability that each image gives to its own text among those of the batch.

    INFERENCE: the paper calls a "temperature-scaled dot-product similarity" a probability; it is read as the softmax
    over the batch.

    Args:
        features, texts: (B, D) float, normalised here; row i of both belongs together.
        scale: 1 / tau, > 0.

    Returns:
        (B,) in (0, 1]; 1 in a batch of one.
    """
    cosine = F.normalize(features.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
    return (scale * cosine).softmax(dim=1).diagonal()


def adversarial(features: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Mean of -log(1 - P_pos) (eq 1, as printed): clothing features must not match their clothing text.

    Args:
        features: (B, D) float, clothing features before the gate, in the dimensions of the text.
        texts: (B, D) float, of the clothing descriptions.
        scale: 1 / tau, > 0.

    Returns:
        Scalar in [0, -log 1e-6]. Where P_pos exceeds 1 - 1e-6 it is constant: such a pair has no gradient.
    """
    with torch.autocast(features.device.type, enabled=False):
        other = (1 - match_probability(features, texts, scale)).clamp_min(LEAST_OTHER)
        return -other.log().mean()


def reversed_matching(
    identity: Tensor, clothing: Tensor, texts: Tensor, scale: Tensor | float, identities: Tensor | None = None
) -> Tensor:
    """What section 4.3 of the paper describes instead of eq 1: InfoNCE of clothing features and clothing texts, plus
    the same of identity features with the gradient into them reversed (Ganin and Lempitsky, 2015).

    The projection and the texts learn to find the clothing in the identity features, these to hide it.

    Args:
        identity, clothing: (B, D) float before the gate, in the dimensions of the text.
        texts: (B, D) float, of the clothing descriptions.
        identities: (B,) int64, as for `infonce`.
    """
    with torch.autocast(identity.device.type, enabled=False):
        text = F.normalize(texts.float(), dim=-1)
        found = F.normalize(clothing.float(), dim=-1)
        hidden = F.normalize(reverse_gradient(identity.float()), dim=-1)
        return infonce(found, text, scale, identities) + infonce(hidden, text, scale, identities)


def gate_regulariser(gate: Tensor | None, fusion: Tensor | None) -> Tensor:
    """mean (g - 1/2)^2 + mean (w_1 - 1/2)^2. INFERENCE: the paper names the term and does not define it.

    Args:
        gate: (B, D) in (0, 1), g of the decoupling module; None where there is none.
        fusion: (B,) in (0, 1), the weight w_1 of the image in the fusion; None where there is none.

    Returns:
        Scalar in [0, 1/2].
    """
    parts = [(values.float() - 0.5).square().mean() for values in (gate, fusion) if values is not None]
    return torch.stack(parts).sum() if parts else torch.zeros(())


def reverse_gradient(values: Tensor) -> Tensor:
    """The argument itself; its gradient changes the sign."""
    same: Tensor = _Reverse.apply(values)
    return same


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return -gradients[0]
