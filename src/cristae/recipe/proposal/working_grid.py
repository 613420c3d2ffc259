"""On which grid to work: where volumes differ in voxel size, and where voxels are finer than the objects need."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from cristae.data.image import VoxelSize
from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import DataFacts

_FACTOR = (2, 4)
_DIFFER = 1.25
"""Volumes whose voxels differ by a larger factor along an axis show the same objects at different sizes."""


def common_grid(sizes: Sequence[VoxelSize | None]) -> Choice[VoxelSize] | None:
    """The median voxel size (z, y, x) of all volumes, where they differ by more than a quarter along an axis.

    None where they do not, or where one of them is not known.
    """
    known = [size for size in sizes if size is not None]
    axes = list(zip(*known, strict=True))
    if len(known) < max(2, len(sizes)) or all(max(axis) <= _DIFFER * min(axis) for axis in axes):
        return None
    worst = max(axes, key=lambda axis: max(axis) / min(axis))
    z, y, x = (median_low(axis) for axis in axes)
    reason = (
        f"voxel sizes of the volumes differ, from {min(worst):g} to {max(worst):g} nm along an axis: their median, to "
        "which all are resampled"
    )
    return Choice((z, y, x), reason)


def coarser_grid(facts: DataFacts, size: Sequence[int]) -> Choice[VoxelSize] | None:
    """A coarser working voxel size (z, y, x) in nm, where objects are wider than a patch and stay visible in it.

    Args:
        facts: Of data whose voxel size is known; otherwise None is returned.
        size: Voxels (*S) of a patch.
    """
    largest, voxel = facts.largest_vox, facts.voxel_size_nm
    if largest is None or voxel is None or largest <= size[-1]:  # a patch shows them
        return None
    smallest = min(one.width_vox for one in facts.classes if one.width_vox is not None)
    factor = next((one for one in _FACTOR if largest / one <= size[-1] / 1.5), _FACTOR[-1])
    if smallest / factor < 2:
        return None  # the thinnest class would vanish
    z, y, x = voxel
    reason = (
        f"objects are {largest:.0f} voxels wide, more than a patch; on a grid {factor} times as coarse in the plane a "
        "patch shows them whole, and training and prediction are quicker"
    )
    return Choice((z, y * factor, x * factor), reason)
