"""Which voxels belong to which cell: from a mask, from the classes themselves, or round a cell known from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cristae.analysis.class_map import ClassMap
from cristae.data.box import Box
from cristae.data.image import Image, VoxelSize
from cristae.errors import ScoreError
from cristae.metrics.margin import margin_vox, squared_distances_within

_WIDEST = 1 << 26
"""Voxels in which distances to known cells are computed at once, up to 25 bytes each."""


@dataclass(frozen=True, eq=False)
class CellMap:
    """The cells of a volume by number, read block by block."""

    read: Callable[[Box], np.ndarray]
    """uint32 (Z, Y, X) cell numbers, 0 outside every cell."""
    rule: str
    """How the cells were found."""


def cells_of_classes(classes: ClassMap) -> CellMap:
    """One cell, number 1: all voxels of any class but the background; every voxel that counts where there is none."""

    def read(box: Box) -> np.ndarray:
        return classes.read_foreground(box).astype(np.uint32)

    what = "all voxels that are not background" if classes.classes.background else "all voxels that count"
    return CellMap(read, f"{what}, as one cell")


def cells_of_mask(mask: Image, classes: ClassMap) -> CellMap:
    """The values of a mask, other than 0, are the numbers of cells.

    Raises:
        ScoreError: The mask has another shape than the map, or holds no whole numbers.
    """
    _check_mask(mask, classes)

    def read(box: Box) -> np.ndarray:
        cells, valid = _numbers(mask, box), classes.read_valid(box)
        return cells if valid is None else np.where(valid, cells, np.uint32(0))

    return CellMap(read, f"voxels of each value but 0 of {mask.path.name}")


def cells_near(neighbour: Image, classes: ClassMap, margin_nm: float) -> CellMap:
    """All voxels that are not background and at most `margin_nm` away from a cell of `neighbour`, or inside it.

    Where the classes have no background, all voxels that count are taken. Distances are between the middles of voxels.
    Near several cells, a voxel belongs to the nearest, and of equally near ones to the lowest number. This is how Guay
    et al. take volume fractions from maps that do not separate cells: https://doi.org/10.1038/s41598-021-81590-0.

    Args:
        neighbour: The known cells, each with its number, of the map's shape.
        classes: The map.
        margin_nm: How far to look.

    Raises:
        ScoreError: The neighbour has another shape than the map, or holds no whole numbers; the margin is so wide that
            what lies round a block does not fit in memory.
    """
    _check_mask(neighbour, classes)
    size = classes.voxel_size_nm
    whole = Box.of_shape(classes.shape)

    def read(box: Box) -> np.ndarray:
        wide = box.grow(margin_vox(margin_nm, size)).intersect(whole)
        if wide.size > _WIDEST:
            raise ScoreError(
                f"a margin of {margin_nm:g} nm reaches over {wide.size} voxels around one block, more than the "
                f"{_WIDEST} that are held in memory; take a smaller margin (--margin-nm), or a map of coarser voxels"
            )
        near = _nearest(_numbers(neighbour, wide), box.relative_to(wide.start), margin_nm, size)
        return np.where(classes.read_foreground(box), near, np.uint32(0))

    what = "voxels that are not background" if classes.classes.background else "voxels that count"
    return CellMap(read, f"{what}, within {margin_nm:g} nm of {neighbour.path.name}")


def _nearest(cells: np.ndarray, box: Box, margin_nm: float, voxel_size_nm: VoxelSize) -> np.ndarray:
    """The nearest cell of each voxel of a box, 0 farther than the margin from all of them."""
    nearest = np.zeros(box.shape, np.uint32)
    best = np.full(box.shape, np.inf)
    for number in np.unique(cells[cells != 0]):
        distance = squared_distances_within(cells == number, box, margin_nm, voxel_size_nm)
        closer = distance < best * (1 - 1e-12)  # equal distances may come out a hair apart
        nearest[closer] = number
        best[closer] = distance[closer]
    return nearest


def _check_mask(mask: Image, classes: ClassMap) -> None:
    if mask.shape != classes.shape:
        raise ScoreError(
            f"{mask.path}: the mask of the cell has shape {mask.shape}, the map {classes.shape} voxels (z, y, x); "
            "give a mask of the same volume"
        )
    if mask.colors != 1 or mask.dtype.kind not in "bui":
        raise ScoreError(f"{mask.path}: holds {mask.colors} x {mask.dtype}; a mask of cells holds whole numbers")


def _numbers(mask: Image, box: Box) -> np.ndarray:
    cells = mask.read(box)
    if cells.size and (int(cells.min()) < 0 or int(cells.max()) > np.iinfo(np.uint32).max):
        raise ScoreError(
            f"{mask.path}: box {box} holds values from {cells.min()} to {cells.max()}; numbers of cells lie between 1 "
            "and 4294967295, and 0 is outside"
        )
    return cells.astype(np.uint32)
