"""The compiled loop that sorts float probabilities into bins."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled


@compiled
def count_into(
    counts: np.ndarray, rows: np.ndarray, probabilities: np.ndarray, fineness: int, further: np.ndarray
) -> int:
    """Add voxels to `counts`, each to the bin whose number is that of the borders strictly below its probability.

    Borders are k / fineness for k from 0 to `fineness`, rounded to float64, and those in `further`. Nothing here
    depends on a branch that a processor could guess wrongly, as it would on maps that jump between 0 and 1.

    Args:
        counts: (3, B) int64; what row 2 holds afterwards, for voxels that do not count, means nothing.
        rows: (n,) uint8, row of each voxel.
        probabilities: (n,) float32 or float64.
        fineness: Steps from 0 to 1.
        further: Few float64, none of them another border.

    Returns:
        Place of the first probability that counts and is NaN or outside 0 to 1; -1 where there is none.
    """
    steps = np.float64(fineness)
    for i in range(probabilities.size):
        probability = np.float64(probabilities[i])
        if not (probability >= 0.0 and probability <= 1.0):
            if rows[i] != 2:
                return i
            probability = np.float64(0)
        place = np.int64(
            probability * steps
        )  # rounding may reach the next border, but then that is not below the probability
        place += np.int64(np.float64(place) / steps < probability)
        for border in further:
            place += np.int64(probability > border)
        counts[rows[i], place] += 1
    return -1


@compiled
def count_bytes(rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(3, 256) int64 counts of pairs of a row, 0 to 2, and an 8-bit probability."""
    counts = np.zeros((3, 256), np.int64)
    for i in range(rows.size):
        counts[min(rows[i], 2), probabilities[i]] += 1
    return counts
