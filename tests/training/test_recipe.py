from pathlib import Path

import pytest

from training.errors import RecipeError
from training.optimisation import build_optimiser
from training.recipe import RECIPES, OptimiserPart, SchedulePart, dump_recipe, load_recipe
from training.schedule import learning_rate_factor, set_learning_rate

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_recipes_are_shipped() -> None:
    assert "compact-synthetic" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_reads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe


def test_fields_can_be_overridden(tmp_path: Path) -> None:
    recipe = load_recipe("compact-synthetic", ["optimiser.lr=0.5", "batch=7", "loss.sdm=1"], data=tmp_path)
    assert (recipe.optimiser.lr, recipe.batch, recipe.loss.sdm, recipe.data.root) == (0.5, 7, 1.0, tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimiser.speed=3", r"optimiser\.speed"),
        ("batch=1", "batch"),
        ("precision=fp8", "precision"),
        ("nonsense", "section.field=value"),
        ("batch.size=3", "not a section"),
        ("augmentation.flip=2", "flip"),
        ("batch=[", "YAML"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("compact-synthetic", [override])


def test_an_unknown_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="compact-synthetic"):
        load_recipe("no-such")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(RecipeError, match="mapping"):
        load_recipe(str(tmp_path / "list.yaml"))


def test_the_learning_rate_warms_up_and_falls() -> None:
    part = SchedulePart(epochs=10, warmup=2, warmup_from=0.1, floor=0.01)
    factors = [learning_rate_factor(step, 100, part) for step in range(1000)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[100] == pytest.approx(0.55)
    assert factors[200] == pytest.approx(1.0)
    assert factors[600] == pytest.approx(0.01 + 0.99 * 0.5)
    assert factors[999] == pytest.approx(0.01, abs=1e-4)
    assert factors[200:] == sorted(factors[200:], reverse=True)


def test_vectors_take_no_weight_decay_and_biases_their_own_rate() -> None:
    from torch import nn

    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimiser = build_optimiser(network, OptimiserPart(name="adam", lr=1.0, weight_decay=0.5, bias_lr=2.0))
    groups = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in optimiser.param_groups}
    assert groups == {(1.0, 0.5): 1, (2.0, 0.0): 2, (1.0, 0.0): 1}
    set_learning_rate(optimiser, 0.25)
    assert sorted(group["lr"] for group in optimiser.param_groups) == [0.25, 0.25, 0.5]
