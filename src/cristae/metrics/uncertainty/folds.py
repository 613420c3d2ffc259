"""Means and differences over the folds of a cross-validation, whose training runs share data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.uncertainty.bootstrap import Bounds, Interval
from cristae.metrics.uncertainty.instances import Needed
from cristae.metrics.uncertainty.paired import Difference
from cristae.metrics.uncertainty.statistic import SMALLEST_N

_FEWEST = 3
"""Folds of which a mean has an interval: of two, Student's quantile alone is 12.7."""
_MOST = 1000
"""Folds that are tried."""


def mean_over_folds(
    values: Sequence[float] | np.ndarray, train_size: float, test_size: float, *, bounds: Bounds | None = (0.0, 1.0)
) -> Interval:
    """The 95 % interval of a score's mean over folds, by Student's t.

    The folds share most of their training data, so that they vary less than independent trainings would. As in
    `compare_folds` the variance of the mean is taken as (1 / n + test / train) s^2, with n - 1 degrees of freedom. No
    estimate of this variance is without bias (Bengio and Grandvalet 2004); with five folds the interval is 1.5 times as
    wide as one that takes them for independent.

    Args:
        values: (n,) score of each fold.
        train_size: Units in a training part.
        test_size: Units in a validated part, in the same measure.
        bounds: Smallest and largest possible score, at which the interval ends; None where there is no such pair.

    Raises:
        ScoreError: A value is not finite, or a size is not positive.

    References:
        Nadeau and Bengio (2003), https://doi.org/10.1023/A:1024068626366

    Example:
        >>> found = mean_over_folds([0.70, 0.74, 0.72, 0.71, 0.73], 4, 1)
        >>> round(found.low, 3), round(found.high, 3)
        (0.691, 0.749)
    """
    scores = np.asarray(values, np.float64)
    _check(scores, train_size, test_size)
    n = len(scores)
    if n < _FEWEST:
        return Interval(None, None, n, f"an interval needs at least {_FEWEST} folds, found {n}")
    from scipy import stats

    half = float(stats.t.ppf(0.975, n - 1)) * _error(scores, train_size, test_size)
    low, high = float(scores.mean()) - half, float(scores.mean()) + half
    return Interval(*(low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1])), n)


def _error(values: np.ndarray, train_size: float, test_size: float) -> float:
    """Standard error of the mean over folds."""
    return math.sqrt((1 / len(values) + test_size / train_size) * float(values.var(ddof=1)))


def _check(values: np.ndarray, train_size: float, test_size: float) -> None:
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ScoreError("the values of the folds must be finite numbers, one for each fold")
    if not (math.isfinite(train_size) and math.isfinite(test_size) and train_size > 0 and test_size > 0):
        raise ScoreError(f"train_size {train_size:g} and test_size {test_size:g} must both be greater than 0")


def compare_folds(differences: Sequence[float] | np.ndarray, train_size: float, test_size: float) -> Difference:
    """Corrected resampled t-test of the differences of two methods, fold by fold.

    Any two folds share most of their training data, so their differences go together and vary less than those of
    independent training runs. The variance of the mean is therefore taken as (1 / n + test / train) s^2 rather than
    s^2 / n, with n - 1 degrees of freedom; n counts all folds of all repeats.

    Args:
        differences: (n,) score of the first method minus that of the second, one for each fold of each repeat.
        train_size: Units in a training part.
        test_size: Units in a test part, in the same measure.

    Raises:
        ScoreError: A difference is not finite, or a size is not positive.

    References:
        Nadeau and Bengio (2003), https://doi.org/10.1023/A:1024068626366
        Bouckaert and Frank (2004), https://doi.org/10.1007/978-3-540-24775-3_3

    Example:
        >>> round(compare_folds([0.02, 0.03, 0.01, 0.04, 0.02, 0.03], 5, 1).p, 4)
        0.011
    """
    values = np.asarray(differences, np.float64)
    _check(values, train_size, test_size)
    n, method = len(values), "corrected resampled t"
    found = float(values.mean()) if n else math.nan
    if n < SMALLEST_N:
        reason = f"{n} folds; a comparison needs at least {SMALLEST_N}: use more folds, or repeat the cross-validation"
        return Difference(found, None, None, None, n, method, reason)
    error = _error(values, train_size, test_size)
    if error < 1e-12 * max(1.0, abs(found)):
        reason = "all folds have the same difference, so its spread cannot be estimated"
        return Difference(found, None, None, None, n, method, reason)
    from scipy import stats

    half = float(stats.t.ppf(0.975, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(found) / error, n - 1))
    return Difference(found, found - half, found + half, p, n, method)


def folds_needed(
    differences: Sequence[float] | np.ndarray,
    train_size: float,
    test_size: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Needed:
    """Smallest number of folds with which the corrected test of `compare_folds` distinguishes two methods.

    More folds of the same labels would make each part smaller and its score less certain. So the parts are taken to be
    as large as they are, and those that are added to be trained on by all other folds: with n folds instead of k,
    test / train falls from r to 1 / (1 / r + n - k), and there are n / k times as many labels. The power is that of the
    noncentral t distribution. The difference found is taken for the true one, and its spread, too.

    Args:
        differences: (k,) score of the first method minus that of the second, one for each fold.
        train_size: Units in a training part.
        test_size: Units in a test part, in the same measure.
        power: Wanted fraction of repeats in which the test finds the difference.
        alpha: Two-sided level of the test.

    Returns:
        No number where there are fewer than three folds, the difference is 0 or the same in all folds, or a thousand
        folds are not enough.

    Raises:
        ScoreError: A difference is not finite, a size is not positive, or power or alpha lie outside 0 to 1.

    Example:
        >>> folds_needed([0.02, 0.01, 0.03, -0.01, 0.02, 0.01], 5, 1).n
        19
    """
    values = np.asarray(differences, np.float64)
    _check(values, train_size, test_size)
    if not (0 < power < 1 and 0 < alpha < 1):
        raise ScoreError(f"power {power:g} and alpha {alpha:g} must lie between 0 and 1")
    known = len(values)
    if known < _FEWEST:
        return Needed(None, False, f"{known} folds; from fewer than {_FEWEST} nothing follows")
    gap, spread = abs(float(values.mean())), float(values.std(ddof=1))
    if gap < 1e-12:
        return Needed(None, False, "the two have the same mean; no number of folds would distinguish them")
    if spread < 1e-12:
        return Needed(None, False, "all folds have the same difference, so its spread cannot be estimated")
    from scipy import stats

    n = np.arange(SMALLEST_N, _MOST + 1)
    others = train_size / test_size + n - known
    error = spread * np.sqrt(1 / n + 1 / np.maximum(others, 1))
    critical, shift = stats.t.ppf(1 - alpha / 2, n - 1), gap / error
    reached = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    enough = n[np.nan_to_num(reached, nan=1.0) >= power]
    if not len(enough):
        return Needed(None, True, f"more than {_MOST} folds as large as these")
    found = int(enough[0])
    labels = "" if found <= known else f", with {found / known:.1f} times as many labels"
    rough = f"; a guess, from {known} folds alone" if known < SMALLEST_N else ""
    unsure = _error(values, train_size, test_size) * float(stats.t.ppf(1 - alpha / 2, known - 1)) >= gap
    caution = "; the difference found may be chance, so the number may be far too small" if unsure else ""
    return Needed(found, found > known, f"folds as large as these{labels}{rough}{caution}")
