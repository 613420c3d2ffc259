"""Counts of voxels by true and predicted class: what every pixel score is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cristae.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Confusion:
    """Voxel counts. They add with `+`, so the blocks of a volume add up to the volume."""

    counts: np.ndarray
    """(K, K) int64, truth in rows and prediction in columns. (..., K, K) are several tables, such as resampled sums."""

    def __post_init__(self) -> None:
        if self.counts.ndim < 2 or self.counts.shape[-2] != self.counts.shape[-1]:
            raise ScoreError(f"a confusion matrix is square, got shape {self.counts.shape}")

    @classmethod
    def empty(cls, n_classes: int) -> Confusion:
        """No voxels yet."""
        return cls(np.zeros((n_classes, n_classes), np.int64))

    @classmethod
    def of(cls, truth: ArrayLike, prediction: ArrayLike, n_classes: int, valid: ArrayLike | None = None) -> Confusion:
        """Count the voxels of two arrays of class ids.

        Args:
            truth: Ids from 0 to `n_classes` - 1, integers or booleans of any shape.
            prediction: Ids of the same shape.
            n_classes: K, background included; at most 256.
            valid: Same shape, 0 where a voxel does not count; what the two hold there is ignored.

        Raises:
            ScoreError: Shapes differ, or a voxel that counts holds something that is not an id.

        Example:
            >>> Confusion.of([0, 1, 1], [0, 1, 0], n_classes=2).counts
            array([[1, 0],
                   [1, 1]])
        """
        from cristae.metrics.id_counts import count_ids

        true, predicted = np.asarray(truth), np.asarray(prediction)
        if true.shape != predicted.shape:
            raise ScoreError(
                f"truth has shape {true.shape}, prediction has shape {predicted.shape}; they must be equal"
            )
        keep = None if valid is None else np.asarray(valid)
        if keep is not None and keep.shape != true.shape:
            raise ScoreError(f"truth has shape {true.shape}, its valid mask has shape {keep.shape}; they must be equal")
        rows, columns = _ids(true, n_classes, keep, "truth"), _ids(predicted, n_classes, keep, "prediction")
        counts = count_ids(rows, columns, _flags(keep), n_classes)
        _check(counts[n_classes].any(), true, n_classes, keep, "truth")
        _check(counts[:, n_classes].any(), predicted, n_classes, keep, "prediction")
        return cls(counts[:n_classes, :n_classes])

    def __add__(self, other: Confusion) -> Confusion:
        if self.n_classes != other.n_classes:
            raise ScoreError(f"counts of {self.n_classes} and of {other.n_classes} classes do not add up")
        return Confusion(self.counts + other.counts)

    @property
    def n_classes(self) -> int:
        """K, background included."""
        return int(self.counts.shape[-1])

    @property
    def total(self) -> int:
        """Voxels counted."""
        return int(self.counts.sum())

    @property
    def tp(self) -> np.ndarray:
        """(..., K) voxels of each class that were found."""
        return np.diagonal(self.counts, axis1=-2, axis2=-1)

    @property
    def fp(self) -> np.ndarray:
        """(..., K) voxels wrongly given to each class."""
        wrong: np.ndarray = self.counts.sum(axis=-2) - self.tp
        return wrong

    @property
    def fn(self) -> np.ndarray:
        """(..., K) voxels of each class that were missed."""
        missed: np.ndarray = self.counts.sum(axis=-1) - self.tp
        return missed

    @property
    def tn(self) -> np.ndarray:
        """(..., K) voxels that are outside a class in both."""
        rest: np.ndarray = self.counts.sum(axis=(-2, -1))[..., None] - self.tp - self.fp - self.fn
        return rest


def _ids(array: np.ndarray, n_classes: int, keep: np.ndarray | None, what: str) -> np.ndarray:
    """Flat uint8 ids; what does not fit a byte is looked at first."""
    if array.dtype.kind not in "bui":
        raise ScoreError(f"{what} must hold class ids (integers), got {array.dtype}")
    if array.dtype not in (np.bool_, np.uint8):
        _check(array.size and not 0 <= array.min() <= array.max() < n_classes, array, n_classes, keep, what)
        array = array if keep is None else np.where(keep != 0, array, 0)
    return np.ascontiguousarray(array).astype(np.uint8, copy=False).reshape(-1)


def _flags(keep: np.ndarray | None) -> np.ndarray:
    """Flat uint8, not 0 where a voxel counts; empty when all do."""
    if keep is None:
        return np.zeros(0, np.uint8)
    bytes_ = keep if keep.dtype in (np.bool_, np.uint8) else keep != 0
    return np.ascontiguousarray(bytes_).view(np.uint8).reshape(-1)


def _check(doubtful: object, array: np.ndarray, n_classes: int, keep: np.ndarray | None, what: str) -> None:
    """Report labels out of range, if any of those that count is."""
    if not doubtful:
        return
    kept = array if keep is None else array[keep != 0]
    wrong = [int(value) for value in np.unique(kept) if not 0 <= value < n_classes]
    if wrong:
        values = ", ".join(map(str, wrong[:6])) + (", ..." if len(wrong) > 6 else "")
        raise ScoreError(f"{what} holds {values}, but there are {n_classes} classes (ids 0 to {n_classes - 1})")
