"""Regions round a mask: which voxels lie near a cell."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image, VoxelSize, voxel_size_text
from cristae.errors import ScoreError, VoxelSizeError

_ROUNDING = 1e-9
"""Relative slack of squared distances, so that three steps of 5.9 nm reach as far as 17.7 nm."""


def near(mask: Image, distance_nm: float, voxel_size_nm: VoxelSize) -> Image:
    """The mask and all voxels at most `distance_nm` away from it, centre to centre.

    Any box gives what the whole would give: what is read is larger by the distance, as far as the image goes.

    Args:
        mask: Inside where it is not 0; grey.
        distance_nm: 0 gives the mask itself.
        voxel_size_nm: (z, y, x); distances are exact for voxels of any shape.

    Returns:
        A lazily read uint8 image, 1 near the mask and 0 elsewhere. Nowhere is near an empty mask.

    Raises:
        ScoreError: The distance is negative or not finite, or the mask has colours.
        VoxelSizeError: An edge of a voxel is not positive.
    """
    if not (math.isfinite(distance_nm) and distance_nm >= 0):
        raise ScoreError(f"a distance round {mask.path} is a number of nm from 0, got {distance_nm:g}")
    if not all(math.isfinite(edge) and edge > 0 for edge in voxel_size_nm):
        raise VoxelSizeError(f"voxels of {mask.path} have positive edges, got {voxel_size_text(voxel_size_nm)}")
    if mask.colors > 1:
        raise ScoreError(f"{mask.path}: has {mask.colors} colour channels; save the mask as one channel of 0 and 1")
    farthest = math.dist((0, 0, 0), [count * edge for count, edge in zip(mask.shape, voxel_size_nm, strict=True)])
    distance_nm = min(distance_nm, farthest)  # no voxel is farther away, and squares stay finite
    whole, reach = Box.of_shape(mask.shape), _reach_vox(distance_nm, voxel_size_nm)

    def read(box: Box) -> np.ndarray:
        around = box.grow(reach).intersect(whole)
        inside = mask.reader(around) != 0
        return _near_box(inside, box.relative_to(around.start), distance_nm, voxel_size_nm)

    return replace(mask, format="region", dtype=np.dtype(np.uint8), reader=read, palette=None)


def _reach_vox(distance_nm: float, voxel_size_nm: VoxelSize) -> Triple:
    z, y, x = (int(distance_nm * (1 + _ROUNDING) / edge) for edge in voxel_size_nm)
    return z, y, x


def _near_box(inside: np.ndarray, box: Box, distance_nm: float, voxel_size_nm: VoxelSize) -> np.ndarray:
    """The part `box` of the region round `inside` (Z, Y, X), from the distances in one slice at a time."""
    from cristae.metrics.plane_distance import squared_distances

    result = np.zeros(box.shape, np.uint8)
    step_z, step_y, step_x = voxel_size_nm
    limit = distance_nm**2 * (1 + _ROUNDING)
    reach = _reach_vox(distance_nm, voxel_size_nm)[1]
    squared = np.empty(inside.shape[1:])
    for z in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
        squared_distances(np.ascontiguousarray(inside[z]), reach, step_y, step_x, squared)
        away = squared[box.slices[1:]]
        for target in range(box.shape[0]):
            left = limit - ((box.start[0] + target - z) * step_z) ** 2
            if left >= 0:
                result[target] |= away <= left
    return result
