"""Labels of any kind as maps that post-processing takes: uint8 class ids, or one mask for each overlapping class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from cristae.data.address import place_of
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.geometry import corrected_size
from cristae.data.image import Image, VoxelSize
from cristae.errors import ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.class_maps import require_no_fractions
from cristae.evaluation.segmentation import (
    Meaning,
    Segmentation,
    SegmentationSource,
    open_segmentation,
)
from cristae.inference.prediction import is_prediction, require_finished
from cristae.postprocessing.form import LabelMaps
from cristae.progress import Progress

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

_BLOCK_VOXELS = 1 << 22
_MOST = 249
"""The largest id of a class."""


def open_label_maps(
    source: SegmentationSource,
    *,
    recipe: Recipe | None,
    classes: Classes | None,
    voxel_size_nm: VoxelSize | None,
    progress: Progress,
) -> LabelMaps:
    """Open labels with the classes of a prediction, of a recipe, as given, or as the file itself has them.

    Args:
        source: A prediction, a volume with labels, an image, or a path of one of these.
        recipe: The meaning of label values.
        classes: The meaning of class ids.
        voxel_size_nm: (z, y, x), where the file does not say it.
        progress: Where to report.

    Raises:
        ScoreError: The values are no class ids, or voxels were not annotated.
        VoxelSizeError: The file says another voxel size.
        CristaeError: A file is missing or damaged.
    """
    if recipe is None and classes is None and not _says_itself(source):
        if isinstance(source, str | Path):
            require_finished(source)
            source = open_image(source)
        assert isinstance(source, Image), "all else says its classes itself"
        classes, source = own_classes(source)
    opened = open_segmentation(source, Meaning(classes, recipe), progress=progress)
    for image in opened.images:
        for warning in image.warnings:
            progress.warn(warning)
    _require_annotated(opened)
    size = corrected_size(opened.geometry(""), voxel_size_nm, progress)
    maps = tuple(_bytes(replace(image, voxel_size_nm=size), opened.classes) for image in opened.drawn)
    known = zip(opened.classes.foreground, opened.probabilities, strict=False)
    kept = {name: image for name, image in known if image.dtype == np.uint8}
    return LabelMaps(maps, opened.classes, size, kept)


def own_classes(image: Image) -> tuple[Classes, Image]:
    """The classes that a label file has by itself: the names and colours it lists, else its ids.

    Returns:
        The classes, the value 0 being the background, and the image with integers.

    Raises:
        ScoreError: It holds fractions, colours, negative values, or ids of objects rather than of classes.
    """
    require_no_fractions(image)
    if image.colors > 1:
        raise ScoreError(f"{image.path}: is a colour image; say what its colours mean with --recipe")
    whole = image if image.dtype.kind in "bui" else image.map(np.rint, image.dtype)
    low, high = 0, 1
    for block in blocks_of(whole, voxels=_BLOCK_VOXELS):
        voxels = whole.read(block)
        low, high = min(low, int(voxels.min())), max(high, int(voxels.max()))
    if low < 0 or high > _MOST:
        raise ScoreError(
            f"{image.path}: holds values from {low} to {high}; class ids lie between 0 and {_MOST}. Numbers of objects "
            "are no classes; say what other values mean with --recipe"
        )
    high = max(high, len(image.palette or ()) - 1) if _lists_names(image) else high
    names = ["background", *map(str, range(1, high + 1))]
    if _lists_names(image):
        names = [image.details.get(f"label {number}", name) for number, name in enumerate(names)]
    colors = {name: color for name, color in zip(names, image.palette or (), strict=False) if len(color) == 7}
    try:
        return Classes(names=tuple(names), colors=colors), whole
    except ValidationError:
        return Classes(names=("background", *map(str, range(1, high + 1)))), whole


def digest_of(maps: LabelMaps) -> str:
    """SHA-256 of all that steps may read: when it is the same, so is what they make of it."""
    total = hashlib.sha256()
    for image in (*maps.images, *maps.probabilities.values()):
        for block in blocks_of(image, voxels=_BLOCK_VOXELS):
            total.update(np.ascontiguousarray(image.read(block)).data)
    return total.hexdigest()


def as_labels(image: Image, classes: Sequence[tuple[str, str]]) -> Image:
    """A label image that says the name and colour of each of its values, from 0."""
    details = {f"label {value}": name for value, (name, _) in enumerate(classes)}
    return replace(image, palette=tuple(color for _, color in classes), details=details)


def _lists_names(image: Image) -> bool:
    return any(key.startswith("label ") for key in image.details)


def _says_itself(source: SegmentationSource) -> bool:
    """Whether a source is a prediction, or holds labels that were opened with their classes."""
    if isinstance(source, str | Path):
        return is_prediction(place_of(source))
    return not isinstance(source, Image)


def _require_annotated(opened: Segmentation) -> None:
    if opened.valid is None:
        return
    for block in blocks_of(opened.valid, voxels=_BLOCK_VOXELS):
        if not opened.valid.read(block).all():
            raise ScoreError(
                f"{opened.path}: voxels of box {block} were not annotated; post-processing is for labels that have a "
                "class everywhere"
            )


def _bytes(image: Image, classes: Classes) -> Image:
    """uint8 ids, checked as they are read."""
    most = len(classes.names) - 1 if classes.exclusive else 1

    def read(box: Box) -> np.ndarray:
        ids = image.read(box)
        if ids.size and (ids.min() < 0 or ids.max() > most):
            raise ScoreError(
                f"{image.path}: box {box} holds values from {ids.min()} to {ids.max()}; expected the class ids 0 to "
                f"{most} of {', '.join(classes.names)}"
            )
        return ids.astype(np.uint8)

    return replace(image, dtype=np.dtype(np.uint8), reader=read, palette=None, details={})
