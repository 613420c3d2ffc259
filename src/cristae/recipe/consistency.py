"""What can be told from a recipe alone, before anything is read or written: whether its parts fit together."""

from __future__ import annotations

from cristae.errors import CristaeError, RecipeError
from cristae.recipe.recipe import Recipe


def check_consistency(recipe: Recipe) -> None:
    """Make sure that network, patches, augmentation and devices fit together.

    Raises:
        RecipeError: They do not; one line per problem.
    """
    where = recipe.source or recipe.name
    problems = [f"{where}: {problem}" for problem in _problems(recipe)]
    if problems:
        raise RecipeError("\n".join(problems))


def require_regions(recipe: Recipe) -> None:
    """Make sure that there is something to train on and something to judge by; sets must be filled in before.

    Raises:
        RecipeError: `train` or `validate` is empty.
    """
    regions = {"train": recipe.data.train, "validate": recipe.data.validate_}
    for name, found in regions.items():
        if not found:
            raise RecipeError(
                f"{recipe.source or recipe.name}: data.{name}: is empty; name the regions, for instance\n"
                f"  {name}:\n    - {{volume: NAME, slices: 0:10}}"
            )


def _problems(recipe: Recipe) -> list[str]:
    problems = []
    size, ndim = recipe.sampling.size, recipe.model.ndim
    if len(size) != ndim:
        problems.append(f"sampling.size: {list(size)} has {len(size)} axes, but {recipe.model.name} takes {ndim}")
    training = recipe.training
    if training.batch_size % training.devices:
        problems.append(
            f"training.batch_size: {training.batch_size} is not a multiple of the {training.devices} devices that "
            "share it"
        )
    for number, augmentation in enumerate(recipe.augment):
        try:
            augmentation.check(size)
        except CristaeError as error:
            problems.append(f"augment.{number}: {error}")
    return problems
