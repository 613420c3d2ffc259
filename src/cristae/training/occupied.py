"""Where in a part there are voxels that count, coarsely: enough to answer for most boxes without reading labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.data.box import Box, Triple

_SIDE = 32
"""Voxels of a cell along y and x; along z it is one slice."""


class OccupiedCells:
    """Remembers for squares of 32 x 32 voxels in each slice whether any voxel there counts."""

    def __init__(self, shape: Triple, bits: np.ndarray | None = None) -> None:
        """
        Args:
            shape: Voxels (z, y, x) of the part.
            bits: What `bits` gave of another; None where nothing is known to count yet.
        """
        self._shape = shape
        cells = shape[0], -(-shape[1] // _SIDE), -(-shape[2] // _SIDE)
        count = cells[0] * cells[1] * cells[2]
        flat = np.zeros(count, bool) if bits is None else np.unpackbits(bits, count=count).astype(bool)
        self._cells = flat.reshape(cells)

    @property
    def bits(self) -> np.ndarray:
        """uint8: the cells, eight in each."""
        return np.packbits(self._cells)

    def add(self, counts: np.ndarray, block: Box) -> None:
        """Note what counts, bool (Z, Y, X), in a block of the part."""
        (z0, y0, x0), (z1, y1, x1) = block.start, block.stop
        rows = np.logical_or.reduceat(counts, _first_of_cells(y0, y1), axis=1)
        any_in = np.logical_or.reduceat(rows, _first_of_cells(x0, x1), axis=2)
        self._cells[z0:z1, y0 // _SIDE : -(-y1 // _SIDE), x0 // _SIDE : -(-x1 // _SIDE)] |= any_in

    def holds(self, box: Box) -> bool | None:
        """Whether any voxel of a box inside the part counts; None where cells that lie half in it leave it open."""
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        ends = zip((y1, x1), self._shape[1:], strict=True)
        y2, x2 = (stop + _SIDE - 1 if stop == end else stop for stop, end in ends)  # the last cell ends with the part
        if self._cells[z0:z1, -(-y0 // _SIDE) : y2 // _SIDE, -(-x0 // _SIDE) : x2 // _SIDE].any():
            return True
        touched = self._cells[z0:z1, y0 // _SIDE : -(-y1 // _SIDE), x0 // _SIDE : -(-x1 // _SIDE)]
        return None if touched.any() else False


def _first_of_cells(start: int, stop: int) -> Sequence[int]:
    """Of the voxels `start` to `stop - 1` those with which a cell begins, and the first, counted from `start`."""
    return [0, *range(_SIDE - start % _SIDE, stop - start, _SIDE)]
