"""clDice: do the centre lines of truth and prediction run inside each other? For thin, branching or net-like objects.

    topology precision   = skeleton voxels of the prediction inside the truth / all of them
    topology sensitivity = skeleton voxels of the truth inside the prediction / all of them
    clDice               = their harmonic mean

Shit et al. (2021), https://arxiv.org/abs/2003.07311, section 2. The four counts add with `+`, over slices or volumes.

The skeleton is that of `centre_line`, not one of scikit-image's, which many implementations use and which lose whole
objects in volumes. In the planes of seven published predictions, clDice is 0.001 to 0.011 above that with scikit-image.
It is made on the grid of voxels: their size does not enter. A stack of thick sections is better scored slice by slice.

In a volume each object (voxels joined by faces, edges or corners: 26 neighbours) is thinned on its own in the box round
it, so its skeleton does not depend on what else is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.centre_line import centre_line
from cristae.metrics.components import label_components
from cristae.metrics.masks import as_mask


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
    arrays = {"truth": truth, "prediction": prediction, **({} if valid is None else {"the valid mask": valid})}
    masks = [_flat(as_mask(array, what)) for what, array in arrays.items()]
    if any(mask.shape != masks[0].shape for mask in masks) or masks[0].ndim not in (2, 3):
        shapes = ", ".join(str(np.shape(array)) for array in arrays.values())
        raise ScoreError(f"truth, prediction (and valid) have shapes {shapes}; they must be equal, (Z, Y, X) or (Y, X)")
    true, predicted = masks if valid is None else [mask & masks[2] for mask in masks[:2]]
    count = _count_line if true.ndim == 2 else _count_objects
    return SkeletonCounts(*count(true, predicted), *count(predicted, true))


def _flat(mask: np.ndarray) -> np.ndarray:
    """A volume of one slice as a plane."""
    return mask[0] if mask.ndim == 3 and len(mask) == 1 else mask


def _count_line(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Skeleton voxels of a plane or of one object, and those inside `other`."""
    line = centre_line(mask)
    return int(np.count_nonzero(line)), int(np.count_nonzero(line & other))


def _count_objects(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Skeleton voxels of the objects of a volume (Z, Y, X), each thinned on its own, and those inside `other`."""
    labels, _ = label_components(mask, 26)
    return _sum(_count_line(labels[box] == label, other[box]) for label, box in _boxes(labels))


def _boxes(labels: np.ndarray) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each label with the box round it."""
    from scipy import ndimage

    yield from enumerate(ndimage.find_objects(labels), start=1)


def _sum(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    total = np.array([(0, 0), *counts]).sum(axis=0)
    return int(total[0]), int(total[1])
