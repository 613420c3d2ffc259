"""A recipe with everything in it that it leaves to others: the data of a public set, the window of its network."""

from __future__ import annotations

from cristae.data.open import resolve_data
from cristae.models import NetworkConfig
from cristae.recipe.recipe import Recipe


def completed(recipe: Recipe) -> Recipe:
    """The same recipe with what its public set says and with numbers for its patches.

    Raises:
        RecipeError: There is no such public set or task.
    """
    data, _ = resolve_data(recipe.data, recipe.folder)
    complete = recipe.model_copy(update={"data": data})
    if isinstance(recipe.model, NetworkConfig):
        complete = complete.model_copy(update={"sampling": recipe.sampling.sized(recipe.model.window)})
    return complete if recipe.source is None else complete.read_from(recipe.source)
