"""Affinities: whether a voxel and its partner, some steps away, lie in the same object.

Turaga et al. (2010), https://doi.org/10.1162/neco.2009.10-08-881, learn those of face neighbours, by which a network
tells apart objects that touch; Funke et al. (2018), https://doi.org/10.1109/TPAMI.2018.2835450, build on them. Wolf et
al. (2018), https://doi.org/10.1007/978-3-030-01225-0_34, add partners that are many voxels away, and cut there.

The affinity is 1 where both voxels have the same id and that is an object's, otherwise 0, also where both are
background. So the offset (0, 0, 0) gives the objects themselves. A voxel counts where it and all its partners are
annotated: nobody knows the object of a partner outside the volume. The same function serves NumPy arrays, of which
statistics and scores are made, and tensors of turned and bent patches, in which a partner is one of the patch's own
voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image, Reader

UNKNOWN_ID = -1
"""The id of voxels that were not annotated, where ids are signed."""
IdReader = Callable[[Box], tuple[np.ndarray, np.ndarray]]
"""Reads a box inside a volume: ids (Z, Y, X), 0 where there is no object, and bool (Z, Y, X), false where nothing was
annotated."""


@dataclass(frozen=True)
class Affinities:
    """The partner with which each class compares a voxel, in the order of the classes."""

    offsets: tuple[Triple, ...]
    """(z, y, x) in voxels, from the voxel to its partner."""

    @property
    def frame(self) -> Triple:
        """Voxels (z, y, x) on both sides within which partners lie: in y and x alike, so that squares stay square."""
        steps = [[abs(step) for step in offset] for offset in self.offsets]
        in_plane = max(max(y, x) for _, y, x in steps)
        return max(z for z, _, _ in steps), in_plane, in_plane

    def compare(self, ids: Any, known: Any, *, frame: Sequence[int]) -> tuple[list[Any], Any]:
        """The affinities inside a frame of voxels that are partners only.

        Args:
            ids: NumPy array or tensor (..., *S), 0 where there is no object.
            known: bool (..., *S), false where nothing was annotated.
            frame: Voxels on both sides of each of the axes S, no fewer than the offsets reach.

        Returns:
            One bool (..., *T) for each class, T being S without the frame, and a bool (..., *T) that is true where all
            partners are annotated; where it is false, the others have no meaning.
        """
        size = [side - 2 * around for side, around in zip(ids.shape[-len(frame) :], frame, strict=True)]

        def at(offset: Sequence[int]) -> tuple[Any, ...]:
            starts = [around + step for around, step in zip(frame, offset, strict=True)]
            return (..., *(slice(start, start + side) for start, side in zip(starts, size, strict=True)))

        here = at([0] * len(frame))
        inside, counts, masks = ids[here] != 0, known[here], []
        for offset in self.offsets:
            partner = at(offset[-len(frame) :])
            masks.append((ids[partner] == ids[here]) & inside)
            counts = counts & known[partner]
        return masks, counts


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """The object ids of a volume, and the affinities that its classes are.

    Turned affinities are not the affinities of turned ids, so training reads the ids themselves.
    """

    read: IdReader
    whole: Box
    affinities: Affinities

    def readers(self) -> tuple[Reader, ...]:
        """What reads the mask of each class, uint8 (Z, Y, X) of 0 and 1, 0 where a voxel does not count."""
        return tuple(self._reader(Affinities((offset,))) for offset in self.affinities.offsets)

    def valid(self, box: Box) -> np.ndarray:
        """uint8 (Z, Y, X), 1 where a voxel counts."""
        _, counts = self._compared(self.affinities, box)
        return _as_bytes(counts)

    def within(self, mask: Image) -> ObjectLabels:
        """The same, annotated only where a mask is not 0."""

        def read(box: Box) -> tuple[np.ndarray, np.ndarray]:
            ids, known = self.read(box)
            return ids, known & (mask.read(box) != 0)

        return ObjectLabels(read, self.whole, self.affinities)

    def _reader(self, one: Affinities) -> Reader:
        def read(box: Box) -> np.ndarray:
            (mask,), counts = self._compared(one, box)
            return _as_bytes(mask & counts)

        return read

    def _compared(self, affinities: Affinities, box: Box) -> tuple[list[np.ndarray], np.ndarray]:
        """Of a box inside the volume; nothing is known outside it."""
        around = box.grow(affinities.frame)
        inside = around.intersect(self.whole)
        found, annotated = self.read(inside)
        ids, known = np.zeros(around.shape, found.dtype), np.zeros(around.shape, bool)
        here = inside.relative_to(around.start).slices
        ids[here], known[here] = found, annotated
        return affinities.compare(ids, known, frame=affinities.frame)


def _as_bytes(mask: np.ndarray) -> np.ndarray:
    numbers: np.ndarray = np.ascontiguousarray(mask).view(np.uint8)
    return numbers
