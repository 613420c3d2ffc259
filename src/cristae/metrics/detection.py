"""How many true components a prediction covers well, in part, or not at all.

Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt: components of the truth are well detected where more than
80 % of their voxels are foreground in the prediction, undetected where less than 10 % are, under-detected in between.
Predicted components that hit no truth are not counted and one predicted blob may cover many components, so this score
stands beside an overlap score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.metrics.contingency import Contingency


@dataclass(frozen=True)
class Detection:
    """Numbers of true components; those of unrelated slices or volumes add with `+`."""

    tp: int
    """Well detected: more than 80 % covered."""
    fn: int
    """Undetected: less than 10 % covered."""
    ud: int
    """Under-detected: from 10 % to 80 % covered, both limits included."""

    @property
    def components(self) -> int:
        """All true components."""
        return self.tp + self.fn + self.ud

    @property
    def percent(self) -> tuple[float, float, float]:
        """Shares of TP, FN and UD in percent; NaN without components."""
        shares = [100 * count / self.components if self.components else np.nan for count in (self.tp, self.fn, self.ud)]
        return shares[0], shares[1], shares[2]

    def __add__(self, other: Detection) -> Detection:
        return Detection(self.tp + other.tp, self.fn + other.fn, self.ud + other.ud)


def detection(overlaps: Contingency) -> Detection:
    """Score each true component by the share of its voxels that the prediction covers.

    Args:
        overlaps: True ids are components (for the published counts those of 8 neighbours, slice by slice); every
            predicted id above 0 is foreground. A component must be wholly in this table: add the tables of all blocks
            before.

    Example:
        >>> detection(Contingency.of([1, 1, 2, 2, 3, 0], [9, 9, 0, 9, 0, 9]))
        Detection(tp=1, fn=1, ud=1)
    """
    inside = overlaps.truth != 0
    ids, voxels = overlaps.truth[inside], overlaps.voxels[inside]
    covered = np.where(overlaps.prediction[inside] != 0, voxels, 0)
    _, first = np.unique(ids, return_index=True)
    if not first.size:
        return Detection(0, 0, 0)
    size, hit = np.add.reduceat(voxels, first), np.add.reduceat(covered, first)
    tp, fn = int((5 * hit > 4 * size).sum()), int((10 * hit < size).sum())  # whole numbers, so the limits are exact
    return Detection(tp, fn, len(first) - tp - fn)
