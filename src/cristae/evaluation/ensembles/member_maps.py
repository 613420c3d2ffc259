"""Probability maps of several members on the same annotated voxels, read a few voxels at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion
from cristae.metrics.ensembling.criterion import table_shape

_RUN = 1 << 18
"""Voxels that are looked at together."""


@dataclass(frozen=True, eq=False)
class MapBlock:
    """Some annotated voxels of one unit."""

    unit: int
    truth: np.ndarray
    """uint8 (T, n): class ids, or 0 and 1 of each overlapping class."""
    maps: np.ndarray
    """uint8 (M, C, n): p x 255 of each member."""

    def fused(self, weights: Sequence[int] | np.ndarray) -> np.ndarray:
        """(C, n) int64 weighted sums of the maps; members of weight 0 are not read."""
        total = np.zeros(self.maps.shape[1:], np.int64)
        for weight, one in zip(weights, self.maps, strict=True):
            if weight:
                total += int(weight) * one.astype(np.int64)
        return total


@dataclass(frozen=True, eq=False)
class MemberMaps:
    """What every member says of every annotated voxel of some regions. The arrays may be memory-mapped: they are read
    a few voxels at a time, as often as a result needs them."""

    classes: Classes
    threshold: float
    """Of the probability, for classes that are decided by one."""
    truth: np.ndarray
    """uint8 (T, N): class ids, or 0 and 1 of each overlapping class."""
    maps: tuple[np.ndarray, ...]
    """One uint8 (C, N) of p x 255 for each member."""
    units: np.ndarray
    """(U + 1,) where the voxels of each unit, such as a slice, begin; the last entry is N."""
    only: tuple[int, ...] | None = None
    """Units that count; None counts all."""

    def __post_init__(self) -> None:
        tables, _, _ = table_shape(self.classes)
        voxels = self.truth.shape[-1]
        if self.truth.shape != (tables, voxels) or not voxels:
            raise ScoreError(f"the truth has shape {self.truth.shape}, expected {tables} rows of at least one voxel")
        wrong = [one.shape for one in self.maps if one.shape != (self.classes.n_logits, voxels)]
        if wrong or not self.maps:
            found = wrong[0] if wrong else "none"
            raise ScoreError(f"maps of members have shape {(self.classes.n_logits, voxels)} here, got {found}")
        if self.units[0] != 0 or self.units[-1] != voxels or (np.diff(self.units) < 0).any():
            raise ScoreError("units must begin with voxel 0, rise, and end with the last voxel")
        if self.only is not None and not self.only:
            raise ScoreError("no unit counts; keep at least one")

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def n_units(self) -> int:
        """Units that count."""
        return len(self.units) - 1 if self.only is None else len(self.only)

    def of_units(self, only: Sequence[int]) -> MemberMaps:
        """The same, of which only these units count, in this order."""
        return replace(self, only=tuple(only))

    def thinned(self, most: int) -> MemberMaps:
        """Every n-th voxel of each unit, about `most` in all; n is odd, so that rows of even width give other columns
        by turns."""
        step = -(-self.truth.shape[1] // most) | 1
        maps = tuple(one[:, ::step] for one in self.maps)
        return replace(self, truth=self.truth[:, ::step], maps=maps, units=-(-self.units // step))

    def blocks(self) -> Iterator[MapBlock]:
        """All voxels that count, in order; each block lies in one unit."""
        for unit, place in enumerate(range(self.n_units) if self.only is None else self.only):
            for start in range(int(self.units[place]), int(self.units[place + 1]), _RUN):
                part = slice(start, min(start + _RUN, int(self.units[place + 1])))
                yield MapBlock(unit, np.asarray(self.truth[:, part]), np.stack([one[:, part] for one in self.maps]))

    def labels(self, sums: np.ndarray, weight: int) -> np.ndarray:
        """What an ensemble decides.

        Args:
            sums: (C, n) sums of 8-bit maps.
            weight: How many maps were added, each as often as its weight says.

        Returns:
            uint8 (T, n).
        """
        return decided(self.classes, self.threshold, sums, weight)

    def tables(self, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(T, K, K) int64 counts of voxels."""
        size = table_shape(self.classes)[1]
        return np.stack([Confusion.of(true, one, size).counts for true, one in zip(truth, labels, strict=True)])

    def empty_tables(self, *several: int) -> np.ndarray:
        """(*several, T, K, K) zeros."""
        return np.zeros((*several, *table_shape(self.classes)), np.int64)


def decided(classes: Classes, threshold: float, sums: np.ndarray, weight: int | np.ndarray) -> np.ndarray:
    """What an ensemble decides by the rule that predictions have: the most probable class, ties to the lower id; else
    where the mean is strictly above the threshold.

    Args:
        classes: Of the maps.
        threshold: Of the probability, for classes that are decided by one.
        sums: (C, ...) sums of 8-bit maps.
        weight: How many maps were added, each as often as its weight says.

    Returns:
        uint8 (T, ...): class ids, or 0 and 1 of each overlapping or only class.
    """
    if classes.softmax:
        best: np.ndarray = sums.argmax(0)[None].astype(np.uint8)
        return best
    return np.asarray(sums > 255 * threshold * weight, np.uint8)


def open_maps(
    classes: Classes, threshold: float, truth: np.ndarray, files: Sequence[Path], units: np.ndarray
) -> MemberMaps:
    """Maps in .npy files, which are read a few voxels at a time; arguments as the fields of `MemberMaps`."""
    maps = tuple(np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
    return MemberMaps(classes, threshold, truth, maps, units)
