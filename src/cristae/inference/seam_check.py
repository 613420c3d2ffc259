"""What a look at the places where windows meet has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TOLERATED = 1.2
_LEAST_DIFFERENCES = 100
"""From so many voxels on that differ near seams, a higher rate is no accident."""


@dataclass(frozen=True)
class SeamCheck:
    """Voxels of the places that were looked at, and those with another label where windows lie elsewhere."""

    near: int
    """Voxels near to where windows meet."""
    near_differing: int
    inside: int
    inside_differing: int

    @property
    def ratio(self) -> float:
        """How much more often labels differ where windows meet than inside them; 1 where none does."""
        near, inside = self.near_differing / self.near, self.inside_differing / self.inside
        return 1.0 if near == inside else near / inside if inside else float("inf")

    @property
    def seams(self) -> bool:
        """Whether seams show."""
        return self.ratio > _TOLERATED and self.near_differing >= _LEAST_DIFFERENCES

    def to_dict(self) -> dict[str, Any]:
        """What the prediction says about it."""
        counts = {"near": self.near, "near_differing": self.near_differing}
        return {**counts, "inside": self.inside, "inside_differing": self.inside_differing}

    def text(self) -> str:
        """A sentence."""
        near, inside = self.near_differing / self.near, self.inside_differing / self.inside
        judged = "seams show" if self.seams else "no seams show"
        return (
            f"{judged}: with windows in other places, labels differ in {near:.3%} of the voxels near to where windows "
            f"meet, and in {inside:.3%} of the others"
        )
