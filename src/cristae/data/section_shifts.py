"""By how much one section is displaced against another: the place where both correlate best.

Sections are compared in sketches of a bounded size, within a window that fades to their borders, at the frequencies
between noise and brightness. Where no place stands out, the displacement is not certain.

References:
    Kuglin, Hines (1975), The phase correlation image alignment method.
    Saalfeld et al. (2012), https://doi.org/10.1038/nmeth.2072: series of sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

LEAST_SIDE = 24
"""Pixels of a sketch along y or x, below which nothing is compared."""
_FINEST, _COARSEST = 1.0, 10.0
"""Standard deviations of the Gaussians between which structures are compared, in pixels of the sketch."""
_WHITENED = 0.5
"""Power of the amplitudes that the spectrum is divided by: 0 is plain correlation, 1 is phase correlation."""
_REACH = 4
"""A displacement is at most this part of the sketch."""
_AROUND = 6
"""Pixels around the best place that belong to it."""
_CLEAR = 1.5
"""Times as high as at any other place two sections must correlate at the best one."""


@dataclass(frozen=True)
class PairShift:
    """How far the content of one section lies from that of an earlier one."""

    first: int
    """The earlier slice."""
    second: int
    y: float
    """Voxels by which the second one's content lies farther along y."""
    x: float
    clearness: float
    """Height of the best place over that of any other."""

    @property
    def certain(self) -> bool:
        """Whether one place stands out."""
        return self.clearness >= _CLEAR

    @property
    def size(self) -> float:
        """Length in voxels."""
        return float(np.hypot(self.y, self.x))


def sketch_of(plane: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Means (Y, X) of square blocks of a slice, about `side` along its longer axis, and the edge of a block."""
    step = max(1, round(max(plane.shape) / side))
    return block_means(plane, (step, step)), step


def block_means(plane: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    """Means (Y, X) of blocks; what does not fill a block at the far side is left out."""
    height, width = (size // step for size, step in zip(plane.shape, steps, strict=True))
    if steps == (1, 1):
        return plane.astype(np.float64)
    cut = plane[: height * steps[0], : width * steps[1]]
    return np.asarray(cut.reshape(height, steps[0], width, steps[1]).mean((1, 3), dtype=np.float64))


def spectrum_of(sketch: np.ndarray) -> np.ndarray | None:
    """What `shift_between` compares, complex (Y, X / 2 + 1); None for sketches that are too small."""
    if min(sketch.shape) < LEAST_SIDE:
        return None
    window, band = _window_and_band(sketch.shape[0], sketch.shape[1])
    plane = (sketch - np.mean(sketch)).astype(np.float32)
    found = fft.rfft2(plane * window)
    return np.asarray(found * band / np.maximum(abs(found), 1e-12) ** _WHITENED)


def shift_between(
    first: np.ndarray | None, second: np.ndarray | None, shape: tuple[int, int], step: int, slices: tuple[int, int]
) -> PairShift | None:
    """The displacement between two sections.

    Args:
        first: Spectrum of the earlier one.
        second: Spectrum of the other one.
        shape: Of the sketches (y, x).
        step: Voxels along a pixel of the sketch.
        slices: Their numbers.

    Returns:
        What was found, with a tenth of a pixel of the sketch; None where one of them cannot be compared.
    """
    if first is None or second is None:
        return None
    surface = fft.irfft2(np.conj(first) * second, s=shape)
    reach = [max(2, size // _REACH) for size in shape]
    near = np.roll(surface, reach, (0, 1))[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
    y, x = (int(place) for place in np.unravel_index(int(near.argmax()), near.shape))
    best = float(near[y, x])
    others = near.copy()
    others[max(0, y - _AROUND) : y + _AROUND + 1, max(0, x - _AROUND) : x + _AROUND + 1] = -np.inf
    rival = float(others.max())
    clearness = best / rival if rival > 0 else (np.inf if best > 0 else 0.0)
    dy = y - reach[0] + _vertex(near[max(0, y - 1) : y + 2, x])
    dx = x - reach[1] + _vertex(near[y, max(0, x - 1) : x + 2])
    return PairShift(*slices, round(dy, 1) * step, round(dx, 1) * step, min(float(clearness), 100.0))


def _vertex(three: np.ndarray) -> float:
    """Where a parabola through three neighbours is highest, from the middle one; 0 at a border."""
    if len(three) < 3:
        return 0.0
    a, b, c = (float(one) for one in three)
    bend = a - 2 * b + c
    return 0.5 * (a - c) / bend if bend < 0 else 0.0


@lru_cache(maxsize=8)
def _window_and_band(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A window that fades to the borders, and how much of each frequency counts."""
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    squares = np.add.outer(fft.fftfreq(height) ** 2, fft.rfftfreq(width) ** 2)
    fine, coarse = (np.exp(-2 * (np.pi * sigma) ** 2 * squares) for sigma in (_FINEST, _COARSEST))
    return window, (fine - coarse).astype(np.float32)
