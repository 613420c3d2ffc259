"""What a sampler needs of the parts of volumes that it draws from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import PositiveInt

from cristae.data.box import Box, Triple
from cristae.errors import LabelError

PatchSize = tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
"""(y, x) voxels for 2D networks, (z, y, x) for 3D ones."""
ClassPlaces = tuple[np.ndarray, tuple[np.ndarray, ...]]
"""(K,) counts of the classes in a box, and for each a sample of the (N, 3) places where it is."""


@dataclass(frozen=True, eq=False)
class SamplePart:
    """One annotated box of voxels, counted from its own corner, and an index of where its classes are."""

    shape: Triple
    """Voxels (z, y, x)."""
    class_counts: np.ndarray
    """(K,) int64: voxels of each class that count, by id. Overlapping classes: index 0 holds the voxels without any."""
    class_voxels: tuple[np.ndarray, ...]
    """For each class an even sample of the (N, 3) int32 places where it is, in random order; all of them where they are
    as many as `class_counts` says."""
    has_foreground: Callable[[Box], bool]
    """Whether a box of the part holds any voxel of a class other than the background."""
    has_valid: Callable[[Box], bool]
    """Whether a box of the part holds any voxel that counts."""
    fully_valid: bool = True
    """Whether every voxel counts."""
    first_foreground: int = 1
    """The lowest id of a structure: 0 where the classes have no background."""
    class_names: tuple[str, ...] = ()
    """The name of each of the K classes, as `counted_names` gives them."""
    volume: str = ""
    """The volume that it is a part of."""
    index_within: Callable[[Box], ClassPlaces] | None = None
    """Counts and places of the classes in a box of the part, which is read for it; None where `class_voxels` are
    all."""

    @property
    def n_valid(self) -> int:
        """Voxels that a uniform draw may pick (overlapping classes may count one twice)."""
        return int(self.class_counts.sum())

    @property
    def lists_all(self) -> bool:
        """Whether `class_voxels` has every voxel, not a sample of them."""
        return all(len(voxels) == n for voxels, n in zip(self.class_voxels, self.class_counts, strict=True))

    def within(self, box: Box) -> ClassPlaces:
        """Counts of the classes in a box inside the part, and a sample of the places of each."""
        if box == Box.of_shape(self.shape):
            return self.class_counts, self.class_voxels
        if self.index_within is not None and not self.lists_all:
            return self.index_within(box)
        inside = [np.all((voxels >= box.start) & (voxels < box.stop), axis=1) for voxels in self.class_voxels]
        chosen = tuple(voxels[keep] for voxels, keep in zip(self.class_voxels, inside, strict=True))
        return np.array([len(voxels) for voxels in chosen], np.int64), chosen


@dataclass(frozen=True)
class Place:
    """Where one patch comes from. The box may reach outside the part; what lies outside is padding."""

    part: int
    box: Box


def require_voxels(parts: Sequence[SamplePart]) -> None:
    """Make sure that there is a voxel that counts, without which no patch could be placed.

    Raises:
        LabelError: There is none.
    """
    if not any(part.n_valid for part in parts):
        raise LabelError("no voxel of the regions counts, so no patch can be placed; choose regions that are labelled")


def centred_box(centre: np.ndarray, size: Triple, shape: Triple) -> Box:
    """The box of `size` around `centre`, moved inside `shape` where it fits; centred on the part where it does not."""
    start = []
    for c, s, n in zip(centre.tolist(), size, shape, strict=True):
        start.append(min(max(c - s // 2, 0), n - s) if n >= s else -((s - n) // 2))
    return box_at(start, size)


def box_at(start: Sequence[int], size: Triple) -> Box:
    """The box of `size` with this corner."""
    z, y, x = start
    return Box((z, y, x), (z + size[0], y + size[1], x + size[2]))


def as_triple(size: tuple[int, ...]) -> Triple:
    """A patch size as (z, y, x); a flat patch is one slice thick."""
    z, y, x = (1, *size) if len(size) == 2 else size
    return z, y, x
