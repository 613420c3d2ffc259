"""A ratio that may be undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


Empty = Literal["nan", 0, 1]
"""What an undefined ratio becomes: NaN, or a number on the caller's responsibility."""


def ratio(numerator: ArrayLike, denominator: ArrayLike, empty: Empty = "nan") -> np.ndarray:
    """Numerator over denominator, broadcast, as float64; `empty` where the denominator is 0.

    Example:
        >>> ratio([1, 0], [4, 0])
        array([0.25,  nan])
    """
    ratios = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), float(empty))
    np.divide(numerator, denominator, out=ratios, where=np.asarray(denominator) != 0)
    return ratios
