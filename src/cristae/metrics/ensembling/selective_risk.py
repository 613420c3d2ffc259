"""How well a doubt, such as the disagreement of members, says where a prediction is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.metrics.ranking import auc_roc_of
from cristae.metrics.ratio import ratio

BINS = 256
"""Of doubts from 0 to 1, evenly spaced; 0 has a bin of its own."""


@dataclass(frozen=True)
class Quantile:
    """A share of the voxels, and how often they are wrong."""

    doubt: float
    """Largest doubt in it, rounded up to its bin."""
    share: float
    """Of all voxels."""
    error_rate: float


@dataclass(frozen=True, eq=False)
class DoubtCounts:
    """Right and wrong voxels by rising doubt. They add with `+`, so blocks sum to the volume."""

    counts: np.ndarray
    """(2, B) int64: row 0 right voxels, row 1 wrong ones; columns by rising doubt."""

    @classmethod
    def empty(cls) -> DoubtCounts:
        """No voxels yet."""
        return cls(np.zeros((2, BINS), np.int64))

    @classmethod
    def of(cls, doubt: np.ndarray, wrong: np.ndarray) -> DoubtCounts:
        """Count voxels.

        Args:
            doubt: (n,) from 0 to 1.
            wrong: bool (n,).
        """
        place = np.ceil(np.asarray(doubt, np.float64) * (BINS - 1)).astype(np.intp).clip(0, BINS - 1)
        flat = np.bincount(place + BINS * np.asarray(wrong, np.intp), minlength=2 * BINS)
        return cls(flat.reshape(2, BINS).astype(np.int64))

    def __add__(self, other: DoubtCounts) -> DoubtCounts:
        return DoubtCounts(self.counts + other.counts)

    @property
    def voxels(self) -> int:
        """Voxels counted."""
        return int(self.counts.sum())

    @property
    def error_rate(self) -> float:
        """Share of voxels that are wrong."""
        return float(ratio(self.counts[1].sum(), self.counts.sum()))

    def auroc(self) -> float:
        """Chance that a wrong voxel has more doubt than a right one, ties counting one half; NaN without either."""
        return float(auc_roc_of(self.counts))

    def aurc(self) -> float:
        """Area under the risk-coverage curve: the mean of the risks among the i voxels of least doubt, i = 1 to n.

        Voxels of one bin come in random order, of which the expectation is taken: after N voxels with E errors, the
        j-th of a bin of m voxels with e errors has the risk (E + j e / m) / (N + j).

        References:
            Geifman, Uziel, El-Yaniv (2019), https://arxiv.org/abs/1805.08206, equation 2

        Example:
            >>> round(DoubtCounts.of(np.array([0.1, 0.2, 0.3]), np.array([False, True, False])).aurc(), 4)
            0.2778
        """
        return _area(self.counts)

    def excess_aurc(self) -> float:
        """AURC beyond that of a doubt that puts every wrong voxel last: 0 is the best there can be (there: E-AURC)."""
        right, wrong = self.counts.sum(1)
        return _area(self.counts) - _area(np.array([[right, 0], [0, wrong]]))

    def quantiles(self, shares: Sequence[float]) -> tuple[Quantile, ...]:
        """Error rates of parts of the voxels, by rising doubt. A bin is never cut: a part ends with the first bin that
        reaches its share, so that parts may be larger, and fewer, than asked for.

        Args:
            shares: Where parts end, as rising shares of all voxels, the last of them 1.
        """
        totals, wrong = np.cumsum(self.counts.sum(0)), np.cumsum(self.counts[1])
        if not self.voxels:
            return ()
        ends = np.searchsorted(totals, np.asarray(shares) * self.voxels * (1 - 1e-12))
        found, before, errors = [], 0, 0
        for end in sorted(set(ends.clip(0, BINS - 1).tolist())):
            n, e = int(totals[end]) - before, int(wrong[end]) - errors
            if n:
                found.append(Quantile(end / (BINS - 1), n / self.voxels, e / n))
            before, errors = int(totals[end]), int(wrong[end])
        return tuple(found)


def _area(counts: np.ndarray) -> float:
    """See `DoubtCounts.aurc`; counts (2, B)."""
    from scipy.special import digamma

    sizes, errors = counts.sum(0).astype(np.float64), counts[1].astype(np.float64)
    n, e = np.cumsum(sizes) - sizes, np.cumsum(errors) - errors
    rate = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)
    # The sum over j of (E + r j) / (N + j) is r m + (E - r N) (1 / (N + 1) + ... + 1 / (N + m)).
    sums = rate * sizes + (e - rate * n) * (digamma(n + sizes + 1) - digamma(n + 1))
    return float(ratio(sums.sum(), sizes.sum()))
