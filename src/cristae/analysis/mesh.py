"""Closed surfaces of masks of any size, made block by block.

A surface runs half-way between voxels inside and voxels outside (marching cubes on a mask: Lorensen, Cline (1987),
https://doi.org/10.1145/37402.37422). Each of its vertices is then the middle of the line between two neighbouring
voxel centres, a whole number of half voxels: blocks that touch find the same numbers for the vertices they share, and
joining them needs no tolerance. Outside the volume there is nothing, so a mask that reaches the border is closed there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Reader, VoxelSize


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface made of triangles, in nm."""

    vertices: np.ndarray
    """(V, 3) float32 places in nm as x, y, z: the order of mesh files, not that of volumes."""
    faces: np.ndarray
    """(F, 3) int32 rows of `vertices`, counter-clockwise when seen from outside."""


def mesh_of_blocks(
    read: Reader,
    blocks: Sequence[Box],
    shape: Triple,
    voxel_size_nm: VoxelSize,
    *,
    origin_nm: VoxelSize = (0.0, 0.0, 0.0),
    step_vox: Triple = (1, 1, 1),
    advance: Callable[[], None] = lambda: None,
) -> Mesh:
    """The surface of a mask that is read block by block; the mesh does not depend on the blocks.

    Every edge belongs to exactly two faces, whatever the mask: the mesh is closed, and empty for an empty mask.

    Args:
        read: Gives the mask (Z, Y, X) of a box inside the volume, anything but 0 being inside. Boxes reach over the
            far side of a block by `step_vox` voxels.
        blocks: Disjoint boxes that cover the volume, in any order.
        shape: Voxels of the volume (z, y, x).
        voxel_size_nm: (z, y, x).
        origin_nm: Centre of the volume's first voxel (z, y, x).
        step_vox: Take so many voxels along each axis (z, y, x) together to a coarse one, which is inside when at
            least half of its voxels are. A coarse voxel that reaches over the volume's far side counts those it has.
        advance: Called after each block.

    Example:
        >>> mask = np.zeros((4, 4, 4), bool)
        >>> mask[1:3, 1:3, 1:3] = True
        >>> mesh = mesh_of_blocks(lambda box: mask[box.slices], [Box.of_shape(mask.shape)], mask.shape, (10, 5, 5))
        >>> mesh.faces.shape, bool(volume_of(mesh) > 0)
        ((44, 3), True)
    """
    surface = _Surface(shape, step_vox)
    for block in blocks:
        coarse, box = surface.plan(block)
        if coarse.size:
            surface.add(surface.pool(read(box) != 0), coarse)
        advance()
    return surface.join(voxel_size_nm, origin_nm)


def volume_of(mesh: Mesh) -> float:
    """The volume that a closed mesh encloses, in nm³ (divergence theorem); negative when it is inside out."""
    a, b, c = _corners(mesh)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def area_of(mesh: Mesh) -> float:
    """The area of all faces in nm²."""
    return float(face_areas(mesh).sum())


def face_areas(mesh: Mesh) -> np.ndarray:
    """(F,) areas in nm²."""
    a, b, c = _corners(mesh)
    areas: np.ndarray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """(V, 3) float64 outward unit vectors: the mean of the faces at a vertex, weighted by their areas."""
    a, b, c = _corners(mesh)
    normal, count = np.cross(b - a, c - a), len(mesh.vertices)
    sums = np.zeros((count, 3))
    for corner in range(3):
        for axis in range(3):
            sums[:, axis] += np.bincount(mesh.faces[:, corner], normal[:, axis], minlength=count)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: np.ndarray = sums / np.where(length > 0, length, 1)
    return unit


def join_meshes(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one, without merging anything."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    vertices = [mesh.vertices for mesh in meshes] or [np.empty((0, 3), np.float32)]
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)] or [np.empty((0, 3))]
    return Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32))


def _corners(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three (F, 3) float64 places, counted from the mesh's middle, so that a far origin costs no digits."""
    places = mesh.vertices.astype(np.float64)
    if len(places):
        places -= (places.min(axis=0) + places.max(axis=0)) / 2
    a, b, c = (places[mesh.faces[:, corner]] for corner in range(3))
    return a, b, c


class _Surface:
    """Collects the faces of one mask, each vertex named by one whole number: its place on the grid of half voxels.

    Voxels are the coarse ones from here on.
    """

    def __init__(self, shape: Triple, step_vox: Triple) -> None:
        self.shape, self.step = shape, step_vox
        self.coarse = _triple([-(-size // step) for size, step in zip(shape, step_vox, strict=True)])
        # Half voxels from -1 (the border of the first voxel) to 2 n - 1 (that of the last), counted from 0.
        self.halves = [2 * size + 1 for size in self.coarse]
        self.vertices: list[np.ndarray] = []
        self.faces: list[np.ndarray] = []
        self.count = 0

    def plan(self, block: Box) -> tuple[Box, Box]:
        """The coarse voxels whose first fine voxel lies in a block, and the box to read, one coarse voxel wider."""
        start = [-(-first // step) for first, step in zip(block.start, self.step, strict=True)]
        stop = [-(-last // step) for last, step in zip(block.stop, self.step, strict=True)]
        low = [first * step for first, step in zip(start, self.step, strict=True)]
        high = [min((last + 1) * step, n) for last, step, n in zip(stop, self.step, self.shape, strict=True)]
        return Box(_triple(start), _triple(stop)), Box(_triple(low), _triple(high))

    def pool(self, mask: np.ndarray) -> np.ndarray:
        """Coarse voxels of a mask: at least half of each."""
        if self.step == (1, 1, 1):
            return mask
        inside, total = mask, np.ones((1, 1, 1), np.int64)
        for axis, step in enumerate(self.step):
            starts = np.arange(0, mask.shape[axis], step)
            inside = np.add.reduceat(inside, starts, axis=axis, dtype=np.int32)
            sizes = np.diff([*starts, mask.shape[axis]])
            total = total * np.expand_dims(sizes, [other for other in range(3) if other != axis])
        return 2 * inside >= total

    def add(self, mask: np.ndarray, block: Box) -> None:
        """Faces between the voxels of a block and their next ones; `mask` is one voxel wider at its far sides, where
        the volume continues."""
        # Nothing lies outside the volume: before its first voxel and after its last.
        before = [int(first == 0) for first in block.start]
        after = [int(last == size) for last, size in zip(block.stop, self.coarse, strict=True)]
        padded = np.pad(mask, list(zip(before, after, strict=True)))
        if not padded.any() or padded.all() or min(padded.shape) < 2:
            return
        places, faces = _march(padded)
        places += 2 * (np.array(block.start) - before) + 1
        keys, place = np.unique(np.ravel_multi_index(tuple(places.T), self.halves), return_inverse=True)
        self.vertices.append(keys)
        self.faces.append(place.astype(np.int32)[faces])

    def join(self, voxel_size_nm: VoxelSize, origin_nm: VoxelSize) -> Mesh:
        """The mesh, its vertices and faces in an order that does not depend on the blocks."""
        if not self.faces:
            return Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
        keys = np.unique(np.concatenate(self.vertices))
        pairs = zip(self.vertices, self.faces, strict=True)
        faces = np.concatenate([np.searchsorted(keys, own).astype(np.int32)[rows] for own, rows in pairs])
        halves = np.stack(np.unravel_index(keys, self.halves), axis=1)
        # A coarse voxel's centre lies (step - 1) / 2 voxels after that of its first voxel.
        voxels = (halves - 1) / 2 * self.step + (np.array(self.step) - 1) / 2
        places = np.array(origin_nm) + voxels * np.array(voxel_size_nm)
        return Mesh(np.ascontiguousarray(places[:, ::-1], np.float32), _ordered(faces))


def _march(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) int64 in half voxels and faces (F, 3), counter-clockwise from outside when taken as x, y, z."""
    from skimage.measure import marching_cubes

    # The classic table: it closes every mask; the newer one leaves holes where values tie, as in masks they all do.
    march: Any = marching_cubes
    places, faces, _, _ = march(mask.astype(np.float32), 0.5, method="lorensen", allow_degenerate=True)
    return np.rint(2 * places).astype(np.int64), faces


def _ordered(faces: np.ndarray) -> np.ndarray:
    """Each face from its first vertex on, and faces by their first edge, which no other face has in this direction."""
    turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    faces = np.take_along_axis(faces, turn, axis=1)
    return faces[np.argsort(faces[:, 0].astype(np.int64) << 32 | faces[:, 1])]


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = values
    return z, y, x
