"""How far each voxel is from the border of each class."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from cristae.data.image import VoxelSize
from cristae.targets.channel import Channel, LengthUnit

ROUNDING = 1 + 1e-6
"""A voxel exactly at the limit is within it, whatever the last bit of the products says."""


class Distances(Channel):
    """Signed distance to the border of each foreground class, divided by the limit: from -1 inside to 1 outside.

    The level set function of Kervadec et al. (2019), https://arxiv.org/abs/1812.07032, section 2, cut off at the limit
    because a patch does not show the borders outside it.
    """

    name: Literal["distances"] = "distances"
    limit: PositiveFloat = 20.0
    """The distance that stands for all greater ones."""
    unit: LengthUnit = "voxels"
    """What the limit is measured in; with nm, voxels are as long as they are."""

    def __call__(self, masks: Tensor, valid: Tensor, voxel_size_nm: VoxelSize | None) -> Tensor:
        """Distances (B, F, *T), from voxel centre to voxel centre, to the nearest valid voxel on the other side."""
        steps = step_lengths(self.unit, voxel_size_nm, valid.ndim - 1)
        return signed_distances(masks, valid, self.limit, steps) / self.limit


def signed_distances(masks: Tensor, valid: Tensor, limit: float, steps: tuple[float, ...]) -> Tensor:
    """Exact Euclidean distances up to a limit, negative inside.

    Args:
        masks: bool (B, F, *T).
        valid: bool (B, *T); voxels that are not are on no side.
        limit: What greater distances are cut off to.
        steps: Lengths of a voxel along the spatial axes.

    Returns:
        float32 (B, F, *T): the distance between centres to the nearest valid voxel outside the mask, for voxels
        inside it, and the other way round.
    """
    outside = valid.unsqueeze(1) & ~masks
    to_mask, to_outside = (_distances_to(places, limit, steps) for places in (masks, outside))
    return torch.where(masks, -to_outside, to_mask)


def step_lengths(unit: LengthUnit, voxel_size_nm: VoxelSize | None, ndim: int) -> tuple[float, ...]:
    """Lengths of a voxel along the last `ndim` of (z, y, x), in this unit."""
    if unit == "voxels":
        return (1.0,) * ndim
    assert voxel_size_nm is not None
    return tuple(voxel_size_nm[-ndim:])


def _distances_to(places: Tensor, limit: float, steps: tuple[float, ...]) -> Tensor:
    """Distances to the nearest place: the least sum of squares, found axis by axis, no farther than the limit."""
    far = (limit * ROUNDING) ** 2
    squared = torch.where(places, 0.0, torch.inf)
    for axis, step in enumerate(steps, start=2):
        reach = min(math.floor(limit / step * ROUNDING), places.shape[axis] - 1)
        least = squared.clone()
        for offset in range(1, reach + 1):
            away, side = (offset * step) ** 2, squared.shape[axis] - offset
            before, after = squared.narrow(axis, 0, side) + away, squared.narrow(axis, offset, side) + away
            torch.minimum(least.narrow(axis, offset, side), before, out=least.narrow(axis, offset, side))
            torch.minimum(least.narrow(axis, 0, side), after, out=least.narrow(axis, 0, side))
        squared = least
    return torch.where(squared <= far, squared, limit * limit).sqrt().clamp(max=limit)
