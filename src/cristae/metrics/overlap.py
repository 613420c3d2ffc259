"""Overlap scores: ratios of voxel counts, for each class against all others.

Every function gives (K,) values from 0 to 1, one for each class of the counts. A ratio whose denominator is 0 is
undefined: NaN. Taking the background as the positive class is
reading entry 0 instead of entry 1; precision and NPV, recall and specificity then change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.metrics.confusion import Confusion
from cristae.metrics.ratio import ratio


def iou(counts: Confusion) -> np.ndarray:
    """Intersection over union, also called the Jaccard index: TP / (TP + FP + FN)."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def dice(counts: Confusion) -> np.ndarray:
    """Dice coefficient, also called F1: 2 TP / (2 TP + FP + FN).

    References:
        Dice (1945), https://doi.org/10.2307/1932409

    Example:
        >>> dice(Confusion.of([0, 1, 1], [0, 1, 0], n_classes=2))
        array([0.66666667, 0.66666667])
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def precision(counts: Confusion) -> np.ndarray:
    """Fraction of the predicted voxels that are right, also called PPV: TP / (TP + FP)."""
    return ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: Confusion) -> np.ndarray:
    """Fraction of the true voxels that were found, also called sensitivity: TP / (TP + FN)."""
    return ratio(counts.tp, counts.tp + counts.fn)


def specificity(counts: Confusion) -> np.ndarray:
    """Fraction of the other voxels that were left alone: TN / (TN + FP)."""
    return ratio(counts.tn, counts.tn + counts.fp)


def npv(counts: Confusion) -> np.ndarray:
    """Fraction of the voxels left alone that are rightly so: TN / (TN + FN)."""
    return ratio(counts.tn, counts.tn + counts.fn)


def accuracy(counts: Confusion) -> np.ndarray:
    """Fraction of all voxels that are right when only this class is distinguished from the rest: (TP + TN) / all."""
    return ratio(counts.tp + counts.tn, counts.tp + counts.tn + counts.fp + counts.fn)


def overall_accuracy(counts: Confusion) -> float:
    """Fraction of all voxels whose class is right; NaN without voxels."""
    return float(ratio(counts.tp.sum(), counts.total))


@dataclass(frozen=True)
class Mean:
    """An average of the defined values among several, with their number."""

    value: float
    """NaN when no value is defined."""
    n: int
    """How many values were averaged."""


def mean_iou(counts: Confusion, classes: Sequence[int] | None = None) -> Mean:
    """Unweighted mean of the IoU over `classes` (all when None), without those that occur in neither map.

    A class outside `classes` still makes errors in the rows and columns of those inside. A class that is predicted
    but never true has IoU 0 and counts.

    References:
        Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, MIoU(D)
    """
    values = iou(counts)
    return mean_defined(values if classes is None else values[list(classes)])


def mean_defined(values: Sequence[float] | np.ndarray) -> Mean:
    """Plain mean of the values that are not NaN."""
    array = np.asarray(values, np.float64)
    defined = array[~np.isnan(array)]
    return Mean(float(defined.mean()) if defined.size else float("nan"), int(defined.size))
