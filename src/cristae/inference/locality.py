"""Is a network local, and how far does it see?

A local network's output depends on a bounded neighbourhood of its input. Then blocks with a halo of that reach give
exactly what one pass over the whole image gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cristae.data.box import Triple


@dataclass(frozen=True)
class Locality:
    """What has to be known about a network to predict in blocks."""

    local: bool
    reason: str
    """Why it is local or not, in words."""
    reach: Triple
    """Voxels (z, y, x) on each side that can change an output voxel, the largest over all stride phases and both
    sides; z is 0 for 2D networks."""
    stride: Triple
    """Block inputs start at multiples of this many voxels (z, y, x) and have sizes that are its multiples."""
    ndim: int
    """Spatial axes of the network: 2 (slices one by one) or 3."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)
