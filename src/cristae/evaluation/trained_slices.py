"""Which labelled slices a prediction's network was trained on: there it is better than elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cristae.data.address import Place
from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.open import open_data
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import RunError
from cristae.recipe.folder import is_run
from cristae.recipe.run import open_unfinished_run
from cristae.recipe.study_members import member_name_pattern

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe
    from cristae.recipe.run import Run


def trained_slices(recipe: Recipe, labels: Sequence[Image]) -> frozenset[int]:
    """Slices of a labelled volume that the training regions of a recipe hold; where it has folds, those of all of them.

    Args:
        recipe: With which the network was trained, or the members of a study.
        labels: Those of the volume; a region is of the same volume where it has a label file in common.

    Raises:
        CristaeError: Data of the recipe is missing or damaged.
    """
    here = _files(labels)
    boxes = [
        box for part in _training_parts(recipe) if _files(part.volume.labels) & here for box in labelled_boxes(part)
    ]
    return frozenset(z for box in boxes for z in range(box.start[0], box.stop[0]))


def trained_volumes(recipe: Recipe, shape: Sequence[int]) -> frozenset[str]:
    """Names of the training volumes of a recipe that have a shape (z, y, x)."""
    return frozenset(one.volume.name for one in _training_parts(recipe) if one.volume.image.shape == tuple(shape))


def earlier_recipes(run: Run) -> Iterator[Recipe]:
    """Recipes of the runs whose weights a run started from, the nearest first, as far as their folders are there.

    Raises:
        RunError: One of them was changed by hand.
    """
    recipe, seen = run.recipe, {run.path.resolve()}
    while recipe.training.start_from is not None:
        start = recipe.folder / recipe.training.start_from
        place = (start if start.is_dir() else start.parent).resolve()
        if place in seen or not is_run(place):
            return
        seen.add(place)
        recipe = open_unfinished_run(place).recipe
        yield recipe


def _training_parts(recipe: Recipe) -> tuple[Part, ...]:
    """What a recipe trains on; with folds, what is validated in one of them is trained on in the others."""
    dataset = open_data(recipe.data, recipe.folder, apart=False)
    return dataset.train if recipe.folds is None else (*dataset.train, *dataset.validate)


def held_out_slices(attributes: Mapping[str, Any], shape: Sequence[int]) -> frozenset[int]:
    """Slices that a prediction's members predicted without having been trained on them, where it says so."""
    texts = [text for run in attributes.get("runs", ()) for text in run.get("held_out", ())]
    left = Box.of_shape(shape).without(*(Box.parse(text, shape) for text in dict.fromkeys(texts)))
    return frozenset(range(shape[0])) - {z for one in left for z in range(one.start[0], one.stop[0])}


def made_by(attributes: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether all runs of a prediction are called as those of a recipe are, or as the members of its study."""
    names = member_name_pattern(recipe.name) if recipe.is_study else re.escape(recipe.name)
    return all(re.fullmatch(f"{names}-[0-9a-f]{{8}}", str(one.get("run"))) for one in attributes.get("runs", ()))


def check_runs(attributes: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Make sure that runs made a prediction.

    Raises:
        RunError: One of the prediction's runs is not among them.
    """
    known = {run.id for run in runs}
    if missing := [str(one["run"]) for one in attributes.get("runs", ()) if one.get("run") not in known]:
        raise RunError(
            f"the prediction was made by {', '.join(missing[:5])}, but --run names {', '.join(sorted(known)) or 'none'}"
            "; name the runs that made it"
        )


def _files(labels: Iterable[Image]) -> set[Place]:
    return {path.resolve() for image in labels for path in (image.sources or (image.path,))}
