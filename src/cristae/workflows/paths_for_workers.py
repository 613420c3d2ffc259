"""What workers are told to open: absolute paths, which hold in any folder and process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cristae.data.address import place_of
from cristae.data.image import Image
from cristae.data.open import resolve_data
from cristae.errors import VolumeError
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.inference.prediction import Prediction
from cristae.recipe.anchor import anchored


def meaning_for_workers(meaning: Meaning) -> Meaning:
    """The same with the absolute paths of its recipe."""
    return meaning if meaning.recipe is None else replace(meaning, recipe=anchored(meaning.recipe))


def path_for_workers(source: SegmentationSource, meaning: Meaning) -> str:
    """Where a source can be opened; the name of a volume of a recipe stays a name.

    Raises:
        VolumeError: It exists in this process only.
    """
    if isinstance(source, Prediction):
        return str(source.path.absolute())
    if not isinstance(source, str | Path):
        name = source.path if isinstance(source, Image) else source.name
        raise VolumeError(f"'{name}' is open in this process only, so that no worker can read it; give its path")
    recipe = meaning.recipe
    if recipe is not None and str(source) in {one.name for one in resolve_data(recipe.data, recipe.folder)[0].volumes}:
        return str(source)
    return str(place_of(source).absolute())
