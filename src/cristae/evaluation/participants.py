"""Annotators and algorithms that are compared with each other: opened, with one meaning, and laid on one grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import UNLABELLED, Classes
from cristae.data.description import MappedLabels
from cristae.data.formats import open_image
from cristae.data.image import Image, VoxelSize
from cristae.data.open import open_volume, resolve_data
from cristae.data.volume import Volume
from cristae.errors import LabelError, ScoreError
from cristae.evaluation.comparison import blocks_of
from cristae.evaluation.predicted import require_finished
from cristae.evaluation.truth import name_of, open_truth, predicted_labels
from cristae.inference.prediction import Prediction, is_prediction, open_prediction
from cristae.metrics.binary import BINARY_CLASSES, binarize, check_threshold, score_map
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

Source = Prediction | Volume | Image | str | Path
"""A prediction, a volume with labels, an image of class ids, or a path of one of these."""
_WHAT_VALUES_MEAN = (
    "give a recipe, which says which label values stand for which class (--recipe), or a threshold between 0 and 1 "
    "for grey maps of one class (--binarize 0.5)"
)


@dataclass(frozen=True, eq=False)
class Participant:
    """What one annotator or algorithm says about a volume."""

    name: str
    labels: tuple[Image, ...]
    """Class ids, or one mask of 0 and 1 for each overlapping class."""
    valid: Image | None = None
    """Labels count where this is not 0; None where all do."""
    voxel_size_nm: VoxelSize | None = None
    volume: str = ""
    """What the volume is called."""
    made_by: Prediction | None = None
    """Where the labels come from, which may cover a part of a volume; None where they cover all of it."""

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x) of the labels."""
        return self.labels[0].shape

    @property
    def volume_shape(self) -> Triple:
        """Voxels (z, y, x) of the volume."""
        return self.shape if self.made_by is None else self.made_by.volume_shape

    @property
    def box(self) -> Box:
        """Which part of the volume the labels cover."""
        return Box.of_shape(self.shape) if self.made_by is None else self.made_by.box

    def crop(self, box: Box) -> Participant:
        """The part inside `box`, counted in the labels."""
        valid = None if self.valid is None else self.valid.crop(box)
        return replace(self, labels=tuple(image.crop(box) for image in self.labels), valid=valid)

    def cell(self) -> Image:
        """A mask of what is labelled with any class but the background."""

        def read(box: Box) -> np.ndarray:
            some: np.ndarray = np.logical_or.reduce([image.read(box) != 0 for image in self.labels])
            return (some if self.valid is None else some & (self.valid.read(box) != 0)).view(np.uint8)

        return replace(self.labels[0], format="mask", dtype=np.dtype(np.uint8), reader=read, palette=None)


def open_participants(
    sources: Mapping[str, Source],
    *,
    classes: Classes | None = None,
    recipe: Recipe | None = None,
    threshold: float | None = None,
    progress: Progress = Progress(),
) -> tuple[Classes, tuple[Participant, ...]]:
    """Open what is compared, by name, and find out what the values mean.

    Args:
        sources: What each participant has.
        classes: The meaning of class ids; None takes those of a prediction among them.
        recipe: The meaning of label values. A path may also be the name, the image or the labels of one of its volumes.
        threshold: Instead of both, that of grey maps of one class.
        progress: Where to tell how values were read.

    Raises:
        ScoreError: It is not said what the values mean, or two things say it, or classes differ.
        CristaeError: A file is missing or not usable.
    """
    opened = {name: _opened(source) for name, source in sources.items()}
    known = _meaning(opened, classes, recipe, threshold)
    found = []
    for name, source in opened.items():
        one = _participant(name, source, known, recipe, threshold, progress)
        if len(one.labels) != (1 if known.exclusive else len(known.names)):
            raise ScoreError(
                f"'{name}' has {len(one.labels)} label images, which do not fit the classes {', '.join(known.names)}"
            )
        found.append(one)
    return known, tuple(found)


def lay_together(participants: Sequence[Participant]) -> tuple[Box, tuple[Box, ...]]:
    """The part of the volume that all cover.

    Returns:
        The part, counted in the volume, and the same counted in the labels of each participant.

    Raises:
        ScoreError: They are not of one volume, or have no part in common.
    """
    if len({one.volume_shape for one in participants}) == 1:
        common = participants[0].box
        for one in participants[1:]:
            common = common.intersect(one.box)
        if common.size == 0:
            raise ScoreError(f"the participants cover no common part of the volume: {_listed(participants)}")
        return common, tuple(common.relative_to(one.box.start) for one in participants)
    parts = {(one.made_by.box, one.made_by.volume_shape) for one in participants if one.made_by is not None}
    if len({one.shape for one in participants}) == 1 and len(parts) <= 1:
        common = next(iter(parts))[0] if parts else participants[0].box
        return common, (Box.of_shape(common.shape),) * len(participants)
    raise ScoreError(
        f"the participants have different shapes (z, y, x): {_listed(participants)}. Compare labels of the same volume."
    )


def _opened(source: Source) -> Source:
    """The prediction, where a path is one."""
    if isinstance(source, str | Path) and is_prediction(Path(source)):
        return open_prediction(source)
    return source


def _meaning(
    sources: Mapping[str, Source], classes: Classes | None, recipe: Recipe | None, threshold: float | None
) -> Classes:
    if sum(one is not None for one in (classes, recipe, threshold)) > 1:
        raise ScoreError("classes, a recipe and a threshold say different things about the values; give one of them")
    if threshold is not None:
        check_threshold(threshold)
        return BINARY_CLASSES
    if recipe is not None:
        found = resolve_data(recipe.data, recipe.folder)[0].classes
        if found is None:
            raise AssertionError("resolve_data gives classes")
        return found
    made = [source.classes for source in sources.values() if isinstance(source, Prediction)]
    if classes is None and not made:
        _open_all(sources.values())  # a file that is missing or damaged is the first thing to tell
        raise ScoreError(f"{', '.join(sources)}: what their values mean is not known; {_WHAT_VALUES_MEAN}")
    return classes or made[0]


def _open_all(sources: Iterable[Source]) -> None:
    for source in sources:
        if isinstance(source, str | Path):
            open_image(source)


def _participant(
    name: str, source: Source, classes: Classes, recipe: Recipe | None, threshold: float | None, progress: Progress
) -> Participant:
    if isinstance(source, Prediction):
        labels = _labels_of(source, name, classes) if threshold is None else (_above(source, threshold),)
        return Participant(name, labels, None, source.voxel_size_nm, name_of(source.path), source)
    if isinstance(source, Volume):
        return _of_volume(name, source)
    if isinstance(source, Image):
        labels = (source if threshold is None else _binary(source, threshold),)
        return Participant(name, labels, None, source.voxel_size_nm, name_of(source.path))
    if recipe is not None:
        return _of_recipe(name, source, recipe, progress)
    require_finished(source)
    if threshold is not None:
        return _participant(name, open_image(source), classes, recipe, threshold, progress)
    return _of_volume(name, open_volume(source, labels=str(source), classes=classes, name=name_of(Path(source))))


def _of_volume(name: str, volume: Volume) -> Participant:
    if not volume.labels:
        raise LabelError(f"'{name}': volume '{volume.name}' has no labels to compare")
    size = volume.voxel_size_nm or volume.labels[0].voxel_size_nm
    return Participant(name, volume.labels, volume.valid, size, volume.name)


def _of_recipe(name: str, source: str | Path, recipe: Recipe, progress: Progress) -> Participant:
    """One of the recipe's volumes; or a file of its label values, or of class ids where no value means unlabelled."""
    truth = open_truth(source, recipe)
    if len(truth.volumes) != 1:
        raise ScoreError(f"'{name}': {source} are {len(truth.volumes)} unrelated images; compare them one by one")
    found = _of_volume(name, truth.volumes[0])
    if truth.own:
        return found
    require_finished(source)
    if isinstance(truth.labels, MappedLabels) and UNLABELLED in truth.labels.values.values():
        return found
    return replace(found, labels=predicted_labels(Path(source), truth, progress))


def _labels_of(prediction: Prediction, name: str, classes: Classes) -> tuple[Image, ...]:
    found = prediction.classes
    if found.scheme != classes.scheme:
        raise ScoreError(
            f"'{name}' ({prediction.path}) was made for the classes {found.listed}, the others have "
            f"{classes.listed}; compare labels of the same classes"
        )
    return prediction.labels


def _above(prediction: Prediction, threshold: float) -> Image:
    """Where the probability of the one class is above a threshold."""
    if len(prediction.classes.foreground) != 1:
        names = ", ".join(prediction.classes.names)
        raise ScoreError(f"{prediction.path}: has the classes {names}; a threshold is for one class, give a recipe")
    if prediction.probabilities:
        return _binary(prediction.probabilities[-1], threshold)
    if threshold == 0.5:
        return prediction.labels[0]
    raise ScoreError(
        f"{prediction.path}: holds labels only, made at a fixed threshold; repeat `cristae predict` with "
        "--probabilities, or give --binarize 0.5 to compare the labels as they are"
    )


def _binary(image: Image, threshold: float) -> Image:
    scores = score_map(image, blocks=blocks_of)
    return scores.map(lambda voxels: binarize(voxels, threshold), np.dtype(np.uint8))


def _listed(participants: Sequence[Participant]) -> str:
    texts = []
    for one in participants:
        part = "" if one.made_by is None else f" (box {one.box} of a volume of {one.volume_shape})"
        texts.append(f"'{one.name}' {one.shape}{part}")
    return ", ".join(texts)
