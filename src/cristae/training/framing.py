"""How much of a volume a network looks at to answer for one patch."""

from __future__ import annotations

from dataclasses import dataclass

from cristae.data.box import Triple
from cristae.models.form import NetworkConfig


@dataclass(frozen=True)
class Framing:
    """How images are cut around the target of a patch; both have the same centre."""

    flat: bool = True
    """Whether the network is 2D: a patch is one slice, and the slices of its image are channels."""
    context: Triple = (0, 0, 0)
    """Voxels (z, y, x) of image on both sides of the target, beyond it."""

    @classmethod
    def of(cls, network: NetworkConfig) -> Framing:
        """What a network needs: its margin, and the neighbours of a slice when it sees several."""
        if network.ndim == 2:
            y, x = network.margin
            return cls(flat=True, context=(network.in_slices // 2, y, x))
        z, y, x = network.margin
        return cls(flat=False, context=(z, y, x))
