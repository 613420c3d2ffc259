"""Sizes of numbered objects as sums over voxels, so that blocks add up to the volume exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.analysis.crofton import DIRECTIONS
from cristae.compiled import compiled
from cristae.data.box import Box

_STEPS = np.array(DIRECTIONS, np.int64)


@dataclass(frozen=True, eq=False)
class Sums:
    """What is known of objects 1 to n: row i belongs to object i, row 0 to none."""

    voxels: np.ndarray
    """int64 (n + 1,)."""
    places: np.ndarray
    """int64 (n + 1, 3): sums of the z, y and x of the voxels."""
    low: np.ndarray
    """int64 (n + 1, 3): first z, y and x."""
    high: np.ndarray
    """int64 (n + 1, 3): last z, y and x, inclusive; -1 for an object without voxels."""
    crossings: np.ndarray
    """int64 (n + 1, 13): steps that lead out of the object, see `crofton`; the edge of the volume is outside."""

    @classmethod
    def empty(cls, count: int) -> Sums:
        """Of `count` objects of which nothing was seen."""
        rows = count + 1
        low = np.full((rows, 3), np.iinfo(np.int64).max)
        places, crossings = np.zeros((rows, 3), np.int64), np.zeros((rows, len(_STEPS)), np.int64)
        return cls(np.zeros(rows, np.int64), places, low, np.full((rows, 3), -1, np.int64), crossings)

    def add(self, ids: np.ndarray, box: Box) -> None:
        """Add a block.

        Args:
            ids: uint32 (Z + 2, Y + 2, X + 2) object numbers of the block with one voxel around it, 0 for none and
                outside the volume.
            box: The block's own voxels.
        """
        start = np.array(box.start, np.int64)
        _add_places(ids, start, self.voxels, self.places, self.low, self.high)
        _add_crossings(ids, _STEPS, self.crossings)

    def add_crossings(self, ids: np.ndarray) -> None:
        """Add only the steps out of the objects of a block; `ids` as in `add`."""
        _add_crossings(ids, _STEPS, self.crossings)


@compiled
def _add_places(
    ids: np.ndarray, start: np.ndarray, voxels: np.ndarray, places: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    depth, height, width = ids.shape
    place = np.empty(3, np.int64)
    for z in range(1, depth - 1):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                own = ids[z, y, x]
                if own == 0:
                    continue
                place[0], place[1], place[2] = start[0] + z - 1, start[1] + y - 1, start[2] + x - 1
                voxels[own] += 1
                for axis in range(3):
                    places[own, axis] += place[axis]
                    low[own, axis] = min(low[own, axis], place[axis])
                    high[own, axis] = max(high[own, axis], place[axis])


@compiled
def _add_crossings(ids: np.ndarray, steps: np.ndarray, crossings: np.ndarray) -> None:
    depth, height, width = ids.shape
    for z in range(1, depth - 1):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                own = ids[z, y, x]
                if own == 0:
                    continue
                for k in range(len(steps)):
                    dz, dy, dx = steps[k, 0], steps[k, 1], steps[k, 2]
                    if ids[z + dz, y + dy, x + dx] != own:
                        crossings[own, k] += 1
                    if ids[z - dz, y - dy, x - dx] != own:
                        crossings[own, k] += 1
