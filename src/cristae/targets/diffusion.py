"""Diffusion from the voxels of a mask into those around it, as fast as the machine can."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled
from cristae.targets.edges import Boundary


def diffuse(source: np.ndarray, steps: int, rate: float, decay: float, boundary: Boundary) -> np.ndarray:
    """float64 (Y, X): u <- d (u + a K * u), clipped at 0 and reset to 1 on the source, `steps` times from 1 on it.

    K has -1 in the centre, 1/6 at the four neighbours and 1/12 at the diagonals: (1 2 1) by (1 2 1) over 12, minus 4/3
    of the centre. As `rate` is at most 3/4, no factor is negative and there is nothing to clip.
    """
    bordered = np.pad(source.astype(np.float64), 1)
    own, others = decay * (1 - 4 / 3 * rate), decay * rate / 12
    _diffuse(bordered, np.ascontiguousarray(source), steps, own, others, boundary == "wrap")
    return bordered[1:-1, 1:-1]


@compiled
def _diffuse(values: np.ndarray, source: np.ndarray, steps: int, own: float, others: float, wrap: bool) -> None:
    """Change the inner voxels of values (Y + 2, X + 2) `steps` times, row by row, in place."""
    rows, columns = source.shape
    # (1 2 1) is (1 1) by (1 1): sums of four voxels, then sums of four of these; of two rows of each at a time.
    above, below = np.empty(columns + 1), np.empty(columns + 1)
    for _ in range(steps):
        last, first = (rows, 1) if wrap else (1, rows)
        values[0, 1:-1], values[rows + 1, 1:-1] = values[last, 1:-1], values[first, 1:-1]
        values[:, 0], values[:, columns + 1] = values[:, columns if wrap else 1], values[:, 1 if wrap else columns]
        for x in range(columns + 1):
            above[x] = (values[0, x] + values[1, x]) + (values[0, x + 1] + values[1, x + 1])
        for y in range(1, rows + 1):
            for x in range(columns + 1):
                below[x] = (values[y, x] + values[y + 1, x]) + (values[y, x + 1] + values[y + 1, x + 1])
            for x in range(columns):
                around = (above[x] + below[x]) + (above[x + 1] + below[x + 1])
                moved = own * values[y, x + 1] + others * around
                values[y, x + 1] = 1.0 if source[y - 1, x] else moved
            above, below = below, above
