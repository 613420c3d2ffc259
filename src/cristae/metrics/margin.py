"""Distances to a mask as far as a margin: which voxels of a box lie near a cell."""

from __future__ import annotations

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

_ROUNDING = 1e-9
"""Relative slack of squared distances, so that three steps of 5.9 nm reach as far as 17.7 nm."""


def margin_vox(margin_nm: float, voxel_size_nm: VoxelSize) -> Triple:
    """How many whole voxels (z, y, x) a margin reaches along each axis."""
    z, y, x = (int(margin_nm * (1 + _ROUNDING) / edge) for edge in voxel_size_nm)
    return z, y, x


def squared_distances_within(inside: np.ndarray, box: Box, margin_nm: float, voxel_size_nm: VoxelSize) -> np.ndarray:
    """Squared distance of each voxel of a box to the nearest voxel of a mask, centre to centre.

    Computed slice by slice: the distances in the plane of each slice of the mask, plus the squared distance in z.

    Args:
        inside: bool (Z, Y, X), the mask of the box and all around it within the margin.
        box: In voxels of `inside`.
        margin_nm: How far to look; not negative.
        voxel_size_nm: (z, y, x); distances are exact for voxels of any shape.

    Returns:
        float64 of the shape of `box`, in nm^2; infinite where the mask is farther away than the margin.
    """
    from cristae.metrics.plane_distance import squared_distances

    nearest = np.full(box.shape, np.inf)
    step_z, step_y, step_x = voxel_size_nm
    limit = margin_nm**2 * (1 + _ROUNDING)
    _, reach, _ = margin_vox(margin_nm, voxel_size_nm)
    plane = np.empty(inside.shape[1:])
    for z in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
        squared_distances(np.ascontiguousarray(inside[z]), reach, step_y, step_x, plane)
        for target in range(box.shape[0]):
            across = ((box.start[0] + target - z) * step_z) ** 2
            if across <= limit:
                np.minimum(nearest[target], plane[box.slices[1:]] + across, out=nearest[target])
    nearest[nearest > limit] = np.inf
    return nearest
