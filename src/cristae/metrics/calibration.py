"""Calibration: is a probability the fraction it claims?

Of the voxels with a probability of 0.7, about 70 % should be foreground. The probability is that of the foreground, as
in Naeini et al.; for two classes this looks at the whole range from 0 to 1, where the confidence of the decided class,
as in Guo et al., would fold it at 0.5. Probabilities are grouped in equal bins that contain their upper end, as
everywhere: what lies strictly above m / M is in a higher bin than m. On 8-bit maps every value is exact. On floats the
mean probability of a bin is known to within half the width of the histogram's bins, and the limits that follow come
with the value.

References:
    Naeini, Cooper, Hauskrecht (2015), https://doi.org/10.1609/aaai.v29i1.9602
    Guo, Pleiss, Sun, Weinberger (2017), https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.histogram import Bounded, ProbabilityHistogram
from cristae.metrics.ratio import ratio

RELIABILITY_BINS = 15
"""Equal bins from 0 to 1, as many as in Guo et al."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: what was claimed and what was found, by bins of the probability."""

    edges: np.ndarray
    """(M + 1,) from 0 to 1; bin m holds probabilities above edges[m] up to edges[m + 1], the first one also 0."""
    voxels: np.ndarray
    """(M,) int64."""
    mean_probability: np.ndarray
    """(M,) NaN in empty bins."""
    observed: np.ndarray
    """(M,) share of true foreground; NaN in empty bins."""


def reliability(histogram: ProbabilityHistogram, n_bins: int = RELIABILITY_BINS) -> Reliability:
    """Claimed and observed share of foreground in `n_bins` equal bins.

    Raises:
        ScoreError: The histogram is of floats and its bins reach over a border of these.

    Example:
        >>> reliability(ProbabilityHistogram.of([1, 0, 1, 1], [0.25, 0.25, 0.75, 1.0]), 2).observed
        array([0.5, 1. ])
    """
    voxels, foreground, probabilities = calibration_sums(histogram, n_bins)
    return Reliability(
        np.arange(n_bins + 1) / n_bins, voxels.astype(np.int64), ratio(probabilities, voxels), ratio(foreground, voxels)
    )


def expected_calibration_error(histogram: ProbabilityHistogram, n_bins: int = RELIABILITY_BINS) -> Bounded:
    """Distance of mean probability and observed share, averaged over the voxels; NaN without voxels.

    Raises:
        ScoreError: The histogram is of floats and its bins reach over a border of these.

    Example:
        >>> expected_calibration_error(ProbabilityHistogram.of([1, 0, 0, 0], [True, True, False, False])).value
        0.25
    """
    value = float(expected_calibration_error_of(calibration_sums(histogram, n_bins)))
    voxels, low, high = _gap_limits(histogram, n_bins)
    total = voxels.sum()
    return Bounded(value, float(ratio((voxels * low).sum(), total)), float(ratio((voxels * high).sum(), total)))


def maximum_calibration_error(histogram: ProbabilityHistogram, n_bins: int = RELIABILITY_BINS) -> Bounded:
    """Largest distance of mean probability and observed share among the bins with voxels; NaN without voxels.

    Raises:
        ScoreError: The histogram is of floats and its bins reach over a border of these.
    """
    voxels, foreground, probabilities = calibration_sums(histogram, n_bins)
    used = voxels > 0
    if not used.any():
        return Bounded(np.nan, np.nan, np.nan)
    _, low, high = _gap_limits(histogram, n_bins)
    gaps = np.abs(foreground - probabilities)[used] / voxels[used]
    return Bounded(float(gaps.max()), float(low[used].max()), float(high[used].max()))


def calibration_sums(histogram: ProbabilityHistogram, n_bins: int = RELIABILITY_BINS) -> np.ndarray:
    """(3, M) float64: voxels, true foreground, and sum of probabilities in each of `n_bins` equal bins.

    They add up over blocks, slices and volumes; `expected_calibration_error_of` turns sums into the error.

    Raises:
        ScoreError: The histogram is of floats and its bins reach over a border of these.
    """
    middle = (histogram.bins.low + histogram.bins.high) / 2
    return _sums(histogram, middle, n_bins)


def expected_calibration_error_of(sums: np.ndarray) -> np.ndarray:
    """The expected calibration error of sums (..., 3, M) as from `calibration_sums`: (...) values."""
    voxels, foreground, probabilities = (sums[..., row, :] for row in range(3))
    return ratio(np.abs(foreground - probabilities).sum(-1), voxels.sum(-1))


def _sums(histogram: ProbabilityHistogram, probabilities: np.ndarray, n_bins: int) -> np.ndarray:
    """(3, M) voxels, foreground and sum of probabilities, one of which each bin of the histogram stands for."""
    if n_bins < 1:
        raise ScoreError(f"calibration needs at least one bin, got {n_bins}")
    tops = np.arange(1, n_bins + 1) / n_bins
    place = np.searchsorted(tops, histogram.bins.low)
    if not np.array_equal(place, np.searchsorted(tops, histogram.bins.high)):
        raise ScoreError(
            f"the borders of {n_bins} equal bins lie inside the bins in which the probabilities were counted; take "
            f"{RELIABILITY_BINS}, or name k / {n_bins} under `thresholds` when counting"
        )
    voxels = histogram.counts.sum(axis=0)
    weights = (voxels, histogram.counts[1], voxels * probabilities)
    return np.stack([np.bincount(place, weight, minlength=n_bins) for weight in weights])


def _gap_limits(histogram: ProbabilityHistogram, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) voxels, and the smallest and largest distance of mean probability and observed share; 0 in empty bins."""
    voxels, foreground, least = _sums(histogram, histogram.bins.low, n_bins)
    _, _, most = _sums(histogram, histogram.bins.high, n_bins)
    nearest = np.maximum(np.maximum(foreground - most, least - foreground), 0)
    farthest = np.maximum(np.abs(foreground - most), np.abs(foreground - least))
    used = np.where(voxels > 0, voxels, 1)
    return voxels, nearest / used, farthest / used
