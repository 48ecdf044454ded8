"""One file per training method; `build_method` makes the one that a recipe names."""

from models.encoder import PersonEncoder
from training.methods.base import Method, TrainSize
from training.methods.bdam import BdamMethod
from training.methods.clip_baseline import ClipBaselineMethod
from training.methods.dgcmia import DgcmiaMethod
from training.methods.hkgr import HkgrMethod
from training.methods.hpl import HplMethod
from training.methods.lgur import LgurMethod
from training.recipe import Recipe

METHODS: dict[
    str,
    type[ClipBaselineMethod]
    | type[DgcmiaMethod]
    | type[HkgrMethod]
    | type[HplMethod]
    | type[LgurMethod]
    | type[BdamMethod],
] = {
    "clip_baseline": ClipBaselineMethod,
    "dgcmia": DgcmiaMethod,
    "hkgr": HkgrMethod,
    "hpl": HplMethod,
    "lgur": LgurMethod,
    "bdam": BdamMethod,
}
"""By the name that recipes use."""


def build_method(recipe: Recipe, encoder: PersonEncoder, size: TrainSize) -> Method:
    """The recipe's method round an encoder."""
    return METHODS[recipe.method](encoder, recipe, size)
