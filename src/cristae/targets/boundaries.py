"""Which voxels lie near a border between classes."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from cristae.data.image import VoxelSize
from cristae.errors import RecipeError
from cristae.targets.channel import Channel, LengthUnit
from cristae.targets.distances import ROUNDING, signed_distances, step_lengths


class Boundaries(Channel):
    """1 near a border between classes, background included, and 0 elsewhere."""

    name: Literal["boundaries"] = "boundaries"
    distance: PositiveFloat = 1.0
    """How far away the nearest voxel of another class may be, from centre to centre: 1 voxel marks the two voxels at
    each face between classes."""
    unit: LengthUnit = "voxels"
    """What the distance is measured in; with nm, voxels are as long as they are."""

    def require(self, voxel_size_nm: VoxelSize | None) -> None:
        """See `Channel.require`; and that two voxels side by side are near enough.

        Raises:
            RecipeError: The distance is shorter than a voxel, so that no voxel would be marked.
            VoxelSizeError: It is measured in nm, and the voxel size is not known.
        """
        super().require(voxel_size_nm)
        shortest = min(step_lengths(self.unit, voxel_size_nm, 3))
        if self.distance * ROUNDING < shortest:
            raise RecipeError(
                f"targets.further: '{self.name}' marks nothing, because its distance of {self.distance:g} {self.unit} "
                f"is less than a voxel; set it to {shortest:g} or more"
            )

    def __call__(self, masks: Tensor, valid: Tensor, voxel_size_nm: VoxelSize | None) -> Tensor:
        """(B, 1, *T). A voxel of another class is the nearest one on the other side of the border of some class."""
        steps = step_lengths(self.unit, voxel_size_nm, valid.ndim - 1)
        # Distances are cut off a little farther out, so that those at the border of the range are told apart.
        nearest = signed_distances(masks, valid, 1.01 * self.distance, steps).abs().amin(dim=1, keepdim=True)
        return (nearest <= self.distance * ROUNDING).float()
