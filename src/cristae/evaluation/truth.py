"""Truth as a recipe describes it, and predictions in plain files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, Labels, MappedLabels, MaskLabels, VolumeConfig
from cristae.data.formats import open_image
from cristae.data.image import Image
from cristae.data.open import open_data, open_volume, resolve_data
from cristae.data.values import UNLABELLED_CODE, Context, table_of_values, whole_numbers
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, ScoreError
from cristae.evaluation.comparison import blocks_of
from cristae.inference.prediction import is_prediction, label_names, open_prediction
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Truth:
    """Labelled volumes and what their label values meant."""

    volumes: tuple[Volume, ...]
    classes: Classes
    labels: Labels
    """How the recipe maps label values; predictions in plain files may use the same values."""
    own: bool
    """Whether it is one of the recipe's volumes, rather than other labels read with its mapping."""


def open_truth(path: str | Path, recipe: Recipe) -> Truth:
    """Open truth with the meaning that a recipe gives to its values.

    Args:
        path: The labels or the image of one of the recipe's volumes, or the volume's name: it is opened as the recipe
            says, with its valid mask and its labelled slices. Any other labels are read with the recipe's mapping.
        recipe: Its data section.

    Raises:
        ScoreError: The recipe has several mappings and none of them is for this path.
        MissingFileError: The path does not exist.
    """
    data, folder = resolve_data(recipe.data, recipe.folder)
    if data.classes is None:
        raise AssertionError("resolve_data gives classes")
    for config in data.volumes:
        if config.labels is not None and _names(config, str(path), folder):
            only = {"set": None, "task": None, "volumes": (config,), "train": (), "validate_": (), "test": ()}
            dataset = open_data(data.model_copy(update=only), folder)
            return Truth(dataset.volumes, data.classes, config.labels, own=True)
    mapping = _only_mapping(data, path)
    return Truth((_map_labels(Path(path), mapping, data.classes),), data.classes, mapping, own=False)


def require_labels(path: Path) -> None:
    """Refuse a prediction as truth: what opens by its path is the picture of its input, not its labels.

    Raises:
        ScoreError: It is a prediction; says which paths its labels have.
    """
    if is_prediction(path):
        labels = " or ".join(f"{path}:/labels/{name}" for name in label_names(open_prediction(path).classes))
        raise ScoreError(f"{path}: is a prediction, not truth; to take its labels as the truth, name {labels}")


def prediction_files(volumes: Sequence[Volume], path: Path) -> list[tuple[Volume, Path]]:
    """The prediction of each volume: `path` itself for one, the file or folder of its name for unrelated images.

    Raises:
        MissingFileError: An image has no prediction.
    """
    if len(volumes) == 1:
        return [(volumes[0], path)]
    if not path.is_dir():
        raise MissingFileError(f"{path}: expected a folder with a prediction for each of the {len(volumes)} images")
    found = {name_of(file): file for file in sorted(path.iterdir()) if not file.name.startswith(".")}
    missing = [volume.name for volume in volumes if _stem(volume) not in found]
    if missing:
        shown = ", ".join(missing[:6])
        raise MissingFileError(f"{path}: has no prediction for {shown}; name each file like its image")
    return [(volume, found[_stem(volume)]) for volume in volumes]


def predicted_labels(path: Path, truth: Truth, progress: Progress) -> tuple[Image, ...]:
    """A prediction in a plain file as class ids.

    The file may hold class ids, or the label values that the recipe maps; its values tell which.

    Raises:
        ScoreError: The values could be either and would mean different things.
        LabelError: A value is neither.
    """
    mapping, classes = truth.labels, truth.classes
    if not isinstance(mapping, MappedLabels) or any(key.startswith("#") for key in mapping.values):
        colored = isinstance(mapping, MappedLabels) and open_image(path).colors > 2
        return _map_labels(path, mapping, classes).labels if colored else _map_labels(path, None, classes).labels
    values = _values_in(open_image(path))
    table = table_of_values(mapping.values, classes, where=f"prediction {path}")
    codes = table.encode(np.array(sorted(values), np.int64))
    as_ids = values <= {0, *classes.ids}
    as_values = bool((codes <= max(classes.ids)).all())
    if as_ids and as_values and any(code != value for code, value in zip(codes, sorted(values), strict=True)):
        raise ScoreError(
            f"{path}: its values {sorted(values)} could be class ids or label values of the recipe, with different "
            "meanings; write the prediction with class ids and compare from Python with `classes`"
        )
    if not as_ids and UNLABELLED_CODE in codes:
        raise ScoreError(f"{path}: holds values that mean 'unlabelled'; a prediction says a class for every voxel")
    if as_ids and not as_values:
        progress.say(f"{path}: read as class ids")
    return _map_labels(path, None if as_ids else mapping, classes).labels


def name_of(path: Path) -> str:
    """A short name: the file's, without suffixes of image formats."""
    return re.sub(r"(\.ome)?\.(zarr|tiff?|png|mrc|rec|st|map|h5|hdf5|nii|gz)$", "", path.name) or path.name


def _map_labels(path: Path, mapping: Labels | None, classes: Classes) -> Volume:
    """Labels read with a mapping, or as class ids."""
    if mapping is None:
        return open_volume(path, labels=str(path), classes=classes, name=name_of(path))
    own = mapping.model_copy(update={"path": str(path), "slices": None})
    return open_volume(path, labels=own, classes=classes, name=name_of(path))


def _only_mapping(data: DataConfig, path: str | Path) -> Labels:
    mappings = [config.labels for config in data.volumes if config.labels is not None]
    different = {m.model_dump_json(exclude={"path", "slices", "match"}) for m in mappings}
    if len(different) == 1 and not isinstance(mappings[0], MaskLabels):
        return mappings[0]
    names = ", ".join(config.name for config in data.volumes)
    raise ScoreError(
        f"{path}: is neither a volume of the recipe ({names}) nor its labels, and the recipe has no single mapping of "
        "label values to read it with; name one of its volumes as the truth, or add this one under data.volumes"
    )


def _names(config: VolumeConfig, path: str, folder: Path) -> bool:
    wanted = Path(path).resolve()
    files = [config.image, *_label_paths(config.labels)]
    return path == config.name or any((folder / file).resolve() == wanted for file in files)


def _label_paths(labels: Labels | None) -> Iterable[str]:
    if labels is None:
        return ()
    return [mask.path for mask in labels.masks.values()] if isinstance(labels, MaskLabels) else [labels.path]


def _values_in(image: Image) -> set[int]:
    context = Context(f"prediction {image.path}", "Save it as integers.")
    found: set[int] = set()
    for box in blocks_of(image):
        found.update(np.unique(whole_numbers(image.read(box), image, context)).tolist())
    return found


def _stem(volume: Volume) -> str:
    return volume.name.rsplit("/", 1)[-1]
