"""Cutting objects that touch at their necks, one object at a time, so that blocks make no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from cristae.analysis.measure import Sums
from cristae.analysis.objects import Objects
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize
from cristae.postprocessing.necks import cut_mask

LARGEST_BOX = 1 << 24
"""Voxels of the box around an object above which it is left whole: about 2 GiB are needed to cut it."""


@dataclass(frozen=True, eq=False)
class Cut:
    """What became of objects that were looked at."""

    objects: Objects
    """With the new pieces."""
    cut: int
    """How many objects were cut."""
    too_large: tuple[int, ...]
    """Numbers of objects that were left whole because their box is too large to be held in memory."""


def split_objects(
    objects: Objects,
    sums: Sums,
    voxel_size_nm: VoxelSize,
    depth_nm: float,
    *,
    largest_box: int = LARGEST_BOX,
    advance: Callable[[], None] = lambda: None,
) -> Cut:
    """Cut every object at its necks.

    The first piece of a cut object, by its first voxel, keeps the number; the others take new numbers after all those
    that were there, object by object. Each object is treated in its own box, so the result does not depend on blocks.

    Args:
        objects: Numbered in their map, which is changed.
        sums: Where they are.
        voxel_size_nm: (z, y, x).
        depth_nm: How much thicker than the neck both sides must be, as distance from the middle to the surface.
        largest_box: Objects in larger boxes, in voxels, are left whole.
        advance: Called after each object.
    """
    cell_of, too_large, cuts = list(objects.cell_of), [], 0
    for number in range(1, objects.count + 1):
        box = Box(_triple(sums.low[number]), _triple(sums.high[number] + 1))
        if prod(box.shape) > largest_box:
            too_large.append(number)
        elif (pieces := _pieces_of(objects, number, box, voxel_size_nm, depth_nm)) is not None:
            ids = objects.map.read(box)
            for piece in range(2, int(pieces.max()) + 1):
                ids[pieces == piece] = len(cell_of)
                cell_of.append(objects.cell_of[number])
            objects.map.write(box, ids)
            cuts += 1
        advance()
    return Cut(replace(objects, cell_of=np.array(cell_of, np.int64)), cuts, tuple(too_large))


def _pieces_of(objects: Objects, number: int, box: Box, voxel_size_nm: VoxelSize, depth_nm: float) -> np.ndarray | None:
    """The pieces of one object in its box; None when it stays whole."""
    mask = objects.map.read(box) == number
    ends = [(a == 0, b == size) for a, b, size in zip(box.start, box.stop, objects.map.shape, strict=True)]
    pieces = cut_mask(mask, voxel_size_nm, depth_nm, open_sides=np.array(ends))
    return pieces if pieces.max() > 1 else None


def _triple(values: np.ndarray) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
