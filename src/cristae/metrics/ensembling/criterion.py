"""One number of voxel counts, of which more is better: what members of an ensemble are chosen by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import accuracy, dice, iou
from cristae.metrics.ratio import ratio

VoxelCriterion = Literal["miou", "f1", "accuracy"]


def table_shape(classes: Classes) -> tuple[int, int, int]:
    """Of the counts of a voxel scheme: one table of all exclusive classes, or one of two entries for each mask.

    Returns:
        (T, K, K), truth in rows and prediction in columns.
    """
    size = len(classes.names) if classes.exclusive else 2
    return (1 if classes.exclusive else len(classes.names), size, size)


def score_of(classes: Classes, criterion: VoxelCriterion) -> Callable[[np.ndarray], np.ndarray]:
    """The criterion as a function of counts, with the meaning it has in metrics.csv of a training.

    `miou`: mean over all classes of intersection over union, the background included where there is one; of
    overlapping masks the mean over the masks. `f1`: mean over the foreground classes. `accuracy`: the share of voxels
    whose class is right; of overlapping masks the mean over them. A class that is nowhere is left out of the mean.

    Returns:
        A function of counts (..., T, K, K), or of the same flattened to (..., T * K * K), to scores (...); NaN where
        nothing is defined.

    Example:
        >>> classes = Classes(names=("background", "cell"))
        >>> round(float(score_of(classes, "miou")(np.array([[[1, 1], [0, 2]]]))), 4)
        0.5833
    """
    shape = table_shape(classes)

    def score(counts: np.ndarray) -> np.ndarray:
        tables = np.asarray(counts)
        if tables.shape[-3:] != shape:
            tables = tables.reshape(*tables.shape[:-1], *shape)
        return _mean(_values(Confusion(tables), classes, criterion))

    return score


def _values(tables: Confusion, classes: Classes, criterion: VoxelCriterion) -> np.ndarray:
    """(..., n) the values whose mean is the score."""
    if criterion == "accuracy":
        if not classes.exclusive:
            return accuracy(tables)[..., 1]
        return ratio(tables.tp.sum(-1), tables.counts.sum((-2, -1)))
    found = iou(tables) if criterion == "miou" else dice(tables)
    if not classes.exclusive:
        return found[..., 1]
    return found[..., 0, :] if criterion == "miou" else found[..., 0, list(classes.foreground_ids)]


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, without what is undefined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))
