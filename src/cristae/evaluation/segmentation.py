"""Segmentations: labels with a meaning, a valid mask and a voxel size, opened from whatever holds them.

A prediction, a volume, an image or a path, together with what says what its values mean (classes, a recipe, a
threshold, or that they are object ids), becomes one frozen `Segmentation`. Evaluation, agreement and analysis all
start from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cristae.data.address import Place, place_of
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.formats.paths import Reading, split_options
from cristae.data.geometry import Geometry, placement_hint
from cristae.data.image import Image, VoxelSize
from cristae.data.names import name_of
from cristae.data.open import open_volume, resolve_data
from cristae.data.volume import Volume
from cristae.errors import LabelError, ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.class_maps import class_maps_at, require_no_fractions
from cristae.evaluation.label_files import LabelFiles, open_other_labels, open_own_labels
from cristae.inference.prediction import Prediction, is_prediction, label_names, open_prediction, require_finished
from cristae.metrics.binary import BINARY_CLASSES, binarize, check_threshold, probability_map
from cristae.metrics.merging import merge_classes, merge_images
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

SegmentationSource = Prediction | Volume | Image | str | Path
"""What a segmentation can be opened from."""
Role = Literal["truth", "prediction", "annotation"]
"""How label files are read with a recipe. A truth has the recipe's label values; a prediction has those or class ids
and a class for every voxel; an annotation has either, and may leave voxels out."""
GIVE_A_MEANING = (
    "say it by --recipe RECIPE (the label values of a recipe), --binarize 0.5 (the probability map of one class) or, "
    "for `evaluate`, --objects (object ids); in Python by `classes` too (class ids)"
)
OBJECTS = Classes(names=("background", "objects"))
"""Classes of a segmentation whose values are object ids."""


@dataclass(frozen=True)
class Meaning:
    """What the values of label files and grey maps stand for. Where nothing is given, a prediction says it itself."""

    classes: Classes | None = None
    """Values are class ids."""
    recipe: Recipe | None = None
    """Values are those that the recipe's labels map to classes, or class ids. A path may also be the name, the image
    or the labels of one of its volumes."""
    threshold: float | None = None
    """Values are probabilities of one class; where they are greater, voxels belong to it."""
    objects: bool = False
    """Values are object ids, 0 outside."""

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.classes is not None and (self.recipe is not None or self.threshold is not None):
            raise ScoreError("classes, a recipe and a threshold give values different meanings; give one of them")

    @property
    def known_classes(self) -> Classes | None:
        """The classes that it names; None where only a prediction itself can."""
        if self.objects:
            return OBJECTS
        if self.recipe is not None:
            return resolve_data(self.recipe.data, self.recipe.folder)[0].classes
        return BINARY_CLASSES if self.threshold is not None else self.classes

    @property
    def of_truth(self) -> Meaning:
        """The meaning of the truth: with a recipe, a threshold is for the prediction alone."""
        return self if self.recipe is None else replace(self, threshold=None)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What every voxel of a volume, or of a part of it, is. All images have the same shape and are read lazily."""

    volume: str
    """Name of the volume."""
    path: Place
    """Where it was opened, for messages."""
    classes: Classes
    labels: tuple[Image, ...]
    """Exclusive classes: one image of class ids. Overlapping classes: one image of 0 and 1 for each class. Empty where
    the one probability map is binarised."""
    probabilities: tuple[Image, ...] = ()
    """Probability maps of the foreground classes, uint8 (255 is 1) or floats; empty where there are none."""
    threshold: float | None = None
    """Above which a probability is foreground; None for labels."""
    valid: Image | None = None
    """Voxels count where this is not 0; None where all do."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where it is known."""
    part: Box | None = None
    """Which voxels of its volume a prediction covers; None where the source does not say."""
    whole_shape: Triple | None = None
    """Voxels (z, y, x) of the volume that `part` counts in."""

    def __post_init__(self) -> None:
        expected = 1 if self.classes.exclusive else len(self.classes.names)
        if self.labels and len(self.labels) != expected:
            names = ", ".join(self.classes.names)
            raise ScoreError(
                f"{self.path}: has {len(self.labels)} label images, but the classes {names} have {expected} label "
                "images; was it made with the same classes?"
            )

    @property
    def images(self) -> tuple[Image, ...]:
        """All that is read of it."""
        return (*self.labels, *self.probabilities)

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x)."""
        return self.images[0].shape

    @property
    def volume_shape(self) -> Triple:
        """Voxels (z, y, x) of the volume."""
        return self.whole_shape or self.shape

    @property
    def box(self) -> Box:
        """The voxels of the volume that it covers."""
        return self.part or Box.of_shape(self.shape)

    def geometry(self, what: str) -> Geometry:
        """Where its voxels lie; `what` it is, for messages, such as "the truth"."""
        return replace(
            Geometry.of(self.images[0], what, voxel_size_nm=self.voxel_size_nm), who=f"{what} {self.path}".strip()
        )

    @property
    def drawn(self) -> tuple[Image, ...]:
        """Its labels, or what its probability map is at the threshold."""
        cut = 0.5 if self.threshold is None else self.threshold
        maps = () if self.labels else self.probabilities
        return (*self.labels, *(image.map(partial(binarize, threshold=cut), np.dtype(np.uint8)) for image in maps))

    def read(self, box: Box) -> tuple[np.ndarray, ...]:
        """Class ids (Z, Y, X), or one mask for each overlapping class."""
        if self.labels:
            return tuple(image.read(box) for image in self.labels)
        return self.binarized([image.read(box) for image in self.probabilities])

    def binarized(self, maps: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Masks of what was read of probability maps."""
        cut = 0.5 if self.threshold is None else self.threshold
        return tuple(binarize(one, cut) for one in maps)

    def crop(self, box: Box) -> Segmentation:
        """The voxels inside `box`, counted in this segmentation."""
        return replace(
            self,
            labels=tuple(image.crop(box) for image in self.labels),
            probabilities=tuple(image.crop(box) for image in self.probabilities),
            valid=None if self.valid is None else self.valid.crop(box),
            part=box.shift(self.box.start),
            whole_shape=self.volume_shape,
        )

    def fit(self, mask: Image) -> Image:
        """A mask of these voxels, from one of them or of the whole volume."""
        if self.part is None or mask.shape != self.whole_shape:
            return mask
        return replace(mask.crop(self.part), origin_nm=Geometry.of(mask, "").crop(self.part).origin_nm)

    def merge(self, groups: Mapping[str, Sequence[str]]) -> Segmentation:
        """The segmentation into merged classes, old names by new name.

        The probability map of one class stays as it is; those of several exclusive classes add up to that of their
        union, and those of several overlapping classes, which do not, are left out.

        Raises:
            ScoreError: A group names a class that is not there, or fits no scheme of classes.
        """
        if not groups:
            return self
        merged, lookup = merge_classes(self.classes, groups)
        exclusive, maps = self.classes.exclusive, self.probabilities
        if len(maps) == len(self.classes.foreground) and len(maps) > 1:
            places = lookup[-len(maps) :] - (0 if merged.background_name is None else 1)
            maps = tuple(_sum(maps, places == new) for new in range(len(merged.foreground))) if exclusive else ()
        labels = merge_images(self.labels, lookup, exclusive=exclusive) if self.labels else ()
        return replace(self, classes=merged, labels=labels, probabilities=maps)

    def foreground(self) -> Image:
        """A mask, 1 where a voxel counts and has any class but the background."""
        lowest = self.classes.foreground_ids[0]

        def read(box: Box) -> np.ndarray:
            some: np.ndarray = np.logical_or.reduce([labels >= lowest for labels in self.read(box)])
            return (some if self.valid is None else some & (self.valid.read(box) != 0)).view(np.uint8)

        return replace(self.images[0], format="mask", dtype=np.dtype(np.uint8), reader=read, palette=None)


def meaning_for(sources: Sequence[SegmentationSource], meaning: Meaning) -> Meaning:
    """The meaning that was given; where nothing was, the classes of the first prediction among the sources.

    Raises:
        ScoreError: There is none either.
        CristaeError: A file is missing or damaged.
    """
    if meaning.known_classes is not None:
        return meaning
    for source in sources:
        prediction = _as_prediction(source, meaning)
        if prediction is not None:
            return Meaning(classes=prediction.classes)
    for source in sources:
        if isinstance(source, str | Path):
            open_image(source)  # a file that is missing or damaged is reported first
    names = [str(source if isinstance(source, str | Path) else run_name(source)) for source in sources]
    raise ScoreError(f"{', '.join(names)}: it is not known what the values mean; {GIVE_A_MEANING}")


def run_name(source: SegmentationSource) -> str:
    """A short name of a source: that of a volume, or of the file."""
    if isinstance(source, Volume):
        return source.name
    return name_of(source if isinstance(source, str | Path) else source.path)


def open_segmentation(
    source: SegmentationSource,
    meaning: Meaning,
    *,
    role: Role = "annotation",
    like: Geometry | None = None,
    progress: Progress = Progress(),
) -> Segmentation:
    """Open one segmentation; see `open_segmentations`.

    Raises:
        ScoreError: Besides, the source holds several unrelated images.
    """
    found = open_segmentations(source, meaning, role=role, like=like, progress=progress)
    if len(found) != 1:
        raise ScoreError(f"{source}: are {len(found)} unrelated images; name them one by one, each by its own file")
    return found[0]


def open_segmentations(
    source: SegmentationSource,
    meaning: Meaning,
    *,
    role: Role = "annotation",
    like: Geometry | None = None,
    progress: Progress = Progress(),
) -> tuple[Segmentation, ...]:
    """Open the segmentation that a source holds, or one for each unrelated image of a recipe's volume.

    Args:
        source: A prediction, a volume with labels, an image, or a path of one of these.
        meaning: What its values stand for.
        role: How label files are read with a recipe.
        like: What it must have the shape of, checked before all its values are read; a prediction may cover a part.
        progress: Where to report how values were read.

    Raises:
        ScoreError: It is not known what the values mean, they do not have that meaning, or shapes differ.
        LabelError: There are no labels, or labels that are not mapped.
        RunError: A prediction is not complete.
        CristaeError: A file is missing, damaged or cannot be used.
    """
    prediction = _as_prediction(source, meaning)
    if prediction is not None:
        if role == "truth" or meaning.objects:
            raise ScoreError(_labels_wanted(prediction, role))
        return (_of_prediction(prediction, meaning),)
    assert not isinstance(source, Prediction)
    classes = meaning_for([source], meaning).known_classes
    assert classes is not None, "meaning_for gives classes"
    if isinstance(source, Volume):
        return (_of_volume(source, source.image.path, classes),)
    if isinstance(source, Image):
        return (_of_image(source, meaning, classes, like),)
    if meaning.threshold is not None or meaning.objects:
        require_finished(source)
        image = open_image(source)
        _warn(image.warnings, progress)
        return (_of_image(image, meaning, classes, like),)
    return tuple(_of_path(source, meaning, classes, role, like=like, progress=progress))


def _of_path(
    source: str | Path, meaning: Meaning, classes: Classes, role: Role, *, like: Geometry | None, progress: Progress
) -> Sequence[Segmentation]:
    """Labels as a recipe describes them, the probability maps of all classes in one file, or other labels."""
    files = None if meaning.recipe is None else open_own_labels(source, meaning.recipe)
    if files is None and role != "truth":
        maps = class_maps_at(source, classes, progress)
        if maps is not None:
            one = Segmentation(
                name_of(source), place_of(source), classes, *maps, voxel_size_nm=maps[0][0].voxel_size_nm
            )
            return (one,)
    if files is not None or meaning.recipe is not None:
        assert meaning.recipe is not None
        found = files or open_other_labels(source, meaning.recipe)
        _warn([warning for volume in found.volumes for warning in volume.warnings], progress)
        return _of_label_files(found, role, like, progress)
    require_finished(source)
    require_no_fractions(open_image(source))
    volume = open_volume(source, labels=str(source), classes=classes, name=name_of(source))
    _warn(volume.warnings, progress)
    return (_of_volume(volume, place_of(source), classes),)


def _warn(warnings: Sequence[str], progress: Progress) -> None:
    for warning in warnings:
        progress.warn(warning)


def _as_prediction(source: SegmentationSource, meaning: Meaning) -> Prediction | None:
    """The prediction that a source is or names; None for all else, and for a probability map that is named.

    Raises:
        ScoreError: Options stand behind the path of a prediction, which says all itself.
    """
    if not isinstance(source, str | Path):
        return source if isinstance(source, Prediction) else None
    plain, reading = split_options(source)
    if not is_prediction(place_of(plain)):
        return None
    prediction = open_prediction(plain)
    if reading == Reading():
        return prediction
    if reading.channel is None or meaning.threshold is None or not prediction.probabilities:
        raise ScoreError(
            f"{source}: is a prediction, whose classes are known; leave out what stands behind its path (::channel is "
            "for one of the probability maps that it kept, with --binarize)"
        )
    return None


def check_shape(name: str, expected: Geometry, found: Segmentation | Image) -> Box:
    """The voxels of a volume of the `expected` shape (z, y, x) that a segmentation or an image covers.

    A part is recognised only in a volume of the expected shape.

    Raises:
        ScoreError: The shapes do not fit together.
    """
    part, whole = (found.part, found.whole_shape) if isinstance(found, Segmentation) else (None, None)
    if part is not None and whole == expected.shape:
        return part
    if found.shape == expected.shape:
        return Box.of_shape(expected.shape)
    own = found.geometry("") if isinstance(found, Segmentation) else Geometry.of(found, "")
    more = "" if part is None or whole == found.shape else f" (box {part} of a volume of {whole})"
    raise ScoreError(
        f"truth and prediction of '{name}' have different shapes: truth {expected.shape}, prediction "
        f"{found.shape}{more} voxels (z, y, x). Compare a prediction with the truth of the same volume."
        + placement_hint(expected, own)
    )


def _of_prediction(prediction: Prediction, meaning: Meaning) -> Segmentation:
    """The labels of a prediction and the probabilities that it kept, or its one class at a threshold."""
    found, known = prediction.classes, meaning.known_classes
    kept = dict(zip(prediction.channel_names, prediction.probabilities, strict=False))  # empty when not kept
    one = Segmentation(
        volume=name_of(prediction.path),
        path=prediction.path,
        classes=found,
        labels=prediction.labels,
        probabilities=tuple(kept[name] for name in found.foreground if kept),
        voxel_size_nm=prediction.voxel_size_nm,
        part=prediction.box,
        whole_shape=prediction.volume_shape,
    )
    if meaning.threshold is not None:
        return _at_threshold(one, known or found, meaning.threshold)
    if known is not None and found.scheme != known.scheme:
        raise ScoreError(
            f"{prediction.path}: was made for the classes {found.listed}, not {known.listed}; "
            "compare segmentations into the same classes"
        )
    return one


def _at_threshold(one: Segmentation, classes: Classes, threshold: float) -> Segmentation:
    """The one class of a prediction where its probability is greater; labels were made at one half."""
    if len(one.classes.foreground) != 1:
        names = ", ".join(one.classes.names)
        raise ScoreError(f"{one.path}: has the classes {names}; a threshold is for one class, give a recipe instead")
    if one.probabilities:
        return replace(one, classes=classes, labels=(), threshold=threshold)
    if threshold == 0.5:
        return replace(one, classes=classes, threshold=threshold)
    raise ScoreError(
        f"{one.path}: holds labels only, made at a fixed threshold; repeat `cristae predict` with --probabilities, or "
        "give --binarize 0.5 to take the labels as they are"
    )


def _of_volume(volume: Volume, path: Place, classes: Classes) -> Segmentation:
    if not volume.labels:
        raise LabelError(f"volume '{volume.name}' has no labels; name them in the recipe")
    size = volume.voxel_size_nm or volume.labels[0].voxel_size_nm
    return Segmentation(volume.name, path, classes, volume.labels, valid=volume.valid, voxel_size_nm=size)


def _of_image(image: Image, meaning: Meaning, classes: Classes, like: Geometry | None) -> Segmentation:
    name = name_of(image.path)
    if meaning.threshold is None:
        require_no_fractions(image)
        return Segmentation(name, image.path, classes, (image,), voxel_size_nm=image.voxel_size_nm)
    if like is not None:
        check_shape(name, like, image)
    maps, size = (probability_map(image, blocks=blocks_of),), image.voxel_size_nm
    return Segmentation(name, image.path, classes, (), maps, meaning.threshold, voxel_size_nm=size)


def _of_label_files(files: LabelFiles, role: Role, like: Geometry | None, progress: Progress) -> Sequence[Segmentation]:
    """Labels as a recipe describes them, or read with its mapping."""
    found = [_of_volume(volume, files.path, files.classes) for volume in files.volumes]
    if role == "truth" or files.own:
        return found
    require_finished(files.path)
    if like is not None:
        check_shape(found[0].volume, like, found[0])
    require_no_fractions(open_image(files.path))
    read = files.read_values_or_ids(unlabelled=role == "annotation", progress=progress)
    return [_of_volume(read, files.path, files.classes)]


def _labels_wanted(prediction: Prediction, role: Role) -> str:
    """What opens by the path of a prediction is a picture of its input, not its labels."""
    path = prediction.path
    labels = " or ".join(f"{path}:/labels/{name}" for name in label_names(prediction.classes))
    wanted = "truth; to take its labels as the truth" if role == "truth" else "object ids; to take its labels"
    return f"{path}: is a prediction, not {wanted}, name {labels}"


def _sum(maps: Sequence[Image], members: np.ndarray) -> Image:
    """The probability of any of some exclusive classes, 8-bit or float like theirs."""
    chosen = [image for image, member in zip(maps, members, strict=True) if member]
    floats = chosen[0].dtype.kind == "f"

    def read(box: Box) -> np.ndarray:
        total = sum(image.read(box).astype(np.float64 if floats else np.uint16) for image in chosen)
        return np.minimum(total, 1 if floats else 255).astype(chosen[0].dtype)

    return chosen[0] if len(chosen) == 1 else replace(chosen[0], reader=read)
