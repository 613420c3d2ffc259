"""Whether objects touch each other, from their ids in some slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.label_evidence import Place
from cristae.data.values import Context, packed_colors, whole_numbers

_SLICES, _SIDE = 6, 1024


@dataclass(frozen=True)
class Touching:
    """How objects meet, in a few slices."""

    share: float
    """Of the objects in a slice, the share that touch another one there."""
    changing: float
    """Of their voxels, the share whose next slice has another object there: nearly all where each slice has ids of its
    own."""


def look_at_neighbours(
    places: Sequence[Place], kind: Literal["numbers", "colors"], empty: frozenset[int]
) -> Touching | None:
    """Look at objects that touch.

    Args:
        places: Slices of label files; a few of them are looked at, the middle of large ones.
        kind: Whether voxels are ids or colours.
        empty: Ids that are no object.

    Returns:
        None where no object was seen.
    """
    objects = touching = stay = change = 0
    for place in np.unique(np.linspace(0, len(places) - 1, min(_SLICES, len(places))).round().astype(int)):
        number, file, z = places[int(place)]
        area = _middle(file, z, kind)
        found, touch = _count(area, empty)
        objects, touching = objects + found, touching + touch
        after = places[int(place) + 1 : int(place) + 2]
        if after and after[0] == (number + 1, file, z + 1):
            following = _middle(file, z + 1, kind)
            both = ~np.isin(area, list(empty)) & ~np.isin(following, list(empty))
            change += int((area != following)[both].sum())
            stay += int((area == following)[both].sum())
    return Touching(touching / objects, change / max(1, stay + change)) if objects else None


def _middle(file: Image, z: int, kind: Literal["numbers", "colors"]) -> np.ndarray:
    """Ids in the middle of a slice, (Y, X)."""
    rows, columns = (slice_of(side) for side in file.shape[1:])
    voxels = file.read(Box((z, rows.start, columns.start), (z + 1, rows.stop, columns.stop)))
    read, context = packed_colors if kind == "colors" else whole_numbers, Context(str(file.path), "")
    ids: np.ndarray = read(voxels, file, context)[0]
    return ids


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
