"""Noise that depends on place alone: the same voxel has the same value in whatever box it is computed.

Only additions, multiplications and whole-number hashes are used, which give the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Coordinates of voxel centres or indices of voxels along z, y and x."""

_MASK = 0xFFFF_FFFF


def mix(bits: np.ndarray) -> np.ndarray:
    """Scramble uint32 values in place so that each input bit changes about half of the output bits.

    The multipliers are those of the 'lowbias32' hash by Chris Wellons (public domain).
    """
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB_352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846C_A68B)
    bits ^= bits >> np.uint32(16)
    return bits


def hash_lattice(seed: int, indices: Axes) -> np.ndarray:
    """(Z, Y, X) uint32 hashes of the whole-number places along three axes."""
    low, high = seed & _MASK, (seed >> 32) & _MASK
    z, y, x = (
        mix((axis.astype(np.int64) & _MASK).astype(np.uint32) + np.uint32(salt))
        for axis, salt in zip(indices, (0x9E37_79B9 ^ low, 0x85EB_CA6B ^ high, 0xC2B2_AE35), strict=True)
    )
    rows = mix(z[:, None] + y[None, :])
    return mix(rows[:, :, None] + x)


def uniform(seed: int, indices: Axes) -> np.ndarray:
    """(Z, Y, X) float32 numbers from -1 to 1, one for each whole-number place."""
    bits = hash_lattice(seed, indices)
    numbers = (bits >> np.uint32(8)).astype(np.float32)
    numbers *= np.float32(2.0**-23)
    numbers -= np.float32(1)
    return numbers


@dataclass(frozen=True, eq=False)
class _Span:
    """Where voxels of one axis lie between the points of a lattice."""

    below: np.ndarray
    """Index of the lattice point before each voxel, counted from `points[0]`."""
    share: np.ndarray
    """float32, smoothed way to the next point."""
    points: np.ndarray
    """The lattice points in use."""


def _span(positions_nm: np.ndarray, scale_nm: float) -> _Span:
    place = positions_nm / scale_nm
    below = np.floor(place)
    share = place - below
    share = share * share * (3 - 2 * share)
    first, last = int(below[0]), int(below[-1]) + 2
    return _Span((below - first).astype(np.int64), share.astype(np.float32), np.arange(first, last))


def value_noise(seed: int, positions_nm: Axes, scale_nm: Sequence[float]) -> np.ndarray:
    """Smooth noise: random numbers on a lattice of world space, blended in between.

    Args:
        seed: Different seeds give unrelated noise.
        positions_nm: Growing coordinates of the voxel centres along z, y and x, in nm.
        scale_nm: Distance of the lattice points along z, y and x.

    Returns:
        (Z, Y, X) float32 from -1 to 1.
    """
    z, y, x = (_span(p, s) for p, s in zip(positions_nm, scale_nm, strict=True))
    field = uniform(seed, (z.points, y.points, x.points))
    field = _blend(field, z, 0)
    field = _blend(field, y, 1)
    return _blend(field, x, 2)


def _blend(field: np.ndarray, span: _Span, axis: int) -> np.ndarray:
    shape = [1, 1, 1]
    shape[axis] = -1
    slope = np.diff(field, axis=axis).take(span.below, axis)
    slope *= span.share.reshape(shape)
    slope += field.take(span.below, axis)
    return slope
