"""The cubic B-spline."""

from __future__ import annotations

from typing import Any


def bspline_weights(t: Any) -> tuple[Any, Any, Any, Any]:
    """The weights of the four nodes around a place, at the fraction `t` (array or tensor) between the inner two."""
    return (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
