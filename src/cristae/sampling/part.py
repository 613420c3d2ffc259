"""What a sampler needs of the parts of volumes that it draws from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import PositiveInt

from cristae.data.box import Box, Triple

PatchSize = tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
"""(y, x) voxels for 2D networks, (z, y, x) for 3D ones."""


@dataclass(frozen=True, eq=False)
class SamplePart:
    """One annotated box of voxels, counted from its own corner, and an index of where its classes are."""

    shape: Triple
    """Voxels (z, y, x)."""
    class_counts: np.ndarray
    """(K,) int64: voxels of each class that count, by id. Overlapping classes: index 0 holds the voxels without any."""
    class_voxels: tuple[np.ndarray, ...]
    """For each class a sample, spread over the whole part, of the (N, 3) int32 places where it is."""
    has_foreground: Callable[[Box], bool]
    """Whether a box of the part holds any voxel of a class other than the background."""
    has_valid: Callable[[Box], bool]
    """Whether a box of the part holds any voxel that counts."""
    fully_valid: bool = True
    """Whether every voxel counts."""
    first_foreground: int = 1
    """The lowest id of a structure: 0 where the classes have no background."""

    @property
    def n_valid(self) -> int:
        """Voxels that a uniform draw may pick (overlapping classes may count one twice)."""
        return int(self.class_counts.sum())


@dataclass(frozen=True)
class Place:
    """Where one patch comes from. The box may reach outside the part; what lies outside is padding."""

    part: int
    box: Box


def centred_box(centre: np.ndarray, size: Triple, shape: Triple) -> Box:
    """The box of `size` around `centre`, moved inside `shape` where it fits; centred on the part where it does not."""
    start = []
    for c, s, n in zip(centre.tolist(), size, shape, strict=True):
        start.append(min(max(c - s // 2, 0), n - s) if n >= s else -((s - n) // 2))
    stop = tuple(a + s for a, s in zip(start, size, strict=True))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def as_triple(size: tuple[int, ...]) -> Triple:
    """A patch size as (z, y, x); a flat patch is one slice thick."""
    z, y, x = (1, *size) if len(size) == 2 else size
    return z, y, x
