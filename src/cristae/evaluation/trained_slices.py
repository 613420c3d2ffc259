"""Which labelled slices a prediction's network was trained on: there it is better than elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.open import open_data
from cristae.data.splits import labelled_boxes
from cristae.errors import RunError

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe
    from cristae.recipe.run import Run


def trained_slices(recipe: Recipe, labels: Sequence[Image]) -> frozenset[int]:
    """Slices of a labelled volume that the training regions of a recipe hold; with folds also its validation regions,
    on which the networks of other folds were trained.

    Args:
        recipe: With which the network was trained.
        labels: Those of the volume; a region is of the same volume where it has a label file in common.

    Raises:
        CristaeError: Data of the recipe is missing or damaged.
    """
    here = _files(labels)
    data = open_data(recipe.data, recipe.folder, apart=False)
    parts = data.train if recipe.folds is None else (*data.train, *data.validate)
    boxes = [box for part in parts if _files(part.volume.labels) & here for box in labelled_boxes(part)]
    return frozenset(z for box in boxes for z in range(box.start[0], box.stop[0]))


def held_out_slices(attributes: Mapping[str, Any], shape: Sequence[int]) -> frozenset[int]:
    """Slices that a prediction's members predicted without having been trained on them, where it says so."""
    texts = [text for run in attributes.get("runs", ()) for text in run.get("held_out", ())]
    left = Box.of_shape(shape).without(*(Box.parse(text, shape) for text in dict.fromkeys(texts)))
    return frozenset(range(shape[0])) - {z for one in left for z in range(one.start[0], one.stop[0])}


def made_by(attributes: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether all runs of a prediction are called as those of a recipe are."""
    return all(str(one.get("run")).rpartition("-")[0] == recipe.name for one in attributes.get("runs", ()))


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


def _files(labels: Iterable[Image]) -> set[Path]:
    return {path.resolve() for image in labels for path in (image.sources or (image.path,))}
