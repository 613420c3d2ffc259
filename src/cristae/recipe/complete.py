"""A recipe with everything in it that it leaves to others: its public set's data, its network's window, its forest's
black and white."""

from __future__ import annotations

from cristae.classical.config import RandomForestConfig
from cristae.data.open import complete_data
from cristae.models import NetworkConfig
from cristae.preprocess import Local, ZScore
from cristae.recipe.recipe import Recipe

_DEVIATIONS = (-3.0, 3.0)
_FRACTIONS = (0.0, 1.0)


def completed(recipe: Recipe) -> Recipe:
    """The same recipe with what its public set says and with numbers for its patches.

    Raises:
        RecipeError: There is no such public set or task.
    """
    complete = recipe.model_copy(update={"data": complete_data(recipe.data)})
    if isinstance(recipe.model, NetworkConfig):
        complete = complete.model_copy(update={"sampling": recipe.sampling.sized(recipe.model.window)})
    if isinstance(recipe.model, RandomForestConfig):
        complete = complete.model_copy(update={"model": _with_grey_range(recipe.model, recipe)})
    return complete if recipe.source is None else complete.read_from(recipe.source)


def _with_grey_range(forest: RandomForestConfig, recipe: Recipe) -> RandomForestConfig:
    if forest.features.grey_range != "auto" or not forest.features.in_range:
        return forest
    found = _DEVIATIONS if isinstance(recipe.normalize, Local | ZScore) else _FRACTIONS
    features = forest.features.model_copy(update={"grey_range": found})
    return forest.model_copy(update={"features": features})
