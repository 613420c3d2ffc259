"""What can be told from a recipe alone, before anything is read or written: whether its parts fit together."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.errors import CristaeError, RecipeError
from cristae.losses import require_head_weights
from cristae.models.form import NetworkConfig
from cristae.recipe.recipe import Recipe
from cristae.sampling import Sampling


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
    size = recipe.sampling.size or recipe.model.window
    problems = _about_patches(recipe.sampling, size, recipe.model)
    problems += [*_about_batches(recipe), *_about_slices(recipe), *_about_heads(recipe)]
    for number, augmentation in enumerate(recipe.augment):
        try:
            augmentation.check(size)
            if len(size) == recipe.model.ndim:
                augmentation.check(recipe.model.input_size(size))
        except CristaeError as error:
            problems.append(f"augment.{number}: {error}")
    try:
        require_head_weights(recipe.model.head_weights, recipe.loss.head_weights)
    except RecipeError as error:
        problems.append(str(error))
    return problems


def _about_patches(sampling: Sampling, size: Sequence[int], network: NetworkConfig) -> list[str]:
    for field, sides in (("size", size), ("stride", getattr(sampling, "stride", None) or size)):
        if len(sides) != network.ndim:
            return [
                f"sampling.{field}: {list(sides)} has {len(sides)} axes, but {_name(network)} takes {network.ndim}; "
                "null takes what suits the network"
            ]
    good = network.smallest_output if network.fixed_output else network.good_output(size)
    if not any(network.margin) or tuple(size) == tuple(good):
        return []
    return [
        f"sampling.size: {_name(network)} does not answer for patches of {list(size)}, because its convolutions are "
        f"not padded; {'the only' if network.fixed_output else 'the next'} good size is {list(good)}"
    ]


def _about_batches(recipe: Recipe) -> list[str]:
    training, least = recipe.training, recipe.model.smallest_batch
    if training.batch_size % training.devices:
        return [
            f"training.batch_size: {training.batch_size} is not a multiple of the {training.devices} devices that "
            "share it"
        ]
    if training.batch_size // training.devices < least:
        return [
            f"training.batch_size: {training.batch_size} gives each of {training.devices} devices "
            f"{training.batch_size // training.devices}, but {_name(recipe.model)} needs at least {least} patches "
            f"in a batch; set it to {least * training.devices} or more"
        ]
    return []


def _about_slices(recipe: Recipe) -> list[str]:
    """Whether neighbouring slices are asked for where there are none."""
    if recipe.model.in_slices == 1:
        return []
    used = {region.volume for region in (*recipe.data.train, *recipe.data.validate_)}
    unrelated = [v.name for v in recipe.data.volumes if v.kind == "images" and v.name in used]
    if not unrelated:
        return []
    return [
        f"model: {_name(recipe.model)} sees {recipe.model.in_slices} neighbouring slices at once, but "
        f"'{unrelated[0]}' is `kind: images`, whose images have no neighbours; set model.slices: 1"
    ]


def _about_heads(recipe: Recipe) -> list[str]:
    chosen, own = recipe.loss.head_weights, recipe.model.head_weights
    if chosen is None or len(chosen) == len(own):
        return []
    return [
        f"loss.head_weights: {list(chosen)} has {len(chosen)} weights, but {_name(recipe.model)} has {len(own)} while "
        f"training; null takes its own, {list(own)}"
    ]


def _name(network: NetworkConfig) -> str:
    """What a recipe calls a network."""
    return str(getattr(network, "name", "the network"))
