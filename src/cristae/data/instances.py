"""Object ids turned into the objects' interior or into the boundary between them.

The boundary surface is the set of voxel faces between two different ids. Without a width, the voxels on both sides of
it are marked; with one, all voxels whose centre is at most half the width away from it, measured in nm along axes of
different voxel size. The distance to each face (a rectangle) is exact.
"""

from __future__ import annotations

import math

import numpy as np

from cristae.data.box import Triple
from cristae.data.image import VoxelSize

_ROUNDING = 1 + 1e-9
"""A voxel exactly half a width away is inside, whatever the last bit of the products says."""


def boundary(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mark the voxels that have a differently labelled face neighbour.

    Args:
        ids: Object ids (Z, Y, X).
        known: bool (Z, Y, X); a face next to an unknown voxel is no boundary.

    Returns:
        bool (Z, Y, X).
    """
    marked = np.zeros(ids.shape, bool)
    for axis in range(3):
        faces = _faces(ids, known, axis)
        marked[_slab(axis, 1, None)] |= faces
        marked[_slab(axis, None, -1)] |= faces
    return marked


def boundary_within(ids: np.ndarray, known: np.ndarray, voxel_size_nm: VoxelSize, width_nm: float) -> np.ndarray:
    """Mark the voxels whose centre is at most `width_nm` / 2 away from a face between two ids.

    Args:
        ids: Object ids (Z, Y, X).
        known: bool (Z, Y, X); a face next to an unknown voxel is no boundary.
        voxel_size_nm: (z, y, x).
        width_nm: Full width of the boundary.

    Returns:
        bool (Z, Y, X), right wherever the surroundings within `boundary_reach` were given.
    """
    limit = (width_nm / 2) ** 2 * _ROUNDING
    reach = boundary_reach(voxel_size_nm, width_nm)
    marked = np.zeros(ids.shape, bool)
    for axis in range(3):
        faces = _faces(ids, known, axis)
        if not faces.any():
            continue
        squared = _spread_across(np.where(faces, 0.0, np.inf), axis, voxel_size_nm[axis], reach[axis])
        for other in range(3):
            if other != axis:
                squared = _spread_along(squared, other, voxel_size_nm[other], reach[other])
        marked |= squared <= limit
    return marked


def boundary_reach(voxel_size_nm: VoxelSize, width_nm: float | None) -> Triple:
    """How many voxels (z, y, x) around a voxel decide whether it is boundary."""
    if width_nm is None:
        return (1, 1, 1)
    z, y, x = (math.floor(width_nm / 2 / size * _ROUNDING + 0.5) for size in voxel_size_nm)
    return z, y, x


def _faces(ids: np.ndarray, known: np.ndarray, axis: int) -> np.ndarray:
    """Where two neighbours along `axis` differ; one shorter than `ids` along it."""
    after, before = _slab(axis, 1, None), _slab(axis, None, -1)
    different: np.ndarray = (ids[after] != ids[before]) & known[after] & known[before]
    return different


def _spread_across(cost: np.ndarray, axis: int, size: float, reach: int) -> np.ndarray:
    """Least squared distance of voxel centres to faces perpendicular to `axis`; one longer than `cost` along it."""
    shape = list(cost.shape)
    shape[axis] += 1
    least = np.full(shape, np.inf)
    for step in range(reach):
        away = ((step + 0.5) * size) ** 2
        _lower(least, cost, axis, step + 1, away)
        _lower(least, cost, axis, -step, away)
    return least


def _spread_along(cost: np.ndarray, axis: int, size: float, reach: int) -> np.ndarray:
    """Add the squared distance along `axis` to faces parallel to it, which are as long as a voxel."""
    least = cost.copy()
    for step in range(1, reach + 1):
        away = ((step - 0.5) * size) ** 2
        _lower(least, cost, axis, step, away)
        _lower(least, cost, axis, -step, away)
    return least


def _lower(least: np.ndarray, cost: np.ndarray, axis: int, shift: int, away: float) -> None:
    """least[i] = min(least[i], cost[i - shift] + away) wherever both exist."""
    first = max(0, shift)
    last = min(least.shape[axis], cost.shape[axis] + shift)
    if first >= last:
        return
    target = least[_slab(axis, first, last)]
    np.minimum(target, cost[_slab(axis, first - shift, last - shift)] + away, out=target)


def _slab(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(3))


def unknown_ids(ids: np.ndarray, labelled: np.ndarray, *, zero_is_unlabelled: bool) -> np.ndarray:
    """bool (Z, Y, X): voxels about which the annotation says nothing; `labelled` is bool (Z)."""
    unknown: np.ndarray = np.broadcast_to(~labelled[:, None, None], ids.shape)
    return unknown | (ids == 0) if zero_is_unlabelled else unknown
