"""One number of voxel counts, of which more is better: what members of an ensemble are chosen by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import accuracy, dice, iou
from cristae.metrics.ratio import ratio
from cristae.metrics.table import metric_named

VoxelCriterion = Literal["miou", "f1", "accuracy"]
CountScore = Callable[[np.ndarray], np.ndarray]
"""Counts (..., T, K, K), or (..., T * K * K), to scores (...); NaN where nothing is defined."""


def table_shape(classes: Classes) -> tuple[int, int, int]:
    """Of the counts of a voxel scheme: one table of all exclusive classes, or one of two entries for each mask.

    Returns:
        (T, K, K), truth in rows and prediction in columns.
    """
    size = len(classes.names) if classes.exclusive else 2
    return (1 if classes.exclusive else len(classes.names), size, size)


def score_of(classes: Classes, criterion: VoxelCriterion | CountScore) -> CountScore:
    """The criterion as a function of counts, with the meaning it has in metrics.csv of a training.

    `miou`: mean over all classes of intersection over union, the background included where there is one; of
    overlapping masks the mean over the masks. `f1`: mean over the foreground classes. `accuracy`: the share of voxels
    whose class is right; of overlapping masks the mean over them. A class that is nowhere is left out of the mean.

    A function, such as `class_score_of` gives, is itself the criterion.

    Example:
        >>> classes = Classes(names=("background", "cell"))
        >>> round(float(score_of(classes, "miou")(np.array([[[1, 1], [0, 2]]]))), 4)
        0.5833
    """
    if callable(criterion):
        return criterion
    return lambda counts: _mean(_values(_tables(counts, classes), classes, criterion))


def class_score_of(classes: Classes, metric: str, class_name: str) -> CountScore:
    """An overlap score of one class, or for `all` its mean over the foreground classes without undefined ones.

    Args:
        classes: Of the counts.
        metric: Its name in tables of scores, such as `Jaccard`.
        class_name: Of which class.

    Raises:
        KeyError: It is no overlap score.
        ValueError: There is no such class.

    Example:
        >>> classes = Classes(names=("background", "cell"))
        >>> float(class_score_of(classes, "Jaccard", "cell")(np.array([[[1, 1], [0, 2]]])))
        0.6666666666666666
    """
    function = metric_named(metric).function
    places = [classes.names.index(name) for name in (classes.foreground if class_name == "all" else (class_name,))]

    def score(counts: np.ndarray) -> np.ndarray:
        found = function(_tables(counts, classes))
        return _mean(found[..., 0, places] if classes.exclusive else found[..., places, 1])

    return score


def _tables(counts: np.ndarray, classes: Classes) -> Confusion:
    tables, shape = np.asarray(counts), table_shape(classes)
    return Confusion(tables if tables.shape[-3:] == shape else tables.reshape(*tables.shape[:-1], *shape))


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
