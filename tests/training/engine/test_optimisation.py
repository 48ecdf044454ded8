"""Parameter groups and schedules against the numbers of methods.md 1.5, 4 and 7."""

import pytest
import torch
from torch import nn

from models.mamba import SelectiveSSM
from training.engine.optimisation import build_optimiser, settings_of
from training.engine.schedule import learning_rate_factor, set_learning_rate
from training.errors import RecipeError
from training.recipe import OptimiserPart, SchedulePart, load_recipe

IRRA = OptimiserPart.model_validate(
    {
        "name": "adam",
        "lr": 1e-5,
        "weight_decay": 4e-5,
        "betas": [0.9, 0.999],
        "eps": 1e-3,
        "clip": 0,
        "decay_vectors": True,
        "groups": [
            {"match": "cross", "lr_factor": 5},
            {"match": "bias", "lr_factor": 2, "weight_decay": 0},
            {"match": "classifier|mlm_head", "lr_factor": 5},
            {"match": "(visul|texual)_emb_layer", "lr": 1e-3},
        ],
    }
)


@pytest.mark.parametrize(
    ("name", "lr", "decay"),
    [
        ("encoder.visual.proj.weight", 1e-5, 4e-5),
        ("encoder.ln_post.weight", 1e-5, 4e-5),
        ("encoder.ln_post.bias", 2e-5, 0.0),
        ("cross_attn.in_proj_weight", 5e-5, 4e-5),
        ("cross_attn.in_proj_bias", 2e-5, 0.0),  # bias comes after cross
        ("cross_modal_transformer.0.weight", 5e-5, 4e-5),
        ("classifier.weight", 5e-5, 4e-5),
        ("classifier.bias", 5e-5, 0.0),  # the classifier's rate, the bias's decay
        ("mlm_head.dense.bias", 5e-5, 0.0),
        ("visul_emb_layer.linear.weight", 1e-3, 4e-5),
        ("texual_emb_layer.linear.bias", 1e-3, 0.0),
    ],
)
def test_irras_table(name: str, lr: float, decay: float) -> None:
    assert list(settings_of(name, nn.Parameter(torch.zeros(3)), IRRA)) == pytest.approx([lr, decay])


def test_vectors_take_no_weight_decay_and_biases_their_own_rate() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimiser = build_optimiser(network, OptimiserPart(name="adam", lr=1.0, weight_decay=0.5, bias_lr=2.0))
    groups = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in optimiser.param_groups}
    assert groups == {(1.0, 0.5): 1, (2.0, 0.0): 2, (1.0, 0.0): 1}
    set_learning_rate(optimiser, 0.25)
    assert sorted(group["lr"] for group in optimiser.param_groups) == [0.25, 0.25, 0.5]


def test_marked_parameters_take_no_weight_decay_unless_a_rule_names_it() -> None:
    layer = nn.Sequential(SelectiveSSM(16)).double()
    plain = OptimiserPart(name="adam", lr=1.0, weight_decay=0.5, decay_vectors=True)
    kept = {name for name, value in layer.named_parameters() if settings_of(name, value, plain)[1] == 0}
    assert kept == {"0.A_log", "0.D"}
    groups = {group["weight_decay"]: len(group["params"]) for group in build_optimiser(layer, plain).param_groups}
    assert groups == {0.5: 7, 0.0: 2}
    named = OptimiserPart.model_validate({"weight_decay": 0.5, "groups": [{"match": "A_log", "weight_decay": 0.1}]})
    assert settings_of("0.A_log", layer.get_parameter("0.A_log"), named)[1] == 0.1


def test_a_rule_that_matches_nothing_is_refused() -> None:
    part = OptimiserPart.model_validate({"groups": [{"match": "clasifier", "lr": 1.0}]})
    with pytest.raises(RecipeError, match=r"groups\[0\] matches no parameter: 'clasifier'"):
        build_optimiser(nn.Linear(2, 2), part)


@pytest.mark.parametrize("group", ["{match: '(', lr: 1}", "{match: a}", "{match: a, lr: 1, lr_factor: 2}"])
def test_a_rule_that_says_nothing_sound_is_refused(group: str) -> None:
    with pytest.raises(RecipeError, match=r"optimiser\.groups\.0"):
        load_recipe("compact-synthetic", [f"optimiser.groups=[{group}]"])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_couples_weight_decay_with_the_gradient_and_eps_bounds_a_small_one(name: str) -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(2.0)
    part = IRRA.model_copy(update={"name": name, "lr": 0.1, "weight_decay": 0.5, "groups": ()})
    optimiser = build_optimiser(network, part)
    network.weight.grad = torch.tensor([[0.001]])
    optimiser.step()
    if name == "adam":
        gradient = 0.001 + 0.5 * 2.0  # L2 becomes part of the gradient
        expected = 2.0 - 0.1 * gradient / (gradient + 1e-3)
    else:
        expected = 2.0 * (1 - 0.1 * 0.5) - 0.1 * 0.001 / (0.001 + 1e-3)  # eps 1e-3 halves this step
    assert float(network.weight.detach()) == pytest.approx(expected, rel=1e-6)


def at_epochs(part: SchedulePart, epochs: range, steps: int = 7) -> list[float]:
    """The factor at the first step of each epoch; the last step's must be the same."""
    first = [learning_rate_factor(epoch * steps, steps, part) for epoch in epochs]
    assert first == [learning_rate_factor(epoch * steps + steps - 1, steps, part) for epoch in epochs]
    return first


def test_irras_schedule() -> None:
    part = SchedulePart(epochs=60, shape="cosine", per="epoch", warmup=5, warmup_from=0.1)
    factors = at_epochs(part, range(60))
    assert factors[:6] == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82, 1.0])
    assert factors[32] == pytest.approx(0.5 * (1 + torch.cos(torch.tensor(torch.pi * 27 / 55)).item()))
    assert factors[59] == pytest.approx(0.5 * (1 + torch.cos(torch.tensor(torch.pi * 54 / 55)).item()), rel=1e-4)


def test_lgurs_schedule() -> None:
    part = SchedulePart(epochs=60, shape="steps", per="epoch", warmup=0, milestones=(20, 40, 50))
    factors = at_epochs(part, range(60))
    assert [factors[epoch] for epoch in (0, 19, 20, 39, 40, 49, 50, 59)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_hpls_first_stage() -> None:
    part = SchedulePart(epochs=10, shape="exponential", per="epoch", warmup=0, gamma=0.8)
    assert at_epochs(part, range(4)) == pytest.approx([1, 0.8, 0.64, 0.512])


def test_constant_after_the_warm_up() -> None:
    part = SchedulePart(epochs=4, shape="constant", warmup=1, warmup_from=0.5)
    assert [learning_rate_factor(step, 10, part) for step in (0, 5, 10, 39)] == pytest.approx([0.5, 0.75, 1, 1])


def test_the_learning_rate_warms_up_and_falls() -> None:
    part = SchedulePart(epochs=10, warmup=2, warmup_from=0.1, floor=0.01)
    factors = [learning_rate_factor(step, 100, part) for step in range(1000)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[100] == pytest.approx(0.55)
    assert factors[200] == pytest.approx(1.0)
    assert factors[600] == pytest.approx(0.01 + 0.99 * 0.5)
    assert factors[999] == pytest.approx(0.01, abs=1e-4)
    assert factors[200:] == sorted(factors[200:], reverse=True)
