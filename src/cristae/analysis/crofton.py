"""Surface area of voxel objects from counts of intercepts, which add up over blocks.

By Crofton's formula the area of a surface is four times the mean, over all directions, of how many pieces of lines in
that direction lie inside, per area of the plane that the lines cross. On voxels the lines run through voxel centres in
13 directions, to the 26 neighbours; each direction stands for the part of the sphere that is nearer to it than to the
others, which also holds where voxels are not cubes.

Legland, Kieu, Devaux (2007), Computation of Minkowski measures on 2D and 3D binary images, Image Analysis & Stereology
26, 83-92, https://doi.org/10.5566/ias.v26.p83-92; Lehmann, Legland (2012), Efficient N-Dimensional surface estimation
using Crofton formula and run-length encoding, Insight Journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from cristae.data.image import VoxelSize

DIRECTIONS = tuple((z, y, x) for z, y, x in product((-1, 0, 1), repeat=3) if (z, y, x) > (0, 0, 0))
"""Steps (z, y, x) to one half of the 26 neighbours."""


def direction_weights(voxel_size_nm: Sequence[float]) -> np.ndarray:
    """(13,) fractions of the sphere that the directions, both ways, stand for; they add up to 1.

    Args:
        voxel_size_nm: (z, y, x).
    """
    from scipy.spatial import SphericalVoronoi

    steps = np.array(DIRECTIONS) * np.asarray(voxel_size_nm, np.float64)
    units = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas()
    shares = areas[: len(units)] + areas[len(units) :]
    weights: np.ndarray = shares / shares.sum()
    return weights


def areas_nm2(crossings: np.ndarray, voxel_size_nm: VoxelSize) -> np.ndarray:
    """Surface areas from counts of crossings.

    Spheres with a radius of 10 voxels come out within 0.2 % and of 5 voxels within 0.6 %, whatever the voxels' shape;
    ellipsoids up to 2.5 times as long as wide within 7 %. Flat faces across an axis come out smaller: by 7 % for cubes;
    for voxels five times as high as wide by 23 % across z and 14 % across y and x. Objects end at the edge of the
    volume.

    Args:
        crossings: (..., 13) steps, in the order of `DIRECTIONS` and counted both ways, that lead out of the object.
        voxel_size_nm: (z, y, x).

    Returns:
        (...) areas in nm^2.
    """
    size = np.asarray(voxel_size_nm, np.float64)
    lengths = np.linalg.norm(np.array(DIRECTIONS) * size, axis=1)
    per_line = size.prod() / lengths  # area of the plane that belongs to one line
    # A piece of a line has two ends, so half the crossings are pieces.
    areas: np.ndarray = 2.0 * (crossings * (direction_weights(voxel_size_nm) * per_line)).sum(axis=-1)
    return areas
