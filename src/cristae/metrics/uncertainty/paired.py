"""Do two methods differ on the same units? A permutation test with the effect and its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.statistic import SMALLEST_N, Statistic, check_units

_ENUMERATED: Final = 20
"""Up to this many units all swaps are tried."""
_LOW: Final = 14
"""Units whose swaps are held in memory at once."""
_DRAWN: Final = 9999


@dataclass(frozen=True)
class Difference:
    """The first score minus the second, how sure it is, and how surprising it were if the two were alike."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided; None where there is none."""
    n: int
    method: str
    reason: str = ""
    """Why the interval or p is missing; empty where both are there."""


def compare_paired(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, *, seed: int = 0, draws: int = _DRAWN
) -> Difference:
    """Compare two methods on the same independent units.

    If the methods are alike, the labels of the two may be swapped in any unit: p is the share of swaps whose difference
    is at least as large as the one found. Up to 20 units all swaps are tried; beyond, `draws` random ones, and
    p = (b + 1) / (draws + 1) with b of them as large (Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585).

    Args:
        first: (n, k) rows of the first method.
        second: (n, k) rows of the second method, unit by unit the same.
        statistic: Maps sums (..., k) to the score (...).
        seed: Of the resamples and the random swaps.
        draws: Random swaps beyond 20 units.

    Returns:
        The difference. Below six units neither interval nor p: with n units p cannot be below 2 / 2^n.

    Raises:
        ScoreError: The units do not fit together.
    """
    a, b = check_units(first), check_units(second)
    if a.shape != b.shape:
        raise ScoreError(f"the methods have units of shape {a.shape} and {b.shape}; both must be scored on the same")
    n, k = a.shape
    found = float(statistic(a.sum(axis=0)) - statistic(b.sum(axis=0)))
    exact = n <= _ENUMERATED
    method = "paired permutation, " + ("all swaps" if exact else f"{draws} random swaps") + "; bootstrap-t interval"
    if n < SMALLEST_N:
        smallest = (
            f"with {n} the smallest possible p is {min(1.0, 2 / 2**n):.3g}" if n else "with none nothing is known"
        )
        reason = f"a comparison needs at least {SMALLEST_N} independent units, found {n}; {smallest}"
        return Difference(found, None, None, None, n, method, reason)
    if not np.isfinite(found):
        return Difference(found, None, None, None, n, method, "the score is undefined for one of the methods")
    p = permutation_p(a, b, statistic, seed=seed, draws=draws)
    if not (a != b).any():
        return Difference(found, None, None, p, n, method, "the methods agree in every unit")
    spread = interval(np.concatenate([a, b], axis=1), _difference_of(statistic, k), bounds=None, seed=seed)
    return Difference(found, spread.low, spread.high, p, n, method, spread.reason)


def permutation_p(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, *, seed: int = 0, draws: int = _DRAWN
) -> float:
    """Two-sided p of the difference of two methods, from swapping their labels unit by unit.

    A swap for which the difference is undefined, or equal but for rounding, counts as one as large as that found, which
    can only raise p.

    Args:
        first: (n, k) rows of the first method, n at least 1.
        second: (n, k) rows of the second method on the same units.
        statistic: Maps sums (..., k) to the score (...).
        seed: Of the random swaps.
        draws: Random swaps beyond 20 units.
    """
    a, b = first.sum(axis=0), second.sum(axis=0)
    one, other = float(statistic(a)), float(statistic(b))
    found = abs(one - other) - 1e-10 * max(1.0, abs(one), abs(other))
    exact = len(first) <= _ENUMERATED
    larger = tried = 0
    for moved in _all_swaps(first - second) if exact else _random_swaps(first - second, draws, seed):
        smaller = np.abs(statistic(a - moved) - statistic(b + moved)) < found
        larger += int(np.count_nonzero(~smaller))
        tried += len(moved)
    return larger / tried if exact else (larger + 1) / (tried + 1)


def _difference_of(statistic: Statistic, k: int) -> Statistic:
    return lambda sums: statistic(sums[..., :k]) - statistic(sums[..., k:])


def _all_swaps(gap: np.ndarray) -> Iterator[np.ndarray]:
    """What moves from one sum to the other, (m, k), for all swaps of all units but the last: swapping every unit only
    changes the sign of the difference, so the other half would count the same."""
    low = _subset_sums(gap[:-1][:_LOW])
    for start in _subset_sums(gap[:-1][_LOW:]):
        yield low + start


def _subset_sums(rows: np.ndarray) -> np.ndarray:
    sums = np.zeros((1, rows.shape[1]))
    for row in rows:
        sums = np.concatenate([sums, sums + row])
    return sums


def _random_swaps(gap: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    step = max(1, (1 << 20) // len(gap))
    for start in range(0, draws, step):
        swapped = rng.integers(0, 2, (min(step, draws - start), len(gap)))
        yield swapped.astype(np.float64) @ gap
