"""clDice: do the centre lines of truth and prediction run inside each other? For thin, branching or net-like objects.

    topology precision   = skeleton voxels of the prediction inside the truth / all of them
    topology sensitivity = skeleton voxels of the truth inside the prediction / all of them
    clDice               = their harmonic mean

Shit et al. (2021), https://arxiv.org/abs/2003.07311, section 2. The four counts add with `+`, over slices or volumes.

The skeleton is that of `centre_line`, not the one of scikit-image, which many implementations use and which loses whole
objects in volumes; values differ a little where it loses none. It is made on the grid of voxels: their size does not
enter. A stack of thick sections is better scored slice by slice.

A skeleton cannot be made block by block: where a block ends, the cut would become the end of a line. In a volume each
object (voxels joined by faces, edges or corners: 26 neighbours) is thinned on its own in the box round it, so its
skeleton does not depend on what else is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.centre_line import centre_line


@dataclass(frozen=True)
class SkeletonCounts:
    """Skeleton voxels of two maps, and how many of them lie inside the other map. They add with `+`."""

    truth: int = 0
    """Skeleton voxels of the truth."""
    truth_inside: int = 0
    """Those of them inside the prediction."""
    prediction: int = 0
    """Skeleton voxels of the prediction."""
    prediction_inside: int = 0
    """Those of them inside the truth."""

    def __add__(self, other: SkeletonCounts) -> SkeletonCounts:
        return SkeletonCounts(
            self.truth + other.truth,
            self.truth_inside + other.truth_inside,
            self.prediction + other.prediction,
            self.prediction_inside + other.prediction_inside,
        )


def topology_precision(counts: SkeletonCounts) -> float:
    """Share of the predicted skeleton inside the truth; NaN without one."""
    return counts.prediction_inside / counts.prediction if counts.prediction else float("nan")


def topology_sensitivity(counts: SkeletonCounts) -> float:
    """Share of the true skeleton inside the prediction; NaN without one."""
    return counts.truth_inside / counts.truth if counts.truth else float("nan")


def cl_dice(counts: SkeletonCounts) -> float:
    """Harmonic mean of topology precision and sensitivity; 0 when one map has no skeleton, NaN when neither has."""
    if counts.truth == counts.prediction == 0:
        return float("nan")
    if counts.truth_inside == 0 or counts.prediction_inside == 0:
        return 0.0
    precision, sensitivity = topology_precision(counts), topology_sensitivity(counts)
    return 2 * precision * sensitivity / (precision + sensitivity)


def skeleton_counts(truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None = None) -> SkeletonCounts:
    """Count the skeletons of two masks in memory.

    For scores of a stack slice by slice, call it with each slice and add the results.

    Args:
        truth: (Z, Y, X), or (Y, X) for a plane; integers or booleans, foreground where not 0. Of one slice: a plane.
        prediction: The same of the prediction.
        valid: Same shape; where 0, both maps count as background.

    Raises:
        ScoreError: Shapes differ, a mask holds floats, or an object is too large to be thinned.

    Example:
        >>> line = np.array([[1, 1, 1, 1, 0, 0, 0, 0]])
        >>> counts = skeleton_counts(line, np.roll(line, 1))
        >>> counts
        SkeletonCounts(truth=4, truth_inside=3, prediction=4, prediction_inside=3)
        >>> cl_dice(counts)
        0.75
    """
    masks = [_mask(truth, "truth"), _mask(prediction, "prediction")]
    if valid is not None:
        masks.append(_mask(valid, "the valid mask"))
    if any(mask.shape != masks[0].shape for mask in masks):
        shapes = ", ".join(str(np.shape(one)) for one in (truth, prediction, valid) if one is not None)
        raise ScoreError(f"truth, prediction (and valid) have shapes {shapes}; they must be equal")
    true, predicted = masks if valid is None else [mask & masks[2] for mask in masks[:2]]
    count = _count_line if true.ndim == 2 else _count_objects
    return SkeletonCounts(*count(true, predicted), *count(predicted, true))


def _mask(voxels: np.ndarray, what: str) -> np.ndarray:
    """As bool, (Y, X) for a plane."""
    array = np.asarray(voxels)
    if array.ndim not in (2, 3) or array.dtype.kind not in "bui":
        raise ScoreError(
            f"{what} is {array.dtype} of shape {array.shape}; a skeleton is that of a mask (Z, Y, X) or (Y, X) of "
            "integers or booleans, 0 outside"
        )
    mask: np.ndarray = (array[0] if array.ndim == 3 and len(array) == 1 else array) != 0
    return mask


def _count_line(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Skeleton voxels of a plane or of one object, and those inside `other`."""
    line = centre_line(mask)
    return int(np.count_nonzero(line)), int(np.count_nonzero(line & other))


def _count_objects(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Skeleton voxels of the objects of a volume (Z, Y, X), each thinned on its own, and those inside `other`."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    counts = [_count_line(labels[box] == label, other[box]) for label, box in boxes]
    return sum(n for n, _ in counts), sum(inside for _, inside in counts)
