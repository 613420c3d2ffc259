"""Label files as a recipe describes them, and files whose values a recipe's mapping gives a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, Labels, MappedLabels, MaskLabels, VolumeConfig
from cristae.data.formats import open_image
from cristae.data.image import Image
from cristae.data.names import name_of
from cristae.data.open import open_data, open_volume, resolve_data
from cristae.data.values import UNLABELLED_CODE, Context, table_of_values, whole_numbers
from cristae.data.volume import Volume
from cristae.errors import ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class LabelFiles:
    """Volumes with labels, and how the recipe maps their values."""

    path: Path
    volumes: tuple[Volume, ...]
    """One, or one for each unrelated image."""
    classes: Classes
    mapping: Labels
    own: bool
    """Whether it is one of the recipe's volumes, rather than another file read with its mapping."""

    def read_values_or_ids(self, *, unlabelled: bool, progress: Progress) -> Volume:
        """The labels of a file that holds class ids or the recipe's label values: its values decide which.

        Args:
            unlabelled: Whether voxels may have a value that means 'unlabelled'; they are not valid.
            progress: Where to report that values were read as class ids.

        Raises:
            ScoreError: They could be either and would mean different things, or one means 'unlabelled'.
            LabelError: A value is neither.
        """
        mapping, classes, path = self.mapping, self.classes, self.path
        if not isinstance(mapping, MappedLabels) or any(key.startswith("#") for key in mapping.values):
            colored = isinstance(mapping, MappedLabels) and open_image(path).colors > 2
            return _map_labels(path, mapping if colored else None, classes)
        values = _values_in(open_image(path))
        table = table_of_values(mapping.values, classes, where=f"labels {path}")
        codes = table.codes_of(sorted(values))
        as_ids = values <= {0, *classes.ids}
        left_out = codes == UNLABELLED_CODE
        as_values = bool(((codes <= max(classes.ids)) | (left_out & unlabelled)).all())
        if as_ids and as_values and any(code != value for code, value in zip(codes, sorted(values), strict=True)):
            raise ScoreError(
                f"{path}: its values {sorted(values)} could be class ids or label values of the recipe, with different "
                "meanings; name it as a volume of the recipe, or use class ids from Python with `classes`"
            )
        if not as_ids and left_out.any() and not unlabelled:
            raise ScoreError(f"{path}: holds values that mean 'unlabelled'; a prediction has a class for every voxel")
        if as_ids and not as_values:
            progress.say(f"{path}: read as class ids")
        return _map_labels(path, None if as_ids and not as_values else mapping, classes)


def open_own_labels(source: str | Path, recipe: Recipe) -> LabelFiles | None:
    """Open one of a recipe's volumes as the recipe says, with its valid mask and its labelled slices.

    Args:
        source: The name, the image or the labels of the volume; None is returned for anything else.
        recipe: Its data section.

    Raises:
        CristaeError: Files of the volume are missing, damaged or do not fit together.
    """
    data, folder = resolve_data(recipe.data, recipe.folder)
    assert data.classes is not None, "resolve_data gives classes"
    for config in data.volumes:
        if config.labels is not None and _names(config, str(source), folder):
            regions = {"train": (), "validate_": (), "test": (), "split": None}
            only = {"set": None, "task": None, "volumes": (config,), **regions}
            dataset = open_data(data.model_copy(update=only), folder)
            return LabelFiles(Path(source), dataset.volumes, data.classes, config.labels, own=True)
    return None


def open_other_labels(source: str | Path, recipe: Recipe) -> LabelFiles:
    """Open labels that are none of a recipe's, with the meaning that the recipe gives to their values.

    Raises:
        ScoreError: The recipe has several mappings.
        MissingFileError: The path does not exist.
    """
    data, _ = resolve_data(recipe.data, recipe.folder)
    assert data.classes is not None, "resolve_data gives classes"
    mapping, path = _only_mapping(data, source), Path(source)
    return LabelFiles(path, (_map_labels(path, mapping, data.classes),), data.classes, mapping, own=False)


def _map_labels(path: Path, mapping: Labels | None, classes: Classes) -> Volume:
    """Labels read with a mapping, or as class ids."""
    if mapping is None:
        return open_volume(path, labels=str(path), classes=classes, name=name_of(path))
    own = mapping.model_copy(update={"path": str(path), "channel": None, "signed": None, "slices": None})
    return open_volume(path, labels=own, classes=classes, name=name_of(path))


def _only_mapping(data: DataConfig, path: str | Path) -> Labels:
    mappings = [config.labels for config in data.volumes if config.labels is not None]
    different = {m.model_dump_json(exclude={"path", "channel", "signed", "slices", "match"}) for m in mappings}
    if len(different) == 1 and not isinstance(mappings[0], MaskLabels):
        return mappings[0]
    names = ", ".join(config.name for config in data.volumes)
    raise ScoreError(
        f"{path}: is neither a volume of the recipe ({names}) nor its labels, and the recipe has no single mapping of "
        "label values to read it with; name one of its volumes, or add this one under data.volumes"
    )


def _names(config: VolumeConfig, path: str, folder: Path) -> bool:
    wanted = Path(path).resolve()
    files = [config.image, config.source, *_label_paths(config.labels)]
    return path == config.name or any((folder / file).resolve() == wanted for file in files)


def _label_paths(labels: Labels | None) -> Iterable[str]:
    if labels is None:
        return ()
    files = labels.masks.values() if isinstance(labels, MaskLabels) else [labels]
    return [path for file in files for path in (file.path, file.source)]


def _values_in(image: Image) -> set[int]:
    context = Context(f"labels {image.path}", "Save it as integers.")
    found: set[int] = set()
    for box in blocks_of(image):
        found.update(np.unique(whole_numbers(image.read(box), image, context)).tolist())
    return found
