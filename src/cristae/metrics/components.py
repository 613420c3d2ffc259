"""Connected components of a mask, in memory or block by block, with the same ids either way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Literal

import numpy as np

from cristae.data.box import Box, Triple
from cristae.errors import ScoreError

if TYPE_CHECKING:
    from cristae.metrics.run_lengths import RunLengths

Connectivity = Literal[4, 8, 6, 18, 26]
"""Neighbours of a voxel: 4 or 8 within its slice, 6, 18 or 26 in the volume."""

_EARLIER_ROWS = {
    4: ((0, -1, 0),),
    8: ((0, -1, 1),),
    6: ((0, -1, 0), (-1, 0, 0)),
    18: ((0, -1, 1), (-1, 0, 1), (-1, -1, 0), (-1, 1, 0)),
    26: ((0, -1, 1), (-1, 0, 1), (-1, -1, 1), (-1, 1, 1)),
}
_STEPS = (-1, 0, 1)


def label_components(mask: np.ndarray, connectivity: Connectivity) -> tuple[np.ndarray, int]:
    """Number the connected components of a mask in the order of their first voxels.

    Args:
        mask: (Y, X) or (Z, Y, X), foreground where it is not 0.
        connectivity: 4 or 8 for components within slices (of a volume too: each lies in one slice), 6, 18 or 26 for
            components of a volume.

    Returns:
        int32 ids of the same shape, 1..n in raster order of the first voxel and 0 outside, and n.

    Raises:
        ScoreError: The mask has other axes than the connectivity is for, or too many pieces to label at once.

    Example:
        >>> label_components(np.array([[0, 1, 0], [1, 0, 1]]), 4)[0]
        array([[0, 1, 0],
               [2, 0, 3]], dtype=int32)
    """
    array = np.asarray(mask)
    if connectivity not in _EARLIER_ROWS:
        raise ScoreError(f"connectivity is 4 or 8 in slices and 6, 18 or 26 in volumes, got {connectivity}")
    if array.ndim not in ((2, 3) if connectivity in (4, 8) else (3,)):
        raise ScoreError(
            f"a mask of shape {array.shape} has no components of {connectivity} neighbours; give 4 or 8 "
            "for (Y, X) and slice by slice, 6, 18 or 26 for (Z, Y, X)"
        )
    runs = _runs(array if array.ndim == 3 else array[None], connectivity)
    return runs.paint().reshape(array.shape), runs.count


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a volume that was read block by block; kept are the ids of the pieces, not the voxels."""

    count: int
    """How many components there are; ids are 1 to this."""
    connectivity: Connectivity
    source: Callable[[Box], np.ndarray]
    """Gives the mask (Z, Y, X) of a block."""
    ids: dict[Box, np.ndarray]
    """For each block the int64 ids of its pieces; entry 0 is the background's 0."""

    def read(self, block: Box) -> np.ndarray:
        """int64 ids (Z, Y, X) of one of the blocks, equal to those of the whole volume labelled at once.

        Raises:
            ScoreError: It is not one of the blocks, or its mask is no longer what it was.
        """
        if block not in self.ids:
            raise ScoreError(f"{block} is none of the blocks whose components were found")
        runs, ids = _runs(_mask_of(self.source, block), self.connectivity), self.ids[block]
        if runs.count != len(ids) - 1:
            raise ScoreError(
                f"the mask of {block} has {runs.count} pieces, it had {len(ids) - 1} when they were "
                "counted; a mask must not change while its components are in use"
            )
        labels: np.ndarray = ids[runs.paint()]
        return labels


def find_components(
    read: Callable[[Box], np.ndarray],
    blocks: Sequence[Box],
    connectivity: Connectivity,
    *,
    advance: Callable[[], None] = lambda: None,
) -> Components:
    """Find the components of a volume that is read block by block.

    Each block is labelled alone; pieces that touch across the faces, edges and corners of blocks are then joined. The
    outer planes of a block are kept only until all blocks around it are done, so memory grows with the number of
    pieces, not with the volume, when blocks come in order.

    Args:
        read: Gives the mask (Z, Y, X) of a block, foreground where it is not 0.
        blocks: Disjoint boxes of one grid, in any order; places of the grid may be left out.
        connectivity: As for `label_components`.
        advance: Called after each block.

    Raises:
        ScoreError: The blocks are not those of a grid, or a mask has not its block's shape.
    """
    places = _grid(blocks)
    at = {place: block for block, place in places.items()}
    origin, extent = _bounds(blocks)
    offset, offsets, firsts, contacts = 0, {}, [], []
    kept: dict[Triple, _Borders] = {}
    waiting = {place: sum(near in at for near in _around(place)) for place in at}
    for block in blocks:
        runs = _runs(_mask_of(read, block), connectivity)
        place, borders = places[block], _Borders.of(block, runs.paint(), offset)
        firsts.append(_globally(runs.first_voxels(), block, origin, extent))
        for near in _around(place):
            if near in kept:
                contacts += list(_contacts(borders, kept[near], connectivity))
                waiting[near] -= 1
                waiting[place] -= 1
                if not waiting[near]:
                    del kept[near]
        if waiting[place]:
            kept[place] = borders
        offsets[block] = offset
        offset += runs.count
        advance()
    ids, count = _unite(offset, contacts, np.concatenate(firsts) if firsts else np.zeros(0, np.int64))
    sizes = dict(zip(blocks, map(len, firsts), strict=True))
    tables = {b: np.concatenate([np.zeros(1, np.int64), ids[offsets[b] : offsets[b] + sizes[b]]]) for b in blocks}
    return Components(count, connectivity, read, tables)


@dataclass(frozen=True, eq=False)
class _Borders:
    """The six outer planes of a labelled block."""

    box: Box
    planes: dict[tuple[int, int], np.ndarray]
    """By axis and side (-1 or 1): int64 numbers of pieces among all, from 1; 0 is background."""

    @classmethod
    def of(cls, box: Box, labels: np.ndarray, offset: int) -> _Borders:
        planes = {}
        for axis in range(3):
            for side, place in ((-1, slice(0, 1)), (1, slice(-1, None))):
                plane = labels[(slice(None),) * axis + (place,)].astype(np.int64)
                planes[axis, side] = np.where(plane > 0, plane + offset, 0)
        return cls(box, planes)

    def part(self, box: Box, axis: int, side: int) -> np.ndarray:
        """Numbers of the pieces in a box that lies in one of the planes."""
        start = list(self.box.start)
        if side == 1:
            start[axis] = self.box.stop[axis] - 1
        return self.planes[axis, side][box.relative_to(start).slices]


def _contacts(first: _Borders, second: _Borders, connectivity: Connectivity) -> list[np.ndarray]:
    """Pairs of pieces of two blocks that touch: (N, 2) arrays of places among all pieces, from 0."""
    found = []
    for step in product(_STEPS, repeat=3):
        common = first.box.intersect(second.box.shift([-d for d in step]))
        if not common.size or not _touches(step, connectivity):
            continue
        axis = next(a for a in range(3) if step[a] and _leaves(first.box, second.box, a))
        one = first.part(common, axis, step[axis])
        two = second.part(common.shift(step), axis, -step[axis])
        both = (one > 0) & (two > 0)
        if both.any():
            found.append(_pairs(one[both] - 1, two[both] - 1))
    return found


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The distinct pairs of two lists of places, (N, 2); packed in one number each, which sorts many times faster."""
    base = int(second.max()) + 1
    return np.stack(np.divmod(np.unique(first * base + second), base), axis=1)


def _leaves(first: Box, second: Box, axis: int) -> bool:
    """Whether two blocks of a grid lie beside each other along an axis."""
    return first.stop[axis] == second.start[axis] or second.stop[axis] == first.start[axis]


def _touches(step: tuple[int, ...], connectivity: Connectivity) -> bool:
    """Whether a voxel and the one a step (z, y, x) away are neighbours."""
    distance = sum(map(abs, step))
    if connectivity in (4, 8):
        return step[0] == 0 and 0 < distance <= (1 if connectivity == 4 else 2)
    return 0 < distance <= {6: 1, 18: 2, 26: 3}[connectivity]


def _unite(pieces: int, contacts: list[np.ndarray], first: np.ndarray) -> tuple[np.ndarray, int]:
    """Id of each piece's component, numbered by the component's first voxel, and how many there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate(contacts) if contacts else np.zeros((0, 2), np.int64)
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(pieces, pieces))
    count, group = connected_components(graph, directed=False) if pieces else (0, np.zeros(0, np.int32))
    earliest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(earliest, group, first)
    rank = np.empty(count, np.int64)
    rank[np.argsort(earliest)] = np.arange(1, count + 1)
    return rank[group], int(count)


def _runs(mask: np.ndarray, connectivity: Connectivity) -> RunLengths:
    from cristae.metrics.run_lengths import find_runs

    flags = np.ascontiguousarray(mask if mask.dtype == np.bool_ else mask != 0)
    return find_runs(flags.view(np.uint8), _EARLIER_ROWS[connectivity])


def _mask_of(read: Callable[[Box], np.ndarray], block: Box) -> np.ndarray:
    mask = np.asarray(read(block))
    if mask.shape != block.shape:
        raise ScoreError(f"the mask of block {block} has shape {mask.shape}, expected {block.shape}")
    return mask


def _globally(first: np.ndarray, block: Box, origin: Triple, extent: Triple) -> np.ndarray:
    """Places of voxels of a block in the raster order of the whole region."""
    z, y, x = np.unravel_index(first, block.shape)
    a, b, c = (s - o for s, o in zip(block.start, origin, strict=True))
    places: np.ndarray = ((z + a) * extent[1] + (y + b)) * extent[2] + (x + c)
    return places


def _grid(blocks: Sequence[Box]) -> dict[Box, Triple]:
    """Where each block stands in the grid."""
    sides: list[dict[int, int]] = []
    for axis in range(3):
        spans = sorted({(block.start[axis], block.stop[axis]) for block in blocks})
        if any(a >= b for a, b in spans) or any(one[1] > two[0] for one, two in pairwise(spans)):
            raise ScoreError(
                f"the blocks overlap or are no grid along axis {'zyx'[axis]}; expected disjoint blocks "
                "in rows, such as Box.blocks gives"
            )
        sides.append({start: number for number, (start, _) in enumerate(spans)})
    places = {b: (sides[0][b.start[0]], sides[1][b.start[1]], sides[2][b.start[2]]) for b in blocks}
    if len(places) != len(blocks):
        raise ScoreError("a block is given twice; expected disjoint blocks")
    return places


def _around(place: Triple) -> list[Triple]:
    z, y, x = place
    return [(z + a, y + b, x + c) for a, b, c in product(_STEPS, repeat=3) if (a, b, c) != (0, 0, 0)]


def _bounds(blocks: Sequence[Box]) -> tuple[Triple, Triple]:
    """Start and extent of the box around all blocks."""
    if not blocks:
        return (0, 0, 0), (0, 0, 0)
    start = tuple(min(block.start[axis] for block in blocks) for axis in range(3))
    stop = tuple(max(block.stop[axis] for block in blocks) for axis in range(3))
    around = Box(start, stop)  # type: ignore[arg-type]
    return around.start, around.shape
