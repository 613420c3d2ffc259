"""A fraction or a total of a whole population, from a few labelled units and predictions of all units.

Each labelled unit i, such as a slice, has y_i (voxels of the class), x_i (voxels that the fraction is of) and a control
v_i: what the prediction has there more than its own mean over the whole population would give. The mean of v over the
population is 0, so that

    R(lambda) = sum w_i (y_i - lambda v_i) / sum w_i x_i

estimates the true fraction for every lambda: 0 is the labels alone (ratio estimator), 1 the prediction corrected by
what the labels say of its error (difference estimator, prediction-powered inference). The tuned estimate chooses lambda
by the data such that the spread is least: for each unit from the other units, so that the residuals are honest, and
drawn a little towards 1, as if one more unit had said so. A useless prediction gets a lambda near 0.

Intervals are Student's, with cares for small samples: residuals are those of units left out (divided by one minus their
leverage); those of the tuned estimate are weighted by how much it moves when they change, the error of lambda included;
degrees of freedom fall where few units carry the spread (from the kurtosis of the residuals); and the interval leans
away from 0 and 1, as that of the logit does. Their coverage: `benchmarks/organelle_estimates.py`.

References:
    Cochran (1977), Sampling Techniques, chapters 6 and 7
    Sarndal, Swensson, Wretman (1989), https://doi.org/10.1093/biomet/76.3.527
    Angelopoulos et al. (2023), https://arxiv.org/abs/2301.09633
    Angelopoulos, Duchi, Zrnic (2023), https://arxiv.org/abs/2311.01453
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from cristae.metrics.uncertainty.bootstrap import LEVEL
from cristae.metrics.uncertainty.designs import Sample
from cristae.metrics.uncertainty.statistic import SMALLEST_N

Method = Literal["labels", "difference", "tuned"]

_PRIOR_UNITS: Final = 1
"""Units that are taken to have said lambda = 1 before the data speak."""
_FEWEST_FREE: Final = 2.0
"""Degrees of freedom that are kept however few units carry the spread."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Estimates of many data sets at once, or of one; every array has the shape of the data sets."""

    value: np.ndarray
    error: np.ndarray
    """Standard error."""
    low: np.ndarray
    high: np.ndarray
    free: np.ndarray
    """Degrees of freedom of the interval."""
    tuning: np.ndarray
    """Mean lambda: 0 for labels alone, 1 for the difference estimator."""


def estimate_batch(
    truth: np.ndarray, size: np.ndarray, control: np.ndarray, sample: Sample, method: Method, *, upper: float = 1.0
) -> Batch:
    """Estimates with 95 % intervals, of data sets of one design.

    Args:
        truth: (..., n) y.
        size: (..., n) x.
        control: (..., n) v.
        sample: The design; the units are in its order.
        method: The estimator.
        upper: Largest possible value: 1 for fractions, infinite for others.

    Returns:
        NaN where the labelled units of a data set have no size.
    """
    from scipy import stats

    weights, n = sample.weights, sample.n
    tuning = np.full(truth.shape, float(method == "difference"))
    if method == "tuned":
        tuning = (n * tuning_of(truth, size, control, sample.groups) + _PRIOR_UNITS) / (n + _PRIOR_UNITS)
    adjusted = truth - tuning * control
    whole = (weights * size).sum(axis=-1)
    whole = np.where(whole > 0, whole, np.nan)
    value = (weights * adjusted).sum(axis=-1) / whole
    residuals = (adjusted - value[..., None] * size) / (1 - weights * size / whole[..., None])
    if method == "tuned":
        residuals = residuals * _calibration(size, control, weights)
    variance, free = sample.variance(residuals)
    free = free - (method == "tuned")
    free = np.maximum(free * 2 / np.maximum(_kurtosis(residuals) - 1, 2), _FEWEST_FREE)
    error = np.sqrt(np.maximum(variance, 0)) / whole
    half = stats.t.ppf(0.5 + LEVEL / 2, free) * error
    lean = half / 2 * _asymmetry(value, half, upper)
    low, high = np.clip(value - half + lean, 0, upper), np.clip(value + half + lean, 0, upper)
    return Batch(value, error, low, high, free, tuning.mean(axis=-1))


def tuning_of(truth: np.ndarray, size: np.ndarray, control: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(..., n) the lambda of each unit, from the units of other groups: the slope of y on v, both without what size
    explains, where the spread of a unit grows with its size. Not below 0.

    Args:
        truth, size, control: (..., n) as in `estimate_batch`.
        groups: (n,) the group of each unit.
    """
    others = (groups[:, None] != groups[None, :]).astype(np.float64)
    inverse = _inverse(size)

    def total(values: np.ndarray) -> np.ndarray:
        return np.asarray(values @ others)

    y, x, v = total(truth), total(size), total(control)
    each = _inverse(x)
    both = total(inverse * truth * control) - y * v * each
    spread = total(inverse * control * control) - v * v * each
    enough = spread > 1e-12 * total(inverse * control * control)
    return np.maximum(np.where(enough, both / np.where(enough, spread, 1), 0), 0)


def needed_units(sample: Sample, error: float, half_width: float) -> int:
    """How many labelled units of the population give an interval of value +- `half_width`, spread being what it is.

    Args:
        sample: What has been labelled.
        error: The standard error that it gave.
        half_width: That is wanted, in the unit of the error.
    """
    from scipy import stats

    n, population = sample.n, sample.population
    spread = error**2 / (1 / n - 1 / population) if n < population else 0.0
    for wanted in range(SMALLEST_N, population):
        if stats.t.ppf(0.5 + LEVEL / 2, wanted - 1) * math.sqrt(spread * (1 / wanted - 1 / population)) <= half_width:
            return wanted
    return population


def _calibration(size: np.ndarray, control: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., n) what each residual counts in the tuned estimate: 1, less what it counts through lambda, which grows with
    how far the sample's mean control lies from the population's 0."""
    mean = (weights * control).sum(axis=-1, keepdims=True)
    rest = control - mean * _inverse((weights * size).sum(axis=-1, keepdims=True)) * size
    pull = rest * _inverse(size)
    spread = (rest * pull).mean(axis=-1, keepdims=True)
    found: np.ndarray = 1 - np.where(spread > 0, mean * pull / np.where(spread > 0, spread, 1), 0.0)
    return found


def _inverse(size: np.ndarray) -> np.ndarray:
    """1 / size, 0 where there is none."""
    return np.where(size > 0, 1 / np.where(size > 0, size, 1), 0.0)


def _kurtosis(values: np.ndarray) -> np.ndarray:
    """(...) fourth moment over the squared variance of (..., n) values, 3 for normal ones; 3 where they do not vary."""
    squares = np.square(values - values.mean(axis=-1, keepdims=True))
    second = squares.mean(axis=-1) ** 2
    return np.where(second > 0, np.square(squares).mean(axis=-1) / np.where(second > 0, second, 1), 3.0)


def _asymmetry(value: np.ndarray, half: np.ndarray, upper: float) -> np.ndarray:
    """(...) from -1 to 1: the second term of the inverse logit (or exponential) of an interval's end, kept bounded."""
    share = np.clip(value / upper, 0, 1) if math.isfinite(upper) else np.zeros_like(value)
    room = np.maximum(value * (1 - share), 1e-300)
    lean: np.ndarray = np.minimum(half / room, 1) * (1 - 2 * share)
    return lean
