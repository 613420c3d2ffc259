"""Do members of an ensemble err at the same voxels? All of it follows from how often each two are wrong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.metrics.ratio import ratio


@dataclass(frozen=True, eq=False)
class ErrorPairs:
    """Counts of voxels at which members err. They add with `+`, so blocks sum to the volume."""

    both: np.ndarray
    """(M, M) int64: voxels at which both are wrong; the diagonal counts the errors of each."""
    voxels: int
    """All voxels that count; of overlapping classes each class's voxel counts by itself."""

    @classmethod
    def empty(cls, members: int) -> ErrorPairs:
        """No voxels yet."""
        return cls(np.zeros((members, members), np.int64), 0)

    @classmethod
    def of(cls, wrong: np.ndarray) -> ErrorPairs:
        """Count where members are wrong.

        Args:
            wrong: bool (M, n), true where the member is wrong.
        """
        errors = np.asarray(wrong, np.float64)  # products of up to 2^53 voxels are whole numbers
        return cls((errors @ errors.T).astype(np.int64), errors.shape[1])

    def __add__(self, other: ErrorPairs) -> ErrorPairs:
        return ErrorPairs(self.both + other.both, self.voxels + other.voxels)

    def correlation(self) -> np.ndarray:
        """(M, M) Pearson correlation of being wrong, from -1 to 1; NaN for a member that is always or never wrong.

        Members whose errors are uncorrelated gain most from being averaged (Tumer and Ghosh 1996,
        https://doi.org/10.1016/0031-3203(95)00085-2).

        Example:
            >>> ErrorPairs.of(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]])).correlation()[0]
            array([ 1.,  0., -1.])
        """
        n, errors = float(self.voxels), np.diag(self.both).astype(np.float64)
        covariance = n * self.both - np.outer(errors, errors)
        variance = errors * (n - errors)
        return ratio(covariance, np.sqrt(np.outer(variance, variance)))

    def double_fault(self) -> np.ndarray:
        """(M, M) share of voxels at which both are wrong (Giacinto and Roli 2001,
        https://doi.org/10.1016/S0262-8856(01)00045-2)."""
        return ratio(self.both, self.voxels)
