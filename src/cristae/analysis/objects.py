"""The objects of a class: its connected pieces inside each cell, numbered and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.analysis.cells import CellMap
from cristae.analysis.census import Census
from cristae.analysis.class_map import ClassMap
from cristae.analysis.measure import Sums
from cristae.analysis.object_map import ObjectMap
from cristae.data.box import Box
from cristae.errors import VolumeError
from cristae.metrics.components import Connectivity, find_components

Advance = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one class, numbered from 1 through the cells in their order; row 0 of arrays is none."""

    name: str
    """The class."""
    map: ObjectMap
    cell_of: np.ndarray
    """int64 (n + 1,): place of each object's cell among the cells of the census; -1 for none."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.cell_of) - 1


def label_objects(
    name: str,
    classes: ClassMap,
    cells: CellMap,
    census: Census,
    store: ObjectMap,
    connectivity: Connectivity,
    *,
    advance: Advance = lambda: None,
) -> Objects:
    """Number the connected pieces of a class inside each cell and write them down.

    Within a cell they are numbered by their first voxel, slice by slice and row by row. Voxels of different cells
    never belong to the same object, even when they touch.

    Args:
        name: The class.
        classes: The map.
        cells: The cells; those of `census`.
        census: Says in which blocks they are.
        store: Where to write the numbers.
        connectivity: Which neighbours belong together.
        advance: Called twice for every block of every cell.

    Raises:
        VolumeError: There are more objects than a label image can number.
    """
    found, cell_of = [], [np.array([-1], np.int64)]
    for place, number in enumerate(census.cells):

        def read(box: Box, number: int = number) -> np.ndarray:
            mask: np.ndarray = classes.read_class(name, box) & (cells.read(box) == number)
            return mask

        pieces = find_components(read, census.blocks[place], connectivity, advance=advance)
        found.append(pieces)
        cell_of.append(np.full(pieces.count, place, np.int64))
    objects = Objects(name, store, np.concatenate(cell_of))
    if objects.count > np.iinfo(np.uint32).max:
        raise VolumeError(f"class '{name}': {objects.count} objects, more than can be numbered; are the labels noise?")
    before = np.cumsum([0, *(pieces.count for pieces in found)])
    for block, places in _cells_by_block(census):
        ids = np.zeros(block.shape, np.uint32)
        for place in places:
            own = found[place].read(block)
            inside = own > 0
            ids[inside] = own[inside] + before[place]
            advance()
        if ids.any():
            store.write(block, ids)
    return objects


def measure_objects(objects: Objects, blocks: Sequence[Box], *, advance: Advance = lambda: None) -> Sums:
    """Sizes, places and surfaces of all objects, added up over blocks."""
    sums = Sums.empty(objects.count)
    for block in blocks:
        sums.add(objects.map.read_with_rim(block), block)
        advance()
    return sums


def class_crossings(
    objects: Objects, census: Census, blocks: Sequence[Box], *, advance: Advance = lambda: None
) -> np.ndarray:
    """int64 (N, 13) steps that lead out of the class in each cell: objects that touch share no surface here."""
    number = (objects.cell_of + 1).astype(np.uint32)
    sums = Sums.empty(len(census.cells))
    for block in blocks:
        sums.add_crossings(number[objects.map.read_with_rim(block)])
        advance()
    return sums.crossings[1:]


def _cells_by_block(census: Census) -> list[tuple[Box, list[int]]]:
    by_block: dict[Box, list[int]] = {}
    for place, blocks in enumerate(census.blocks):
        for block in blocks:
            by_block.setdefault(block, []).append(place)
    return sorted(by_block.items())
