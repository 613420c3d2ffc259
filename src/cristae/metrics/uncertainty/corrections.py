"""P-values corrected for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.errors import ScoreError


def holm(p: Sequence[float | None]) -> tuple[float | None, ...]:
    """Corrected so that the chance of even one false finding stays below the level.

    Args:
        p: P-values; None where a comparison has none, which then does not count.

    Raises:
        ScoreError: A value lies outside 0 to 1.

    References:
        Holm (1979), https://www.jstor.org/stable/4615733

    Example:
        >>> holm([0.25, None, 0.125, 0.5])
        (0.5, None, 0.375, 0.5)
    """
    known = np.array([value for value in p if value is not None], np.float64)
    if not ((known >= 0) & (known <= 1)).all():
        raise ScoreError("a p-value must lie between 0 and 1; give None where there is none")
    order = np.argsort(known, kind="stable")
    raised = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    corrected = np.empty_like(known)
    corrected[order] = np.minimum(raised, 1.0)
    rest = iter(corrected.tolist())
    return tuple(None if value is None else next(rest) for value in p)
