"""Object ids turned into the objects' interior or into the boundary between them.

The boundary surface is the set of voxel faces between two different ids. Without a width, the voxels on both sides of
it are marked; with one, all voxels whose centre is at most half the width away from it, measured in nm along axes of
different voxel size. The distance to each face (a rectangle) is exact.
"""

from __future__ import annotations

import math

import numpy as np

from cristae.data.box import Box, Triple
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


def boundary_within(
    ids: np.ndarray, known: np.ndarray, voxel_size_nm: VoxelSize, width_nm: float, inner: Box | None = None
) -> np.ndarray:
    """Mark the voxels whose centre is at most `width_nm` / 2 away from a face between two ids.

    Args:
        ids: Object ids (Z, Y, X).
        known: bool (Z, Y, X); a face next to an unknown voxel is no boundary.
        voxel_size_nm: (z, y, x).
        width_nm: Full width of the boundary.
        inner: The part that is asked for, with `boundary_reach` around it in `ids`; None means all.

    Returns:
        bool, of the shape of `inner`.
    """
    limit = (width_nm / 2) ** 2 * _ROUNDING
    reach = boundary_reach(voxel_size_nm, width_nm)
    inner = Box.of_shape(ids.shape) if inner is None else inner
    marked = np.zeros(inner.shape, bool)
    for direction in range(3):
        faces = _faces(ids, known, direction)
        if not faces.any():
            continue
        squared = np.where(faces, 0.0, np.inf)
        for axis in range(3):
            steps = _steps(voxel_size_nm[axis], reach[axis], across=axis == direction)
            squared = _spread(squared, axis, inner.slices[axis], steps)
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


def _steps(size: float, reach: int, *, across: bool) -> list[tuple[int, float]]:
    """Offsets from a voxel to faces along one axis, with the squared distance in nm along it.

    A face perpendicular to the axis (`across`) lies half a voxel away at least; one parallel to it is as long as a
    voxel, so the part of the distance that it covers does not count.
    """
    if across:
        aways = [((step + 0.5) * size) ** 2 for step in range(reach)]
        return [pair for step, away in enumerate(aways) for pair in ((step, away), (-step - 1, away))]
    aways = [((step - 0.5) * size) ** 2 for step in range(1, reach + 1)]
    return [(0, 0.0), *(pair for step, away in enumerate(aways, 1) for pair in ((step, away), (-step, away)))]


def _spread(cost: np.ndarray, axis: int, wanted: slice, steps: list[tuple[int, float]]) -> np.ndarray:
    """Least of `cost` plus distance over the steps along `axis`, for the `wanted` voxels along it."""
    shape = list(cost.shape)
    shape[axis] = wanted.stop - wanted.start
    least = np.full(shape, np.inf)
    for offset, away in steps:
        first = max(wanted.start, -offset)
        last = min(wanted.stop, cost.shape[axis] - offset)
        if first < last:
            target = least[_slab(axis, first - wanted.start, last - wanted.start)]
            np.minimum(target, cost[_slab(axis, first + offset, last + offset)] + away, out=target)
    return least


def _slab(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(3))
