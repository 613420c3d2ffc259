"""Cutting objects that touch at their necks, one object at a time, so that blocks make no difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from cristae.analysis.measure import Sums
from cristae.analysis.objects import Objects
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

LARGEST_BOX = 1 << 24
"""Voxels of the box around an object above which it is left whole: about 2 GiB are needed to cut it."""
_AROUND = np.ones((3, 3, 3), bool)


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


def cut_mask(
    mask: np.ndarray, voxel_size_nm: Sequence[float], depth_nm: float, *, open_sides: np.ndarray | None = None
) -> np.ndarray:
    """Cut one object: a watershed of the distance to its surface, from the middles of its thick parts.

    A middle counts when the way to any thicker one leads through a neck that is thinner by more than `depth_nm` (the
    h-maxima of the distance; Soille (2003), Morphological Image Analysis, section 6.3).

    Args:
        mask: bool (Z, Y, X).
        voxel_size_nm: (z, y, x).
        depth_nm: The smallest difference.
        open_sides: bool (3, 2): sides of the box where the volume ends, beyond which the object may continue.

    Returns:
        int32 (Z, Y, X) pieces, numbered from 1 by their first voxel, 0 outside.
    """
    from skimage import morphology, segmentation

    fill: Any = morphology.reconstruction
    flood: Any = segmentation.watershed
    sides = np.zeros((3, 2), bool) if open_sides is None else open_sides
    pad = [(int(not low), int(not high)) for low, high in sides]
    inner = tuple(slice(low, size + low) for (low, _), size in zip(pad, mask.shape, strict=True))
    padded = np.pad(mask, pad)
    if padded.all():
        return mask.astype(np.int32)
    distance = distance_transform_edt(padded, sampling=voxel_size_nm)[inner]
    if distance[mask].max() <= depth_nm:
        return mask.astype(np.int32)
    # The reconstruction only copies values, so that its flat tops are exactly flat.
    lowered = np.where(mask, np.maximum(distance - depth_nm, 0), 0)
    filled = fill(lowered, distance, footprint=_AROUND)
    tops, count = label(_flat_tops(filled, mask), _AROUND)
    if count < 2:
        return mask.astype(np.int32)
    flooded = flood(-distance, tops, connectivity=_AROUND, mask=mask)
    return _in_order(flooded)


def _flat_tops(filled: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Plateaus without a higher neighbour."""
    from skimage import morphology

    find: Any = morphology.local_maxima
    tops: np.ndarray = find(np.pad(filled, 1), footprint=_AROUND)[1:-1, 1:-1, 1:-1] & mask
    return tops


def _in_order(pieces: np.ndarray) -> np.ndarray:
    """The same pieces, numbered by their first voxel."""
    found, first = np.unique(pieces, return_index=True)
    found, first = found[found > 0], first[found > 0]
    number = np.zeros(int(pieces.max()) + 1, np.int32)
    number[found[np.argsort(first)]] = np.arange(1, len(found) + 1)
    numbered: np.ndarray = number[pieces]
    return numbered


def _pieces_of(objects: Objects, number: int, box: Box, voxel_size_nm: VoxelSize, depth_nm: float) -> np.ndarray | None:
    """The pieces of one object in its box; None when it stays whole."""
    mask = objects.map.read(box) == number
    ends = [(a == 0, b == size) for a, b, size in zip(box.start, box.stop, objects.map.shape, strict=True)]
    pieces = cut_mask(mask, voxel_size_nm, depth_nm, open_sides=np.array(ends))
    return pieces if pieces.max() > 1 else None


def _triple(values: np.ndarray) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
