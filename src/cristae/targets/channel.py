"""The form of every further target channel: a config that is called with the masks of a batch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from cristae.config import Config
from cristae.data.image import VoxelSize
from cristae.errors import VoxelSizeError

LengthUnit = Literal["voxels", "nm"]


class Channel(Config):
    """A target beside the labels. A new one is one file with a subclass, and its name in the union of
    `targets/further.py`; the name is also what a loss term asks `Voxels.further` for.

    It is computed of each patch on the training device after the geometric augmentations, so it is that of the turned
    labels, and knows nothing of what lies outside the patch.
    """

    name: str
    """What loss terms call it; a subclass has one as a `Literal`."""

    def require(self, voxel_size_nm: VoxelSize | None) -> None:
        """Make sure that what it is measured in is known.

        Raises:
            VoxelSizeError: It is measured in nm, and the voxel size is not known.
        """
        if getattr(self, "unit", "voxels") == "nm" and voxel_size_nm is None:
            raise VoxelSizeError(
                f"targets.further: '{self.name}' is measured in nm, but the voxel size of the training data is not "
                "known; give voxel_size_nm (z, y, x) under data.volumes, or set unit: voxels"
            )

    @abstractmethod
    def __call__(self, masks: Tensor, valid: Tensor, voxel_size_nm: VoxelSize | None) -> Tensor:
        """The channel, float32 (B, C, *T); what stands where nothing is valid does not matter.

        Args:
            masks: bool (B, F, *T), where each foreground class is.
            valid: bool (B, *T).
            voxel_size_nm: (z, y, x); flat patches have none along z.
        """
