"""How much of a volume a network sees around an output patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cristae.augment.batch import margin_zyx
from cristae.data.box import Triple
from cristae.models.form import NetworkConfig


@dataclass(frozen=True)
class Framing:
    """How images are cut around the target of a patch; both have the same centre."""

    flat: bool = True
    """Whether the network is 2D: a patch is one slice, and the slices of its image are channels."""
    context: Triple = (0, 0, 0)
    """Voxels (z, y, x) of image on both sides of the target, beyond it."""

    def grown(self, margin: Sequence[int]) -> Framing:
        """The same with `margin` voxels more on both sides of each spatial axis, as augmentation needs them."""
        z, y, x = (a + b for a, b in zip(self.context, margin_zyx(margin), strict=True))
        return replace(self, context=(z, y, x))

    def reaching(self, reach: Triple) -> Framing:
        """The same with `reach` voxels (z, y, x) more on both sides, as a normalisation needs them."""
        z, y, x = (a + b for a, b in zip(self.context, reach, strict=True))
        return replace(self, context=(z, y, x))

    @classmethod
    def of(cls, network: NetworkConfig) -> Framing:
        """What a network needs: its margin, and the neighbours of a slice when it sees several."""
        if network.ndim == 2:
            y, x = network.margin
            return cls(flat=True, context=(network.in_slices // 2, y, x))
        z, y, x = network.margin
        return cls(flat=False, context=(z, y, x))
