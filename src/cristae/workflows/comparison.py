"""Truth and prediction laid on each other: what is compared where, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.data.volume import Volume
from cristae.errors import LabelError, ScoreError
from cristae.inference.prediction import Prediction
from cristae.metrics.tally import Tally
from cristae.progress import Progress, Task

_BLOCK_VOXELS = 1 << 24
"""Roughly what is read of each image at once."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One volume and what was predicted for it; all images have the same shape."""

    volume: str
    truth: tuple[Image, ...]
    """Class ids, or one mask for each overlapping class."""
    prediction: tuple[Image, ...]
    """As `truth`."""
    valid: tuple[Image, ...]
    """Voxels count where none of these is 0."""
    first_slice: int = 0
    """Slice of the volume that slice 0 of the images is."""

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x) that are compared."""
        return self.truth[0].shape


def compare(
    truth: Volume,
    prediction: Sequence[Image],
    *,
    made_by: Prediction | None = None,
    box: Box | None = None,
    mask: Image | None = None,
) -> Comparison:
    """Lay a prediction on the truth.

    Args:
        truth: A volume with labels.
        prediction: Class ids, or one mask for each overlapping class.
        made_by: Where the images come from, which may cover a part of the volume; None when they cover all of it.
        box: The part of the volume to compare; None takes all that was predicted.
        mask: Only voxels where this is not 0 count; as large as the truth.

    Raises:
        LabelError: The volume has no labels.
        ScoreError: The shapes do not fit together.
    """
    if not truth.labels:
        raise LabelError(f"volume '{truth.name}' has no labels to compare with; name them in the recipe")
    if len(prediction) != len(truth.labels):
        raise ScoreError(
            f"volume '{truth.name}' has {len(truth.labels)} label images, the prediction has {len(prediction)}; "
            "were both made with the same classes?"
        )
    shape = truth.labels[0].shape
    covered = _covered(truth, prediction, made_by)
    wanted = covered if box is None else box
    if not covered.contains(wanted):
        raise ScoreError(f"volume '{truth.name}': box {wanted} reaches outside the predicted part {covered}")
    if mask is not None and mask.shape != shape:
        raise ScoreError(f"the mask {mask.path} has shape {mask.shape}, the truth of '{truth.name}' {shape} (z, y, x)")
    counts = [image.crop(wanted) for image in (truth.valid, mask) if image is not None]
    return Comparison(
        volume=truth.name,
        truth=tuple(label.crop(wanted) for label in truth.labels),
        prediction=tuple(label.crop(wanted.relative_to(covered.start)) for label in prediction),
        valid=tuple(counts),
        first_slice=wanted.start[0],
    )


def count(comparisons: Sequence[Comparison], classes: Classes, progress: Progress) -> list[Tally]:
    """Count the voxels of all comparisons, streaming.

    Raises:
        ScoreError: An image holds something that is not a class id, or nothing at all counts.
    """
    total = sum(len(blocks_of(c.truth[0], c.prediction[0])) for c in comparisons)
    with progress.task("Comparing", total, unit="blocks") as task:
        tallies = [_tally(comparison, classes, task) for comparison in comparisons]
    if not any(table.total for tally in tallies for table in tally.pooled):
        names = ", ".join(f"'{c.volume}'" for c in comparisons[:5])
        raise ScoreError(f"no voxel of {names} counts: check the mask, and whether the compared slices have labels")
    return tallies


def blocks_of(*images: Image) -> list[Box]:
    """Cut images of one shape into boxes of whole chunks, of about 16 million voxels each."""
    size = [max(image.chunks[axis] for image in images) for axis in range(3)]
    shape = images[0].shape
    for axis in (2, 1, 0):
        while size[axis] < shape[axis] and 2 * size[0] * size[1] * size[2] <= _BLOCK_VOXELS:
            size[axis] *= 2
        size[axis] = min(size[axis], shape[axis])
    return list(Box.of_shape(shape).blocks(size))


def _covered(truth: Volume, prediction: Sequence[Image], made_by: Prediction | None) -> Box:
    """The part of the truth that was predicted. A part is recognised only in a volume as large as the truth."""
    shape, found = truth.labels[0].shape, prediction[0].shape
    if made_by is not None and made_by.volume_shape == shape:
        return made_by.box
    if found == shape:
        return Box.of_shape(shape)
    part = ""
    if made_by is not None and made_by.volume_shape != found:
        part = f" (box {made_by.box} of a volume of {made_by.volume_shape})"
    raise ScoreError(
        f"truth and prediction of '{truth.name}' have different shapes: truth {shape}, prediction {found}{part} voxels "
        "(z, y, x). Compare a prediction with the truth of the same volume."
    )


def _tally(comparison: Comparison, classes: Classes, task: Task) -> Tally:
    tally = Tally(comparison.volume, classes)
    for block in blocks_of(comparison.truth[0], comparison.prediction[0]):
        valid = _valid(comparison, block)
        if valid is None or valid.any():
            _count_block(tally, comparison, block, valid)
        task.advance()
    return tally


def _count_block(tally: Tally, comparison: Comparison, block: Box, valid: np.ndarray | None) -> None:
    truth = [image.read(block) for image in comparison.truth]
    prediction = [image.read(block) for image in comparison.prediction]
    for z in range(block.shape[0]):
        ok = None if valid is None else valid[z]
        try:
            tally.count(
                comparison.first_slice + block.start[0] + z, [t[z] for t in truth], [p[z] for p in prediction], ok
            )
        except ScoreError as error:
            where = f"slice {comparison.first_slice + block.start[0] + z} of '{comparison.volume}'"
            paths = f"truth {comparison.truth[0].path}, prediction {comparison.prediction[0].path}"
            raise ScoreError(f"{where} ({paths}): {error}") from error


def _valid(comparison: Comparison, block: Box) -> np.ndarray | None:
    """uint8 (Z, Y, X), or None when every voxel counts."""
    masks = [image.read(block) != 0 for image in comparison.valid]
    if not masks:
        return None
    both: np.ndarray = np.logical_and.reduce(masks)
    return both
