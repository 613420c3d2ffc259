"""Counts of voxels by true and predicted class: what every pixel score is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cristae.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_RUN = 1 << 17  # voxels counted at once, so that bincount's 8-byte copy stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Confusion:
    """Voxel counts. They add with `+`, so the blocks of a volume add up to the volume."""

    counts: np.ndarray
    """(K, K) int64, truth in rows and prediction in columns."""

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or self.counts.shape[0] != self.counts.shape[1]:
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
            valid: Same shape, 0 where a voxel does not count; whatever the two hold there is ignored.

        Raises:
            ScoreError: Shapes differ, or a voxel that counts holds something that is not an id.

        Example:
            >>> Confusion.of([0, 1, 1], [0, 1, 0], n_classes=2).counts
            array([[1, 0],
                   [1, 1]])
        """
        true, predicted = np.asarray(truth), np.asarray(prediction)
        if true.shape != predicted.shape:
            raise ScoreError(
                f"truth has shape {true.shape}, prediction has shape {predicted.shape}; they must be equal"
            )
        keep = None if valid is None else np.asarray(valid) != 0
        if keep is not None and keep.shape != true.shape:
            raise ScoreError(f"truth has shape {true.shape}, its valid mask has shape {keep.shape}; they must be equal")
        rows, columns = _ids(true, n_classes, keep, "truth"), _ids(predicted, n_classes, keep, "prediction")
        counts = _count(rows, columns, n_classes)
        if keep is not None:
            counts[0, 0] -= keep.size - np.count_nonzero(keep)
        return cls(counts)

    def __add__(self, other: Confusion) -> Confusion:
        if self.n_classes != other.n_classes:
            raise ScoreError(f"counts of {self.n_classes} and of {other.n_classes} classes do not add up")
        return Confusion(self.counts + other.counts)

    @property
    def n_classes(self) -> int:
        """K, background included."""
        return int(self.counts.shape[0])

    @property
    def total(self) -> int:
        """Voxels counted."""
        return int(self.counts.sum())

    @property
    def tp(self) -> np.ndarray:
        """(K,) voxels of each class that were found."""
        return np.diagonal(self.counts)

    @property
    def fp(self) -> np.ndarray:
        """(K,) voxels wrongly given to each class."""
        wrong: np.ndarray = self.counts.sum(axis=0) - self.tp
        return wrong

    @property
    def fn(self) -> np.ndarray:
        """(K,) voxels of each class that were missed."""
        missed: np.ndarray = self.counts.sum(axis=1) - self.tp
        return missed

    @property
    def tn(self) -> np.ndarray:
        """(K,) voxels that are outside a class in both."""
        rest: np.ndarray = self.total - self.tp - self.fp - self.fn
        return rest


def _ids(array: np.ndarray, n_classes: int, keep: np.ndarray | None, what: str) -> np.ndarray:
    """Flat uint8 ids, 0 where a voxel does not count."""
    if array.dtype.kind not in "bui":
        raise ScoreError(f"{what} must hold class ids (integers), got {array.dtype}")
    kept = array if keep is None else array * keep.astype(array.dtype)
    if kept.size and (int(kept.max()) >= n_classes or int(kept.min()) < 0):
        wrong = [int(value) for value in np.unique(kept) if not 0 <= value < n_classes]
        values = ", ".join(map(str, wrong[:6])) + (", ..." if len(wrong) > 6 else "")
        raise ScoreError(f"{what} holds {values}, but there are {n_classes} classes (ids 0 to {n_classes - 1})")
    return kept.astype(np.uint8, copy=False).reshape(-1)


def _count(rows: np.ndarray, columns: np.ndarray, n_classes: int) -> np.ndarray:
    """(K, K) counts of pairs; codes row * K + column stay in one byte while K is at most 16."""
    code_type = np.dtype(np.uint8 if n_classes <= 16 else np.uint16)
    counts = np.zeros(n_classes * n_classes, np.int64)
    for start in range(0, rows.size, _RUN):
        part = slice(start, start + _RUN)
        codes = np.multiply(rows[part], n_classes, dtype=code_type)
        codes += columns[part]
        counts += np.bincount(codes, minlength=counts.size)
    return counts.reshape(n_classes, n_classes)
