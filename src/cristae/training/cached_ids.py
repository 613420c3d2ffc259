"""Object ids in the training cache: 32 bits each, and what they make of a box as classes that are affinities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cristae.data.affinities import UNKNOWN_ID, Affinities, ObjectLabels
from cristae.data.box import Box
from cristae.training.class_index import INVALID

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


def targets_of_ids(ids: np.ndarray, affinities: Affinities) -> np.ndarray:
    """The masks uint8 (K, *T) of ids (*S) with the frame of `affinities`, INVALID where a voxel does not count."""
    masks, counts = affinities.compare(ids, ids != UNKNOWN_ID, frame=affinities.frame)
    target: np.ndarray = np.where(counts, np.stack(masks), np.uint8(INVALID))
    return target
