"""Images of any size brought to one grid by area means: exact averages of what lies in each cell."""

from __future__ import annotations

import numpy as np


def area_weights(length: int, low: float, high: float, cells: int) -> np.ndarray:
    """The weights that average the voxels of an axis over equal cells of a part of it.

    A voxel counts in a cell by the part of the cell that it fills; cells may be larger or smaller than voxels. What is
    outside the axis does not count, and a cell that lies there altogether takes the nearest voxel.

    Args:
        length: Voxels of the axis.
        low: Where the first cell begins, in voxels.
        high: Where the last cell ends.
        cells: How many.

    Returns:
        (cells, length) float64, each row adding up to 1.

    Example:
        >>> area_weights(3, 0, 3, 2).round(3).tolist()
        [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    edges = np.linspace(low, high, cells + 1)
    voxels = np.arange(length)
    filled = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    weights: np.ndarray = np.clip(filled, 0, None)
    outside = weights.sum(axis=1) <= 0
    nearest = np.clip(np.floor((edges[:-1] + edges[1:]) / 2).astype(int), 0, length - 1)
    weights[outside, nearest[outside]] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
