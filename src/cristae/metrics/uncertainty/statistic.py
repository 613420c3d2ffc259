"""Scores as functions of sums over units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.ratio import ratio

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps sums (..., k) over units to values (...); NaN where undefined. It must not depend on how many units were summed,
so that a score of twice the same units is the same score."""

SMALLEST_N: Final = 6
"""With fewer units there is neither an interval nor a p-value."""


_POOLED: Final = {
    "F1": ((2, 0, 0, 0), (2, 1, 1, 0)),
    "Jaccard": ((1, 0, 0, 0), (1, 1, 1, 0)),
    "accuracy": ((1, 0, 0, 1), (1, 1, 1, 1)),
    "sensitivity": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "specificity": ((0, 0, 0, 1), (0, 1, 0, 1)),
    "PPV": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "NPV": ((0, 0, 0, 1), (0, 0, 1, 1)),
}
"""Numerator and denominator of each pooled score as multiples of TP, FP, FN, TN."""
POOLED: Final = tuple(_POOLED)
"""Names of the scores that are ratios of counts added over all units."""


def pooled_score(name: str) -> Statistic:
    """The score of this name as a function of sums (..., 4) of TP, FP, FN and TN.

    Raises:
        ScoreError: It is not a pooled score.

    Example:
        >>> float(pooled_score("F1")(np.array([9, 1, 1, 5])))
        0.9
    """
    if name not in _POOLED:
        raise ScoreError(f"'{name}' is not a ratio of voxel counts; these are: {', '.join(POOLED)}")
    above, below = (np.array(weights, np.float64) for weights in _POOLED[name])
    return lambda sums: ratio(sums @ above, sums @ below)


def mean(sums: np.ndarray) -> np.ndarray:
    """Mean of the defined values.

    Args:
        sums: (..., 2) sums of (value or 0, 1 if defined else 0), as `mean_rows` gives them.

    Returns:
        (...) means; NaN where nothing is defined.
    """
    return ratio(sums[..., 0], sums[..., 1])


def best_mean(sums: np.ndarray) -> np.ndarray:
    """Largest of several means, such as the best of eleven thresholds.

    Args:
        sums: (..., 2 m) sums of m values followed by the m numbers of defined ones.

    Returns:
        (...) maxima over the defined means; NaN where none is.
    """
    half = sums.shape[-1] // 2
    means = ratio(sums[..., :half], sums[..., half:])
    best = np.where(np.isnan(means), -np.inf, means).max(-1)
    return np.where(np.isinf(best), np.nan, best)


def mean_rows(values: np.ndarray) -> np.ndarray:
    """Rows whose sums `mean` and `best_mean` read.

    Args:
        values: (n,) or (n, m) values, NaN where undefined.

    Returns:
        (n, 2 m) float64: values with NaN as 0, then 1 where defined.

    Example:
        >>> mean_rows(np.array([0.5, np.nan]))
        array([[0.5, 1. ],
               [0. , 0. ]])
    """
    table = np.asarray(values, np.float64).reshape(len(values), -1)
    defined = ~np.isnan(table)
    return np.concatenate([np.where(defined, table, 0.0), defined.astype(np.float64)], axis=1)


def check_units(units: np.ndarray) -> np.ndarray:
    """The units as (n, k) float64.

    Raises:
        ScoreError: They are not a finite table. Undefined values belong into `mean_rows`.
    """
    table = np.asarray(units, np.float64)
    if table.ndim != 2:
        raise ScoreError(f"units have shape {table.shape}; expected one row for each unit, (n, k)")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise ScoreError(f"unit {row} holds NaN or infinity; give an undefined value as (0, 0), see mean_rows")
    return table
