"""A range of grey values that is given, not measured."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from cristae.preprocess.form import NormalizeConfig, Range, Scope
from cristae.preprocess.histogram import IntensityHistogram


class FixedRange(NormalizeConfig):
    """Two stated grey values become 0 and 1: with 0 and 255, 8-bit images are divided by 255, as SegET's are."""

    name: Literal["fixed_range"] = "fixed_range"
    low: float = 0.0
    """This grey value becomes 0."""
    high: float = 255.0
    """This grey value becomes 1."""

    @model_validator(mode="after")
    def _check(self) -> FixedRange:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self

    @property
    def nothing_to_ignore(self) -> str:
        """See `NormalizeConfig.nothing_to_ignore`."""
        return "the range is stated, not estimated"

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`; they only tell how far other volumes are."""
        return "training"

    def range_of(self, histogram: IntensityHistogram) -> Range:
        """See `NormalizeConfig.range_of`."""
        return self.low, self.high

    def at_scope_volume(self) -> None:
        """See `NormalizeConfig.at_scope_volume`."""
