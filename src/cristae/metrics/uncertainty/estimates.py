"""A fraction or a total of a whole population, from a few labelled units and predictions of all units.

Each labelled unit i, such as a slice, has y_i (voxels of the class), x_i (voxels that the fraction is of) and v_i, what
the prediction has there more than its own mean over the whole population would give. The mean of v over the population
is 0, so that

    R(lambda) = sum w_i (y_i - lambda v_i) / sum w_i x_i

estimates the true fraction without bias for every lambda: 0 is the labels alone (ratio estimator), 1 the prediction
corrected by what the labels say of its error (difference estimator, prediction-powered inference). In between, lambda
is chosen by the data such that the spread is least; each unit's lambda comes from the other units, so that the
residuals that the interval is made of are honest. A useless prediction gets a lambda near 0.

References:
    Cochran (1977), Sampling Techniques, chapters 6 and 7
    Angelopoulos et al. (2023), https://arxiv.org/abs/2301.09633
    Angelopoulos, Duchi, Zrnic (2023), https://arxiv.org/abs/2311.01453
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from cristae.metrics.uncertainty.bootstrap import LEVEL
from cristae.metrics.uncertainty.designs import Sample
from cristae.metrics.uncertainty.statistic import SMALLEST_N

Method = Literal["labels", "difference", "tuned"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Estimates of many data sets at once, or of one; every array has the shape of the data sets."""

    value: np.ndarray
    error: np.ndarray
    """Standard error."""
    low: np.ndarray
    high: np.ndarray
    tuning: np.ndarray
    """lambda: 0 for labels alone, 1 for the difference estimator."""


def estimate_batch(truth: np.ndarray, size: np.ndarray, control: np.ndarray, sample: Sample, method: Method) -> Batch:
    """Estimates with 95 % intervals, of data sets of one design.

    Args:
        truth: (..., n) y.
        size: (..., n) x.
        control: (..., n) v, see `control_of`.
        sample: The design, and the order of the units.
        method: The estimator.
    """
    from scipy import stats

    weights = sample.weights
    tuning = tuning_of(truth, size, control, sample.groups) if method == "tuned" else float(method == "difference")
    adjusted = truth - tuning * control
    whole = (weights * size).sum(axis=-1)
    value = (weights * adjusted).sum(axis=-1) / whole
    leverage = weights * size / whole[..., None]
    residuals = (adjusted - value[..., None] * size) / (1 - leverage)
    variance, free = sample.variance(residuals)
    error = np.sqrt(np.maximum(variance, 0)) / np.abs(whole)
    half = stats.t.ppf(0.5 + LEVEL / 2, free) * error
    mean_tuning = np.broadcast_to(np.mean(tuning, axis=-1) if method == "tuned" else tuning, value.shape)
    return Batch(value, error, value - half, value + half, mean_tuning)


def tuning_of(truth: np.ndarray, size: np.ndarray, control: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(..., n) the lambda of each unit, from the units of other groups: the slope of the residuals of the truth on those
    of the control, not below 0.

    Args:
        truth, size, control: (..., n) as in `estimate_batch`.
        groups: (n,) the group of each unit.
    """
    others = (groups[:, None] != groups[None, :]).astype(np.float64)

    def total(values: np.ndarray) -> np.ndarray:
        return np.asarray(values @ others)

    sizes = total(size)
    mean, centre = total(truth) / sizes, total(control) / sizes
    squares = total(size * size)
    both = total(truth * control) - centre * total(truth * size) - mean * total(size * control) + mean * centre * squares
    spread = total(control * control) - 2 * centre * total(size * control) + centre**2 * squares
    least = 1e-12 * np.maximum(total(control * control), 1e-300)
    return np.maximum(np.where(spread > least, both / np.where(spread > least, spread, 1), 0), 0)
