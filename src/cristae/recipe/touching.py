"""Whether objects touch each other, from their ids in some slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cristae.data.box import Box
from cristae.data.label_evidence import Place
from cristae.data.values import Context, packed_colors, whole_numbers

_SLICES, _SIDE = 6, 1024


def touching_share(places: Sequence[Place], kind: Literal["numbers", "colors"], empty: frozenset[int]) -> float | None:
    """Of the objects in some slices, the share of those that have a neighbour voxel of another object.

    Args:
        places: Slices of label files; a few of them are looked at, the middle of large ones.
        kind: Whether voxels are ids or colours.
        empty: Ids that are no object.

    Returns:
        A share; None where no object was seen.
    """
    objects = touching = 0
    for place in np.unique(np.linspace(0, len(places) - 1, min(_SLICES, len(places))).round().astype(int)):
        _, file, z = places[int(place)]
        rows, columns = (slice_of(side) for side in file.shape[1:])
        voxels = file.read(Box((z, rows.start, columns.start), (z + 1, rows.stop, columns.stop)))
        context = Context(str(file.path), "")
        area = packed_colors(voxels, file, context) if kind == "colors" else whole_numbers(voxels, file, context)
        found, touch = _count(area[0], empty)
        objects, touching = objects + found, touching + touch
    return touching / objects if objects else None


def slice_of(side: int) -> slice:
    """The middle of a side."""
    size = min(side, _SIDE)
    start = (side - size) // 2
    return slice(start, start + size)


def _count(area: np.ndarray, empty: frozenset[int]) -> tuple[int, int]:
    """Objects of a slice, and those of them that touch another."""
    inside = ~np.isin(area, list(empty))
    touching: set[int] = set()
    for axis in (0, 1):
        ids, there = np.moveaxis(area, axis, 0), np.moveaxis(inside, axis, 0)
        meet = (ids[1:] != ids[:-1]) & there[1:] & there[:-1]
        touching |= set(np.unique(ids[1:][meet]).tolist()) | set(np.unique(ids[:-1][meet]).tolist())
    return len(np.unique(area[inside])), len(touching)
