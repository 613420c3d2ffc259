"""Further measures of the smoothed image, within slices: of its Hessian matrix, and derivatives of higher order.

As in `classical.filters`, everything is made of central differences, without padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cristae.classical.filters import hessian
from cristae.compiled import compiled

HESSIAN_MEASURES = ("module", "determinant", "orientation", "square difference", "difference of squares")
"""Of the matrix with the entries a, b, b, d and the eigenvalues h > l: the root of its squares; its determinant; the
direction of the first eigenvector, an angle from the x axis between -pi / 2 and pi / 2; (h - l)²; and (h² - l²)²."""
ORDERS = (2, 3, 4, 5)
"""Of the derivatives."""
DERIVATIVE_MARGIN = 3
"""Voxels that the highest order looks at on each side."""


def hessian_measures(smooth: np.ndarray, step: Sequence[float]) -> list[np.ndarray]:
    """The measures of the Hessian of each slice that Weka lists beside trace and eigenvalues.

    (h - l)² = (a - d)² + 4 b², and (h² - l²)² = (a + d)² times that (Lindeberg 1998,
    https://doi.org/10.1023/A:1008097225773, section 5.6, at the scale 1).

    Args:
        smooth: A smoothed float32 image, one voxel larger than the result along y and x on each side.
        step: Distance of neighbouring voxels (z, y, x).
    """
    yy, yx, xx = hessian(smooth, step, ndim=2)
    angle = np.empty(yy.shape, np.float32)
    _half_angle((2 * yx).ravel(), (xx - yy).ravel(), angle.reshape(-1))
    apart = np.square(xx - yy) + 4 * np.square(yx)
    module = np.sqrt(np.square(yy) + 2 * np.square(yx) + np.square(xx))
    return [module, yy * xx - yx * yx, angle, apart, np.square(yy + xx) * apart]


@compiled
def _half_angle(sines: np.ndarray, cosines: np.ndarray, out: np.ndarray) -> None:
    for n in range(len(sines)):
        out[n] = 0.5 * math.atan2(np.float64(sines[n]), np.float64(cosines[n]))


def derivatives(smooth: np.ndarray, step: Sequence[float]) -> list[np.ndarray]:
    """Derivatives of the orders 2 to 5 along y, then along x.

    Args:
        smooth: A smoothed float32 image, `DERIVATIVE_MARGIN` voxels larger than the result along y and x on each side.
        step: Distance of neighbouring voxels (z, y, x).
    """
    found = []
    for axis in (1, 2):
        across = [slice(None)] * 3
        across[3 - axis] = slice(DERIVATIVE_MARGIN, smooth.shape[3 - axis] - DERIVATIVE_MARGIN)
        values, reached = smooth[tuple(across)].astype(np.float64), 0
        bent = {}
        for order in (2, 4):
            values, reached = _bent(values, axis), reached + 1
            bent[order], bent[order + 1] = (values, reached), (_sloped(values, axis), reached + 1)
        for order in ORDERS:
            array, radius = bent[order]
            inner = [slice(None)] * 3
            spare = DERIVATIVE_MARGIN - radius
            inner[axis] = slice(spare, array.shape[axis] - spare)
            found.append((array[tuple(inner)] / step[axis] ** order).astype(np.float32))
    return found


def _bent(values: np.ndarray, axis: int) -> np.ndarray:
    """Second differences, one voxel shorter on each side."""
    before, middle, after = _three(values, axis)
    bend: np.ndarray = before - 2 * middle + after
    return bend


def _sloped(values: np.ndarray, axis: int) -> np.ndarray:
    """Central first differences, one voxel shorter on each side."""
    before, _, after = _three(values, axis)
    slope: np.ndarray = (after - before) / 2
    return slope


def _three(values: np.ndarray, axis: int) -> list[np.ndarray]:
    length, found = values.shape[axis] - 2, []
    for start in range(3):
        place = [slice(None)] * 3
        place[axis] = slice(start, start + length)
        found.append(values[tuple(place)])
    return found
