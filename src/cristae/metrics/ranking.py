"""How well a probability map orders the voxels, at any threshold: AUC-ROC and average precision.

All are pooled over the voxels of a histogram and use every bin as a step. On 8-bit maps that is every distinct
probability, so the values are exact. On floats the order inside a bin is lost; `bounded_auc_roc` and
`bounded_average_precision` state between which limits the value of the unbinned probabilities lies.
"""

from __future__ import annotations

import numpy as np

from cristae.metrics.histogram import Bounded, ProbabilityHistogram
from cristae.metrics.ratio import ratio


def auc_roc(histogram: ProbabilityHistogram) -> float:
    """Chance that a random foreground voxel is ranked above a random background voxel, ties counting one half.

    Equal to the trapezoid area under the ROC curve. NaN where one of the two classes has no voxel.

    References:
        Hanley, McNeil (1982), https://doi.org/10.1148/radiology.143.1.7063747

    Example:
        >>> auc_roc(ProbabilityHistogram.of([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]))
        0.875
    """
    return float(auc_roc_of(histogram.counts))


def average_precision(histogram: ProbabilityHistogram) -> float:
    """Sum over falling thresholds of the recall gained at each times the precision there; nothing is interpolated.

    Voxels of equal probability enter together. NaN where the truth has no foreground.

    Example:
        >>> round(average_precision(ProbabilityHistogram.of([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1])), 6)
        0.833333
    """
    return float(average_precision_of(histogram.counts))


def auc_roc_of(counts: np.ndarray) -> np.ndarray:
    """AUC-ROC of counts (..., 2, B) as in a histogram: (...) values, for resampled sums of many units."""
    background, foreground = counts[..., 0, :].astype(np.float64), counts[..., 1, :].astype(np.float64)
    outscored = np.cumsum(background, axis=-1) - background / 2
    pairs = background.sum(-1) * foreground.sum(-1)
    return ratio((foreground * outscored).sum(-1), pairs)


def average_precision_of(counts: np.ndarray) -> np.ndarray:
    """Average precision of counts (..., 2, B) as in a histogram: (...) values."""
    found, called = _found_and_called(counts)
    foreground = counts[..., 1, ::-1]
    gained = np.divide(foreground * found, called, out=np.zeros_like(found), where=called > 0)
    return ratio(gained.sum(-1), found[..., -1])


def bounded_auc_roc(histogram: ProbabilityHistogram) -> Bounded:
    """AUC-ROC with the limits that the lost order inside bins leaves.

    Pairs of a foreground and a background voxel of one bin count one half. In truth each counts 0, 1/2 or 1, so the
    error is at most half the share of such pairs. Bins that hold a single probability lose nothing.
    """
    background, foreground = histogram.counts.astype(np.float64)
    pairs = background.sum() * foreground.sum()
    value = auc_roc(histogram)
    lost = 0.0 if pairs == 0 else float((background * foreground)[_merges(histogram)].sum() / pairs) / 2
    return Bounded(value, value - lost, value + lost)


def bounded_average_precision(histogram: ProbabilityHistogram) -> Bounded:
    """Average precision with the limits that the lost order inside bins leaves.

    Take a bin with p foreground and m background voxels, above which T foreground and F background voxels lie. The
    i-th foreground voxel of the bin, from above, enters at a precision (T + i') / (T + i' + F + m') with some
    i <= i' <= p and 0 <= m' <= m. The precision is highest at i' = p, m' = 0 and lowest at i' = i, m' = m. So the bin
    gives at most p (T + p) / (T + p + F) and at least the sum over i of g(T + i), where g(x) = x / (x + F + m); as g
    is concave, its integral from T + 1/2 to T + p + 1/2, which is computed here, is not larger than that sum.
    """
    value = average_precision(histogram)
    if np.isnan(value):
        return Bounded(value, value, value)
    merges = _merges(histogram)[::-1]
    background, foreground = histogram.counts[:, ::-1].astype(np.float64)
    found, called = _found_and_called(histogram.counts)
    found_before, wrong = found - foreground, called - found
    wrong_before = wrong - background
    tied = np.divide(foreground * found, called, out=np.zeros_like(found), where=called > 0)
    best = np.divide(foreground * found, found + wrong_before, out=np.zeros_like(found), where=foreground > 0)
    worst = foreground - wrong * np.log1p(foreground / (found_before + 0.5 + wrong))
    low, high = (float(np.where(merges, limit, tied).sum() / found[-1]) for limit in (worst, best))
    return Bounded(value, low, high)


def _merges(histogram: ProbabilityHistogram) -> np.ndarray:
    """(B,) where a bin holds different probabilities."""
    merged: np.ndarray = histogram.bins.low < histogram.bins.high
    return merged


def _found_and_called(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., B) by falling probability: true foreground so far, and all voxels so far."""
    found = np.cumsum(counts[..., 1, ::-1].astype(np.float64), axis=-1)
    return found, found + np.cumsum(counts[..., 0, ::-1].astype(np.float64), axis=-1)
