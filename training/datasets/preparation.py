"""The data that a recipe asks for, ready to be trained on."""

from training.datasets import read_dataset
from training.datasets.joint import join
from training.recipe import Recipe
from training.records import PersonData, carve_validation


def prepare_data(recipe: Recipe, *, allow_missing: bool = False) -> PersonData:
    """Read the recipe's data set, and its `data.pictures`; each gets a val split where it needs one and has none.

    Raises:
        DatasetError: as `read_dataset`.
    """
    part = recipe.data
    people = read_dataset(
        part.format, part.root, allow_missing=allow_missing, drop_single_image_ids=part.drop_single_image_ids
    )
    people = _selectable(people, recipe)
    if part.pictures is None:
        return people
    beside = read_dataset(part.pictures.format, part.pictures.root, allow_missing=allow_missing)
    return join(people, _selectable(beside, recipe)).data


def _selectable(people: PersonData, recipe: Recipe) -> PersonData:
    if recipe.data.select_on == "val" and not people.splits["val"]:
        return carve_validation(people, share=recipe.data.carve, seed=recipe.seed)
    return people
