"""How large patches are."""

from __future__ import annotations

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts, Machine

STRIDE = 16
"""U-Nets of five levels halve sides four times."""
_SEES = 215
"""Voxels that one output voxel of such a U-Net depends on (`cristae models show unet_bn`)."""
_USUAL = 256
_LARGEST = 512
"""Side of the largest patch in the plane, with a GPU. Without one, larger patches mean fewer steps, and the network
sees no farther."""
_CUBE, _SMALLEST = 96, 32
_ROOM = 1.5
"""A patch is so many times as wide as the objects in it, so that their surroundings are seen."""


def choose_patch(facts: DataFacts, dimensions: Dimensions, machine: Machine) -> Choice[tuple[int, ...]]:
    """Voxels (y, x) or (z, y, x) of a patch.

    256 x 256 covers the receptive field; with a GPU more where objects are larger than two thirds of that, up to 512;
    never more than training regions hold. Boxes are 96 voxels wide, and as deep as that in nm.
    """
    if dimensions == "3D":
        return _box(facts)
    wanted, why = _USUAL, f"covers the {_SEES} x {_SEES} voxels that decide one output voxel"
    largest = facts.largest_vox
    if machine.accelerated and largest is not None and _ROOM * largest > _USUAL:
        wanted = min(_LARGEST, _multiple(_ROOM * largest))
        why = f"typical objects are {largest:.0f} voxels wide"
    sides = tuple(min(wanted, _inside(side)) for side in facts.sides)
    if min(sides) < wanted:
        why = f"training regions have {facts.sides[0]} x {facts.sides[1]} voxels or more, apart from small ones"
        sides = (min(sides),) * 2
    return Choice(sides, f"output voxels (y, x): {why}")


def _box(facts: DataFacts) -> Choice[tuple[int, ...]]:
    side = min(_CUBE, *(_inside(one) for one in facts.sides))
    depth = round(side / (facts.anisotropy or 1.0) / STRIDE) * STRIDE
    deep = max(STRIDE, min(depth, facts.consecutive // STRIDE * STRIDE))
    return Choice((deep, side, side), "output voxels (z, y, x): a box about as deep as wide in nm")


def _multiple(side: float) -> int:
    """The least multiple of 32 that is not below."""
    return -(-int(side) // 32) * 32


def _inside(side: int) -> int:
    """The largest multiple of the stride that fits in, or 32 where nothing does."""
    return max(_SMALLEST, side // STRIDE * STRIDE)
