"""A ratio that may be undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Numerator over denominator, broadcast, as float64; NaN where the denominator is 0.

    Example:
        >>> ratio([1, 0], [4, 0])
        array([0.25,  nan])
    """
    ratios = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    np.divide(numerator, denominator, out=ratios, where=np.asarray(denominator) != 0)
    return ratios
