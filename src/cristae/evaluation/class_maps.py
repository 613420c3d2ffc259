"""Opening what is to be measured: a map whose values have a meaning and whose voxels have a size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.analysis.class_map import ClassMap
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.image import Image, VoxelSize, check_voxel_size, same_voxel_size, voxel_size_text
from cristae.data.open import open_volume, resolve_data
from cristae.data.volume import Volume
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.predicted import require_finished
from cristae.evaluation.truth import name_of, open_truth, predicted_labels
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class OpenedMap:
    """A map and where it comes from."""

    name: str
    path: Path
    map: ClassMap
    box: Box | None = None
    """Which part of its volume a prediction covers; None where that is not known."""
    volume_shape: tuple[int, int, int] | None = None

    def fit(self, mask: Image | str | Path) -> Image:
        """A mask of the map, or the part of a mask of the whole volume that the map covers."""
        image = mask if isinstance(mask, Image) else open_image(mask)
        if self.box is not None and image.shape == self.volume_shape:
            return image.crop(self.box)
        return image


def open_map(
    source: Prediction | Image | str | Path,
    *,
    classes: Classes | None = None,
    recipe: Recipe | None = None,
    voxel_size_nm: VoxelSize | None = None,
    progress: Progress = Progress(),
) -> OpenedMap:
    """Open a prediction, or labels in any format with what says what their values mean.

    Args:
        source: What to open.
        classes: The meaning of an image of class ids.
        recipe: The meaning of the values of a label file, or of one of the recipe's own volumes.
        voxel_size_nm: (z, y, x), where the file does not say it.
        progress: Where to tell how values were read.

    Raises:
        ScoreError: It is not said what the values mean.
        VoxelSizeError: The voxel size is not known, or the file says another.
        RunError: It is a prediction that is not finished.
        CristaeError: A file is missing, damaged or holds values without a meaning.
    """
    if isinstance(source, str | Path) and is_prediction(Path(source)):
        source = open_prediction(source)
    if isinstance(source, Prediction):
        size = _known_size(source.path, source.voxel_size_nm, voxel_size_nm)
        found = ClassMap(source.labels, source.classes, size)
        return OpenedMap(name_of(source.path), source.path, found, source.box, source.volume_shape)
    volume, known = _labelled(source, classes, recipe, progress)
    path = source.path if isinstance(source, Image) else Path(source)
    size = _known_size(path, volume.voxel_size_nm or volume.labels[0].voxel_size_nm, voxel_size_nm)
    labels = tuple(replace(label, voxel_size_nm=size) for label in volume.labels)
    return OpenedMap(volume.name, path, ClassMap(labels, known, size, volume.valid))


def _labelled(
    source: Image | str | Path, classes: Classes | None, recipe: Recipe | None, progress: Progress
) -> tuple[Volume, Classes]:
    """The volume whose labels are measured, and what they mean."""
    if isinstance(source, Image):
        if classes is None:
            raise ScoreError(f"{source.path}: what the values mean is not known; give `classes`")
        volume = Volume(name_of(source.path), source, (source,), voxel_size_nm=source.voxel_size_nm)
        return volume, classes
    if recipe is not None:
        return _of_recipe(source, recipe, progress)
    require_finished(source)
    if classes is None:
        open_image(source)  # a file that is missing or damaged is the first thing to tell
        raise ScoreError(
            f"{source}: what its values mean is not known; name a prediction of `cristae predict`, or give a recipe, "
            "which says which label values stand for which class (--recipe)"
        )
    return open_volume(source, labels=str(source), classes=classes, name=name_of(Path(source))), classes


def _of_recipe(source: str | Path, recipe: Recipe, progress: Progress) -> tuple[Volume, Classes]:
    """One of the recipe's volumes, or a label file with the recipe's values or class ids."""
    own = [config.name for config in resolve_data(recipe.data, recipe.folder)[0].volumes]
    if str(source) not in own:
        require_finished(source)
    known = open_truth(source, recipe)
    if len(known.volumes) != 1:
        raise ScoreError(
            f"{source}: are {len(known.volumes)} unrelated images; measure them one by one, each by its own file"
        )
    volume = known.volumes[0]
    if volume.name in own:
        return volume, known.classes
    return replace(volume, labels=predicted_labels(Path(source), known, progress)), known.classes


def _known_size(path: Path, found: VoxelSize | None, given: VoxelSize | None) -> VoxelSize:
    if given is not None:
        check_voxel_size(given)
    if found is not None and given is not None and not same_voxel_size(found, given):
        raise VoxelSizeError(
            f"{path}: its file or the recipe says that voxels are {voxel_size_text(found)} (z, y, x), but "
            f"{voxel_size_text(given)} was given. Leave --voxel-size-nm out, or correct what is wrong"
        )
    size = found or given
    if size is None:
        raise VoxelSizeError(
            f"{path}: the voxel size is not known, but volumes and distances need it; give it with --voxel-size-nm "
            "Z Y X"
        )
    return size
