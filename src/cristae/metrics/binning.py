"""The compiled loop that sorts float scores into bins."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_into(counts: np.ndarray, rows: np.ndarray, scores: np.ndarray, starts: np.ndarray, high: np.ndarray) -> int:
    """Add voxels to `counts`, each to the first bin whose largest score is not below its own.

    Args:
        counts: (3, B) int64; row 2 is for voxels that do not count and stays as it is.
        rows: (n,) uint8, row of each voxel.
        scores: (n,) float32 or float64.
        starts: (F + 1,) int32, a bin not above any score s with floor(s x F) = index.
        high: (B,) float64, rising, the last one 1: largest score of each bin.

    Returns:
        Place of the first score that counts and is NaN or outside 0 to 1; -1 where there is none.
    """
    steps = starts.size - 1
    for i in range(scores.size):
        row = rows[i]
        if row == 2:
            continue
        score = np.float64(scores[i])
        if not (score >= 0.0 and score <= 1.0):
            return i
        place = starts[int(score * steps)]
        while score > high[place]:
            place += 1
        counts[row, place] += 1
    return -1
