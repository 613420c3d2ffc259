"""Histogram matching: grey values of a volume become those of the training data that as many voxels do not exceed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from cristae.preprocess.arrays import as_numpy, like
from cristae.preprocess.histogram import IntensityHistogram

MOST_KNOTS = 1024
"""Entries of a table; all values of 8-bit images have their own."""


@dataclass(frozen=True)
class Distribution:
    """Grey values and the share of voxels that do not exceed each."""

    values: tuple[FiniteFloat, ...]
    """Growing."""
    shares: tuple[FiniteFloat, ...]
    """Growing, the last one is 1."""

    @classmethod
    def of(cls, histogram: IntensityHistogram) -> Distribution:
        """Of all grey values of a histogram or, where there are many, of some at about equal steps of the share."""
        values, shares = histogram.values, np.cumsum(histogram.counts) / histogram.size
        if len(values) > MOST_KNOTS:
            steps = np.searchsorted(shares, np.linspace(0, 1, MOST_KNOTS), side="left")
            kept = np.unique(np.clip(np.r_[0, steps, len(values) - 1], 0, len(values) - 1))
            values, shares = values[kept], shares[kept]
        return cls(tuple(values.tolist()), tuple(shares.tolist()))

    @property
    def grows(self) -> bool:
        """Whether both columns are as long and do not fall."""
        columns = np.asarray(self.values), np.asarray(self.shares)
        return len(columns[0]) == len(columns[1]) > 0 and all(bool((np.diff(one) >= 0).all()) for one in columns)


@dataclass(frozen=True)
class Matching:
    """The training data's distribution and, for a volume, the volume's: together a monotone table of grey values.

    Between its entries the table is linear, as in scikit-image's `match_histograms`; where both have the same
    distribution it changes nothing.
    """

    training: Distribution
    volume: Distribution | None = None
    """None leaves grey values as they are."""

    @property
    def valid(self) -> bool:
        """Whether it can have been made by `Distribution.of`."""
        return self.training.grows and (self.volume is None or self.volume.grows)

    def of_volume(self, histogram: IntensityHistogram) -> Matching:
        """The table for a volume with this histogram."""
        return replace(self, volume=Distribution.of(histogram))

    def apply(self, grey: Any) -> Any:
        """Grey values of any type as those of the training data: a float32 array, or a tensor on the same device."""
        if self.volume is None:
            return grey
        target = np.interp(self.volume.shares, self.training.shares, self.training.values)
        numbers = as_numpy(grey)
        found = np.interp(numbers.ravel(), self.volume.values, target).reshape(numbers.shape).astype(np.float32)
        return like(found, grey)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        tables = {"training": self.training, "volume": self.volume}
        return {
            name: None if one is None else {"values": list(one.values), "shares": list(one.shares)}
            for name, one in tables.items()
        }
