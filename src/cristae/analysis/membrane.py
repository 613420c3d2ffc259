"""How far objects are from a membrane: exact distances in nm, with only a few blocks in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.data.block_grid import with_rim
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

_KEPT_POINTS = 4_000_000
"""Voxels of the membrane whose search trees are kept in memory, about 100 bytes each."""
_GROUP_VOX = 6
"""Voxels along the edge of what is searched together."""
_SLACK = 1 - 1e-9
"""Look a little farther than the best so far, or rounding could hide an equally near voxel."""

ReadMask = Callable[[Box], np.ndarray]


@dataclass(frozen=True, eq=False)
class Distances:
    """To the nearest surface voxel of the membrane, between the middles of voxels, in nm; NaN without a membrane."""

    nearest: np.ndarray
    """(n + 1,): of the object's nearest voxel; 0 where object and membrane share voxels."""
    centroid: np.ndarray
    """(n + 1,): of the object's centroid."""


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Points in groups of neighbours, each group with a first point."""

    points: np.ndarray
    """float64 (P, 3) in nm."""
    owner: np.ndarray
    """int (P,)."""
    first: np.ndarray
    """int (P,): the first point of each point's group."""
    offset: np.ndarray
    """float64 (P,): how far that is, in nm."""

    @classmethod
    def of(cls, points: np.ndarray, owner: np.ndarray, size: np.ndarray) -> _Cloud:
        cubes = np.floor((points - points.min(axis=0)) / (_GROUP_VOX * size)).astype(np.int64)
        keys = np.ravel_multi_index(tuple(cubes.T), tuple(cubes.max(axis=0) + 1))
        _, start, group = np.unique(keys, return_index=True, return_inverse=True)
        first = start[group]
        return cls(points, owner, first, np.linalg.norm(points - points[first], axis=1))


class Membrane:
    """The surface voxels of a membrane: those with a face neighbour inside the volume that is not membrane.

    From outside, the nearest voxel of the membrane is always one of them.
    """

    def __init__(
        self, read: ReadMask, blocks: Sequence[Box], shape: Triple, voxel_size_nm: VoxelSize, *, solid: bool
    ) -> None:
        """Nothing is read yet.

        Args:
            read: Gives bool (Z, Y, X) of any box inside the volume: where the membrane is.
            blocks: Disjoint boxes, outside which there is no membrane.
            shape: Of the volume.
            voxel_size_nm: (z, y, x).
            solid: Whether all voxels of the mask are membrane, so that objects may share some; otherwise only its
                surface is, and what lies inside, as in a cell, is away from it.
        """
        self.read = read
        self.solid = solid
        self._blocks = list(blocks)
        self._shape = shape
        self._size = np.array(voxel_size_nm, np.float64)
        self._low = np.array([block.start for block in blocks], np.float64).reshape(-1, 3) * self._size
        self._high = (np.array([block.stop for block in blocks], np.float64).reshape(-1, 3) - 1) * self._size
        self._trees: OrderedDict[int, Any] = OrderedDict()
        self._empty: set[int] = set()

    def improve(self, points: np.ndarray, owner: np.ndarray, best: np.ndarray) -> None:
        """Lower `best` to the distance between the points of each owner and the membrane.

        Args:
            points: float64 (P, 3) in nm (z, y, x) from the middle of voxel (0, 0, 0); close to each other.
            owner: int (P,) place in `best`.
            best: float64, distances found so far; changed.
        """
        if not len(points):
            return
        cloud = _Cloud.of(points, owner, self._size)
        low, high = points.min(axis=0), points.max(axis=0)
        gap = np.maximum(np.maximum(self._low - high, low - self._high), 0)
        bound = np.sqrt((gap**2).sum(axis=1))
        for place in np.argsort(bound, kind="stable"):
            if bound[place] * _SLACK > best[owner].max():
                return
            self._improve_from(int(place), cloud, best)

    def _improve_from(self, place: int, cloud: _Cloud, best: np.ndarray) -> None:
        """First from one point of each group: how far it is says which of the others can be nearer than the best."""
        points, owner = cloud.points, cloud.owner
        gap = np.maximum(np.maximum(self._low[place] - points, points - self._high[place]), 0)
        near = np.sqrt((gap**2).sum(axis=1)) * _SLACK <= best[owner]
        tree = self._tree(place) if near.any() else None
        if tree is None:
            return
        first = np.unique(cloud.first[near])
        reach = best[owner[near]].max() / _SLACK + cloud.offset.max()
        away = np.zeros(len(points))
        away[first], _ = tree.query(points[first], distance_upper_bound=reach)
        np.minimum.at(best, owner[first], away[first])
        near &= (away[cloud.first] - cloud.offset) * _SLACK <= best[owner]
        if near.any():
            distance, _ = tree.query(points[near], distance_upper_bound=best[owner[near]].max() / _SLACK)
            np.minimum.at(best, owner[near], distance)

    def _tree(self, place: int) -> Any:
        from scipy.spatial import KDTree

        if place in self._empty:
            return None
        if place in self._trees:
            self._trees.move_to_end(place)
            return self._trees[place]
        block = self._blocks[place]
        points = np.argwhere(surface_voxels(self.read, block, self._shape)) + np.array(block.start)
        if not len(points):
            self._empty.add(place)
            return None
        self._trees[place] = KDTree(points * self._size, balanced_tree=False, compact_nodes=False)
        while len(self._trees) > 1 and sum(tree.n for tree in self._trees.values()) > _KEPT_POINTS:
            self._trees.popitem(last=False)
        return self._trees[place]


def surface_voxels(read: ReadMask, box: Box, shape: Sequence[int]) -> np.ndarray:
    """bool (Z, Y, X): voxels of a mask with a face neighbour inside the volume that does not belong to it."""
    inside, missing = with_rim(box, shape)
    return _surface_of(np.pad(read(inside), missing, mode="edge"))


def distances_to(
    membrane: Membrane,
    blocks: Sequence[Box],
    read_ids: Callable[[Box], np.ndarray],
    centroids: np.ndarray,
    *,
    shape: Triple,
    voxel_size_nm: VoxelSize,
    wanted: np.ndarray,
    advance: Callable[[], None] = lambda: None,
) -> Distances:
    """Measure objects against a membrane.

    Args:
        membrane: Its surface.
        blocks: Disjoint boxes in which the objects lie.
        read_ids: Gives uint32 (Z, Y, X) object numbers of any box, 0 for none.
        centroids: float64 (n + 1, 3) in voxels (z, y, x); row 0 is not used.
        shape: Of the volume.
        voxel_size_nm: (z, y, x).
        wanted: bool (n + 1,): the objects to measure; the others are NaN.
        advance: Called after each block.
    """
    size = np.array(voxel_size_nm, np.float64)
    nearest = np.where(wanted, np.inf, -np.inf)
    for block in blocks:
        ids, edge = _objects_in(block, read_ids, shape, wanted)
        if ids.any():
            if membrane.solid:
                nearest[np.unique(ids[membrane.read(block) & (ids > 0)])] = 0.0
            points = np.argwhere(edge & (ids > 0))
            owner = ids[tuple(points.T)].astype(np.int64)
            open_ones = nearest[owner] > 0
            membrane.improve((points[open_ones] + np.array(block.start)) * size, owner[open_ones], nearest)
        advance()
    middle = np.where(wanted, np.inf, -np.inf)
    for group in _close_together(centroids, wanted, blocks):
        membrane.improve(centroids[group] * size, group, middle)
    return Distances(_or_nan(nearest), _or_nan(middle))


def _objects_in(
    block: Box, read_ids: Callable[[Box], np.ndarray], shape: Triple, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The wanted objects' numbers in a block, and where a face neighbour is not of the same object."""
    inside, missing = with_rim(block, shape)
    ids = np.pad(read_ids(inside), missing, mode="edge")
    ids = np.where(wanted[ids], ids, 0)
    return ids[1:-1, 1:-1, 1:-1], _surface_of(ids)


def _surface_of(values: np.ndarray) -> np.ndarray:
    """bool (Z, Y, X): where a value other than 0 has a different face neighbour, of (Z + 2, Y + 2, X + 2) values."""
    own = values[1:-1, 1:-1, 1:-1]
    different = np.zeros(own.shape, bool)
    for axis in range(3):
        for side in (slice(0, -2), slice(2, None)):
            index = tuple(side if at == axis else slice(1, -1) for at in range(3))
            different |= values[index] != own
    different &= own != 0
    return different


def _close_together(centroids: np.ndarray, wanted: np.ndarray, blocks: Sequence[Box]) -> Iterator[np.ndarray]:
    """The wanted objects, those with a centroid in the same part of the volume together."""
    edges = np.max([block.shape for block in blocks], axis=0) if blocks else np.ones(3)
    numbers = np.flatnonzero(wanted)
    part = (centroids[numbers] // edges).astype(np.int64)
    order = np.lexsort(part.T[::-1])
    ends = np.flatnonzero((part[order][1:] != part[order][:-1]).any(axis=1)) + 1
    yield from (group for group in np.split(numbers[order], ends) if len(group))


def _or_nan(values: np.ndarray) -> np.ndarray:
    """Without what rounding leaves behind the sixth decimal."""
    return np.where(np.isfinite(values), np.round(values, 6), np.nan)
