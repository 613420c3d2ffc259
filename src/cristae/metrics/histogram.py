"""Voxels by true class and probability: what thresholds, ranking and calibration of a probability map are read from.

A voxel counts as foreground where its probability is strictly greater than the threshold. Both kinds of maps keep to
that to the last bit:

- Integers are 8-bit probabilities v / 255, divided in 32-bit and compared in 64-bit floats, so that 51 counts at a
  threshold of 0.2. Each of the 256 values has its own bin, and nothing is lost.
- Floats are probabilities from 0 to 1 in bins of width 1/60,000. Exactly 0 and exactly 1, where networks saturate, have
  bins of their own. Tenths, fifteenths and all thresholds of up to four decimals are borders of bins and cut exactly;
  others do so where they are named when counting. What the order inside a bin could change is given as a `Bounded`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FINENESS = 60_000
"""Bins of equal width between the probabilities 0 and 1 of floats; a multiple of 10,000 and of 15."""
_RUN = 1 << 17  # voxels counted at once, so that copies stay in the processor's cache
_IGNORED = 2


@dataclass(frozen=True)
class Bounded:
    """A value from binned probabilities, and the limits between which that of the probabilities themselves lies."""

    value: float
    """NaN where undefined."""
    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether binning lost nothing; so it is where the value is undefined anyway."""
        return not self.low < self.high


@dataclass(frozen=True, eq=False)
class Bins:
    """Which probabilities share a bin: rising, disjoint, and together all that a map can hold."""

    low: np.ndarray
    """(B,) float64, the smallest probability of each bin."""
    high: np.ndarray
    """(B,) float64, the largest probability of each bin; the last is 1."""

    @property
    def exact(self) -> bool:
        """Whether no bin holds two different probabilities."""
        return bool((self.low == self.high).all())

    def above(self, threshold: float) -> int:
        """The first bin whose probabilities are strictly greater than `threshold`; B where none are.

        Raises:
            ScoreError: The threshold lies outside 0 to 1, or inside a bin.
        """
        if not 0 <= threshold <= 1:
            raise ScoreError(f"a threshold lies between 0 and 1, got {threshold:g}")
        place = int(np.searchsorted(self.high, threshold, side="right"))
        if place < self.low.size and self.low[place] <= threshold:
            raise ScoreError(
                f"the threshold {threshold!r} lies between {self.low[place]!r} and {self.high[place]!r}, which were "
                "counted together; name it under `thresholds` when counting"
            )
        return place

    def same_as(self, other: Bins) -> bool:
        """Whether counts in both may be added."""
        return self is other or (np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high))


def _eight_bit() -> Bins:
    probabilities = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float64)
    return Bins(probabilities, probabilities)


EIGHT_BIT = _eight_bit()
"""The probabilities v / 255 of integers, each on its own."""


@lru_cache(maxsize=16)
def fine_bins(thresholds: tuple[float, ...] = ()) -> Bins:
    """Bins for floats, with further borders at `thresholds`.

    Raises:
        ScoreError: A threshold lies outside 0 to 1.
    """
    high = np.unique(np.concatenate([_GRID, _further(thresholds)]))
    low = np.concatenate([[0.0], np.nextafter(high[:-1], 2)])
    return Bins(low, high)


_GRID = np.arange(FINENESS + 1) / FINENESS


@lru_cache(maxsize=16)
def _further(thresholds: tuple[float, ...]) -> np.ndarray:
    """Borders that are not on the grid; the largest float below 1 is one, so that exactly 1 has its own bin."""
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ScoreError(f"thresholds lie between 0 and 1, got {', '.join(f'{one:g}' for one in thresholds)}")
    return np.setdiff1d([np.nextafter(1, 0), *thresholds], _GRID)


@dataclass(frozen=True, eq=False)
class ProbabilityHistogram:
    """Voxels by true class and probability. They add with `+`, so the blocks of a volume add up to the volume."""

    counts: np.ndarray
    """(2, B) int64: row 0 true background, row 1 true foreground; columns by rising probability."""
    bins: Bins

    def __post_init__(self) -> None:
        if self.counts.shape != (2, self.bins.high.size):
            raise ScoreError(f"a histogram has shape (2, {self.bins.high.size}) here, got {self.counts.shape}")

    @classmethod
    def empty(cls, bins: Bins) -> ProbabilityHistogram:
        """No voxels yet."""
        return cls(np.zeros((2, bins.high.size), np.int64), bins)

    @classmethod
    def of(
        cls,
        truth: ArrayLike,
        probabilities: ArrayLike,
        valid: ArrayLike | None = None,
        *,
        thresholds: Sequence[float] = (),
    ) -> ProbabilityHistogram:
        """Count the voxels of a true mask and a probability map.

        Args:
            truth: 0 or 1, integers or booleans of any shape.
            probabilities: Of the same shape. Integers from 0 to 255 are read as v / 255, booleans as 0 and 1 (which is
                how to give a map that holds nothing but 0 and 1); floats are probabilities from 0 to 1.
            valid: Same shape, 0 where a voxel does not count; what the two hold there is ignored.
            thresholds: For floats, thresholds that are to cut exactly besides those that always do.

        Raises:
            ScoreError: Shapes differ; a voxel that counts is neither 0 nor 1 in the truth, or has a probability that is
                NaN or outside 0 to 1 (0 to 255).

        Example:
            >>> found = ProbabilityHistogram.of([1, 1, 0, 0], np.array([255, 128, 128, 0], np.uint8))
            >>> found.confusion(0.5).counts
            array([[1, 1],
                   [0, 2]])
        """
        true, probability = np.asarray(truth), np.asarray(probabilities)
        keep = None if valid is None else np.asarray(valid) != 0
        for what, array in (("the probability map", probability), ("its valid mask", keep)):
            if array is not None and array.shape != true.shape:
                raise ScoreError(f"truth has shape {true.shape}, {what} has shape {array.shape}; they must be equal")
        rows = _rows(true, keep)
        if probability.dtype.kind == "f":
            return cls(_count_floats(rows, probability.reshape(-1), tuple(thresholds)), fine_bins(tuple(thresholds)))
        return cls(_count_bytes(rows, _bytes(probability, keep)), EIGHT_BIT)

    @classmethod
    def total(cls, parts: Iterable[ProbabilityHistogram]) -> ProbabilityHistogram:
        """The sum of one or more.

        Raises:
            ScoreError: There is none, or their bins differ.
        """
        found = list(parts)
        if not found:
            raise ScoreError("there is no histogram to add up")
        return reduce(add, found)

    def __add__(self, other: ProbabilityHistogram) -> ProbabilityHistogram:
        if not self.bins.same_as(other.bins):
            raise ScoreError(
                "counts of 8-bit probabilities, of floats, or of floats with other thresholds do not add up"
            )
        return ProbabilityHistogram(self.counts + other.counts, self.bins)

    @property
    def voxels(self) -> int:
        """Voxels counted."""
        return int(self.counts.sum())

    def confusion(self, threshold: float) -> Confusion:
        """Counts [[TN, FP], [FN, TP]] of the map that is foreground where it is strictly above `threshold`.

        Raises:
            ScoreError: The threshold lies outside 0 to 1, or inside a bin of floats.
        """
        place = self.bins.above(threshold)
        return Confusion(np.stack([self.counts[:, :place].sum(1), self.counts[:, place:].sum(1)], axis=1))


def _rows(truth: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    """Flat uint8: 0 and 1, and 2 where a voxel does not count."""
    if truth.dtype.kind not in "bui":
        raise ScoreError(f"truth must hold 0 and 1 (integers or booleans), got {truth.dtype}")
    kept = truth if keep is None else truth * keep.astype(truth.dtype)
    if kept.size and not 0 <= int(kept.min()) <= int(kept.max()) <= 1:
        raise ScoreError(
            f"truth holds values from {kept.min()} to {kept.max()}, but a probability map is compared with a mask "
            "of 0 and 1; choose a class, or binarize the truth"
        )
    rows = kept.astype(np.uint8).reshape(-1)
    if keep is not None:
        rows[~keep.reshape(-1)] = _IGNORED
    return rows


def _bytes(probabilities: np.ndarray, keep: np.ndarray | None) -> np.ndarray:
    """Flat uint8 probabilities."""
    if probabilities.dtype.kind not in "bui":
        raise ScoreError(
            f"a probability map holds integers from 0 to 255 or floats from 0 to 1, got {probabilities.dtype}"
        )
    if probabilities.dtype == np.uint8:
        return probabilities.reshape(-1)
    if probabilities.dtype.kind == "b":
        return probabilities.reshape(-1) * np.uint8(255)
    kept = probabilities if keep is None else probabilities * keep.astype(probabilities.dtype)
    if kept.size and not 0 <= int(kept.min()) <= int(kept.max()) <= 255:
        raise ScoreError(
            f"the probability map holds integers from {kept.min()} to {kept.max()}; integers are read as 8-bit "
            "probabilities from 0 to 255, so scale it to these, or to floats from 0 to 1"
        )
    return kept.astype(np.uint8).reshape(-1)


def _count_bytes(rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(2, 256) counts."""
    from cristae.metrics.binning import count_bytes

    return count_bytes(rows, np.ascontiguousarray(probabilities))[:2].copy()


def _count_floats(rows: np.ndarray, probabilities: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """(2, B) counts."""
    from cristae.metrics.binning import count_into

    precision = np.float64 if probabilities.dtype.itemsize > 4 else np.float32
    further = _further(thresholds)
    counts = np.zeros((3, _GRID.size + further.size), np.int64)
    for start in range(0, rows.size, _RUN):
        part = probabilities[start : start + _RUN].astype(precision)  # a copy of our own: one type to compile for
        wrong = count_into(counts, rows[start : start + _RUN], part, FINENESS, further)
        if wrong >= 0:
            raise ScoreError(
                f"the probability map holds {part[wrong]:g}; floats are probabilities from 0 to 1. Scale the map, or "
                "mask what does not count"
            )
    return counts[:2].copy()
