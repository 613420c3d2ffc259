"""Filters that look at the grey values around a voxel themselves, as Weka's do: ranks and spread in a ball, membranes.

Without padding, as in `classical.filters`: the output is smaller than the input by the radius on each side.

References:
    Arganda-Carreras et al. (2017), Trainable Weka Segmentation, https://doi.org/10.1093/bioinformatics/btx180
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from cristae.data.box import Triple

MEMBRANE_ANGLES = 30
"""Turns of the line, 6 degrees apart."""
PROJECTIONS = ("mean", "spread", "median", "maximum", "minimum")
"""What is taken of the responses to all turns. Weka also takes their sum, which is 30 times the mean."""


def ball_radius(radius: float, step: Sequence[float], *, ndim: int) -> Triple:
    """Voxels (z, y, x) that a ball reaches on each side; 0 along z where slices are looked at by themselves."""
    z, y, x = (int(radius / one + 1e-9) for one in step)
    return (z if ndim == 3 else 0), y, x


def ball(radius: float, step: Sequence[float], *, ndim: int) -> np.ndarray:
    """bool (Z, Y, X): voxels at most `radius` from the middle one, in units of the finest axis; a disc in 2D."""
    reach = ball_radius(radius, step, ndim=ndim)
    z, y, x = np.ogrid[tuple(slice(-one, one + 1) for one in reach)]
    distance = (z * step[0]) ** 2 + (y * step[1]) ** 2 + (x * step[2]) ** 2
    return np.asarray(distance <= radius**2 + 1e-9)


def in_ball(name: str, grey: np.ndarray, radius: float, step: Sequence[float], *, ndim: int) -> np.ndarray:
    """`mean`, `variance`, `minimum`, `maximum` or `median` of the grey values in a ball around each voxel.

    Args:
        name: Which.
        grey: float32 (Z, Y, X), larger than the result by `ball_radius` on each side.
        radius: In units of the finest axis.
        step: Distance of neighbouring voxels (z, y, x).
        ndim: 2 for slices by themselves.
    """
    from scipy import ndimage

    footprint, reach = ball(radius, step, ndim=ndim), ball_radius(radius, step, ndim=ndim)
    inner = tuple(slice(one, length - one) for one, length in zip(reach, grey.shape, strict=True))
    if name in ("mean", "variance"):
        share = footprint / footprint.sum()
        values = grey.astype(np.float64)
        mean = ndimage.correlate(values, share)[inner]
        if name == "mean":
            return np.asarray(mean, np.float32)
        square = ndimage.correlate(values * values, share)[inner]
        return np.asarray(np.maximum(square - mean * mean, 0), np.float32)
    filters = {"minimum": ndimage.minimum_filter, "maximum": ndimage.maximum_filter, "median": ndimage.median_filter}
    return np.asarray(filters[name](grey, footprint=footprint)[inner], np.float32)


def membrane_projections(grey: np.ndarray, *, thickness: int, patch: int) -> list[np.ndarray]:
    """Means over a line through each voxel, turned 30 times by 6 degrees within the slice, and what is common to them.

    A membrane of the line's width has a low, or high, mean at one angle alone; a dot has it at none.

    Args:
        grey: float32 (Z, Y, X), larger than the result by `patch // 2` along y and x on each side.
        thickness: Width of the line in voxels.
        patch: Its length in voxels, odd.

    Returns:
        float32 (Z, Y, X) for each of `PROJECTIONS`.
    """
    from scipy import ndimage

    half = patch // 2
    inner = (slice(None), slice(half, grey.shape[1] - half), slice(half, grey.shape[2] - half))
    values = grey.astype(np.float64)
    kernels = membrane_kernels(thickness, patch)
    found = np.stack([ndimage.correlate(values, kernel[None])[inner] for kernel in kernels]).astype(np.float32)
    functions = (np.mean, np.std, np.median, np.max, np.min)
    return [np.asarray(function(found, axis=0), np.float32) for function in functions]


@cache
def membrane_kernels(thickness: int, patch: int) -> np.ndarray:
    """float64 (30, patch, patch): an upright line, and its turns by 6 degrees each, interpolated linearly; each sums
    to 1."""
    from scipy import ndimage

    line = np.zeros((patch, patch))
    first = (patch - thickness) // 2
    line[:, first : first + thickness] = 1
    angles = np.arange(MEMBRANE_ANGLES) * 180 / MEMBRANE_ANGLES
    turned = np.stack([ndimage.rotate(line, angle, reshape=False, order=1) for angle in angles])
    turned[np.abs(turned) < 1e-6] = 0
    kernels: np.ndarray = turned / turned.sum(axis=(1, 2), keepdims=True)
    kernels.setflags(write=False)
    return kernels
