"""Which numbers of a series stand out from their neighbours on both sides.

Medians of neighbours decide, so that neither a slow drift nor a step that lasts stands out or hides what does.
"""

from __future__ import annotations

import numpy as np

_SIDE, _ENOUGH = 5, 3
"""Neighbours on each side that count, and how many there must be."""
_MOST_SIGMAS = 5
"""Times the usual deviation that counts as usual."""
_ALONE = 1.5
"""Times as many there must be near an end, where one side alone decides."""


def outliers(values: np.ndarray, least: float) -> dict[int, float]:
    """Places whose values stand out, with how far they lie from the nearer median of both sides.

    Args:
        values: (n,) one for each section, in order; NaN where it has none.
        least: Deviations up to this never count.
    """
    usual = usual_deviation(values)
    found = {}
    for place in np.flatnonzero(np.isfinite(values)).tolist():
        one, sides = deviation(values, place), sum(len(side) >= _ENOUGH for side in _sides(values, place))
        if abs(one) > max(least, _MOST_SIGMAS * usual * (1 if sides == 2 else _ALONE)):
            found[place] = one
    return found


def usual_deviation(values: np.ndarray) -> float:
    """Robust standard deviation of values from the median of all their neighbours."""
    found = []
    for place in np.flatnonzero(np.isfinite(values)).tolist():
        before, after = _sides(values, place)
        if len(before) + len(after) >= _ENOUGH:
            found.append(abs(values[place] - np.median(np.concatenate([before, after]))))
    return 1.4826 * float(np.median(found)) if found else 0.0


def deviation(values: np.ndarray, place: int) -> float:
    """How far a value lies from both sides: 0 where it lies between them. Near an end one side decides, and what the
    values usually drift until there does not count."""
    before, after = _sides(values, place)
    both = [values[place] - float(np.median(side)) for side in (before, after) if len(side) >= _ENOUGH]
    if len(both) == 2:
        first, second = both
        return float(np.sign(first) * min(abs(first), abs(second))) if first * second > 0 else 0.0
    if not both:
        return 0.0
    side = before if len(before) >= _ENOUGH else after
    drift = _ENOUGH * abs(float(np.median(np.diff(side))))
    return float(np.sign(both[0]) * max(0.0, abs(both[0]) - drift))


def _sides(values: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = values[max(0, place - _SIDE) : place], values[place + 1 : place + 1 + _SIDE]
    return before[np.isfinite(before)], after[np.isfinite(after)]
