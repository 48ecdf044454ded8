from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import RECIPES, dump_recipe, load_recipe

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
        ("epochs=2", r"epochs: there is no such field; did you mean schedule\.epochs\?"),
        ("optimiser.learning_rate=1", r"optimiser\.learning_rate: there is no such field$"),
        ("optimiser.weight_dekay=1", r"did you mean optimiser\.weight_decay\?"),
        ("optimiser.lr=.inf", r"optimiser\.lr: .*finite"),
        ("loss.infonce=.nan", r"loss\.infonce: .*finite"),
        ("precision=fp8", "precision"),
        ("nonsense", "section.field=value"),
        ("batch.size=3", "not a section"),
        ("augmentation.flip=2", "flip"),
        ("batch=[", "YAML"),
        ("accumulate=3", "accumulate 3 must cut batch 128 evenly"),
        ("accumulate=128", "2 pairs at least"),
        ("sampler.name=identity", "16 identities x 4 pairs are not the batch of 128"),
        ("sampler={name: identity, identities: 2, pairs: 64}\x00accumulate=4", "would cut an identity"),
        ("schedule.milestones=[2]", "milestones belong to shape steps"),
        ("schedule.shape=steps", "milestones belong to shape steps"),
        ("schedule={shape: steps, milestones: [4, 2]}", "must rise"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("compact-synthetic", override.split("\x00"))


def test_an_unknown_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="compact-synthetic"):
        load_recipe("no-such")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(RecipeError, match="mapping"):
        load_recipe(str(tmp_path / "list.yaml"))
