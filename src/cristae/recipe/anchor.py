"""Recipes whose paths hold wherever the recipe's file is moved to."""

from __future__ import annotations

from pathlib import Path

from cristae.data.description import DataConfig, Labels, Mask, MaskLabels, VolumeConfig
from cristae.recipe.recipe import Recipe


def anchored(recipe: Recipe) -> Recipe:
    """The same recipe with absolute paths, so that a copy elsewhere means the same files.

    Paths of a public data set (`data.set`) start at the set's folder wherever that is, and stay as they are.
    """
    data, training = recipe.data, recipe.training
    if data.set is None:
        data = _anchored_data(data, recipe.folder)
    if training.start_from is not None:
        training = training.model_copy(update={"start_from": absolute_path(training.start_from, recipe.folder)})
    copy = recipe.model_copy(update={"data": data, "training": training})
    return copy if recipe.source is None else copy.read_from(recipe.source)


def _anchored_data(data: DataConfig, folder: Path) -> DataConfig:
    return data.model_copy(update={"volumes": tuple(_volume(volume, folder) for volume in data.volumes)})


def _volume(volume: VolumeConfig, folder: Path) -> VolumeConfig:
    changes: dict[str, object] = {"image": absolute_path(volume.image, folder)}
    if volume.labels is not None:
        changes["labels"] = _labels(volume.labels, folder)
    if volume.second_labels is not None:
        changes["second_labels"] = _labels(volume.second_labels, folder)
    if volume.valid is not None:
        changes["valid"] = _mask(volume.valid, folder)
    if volume.weight is not None:
        changes["weight"] = absolute_path(volume.weight, folder)
    return volume.model_copy(update=changes)


def _labels(labels: Labels, folder: Path) -> Labels:
    if isinstance(labels, MaskLabels):
        return labels.model_copy(update={"masks": {name: _mask(mask, folder) for name, mask in labels.masks.items()}})
    return labels.model_copy(update={"path": absolute_path(labels.path, folder)})


def _mask(mask: Mask, folder: Path) -> Mask:
    return mask.model_copy(update={"path": absolute_path(mask.path, folder)})


def absolute_path(path: str, folder: Path) -> str:
    """A path that starts at a folder. It may be a glob or name an array inside a file (`file.h5:/raw`); joining leaves
    both as they are."""
    return (folder.absolute() / path).as_posix() if not Path(path).is_absolute() else path
