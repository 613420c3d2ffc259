"""A recipe with everything in it that it leaves to others: the data of a public set, the window of its network."""

from __future__ import annotations

from cristae.data.open import complete_data
from cristae.models import NetworkConfig
from cristae.recipe.recipe import Recipe


def completed(recipe: Recipe) -> Recipe:
    """The same recipe with what its public set says and with numbers for its patches.

    Raises:
        RecipeError: There is no such public set or task.
    """
    complete = recipe.model_copy(update={"data": complete_data(recipe.data)})
    if isinstance(recipe.model, NetworkConfig):
        complete = complete.model_copy(update={"sampling": recipe.sampling.sized(recipe.model.window)})
    return complete if recipe.source is None else complete.read_from(recipe.source)
