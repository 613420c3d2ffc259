"""Filters without padding: the output is smaller than the input by the kernel, and callers pad borders.

A Gaussian is a product of sampled, normalised kernels cut at `TRUNCATE` standard deviations. Everything else is made
of the smoothed image by central differences, divided by the distance between voxels, so that one Gaussian serves all
features of a scale (Lindeberg 1990, https://doi.org/10.1109/34.49051). Each output voxel is computed by the same sums
in the same order wherever it lies, so blocks give the bits of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cristae.compiled import compiled

TRUNCATE = 3.0
"""Standard deviations at which a Gaussian ends."""
_RUN = 4096
"""Voxels that are summed at once: they stay in the fast caches."""


def gaussian_radius(sigma: float) -> int:
    """Radius of a Gaussian kernel in voxels."""
    return math.ceil(TRUNCATE * sigma)


def gaussian(image: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """Smooth a float32 (Z, Y, X) image.

    Args:
        image: What to smooth, larger than the result by `gaussian_radius(sigma)` voxels on each side.
        sigma: Standard deviation (z, y, x) in voxels; 0 leaves an axis alone.
    """
    result = np.ascontiguousarray(image, np.float32)
    for axis, width in enumerate(sigma):
        radius = gaussian_radius(width)
        if radius:
            z, y, x = result.shape
            lines = ((1, z, y * x), (z, y, x), (z * y, x, 1))[axis]
            shape = [z, y, x]
            shape[axis] -= 2 * radius
            out = np.empty(shape, np.float32)
            half = _half_kernel(width, radius)
            if axis == 2:
                _sum_along(result.reshape(z * y, x), half, out.reshape(z * y, x - 2 * radius))
            else:
                _sum_across(result.reshape(lines), half, out.reshape(lines[0], lines[1] - 2 * radius, lines[2]), _RUN)
            result = out
    return result


def _half_kernel(sigma: float, radius: int) -> np.ndarray:
    """Weights from the centre outwards; the whole kernel sums to 1."""
    half = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights: np.ndarray = (half / (2 * half.sum() - half[0])).astype(np.float32)
    return weights


@compiled
def _sum_along(lines: np.ndarray, half: np.ndarray, out: np.ndarray) -> None:
    """Symmetric weighted sums within each row: (N, X) to (N, X - 2 r)."""
    radius, length = len(half) - 1, out.shape[1]
    for n in range(len(lines)):
        row, target = lines[n], out[n]
        for x in range(length):
            target[x] = half[0] * row[x + radius]
        for k in range(1, radius + 1):
            weight = half[k]
            left, right = row[radius - k :], row[radius + k :]
            for x in range(length):
                target[x] += weight * (left[x] + right[x])


@compiled
def _sum_across(planes: np.ndarray, half: np.ndarray, out: np.ndarray, run: int) -> None:
    """Symmetric weighted sums of whole rows: (A, N, B) to (A, N - 2 r, B)."""
    radius = len(half) - 1
    for a in range(out.shape[0]):
        for first in range(0, out.shape[2], run):
            last = min(first + run, out.shape[2])
            for n in range(out.shape[1]):
                target, centre = out[a, n, first:last], planes[a, n + radius, first:last]
                for b in range(last - first):
                    target[b] = half[0] * centre[b]
                for k in range(1, radius + 1):
                    weight = half[k]
                    above, below = planes[a, n + radius - k, first:last], planes[a, n + radius + k, first:last]
                    for b in range(last - first):
                        target[b] += weight * (above[b] + below[b])


def gradient(smooth: np.ndarray, step: Sequence[float], *, ndim: int) -> list[np.ndarray]:
    """Slopes along the last `ndim` axes, each (Z, Y, X).

    Args:
        smooth: A smoothed float32 image, one voxel larger than the result on each side of these axes.
        step: Distance of neighbouring voxels (z, y, x).
        ndim: 2 for slices by themselves, 3 for a volume.
    """
    axes = range(3 - ndim, 3)
    return [(_shifted(smooth, {a: 1}, ndim) - _shifted(smooth, {a: -1}, ndim)) * (0.5 / step[a]) for a in axes]


def hessian(smooth: np.ndarray, step: Sequence[float], *, ndim: int) -> list[np.ndarray]:
    """Second derivatives, the upper triangle of the Hessian matrix row by row; sizes as for `gradient`."""
    axes = range(3 - ndim, 3)
    return [_second(smooth, step, a, b, ndim) for a in axes for b in axes if b >= a]


def outer_product(slopes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Products of the gradient with itself, upper triangle row by row: the structure tensor before its smoothing."""
    return [a * b for place, a in enumerate(slopes) for b in slopes[place:]]


def eigenvalues(triangle: Sequence[np.ndarray]) -> np.ndarray:
    """Eigenvalues of symmetric matrices at each voxel, largest first: (2 or 3, Z, Y, X).

    Args:
        triangle: The upper triangle row by row: three or six float32 (Z, Y, X).
    """
    if len(triangle) == 3:
        yy, yx, xx = triangle
        middle = (yy + xx) * 0.5
        apart = np.sqrt(np.square((yy - xx) * 0.5) + np.square(yx))
        return np.stack([middle + apart, middle - apart])
    values = np.empty((3, *triangle[0].shape), np.float32)
    _eigenvalues_of_three(np.stack([entry.ravel() for entry in triangle]), values.reshape(3, -1))
    return values


def _shifted(smooth: np.ndarray, offset: dict[int, int], ndim: int) -> np.ndarray:
    """The inner part of an image, moved by some voxels along some axes."""
    index = []
    for axis in range(3):
        start = offset.get(axis, 0) + 1 if axis >= 3 - ndim else 0
        index.append(slice(start, start + smooth.shape[axis] - 2 if axis >= 3 - ndim else None))
    return smooth[tuple(index)]


def _second(smooth: np.ndarray, step: Sequence[float], a: int, b: int, ndim: int) -> np.ndarray:
    if a == b:
        sides = _shifted(smooth, {a: 1}, ndim) + _shifted(smooth, {a: -1}, ndim)
        bend: np.ndarray = (sides - 2 * _shifted(smooth, {}, ndim)) * (1 / step[a] ** 2)
        return bend
    same = _shifted(smooth, {a: 1, b: 1}, ndim) + _shifted(smooth, {a: -1, b: -1}, ndim)
    opposite = _shifted(smooth, {a: 1, b: -1}, ndim) + _shifted(smooth, {a: -1, b: 1}, ndim)
    twist: np.ndarray = (same - opposite) * (0.25 / (step[a] * step[b]))
    return twist


@compiled
def _eigenvalues_of_three(triangle: np.ndarray, values: np.ndarray) -> None:
    """Of (6, N) matrices to (3, N): the trigonometric solution (Smith 1961, https://doi.org/10.1145/355578.366316)."""
    for n in range(triangle.shape[1]):
        zz, zy, zx = np.float64(triangle[0, n]), np.float64(triangle[1, n]), np.float64(triangle[2, n])
        yy, yx, xx = np.float64(triangle[3, n]), np.float64(triangle[4, n]), np.float64(triangle[5, n])
        middle = (zz + yy + xx) / 3
        az, ay, ax = zz - middle, yy - middle, xx - middle
        spread = math.sqrt((az * az + ay * ay + ax * ax + 2 * (zy * zy + zx * zx + yx * yx)) / 6)
        if spread == 0:
            values[:, n] = middle
            continue
        determinant = az * (ay * ax - yx * yx) - zy * (zy * ax - yx * zx) + zx * (zy * yx - ay * zx)
        half = max(-1.0, min(1.0, determinant / (2 * spread**3)))
        angle = math.acos(half) / 3
        first = middle + 2 * spread * math.cos(angle)
        last = middle + 2 * spread * math.cos(angle + 2 * math.pi / 3)
        values[0, n] = first
        values[1, n] = 3 * middle - first - last
        values[2, n] = last
