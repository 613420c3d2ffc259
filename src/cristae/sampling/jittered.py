"""Sliding windows whose corners are drawn anew every epoch, each within a bin of its own.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, and the code that they published: along each axis the
possible corners are cut into bins of the spacing, one corner is drawn in each bin, and windows lie at all combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Literal

import numpy as np
from pydantic import model_validator

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.sampling.draw import class_of_any
from cristae.sampling.part import PatchSize, Place, SamplePart, as_triple, box_at, centred_box, require_voxels


class JitteredPatches(Config):
    """Windows that cover the annotated parts evenly, at other places in every epoch.

    A window that would hold no labelled voxel is moved onto one, within its bins where there is one.
    """

    name: Literal["jittered"] = "jittered"
    size: PatchSize | None = None
    """Output patch in voxels: (y, x) for 2D networks, (z, y, x) for 3D ones. null
    takes what suits the network."""
    spacing: PatchSize | None = None
    """Width of the bins, the mean step between windows; null takes half the patch. (Guay et al.: 2, 100, 100 for
    windows of 5 x 296 x 296.)"""

    @model_validator(mode="after")
    def _check(self) -> JitteredPatches:
        if self.size and self.spacing and len(self.size) != len(self.spacing):
            raise ValueError("size and spacing need the same number of axes")
        return self

    def sized(self, window: tuple[int, ...]) -> JitteredPatches:
        """The same with numbers: `window` where the size is left to the network, half of it where the spacing is."""
        size = self.size or window
        return self.model_copy(update={"size": size, "spacing": self.spacing or tuple(max(1, s // 2) for s in size)})

    def plan(self, parts: Sequence[SamplePart], seed: int) -> JitteredPlan:
        """Bind the settings, which must have a size and a spacing, to the annotated parts.

        Raises:
            LabelError: No voxel of the parts counts.
        """
        assert self.size
        assert self.spacing
        require_voxels(parts)
        return JitteredPlan(as_triple(self.size), as_triple(self.spacing), tuple(parts), seed)


@dataclass(frozen=True, eq=False)
class JitteredPlan:
    """The windows of an epoch, all drawn from the seed and the epoch."""

    size: Triple
    """Window (z, y, x)."""
    spacing: Triple
    parts: tuple[SamplePart, ...]
    seed: int

    @cached_property
    def _bins(self) -> tuple[tuple[int, int, int], ...]:
        """Bins along each axis of each part; none where no voxel of it counts."""
        return tuple(
            tuple(n_bins(n, s, d) for n, s, d in zip(part.shape, self.size, self.spacing, strict=True))  # type: ignore[misc]
            if part.n_valid
            else (0, 0, 0)
            for part in self.parts
        )

    @cached_property
    def _ends(self) -> list[int]:
        """Number of windows in each part and those before it."""
        return list(accumulate(prod(bins) for bins in self._bins))

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, epoch: int, index: int) -> Place:
        """Where patch `index` of `epoch` lies."""
        corners, order = self._epoch(epoch)
        chosen = int(order[index])
        number = int(np.searchsorted(self._ends, chosen, side="right"))
        first = self._ends[number - 1] if number else 0
        bins = np.unravel_index(chosen - first, self._bins[number])
        box = box_at([int(axis[i]) for axis, i in zip(corners[number], bins, strict=True)], self.size)
        part = self.parts[number]
        if part.holds_valid(box):
            return Place(number, box)
        rng = np.random.default_rng([self.seed, epoch, chosen, 3])  # 1 and 2 are augmentation's
        return Place(number, self._with_valid(part, [int(i) for i in bins], rng))

    def _with_valid(self, part: SamplePart, bins: Sequence[int], rng: np.random.Generator) -> Box:
        """A window of the same bins around a voxel that counts; where none is known, one around any such voxel."""
        axes = list(zip(part.shape, self.size, self.spacing, bins, strict=True))
        ranges = [_bin_ends(n, s, d, i) for n, s, d, i in axes]
        reach = Box.around([box_at(start, self.size) for start in zip(*ranges, strict=True)])
        voxels = part.listed_in(reach.intersect(Box.of_shape(part.shape)))
        if not len(voxels):
            voxels = part.class_voxels[class_of_any(part, rng)]
            return centred_box(voxels[int(rng.integers(len(voxels)))], self.size, part.shape)
        voxel = voxels[int(rng.integers(len(voxels)))].tolist()
        start = [
            int(rng.integers(max(low, v - s + 1), min(high, v) + 1)) if n > s else low
            for v, (low, high), (n, s, _, _) in zip(voxel, ranges, axes, strict=True)
        ]
        return box_at(start, self.size)

    def _epoch(self, epoch: int) -> tuple[list[list[np.ndarray]], np.ndarray]:
        """Corners by part and axis, and the order of the windows."""
        # A plan is asked for the indices of one epoch many times over: the last one is worth keeping.
        kept: tuple[int, list[list[np.ndarray]], np.ndarray] | None = self.__dict__.get("_last")
        if kept is None or kept[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            corners = [self._corners(part, bins, rng) for part, bins in zip(self.parts, self._bins, strict=True)]
            self.__dict__["_last"] = kept = (epoch, corners, rng.permutation(len(self)))
        return kept[1], kept[2]

    def _corners(self, part: SamplePart, bins: Triple, rng: np.random.Generator) -> list[np.ndarray]:
        sides = zip(part.shape, self.size, self.spacing, bins, strict=True)
        return [np.array([_draw(n, s, d, i, rng) for i in range(count)]) for n, s, d, count in sides]


def n_bins(length: int, size: int, spacing: int) -> int:
    """Windows along one axis: the possible corners in bins of `spacing`, rounded up; one where the window is longer.

    Example:
        >>> n_bins(50, 5, 2), n_bins(800, 296, 100)
        (23, 6)
    """
    return -(-max(1, length - size + 1) // spacing)


def _bin_ends(length: int, size: int, spacing: int, number: int) -> tuple[int, int]:
    """The first and last corner in a bin; a window longer than the axis is centred on it."""
    if length <= size:
        return (-((size - length) // 2),) * 2
    return spacing * number, min(spacing * (number + 1), length - size + 1) - 1


def _draw(length: int, size: int, spacing: int, number: int, rng: np.random.Generator) -> int:
    """A corner in a bin."""
    first, last = _bin_ends(length, size, spacing, number)
    return first if length <= size else int(rng.integers(first, last + 1))
