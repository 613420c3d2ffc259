"""Training runs of one architecture that differ in their seeds: their spread, and whether another one is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.uncertainty.bootstrap import Interval
from cristae.metrics.uncertainty.paired import Difference
from cristae.metrics.uncertainty.statistic import SMALLEST_N

Values = Sequence[float] | np.ndarray

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Superiority:
    """The probability that a new training of A scores higher than one of B; ties count half."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Needed:
    """How many training runs of each architecture, or how many folds, distinguish A from B."""

    n: int | None
    """Of each architecture; None where no number can be given."""
    extrapolated: bool
    """Whether `n` lies beyond what was given."""
    reason: str
    """How `n` was found, or why there is none."""


def quantiles(values: Values, levels: Sequence[float] = QUANTILES) -> tuple[float, ...]:
    """Scores below which these fractions (`levels`) of the training runs lie (linear interpolation).

    Raises:
        ScoreError: There is no value, or one is not finite.
    """
    return tuple(np.quantile(_checked(values), levels).tolist())


def deviation(values: Values) -> float:
    """Sample standard deviation of the training runs (n - 1 in the denominator); NaN below two.

    Raises:
        ScoreError: There is no value, or one is not finite.
    """
    checked = _checked(values)
    return float(np.std(checked, ddof=1)) if len(checked) > 1 else float("nan")


def superiority(a: Values, b: Values) -> Superiority:
    """How often a run of A beats one of B: the Mann-Whitney statistic as a fraction, with a 95 % score interval.

    Raises:
        ScoreError: A value is missing or not finite.

    References:
        Newcombe (2006), method 5, https://doi.org/10.1002/sim.2324

    Example:
        >>> superiority([3, 4, 5, 6, 7, 8], [1, 2, 3, 2, 1, 2]).value
        0.9861111111111112
    """
    first, second = _checked(a), _checked(b)
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    value = float(below.sum() / (2 * len(first) * len(second)))
    n = min(len(first), len(second))
    if n < SMALLEST_N:
        reason = f"{n} training runs of one architecture; an interval needs at least {SMALLEST_N}"
        return Superiority(value, Interval(None, None, n, reason))
    low, high = _score_interval(value, len(first), len(second))
    return Superiority(value, Interval(low, high, n))


def compare_instances(a: Values, b: Values, *, seed: int = 0, draws: int = 9999) -> Difference:
    """Mean of A minus mean of B: Welch's interval, and p from permuting which training belongs to which architecture.

    The permuted quantity is Welch's t, so that unequal spreads are allowed for.

    Raises:
        ScoreError: A value is missing or not finite.
    """
    first, second = _checked(a), _checked(b)
    n, found = min(len(first), len(second)), float(first.mean() - second.mean())
    method = f"Welch interval; permutation of Welch's t, {draws} draws"
    if n < SMALLEST_N:
        reason = f"{n} training runs of one architecture; a comparison needs at least {SMALLEST_N} of each"
        return Difference(found, None, None, None, n, method, reason)
    from scipy import stats

    if first.var() + second.var() < 1e-24:
        return Difference(found, None, None, None, n, method, "the training runs of each architecture do not vary")
    limits = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    p = _permuted_p(np.concatenate([first, second]), len(first), seed, draws)
    return Difference(found, float(limits.low), float(limits.high), p, n, method)


def instances_needed(
    a: Values, b: Values, *, power: float = 0.8, alpha: float = 0.05, seed: int = 0, draws: int = 2000
) -> Needed:
    """Smallest number of training runs of each architecture with which Welch's test distinguishes A from B.

    Up to the number given, training runs are drawn with replacement from those given; beyond, the normal approximation
    n = (z_alpha + z_power)^2 (s_a^2 + s_b^2) / d^2 is used, and stated. Both take the difference
    found for the true one.

    Args:
        a: Scores of the training runs of A.
        b: Scores of the training runs of B.
        power: Wanted fraction of repeats in which the test finds the difference.
        alpha: Two-sided level of the test.
        seed: Of the drawing.
        draws: Repeats for each number tried.

    Returns:
        No number where fewer than six training runs of one are given, or A and B have the same mean.

    Raises:
        ScoreError: A value is missing or not finite, or power or alpha lie outside 0 to 1.
    """
    first, second = _checked(a), _checked(b)
    if not (0 < power < 1 and 0 < alpha < 1):
        raise ScoreError(f"power {power:g} and alpha {alpha:g} must lie between 0 and 1")
    known = min(len(first), len(second))
    if known < SMALLEST_N:
        return Needed(
            None, False, f"{known} training runs of one architecture; from fewer than {SMALLEST_N} nothing follows"
        )
    gap, spread = float(first.mean() - second.mean()), float(first.var(ddof=1) + second.var(ddof=1))
    if abs(gap) < 1e-12:
        return Needed(None, False, "the two have the same mean; no number of training runs would distinguish them")
    if spread < 1e-24:
        return Needed(None, False, "the training runs of each architecture do not vary")
    low = compare_instances(first, second, draws=1, seed=seed)
    unsure = low.low is not None and low.high is not None and low.low <= 0 <= low.high
    caution = "; the difference found may be chance, so the number may be far too small" if unsure else ""
    resampled = _smallest_by_resampling(first, second, known, power, alpha, seed, draws)
    if resampled is not None:
        return Needed(resampled, False, f"resampling of the training runs given{caution}")
    from scipy import stats

    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    beyond = max(known + 1, math.ceil(z * z * spread / (gap * gap)))
    return Needed(beyond, True, f"normal approximation beyond the {known} training runs given{caution}")


def _smallest_by_resampling(
    a: np.ndarray, b: np.ndarray, known: int, power: float, alpha: float, seed: int, draws: int
) -> int | None:
    """By bisection, as power rises with the number; at least two training runs are needed for a spread."""
    if _power(a, b, known, alpha, seed, draws) < power:
        return None
    low, high = 2, known
    while low < high:
        middle = (low + high) // 2
        if _power(a, b, middle, alpha, seed, draws) >= power:
            high = middle
        else:
            low = middle + 1
    return low


def _power(a: np.ndarray, b: np.ndarray, n: int, alpha: float, seed: int, draws: int) -> float:
    """Fraction of drawn sets of n and n in which Welch's test rejects; sets without any spread count as not found."""
    from scipy import stats

    rng = np.random.default_rng([seed, n])
    x, y = rng.choice(a, (draws, n)), rng.choice(b, (draws, n))
    vx, vy = x.var(axis=1, ddof=1) / n, y.var(axis=1, ddof=1) / n
    spread = vx + vy
    ok = spread > 1e-24
    freedom = np.square(spread[ok]) * (n - 1) / (np.square(vx[ok]) + np.square(vy[ok]))
    t = np.abs(x.mean(axis=1) - y.mean(axis=1))[ok] / np.sqrt(spread[ok])
    return float(np.count_nonzero(2 * stats.t.sf(t, freedom) < alpha) / draws)


def _permuted_p(values: np.ndarray, n: int, seed: int, draws: int) -> float:
    rng = np.random.default_rng(seed)
    found = float(_welch_t(values[None], n)[0])
    larger = 0
    step = max(1, (1 << 20) // len(values))
    for start in range(0, draws, step):
        rows = np.broadcast_to(values, (min(step, draws - start), len(values)))
        larger += int(np.count_nonzero(_welch_t(rng.permuted(rows, axis=1), n) >= found - 1e-12))
    return (larger + 1) / (draws + 1)


def _welch_t(rows: np.ndarray, n: int) -> np.ndarray:
    """|t| of the first n columns against the rest; infinite where neither side varies."""
    a, b = rows[:, :n], rows[:, n:]
    spread = a.var(axis=1, ddof=1) / a.shape[1] + b.var(axis=1, ddof=1) / b.shape[1]
    gap = np.abs(a.mean(axis=1) - b.mean(axis=1))
    return np.asarray(np.where(spread < 1e-24, np.inf, gap / np.sqrt(np.maximum(spread, 1e-24))))


def _score_interval(value: float, m: int, n: int) -> tuple[float, float]:
    from scipy import optimize, stats

    z, half = float(stats.norm.ppf(0.975)), (m + n) / 2 - 1

    def excess(share: float) -> float:
        spread = share * (1 - share) * (1 + half * ((1 - share) / (2 - share) + share / (1 + share))) / (m * n)
        return abs(share - value) - z * math.sqrt(spread)

    low = 0.0 if value == 0 else float(optimize.brentq(excess, 0.0, value * (1 - 1e-9)))
    high = 1.0 if value == 1 else float(optimize.brentq(excess, value + (1 - value) * 1e-9, 1.0))
    return low, high


def _checked(values: Values) -> np.ndarray:
    table = np.asarray(values, np.float64)
    if table.ndim != 1 or not len(table) or not np.isfinite(table).all():
        raise ScoreError("scores of training runs must be finite numbers, at least one for each architecture")
    return table
