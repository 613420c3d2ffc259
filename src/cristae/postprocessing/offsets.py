"""Edges between voxels that affinities are about: which are steps to a neighbour, and what they take."""

from __future__ import annotations

from cristae.data.box import Triple

EDGE_BYTES = 44
"""Memory of an edge: affinity, weight, place in the order, and two entries in the lists of exclusions."""
VOXEL_BYTES = 128
"""Memory of a voxel beside that of its edges."""


def is_face_step(offset: Triple) -> bool:
    """Whether an offset leads to the next voxel along one axis."""
    return sum(map(abs, offset)) == 1
