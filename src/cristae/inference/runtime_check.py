"""What a comparison of another runtime with PyTorch has found, in the same places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PROBABILITY, _LABELS = 1e-3, 1e-4
"""Difference of a probability, and part of the voxels with another label, up to which two runtimes agree."""


@dataclass(frozen=True)
class RuntimeCheck:
    """Voxels of the places that both computed, and how their results differ."""

    runtime: str
    places: int
    voxels: int
    differing: int
    """Voxels with another label."""
    largest_difference: float
    """Of a probability."""

    @property
    def agrees(self) -> bool:
        """Whether it makes no difference that matters."""
        return self.largest_difference <= _PROBABILITY and self.differing <= _LABELS * self.voxels

    def to_dict(self) -> dict[str, Any]:
        """What the prediction says about it."""
        counts = {"runtime": self.runtime, "places": self.places, "voxels": self.voxels, "differing": self.differing}
        return {**counts, "largest_difference": self.largest_difference}

    def text(self) -> str:
        """A sentence."""
        judged = "agrees with torch" if self.agrees else "does not agree with torch"
        where = "one place" if self.places == 1 else f"{self.places} places"
        return (
            f"{self.runtime} {judged}: in {where} that both predicted, probabilities differ by at most "
            f"{self.largest_difference:.1e} and labels in {self.differing} of {self.voxels} voxels"
            + ("" if self.agrees else f"; tolerated are {_PROBABILITY:g} and {_LABELS:.2%} of the voxels")
        )
