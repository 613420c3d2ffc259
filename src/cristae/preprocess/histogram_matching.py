"""Histogram matching as a normalisation: volumes get the grey values of the training data."""

from __future__ import annotations

from typing import Literal

from cristae.preprocess.form import PercentileRange, Scope


class HistogramMatching(PercentileRange):
    """Each volume's grey values become those of the training data that as many of its voxels do not exceed; then two
    percentiles of the training data become 0 and 1. It evens out any monotone difference between microscopes, and errs
    where a volume holds more or less of a structure than the training data."""

    name: Literal["histogram_matching"] = "histogram_matching"

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`."""
        return "volume"

    @property
    def matches(self) -> bool:
        """See `NormalizeConfig.matches`."""
        return True
