"""One file per training method; `build_method` makes the one that a recipe names."""

from models.encoder import PersonEncoder
from training.methods.base import Method
from training.methods.clip_baseline import ClipBaselineMethod
from training.recipe import Recipe


def build_method(recipe: Recipe, encoder: PersonEncoder) -> Method:
    """The recipe's method round an encoder."""
    return {"clip_baseline": ClipBaselineMethod}[recipe.method](encoder, recipe)
