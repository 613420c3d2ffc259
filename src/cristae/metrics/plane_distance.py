"""The compiled loop under `margin`: how far each pixel of a plane is from a mask, as far as it matters."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled


@compiled
def squared_distances(inside: np.ndarray, reach: int, step_y: float, step_x: float, squared: np.ndarray) -> None:
    """Squared distance of each pixel to the nearest pixel of the mask, middle to middle.

    Whole pixels are counted along x first; then each row takes the best of the rows within reach. Exact wherever the
    nearest pixel is at most `reach` rows away; elsewhere at least the true distance, or infinite.

    Args:
        inside: (Y, X) bool.
        reach: Rows above and below that are looked at.
        step_y: Distance of two rows.
        step_x: Distance of two columns.
        squared: (Y, X) float64, filled.
    """
    height, width = inside.shape
    along_x = np.empty((height, width), np.float64)
    for y in range(height):
        last = -np.inf
        for x in range(width):
            if inside[y, x]:
                last = x
            along_x[y, x] = x - last
        last = np.inf
        for x in range(width - 1, -1, -1):
            if inside[y, x]:
                last = x
            steps = min(last - x, along_x[y, x]) * step_x
            along_x[y, x] = steps * steps
    for y in range(height):
        squared[y] = np.inf
        for other in range(max(0, y - reach), min(height, y + reach + 1)):
            rows = ((other - y) * step_y) ** 2
            for x in range(width):
                squared[y, x] = min(squared[y, x], along_x[other, x] + rows)
