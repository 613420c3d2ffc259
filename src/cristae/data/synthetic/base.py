"""What every kind of synthetic tissue has: a size, a place in space, and voxels that follow from them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.synthetic.cells import Tissue
from cristae.data.synthetic.noise import Axes, uniform


class TissueConfig(Config):
    """Synthetic tissue; equal settings give equal voxels."""

    kind: ClassVar[str]
    """Part of the volume's name."""
    classes: ClassVar[Classes]
    """What its labels mean."""
    tile: ClassVar[Triple]
    """Voxels that are computed at once."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Voxels (z, y, x). Growing the shape adds tissue and leaves what was there unchanged."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Edge lengths of a voxel (z, y, x). The tissue is laid out in nm: smaller voxels show the same cells in more
    detail."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Which piece of tissue."""

    @property
    @abstractmethod
    def tissue(self) -> Tissue:
        """Where its cells are and what they hold."""

    @abstractmethod
    def grey_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 grey values of a box: 0 black (electron dense) to 255 white."""

    @abstractmethod
    def labels_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 ids of `classes` of a box."""

    def noise_seed(self, purpose: int) -> int:
        """A seed for each of up to 16 kinds of noise, which no other seed of the tissue shares."""
        return (self.seed << 4 | purpose) & 0xFFFF_FFFF_FFFF_FFFF

    def centres_nm(self, box: Box) -> Axes:
        """Coordinates of the voxel centres of a box along z, y and x."""
        z, y, x = (
            (np.arange(a, b) + 0.5) * size for a, b, size in zip(box.start, box.stop, self.voxel_size_nm, strict=True)
        )
        return z, y, x

    def per_section(self, purpose: int, box: Box) -> np.ndarray:
        """(Z,) float32 numbers from -1 to 1, one for each section."""
        zero = np.zeros(1, np.int64)
        return uniform(self.noise_seed(purpose), (np.arange(box.start[0], box.stop[0]), zero, zero))[:, 0, 0]


def expose(grey: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 1 in 8 bits, in place where that can be."""
    grey *= np.float32(255)
    exposed: np.ndarray = np.rint(grey, out=grey).clip(0, 255).astype(np.uint8)
    return exposed
