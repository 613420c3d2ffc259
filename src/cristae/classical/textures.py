"""Filters of texture: entropy in a ball, Gabor filters, and the grey values of neighbours.

Without padding, as in `classical.filters`. Grey values are fractions of `FeaturesConfig.grey_limits`, cut off at 0 and
1.
"""

from __future__ import annotations

import math

import numpy as np

from cristae.compiled import compiled

ENTROPY_BINS = (32, 64, 128, 256)
"""Bins between the lowest and the highest grey value."""
GABOR_ANGLES = 10
"""Turns of a Gabor filter, 18 degrees apart."""
GABOR_CHANNELS = ("bright", "dark", "edge")
"""Largest and smallest answer of the even filters of all turns, and largest answer of the odd ones, whatever its
sign."""
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Directions (y, x)."""
_SIGMA = 0.56
"""Of the wavelength: the width of a Gabor filter of a bandwidth of one octave."""


def gabor_radius(wavelength: float) -> int:
    """Voxels that a Gabor filter reaches: three standard deviations."""
    return math.ceil(3 * _SIGMA * wavelength)


def gabor(grey: np.ndarray, wavelength: float) -> list[np.ndarray]:
    """Answers to gratings of a wavelength within slices, whatever their direction.

    The filters are a plane wave under a round Gaussian of 0.56 wavelengths, the even one (cosine) without its mean, so
    that uniform grey gives 0 (Daugman 1985, https://doi.org/10.1364/JOSAA.2.001160). A wave under a round Gaussian is a
    product of two along the axes, which makes them quick.

    Args:
        grey: float64 (Z, Y, X), larger than the result by `gabor_radius` along y and x on each side.
        wavelength: In voxels.

    Returns:
        float32 (Z, Y, X) for each of `GABOR_CHANNELS`.
    """
    radius = gabor_radius(wavelength)
    places = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (places / (_SIGMA * wavelength)) ** 2)
    bell /= bell.sum()
    smooth = _within(_within(grey, bell, 2), bell, 1)
    even, odd = [], []
    for angle in np.arange(GABOR_ANGLES) * np.pi / GABOR_ANGLES:
        (cos_y, sin_y), (cos_x, sin_x) = (
            (bell * np.cos(slope * places), bell * np.sin(slope * places))
            for slope in (2 * np.pi / wavelength * np.sin(angle), 2 * np.pi / wavelength * np.cos(angle))
        )
        along_cos, along_sin = _within(grey, cos_x, 2), _within(grey, sin_x, 2)
        mean = cos_y.sum() * cos_x.sum() - sin_y.sum() * sin_x.sum()
        even.append(_within(along_cos, cos_y, 1) - _within(along_sin, sin_y, 1) - mean * smooth)
        odd.append(np.abs(_within(along_sin, cos_y, 1) + _within(along_cos, sin_y, 1)))
    found = (np.max(even, axis=0), np.min(even, axis=0), np.max(odd, axis=0))
    return [np.asarray(one, np.float32) for one in found]


def _within(grey: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    """Correlate along an axis, where the whole kernel fits."""
    from scipy import ndimage

    radius, inner = len(kernel) // 2, [slice(None)] * 3
    inner[axis] = slice(radius, grey.shape[axis] - radius)
    answer: np.ndarray = ndimage.correlate1d(grey, kernel, axis)[tuple(inner)]
    return answer


def neighbours(grey: np.ndarray, distance: int) -> list[np.ndarray]:
    """The grey values some voxels away within the slice, in the directions of `NEIGHBOURS`.

    Args:
        grey: (Z, Y, X), larger than the result by `distance` along y and x on each side.
        distance: In voxels along each axis.
    """
    height, width = (side - 2 * distance for side in grey.shape[1:])
    starts = [(distance * (1 + y), distance * (1 + x)) for y, x in NEIGHBOURS]
    return [grey[:, y : y + height, x : x + width] for y, x in starts]


def entropies(grey: np.ndarray, footprint: np.ndarray) -> list[np.ndarray]:
    """Entropy in bits of the grey values around each voxel, from histograms of `ENTROPY_BINS`.

    Args:
        grey: float64 (Z, Y, X) from 0 to 1, larger than the result by half the footprint on each side.
        footprint: bool (A, B, C) of odd sides, the voxels that are looked at.

    Returns:
        float32 (Z, Y, X) for each number of bins.
    """
    steps = np.argwhere(footprint)
    shape = [side - reach + 1 for side, reach in zip(grey.shape, footprint.shape, strict=True)]
    bits = np.concatenate([np.zeros(1), [n * math.log2(n) for n in range(1, len(steps) + 1)]])
    result = []
    for bins in ENTROPY_BINS:
        binned = np.minimum(grey * bins, bins - 1).astype(np.int64)
        found = np.empty(shape, np.float32)
        _entropy(binned, steps, bits, bins, found)
        result.append(found)
    return result


@compiled
def _entropy(binned: np.ndarray, steps: np.ndarray, bits: np.ndarray, bins: int, out: np.ndarray) -> None:
    counts = np.zeros(bins, np.int64)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                counts[:] = 0
                for k in range(len(steps)):
                    counts[binned[z + steps[k, 0], y + steps[k, 1], x + steps[k, 2]]] += 1
                total = 0.0
                for b in range(bins):
                    total += bits[counts[b]]
                out[z, y, x] = math.log2(len(steps)) - total / len(steps)
