"""Voxels shared by true and predicted segments: what every score of objects and partitions is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cristae.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Contingency:
    """A sparse table of two label maps. Tables add with `+`, so the blocks of a volume add up to the volume."""

    truth: np.ndarray
    """(N,) int64 ids; pairs are sorted by truth, then prediction, and each stands once. 0 is background."""
    prediction: np.ndarray
    """(N,) int64 ids; 0 is background, or a voxel without a segment."""
    voxels: np.ndarray
    """(N,) int64, how many voxels carry both ids; above 0."""

    @classmethod
    def of(cls, truth: ArrayLike, prediction: ArrayLike, valid: ArrayLike | None = None) -> Contingency:
        """Count the voxels of each pair of ids that occurs.

        Args:
            truth: Ids from 0, of any integer type and shape.
            prediction: Ids of the same shape.
            valid: Same shape, 0 where a voxel does not count; what the two hold there is ignored.

        Raises:
            ScoreError: Shapes differ, the arrays do not hold integers, or an id is negative or above 2^63 - 1.

        Example:
            >>> found = Contingency.of([0, 1, 1, 1], [0, 0, 5, 5])
            >>> found.truth, found.prediction, found.voxels
            (array([0, 1, 1]), array([0, 0, 5]), array([1, 1, 2]))
        """
        from cristae.metrics.pairs import count_pairs

        true, predicted = _ids(truth, "truth"), _ids(prediction, "prediction")
        keep = None if valid is None else np.asarray(valid)
        for what, array in (("prediction", predicted), ("valid mask", keep)):
            if array is not None and array.shape != true.shape:
                raise ScoreError(f"truth has shape {true.shape}, {what} has shape {array.shape}; they must be equal")
        return cls(*_sorted(*count_pairs(true, predicted, keep)))

    @classmethod
    def empty(cls) -> Contingency:
        """No voxels yet."""
        return cls(*(np.zeros(0, np.int64) for _ in range(3)))

    @classmethod
    def total(cls, parts: Iterable[Contingency]) -> Contingency:
        """The sum of many tables, quicker than adding one after the other."""
        parts = list(parts)
        if not parts:
            return cls.empty()
        truth = np.concatenate([part.truth for part in parts])
        prediction = np.concatenate([part.prediction for part in parts])
        truth, prediction, voxels = _sorted(truth, prediction, np.concatenate([part.voxels for part in parts]))
        first = np.flatnonzero(_changes(truth) | _changes(prediction))
        return cls(truth[first], prediction[first], _sums(voxels, first))

    def __add__(self, other: Contingency) -> Contingency:
        return Contingency.total((self, other))

    def truth_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Rising ids of the true segments, without 0, and how many voxels each has: two (N,) int64 arrays."""
        return _sizes(self.truth, self.voxels)

    def prediction_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Rising ids of the predicted segments, without 0, and how many voxels each has: two (N,) int64 arrays."""
        order = np.argsort(self.prediction, kind="stable")
        return _sizes(self.prediction[order], self.voxels[order])


def _ids(labels: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise ScoreError(f"{what} must hold ids of segments (integers), got {array.dtype}")
    return array


def _sorted(truth: np.ndarray, prediction: np.ndarray, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same rows by rising truth, then prediction."""
    width = int(prediction.max(initial=0)) + 1
    if (int(truth.max(initial=0)) + 1) * width < 2**63:  # one number a pair sorts several times as fast as two
        order = np.argsort(truth * width + prediction, kind="stable")
    else:
        order = np.lexsort((prediction, truth))
    return truth[order], prediction[order], voxels[order]


def _sizes(ids: np.ndarray, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = np.flatnonzero(_changes(ids))
    inside = ids[first] != 0
    return ids[first][inside], _sums(voxels, first)[inside]


def _sums(voxels: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sums of the groups that begin at `first`."""
    sums: np.ndarray = np.add.reduceat(voxels, first) if first.size else np.zeros(0, np.int64)
    return sums


def _changes(ids: np.ndarray) -> np.ndarray:
    """(N,) bool, where an id differs from the one before it; the first always does."""
    changes = np.ones(ids.shape, bool)
    np.not_equal(ids[1:], ids[:-1], out=changes[1:])
    return changes
