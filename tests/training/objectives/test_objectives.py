import pytest
import torch
from torch.nn import functional as F

from training.objectives.infonce import infonce
from training.objectives.sdm import sdm


def test_sdm_has_the_known_value() -> None:
    # methods.md 1.3, computed with IRRA's own formula.
    torch.manual_seed(0)
    images, texts = torch.randn(6, 8), torch.randn(6, 8)
    value = sdm(images, texts, torch.tensor([0, 0, 1, 2, 2, 3]), 50.0)
    assert float(value) == pytest.approx(24.48596, abs=1e-4)


def test_sdm_is_zero_where_everything_matches() -> None:
    identity = torch.eye(4)
    assert float(sdm(identity, identity, torch.arange(4), 50.0)) == pytest.approx(0.0, abs=1e-4)


def test_infonce_agrees_with_its_definition() -> None:
    torch.manual_seed(1)
    images, texts = F.normalize(torch.randn(5, 3), dim=1), F.normalize(torch.randn(5, 3), dim=1)
    expected = 0.0
    for i in range(5):
        for a, b in ((images, texts), (texts, images)):
            exponents = [float(torch.exp(7.0 * a[i] @ b[j])) for j in range(5)]
            expected -= float(torch.log(torch.tensor(exponents[i] / sum(exponents)))) / 10
    assert float(infonce(images, texts, 7.0)) == pytest.approx(expected, abs=1e-5)


def test_identities_share_the_target() -> None:
    torch.manual_seed(2)
    images, texts = F.normalize(torch.randn(4, 3), dim=1), F.normalize(torch.randn(4, 3), dim=1)
    different = torch.arange(4)
    torch.testing.assert_close(infonce(images, texts, 5.0, different), infonce(images, texts, 5.0))

    same = torch.zeros(4, dtype=torch.int64)
    uniform = infonce(images, texts[:1].expand(4, 3), 5.0, same)
    assert float(uniform) == pytest.approx(float(infonce(images, texts[:1].expand(4, 3), 5.0, same)), abs=1e-6)
    assert float(infonce(torch.ones(4, 1), torch.ones(4, 1), 5.0, same)) == pytest.approx(1.38629, abs=1e-4)


@pytest.mark.parametrize("loss", ["infonce", "sdm"])
def test_gradients_pull_pairs_together(loss: str) -> None:
    torch.manual_seed(3)
    texts = F.normalize(torch.randn(6, 4), dim=1)
    # Not from anywhere: SDM's KL(p || q) seeks a mode and keeps a wrong one, which is why it hurts from scratch.
    images = (texts + 0.6 * torch.randn(6, 4)).requires_grad_()
    assert (F.normalize(images, dim=1) @ texts.T).argmax(dim=1).tolist() != list(range(6))
    identities = torch.arange(6)
    optimiser = torch.optim.Adam([images], lr=0.1)
    for _ in range(200):
        unit = F.normalize(images, dim=1)
        value = infonce(unit, texts, 10.0) if loss == "infonce" else sdm(unit, texts, identities, 10.0)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    best = (F.normalize(images, dim=1) @ texts.T).argmax(dim=1)
    assert best.tolist() == identities.tolist()
