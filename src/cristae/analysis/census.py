"""How many voxels each class has in each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.analysis.cells import CellMap
from cristae.analysis.class_map import ClassMap
from cristae.data.box import Box
from cristae.metrics.ratio import ratio

_FEW = 1 << 16
"""Up to this number, counting is quicker than sorting."""


@dataclass(frozen=True, eq=False)
class Census:
    """Voxels by cell and class."""

    cells: tuple[int, ...]
    """Numbers of the cells, rising."""
    cell_voxels: np.ndarray
    """int64 (N,): voxels of each cell, of any class and of none."""
    class_voxels: np.ndarray
    """int64 (N, K): those of each foreground class."""
    blocks: tuple[tuple[Box, ...], ...]
    """The blocks in which each cell has voxels."""

    def fractions(self) -> np.ndarray:
        """(N, K) fraction of each cell's voxels that each foreground class has; NaN for a cell without voxels.

        References:
            Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
        """
        return ratio(self.class_voxels, self.cell_voxels[:, None])


def take_census(
    classes: ClassMap,
    cells: CellMap,
    blocks: Sequence[Box],
    *,
    expected: Sequence[int] = (),
    advance: Callable[[], None] = lambda: None,
) -> Census:
    """Count voxels block by block.

    Args:
        classes: The map.
        cells: Whose voxels count.
        blocks: Disjoint, together the whole volume.
        expected: Numbers of cells that have a row even when none of their voxels is found.
        advance: Called after each block.
    """
    names = classes.classes.foreground
    totals: dict[int, np.ndarray] = {number: np.zeros(1 + len(names), np.int64) for number in expected}
    where: dict[int, list[Box]] = {number: [] for number in expected}
    for block in blocks:
        found, flat = _places(cells.read(block))
        if found.any():
            columns = [np.bincount(flat, minlength=len(found))]
            for name in names:
                columns.append(np.bincount(flat[classes.read_class(name, block).ravel()], minlength=len(found)))
            for number, row in zip(found.tolist(), np.stack(columns, axis=1), strict=True):
                if number:
                    totals[number] = totals.get(number, 0) + row.astype(np.int64)
                    where.setdefault(number, []).append(block)
        advance()
    order = sorted(totals)
    table = np.array([totals[number] for number in order], np.int64).reshape(len(order), 1 + len(names))
    return Census(tuple(order), table[:, 0], table[:, 1:], tuple(tuple(where[number]) for number in order))


def _places(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers of a block, rising, and for each voxel its place among them, flat."""
    largest = int(numbers.max(initial=0))
    if largest > _FEW:
        found, place = np.unique(numbers, return_inverse=True)
        return found, place.ravel()
    counts = np.bincount(numbers.ravel(), minlength=largest + 1)
    found = np.flatnonzero(counts)
    place = np.zeros(largest + 1, np.intp)
    place[found] = np.arange(len(found))
    return found, place[numbers.ravel()]


def numbers_in(read: Callable[[Box], np.ndarray], blocks: Sequence[Box]) -> tuple[int, ...]:
    """The numbers other than 0 that occur in a map of cells, rising."""
    found: set[int] = set()
    for block in blocks:
        found.update(np.unique(read(block)).tolist())
    return tuple(sorted(found - {0}))
