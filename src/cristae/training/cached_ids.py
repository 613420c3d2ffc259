"""Object ids in the training cache: 32 bits each, and what they make of a box as classes that are affinities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cristae.data.affinities import UNKNOWN_ID, Affinities, ObjectLabels
from cristae.data.box import Box
from cristae.training.cached_arrays import CachedArray
from cristae.training.class_index import INVALID

IDS = "ids"
"""The array of an entry with object ids."""
_KEPT = 1 << 30
"""Ids below it are stored as they are."""


class NarrowIds:
    """Reads ids of any width as numbers of 31 bits, the same for the same id: those that are too large get new ones, in
    the order in which they come up."""

    def __init__(self, objects: ObjectLabels) -> None:
        self._objects = objects
        self._numbers: dict[int, int] = {}

    def read(self, box: Box) -> np.ndarray:
        """int32 (Z, Y, X) of a box of the volume, UNKNOWN_ID where nothing was annotated."""
        ids, known = self._objects.read(box)
        narrow = ids.astype(np.int32)
        large = ids >= _KEPT if ids.dtype.itemsize >= 4 else np.zeros(ids.shape, bool)
        if large.any():
            found, place = np.unique(ids[large], return_inverse=True)
            numbers = [self._numbers.setdefault(one, _KEPT + len(self._numbers)) for one in found.tolist()]
            narrow[large] = np.array(numbers, np.int32)[place]
        narrow[~known] = UNKNOWN_ID
        return narrow


def framed_ids(read: Callable[[Box], np.ndarray], box: Box, stored: Box) -> np.ndarray:
    """int32 ids (Z, Y, X) of a box, of which only what lies in `stored` can be read; the rest is not known."""
    ids = np.full(box.shape, UNKNOWN_ID, np.int32)
    inside = box.intersect(stored)
    if inside.size:
        ids[inside.relative_to(box.start).slices] = read(inside)
    return ids


@dataclass(frozen=True, eq=False)
class CachedObjects:
    """The object ids of an entry, and which affinities its classes are."""

    ids: CachedArray
    affinities: Affinities

    def begin(self, box: Box) -> Callable[[], np.ndarray]:
        """Start to read a box of the volume, int32 (Z, Y, X); what is not on disk is UNKNOWN_ID."""
        inside = box.intersect(self.ids.box)
        begun = self.ids.begin(inside) if inside.size else None

        def finish() -> np.ndarray:
            ids = np.full(box.shape, UNKNOWN_ID, np.int32)
            if begun is not None:
                ids[inside.relative_to(box.start).slices] = begun()
            return ids

        return finish

    def targets(self, box: Box) -> np.ndarray:
        """The masks uint8 (K, Z, Y, X) of a box of the volume, INVALID where a voxel does not count. `require` of the
        ids comes after it."""
        ids = self.begin(box.grow(self.affinities.frame))()
        masks, counts = self.affinities.compare(ids, ids != UNKNOWN_ID, frame=self.affinities.frame)
        target: np.ndarray = np.where(counts, np.stack(masks), np.uint8(INVALID))
        return target
