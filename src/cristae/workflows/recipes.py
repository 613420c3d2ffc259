"""Check a recipe against its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.classical.config import RandomForestConfig
from cristae.data.absence import absent_data
from cristae.data.labelling import require_names
from cristae.data.open import Part, complete_data, labelled_boxes, read_samples
from cristae.errors import CristaeError
from cristae.progress import Progress, WarnOnce
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import require_place
from cristae.recipe.study import plan_lines, require_study_place
from cristae.training.cache_folder import cache_limit, open_cache
from cristae.workflows.held_out import tested_data
from cristae.workflows.plan_study import naming, plan_study
from cristae.workflows.prepare_training import (
    Prepared,
    make_network,
    prepare_forest_training,
    prepare_network_training,
    start_network,
)
from cristae.workflows.training_data import TrainingData, begin_training, check_form, default_place

if TYPE_CHECKING:
    from torch import nn

_READ_VOX = 48 << 20
"""Voxels of the labelled regions that a check reads at most: seconds."""
_BLOCK = (16, 1024, 1024)


def check_recipe(path: str | Path, overrides: Sequence[str] = (), *, progress: Progress = Progress()) -> Recipe:
    """Do everything that training does before its first step, and leave nothing behind.

    Of large data a part is read, which the last line of progress says: what only the rest holds, training will find.
    Where none of the data is there yet and the recipe says how to get it, all that needs no data is done, and a warning
    repeats where the data come from; `missing_data` tells the same.

    Args:
        path: The recipe file.
        overrides: Changes such as `training.epochs=5`.
        progress: Where warnings go.

    Returns:
        The recipe, with what a public data set fills in.

    Raises:
        RecipeError: The recipe is not valid.
        NetworkError: A network of one's own is not what its config says.
        CristaeError: Its data cannot be opened, do not fit together, or give nothing to learn.
    """
    return check_loaded(load_recipe(path, overrides), progress)


def check_loaded(
    recipe: Recipe, progress: Progress, then: Callable[[nn.Module, Prepared, float], None] | None = None
) -> Recipe:
    """As `check_recipe`, of a recipe that is loaded.

    Args:
        recipe: As `load_recipe` gives it.
        progress: Where warnings go.
        then: What else to do with the network and what its training needs, where all of that is there; it also gets the
            part of the validation data that is read. In a study it is done for the first member alone, as the others
            need as much.

    Raises:
        CristaeError: The recipe or its data cannot be used.
    """
    if missing := missing_data(recipe):
        recipe = _check_without_data(recipe, progress)
        progress.warn(f"the form of the recipe is valid, only its data are missing: {missing}")
        return recipe
    if recipe.is_study:
        recipe, whole = _check_study(recipe, WarnOnce(progress), then)
    else:
        recipe, whole = _check_data(recipe, progress, then)
    try:
        if recipe.is_study:
            require_study_place(default_place(recipe), recipe)
        else:
            require_place(default_place(recipe))
    except CristaeError as error:  # training can be given another place
        progress.warn(str(error))
    if not whole:
        progress.warn("the data is large and was read in part; what only the rest of it holds, training will find")
    return recipe


def _check_data(
    recipe: Recipe, progress: Progress, then: Callable[[nn.Module, Prepared, float], None] | None
) -> tuple[Recipe, bool]:
    """The complete recipe of one training, checked with its data; and whether all of these were read."""
    recipe, data = begin_training(recipe, progress, read_vox=_READ_VOX)
    regions = data.regions
    if isinstance(recipe.model, RandomForestConfig):
        prepare_forest_training(recipe, data, progress)
        _read((*regions.train, *regions.validate), progress)
    else:
        _check_network(recipe, data, progress, then)
        _read(regions.validate, progress)
    read_samples(data.dataset, progress)
    return recipe, data.whole


def _check_study(
    recipe: Recipe, progress: Progress, then: Callable[[nn.Module, Prepared, float], None] | None
) -> tuple[Recipe, bool]:
    """Plan the members of a study, show its folds, and check one member of each."""
    plan, whole = plan_study(recipe, progress), True
    for line in plan_lines(plan.facts):
        progress.say(line)
    for number, member in enumerate(one for one in plan.members if one.instance in (None, 1)):
        with naming(member, progress) as named:
            whole &= _check_data(member.recipe, named, None if number else then)[1]
            if plan.nested:
                whole &= _check_tested(member.recipe, named)
    return plan.recipe, whole


def _check_tested(recipe: Recipe, progress: Progress) -> bool:
    """Check what a member of nested folds is scored on; and whether all of it was read."""
    data = tested_data(recipe).limited(_READ_VOX, flat=recipe.model.ndim == 2)
    _read(data.regions.validate, progress)
    return data.whole


def missing_data(recipe: Recipe) -> str | None:
    """What to do where none of a recipe's data is on this machine yet, though it says where they come from; else None.

    Raises:
        VolumeError: The recipe names an unknown public set, or no volumes or classes.
    """
    with recipe.telling_where():
        return absent_data(complete_data(recipe.data), recipe.folder)


def _check_without_data(recipe: Recipe, progress: Progress) -> Recipe:
    """All of a check that needs no voxel."""
    recipe = check_form(recipe, progress)
    classes = recipe.data.classes
    assert classes, "a complete recipe has classes"
    for volume in recipe.data.volumes:
        for labels in (volume.labels, volume.second_labels):
            if labels is not None:
                require_names(labels, classes, name=volume.name)
    if not isinstance(recipe.model, RandomForestConfig):
        network, _ = make_network(recipe, classes, progress)
        start_network(network, recipe, None, progress)
        cache_limit()
    return recipe


def _check_network(
    recipe: Recipe, data: TrainingData, progress: Progress, then: Callable[[nn.Module, Prepared, float], None] | None
) -> None:
    network, locality = make_network(recipe, data.regions.classes, progress)
    start_network(network, recipe, None, progress)
    cache_limit()
    with open_cache() as lasting, open_cache(lasting.scratch) as cache:
        prepared = prepare_network_training(recipe, data, locality, cache, progress, whole_slices=then is not None)
        if prepared is not None:
            prepared.feed.read(0, [0])
            if then is not None:
                then(network, prepared, data.validated_share)


def _read(parts: Sequence[Part], progress: Progress) -> None:
    """Read what validation, or a forest, will read: it is damaged or not."""
    with progress.task("Reading the data", len(parts), unit="parts") as task:
        for part in parts:
            volume = part.volume
            images = [volume.image, *volume.labels, *([] if volume.valid is None else [volume.valid])]
            for box in labelled_boxes(part):
                for block in box.blocks(_BLOCK):
                    for image in images:
                        image.read(block)
            task.advance()
