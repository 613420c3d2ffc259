"""What a limited tilt range does to a tomogram: every structure is smeared along the beam.

A tomogram is the sum of projections, each filtered by a ramp and smeared back along its beam. That is a convolution,
and its point-spread function is the sum of the filter's kernels in the directions of the tilts. Tilts lie about y, so
it extends along z and x alone. Frequencies that no tilt has seen are missing: surfaces across the beam vanish, and a
ball becomes longer along z, 1.55 times for tilts up to 60 degrees and 1.31 times up to 70.

Radermacher (1988), Journal of Electron Microscopy Technique 9:359, https://doi.org/10.1002/jemt.1060090405
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, radians, sin

import numpy as np

from cristae.compiled import compiled

REACH_VOX = 16
"""The point-spread function ends this many voxels from its centre, along z and along x."""
_FREQUENCIES = 64


@lru_cache(maxsize=16)
def point_spread(tilt_deg: float, step_deg: float, z_per_x: float) -> np.ndarray:
    """The point-spread function of weighted back-projection.

    The ramp ends in a Hann window at the Nyquist frequency. Beyond `REACH_VOX` the function is cut with a cosine taper,
    so structures that are much larger keep their contrast in every direction.

    Args:
        tilt_deg: Tilts run from minus to plus this angle.
        step_deg: Angle from one tilt to the next.
        z_per_x: Edge of a voxel along z over that along x.

    Returns:
        (2 * REACH_VOX + 1, 2 * REACH_VOX + 1) float32 over z and x, with sum 1. The coefficients are multiples of
        2**-20, which the last bits of sines do not reach: they are the same on every machine.
    """
    steps = max(1, round(2 * tilt_deg / step_deg))
    tilts = [radians(-tilt_deg + 2 * tilt_deg * i / steps) for i in range(steps + 1)]
    at = np.arange(-REACH_VOX, REACH_VOX + 1.0)
    pitch = max(z_per_x, 1.0)
    z, x = at[:, None] * z_per_x / pitch, at[None, :] / pitch
    total = np.zeros((len(at), len(at)))
    for i, tilt in enumerate(tilts):
        share = 0.5 if i in (0, steps) else 1.0
        total += share * _filtered(x * cos(tilt) + z * sin(tilt))
    total *= radians(2 * tilt_deg / steps) * z_per_x / pitch**2
    taper = 0.5 + 0.5 * np.cos(pi * at / (REACH_VOX + 1))
    total *= taper[:, None] * taper
    broad = taper[:, None] * taper
    total += (1 - total.sum()) * broad / broad.sum()
    result: np.ndarray = (np.rint(total * 2**20) / 2**20).astype(np.float32)
    result.flags.writeable = False
    return result


def _filtered(place: np.ndarray) -> np.ndarray:
    """The kernel of the ramp filter, ended by a Hann window, at distances in voxels."""
    frequency = (np.arange(_FREQUENCIES) + 0.5) * (0.5 / _FREQUENCIES)
    weight = frequency * (0.5 + 0.5 * np.cos(2 * pi * frequency)) * (1.0 / _FREQUENCIES)
    result = np.zeros(place.shape)
    for f, w in zip(frequency.tolist(), weight.tolist(), strict=True):
        result += w * np.cos(2 * pi * f * place)
    return result


def smear(grey: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The convolution with a point-spread function over z and x.

    Args:
        grey: (Z + 2 R, Y, X + 2 R) float32, with a margin that is dropped.
        spread: (2 R + 1, 2 R + 1) float32, the same turned by half a turn.

    Returns:
        (Z, Y, X) float32. Each voxel is the same sum in the same order, wherever a box ends.
    """
    side = len(spread) - 1
    out = np.zeros((grey.shape[0] - side, grey.shape[1], grey.shape[2] - side), np.float32)
    _smear(np.ascontiguousarray(grey), spread, out)
    return out


@compiled
def _smear(grey: np.ndarray, spread: np.ndarray, out: np.ndarray) -> None:
    depth, height, width = out.shape
    for z in range(depth):
        for y in range(height):
            for i in range(spread.shape[0]):
                for j in range(spread.shape[1]):
                    weight = spread[i, j]
                    for x in range(width):
                        out[z, y, x] += weight * grey[z + i, y, x + j]
