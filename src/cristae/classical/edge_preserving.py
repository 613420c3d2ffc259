"""Filters that smooth and keep edges: bilateral, Kuwahara, anisotropic diffusion; and the cover by cones.

Without padding, as in `classical.filters`. Grey values are fractions of `FeaturesConfig.grey_limits`, cut off at 0 and
1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cristae.classical.neighbourhood import membrane_kernels
from cristae.compiled import compiled
from cristae.data.box import Triple

KUWAHARA_CRITERIA = ("variance", "variance / mean", "variance / mean²")
"""What is smallest along the line that is taken."""
COVERS = ("bright", "dark")
"""How far a voxel is above the cover from below, and below the cover from above."""
GREYS = 255
"""Slopes and ranges are in grey values of 8 bits, as in Weka."""
DIFFUSION_STEPS = 20
"""Iterations, and with them voxels that the diffusion reaches."""


def bilateral(grey: np.ndarray, footprint: np.ndarray, closeness: float) -> np.ndarray:
    """Mean of those values around each voxel that are close to its own.

    Args:
        grey: float64 (Z, Y, X), larger than the result by half the footprint on each side.
        footprint: bool of odd sides, the voxels that are looked at.
        closeness: The largest difference, in grey values of 8 bits.

    Returns:
        float32 (Z, Y, X).
    """
    shape = [side - reach + 1 for side, reach in zip(grey.shape, footprint.shape, strict=True)]
    out = np.empty(shape, np.float32)
    # A little more, so that rounding does not decide about differences of exactly this size.
    _bilateral(grey, np.argwhere(footprint), np.array(footprint.shape) // 2, closeness / GREYS + 1e-6, out)
    return out


@compiled
def _bilateral(grey: np.ndarray, steps: np.ndarray, middle: np.ndarray, closeness: float, out: np.ndarray) -> None:
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                own, total, count = grey[z + middle[0], y + middle[1], x + middle[2]], 0.0, 0
                for k in range(len(steps)):
                    value = grey[z + steps[k, 0], y + steps[k, 1], x + steps[k, 2]]
                    if abs(value - own) <= closeness:
                        total += value
                        count += 1
                out[z, y, x] = total / count


def kuwahara(grey: np.ndarray, length: int) -> list[np.ndarray]:
    """Mean along that line through each voxel, of 30 turns within the slice, along which grey values vary least.

    Kuwahara et al. (1976), https://doi.org/10.1007/978-1-4684-0769-3_13, with lines for squares.

    Args:
        grey: float64 (Z, Y, X) from 0, larger than the result by `length // 2` along y and x on each side.
        length: Of the line in voxels, odd.

    Returns:
        float32 (Z, Y, X) for each of `KUWAHARA_CRITERIA`; of equals the first turn.
    """
    from scipy import ndimage

    half = length // 2
    inner = (slice(None), slice(half, grey.shape[1] - half), slice(half, grey.shape[2] - half))
    shape = grey[inner].shape
    best = np.full((len(KUWAHARA_CRITERIA), *shape), np.inf)
    found = np.zeros(best.shape, np.float32)
    for kernel in membrane_kernels(1, length):
        mean = ndimage.correlate(grey, kernel[None])[inner]
        variance = np.maximum(ndimage.correlate(grey * grey, kernel[None])[inner] - mean * mean, 0)
        safe = np.where(mean > 0, mean, 1)  # where the mean is 0 all values are 0, and so is the variance
        for place, spread in enumerate((variance, variance / safe, variance / (safe * safe))):
            better = spread < best[place]
            best[place][better], found[place][better] = spread[better], mean[better]
    return list(found)


def cover_radius(slope: float, step: Sequence[float], *, ndim: int) -> Triple:
    """Voxels (z, y, x) within which a cone of a slope rises over the whole range of grey values."""
    z, y, x = (math.floor(GREYS / (slope * one)) + 1 for one in step)
    return (z if ndim == 3 else 0), y, x


def lipschitz(grey: np.ndarray, slope: float, step: Sequence[float], *, ndim: int) -> list[np.ndarray]:
    """What stands out of the cover of an image by cones: details that rise more steeply than a slope.

    The cover from below is the largest image under `grey` that rises nowhere by more than the slope, distances being
    added up along the axes: the erosion by a cone (Štencel, Janáček 2006, On calculation of chamfer distance and
    Lipschitz covers in digital images). That from above is the same upside down.

    Args:
        grey: float64 (Z, Y, X) from 0 to 1, larger than the result by `cover_radius` on each side.
        slope: In grey values of 8 bits for each voxel of the finest axis.
        step: Distance of neighbouring voxels (z, y, x).
        ndim: 2 for slices by themselves.

    Returns:
        float32 (Z, Y, X) for each of `COVERS`.
    """
    reach = cover_radius(slope, step, ndim=ndim)
    inner = tuple(slice(one, side - one) for one, side in zip(reach, grey.shape, strict=True))
    below, above = grey.copy(), -grey
    for cover in (below, above):
        for axis in range(2, 2 - ndim, -1):
            _cone_along(np.moveaxis(cover, axis, -1), slope * step[axis] / GREYS)
    return [np.asarray((grey - below)[inner], np.float32), np.asarray((-above - grey)[inner], np.float32)]


@compiled
def _cone_along(lines: np.ndarray, rise: float) -> None:
    """Lower what is more than `rise` above its neighbour along the last axis, from both ends."""
    length = lines.shape[2]
    for a in range(lines.shape[0]):
        for b in range(lines.shape[1]):
            for x in range(1, length):
                lines[a, b, x] = min(lines[a, b, x], lines[a, b, x - 1] + rise)
            for x in range(length - 2, -1, -1):
                lines[a, b, x] = min(lines[a, b, x], lines[a, b, x + 1] + rise)


def diffusion_radius(*, ndim: int) -> Triple:
    """Voxels (z, y, x) that the diffusion reaches."""
    return (DIFFUSION_STEPS if ndim == 3 else 0), DIFFUSION_STEPS, DIFFUSION_STEPS


def diffusion(grey: np.ndarray, edge: float, step: Sequence[float], *, ndim: int) -> np.ndarray:
    """Anisotropic diffusion: smoothing that is weak across steps of grey values.

    Perona, Malik (1990), https://doi.org/10.1109/34.56205, equations 7 and 8, with the conductance
    1 / (1 + (slope / edge)²), in 20 steps of the largest stable size. Steps between voxels that lie farther apart count
    less, by the square of the distance.

    Args:
        grey: float64 (Z, Y, X), larger than the result by `diffusion_radius` on each side.
        edge: The slope, in grey values of 8 bits for each voxel of the finest axis, at which half as much flows.
        step: Distance of neighbouring voxels (z, y, x).
        ndim: 2 for slices by themselves.

    Returns:
        float32 (Z, Y, X).
    """
    now = np.asarray(grey, np.float64)
    for _ in range(DIFFUSION_STEPS):
        inner = tuple(slice(1, -1) if axis >= 3 - ndim else slice(None) for axis in range(3))
        middle, change = now[inner], np.zeros(now[inner].shape)
        for axis in range(3 - ndim, 3):
            for start in (0, 2):
                place = list(inner)
                place[axis] = slice(start, now.shape[axis] - 2 + start)
                rise = (now[tuple(place)] - middle) / step[axis]
                change += rise / (1 + (rise * (GREYS / edge)) ** 2) / step[axis]
        now = middle + change / (2 * ndim)
    return now.astype(np.float32)
