"""Object ids turned into the boundary between them.

The boundary surface is the set of voxel faces between two different ids. Without a width, the voxels on both sides of
it are marked; with one, all voxels whose centre is at most half the width away from it, measured in nm along axes of
different voxel size. The distance to each face (a rectangle) is exact.

With `corners`, ids also meet in the edges and corners that their voxels share. Components with 8 or 26 neighbours pass
through these, so only such a boundary keeps them apart.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

_ROUNDING = 1 + 1e-9
"""A voxel exactly half a width away is inside, whatever the last bit of the products says."""
_BEFORE, _AFTER = slice(None, -1), slice(1, None)
_FACES = ((0,), (1,), (2,))
_ALL = (*_FACES, (0, 1), (0, 2), (1, 2), (0, 1, 2))
"""The axes across which voxels meet: one for faces, two for edges, three for corners."""


def boundary(ids: np.ndarray, known: np.ndarray, *, corners: bool = False) -> np.ndarray:
    """Mark the voxels that have a differently labelled face neighbour.

    Args:
        ids: Object ids (Z, Y, X).
        known: bool (Z, Y, X); where a voxel meets an unknown one is no boundary.
        corners: Whether neighbours at edges and corners count too, 26 in all.

    Returns:
        bool (Z, Y, X); what it says of unknown voxels has no meaning.
    """
    marked = np.zeros(ids.shape, bool)
    for across in _ALL if corners else _FACES:
        meeting = _meetings(ids, known, across)
        for ends in product((_BEFORE, _AFTER), repeat=len(across)):
            marked[_index(across, ends)] |= meeting
    return marked


def boundary_within(
    ids: np.ndarray,
    known: np.ndarray,
    voxel_size_nm: VoxelSize,
    width_nm: float,
    inner: Box | None = None,
    *,
    corners: bool = False,
) -> np.ndarray:
    """Mark the voxels whose centre is at most `width_nm` / 2 away from a face between two ids.

    Args:
        ids: Object ids (Z, Y, X).
        known: bool (Z, Y, X); where a voxel meets an unknown one is no boundary.
        voxel_size_nm: (z, y, x).
        width_nm: Full width of the boundary.
        inner: The part that is asked for, with `boundary_reach` around it in `ids`; None means all.
        corners: Whether edges and corners that voxels of two ids share count as faces do.

    Returns:
        bool, of the shape of `inner`.
    """
    limit = (width_nm / 2) ** 2 * _ROUNDING
    reach = boundary_reach(voxel_size_nm, width_nm)
    inner = Box.of_shape(ids.shape) if inner is None else inner
    marked = np.zeros(inner.shape, bool)
    for across in _ALL if corners else _FACES:
        meeting = _meetings(ids, known, across)
        if not meeting.any():
            continue
        squared = np.where(meeting, 0.0, np.inf)
        for axis in range(3):
            steps = _steps(voxel_size_nm[axis], reach[axis], across=axis in across)
            squared = _spread(squared, axis, inner.slices[axis], steps)
        marked |= squared <= limit
    return marked


def boundary_reach(voxel_size_nm: VoxelSize, width_nm: float | None) -> Triple:
    """How many voxels (z, y, x) around a voxel decide whether it is boundary."""
    if width_nm is None:
        return (1, 1, 1)
    z, y, x = (math.floor(width_nm / 2 / size * _ROUNDING + 0.5) for size in voxel_size_nm)
    return z, y, x


def _meetings(ids: np.ndarray, known: np.ndarray, across: tuple[int, ...]) -> np.ndarray:
    """Where known voxels of different ids meet: at faces across one axis, edges across two, corners across three.

    One shorter than `ids` along these axes, because each place lies between voxels that are opposite each other.
    """
    meeting = np.zeros([side - (axis in across) for axis, side in enumerate(ids.shape)], bool)
    for ends in product((_BEFORE, _AFTER), repeat=len(across) - 1):
        one = _index(across, (_BEFORE, *ends))
        other = _index(across, (_AFTER, *(_BEFORE if end is _AFTER else _AFTER for end in ends)))
        meeting |= (ids[one] != ids[other]) & known[one] & known[other]
    return meeting


def _steps(size: float, reach: int, *, across: bool) -> list[tuple[int, float]]:
    """Offsets from a voxel to faces, edges or corners along one axis, with the squared distance in nm along it.

    One across the axis lies half a voxel away at least; one parallel to it is as long as a voxel, so the part of the
    distance that it covers does not count.
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
            target = least[_index((axis,), (slice(first - wanted.start, last - wanted.start),))]
            source = cost[_index((axis,), (slice(first + offset, last + offset),))]
            np.minimum(target, source + away, out=target)
    return least


def _index(axes: tuple[int, ...], parts: tuple[slice, ...]) -> tuple[slice, ...]:
    chosen = dict(zip(axes, parts, strict=True))
    return tuple(chosen.get(axis, slice(None)) for axis in range(3))
